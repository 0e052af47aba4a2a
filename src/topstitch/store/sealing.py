"""Decides the bytes a record is hashed as, and opens them again.

``seal`` turns a draft into a row of the journal: canonical JSON of actor, at, body,
instance, kind, seq, stage and step, chained to the row before it. A personal value stands
in those bytes as ``{"c": base64(commitment)}``; value and salt are encrypted together, one
blob a record. ``open_rows`` goes the other way and verifies the chain as it goes. Both are
pure but for the salts; neither sees a database.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec
import orjson

from topstitch.foundation.canonical import commitment, digest_bytes
from topstitch.foundation.clock import cut
from topstitch.foundation.errors import TamperError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.record import ENGINE, Actor, ActorKind, Draft, Path, Record, Stage
from topstitch.store.keys import SubjectKey, fresh_bytes

BLOB_BYTES_MIN: Final = 65_536
"""A longer record stands in ``blobs``, under its digest."""
SALT_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SORTED: Final = orjson.OPT_SORT_KEYS
_COMMITMENT_LENGTH: Final = 44
_ENGINE: Final = str(ENGINE)
_ENGINE_JSON: Final = f'"{_ENGINE}"'
_MARK: Final = '{"c":"'


class SealedRow(msgspec.Struct, frozen=True):
    """A row of the journal, with what belongs to it elsewhere, and the record it opens to."""

    record: Record
    at_ms: int
    text: str
    hash_hex: str
    ciphertext: str | None


class StoredRow(msgspec.Struct, frozen=True):
    """A row of the journal as it was read."""

    seq: int
    hash_hex: str
    text: str
    ciphertext: str | None


def seal(draft: Draft, instance: str, seq: int, prev: bytes, key: SubjectKey | None) -> SealedRow:
    """Give a draft its place behind ``prev``. A draft with personal values needs a key."""
    plain = orjson.dumps(draft.body, option=_SORTED)
    ciphertext = None
    if draft.personal and key is not None:
        sealed, opened = _commit(orjson.loads(plain), draft.personal)
        if opened:
            plain = orjson.dumps(sealed, option=_SORTED)
            ciphertext = key.encrypt(orjson.dumps(opened), f"{instance}:{seq}")
    at, at_text, at_ms = _time(draft.at)
    step = "null" if draft.step is None else orjson.dumps(draft.step).decode()
    actor = _ENGINE_JSON if draft.actor == ENGINE else orjson.dumps(str(draft.actor)).decode()
    # sorted by key, without white space: the canonical form, put together from canonical parts
    text = (
        f'{{"actor":{actor},"at":"{at_text}","body":{plain.decode()},"instance":"{instance}",'
        f'"kind":"{draft.kind}","seq":{seq},"stage":"{draft.stage}","step":{step}}}'
    )
    digest = chained(prev, text)
    record = Record(
        instance=instance,
        seq=seq,
        kind=str(draft.kind),
        at=at,
        actor=draft.actor,
        stage=draft.stage,
        step=draft.step,
        body=draft.body,
        hash=digest,
    )
    return SealedRow(record, at_ms, text, digest.hex(), ciphertext)


def chained(prev: bytes, text: str) -> bytes:
    """Return the hash of a record that follows the one whose hash is ``prev``."""
    return sha256(b"\x00" + prev + text.encode()).digest()


def open_rows(
    instance: str, rows: Iterable[StoredRow], key: SubjectKey | None, *, prev: bytes, after: int = 0
) -> list[Record]:
    """Open stored rows in order; raise ``TamperError`` at the first that does not follow ``prev``."""
    records, expected = [], after
    for row in rows:
        expected += 1
        digest = chained(prev, row.text)
        if row.seq != expected or digest.hex() != row.hash_hex:
            raise TamperError(
                "chain-broken",
                f"record {row.seq} of {instance} is not what was written; run `topstitch audit verify` and compare "
                "with a backup",
                detail={"instance": instance, "seq": row.seq, "expected_seq": expected},
            )
        records.append(_open(instance, row, key, digest))
        prev = digest
    return records


def _open(instance: str, row: StoredRow, key: SubjectKey | None, digest: bytes) -> Record:
    value = orjson.loads(row.text)
    body = value["body"]
    if row.ciphertext is not None and key is not None:
        for path, _, opened in orjson.loads(key.decrypt(row.ciphertext, f"{instance}:{row.seq}")):
            body = _put(body, path, opened)
    elif _MARK in row.text:
        body = _erased(body)
    step: str | None = value["step"]
    return Record(
        instance=instance,
        seq=row.seq,
        kind=value["kind"],
        at=datetime.fromisoformat(value["at"]),
        actor=_actor(value["actor"]),
        stage=Stage(value["stage"]),
        step=step,
        body=body,
        hash=digest,
    )


def _actor(text: str) -> Actor:
    if text == _ENGINE:
        return ENGINE
    kind, _, name = text.partition(":")
    return Actor(ActorKind(kind), name)


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def moment(ms: int) -> datetime:
    """Return the time ``ms`` milliseconds after 1970 began."""
    seconds, rest = divmod(ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def blob_of(text: str) -> str | None:
    """Return the digest under which a long record is kept, or nothing for a short one."""
    return digest_bytes(text.encode()) if len(text) > BLOB_BYTES_MIN else None


_last_time: tuple[datetime, datetime, str, int] = (_EPOCH, _EPOCH, rfc3339(_EPOCH), 0)


def _time(at: datetime) -> tuple[datetime, str, int]:
    """Write a time; drafts of one activation share theirs, so the last one is remembered."""
    global _last_time  # noqa: PLW0603 -- a memory of one, replaced whole
    known, moment, text, ms = _last_time
    if at is not known:
        moment = cut(at)
        text, ms = rfc3339(moment), milliseconds(moment)
        _last_time = (at, moment, text, ms)
    return moment, text, ms


def _commit(body: Any, paths: Sequence[Path]) -> tuple[Any, list[tuple[Path, str, Any]]]:
    """Put commitments where ``paths`` lead; return what they hide.

    A path that leads nowhere, or into what an outer path has hidden already, is passed over.
    """
    opened: list[tuple[Path, str, Any]] = []
    hidden: set[Path] = set()
    for path in sorted(set(paths), key=len):
        if any(path[:length] in hidden for length in range(1, len(path))):
            continue
        found, value = _get(body, path)
        if not found or value is None:
            continue
        salt = fresh_bytes(SALT_BYTES)
        mark = {"c": base64.b64encode(commitment(salt, value)).decode()}
        body = _put(body, path, mark)
        hidden.add(path)
        opened.append((path, base64.b64encode(salt).decode(), value))
    return body, opened


def _get(value: Any, path: Sequence[Any]) -> tuple[bool, Any]:
    for part in path:
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
        else:
            return False, None
    return True, value


def _put(value: Any, path: Sequence[Any], new: Any) -> Any:
    """Replace in place; the empty path replaces everything."""
    if not path:
        return new
    inner: Any = value
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = new
    return value


def _erased(value: Any) -> Any:
    """Turn commitments that nothing opens any more into ``{"erased": <commitment>}``."""
    match value:
        case {"c": str(mark)} if len(value) == 1 and len(mark) == _COMMITMENT_LENGTH:
            return {"erased": mark}
        case Mapping():
            return {name: _erased(inner) for name, inner in value.items()}
        case list():
            return [_erased(inner) for inner in value]
        case _:
            return value
