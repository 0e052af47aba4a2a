"""Decides what is deleted when a person is forgotten, and what forbids it.

One transaction: the person's keys, ciphertexts and salts go; so do the raw events that their
instances began with; an ``erased`` record is appended to each of these instances; and their
projections are derived again from what can still be read. Commitments stay in the journal and
can never be opened again, so every chain still verifies. A legal hold forbids all of it,
visibly. ``scrub`` then clears what a database keeps of deleted rows. The audit room words
the records.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from topstitch.foundation.canonical import commitment
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.foundation.ids import new_id, random_bytes
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft
from topstitch.store import rebuild, sql
from topstitch.store.database import MEMORY_URL, Backend, is_postgres, plain_url, sqlite_path
from topstitch.store.ledger import note_down_with, write_rows
from topstitch.store.sealing import SALT_BYTES, milliseconds, moment, seal
from topstitch.store.store import Store
from topstitch.store.tables import PROJECTIONS

SCRUB_SECONDS: Final = 10.0
SCRUBBED: Final = ("personal", "subject_keys", "events", "instances", "legal_holds", *(t.name for t in PROJECTIONS))
VACUUM_BYTES_MAX: Final = 256 << 20
"""A larger SQLite file is not written anew while an engine may be at work."""
ERASED_TEXT: Final = "(erased)"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What forbids to erase a person."""

    id: str
    subject: str
    ground: str
    placed_at: datetime
    placed_by: str
    lifted_at: datetime | None = None
    lifted_by: str | None = None


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, of how many records. ``salt`` opens the commitment to the person in the ``erased`` records."""

    instances: tuple[str, ...]
    values: int
    events: int
    salt: str


Word = Callable[[str, dict[str, str], int], Draft]
"""Instance, the subject's commitment, how many records: the ``erased`` record."""

_INSTANCES: Final = "SELECT instance FROM subject_keys WHERE subject = ? ORDER BY instance"
_HOLDS: Final = (
    "SELECT id, subject, ground, placed_at, placed_by, lifted_at, lifted_by FROM legal_holds"
    " WHERE (CAST(? AS text) IS NULL OR subject = ?) ORDER BY placed_at, id"
)
_HOLD_INSERT: Final = (
    "INSERT INTO legal_holds (id, subject, ground, salt, placed_at, placed_by) VALUES (?, ?, ?, ?, ?, ?)"
)
_HOLD_LIFT: Final = "UPDATE legal_holds SET lifted_at = ?, lifted_by = ? WHERE id = ?"
_HOLD_FORGET: Final = "UPDATE legal_holds SET subject = ?, salt = NULL WHERE subject = ?"
_WITH_EVENT: Final = (
    "SELECT coalesce(j.body, b.data) FROM journal j LEFT JOIN blobs b ON b.digest = j.blob"
    " WHERE j.instance = ? AND j.kind IN (?, ?)"
)
_EVENT_FORGET: Final = "UPDATE events SET data = NULL, raw = NULL, headers = NULL WHERE source = ? AND id = ?"


async def instances_of(store: Store, subject: str) -> list[str]:
    """Return the instances that hold values of a person."""
    return await store.work(lambda backend: _instances(backend, subject))


async def erase(store: Store, subject: str, word: Word, now: datetime) -> Erasure:
    """Forget a person in every ended instance that holds values of theirs."""
    return await store.work(lambda backend: _erase(store, backend, subject, word, now))


async def holds(store: Store, subject: str | None = None) -> list[Hold]:
    """Return legal holds, open and lifted, of one person or of all."""
    rows = await store.work(lambda backend: backend.execute(_HOLDS, (subject, subject)))
    return [_hold(row) for row in rows]


async def place_hold(store: Store, subject: str, draft: Callable[[str, dict[str, str]], Draft], ground: str) -> Hold:
    """Forbid to erase a person; ``draft`` words the record from the hold's id and the subject's commitment."""
    return await store.work(lambda backend: _place(backend, subject, draft, ground))


async def lift_hold(store: Store, hold: str, draft: Draft) -> None:
    """Allow it again."""
    await store.work(lambda backend: _lift(backend, hold, draft))


def _instances(backend: Backend, subject: str) -> list[str]:
    return [str(name) for (name,) in backend.execute(_INSTANCES, (subject,))]


def _erase(store: Store, backend: Backend, subject: str, word: Word, now: datetime) -> Erasure:
    names = _instances(backend, subject)
    heads = {row[0]: row for row in backend.fetch(sql.HEADS, [(name,) for name in names])} if names else {}
    _refuse(backend, subject, names)
    salt = random_bytes(SALT_BYTES)
    mark = {"c": base64.b64encode(commitment(salt, subject)).decode()}
    values = events = 0
    for name in names:
        count = backend.execute("SELECT count(*) FROM personal WHERE instance = ?", (name,))[0][0]
        backend.execute("DELETE FROM personal WHERE instance = ?", (name,))
        backend.execute("DELETE FROM subject_keys WHERE instance = ?", (name,))
        events += _forget_events(backend, name)
        _append(backend, heads[name], word(name, mark, count), now)
        values += count
    backend.execute(_HOLD_FORGET, (ERASED_TEXT, subject))
    rebuild.rebuild_with(store, backend, names, None)
    for name in names:
        backend.execute("UPDATE instances SET waiting_on = NULL WHERE id = ?", (name,))
    return Erasure(instances=tuple(names), values=values, events=events, salt=base64.b64encode(salt).decode())


