"""Published policy bundles: immutable texts under their digests, and which one is in force in each environment.

``publish`` and ``agree`` are the only ways in; ``office.lawmaking`` calls them once a bundle has been read and its
tests have passed, and reads back what the engine, ``explain`` and ``replay`` need. A bundle is
written once; putting one in force is a row of its own, so that who did it and when stays known.
Nothing is ever changed or removed: decisions are explained by these texts years later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection, Select, func, select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor
from topstitch.store import two_people
from topstitch.store.database import Backend
from topstitch.store.policy_tables import bundles, moves, proposals
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import journal

if TYPE_CHECKING:
    from topstitch.store.store import Store

_REVISION: Final = select(func.max(moves.c.revision))


class StoredBundle(msgspec.Struct, frozen=True, kw_only=True):
    """One published bundle: its normal form, which the digest is of."""

    digest: str
    name: str
    version: str
    normal: str
    published_at: datetime
    published_by: str

    @property
    def ref(self) -> str:
        """How records name it: ``standard@1.0.0``."""
        return f"{self.name}@{self.version}"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle put in force: in which environment, when and by whom."""

    environment: str
    revision: int
    digest: str
    moved_at: datetime
    moved_by: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that its author may not put in force alone."""

    environment: str
    digest: str
    name: str
    version: str
    normal: str
    parent: str | None
    because: tuple[str, ...]
    proposed_at: datetime
    proposed_by: str
    settled_at: datetime | None = None
    settled_by: str | None = None
    ending: str | None = None

    @property
    def ref(self) -> str:
        """How records name it: ``standard@1.0.0``."""
        return f"{self.name}@{self.version}"

    def bundle(self, at: datetime) -> StoredBundle:
        """Return it as it is published: the author's."""
        return StoredBundle(
            digest=self.digest,
            name=self.name,
            version=self.version,
            normal=self.normal,
            published_at=at,
            published_by=self.proposed_by,
        )


async def publish(
    store: Store,
    new: StoredBundle,
    *,
    environment: str,
    parent: str | None,
    actor: Actor,
    four_eyes: str = "not needed",
) -> bool:
    """Keep a bundle and put it in force in ``environment``; return whether anything changed.

    ``parent`` is the digest the publisher saw in force there (nothing, for the first). Publishing
    what is in force already changes nothing; another text under a published version, or a parent
    that is stale, is a ``ConflictError``. An earlier bundle may be put back in force. ``four_eyes`` is
    noted in the installation's own journal: why one person was enough.
    """

    def work(backend: Backend) -> bool:
        changed = _publish(backend, new, environment, parent, str(actor))
        if changed:
            _note_settled(backend, new, environment, actor, new.published_at, ("published", four_eyes))
        return changed

    return await store.work(work, tells=True)


async def propose(store: Store, new: Proposal, actor: Actor) -> None:
    """Keep a bundle until a second person agrees, in place of an earlier proposal of the same text."""
    await store.work(lambda backend: _propose(backend, new, actor))


async def waiting(store: Store) -> list[Proposal]:
    """Return what waits for a second person, oldest first."""
    query = select(proposals).where(proposals.c.ending.is_(None))
    query = query.order_by(proposals.c.proposed_at, proposals.c.environment, proposals.c.digest)
    return await store.read(lambda c: [two_people.read(Proposal, row) for row in c.execute(query).mappings()])


async def find_proposal(store: Store, beginning: str, environment: str) -> Proposal:
    """Return the one waiting proposal for ``environment`` whose digest begins so, with or without ``sha256:``."""
    here = [one for one in await waiting(store) if one.environment == environment]
    return two_people.one_of(
        here, beginning, f"policies that wait in {environment}", "topstitch policy publish --pending"
    )


