"""What the metrics keep of a time: hourly roll-ups, baselines, and the ageing of raw rows.

A roll-up is written once for an hour that is over and replaces itself when written again, so
that repeating it is harmless. Raw rows of ended instances age out only behind the mark up to
which roll-ups exist. Figures and sketches come from the metrics room; here is only SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import func, select

from topstitch.store.database import Backend
from topstitch.store.statements import RowsStatement
from topstitch.store.tables import baselines, definitions, instances, manual_baselines, rollups, seasons

if TYPE_CHECKING:
    from topstitch.store.store import Store

ROLLED_MARK: Final = "measures_rolled_until"
AGED_MARK: Final = "measures_aged_until"
AGE_BATCH: Final = 500


class Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one name over one span of time."""

    workflow: str
    version: str
    measure: str
    """``step``, ``net``, ``gross`` or ``seam``."""
    name: str
    begins_ms: int
    spans_ms: int
    executions: int
    exceptions: int = 0
    total_ms: int = 0
    least_ms: int | None = None
    most_ms: int | None = None
    sketch: str | None = None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A pinned reference of one step: number 1 is frozen, the highest is in force."""

    workflow: str
    step: str
    family: str
    number: int
    median_ms: int
    p95_ms: int
    samples: int
    pinned_ms: int
    pinned_by: str
    because: str | None = None


class Hour(msgspec.Struct, frozen=True, array_like=True):
    """What is usual of one step at one hour of the week; pinned like the baseline it belongs to."""

    median_ms: int
    p95_ms: int
    samples: int
    pinned_ms: int


class Season(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt of the hours of the week for one baseline."""

    workflow: str
    step: str
    family: str
    number: int
    """The number of the baseline."""
    since_ms: int
    until_ms: int
    """From when to when executions were looked at."""
    hours: Mapping[int, Hour]
    """By hour of the week, 0 is Monday at midnight UTC; only those that had enough executions."""


_UPSERT: Final = RowsStatement(
    "INSERT INTO rollups (workflow, version, measure, name, begins_at, spans_ms, executions, exceptions, total_ms,"
    " least_ms, most_ms, sketch) {rows} ON CONFLICT (workflow, version, measure, name, begins_at) DO UPDATE SET"
    " spans_ms = excluded.spans_ms, executions = excluded.executions, exceptions = excluded.exceptions,"
    " total_ms = excluded.total_ms, least_ms = excluded.least_ms, most_ms = excluded.most_ms, sketch = excluded.sketch",
    (
        "workflow", "version", "measure", "name", "begins_at:bigint", "spans_ms:bigint", "executions:bigint",
        "exceptions:bigint", "total_ms:bigint", "least_ms:bigint", "most_ms:bigint", "sketch",
    ),
)  # fmt: skip
_PIN: Final = (
    "INSERT INTO baselines (workflow, step, family, number, median_ms, p95_ms, samples, pinned_at, pinned_by, because)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow, step, family, number) DO NOTHING"
)
_KEEP_SEASON: Final = (
    "INSERT INTO seasons (workflow, step, family, number, since, until, hours) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (workflow, step, family, number) DO UPDATE SET until = excluded.until, hours = excluded.hours"
)
_SEASON: Final = "SELECT hours FROM seasons WHERE workflow = ? AND step = ? AND family = ? AND number = ?"
_SET_MARK: Final = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_MARK: Final = "SELECT value FROM meta WHERE key = ?"


# --- Marks --------------------------------------------------------------------------------------


async def mark(store: Store, name: str) -> int:
    """Return a mark, 0 when it was never set."""
    return await store.work(lambda backend: _mark(backend, name))


async def set_mark(store: Store, name: str, value: int) -> None:
    """Move a mark."""
    await store.work(lambda backend: backend.execute(_SET_MARK, (name, str(value))))


async def first_measured_ms(store: Store) -> int | None:
    """Return when the first instance began: before it there is nothing to roll up."""
    return await store.read(lambda c: c.execute(select(func.min(instances.c.started_at))).scalar())


def _mark(backend: Backend, name: str) -> int:
    found = backend.execute(_MARK, (name,))
    return int(found[0][0]) if found else 0


# --- Roll-ups -----------------------------------------------------------------------------------