def _refuse(backend: Backend, subject: str, names: Sequence[str]) -> None:
    held = [row for row in backend.execute(_HOLDS, (subject, subject)) if row[5] is None]
    if held:
        raise ConflictError(
            "legal-hold",
            f"a legal hold ({held[0][0]}: {held[0][2]}) forbids erasing this person, so nothing was erased; "
            f"once it is over, lift it with topstitch audit hold lift {held[0][0]}",
            detail={"hold": held[0][0]},
        )
    if not names:
        raise NotFoundError(
            "no-such-subject", "no instance holds personal values of this person; check how they are named"
        )
    still = [
        name for name in names if not backend.execute("SELECT ended_at FROM instances WHERE id = ?", (name,))[0][0]
    ]
    if still:
        raise ConflictError(
            "instance-open",
            f"{still[0]} still needs this person's values ({len(still)} open in all); nothing was erased; "
            "let them end or cancel them, then erase",
            detail={"instances": still},
        )


def _forget_events(backend: Backend, instance: str) -> int:
    """Empty the raw events that an instance began with or was given."""
    found = set()
    for (text,) in backend.execute(_WITH_EVENT, (instance, Kind.STARTED.value, Kind.SIGNAL_OFFERED.value)):
        event = orjson.loads(text)["body"].get("event")
        if isinstance(event, dict) and isinstance(event.get("id"), str):
            found.add((event.get("source"), event["id"]))
    for source, name in found:
        backend.execute(_EVENT_FORGET, (source, name))
    return len(found)


def _append(backend: Backend, head: Sequence[Any], draft: Draft, now: datetime) -> None:
    """Append to an ended instance without waking it."""
    name, _, seq, hash_hex, _ = head
    row = seal(draft, name, seq + 1, bytes.fromhex(hash_hex), None)
    write_rows(backend, [row])
    backend.execute(sql.HEAD, (row.record.seq, row.hash_hex, milliseconds(now), name))


def _place(backend: Backend, subject: str, draft: Callable[[str, dict[str, str]], Draft], ground: str) -> Hold:
    salt = random_bytes(SALT_BYTES)
    mark = {"c": base64.b64encode(commitment(salt, subject)).decode()}
    probe = draft("", mark)
    name = new_id("hld", probe.at)
    record = draft(name, mark)
    note_down_with(backend, record)
    values = (name, subject, ground, base64.b64encode(salt).decode(), milliseconds(record.at), str(record.actor))
    backend.execute(_HOLD_INSERT, values)
    return Hold(id=name, subject=subject, ground=ground, placed_at=record.at, placed_by=str(record.actor))


def _lift(backend: Backend, hold: str, draft: Draft) -> None:
    found = backend.execute("SELECT lifted_at FROM legal_holds WHERE id = ?", (hold,))
    if not found:
        raise NotFoundError("no-such-hold", f"there is no legal hold {hold}; list them and use an id from there")
    if found[0][0] is not None:
        raise ConflictError("hold-lifted", f"the legal hold {hold} was lifted before; nothing was changed")
    note_down_with(backend, draft)
    backend.execute(_HOLD_LIFT, (milliseconds(draft.at), str(draft.actor), hold))


def _hold(row: Sequence[Any]) -> Hold:
    name, subject, ground, placed_ms, placed_by, lifted_ms, lifted_by = row
    return Hold(
        id=name, subject=subject, ground=ground, placed_at=moment(placed_ms), placed_by=placed_by,
        lifted_at=moment(lifted_ms) if lifted_ms is not None else None, lifted_by=lifted_by,
    )  # fmt: skip


def scrub(url: str) -> bool:
    """Clear what the database keeps of deleted rows; tell whether nothing stood in the way.

    On SQLite the file is written anew, because pages keep what was changed in them, and the
    write-ahead log is emptied; a reader that stays open keeps it, and a file over 256 MB is left
    for ``VACUUM`` while topstitch is stopped. On PostgreSQL dead rows are vacuumed; the server's
    own write-ahead log and its backups end with their retention.
    """
    if url == MEMORY_URL:
        return True
    if is_postgres(url):
        import psycopg  # noqa: PLC0415 -- SQLite installations do without

        with psycopg.connect(plain_url(url), autocommit=True) as server:
            for table in SCRUBBED:
                server.execute(f"VACUUM {table}")
        return True
    path = sqlite_path(url)
    small = path.stat().st_size <= VACUUM_BYTES_MAX
    connection = sqlite3.connect(path, timeout=SCRUB_SECONDS, isolation_level=None)
    try:
        if small:
            connection.execute("VACUUM")
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.close()
    return small and busy == 0


__all__ = ["Actor", "Erasure", "Hold", "erase", "holds", "instances_of", "lift_hold", "place_hold", "scrub"]
