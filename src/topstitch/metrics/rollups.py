"""Decides how hours are rolled up, and when raw rows, hours and messages age out.

Called by whoever keeps the installation (``watch.keep``), as often as it likes: an hour is
rolled up once it has been over for a while, and again without harm. Raw rows of finished
instances go after their time, hours become days after theirs; a sketch of a day is the sum of
its hours, so its quantiles are as exact. Nothing is deleted that is not rolled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from topstitch.metrics.limits import DAY_MS, DEFAULT, HOUR_MS, Limits
from topstitch.metrics.seams import Seam, Window, counts, is_shared
from topstitch.metrics.sketch import Sketch
from topstitch.plan.plan import Plan
from topstitch.store import Store, measures, rollups
from topstitch.store.measures import Crossings, Durations, Exceptional
from topstitch.store.rollups import Rollup

HOURS_MAX: Final = 24 * 14
"""How many hours one call rolls up; a long backlog takes several."""
CHUNK_HOURS: Final = 24
Key = tuple[str, str, str, str, int]
"""Workflow, version, measure, name, and when it begins."""


async def roll_up(store: Store, plans: Mapping[tuple[str, str], Plan], now_ms: int, limits: Limits = DEFAULT) -> int:
    """Roll up the hours that are over; return how many. ``plans`` go by workflow and version."""
    until = (now_ms - limits.grace_ms) // HOUR_MS * HOUR_MS
    since = await rollups.mark(store, rollups.ROLLED_MARK)
    if since == 0:
        first = await rollups.first_measured_ms(store)
        if first is None:
            return 0
        since = first // HOUR_MS * HOUR_MS
    until = min(until, since + HOURS_MAX * HOUR_MS)
    for begin in range(since, until, CHUNK_HOURS * HOUR_MS):
        end = min(begin + CHUNK_HOURS * HOUR_MS, until)
        rows = await _hours(store, plans, begin, end)
        await rollups.write(store, rows, end)
    return max(until - since, 0) // HOUR_MS


async def age_out(store: Store, now_ms: int, limits: Limits = DEFAULT) -> int:
    """Let old raw rows, hours and messages go; return of how many instances rows went."""
    await _coarsen(store, now_ms, limits)
    await rollups.forget_messages(store, now_ms - limits.message_days * DAY_MS)
    return await rollups.age_out(store, now_ms - limits.raw_days * DAY_MS)


async def _hours(store: Store, plans: Mapping[tuple[str, str], Plan], since: int, until: int) -> list[Rollup]:
    crossings = await measures.crossings(store, since, until, slot_ms=HOUR_MS)
    durations = await measures.durations(store, since, until, slot_ms=HOUR_MS)
    exceptions = await measures.exceptions(store, since, until)
    found = of_rows(crossings, durations, since, HOUR_MS)
    for begin in range(since, until, HOUR_MS):
        these = [one for one in crossings if since + one.slot * HOUR_MS == begin]
        wrong = [one for one in exceptions if begin <= one.at_ms < begin + HOUR_MS]
        if these or wrong:
            found += of_seams(await _hour(store, begin, these, wrong), plans)
    return found


async def _hour(store: Store, begin: int, crossings: Sequence[Crossings], exceptions: Sequence[Exceptional]) -> Window:
    end = begin + HOUR_MS
    names = sorted({one.instance for one in exceptions})
    return Window(
        since_ms=begin,
        until_ms=end,
        slot_ms=HOUR_MS,
        crossings=crossings,
        tried=await measures.tried(store, begin, end) if is_shared(crossings) else (),
        exceptions=exceptions,
        crossed=frozenset(await measures.crossed(store, names, begin, end)),
    )


def of_rows(
    crossings: Iterable[Crossings], durations: Iterable[Durations], since_ms: int, slot_ms: int
) -> list[Rollup]:
    """Return the roll-ups of durations and latencies, one for each slot."""
    values: dict[Key, list[int]] = {}
    for crossing in crossings:
        begins, name = since_ms + crossing.slot * slot_ms, f"{crossing.from_step}>{crossing.to_step}"
        for measure, these in (("net", crossing.net_ms), ("gross", crossing.gross_ms)):
            values.setdefault((crossing.workflow, crossing.version, measure, name, begins), []).extend(these)
    for one in durations:
        key = (one.workflow, one.version, "step", one.step, since_ms + one.slot * slot_ms)
        values.setdefault(key, []).extend(one.duration_ms)
    return [_rollup(key, these, slot_ms) for key, these in sorted(values.items())]


def of_seams(window: Window, plans: Mapping[tuple[str, str], Plan]) -> list[Rollup]:
    """Return how many executions tried each seam in a slot, and how many had an exception."""
    return [
        Rollup(
            workflow=workflow,
            version=version,
            measure="seam",
            name=name_of(seam),
            begins_ms=window.since_ms,
            spans_ms=window.until_ms - window.since_ms,
            executions=count.tried,
            exceptions=count.failed,
        )
        for (workflow, version, seam), count in sorted(counts(window, plans).items(), key=lambda one: str(one[0]))
    ]


def name_of(seam: Seam) -> str:
    """Return what a seam is called in a roll-up."""
    return f"{seam.from_system}>{seam.to_system}"


def together(rows: Iterable[Rollup], spans_ms: int) -> list[Rollup]:
    """Add roll-ups up over longer spans: counts, sums and sketches."""
    found: dict[Key, Rollup] = {}
    for row in rows:
        begins = row.begins_ms // spans_ms * spans_ms
        key = (row.workflow, row.version, row.measure, row.name, begins)
        before = found.get(key)
        found[key] = _sum(before, row, begins, spans_ms)
    return list(found.values())


def sketch_of(rows: Sequence[Rollup]) -> Sketch:
    """Return the distribution of many roll-ups as one."""
    whole = Sketch()
    for row in rows:
        if row.sketch is not None:
            whole = whole.merge(Sketch.parse(row.sketch))
    return whole


async def _coarsen(store: Store, now_ms: int, limits: Limits) -> None:
    until = (now_ms - limits.hourly_days * DAY_MS) // DAY_MS * DAY_MS
    hours = await rollups.read(store, 0, until, spans_ms=HOUR_MS, limit=20_000)
    if not hours:
        return
    # whole days only: the last one read may have been cut off by the limit
    last = hours[-1].begins_ms // DAY_MS * DAY_MS + DAY_MS
    until = min(until, last) if len(hours) < 20_000 else last - DAY_MS
    whole = [row for row in hours if row.begins_ms < until]
    if whole:
        await rollups.coarsen(store, together(whole, DAY_MS), whole[0].begins_ms, until, HOUR_MS)


def _rollup(key: Key, values: Sequence[int], spans_ms: int) -> Rollup:
    workflow, version, measure, name, begins = key
    return Rollup(
        workflow=workflow,
        version=version,
        measure=measure,
        name=name,
        begins_ms=begins,
        spans_ms=spans_ms,
        executions=len(values),
        total_ms=sum(values),
        least_ms=min(values, default=None),
        most_ms=max(values, default=None),
        sketch=Sketch(values).text(),
    )


def _sum(before: Rollup | None, row: Rollup, begins: int, spans_ms: int) -> Rollup:
    both = [one for one in (before, row) if one is not None]
    least = [one.least_ms for one in both if one.least_ms is not None]
    most = [one.most_ms for one in both if one.most_ms is not None]
    sketch = sketch_of(both)
    return Rollup(
        workflow=row.workflow,
        version=row.version,
        measure=row.measure,
        name=row.name,
        begins_ms=begins,
        spans_ms=spans_ms,
        executions=sum(one.executions for one in both),
        exceptions=sum(one.exceptions for one in both),
        total_ms=sum(one.total_ms for one in both),
        least_ms=min(least, default=None),
        most_ms=max(most, default=None),
        sketch=sketch.text() if sketch.count else None,
    )
