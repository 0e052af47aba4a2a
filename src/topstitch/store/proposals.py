"""Publications that wait for a second person: kept as proposed, and put in force or withdrawn once.

The office asks here. Proposing and settling are noted in the installation's own journal in the same
transaction; putting in force is the publication itself, so that a stale one is refused as any other.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from sqlalchemy import select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.definitions import Definition, publish_with
from topstitch.store.identity_tables import publish_proposals
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment

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
    return await store.read(lambda c: [_proposal(dict(row)) for row in c.execute(query).mappings()])


async def find(store: Store, beginning: str) -> Proposal:
    """Return the one waiting proposal whose digest begins so, with or without ``sha256:``."""
    found = [p for p in await waiting(store) if beginning and p.digest.removeprefix("sha256:").startswith(beginning)]
    found = found or [p for p in await waiting(store) if beginning and p.digest.startswith(beginning)]
    if len(found) != 1:
        message = f"{len(found)} proposals begin with {beginning!r}; topstitch publish --pending lists them"
        raise NotFoundError("no-proposal", message)
    return found[0]


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
    await store.work(lambda backend: note_down_with(backend, _draft(Kind.PUBLISH_SETTLED, actor, now, body)))


def _propose(backend: Backend, new: Proposal, actor: Actor) -> None:
    backend.execute("DELETE FROM publish_proposals WHERE digest = ?", (new.digest,))
    values = {**msgspec.structs.asdict(new), "because": orjson.dumps(list(new.because)).decode()}
    backend.execute(
        f"INSERT INTO publish_proposals ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 -- constants
        [milliseconds(v) if isinstance(v, datetime) else v for v in values.values()],
    )
    body: dict[str, Any] = {"workflow": new.workflow, "version": new.version, "digest": new.digest}
    body |= {"parent": new.parent} if new.parent else {}
    body |= {"because": list(new.because)}
    note_down_with(backend, _draft(Kind.PUBLISH_PROPOSED, actor, new.proposed_at, body))


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
    note_down_with(backend, _draft(Kind.PUBLISH_SETTLED, actor, now, body))


def _must_wait(backend: Backend, one: Proposal) -> None:
    if not backend.execute("SELECT 1 FROM publish_proposals WHERE digest = ? AND ending IS NULL", (one.digest,)):
        message = f"{one.workflow} {one.version} waits no longer; topstitch publish --pending lists what does"
        raise ConflictError("proposal-settled", message)


def _draft(kind: Kind, actor: Actor, at: datetime, body: dict[str, Any]) -> Draft:
    return Draft(kind=kind, at=at, actor=actor, stage=Stage.AUDIT, body=body)


def _proposal(row: dict[str, Any]) -> Proposal:
    times = {n: moment(row[n]) if row[n] is not None else None for n in ("proposed_at", "settled_at")}
    return Proposal(**{**row, **times, "because": tuple(orjson.loads(row["because"]))})
