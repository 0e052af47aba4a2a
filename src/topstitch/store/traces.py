"""What an instance has left behind: steps, handoffs, effects, context reads, notices, checks.

Projections, for the pages of one instance and for the metrics. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Table, func, select

from topstitch.foundation.canonical import GENESIS
from topstitch.foundation.errors import TamperError
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import StoredRow, open_rows
from topstitch.store.tables import blobs, checks, context_reads, effects, handoffs, journal, notices, steps, waits

if TYPE_CHECKING:
    from topstitch.model.record import Record
    from topstitch.store.store import Store


class Written(NamedTuple):
    """Where a record stands, and when it was written; not what it says."""

    position: int
    instance: str
    seq: int
    at_ms: int


async def list_written(store: Store, after_position: int, *, limit: int) -> list[Written]:
    """Return which records were written after a position, in order, for whoever follows the journals."""
    query = (
        select(journal.c.position, journal.c.instance, journal.c.seq, journal.c.at)
        .where(journal.c.position > after_position)
        .order_by(journal.c.position)
        .limit(limit)
    )
    return await store.read(lambda c: [Written(*row) for row in c.execute(query)])


async def list_journals(store: Store, instances: Sequence[str]) -> dict[str, list[Record]]:
    """Return the journals of a few instances, without personal values, for whoever only looks on.

    One that does not verify is left out: that is the auditor's business.
    """
    query = (
        select(journal.c.instance, journal.c.seq, journal.c.hash, func.coalesce(journal.c.body, blobs.c.data))
        .select_from(journal.outerjoin(blobs, blobs.c.digest == journal.c.blob))
        .where(journal.c.instance.in_(list(instances)))
        .order_by(journal.c.instance, journal.c.seq)
    )

    def read(c: Connection) -> dict[str, list[Record]]:
        found = {}
        for name, rows in groupby(c.execute(query), key=lambda row: str(row[0])):
            stored = [StoredRow(seq, hash_hex, text, None) for _, seq, hash_hex, text in rows]
            try:
                found[name] = open_rows(name, stored, None, prev=GENESIS)
            except TamperError:
                continue
        return found

    return await store.read(read)


async def list_steps(store: Store, instance: str) -> list[Shown]:
    """Return the steps that have a status of their own, in the order they began; the others still wait."""
    return await _of(store, steps, instance, steps.c.started_at, steps.c.step)


async def list_handoffs(store: Store, instance: str) -> list[Shown]:
    """Return the crossings of seams, in order of time."""
    return await _of(store, handoffs, instance, handoffs.c.started_at, handoffs.c.from_step, handoffs.c.to_step)


async def list_effects(store: Store, instance: str, *, applied: bool = True) -> list[Shown]:
    """Return what writes left in the systems, in order of time; with ``applied=False`` also those that left nothing."""
    rows = await _of(store, effects, instance, effects.c.sent_at, effects.c.act)
    return [row for row in rows if row["applied_at"] or not applied]


async def list_context_reads(store: Store, instance: str) -> list[Shown]:
    """Return what was read for the context."""
    return await _of(store, context_reads, instance, context_reads.c.at, context_reads.c.name)


async def list_notices(store: Store, instance: str) -> list[Shown]:
    """Return who was told what."""
    return await _of(store, notices, instance, notices.c.seq)


async def list_checks(store: Store, instance: str) -> list[Shown]:
    """Return the checks that have begun."""
    return await _of(store, checks, instance, checks.c.due_at, checks.c.check_name)


async def list_waits(store: Store, instance: str) -> list[Shown]:
    """Return what events the instance has waited for."""
    return await _of(store, waits, instance, waits.c.since, waits.c.step)


async def _of(store: Store, table: Table, instance: str, *order: Any) -> list[Shown]:
    query = select(table).where(table.c.instance == instance).order_by(*order)
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))
