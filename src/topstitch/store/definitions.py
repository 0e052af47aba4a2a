"""Published definitions: immutable texts under their digests, and which one is in force.

``publish`` is the only way in: a version is written once, and whoever publishes names the
digest that was in force when they looked, so that of two publishers one hears of the other.
What was published is never changed or removed; ``retire`` only takes it out of force.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.record import Draft
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

_COLUMNS: Final = "digest, workflow, version, text, normal, published_at, published_by"
_INSERT: Final = f"INSERT INTO definitions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- constants


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One published Definition Version: the author's text, and its normal form (what the digest is of)."""

    digest: str
    workflow: str
    version: str
    text: str
    normal: str
    published_at: datetime
    published_by: str


async def publish(store: Store, definition: Definition, *, parent: str | None, moved_by: str | None = None) -> bool:
    """Publish a version and put it in force; return whether anything changed.

    ``parent`` is the digest the publisher saw in force (nothing, for a first version).
    Publishing what is in force already changes nothing; another text under a published
    version, or a parent that is stale, is a ``ConflictError``. ``published_by`` is the author;
    ``moved_by`` is who put it in force, where that is somebody else.
    """
    return await store.work(lambda backend: publish_with(backend, definition, parent, moved_by=moved_by), tells=True)


def publish_with(backend: Backend, new: Definition, parent: str | None, *, moved_by: str | None = None) -> bool:
    """Publish inside the present transaction, as ``publish`` does."""
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(hashtext(?))", ("publish " + new.workflow,))
    in_force = backend.execute("SELECT digest FROM channels WHERE workflow = ?", (new.workflow,))
    current = str(in_force[0][0]) if in_force else None
    if current == new.digest:
        return False
    known = backend.execute(
        "SELECT digest FROM definitions WHERE workflow = ? AND version = ?", (new.workflow, new.version)
    )
    if known and known[0][0] != new.digest:
        raise ConflictError(
            "version-published",
            f"{new.workflow} {new.version} is published already with another text, and a published version never "
            "changes; raise the version and publish again",
            detail={"digest": known[0][0]},
        )
    if current != parent:
        raise ConflictError(
            "stale-parent",
            f"{new.workflow} was published by somebody else since you looked; look at the difference to what is in "
            "force now, then publish again",
            detail={"in_force": current, "parent": parent},
        )
    at = milliseconds(new.published_at)
    if not known:
        values = (new.digest, new.workflow, new.version, new.text, new.normal, at, new.published_by)
        backend.execute(_INSERT, values)
    backend.execute(
        "INSERT INTO channels (workflow, digest, moved_at, moved_by) VALUES (?, ?, ?, ?) ON CONFLICT (workflow) DO "
        "UPDATE"
        " SET digest = excluded.digest, moved_at = excluded.moved_at, moved_by = excluded.moved_by",
        (new.workflow, new.digest, at, moved_by or new.published_by),
    )
    return True


async def get(store: Store, digest: str) -> Definition:
    """Return a version by its digest; raise ``NotFoundError`` when it was never published."""
    found = await _select(store, "WHERE digest = ?", digest)
    if not found:
        raise NotFoundError(
            "no-definition", f"no definition {digest} was published here; `topstitch publish` publishes one"
        )
    return found[0]


async def in_force(store: Store) -> Sequence[Definition]:
    """Return what new events start: one version of each workflow."""
    return await _select(store, "WHERE digest IN (SELECT digest FROM channels) ORDER BY workflow")


async def in_force_of(store: Store, workflow: str) -> Definition | None:
    """Return the version of a workflow that new events start."""
    found = await _select(store, "WHERE digest IN (SELECT digest FROM channels WHERE workflow = ?)", workflow)
    return found[0] if found else None


async def versions(store: Store, workflow: str) -> Sequence[Definition]:
    """Return all published versions of a workflow, newest first."""
    return await _select(store, "WHERE workflow = ? ORDER BY published_at DESC, version DESC", workflow)


async def retire(store: Store, workflow: str, draft: Draft) -> Definition:
    """Put nothing of a workflow in force any more, and note ``draft`` with it; return what was in force.

    New events start nothing of it; instances under way keep their version. Publishing a version, an earlier one
    too, puts it in force again.
    """
    was = await in_force_of(store, workflow)
    if was is None:
        known = await versions(store, workflow)
        if not known:
            message = f"no workflow {workflow!r} is published; topstitch workflows list names them"
            raise NotFoundError("no-workflow", message)
        raise ConflictError("retired-already", f"{workflow} is retired already; topstitch workflows pin puts it back")

    def work(backend: Backend) -> None:
        # it refuses before it writes: the transaction is shared with other work
        gone = "DELETE FROM channels WHERE workflow = ? AND digest = ? RETURNING digest"
        if not backend.execute(gone, (workflow, was.digest)):
            message = f"{workflow} was published by somebody else since you looked; look again, then retire it"
            raise ConflictError("stale-parent", message)
        note_down_with(backend, draft)

    await store.work(work, tells=True)
    return was


async def retired(store: Store) -> Sequence[Definition]:
    """Return the newest version of each workflow of which nothing is in force."""
    found = await _select(
        store,
        "WHERE workflow NOT IN (SELECT workflow FROM channels) ORDER BY workflow, published_at DESC, version DESC",
    )
    return list({one.workflow: one for one in reversed(found)}.values())[::-1]


async def _select(store: Store, condition: str, *parameters: str) -> list[Definition]:
    query = f"SELECT {_COLUMNS} FROM definitions {condition}"  # noqa: S608 -- both are constants of this file
    rows = await store.work(lambda backend: backend.execute(query, parameters))
    return [
        Definition(
            digest=digest,
            workflow=workflow,
            version=version,
            text=text,
            normal=normal,
            published_at=moment(at),
            published_by=by,
        )
        for digest, workflow, version, text, normal, at, by in rows
    ]
