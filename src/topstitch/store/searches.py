"""Reads that console, API and command line share: searched instances with their counts, seams, journals looked over.

Each is one statement, so that a list and the counts beside it are of one moment. SQLAlchemy
Core over the store's tables, through ``store.read``; nothing is written. Bounds have names:
what is over them is said on the page, not cut in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select, union_all

from topstitch.foundation.timetext import parse_duration
from topstitch.model.query import STATES, Query, moment_of
from topstitch.store.database import is_postgres
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import (
    approvals,
    cases,
    discrepancies,
    handoffs,
    instance_words,
    instances,
    journal,
    steps,
    tasks,
)
from topstitch.store.words import is_plain, leading

if TYPE_CHECKING:
    from topstitch.store.store import Store

PAGE_ROWS: Final = 50
STARTED: Final = "started_at"
HANDOFFS_MAX: Final = 50_000
NAMES_AT_ONCE: Final = 1_000
"""How many names one statement compares with a search."""
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
    store: Store,
    query: Query,
    now: datetime,
    *,
    after: str | None = None,
    limit: int = PAGE_ROWS,
    by: str = STARTED,
    part: Sequence[str] | None = None,
    counted: bool = True,
) -> Page:
    """Return instances that match, newest first, with counts of the same moment unless nobody asks.

    ``by`` is which time the list goes by: ``started_at`` or ``changed_at``. ``part`` names the workflows
    that may be seen, as names and ``prefix*``; nothing: all of them.
    """
    wanted = matching(store, query, now, part)
    columns = [instances.c[name] for name in _COLUMNS]
    # Few instances have a word: those are put in order, rather than all of them walked until a page is full.
    order = instances.c[by] + 0 if query.words else instances.c[by]
    page = select(*columns).where(*wanted).order_by(order.desc(), instances.c.id.desc())
    if after:
        page = page.where(_behind(after, by))
    shown = page.limit(limit + 1).subquery("page")
    marks = [_mark(shown, name).label(f"has_{name}") for name in _ITEMS]
    worst = select(func.max(handoffs.c.net_ms)).where(handoffs.c.instance == shown.c.id).scalar_subquery()
    rows = select(literal("row").label("what"), *shown.c, *marks, worst.label("worst_ms"))
    empty = [literal(0 if name in _NUMBERS else "") for name in _COLUMNS[1:]]
    blank = [*empty, *(literal(0) for _ in _ITEMS)]
    totals = [
        select(*[literal("count"), status, *blank, func.count()])
        .select_from(instances)
        .where(*where)
        .group_by(*grouped)
        for status, where, grouped in _totals(query, wanted, part)
    ]
    statement = union_all(rows, *totals) if counted else rows

    def read(connection: Any) -> tuple[list[Any], dict[str, int]]:
        found: list[Any] = []
        counts: dict[str, int] = {}
        for row in connection.execute(statement).mappings():
            if row["what"] == "row":
                found.append(row)
            else:
                counts[row["id"]] = counts.get(row["id"], 0) + row["worst_ms"]
        return found, counts

    found, counts = await store.read(read)
    counts = _settled(query, counts)
    found.sort(key=lambda row: (row[by], row["id"]), reverse=True)
    more = len(found) > limit
    found = found[:limit]
    cursor = f"{found[-1][by]}.{found[-1]['id']}" if more else None
    return Page(rows=all_shown(found), counts=counts, next=cursor)


async def names(
    store: Store, query: Query, now: datetime, *, limit: int, part: Sequence[str] | None = None
) -> list[str]:
    """Return the ids of instances that match, newest first."""
    wanted = matching(store, query, now, part)
    statement = (
        select(instances.c.id)
        .where(*wanted)
        .order_by(instances.c.started_at.desc(), instances.c.id.desc())
        .limit(limit)
    )
    return await store.read(lambda c: [str(name) for (name,) in c.execute(statement)])


async def among(store: Store, query: Query, now: datetime, names: Iterable[str]) -> frozenset[str]:
    """Return which of the instances named match a search."""
    wanted = matching(store, query, now)
    asked = sorted(set(names))
    pieces = [asked[begin : begin + NAMES_AT_ONCE] for begin in range(0, len(asked), NAMES_AT_ONCE)]
    each = [select(instances.c.id).where(instances.c.id.in_(piece), *wanted) for piece in pieces]
    return await store.read(lambda c: frozenset(str(name) for one in each for (name,) in c.execute(one)))


def matching(store: Store, query: Query, now: datetime, part: Sequence[str] | None = None) -> list[ColumnElement[bool]]:
    """Return what a search asks of ``instances`` in this store, and of which workflows they may be."""
    return [*conditions(query, now, folds=not is_postgres(store.url)), *within(part)]


def within(part: Sequence[str] | None) -> list[ColumnElement[bool]]:
    """Return the condition that a row of ``instances`` is of one of the workflows named."""
    if part is None:
        return []
    exact = [name for name in part if not name.endswith("*")]
    begun = [instances.c.workflow.startswith(name[:-1], autoescape=True) for name in part if name.endswith("*")]
    return [or_(instances.c.workflow.in_(exact), *begun)]


def _of_part(instance: ColumnElement[Any], part: Sequence[str] | None) -> list[ColumnElement[bool]]:
    """Return the condition that what belongs to an instance is of one of the workflows named."""
    return [] if part is None else [instance.in_(select(instances.c.id).where(*within(part)))]


MOST: Final = "completed"
"""How most instances end: how many did is what the others leave of all, and all are counted without reading them."""
_STATUSES: Final = frozenset(STATES["open"] + STATES["ended"])
_Total = tuple[Any, Sequence[ColumnElement[bool]], Sequence[Any]]


def _by_difference(query: Query, part: Sequence[str] | None) -> bool:
    return part is None and not query.words and {field for field, _ in query.terms} <= {"state", "workflow"}


def _totals(query: Query, wanted: Sequence[ColumnElement[bool]], part: Sequence[str] | None) -> Iterator[_Total]:
    """Yield what is counted: its status, the conditions, and what it is grouped by; nothing named is all of them."""
    i = instances.c
    if not _by_difference(query, part):
        # in the order of an index that holds it all
        yield i.status, wanted, ((i.version, i.status) if query.values("workflow") else (i.status,))
        return
    of = [i.workflow == name for name in query.values("workflow")]
    few = [func.coalesce(i.workflow, "") == name for name in query.values("workflow")]  # found by their status
    asked = _asked(query)
    yield i.status, [*few, i.status.in_(sorted((_STATUSES if MOST in asked else asked) - {MOST}))], (i.status,)
    if MOST in asked:
        yield literal(""), of, ()


def _settled(query: Query, counts: dict[str, int]) -> dict[str, int]:
    """Return the counts by status that a search asks for."""
    if "" in counts:
        everything = counts.pop("")
        counts[MOST] = everything - sum(counts.values())
        counts = {status: many for status, many in counts.items() if many and status in _asked(query)}
    return counts


def _asked(query: Query) -> frozenset[str]:
    """Return the statuses that every ``state:`` of a search allows."""
    return _STATUSES.intersection(*(STATES[value] for value in query.values("state")))


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
            case "changed":
                found.append(instances.c.changed_at >= milliseconds(now - timedelta(seconds=parse_duration(value))))
            case "since":
                found.append(instances.c.started_at >= milliseconds(moment_of(value)))
            case "until":
                found.append(instances.c.started_at < milliseconds(moment_of(value)))
            case "older":
                found.append(instances.c.started_at <= milliseconds(now - timedelta(seconds=parse_duration(value))))
            case _:
                found.append(instances.c.started_at >= milliseconds(now - timedelta(seconds=parse_duration(value))))
    return [*found, *(_says(word, folds=folds) for word in query.words)]


def _says(word: str, *, folds: bool) -> ColumnElement[bool]:
    """Return the condition that an instance is found by a word: by its index, or by what it waits on while it is open.

    What is more than one word is looked for as it stands, among those that have its longest word.
    """
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    i, known = instances.c, instance_words.c

    def says(column: Any) -> ColumnElement[bool]:
        like: ColumnElement[bool] = (column.like if folds else column.ilike)(pattern, escape="\\")
        return like

    as_it_stands = or_(says(i.title), says(i.correlation))
    span = leading(word)
    if span is None:
        return or_(as_it_stands, says(i.waiting_on))
    named = select(known.instance).where(known.word >= span[0], known.word <= span[1])
    if not is_plain(word):
        named = named.where(known.instance.in_(select(i.id).where(as_it_stands, i.id == known.instance)))
    waits = select(i.id).where(i.status.in_(STATES["open"]), says(i.waiting_on))
    return or_(i.id.in_(union_all(named, waits)), i.id == word)


def _crossed(source: str, target: str) -> ColumnElement[bool]:
    h = handoffs.c
    return instances.c.id.in_(select(h.instance).where(h.from_system == source, h.to_system == target))


def _mark(of: Any, name: str) -> ColumnElement[int]:
    table = _ITEMS[name]
    return select(func.count()).where(table.c.instance == of.c.id, table.c.status == "open").scalar_subquery()


def _behind(after: str, by: str = STARTED) -> ColumnElement[bool]:
    at, _, name = after.partition(".")
    ms = int(at) if at.isdigit() else 0
    i = instances.c
    return and_(i[by] <= ms, or_(i[by] < ms, i.id < name))


async def spread(
    store: Store,
    query: Query,
    now: datetime,
    *,
    since: datetime,
    until: datetime,
    slots: int,
    part: Sequence[str] | None = None,
) -> list[int]:
    """Return how many matching instances started in each of ``slots`` equal parts of a time; ``part`` as ``search``."""
    begin, end = milliseconds(since), milliseconds(until)
    width = max((end - begin) // slots, 1)
    i = instances.c
    slot = (i.started_at - begin) // width
    wanted = matching(store, query, now, part)
    wanted += [i.started_at >= begin, i.started_at < end]
    counted = select(slot.label("slot"), func.count()).where(*wanted).group_by(slot)
    found = [0] * slots

    def read(connection: Any) -> None:
        for at, count in connection.execute(counted):
            found[min(int(at), slots - 1)] += int(count)

    await store.read(read)
    return found


async def neighbours(store: Store, query: Query, now: datetime, instance: str) -> tuple[str | None, str | None]:
    """Return the instances before and after one in the list that a search makes."""
    i = instances.c
    wanted = matching(store, query, now)
    at = select(i.started_at).where(i.id == instance).scalar_subquery()
    newer = select(i.id).where(*wanted, or_(i.started_at > at, and_(i.started_at == at, i.id > instance)))
    older = select(i.id).where(*wanted, or_(i.started_at < at, and_(i.started_at == at, i.id < instance)))
    newer = newer.order_by(i.started_at, i.id).limit(1)
    older = older.order_by(i.started_at.desc(), i.id.desc()).limit(1)

    def read(connection: Any) -> tuple[str | None, str | None]:
        return connection.execute(newer).scalar(), connection.execute(older).scalar()

    return await store.read(read)


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits, for the rail."""

    approvals: int
    tasks: int
    cases: int
    discrepancies: int


