"""What an instance has left behind: steps, handoffs, effects, context reads, notices, checks.

Projections, for the pages of one instance and for the metrics. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, Table, func, select

from topstitch.store.rows import Shown, all_shown
from topstitch.store.tables import blobs, checks, context_reads, effects, handoffs, journal, notices, steps, waits

if TYPE_CHECKING:
    from topstitch.store.store import Store


Written = Row[int, str, int, str, int, str, str]
"""A record as it was written: position, instance, seq, kind, at_ms, hash_hex, text. Nothing opens its values."""
_WRITTEN: Final = select(
    journal.c.position,
    journal.c.instance,
    journal.c.seq,
    journal.c.kind,
    journal.c.at.label("at_ms"),
    journal.c.hash.label("hash_hex"),
    func.coalesce(journal.c.body, blobs.c.data, "").label("text"),
).select_from(journal.outerjoin(blobs, blobs.c.digest == journal.c.blob))


async def list_written(store: Store, after_position: int, *, limit: int) -> Sequence[Written]:
    """Return the records that were written after a position, in order, for whoever follows the journals."""
    query = _WRITTEN.where(journal.c.position > after_position).order_by(journal.c.position).limit(limit)
    return await store.read(lambda c: c.execute(query).all())


async def list_journals(store: Store, instances: Sequence[str], until_position: int) -> Sequence[Written]:
    """Return the journals of a few instances as far as a position, each in order."""
    query = _WRITTEN.where(journal.c.instance.in_(list(instances)), journal.c.position <= until_position)
    return await store.read(lambda c: c.execute(query.order_by(journal.c.instance, journal.c.seq)).all())


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