async def agree(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> bool:
    """Put a proposal in force; return whether that changed anything."""

    def work(backend: Backend) -> bool:
        _must_wait(backend, proposal)
        # It refuses before it writes, and so does what is above: the transaction is shared with other work.
        changed = _publish(backend, proposal.bundle(now), proposal.environment, proposal.parent, str(actor))
        _settle(backend, proposal, actor, now, ("published", "agreed"))
        return changed

    return await store.work(work, tells=True)


async def withdraw(store: Store, proposal: Proposal, actor: Actor, now: datetime) -> None:
    """Forget that a proposal waits."""

    def work(backend: Backend) -> None:
        _must_wait(backend, proposal)
        _settle(backend, proposal, actor, now, ("withdrawn", "withdrawn"))

    await store.work(work)


def _propose(backend: Backend, new: Proposal, actor: Actor) -> None:
    _is_known(backend, new.bundle(new.proposed_at))
    place = (new.environment, new.digest)
    backend.execute("DELETE FROM policy_proposals WHERE environment = ? AND digest = ?", place)
    two_people.insert(backend, "policy_proposals", new)
    body: dict[str, Any] = {
        "policy": new.name,
        "version": new.version,
        "digest": new.digest,
        "environment": new.environment,
    }
    body |= {"parent": new.parent} if new.parent else {}
    body |= {"because": list(new.because)}
    two_people.note(backend, Kind.PUBLISH_PROPOSED, body, actor, new.proposed_at)


def _settle(backend: Backend, one: Proposal, actor: Actor, now: datetime, how: tuple[str, str]) -> None:
    backend.execute(
        "UPDATE policy_proposals SET settled_at = ?, settled_by = ?, ending = ? WHERE environment = ? AND digest = ?",
        (milliseconds(now), str(actor), how[0], one.environment, one.digest),
    )
    _note_settled(backend, one.bundle(now), one.environment, actor, now, how)


def _note_settled(
    backend: Backend, new: StoredBundle, environment: str, actor: Actor, now: datetime, how: tuple[str, str]
) -> None:
    ending, four_eyes = how
    body = {
        "policy": new.name,
        "version": new.version,
        "digest": new.digest,
        "environment": environment,
        "ending": ending,
        "proposed_by": new.published_by,
        "four_eyes": four_eyes,
    }
    two_people.note(backend, Kind.PUBLISH_SETTLED, body, actor, now)


def _must_wait(backend: Backend, one: Proposal) -> None:
    waits = "SELECT 1 FROM policy_proposals WHERE environment = ? AND digest = ? AND ending IS NULL"
    if not backend.execute(waits, (one.environment, one.digest)):
        message = f"{one.ref} waits no longer; topstitch policy publish --pending lists what does"
        raise ConflictError("proposal-settled", message)


def _publish(backend: Backend, new: StoredBundle, environment: str, parent: str | None, moved_by: str) -> bool:
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(hashtext(?))", ("policy",))
    top = backend.execute(
        "SELECT revision, digest FROM policy_moves WHERE environment = ? ORDER BY revision DESC LIMIT 1",
        (environment,),
    )
    revision, current = top[0] if top else (0, None)
    if current == new.digest:
        return False
    if current != parent:
        raise ConflictError(
            "stale-parent",
            f"somebody else has published a policy for {environment} since you looked; look at it with "
            "topstitch policy show, then publish again",
            detail={"in_force": current, "parent": parent},
        )
    at = milliseconds(new.published_at)
    _keep(backend, new, at)
    backend.execute(
        "INSERT INTO policy_moves (environment, revision, digest, moved_at, moved_by) VALUES (?, ?, ?, ?, ?)",
        (environment, revision + 1, new.digest, at, moved_by),
    )
    return True


def _keep(backend: Backend, new: StoredBundle, at: int) -> None:
    """Write a bundle down, unless it is there."""
    if not _is_known(backend, new):
        backend.execute(
            "INSERT INTO policy_bundles (digest, name, version, normal, published_at, published_by)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (new.digest, new.name, new.version, new.normal, at, new.published_by),
        )


def _is_known(backend: Backend, new: StoredBundle) -> bool:
    """Whether a bundle was published before; raise when its version was, with another text."""
    known = backend.execute("SELECT digest FROM policy_bundles WHERE name = ? AND version = ?", (new.name, new.version))
    if known and known[0][0] != new.digest:
        raise ConflictError(
            "version-published",
            f"{new.ref} is published already with other rules, and a published version never changes; raise the "
            "version and publish again",
            detail={"digest": known[0][0]},
        )
    return bool(known)


async def revision(store: Store, environment: str) -> int:
    """Return how often a bundle was put in force in ``environment``: it grows with each, and is cheap to ask."""
    query = _REVISION.where(moves.c.environment == environment)
    return await store.read(lambda c: int(c.execute(query).scalar() or 0))


async def in_force(store: Store, environment: str) -> Move | None:
    """Return which bundle is in force in ``environment``, since when, and by whom; nothing where none ever was."""
    found = await history(store, environment, limit=1)
    return found[0] if found else None


async def history(store: Store, environment: str, *, limit: int = 100) -> Sequence[Move]:
    """Return what was put in force in ``environment``, newest first."""
    query = select(moves).where(moves.c.environment == environment).order_by(moves.c.revision.desc()).limit(limit)

    def read(connection: Connection) -> list[Move]:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        return [Move(**{**row, "moved_at": moment(row["moved_at"])}) for row in rows]

    return await store.read(read)


async def get(store: Store, digest: str) -> StoredBundle:
    """Return a bundle by its digest; raise ``NotFoundError`` when it was never published."""
    found = await _select(store, select(bundles).where(bundles.c.digest == digest))
    if not found:
        raise NotFoundError(
            "no-bundle", f"no policy bundle {digest} was published here; `topstitch policy publish` publishes one"
        )
    return found[0]


async def find(store: Store, name: str) -> Sequence[StoredBundle]:
    """Return the bundles whose digest begins so, or that are named ``name`` or ``name@version``; newest first."""
    whole, at, version = name.partition("@")
    named = bundles.c.name == whole
    if at:
        named = named & (bundles.c.version == version)
    begins = (bundles.c.digest >= name) & (bundles.c.digest < name + "\uffff")
    query = select(bundles).where(named | begins).order_by(bundles.c.published_at.desc(), bundles.c.version.desc())
    return await _select(store, query)


async def others(store: Store, known: Collection[str]) -> Sequence[StoredBundle]:
    """Return every published bundle whose digest is not in ``known``."""
    found = await store.read(lambda c: [str(digest) for (digest,) in c.execute(select(bundles.c.digest))])
    lacking = [digest for digest in found if digest not in known]
    return [await get(store, digest) for digest in lacking]


async def last_decisions(store: Store, limit: int) -> Sequence[tuple[str, int]]:
    """Return where the last recorded decisions stand, oldest first: instance and number of the record."""
    query = (
        select(journal.c.instance, journal.c.seq)
        .where(journal.c.kind == Kind.DECISION)
        .order_by(journal.c.position.desc())
        .limit(limit)
    )
    found = await store.read(lambda c: [(str(name), int(seq)) for name, seq in c.execute(query)])
    return found[::-1]


async def _select(store: Store, query: Select[Any]) -> list[StoredBundle]:
    def read(connection: Connection) -> list[StoredBundle]:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        return [StoredBundle(**{**row, "published_at": moment(row["published_at"])}) for row in rows]

    return await store.read(read)