async def open_counts(store: Store, part: Sequence[str] | None = None) -> Open:
    """Count what is open, in one statement; ``part`` as ``search``."""
    counted = {
        "approvals": approvals,
        "tasks": tasks,
        "cases": cases,
        "discrepancies": discrepancies,
    }
    statement = select(
        *(
            select(func.count())
            .where(t.c.status == "open", *_of_part(t.c.instance, part))
            .scalar_subquery()
            .label(name)
            for name, t in counted.items()
        )
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
    store: Store,
    since: datetime,
    *,
    source: str | None = None,
    target: str | None = None,
    part: Sequence[str] | None = None,
    limit: int = HANDOFFS_MAX,
) -> list[Crossing]:
    """Return handoffs between two systems since a time, oldest first; ``part`` as ``search``."""
    h = handoffs.c
    query: Select[Any] = (
        select(h.from_system, h.to_system, h.started_at, h.net_ms, h.instance)
        .where(h.started_at >= milliseconds(since), h.net_ms.isnot(None), h.from_system.isnot(None))
        .where(*_of_part(h.instance, part))
        .order_by(h.started_at.desc())
        .limit(limit)
    )
    if source is not None:
        query = query.where(h.from_system == source, h.to_system == target)
    rows = await store.read(lambda c: [Crossing(a, b, moment(at), int(ms), i) for a, b, at, ms, i in c.execute(query)])
    return rows[::-1]


