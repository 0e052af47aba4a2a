"""What was recorded since a place in the history, for whoever looks on: exact, whoever commits when.

A place is the record's position on SQLite, where commits are serial; on PostgreSQL, where a lower
position may be committed later, it is the place that the ledger gave the record. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, select

from topstitch.model.query import Query
from topstitch.store.database import is_postgres
from topstitch.store.rows import Shown, shown
from topstitch.store.sealing import moment
from topstitch.store.searches import conditions, within
from topstitch.store.tables import instances, journal, leaves

if TYPE_CHECKING:
    from topstitch.store.store import Store


class Change(msgspec.Struct, frozen=True):
    """One record, as little of it as an onlooker needs."""

    place: int
    instance: str
    seq: int
    kind: str
    at: datetime
    stage: str
    step: str | None


async def head(store: Store) -> int:
    """Return the place of the newest record."""
    query = select(func.max(leaves.c.leaf + 1 if is_postgres(store.url) else journal.c.position))
    return await store.read(lambda c: int(c.execute(query).scalar() or 0))


async def since(store: Store, place: int, limit: int = 500) -> list[Change]:
    """Return what was recorded behind a place, oldest first."""
    j = journal.c
    columns = (j.instance, j.seq, j.kind, j.at, j.stage, j.step)
    if is_postgres(store.url):
        joined = leaves.join(journal, (j.instance == leaves.c.instance) & (j.seq == leaves.c.seq))
        query = (
            select((leaves.c.leaf + 1).label("place"), *columns)
            .select_from(joined)
            .where(leaves.c.leaf >= place)
            .order_by(leaves.c.leaf)
            .limit(limit)
        )
    else:
        query = select(j.position.label("place"), *columns).where(j.position > place).order_by(j.position).limit(limit)

    def read(connection: Any) -> list[Change]:
        return [
            Change(int(at_place), name, int(seq), kind, moment(at), stage, step)
            for at_place, name, seq, kind, at, stage, step in connection.execute(query)
        ]

    return await store.read(read)


async def matching(
    store: Store, query: Query, now: datetime, names: Sequence[str], part: Sequence[str] | None
) -> tuple[Mapping[str, Shown], frozenset[str]]:
    """Return the instances of ``names`` that may be seen, by id, and which of them match a search."""
    i = instances.c
    columns = (i.id, i.workflow, i.version, i.title, i.status, i.stage, i.waiting_on, i.changed_at, i.ended_at)
    visible = select(*columns).where(i.id.in_(names), *within(part))
    wanted = select(i.id).where(i.id.in_(names), *conditions(query, now, folds=not is_postgres(store.url)))

    def read(connection: Any) -> tuple[dict[str, Shown], frozenset[str]]:
        rows = {str(row["id"]): shown(row) for row in connection.execute(visible).mappings()}
        return rows, frozenset(str(name) for (name,) in connection.execute(wanted)) & rows.keys()

    return await store.read(read)
