"""Instances as they are looked up and listed, and their journals as they are read.

The doors, the reports and the audit room ask here; the engine does not. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection, Select, and_, func, or_, select

from topstitch.foundation.canonical import GENESIS
from topstitch.foundation.errors import NotFoundError
from topstitch.model.record import Record
from topstitch.store import sql
from topstitch.store.database import Backend
from topstitch.store.rows import Shown, all_shown, shown
from topstitch.store.sealing import StoredRow, milliseconds, open_rows
from topstitch.store.tables import approvals, blobs, cases, instances, journal, tasks, waits

if TYPE_CHECKING:
    from topstitch.store.store import Store

LISTING_MAX: Final = 1000


class StoredRecord(msgspec.Struct, frozen=True):
    """A record as it is stored: the exact bytes that are hashed, and the hash that was noted."""

    position: int
    instance: str
    seq: int
    kind: str
    body: bytes
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """Where an instance's row says that its chain ends."""

    instance: str
    seq: int
    hash: bytes


async def get(store: Store, instance: str) -> Shown:
    """Return one instance's row; raise ``NotFoundError`` when there is none."""
    rows = await store.read(
        lambda c: all_shown(c.execute(select(instances).where(instances.c.id == instance)).mappings())
    )
    if not rows:
        raise NotFoundError("no-instance", f"there is no instance {instance}; `topstitch instances` lists them")
    return rows[0]


async def listing(
    store: Store,
    *,
    workflow: str | None = None,
    statuses: Sequence[str] = (),
    correlation: str | None = None,
    parent: str | None = None,
    started_before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Shown]:
    """Return instances, newest first. ``started_before`` is the start and id of the last row of the page before."""
    query = (
        select(instances).order_by(instances.c.started_at.desc(), instances.c.id.desc()).limit(min(limit, LISTING_MAX))
    )
    if workflow is not None:
        query = query.where(instances.c.workflow == workflow)
    if statuses:
        query = query.where(instances.c.status.in_(statuses))
    if correlation is not None:
        query = query.where(instances.c.correlation == correlation)
    if parent is not None:
        query = query.where(instances.c.parent == parent)
    if started_before is not None:
        query = query.where(_before(*started_before))
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


def _before(at: datetime, instance: str) -> Any:
    ms = milliseconds(at)
    # the first condition alone can be answered from the index; the second sorts out its last entry
    return and_(instances.c.started_at <= ms, or_(instances.c.started_at < ms, instances.c.id < instance))


async def counts(store: Store, *, workflow: str | None = None) -> Mapping[str, int]:
    """Return how many instances have each status."""
    query = select(instances.c.status, func.count()).group_by(instances.c.status)
    if workflow is not None:
        query = query.where(instances.c.workflow == workflow)
    return await store.read(lambda c: {str(status): int(count) for status, count in c.execute(query)})


async def find(store: Store, beginning: str, *, limit: int = 10) -> list[str]:
    """Return the ids that begin so, for people who type the first characters."""
    query = (
        select(instances.c.id)
        .where(instances.c.id >= beginning, instances.c.id < beginning + "\uffff")
        .order_by(instances.c.id)
        .limit(limit)
    )
    return await store.read(lambda c: [str(name) for (name,) in c.execute(query)])


async def orphans(store: Store) -> list[Shown]:
    """Return open instances that nothing will wake: no due time, no lease, nothing open to be answered."""
    return await store.read(lambda c: all_shown(c.execute(orphans_query()).mappings()))


def orphans_query() -> Select[Any]:
    """Return the query behind ``orphans``: also what the invariant of the simulation asks."""
    open_items = [
        select(table.c.instance).where(table.c.instance == instances.c.id, table.c.status == "open").exists()
        for table in (approvals, tasks, waits, cases)
    ]
    return select(instances).where(
        instances.c.wake_at.is_(None),
        instances.c.ended_at.is_(None),
        instances.c.lease_owner.is_(None),
        instances.c.status != "paused",
        ~or_(*open_items),
    )


async def records(store: Store, instance: str, *, after: int = 0) -> list[Record]:
    """Return an instance's journal, opened; raise ``TamperError`` when it does not verify."""

    def load(backend: Backend) -> tuple[list[Any], list[Any]]:
        return list(backend.fetch(sql.LOAD, [(instance, 0)])), list(backend.fetch(sql.SUBJECT_KEYS, [(instance,)]))

    rows, keys = await store.work(load)
    if not rows:
        raise NotFoundError("no-instance", f"there is no instance {instance}; `topstitch instances` lists them")
    key = store.installation_key.unwrap(instance, keys[0][1], keys[0][2]) if keys else None
    stored = sorted(
        (StoredRow(seq, hash_hex, text or "", ciphertext) for _, seq, hash_hex, text, ciphertext in rows),
        key=lambda row: row.seq,
    )
    return open_rows(instance, stored, key, prev=GENESIS)[after:]


async def stored_records(
    store: Store, *, after_position: int = 0, instance: str | None = None, limit: int = 10_000
) -> list[StoredRecord]:
    """Return records as they are stored, in order of position, for whoever verifies chains or builds the tree."""
    query = (
        select(
            journal.c.position,
            journal.c.instance,
            journal.c.seq,
            journal.c.kind,
            func.coalesce(journal.c.body, blobs.c.data),
            journal.c.hash,
        )
        .select_from(journal.outerjoin(blobs, blobs.c.digest == journal.c.blob))
        .where(journal.c.position > after_position)
        .order_by(journal.c.position)
        .limit(limit)
    )
    if instance is not None:
        query = query.where(journal.c.instance == instance)

    def read(connection: Connection) -> list[StoredRecord]:
        return [
            StoredRecord(position, name, seq, kind, (body or "").encode(), bytes.fromhex(hash_hex))
            for position, name, seq, kind, body, hash_hex in connection.execute(query)
        ]

    return await store.read(read)


async def heads(store: Store, *, after: str = "", limit: int = 10_000) -> list[Head]:
    """Return where the rows of instances say their chains end, in order of id."""
    query = (
        select(instances.c.id, instances.c.head_seq, instances.c.head_hash)
        .where(instances.c.id > after)
        .order_by(instances.c.id)
        .limit(limit)
    )
    return await store.read(
        lambda c: [Head(name, seq, bytes.fromhex(hash_hex)) for name, seq, hash_hex in c.execute(query)]
    )


__all__ = [
    "Head",
    "StoredRecord",
    "counts",
    "find",
    "get",
    "heads",
    "listing",
    "orphans",
    "orphans_query",
    "records",
    "shown",
    "stored_records",
]