async def write(store: Store, rows: Sequence[Rollup], rolled_until_ms: int) -> None:
    """Write roll-ups and move the mark behind them, in one transaction; the mark never moves back."""

    def do(backend: Backend) -> None:
        if rows:
            backend.apply(_UPSERT, [msgspec.structs.astuple(row) for row in rows])
        backend.execute(_SET_MARK, (ROLLED_MARK, str(max(rolled_until_ms, _mark(backend, ROLLED_MARK)))))

    await store.work(do)


async def read(
    store: Store,
    since_ms: int,
    until_ms: int,
    *,
    workflow: str | None = None,
    measure: str | None = None,
    spans_ms: int | None = None,
    limit: int = 200_000,
) -> list[Rollup]:
    """Return the roll-ups that begin in a time, oldest first."""
    query = (
        select(*rollups.c)
        .where(rollups.c.begins_at >= since_ms, rollups.c.begins_at < until_ms)
        .order_by(rollups.c.begins_at, rollups.c.workflow, rollups.c.version, rollups.c.measure, rollups.c.name)
        .limit(limit)
    )
    for column, value in ((rollups.c.workflow, workflow), (rollups.c.measure, measure), (rollups.c.spans_ms, spans_ms)):
        if value is not None:
            query = query.where(column == value)
    return await store.read(lambda c: [_rollup(tuple(row)) for row in c.execute(query)])


def _rollup(row: tuple[Any, ...]) -> Rollup:
    return Rollup(**dict(zip(Rollup.__struct_fields__, row, strict=True)))


async def coarsen(store: Store, days: Sequence[Rollup], since_ms: int, until_ms: int, hour_ms: int) -> None:
    """Put days in the place of the hours they were made of, in one transaction."""

    def do(backend: Backend) -> None:
        backend.execute(
            "DELETE FROM rollups WHERE begins_at >= ? AND begins_at < ? AND spans_ms = ?", (since_ms, until_ms, hour_ms)
        )
        if days:
            backend.apply(_UPSERT, [msgspec.structs.astuple(row) for row in days])

    await store.work(do)


# --- Ageing -------------------------------------------------------------------------------------


async def age_out(store: Store, before_ms: int, *, batches: int = 200) -> int:
    """Delete the step and handoff rows of instances that ended before a time; return of how many instances.

    They can be derived again from the journal; the roll-ups stay. An instance that is still
    open keeps its rows, however old it is. ``before_ms`` beyond the roll-ups is cut back to them.
    """
    total = 0
    for _ in range(batches):
        count = await store.work(lambda backend: _age(backend, before_ms))
        total += count
        if count == 0:
            break
    return total


def _age(backend: Backend, before_ms: int) -> int:
    before = min(before_ms, _mark(backend, ROLLED_MARK))
    found = backend.execute(
        "SELECT id, started_at FROM instances i WHERE i.ended_at < ? AND i.started_at < ? AND i.started_at >= ?"
        " AND EXISTS (SELECT 1 FROM steps s WHERE s.instance = i.id) ORDER BY i.started_at LIMIT ?",
        (before, before, _mark(backend, AGED_MARK), AGE_BATCH),
    )
    for name, _ in found:
        backend.execute("DELETE FROM handoffs WHERE instance = ?", (name,))
        backend.execute("DELETE FROM steps WHERE instance = ?", (name,))
    if found:
        oldest = backend.execute(
            "SELECT min(started_at) FROM instances WHERE status IN ('running', 'waiting', 'paused')"
        )
        still = oldest[0][0]
        reached = int(found[-1][1]) if still is None else min(int(found[-1][1]), int(still))
        backend.execute(_SET_MARK, (AGED_MARK, str(reached)))
    return len(found)


async def forget_messages(store: Store, before_ms: int) -> None:
    """Delete alerts that were cleared before a time, and what was sent about them."""

    def do(backend: Backend) -> None:
        gone = "SELECT id FROM alerts WHERE status = 'cleared' AND changed_at < ?"
        backend.execute(f"DELETE FROM alert_messages WHERE alert IN ({gone})", (before_ms,))  # noqa: S608 -- constant
        backend.execute("DELETE FROM alerts WHERE status = 'cleared' AND changed_at < ?", (before_ms,))
        backend.execute("DELETE FROM alert_mutes WHERE ends_at < ?", (before_ms,))

    await store.work(do)


# --- Baselines ----------------------------------------------------------------------------------


