"""Hours of the week are learnt from the roll-ups, once, and what they say is in the alert."""

from __future__ import annotations

from datetime import timedelta

from integration.metrics.kit import NOW, Paper, after, finished
from support.onboarding import onboarding_plan
from topstitch.metrics import seasons, watch
from topstitch.metrics.baselines import family_of
from topstitch.metrics.limits import HOUR_MS
from topstitch.metrics.sketch import Sketch
from topstitch.metrics.watch import Watcher
from topstitch.store import Store, alarms, rollups
from topstitch.store.rollups import Baseline, Hour, Rollup, Season

PLAN = onboarding_plan()
MIDNIGHT = round(NOW.timestamp() * 1000) - 9 * HOUR_MS


def baseline(number: int = 1, pinned_ms: int = 0) -> Baseline:
    family = family_of(PLAN, PLAN.steps["equipment"])
    return Baseline(
        workflow=PLAN.workflow, step="equipment", family=family, number=number, median_ms=5000, p95_ms=8000,
        samples=200, pinned_ms=pinned_ms, pinned_by="system:metrics",
    )  # fmt: skip


async def weeks(store: Store, count: int = 4, each: int = 10) -> Watcher:
    """Write the roll-ups of the weeks until this Monday: on Mondays from 8 to 11 the order takes 20 s, else 5 s."""
    since = MIDNIGHT - count * seasons.WEEK_MS
    rows = [
        Rollup(
            workflow=PLAN.workflow, version=PLAN.version, measure="step", name="equipment",
            begins_ms=since + n * HOUR_MS, spans_ms=HOUR_MS, executions=each,
            sketch=Sketch([20_000 if n % 168 in range(8, 11) else 5000] * each).text(),
        )
        for n in range(count * 168)
    ]  # fmt: skip
    await rollups.write(store, rows, MIDNIGHT)
    await rollups.pin(store, [baseline()])
    return Watcher(store=store, plans=Paper(PLAN))


async def mondays(store: Store, seconds: float, name: str = "a") -> None:
    for n in range(6):
        await finished(store, f"ins_{name}{n}", after(60 * n), PLAN, seconds={"equipment": seconds})


async def durations(watcher: Watcher) -> list[str]:
    """Look twice; return what the duration alerts say."""
    for minute in (10, 11):
        await watch.evaluate(watcher, after(minute * 60))
    rows = await alarms.listing(watcher.store)
    return [str(row.body["text"]) for row in rows if row.kind == "duration"]


async def test_a_step_that_is_slow_every_monday_is_not_slow_on_monday(store: Store) -> None:
    watcher = await weeks(store)
    await mondays(store, 20)
    assert await durations(watcher) == ["The last executions took 20 s, 4.0x the baseline of 5 s (slow)"]
    await watch.keep(watcher, after(12 * 60))
    await watch.evaluate(watcher, after(13 * 60))
    assert await alarms.listing(store) == []
    speed = (await watch.speeds(watcher, after(14 * 60)))[PLAN.workflow, "equipment"]
    assert speed.text == "20 s, 1.0x the usual 20 s on Mondays at 9:00 UTC; baseline 5 s"


async def test_what_is_slow_even_for_a_monday_says_so(store: Store) -> None:
    watcher = await weeks(store)
    await watch.keep(watcher, after(0))
    await mondays(store, 50)
    (said,) = await durations(watcher)
    assert said == "The last executions took 50 s, 2.5x the usual 20 s on Mondays at 9:00 UTC (slow); baseline 5 s"


async def test_three_weeks_teach_nothing(store: Store) -> None:
    watcher = await weeks(store, count=3)
    await watch.keep(watcher, after(0))
    assert await rollups.seasons_of(store) == []


async def test_what_is_pinned_anew_learns_its_hours_anew(store: Store) -> None:
    watcher = await weeks(store)
    await watch.keep(watcher, after(0))
    await rollups.pin(store, [baseline(number=2, pinned_ms=MIDNIGHT)])
    await mondays(store, 20)
    assert await durations(watcher) == ["The last executions took 20 s, 4.0x the baseline of 5 s (slow)"]
    await watch.keep(watcher, NOW + timedelta(days=14))
    assert [one.number for one in await rollups.seasons_of(store)] == [1]


async def test_an_hour_that_is_pinned_stays_whoever_learns_it_again(store: Store) -> None:
    first = Season(
        workflow="w", step="s", family="f", number=1, since_ms=0, until_ms=4, hours={9: Hour(4000, 6000, 60, 4)}
    )
    again = Season(
        workflow="w", step="s", family="f", number=1, since_ms=0, until_ms=5,
        hours={9: Hour(9000, 9000, 90, 5), 10: Hour(7000, 8000, 70, 5)},
    )  # fmt: skip
    await rollups.keep_season(store, first)
    await rollups.keep_season(store, again)
    (kept,) = await rollups.seasons_of(store)
    assert (kept.until_ms, kept.hours) == (5, {9: Hour(4000, 6000, 60, 4), 10: Hour(7000, 8000, 70, 5)})


async def test_a_full_week_is_read_once(store: Store) -> None:
    watcher = await weeks(store)
    await watch.keep(watcher, after(0))
    (season,) = await rollups.seasons_of(store)
    rolled = await rollups.mark(store, rollups.ROLLED_MARK)
    assert await seasons.learn(store, baseline(), season, [PLAN.version], rolled) is None
    assert await seasons.learn(store, baseline(), season, [PLAN.version], rolled + seasons.WEEK_MS) is not None
