"""The console's own reads: searched instances with their counts, seams, journals looked over.

Each is one statement, so that a list and the counts beside it are of one moment. SQLAlchemy
Core over the store's tables, through ``store.read``; nothing is written. Bounds have names:
what is over them is said on the page, not cut in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, union_all

from topstitch.console.query import STATES, Query
from topstitch.foundation.timetext import parse_duration
from topstitch.store import Store
from topstitch.store.database import is_postgres
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import (
    approvals,
    cases,
    discrepancies,
    handoffs,
    instances,
    journal,
    steps,
    tasks,
)

PAGE_ROWS: Final = 50
HANDOFFS_MAX: Final = 50_000
_ITEMS: Final = {"approval": approvals, "task": tasks, "case": cases, "discrepancy": discrepancies}
_COLUMNS: Final = (
    "id",
    "workflow",
    "version",
    "title",
    "correlation",
    "stage",
    "status",
    "waiting_on",
    "started_at",
    "changed_at",
    "ended_at",
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a search, and how many match in all, by status."""

    rows: Sequence[Shown]
    counts: Mapping[str, int]
    next: str | None
    """The cursor of the page after this one."""

    @property
    def total(self) -> int:
        """How many match."""
        return sum(self.counts.values())


async def search(
    store: Store, query: Query, now: datetime, *, after: str | None = None, limit: int = PAGE_ROWS
) -> Page:
    """Return instances that match, newest first, with counts of the same moment."""
    wanted = conditions(query, now, folds=not is_postgres(store.url))
    columns = [instances.c[name] for name in _COLUMNS]
    page = select(*columns).where(*wanted).order_by(instances.c.started_at.desc(), instances.c.id.desc())
    if after:
        page = page.where(_behind(after))
    shown = page.limit(limit + 1).subquery("page")
    marks = [_mark(shown, name).label(f"has_{name}") for name in _ITEMS]
    worst = select(func.max(handoffs.c.net_ms)).where(handoffs.c.instance == shown.c.id).scalar_subquery()
    rows = select(literal("row").label("what"), *shown.c, *marks, worst.label("worst_ms"))
    empty = [literal(0 if name in _NUMBERS else "") for name in _COLUMNS[1:]]
    counted = (
        select(literal("count"), instances.c.status, *empty, *(literal(0) for _ in _ITEMS), func.count())
        .where(*wanted)
        .group_by(instances.c.status)
    )
    statement = union_all(rows, counted)

    def read(connection: Any) -> tuple[list[Any], dict[str, int]]:
        found: list[Any] = []
        counts: dict[str, int] = {}
        for row in connection.execute(statement).mappings():
            if row["what"] == "row":
                found.append(row)
            else:
                counts[row["id"]] = row["worst_ms"]
        return found, counts

    found, counts = await store.read(read)
    found.sort(key=lambda row: (row["started_at"], row["id"]), reverse=True)
    more = len(found) > limit
    found = found[:limit]
    cursor = f"{found[-1]['started_at']}.{found[-1]['id']}" if more else None
    return Page(rows=all_shown(found), counts=counts, next=cursor)


_NUMBERS: Final = frozenset({"started_at", "changed_at", "ended_at"})


def conditions(query: Query, now: datetime, *, folds: bool = True) -> list[ColumnElement[bool]]:
    """Return what a search asks, as conditions on ``instances``. ``folds``: LIKE looks past capitals by itself."""
    found: list[ColumnElement[bool]] = []
    for field, value in query.terms:
        match field:
            case "state":
                found.append(instances.c.status.in_(STATES[value]))
            case "workflow":
                found.append(instances.c.workflow == value)
            case "version":
                found.append(instances.c.version == value)
            case "key":
                found.append(instances.c.correlation == value)
            case "has":
                table = _ITEMS[value]
                found.append(instances.c.id.in_(select(table.c.instance).where(table.c.status == "open")))
            case "system":
                found.append(instances.c.id.in_(select(steps.c.instance).where(steps.c.system == value)))
            case "seam":
                found.append(_crossed(*value.split(">", 1)))
            case "older":
                found.append(instances.c.started_at <= milliseconds(now - timedelta(seconds=parse_duration(value))))
            case _:
                found.append(instances.c.started_at >= milliseconds(now - timedelta(seconds=parse_duration(value))))
    return [*found, *(_says(word, folds=folds) for word in query.words)]


def _says(word: str, *, folds: bool) -> ColumnElement[bool]:
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    columns = (instances.c.title, instances.c.correlation, instances.c.waiting_on)
    like = [(c.like if folds else c.ilike)(pattern, escape="\\") for c in columns]
    return or_(*like, instances.c.id == word)


def _crossed(source: str, target: str) -> ColumnElement[bool]:
    h = handoffs.c
    return instances.c.id.in_(select(h.instance).where(h.from_system == source, h.to_system == target))


