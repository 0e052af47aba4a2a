"""Keeps the calendar of each environment, and calendars that wait for a second person.

The office asks here. What is put in force follows what was seen in force, or it is refused; it is noted in the
installation's own journal in the same transaction, by its digest alone, because a calendar names people. What
waits is forgotten once it is settled: the journal keeps who proposed and who agreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, select

from topstitch.foundation.canonical import digest_bytes
from topstitch.foundation.errors import ConflictError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor
from topstitch.store import two_people
from topstitch.store.database import Backend
from topstitch.store.deciding_tables import calendar_proposals, calendars
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

_CALENDAR: Final = (
    "INSERT INTO calendars (environment, document, loaded_at, loaded_by) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (environment) DO UPDATE SET document = excluded.document, loaded_at = excluded.loaded_at,"
    " loaded_by = excluded.loaded_by"
)
_FORGET: Final = "DELETE FROM calendar_proposals WHERE environment = ? AND digest = ?"


class KeptCalendar(msgspec.Struct, frozen=True, kw_only=True):
    """The calendar of an environment, as it was loaded."""

    environment: str
    document: str
    loaded_at: datetime
    loaded_by: str

    @property
    def digest(self) -> str:
        """Return what names its text."""
        return digest_bytes(self.document.encode())


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar that whoever loaded it may not put in force alone."""

    environment: str
    digest: str
    document: str
    parent: str | None
    """The digest of the calendar in force that it was compared with."""
    because: tuple[str, ...]
    proposed_at: datetime
    proposed_by: str


async def in_force(store: Store, environment: str) -> KeptCalendar | None:
    """Return the calendar of an environment."""
    return next((one for one in await every(store) if one.environment == environment), None)


async def every(store: Store) -> Sequence[KeptCalendar]:
    """Return the calendar of each environment that has one."""

    def read(connection: Connection) -> list[KeptCalendar]:
        rows = connection.execute(select(calendars).order_by(calendars.c.environment)).mappings()
        return [KeptCalendar(**{**row, "loaded_at": moment(row["loaded_at"])}) for row in rows]

    return await store.read(read)


async def load(store: Store, new: KeptCalendar, actor: Actor, *, parent: str | None, four_eyes: str) -> None:
    """Put a calendar in the place of ``parent``; ``four_eyes`` is noted: why one person was enough."""

    def work(backend: Backend) -> None:
        _require_parent(backend, new.environment, parent)
        _load(backend, new, actor, four_eyes)

    await store.work(work, tells=True)


async def propose(store: Store, new: Proposal, actor: Actor) -> None:
    """Keep a calendar until a second person agrees, in place of an earlier proposal of the same text."""

    def work(backend: Backend) -> None:
        backend.execute(_FORGET, (new.environment, new.digest))
        two_people.insert(backend, "calendar_proposals", new)
        body = {"calendar": new.environment, "digest": new.digest, "because": list(new.because)}
        body |= {"parent": new.parent} if new.parent else {}
        two_people.note(backend, Kind.PUBLISH_PROPOSED, body, actor, new.proposed_at)

    await store.work(work)


async def waiting(store: Store) -> Sequence[Proposal]:
    """Return what waits for a second person, oldest first."""
    own = calendar_proposals.c
    query = select(calendar_proposals).order_by(own.proposed_at, own.environment, own.digest)

    return await store.read(lambda c: [two_people.read(Proposal, row) for row in c.execute(query).mappings()])


async def find_proposal(store: Store, beginning: str, environment: str) -> Proposal:
    """Return the one waiting calendar of ``environment`` whose digest begins so, with or without ``sha256:``."""
    here = [one for one in await waiting(store) if one.environment == environment]
    listed = "topstitch calendars load --pending"
    return two_people.one_of(here, beginning, f"calendars that wait in {environment}", listed)


async def agree(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> None:
    """Put a proposal in force."""
    new = KeptCalendar(
        environment=proposal.environment, document=proposal.document, loaded_at=now, loaded_by=proposal.proposed_by
    )

    def work(backend: Backend) -> None:
        # It refuses before it writes: the transaction is shared with other work.
        _require_parent(backend, proposal.environment, proposal.parent)
        _settle(backend, proposal, actor, now, "published", "agreed")
        _load(backend, new, actor, "agreed")

    await store.work(work, tells=True)


async def withdraw(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> None:
    """Forget that a proposal waits."""
    await store.work(lambda backend: _settle(backend, proposal, actor, now, "withdrawn", "withdrawn"))


def _require_parent(backend: Backend, environment: str, parent: str | None) -> None:
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(hashtext(?))", ("calendar",))
    found = backend.execute("SELECT document FROM calendars WHERE environment = ?", (environment,))
    current = digest_bytes(str(found[0][0]).encode()) if found else None
    if current != parent:
        raise ConflictError(
            "stale-parent",
            f"somebody else has loaded a calendar for {environment} since; look with topstitch calendars list, then "
            "load yours again",
            detail={"in_force": current, "parent": parent},
        )


def _load(backend: Backend, new: KeptCalendar, actor: Actor, four_eyes: str) -> None:
    body = {"environment": new.environment, "digest": new.digest, "four_eyes": four_eyes}
    two_people.note(backend, Kind.CALENDAR_LOADED, body, actor, new.loaded_at)
    backend.execute(_CALENDAR, (new.environment, new.document, milliseconds(new.loaded_at), new.loaded_by))


def _settle(backend: Backend, one: Proposal, actor: Actor, now: datetime, ending: str, four_eyes: str) -> None:
    if not backend.execute(f"{_FORGET} RETURNING digest", (one.environment, one.digest)):
        message = "that calendar waits no longer; topstitch calendars load --pending lists what does"
        raise ConflictError("proposal-settled", message)
    body = {
        "calendar": one.environment,
        "digest": one.digest,
        "ending": ending,
        "proposed_by": one.proposed_by,
        "four_eyes": four_eyes,
    }
    two_people.note(backend, Kind.PUBLISH_SETTLED, body, actor, now)
