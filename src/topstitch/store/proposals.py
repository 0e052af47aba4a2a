"""Publications that wait for a second person: kept as proposed, and put in force or withdrawn once.

The office asks here. Proposing and settling are noted in the installation's own journal in the same
transaction; putting in force is the publication itself, so that a stale one is refused as any other.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select

from topstitch.foundation.errors import ConflictError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor
from topstitch.store import two_people
from topstitch.store.database import Backend
from topstitch.store.definitions import Definition, publish_with
from topstitch.store.identity_tables import publish_proposals
from topstitch.store.sealing import milliseconds

if TYPE_CHECKING:
    from topstitch.store.store import Store


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A Definition Version that its author may not publish alone."""

    digest: str
    workflow: str
    version: str
    source: str
    """The author's text."""
    normal: str
    parent: str | None
    because: tuple[str, ...]
    proposed_at: datetime
    proposed_by: str
    settled_at: datetime | None = None
    settled_by: str | None = None
    ending: str | None = None

    def definition(self) -> Definition:
        """Return it as it is published: the author's."""
        return Definition(
            digest=self.digest,
            workflow=self.workflow,
            version=self.version,
            text=self.source,
            normal=self.normal,
            published_at=self.proposed_at,
            published_by=self.proposed_by,
        )


async def propose(store: Store, new: Proposal, actor: Actor) -> None:
    """Keep a proposal, in place of an earlier one of the same text."""
    await store.work(lambda backend: _propose(backend, new, actor))


async def waiting(store: Store) -> list[Proposal]:
    """Return what waits for a second person, oldest first."""
    query = select(publish_proposals).where(publish_proposals.c.ending.is_(None))
    query = query.order_by(publish_proposals.c.proposed_at, publish_proposals.c.digest)
    return await store.read(lambda c: [two_people.read(Proposal, row) for row in c.execute(query).mappings()])


async def find(store: Store, beginning: str) -> Proposal:
    """Return the one waiting proposal whose digest begins so, with or without ``sha256:``."""
    return two_people.one_of(await waiting(store), beginning, "proposals", "topstitch publish --pending")


async def agree(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> bool:
    """Put a proposal in force; return whether that changed anything."""
    return await store.work(lambda backend: _agree(backend, proposal, actor, now), tells=True)


async def withdraw(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> None:
    """Forget that a proposal waits."""
    await store.work(lambda backend: _settle(backend, proposal, "withdrawn", actor, now, "withdrawn"))


async def note_alone(store: Store, new: Definition, actor: Actor, now: datetime, four_eyes: str) -> None:
    """Note that a change of high risk was published by its author alone, or by another, and why that was possible."""
    body = {
        "workflow": new.workflow,
        "version": new.version,
        "digest": new.digest,
        "ending": "published",
        "proposed_by": new.published_by,
        "four_eyes": four_eyes,
    }
    await store.work(lambda backend: two_people.note(backend, Kind.PUBLISH_SETTLED, body, actor, now))


def _propose(backend: Backend, new: Proposal, actor: Actor) -> None:
    backend.execute("DELETE FROM publish_proposals WHERE digest = ?", (new.digest,))
    two_people.insert(backend, "publish_proposals", new)
    body: dict[str, Any] = {"workflow": new.workflow, "version": new.version, "digest": new.digest}
    body |= {"parent": new.parent} if new.parent else {}
    body |= {"because": list(new.because)}
    two_people.note(backend, Kind.PUBLISH_PROPOSED, body, actor, new.proposed_at)


def _agree(backend: Backend, proposal: Proposal, actor: Actor, now: datetime) -> bool:
    _must_wait(backend, proposal)
    new = msgspec.structs.replace(proposal.definition(), published_at=now)
    # It refuses before it writes, and so does what is above: the transaction is shared with other work.
    changed = publish_with(backend, new, proposal.parent, moved_by=str(actor))
    _settle(backend, proposal, "published", actor, now, "agreed")
    return changed


def _settle(backend: Backend, one: Proposal, ending: str, actor: Actor, now: datetime, four_eyes: str) -> None:
    _must_wait(backend, one)
    backend.execute(
        "UPDATE publish_proposals SET settled_at = ?, settled_by = ?, ending = ? WHERE digest = ?",
        (milliseconds(now), str(actor), ending, one.digest),
    )
    body = {
        "workflow": one.workflow,
        "version": one.version,
        "digest": one.digest,
        "ending": ending,
        "proposed_by": one.proposed_by,
        "four_eyes": four_eyes,
    }
    two_people.note(backend, Kind.PUBLISH_SETTLED, body, actor, now)


def _must_wait(backend: Backend, one: Proposal) -> None:
    if not backend.execute("SELECT 1 FROM publish_proposals WHERE digest = ? AND ending IS NULL", (one.digest,)):
        message = f"{one.workflow} {one.version} waits no longer; topstitch publish --pending lists what does"
        raise ConflictError("proposal-settled", message)