def _mark(of: Any, name: str) -> ColumnElement[int]:
    table = _ITEMS[name]
    return select(func.count()).where(table.c.instance == of.c.id, table.c.status == "open").scalar_subquery()


def _behind(after: str) -> ColumnElement[bool]:
    at, _, name = after.partition(".")
    ms = int(at) if at.isdigit() else 0
    i = instances.c
    return and_(i.started_at <= ms, or_(i.started_at < ms, i.id < name))


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits, for the rail."""

    approvals: int
    tasks: int
    cases: int
    discrepancies: int


async def open_counts(store: Store) -> Open:
    """Count what is open, in one statement."""
    counted = {
        "approvals": approvals,
        "tasks": tasks,
        "cases": cases,
        "discrepancies": discrepancies,
    }
    statement = select(
        *(select(func.count()).where(t.c.status == "open").scalar_subquery().label(name) for name, t in counted.items())
    )
    row = await store.read(lambda c: c.execute(statement).mappings().one())
    return Open(**{name: int(row[name]) for name in counted})


async def head_position(store: Store) -> int:
    """Return the position of the newest record."""
    return await store.read(lambda c: int(c.execute(select(func.max(journal.c.position))).scalar() or 0))


async def changed_since(store: Store, position: int, limit: int = 500) -> list[tuple[int, str]]:
    """Return position and instance of records behind a position, oldest first."""
    query = (
        select(journal.c.position, journal.c.instance)
        .where(journal.c.position > position)
        .order_by(journal.c.position)
        .limit(limit)
    )
    return await store.read(lambda c: [(int(p), str(i)) for p, i in c.execute(query)])


class Crossing(msgspec.Struct, frozen=True):
    """One handoff, as little of it as a statistic needs."""

    source: str
    target: str
    at: datetime
    net_ms: int
    instance: str


async def crossings(
    store: Store, since: datetime, *, source: str | None = None, target: str | None = None, limit: int = HANDOFFS_MAX
) -> list[Crossing]:
    """Return handoffs between two systems since a time, oldest first."""
    h = handoffs.c
    query: Select[Any] = (
        select(h.from_system, h.to_system, h.started_at, h.net_ms, h.instance)
        .where(h.started_at >= milliseconds(since), h.net_ms.isnot(None), h.from_system.isnot(None))
        .order_by(h.started_at.desc())
        .limit(limit)
    )
    if source is not None:
        query = query.where(h.from_system == source, h.to_system == target)
    rows = await store.read(lambda c: [Crossing(a, b, moment(at), int(ms), i) for a, b, at, ms, i in c.execute(query)])
    return rows[::-1]


async def seam_failures(store: Store, since: datetime) -> dict[tuple[str, str], int]:
    """Count the steps that failed at each seam since a time."""
    query = (
        select(steps.c.from_system, steps.c.to_system, func.count())
        .where(steps.c.failed_at >= milliseconds(since), steps.c.from_system.isnot(None))
        .group_by(steps.c.from_system, steps.c.to_system)
    )
    return await store.read(lambda c: {(a, b): int(n) for a, b, n in c.execute(query)})


async def by_version(store: Store) -> dict[tuple[str, str], dict[str, int]]:
    """Count instances of each definition version: open, and in all."""
    i = instances.c
    query = select(i.workflow, i.version, func.count(), func.count(i.ended_at)).group_by(i.workflow, i.version)
    return await store.read(
        lambda c: {(w, v): {"all": int(n), "open": int(n) - int(ended)} for w, v, n, ended in c.execute(query)}
    )


async def step_failures(store: Store, since: datetime) -> dict[str, int]:
    """Count the steps that failed, by the system they work on."""
    query = (
        select(steps.c.system, func.count())
        .where(steps.c.failed_at >= milliseconds(since), steps.c.system.isnot(None))
        .group_by(steps.c.system)
    )
    return await store.read(lambda c: {str(s): int(n) for s, n in c.execute(query)})


async def newest_records(
    store: Store, *, kind: str | None = None, instance: str | None = None, before: int | None = None, limit: int = 50
) -> list[Shown]:
    """Return the newest records over all instances, without their bodies."""
    j = journal.c
    query = (
        select(
            j.position,
            j.instance,
            j.seq,
            j.kind,
            j.at,
            j.stage,
            j.step,
            j.hash,
            instances.c.title,
            instances.c.workflow,
        )
        .select_from(journal.outerjoin(instances, instances.c.id == j.instance))
        .order_by(j.position.desc())
        .limit(limit)
    )
    if kind:
        query = query.where(j.kind == kind)
    if instance:
        query = query.where(j.instance == instance)
    if before is not None:
        query = query.where(j.position < before)
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))
