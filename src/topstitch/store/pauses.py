"""Pauses: which connections and seams nothing is sent over, since when, why, and whose matter it is.

An open pause is also the one case about its connection or seam: however many instances meet a revoked
credential, there is one row. Opening and closing are noted in the installation's own journal, in the
same transaction. The engine's calls ask ``open_pauses``; the doors pause, take and resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from sqlalchemy import select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.foundation.ids import new_id
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store import sql
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import pauses

if TYPE_CHECKING:
    from topstitch.store.store import Store

CONNECTION: Final = "connection"
SEAM: Final = "seam"
OPERATOR: Final = "operator"
CREDENTIAL: Final = "credential"
HELD_SECONDS_MAX: Final = 900
"""What would wake within so long is woken when a pause ends: no held call waits longer."""
_LOCK: Final = 7_411_000_005


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """One pause."""

    id: str
    subject: str
    """``connection:itsm``, or ``seam:entra-id>servicenow``."""
    cause: str
    """``operator``, or ``credential``: the system refuses the connection itself."""
    reason: str
    problem: Mapping[str, Any] | None = None
    instance: str | None = None
    opened_at: datetime
    opened_by: str
    owner: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None
    because: str | None = None

    @property
    def kind(self) -> str:
        """``connection`` or ``seam``."""
        return self.subject.partition(":")[0]

    @property
    def name(self) -> str:
        """The alias, or the two systems."""
        return self.subject.partition(":")[2]


def connection(alias: str) -> str:
    """Return the subject of a connection."""
    return f"{CONNECTION}:{alias}"


def seam(from_system: str, to_system: str) -> str:
    """Return the subject of a seam."""
    return f"{SEAM}:{from_system}>{to_system}"


async def pause(
    store: Store,
    subject: str,
    actor: Actor,
    now: datetime,
    *,
    reason: str,
    cause: str = OPERATOR,
    problem: Mapping[str, Any] | None = None,
    instance: str | None = None,
    owner: str | None = None,
) -> Pause | None:
    """Pause a connection or a seam; return the pause, or nothing when there is an open one already."""
    new = Pause(
        id=new_id("pau", now),
        subject=subject,
        cause=cause,
        reason=reason,
        problem=problem,
        instance=instance,
        opened_at=now,
        opened_by=str(actor),
        owner=owner,
    )
    return await store.work(lambda backend: _pause(backend, new, actor))


async def resume(store: Store, subject: str, actor: Actor, now: datetime, *, because: str) -> Pause:
    """End the open pause of a connection or a seam; raise ``NotFoundError`` when there is none."""
    return await store.work(lambda backend: _resume(backend, subject, actor, now, because), tells=True)


async def take(store: Store, name: str, actor: Actor, now: datetime, *, reason: str) -> Pause:
    """Make an open pause somebody's own matter."""
    return await store.work(lambda backend: _take(backend, name, actor, now, reason))


async def open_pauses(store: Store) -> list[Pause]:
    """Return the pauses that hold, oldest first."""
    return await _listing(store, only_open=True)


async def all_pauses(store: Store) -> list[Pause]:
    """Return every pause there was, oldest first."""
    return await _listing(store, only_open=False)


async def _listing(store: Store, *, only_open: bool) -> list[Pause]:
    query = select(pauses).order_by(pauses.c.opened_at, pauses.c.id)
    if only_open:
        query = query.where(pauses.c.closed_at.is_(None))
    return await store.read(lambda c: [_read(dict(row)) for row in c.execute(query).mappings()])


def _pause(backend: Backend, new: Pause, actor: Actor) -> Pause | None:
    _lock(backend)
    if backend.execute("SELECT id FROM pauses WHERE subject = ? AND closed_at IS NULL", (new.subject,)):
        return None
    backend.execute(
        "INSERT INTO pauses (id, subject, cause, reason, problem, instance, opened_at, opened_by, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id,
            new.subject,
            new.cause,
            new.reason,
            orjson.dumps(new.problem).decode() if new.problem else None,
            new.instance,
            milliseconds(new.opened_at),
            new.opened_by,
            new.owner,
        ),
    )
    _note(backend, actor, new.opened_at, "pause", new.subject, new.reason, cause=new.cause)
    return new


def _resume(backend: Backend, subject: str, actor: Actor, now: datetime, because: str) -> Pause:
    _lock(backend)
    found = _found(backend, "subject", subject)
    backend.execute(
        "UPDATE pauses SET closed_at = ?, closed_by = ?, because = ? WHERE id = ?",
        (milliseconds(now), str(actor), because, found),
    )
    _note(backend, actor, now, "resume", subject, because)
    soon = milliseconds(now + timedelta(seconds=HELD_SECONDS_MAX))
    backend.execute(sql.WAKE_ALL, (milliseconds(now), milliseconds(now), soon))
    return _one(backend, found)


def _take(backend: Backend, name: str, actor: Actor, now: datetime, reason: str) -> Pause:
    _lock(backend)
    found = _found(backend, "id", name)
    backend.execute("UPDATE pauses SET owner = ? WHERE id = ?", (str(actor), found))
    _note(backend, actor, now, "take", name, reason)
    return _one(backend, found)


def _found(backend: Backend, column: str, value: str) -> str:
    by = {
        "subject": "SELECT id FROM pauses WHERE subject = ? AND closed_at IS NULL",
        "id": "SELECT id FROM pauses WHERE id = ? AND closed_at IS NULL",
    }
    found = backend.execute(by[column], (value,))
    if not found:
        message = f"{value.partition(':')[2] or value} is not paused; topstitch connections list shows what is"
        raise (NotFoundError if column == "id" else ConflictError)("not-paused", message)
    return str(found[0][0])


def _one(backend: Backend, name: str) -> Pause:
    columns = [column.name for column in pauses.c]
    rows = backend.execute(f"SELECT {', '.join(columns)} FROM pauses WHERE id = ?", (name,))  # noqa: S608 -- constants
    return _read(dict(zip(columns, rows[0], strict=True)))


def _read(row: Mapping[str, Any]) -> Pause:
    values = dict(row)
    values["problem"] = orjson.loads(row["problem"]) if row["problem"] else None
    values["opened_at"] = moment(row["opened_at"])
    values["closed_at"] = moment(row["closed_at"]) if row["closed_at"] is not None else None
    return Pause(**values)


def _lock(backend: Backend) -> None:
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))


def _note(backend: Backend, actor: Actor, at: datetime, what: str, subject: str, reason: str, **more: str) -> None:
    body = {"command": what, "subject": subject, "reason": reason, **more}
    note_down_with(backend, Draft(kind=Kind.OPERATOR_COMMANDED, at=at, actor=actor, stage=Stage.AUDIT, body=body))