async def baselines_of(store: Store, workflow: str | None = None) -> list[Baseline]:
    """Return every baseline, the frozen first one of each step before the later ones."""
    query = select(*baselines.c).order_by(
        baselines.c.workflow, baselines.c.step, baselines.c.family, baselines.c.number
    )
    if workflow is not None:
        query = query.where(baselines.c.workflow == workflow)
    names = Baseline.__struct_fields__
    return await store.read(lambda c: [Baseline(**dict(zip(names, row, strict=True))) for row in c.execute(query)])


def pin_with(backend: Backend, baseline: Baseline) -> None:
    """Pin a baseline inside the present transaction; a number that is taken stays as it is."""
    backend.execute(_PIN, msgspec.structs.astuple(baseline))


async def pin(store: Store, found: Sequence[Baseline]) -> None:
    """Pin baselines."""

    def do(backend: Backend) -> None:
        for baseline in found:
            pin_with(backend, baseline)

    if found:
        await store.work(do)


async def seasons_of(store: Store) -> list[Season]:
    """Return what is known of the hours of the week."""
    query = select(*seasons.c).order_by(seasons.c.workflow, seasons.c.step, seasons.c.family, seasons.c.number)
    return await store.read(
        lambda c: [
            Season(
                workflow=row.workflow,
                step=row.step,
                family=row.family,
                number=row.number,
                since_ms=row.since,
                until_ms=row.until,
                hours=_hours(row.hours),
            )
            for row in c.execute(query)
        ]
    )


async def keep_season(store: Store, found: Season) -> None:
    """Keep what was learnt; an hour that is pinned stays as it is, whoever learnt it."""

    def do(backend: Backend) -> None:
        key = (found.workflow, found.step, found.family, found.number)
        before = backend.execute(_SEASON, key)
        hours = {**found.hours, **(_hours(before[0][0]) if before else {})}
        backend.execute(_KEEP_SEASON, (*key, found.since_ms, found.until_ms, msgspec.json.encode(hours).decode()))

    await store.work(do)


async def step_hours(
    store: Store, workflow: str, versions: Sequence[str], step: str, *, since_ms: int, until_ms: int, spans_ms: int
) -> list[Rollup]:
    """Return the roll-ups of one step of these versions that begin in a time."""
    query = (
        select(*rollups.c)
        .where(*_of_step(workflow, versions, step), rollups.c.spans_ms == spans_ms)
        .where(rollups.c.begins_at >= since_ms, rollups.c.begins_at < until_ms)
    )
    return await store.read(lambda c: [_rollup(tuple(row)) for row in c.execute(query)])


async def first_hour(store: Store, workflow: str, versions: Sequence[str], step: str) -> int | None:
    """Return when the oldest roll-up of one step of these versions begins."""
    query = select(func.min(rollups.c.begins_at)).where(*_of_step(workflow, versions, step))
    return await store.read(lambda c: c.execute(query).scalar())


def _of_step(workflow: str, versions: Sequence[str], step: str) -> tuple[Any, ...]:
    known = rollups.c.version.in_(list(versions))
    return rollups.c.workflow == workflow, known, rollups.c.measure == "step", rollups.c.name == step


def _hours(text: str) -> dict[int, Hour]:
    return msgspec.json.decode(text, type=dict[int, Hour])


async def record_manual(store: Store, workflow: str, body: str, at_ms: int, by: str) -> None:
    """Keep what a process took before it was orchestrated; a later record replaces an earlier one."""
    sql = (
        "INSERT INTO manual_baselines (workflow, body, recorded_at, recorded_by) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (workflow) DO UPDATE SET body = excluded.body, recorded_at = excluded.recorded_at,"
        " recorded_by = excluded.recorded_by"
    )
    await store.work(lambda backend: backend.execute(sql, (workflow, body, at_ms, by)))


async def manual(store: Store, workflow: str) -> str | None:
    """Return what was recorded of the process before, if anything was."""
    query = select(manual_baselines.c.body).where(manual_baselines.c.workflow == workflow)
    return await store.read(lambda c: c.execute(query).scalar())


async def versions(store: Store, workflows: Sequence[str]) -> list[str]:
    """Return the digests of every published version of these workflows."""
    query = select(definitions.c.digest).where(definitions.c.workflow.in_(list(workflows)))
    return await store.read(lambda c: [str(digest) for (digest,) in c.execute(query)])