async def seam_failures(store: Store, since: datetime, part: Sequence[str] | None = None) -> dict[tuple[str, str], int]:
    """Count the steps that failed at each seam since a time; ``part`` as ``search``."""
    query = (
        select(steps.c.from_system, steps.c.to_system, func.count())
        .where(steps.c.failed_at >= milliseconds(since), steps.c.from_system.isnot(None))
        .where(*_of_part(steps.c.instance, part))
        .group_by(steps.c.from_system, steps.c.to_system)
    )
    return await store.read(lambda c: {(a, b): int(n) for a, b, n in c.execute(query)})


async def by_version(store: Store) -> dict[tuple[str, str], dict[str, int]]:
    """Count instances of each definition version: open, and in all."""
    i = instances.c
    going = func.sum(case((i.status.in_(STATES["open"]), 1), else_=0))
    query = select(i.workflow, i.version, func.count(), going).group_by(i.workflow, i.version)
    return await store.read(
        lambda c: {(w, v): {"all": int(n), "open": int(going)} for w, v, n, going in c.execute(query)}
    )


async def step_failures(store: Store, since: datetime, part: Sequence[str] | None = None) -> dict[str, int]:
    """Count the steps that failed, by the system they work on; ``part`` as ``search``."""
    query = (
        select(steps.c.system, func.count())
        .where(steps.c.failed_at >= milliseconds(since), steps.c.system.isnot(None))
        .where(*_of_part(steps.c.instance, part))
        .group_by(steps.c.system)
    )
    return await store.read(lambda c: {str(s): int(n) for s, n in c.execute(query)})


async def newest_records(
    store: Store,
    *,
    kind: str | None = None,
    instance: str | None = None,
    before: int | None = None,
    actor: str | None = None,
    workflow: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
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
    if actor:
        # what is hashed is canonical, so an actor stands in it in one way only; ``agent`` finds every agent
        named = actor.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace('"', "")
        query = query.where(j.body.like(f'%"actor":"%{named}%"%', escape="\\"))
    if workflow:
        query = query.where(instances.c.workflow == workflow)
    if since is not None:
        query = query.where(j.at >= milliseconds(since))
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


async def busiest_since(store: Store, workflow: str, since_ms: int, limit: int) -> int:
    """Return ``since_ms``, or when the newest ``limit`` instances of a workflow begin if there are more since then."""
    i = instances.c
    query = (
        select(i.started_at)
        .where(i.workflow == workflow, i.started_at >= since_ms)
        .order_by(i.started_at.desc())
        .limit(1)
        .offset(limit - 1)
    )
    found = await store.read(lambda c: c.execute(query).scalar())
    return int(found) if found is not None else since_ms
