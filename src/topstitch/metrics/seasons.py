"""Decides what is usual of a step at an hour of the week, and when enough is known to say so.

A directory that is slow every Monday at nine is not broken every Monday at nine. From four whole
weeks on, each hour of the week that has enough clean executions, its neighbours counted in, has a
median and a p95 of its own; the others keep the plain baseline. An hour is pinned like the
baseline it belongs to: it never moves by itself, a baseline that is pinned anew learns anew, and
weeks that have drifted away from the first one teach nothing. ``learn`` reads the hourly roll-ups
when a week is full; the rest is pure, and ``baselines`` compares with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from topstitch.foundation.timetext import duration_text
from topstitch.metrics.limits import DAY_MS, DEFAULT, HOUR_MS, Limits
from topstitch.metrics.sketch import Sketch
from topstitch.store import Store, rollups
from topstitch.store.rollups import Baseline, Hour, Rollup, Season

WEEK_MS: Final = 7 * DAY_MS
WEEK_HOURS: Final = 7 * 24
DAYS: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_FIRST_MONDAY_MS: Final = 4 * DAY_MS
"""1970 began on a Thursday."""


def hour_of_week(at_ms: int) -> int:
    """Return which hour of the week a time is in: 0 is Monday from 0:00 to 1:00 UTC."""
    return (at_ms - _FIRST_MONDAY_MS) // HOUR_MS % WEEK_HOURS


def usual_text(usual_ms: float, times_ms: Sequence[int], limits: Limits = DEFAULT) -> str:
    """Write what is usual when executions ended at these times, newest first: ``4 s on Mondays at 9:00 UTC``."""
    hours = [hour_of_week(at) for at in times_ms]
    near = all(_apart(hour, hours[0]) <= limits.season_beside for hour in hours)
    return f"{duration_text(usual_ms / 1000)} {_name(hours[0]) if near else 'at these hours of the week'}"


async def learn(
    store: Store,
    baseline: Baseline,
    known: Season | None,
    versions: Sequence[str],
    rolled_ms: int,
    limits: Limits = DEFAULT,
) -> Season | None:
    """Learn the hours of the week for a baseline, up to what is rolled up; nothing while no further week is full."""
    since = known.since_ms if known else await _since(store, baseline, versions)
    if since is None:
        return None
    weeks = min((rolled_ms - since) // WEEK_MS, limits.season_weeks_max)
    until = since + weeks * WEEK_MS
    if weeks < limits.season_weeks or (known is not None and until <= known.until_ms):
        return None
    rows = await rollups.step_hours(
        store, baseline.workflow, versions, baseline.step, since_ms=since, until_ms=until, spans_ms=HOUR_MS
    )
    found = Season(
        workflow=baseline.workflow,
        step=baseline.step,
        family=baseline.family,
        number=baseline.number,
        since_ms=since,
        until_ms=until,
        hours=of_rows(rows, since, rolled_ms, limits),
    )
    await rollups.keep_season(store, found)
    return found


def of_rows(rows: Sequence[Rollup], since_ms: int, now_ms: int, limits: Limits = DEFAULT) -> dict[int, Hour]:
    """Return the hours of the week that these hourly roll-ups of one step know enough of."""
    slots: dict[int, dict[int, Sketch]] = {}
    for row in rows:
        if row.sketch is not None:
            week, hour = (row.begins_ms - since_ms) // WEEK_MS, hour_of_week(row.begins_ms)
            before = slots.setdefault(week, {}).get(hour, Sketch())
            slots[week][hour] = before.merge(Sketch.parse(row.sketch))
    steady = _steady(slots, limits)
    if len(steady) < limits.season_weeks:
        return {}
    found = ((hour, _hour([slots[week] for week in steady], hour, now_ms, limits)) for hour in range(WEEK_HOURS))
    return {hour: usual for hour, usual in found if usual is not None}


def _steady(slots: Mapping[int, Mapping[int, Sketch]], limits: Limits) -> list[int]:
    """Return the weeks up to the first that is too far from the first one: a slow decay must not become usual."""
    medians = {week: _sum(list(hours.values())).quantile(0.5) or 1.0 for week, hours in sorted(slots.items())}
    steady: list[int] = []
    for week, median in medians.items():
        ratio = median / next(iter(medians.values()))
        if not 1 / limits.clear_factor < ratio < limits.clear_factor:
            break
        steady.append(week)
    return steady


def _hour(weeks: Sequence[Mapping[int, Sketch]], hour: int, now_ms: int, limits: Limits) -> Hour | None:
    beside = range(hour - limits.season_beside, hour + limits.season_beside + 1)
    each = [_sum([one for at in beside if (one := week.get(at % WEEK_HOURS)) is not None]) for week in weeks]
    whole = _sum(each)
    if whole.count < limits.pinned or sum(one.count > 0 for one in each) < limits.season_weeks:
        return None
    middle, high = whole.quantile(0.5) or 0, whole.quantile(0.95) or 0
    return Hour(max(round(middle), 1), max(round(high), 1), whole.count, now_ms)


async def _since(store: Store, baseline: Baseline, versions: Sequence[str]) -> int | None:
    """Return from when on executions teach: the first ones, or those since a person pinned anew."""
    if baseline.number > 1:
        return -(-baseline.pinned_ms // HOUR_MS) * HOUR_MS
    return await rollups.first_hour(store, baseline.workflow, versions, baseline.step)


def _sum(sketches: Sequence[Sketch]) -> Sketch:
    whole = Sketch()
    for one in sketches:
        whole = whole.merge(one)
    return whole


def _apart(one: int, other: int) -> int:
    apart = abs(one - other)
    return min(apart, WEEK_HOURS - apart)


def _name(hour: int) -> str:
    return f"on {DAYS[hour // 24]} at {hour % 24}:00 UTC"
