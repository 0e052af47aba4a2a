"""The rates of the design, reproduced by a seeded simulation of the rules themselves (``language.md`` 8.2)."""

from __future__ import annotations

from random import Random

import pytest

from topstitch.metrics import baselines, seasons
from topstitch.metrics.baselines import Now, Pace
from topstitch.metrics.exceptions import Count, Share, is_significant, judge
from topstitch.metrics.limits import HOUR_MS, Limits
from topstitch.metrics.rollups import of_rows
from topstitch.store.measures import Durations
from topstitch.store.rollups import Baseline, Hour

SEED = 20261123
WINDOWS = 3000


def share_of_alarms(sigma: float, samples: int, window: int, slower: float) -> float:
    """Let the rule judge windows of log-normal durations against baselines of their own."""
    random = Random(f"{SEED} {sigma} {samples} {window} {slower}")
    limits = Limits(pinned=samples, baseline_window=samples, current_window=window, established=1)

    def draw(count: int, factor: float) -> list[int]:
        return [round(1_000_000 * factor * random.lognormvariate(0, sigma)) for _ in range(count)]

    alarms = 0
    for _ in range(WINDOWS):
        baseline = baselines.to_pin(
            workflow="w", step="s", family="f", clean_ms=draw(samples, 1), known=(), now_ms=0, by="x", limits=limits
        )
        assert baseline is not None
        alarms += baselines.speed(2.0, (), draw(window, slower), [baseline], limits).pace is Pace.SLOW
    return alarms / WINDOWS


@pytest.mark.parametrize(
    ("sigma", "samples", "window", "false_per_thousand", "seen"),
    [
        (0.5, 20, 5, 10.5, 0.77), (0.5, 50, 10, 0.6, 0.86), (0.5, 50, 20, 0.0, 0.92),
        (0.8, 20, 5, 70, 0.68), (0.8, 50, 20, 4.6, 0.80), (0.8, 200, 20, 0.8, 0.84),
        (1.2, 50, 20, 38, 0.72), (1.2, 200, 20, 22, 0.74),
    ],
)  # fmt: skip
def test_false_alarms_and_detections_of_a_windowed_median(
    sigma: float, samples: int, window: int, false_per_thousand: float, seen: float
) -> None:
    false = share_of_alarms(sigma, samples, window, 1.0) * 1000
    assert false == pytest.approx(false_per_thousand, abs=3 + 0.2 * false_per_thousand)
    assert share_of_alarms(sigma, samples, window, 2.5) == pytest.approx(seen, abs=0.04)


def test_single_executions_would_be_unusable() -> None:
    random = Random(SEED)
    assert sum(random.lognormvariate(0, 0.8) > 2 for _ in range(20_000)) / 20 == pytest.approx(193, abs=12)


@pytest.mark.parametrize(("rate", "crossed", "significant"), [(0.01, 0.18, 0.001), (0.10, 0.88, 0.32)])
def test_twenty_a_day_page_rarely_when_healthy_and_soon_when_not(
    rate: float, crossed: float, significant: float
) -> None:
    random = Random(f"{SEED} {rate}")
    days = [Count(tried=20, failed=sum(random.random() < rate for _ in range(20))) for _ in range(20_000)]
    literal = [judge(day, alert=0.03, target=0.01).share is not Share.QUIET for day in days]
    assert sum(literal) / len(days) == pytest.approx(crossed, abs=0.01)
    assert sum(is_significant(day, 0.01) for day in days) / len(days) == pytest.approx(significant, abs=0.012)
    assert sum(judge(day, alert=0.03, target=0.01).share is Share.PAGING for day in days) / len(days) == pytest.approx(
        significant, abs=0.012
    )


def test_a_median_withstands_outliers() -> None:
    random = Random(SEED)
    errors = []
    for _ in range(500):
        values = [
            round(1000 * random.lognormvariate(0, 0.5) * (20 if random.random() < 0.05 else 1)) for _ in range(200)
        ]
        found = baselines.to_pin(workflow="w", step="s", family="f", clean_ms=values, known=(), now_ms=0, by="x")
        assert found is not None
        errors.append(abs(found.median_ms - 1000) / 1000)
    assert sum(errors) / len(errors) < 0.08


# --- A week that has a shape ----------------------------------------------------------------------

MONDAY_MORNING = range(8, 11)
NIGHT = 6
"""Until this hour of every day it is quiet."""
FIRST_MS = 4 * 24 * HOUR_MS
"""A Monday, at midnight."""


def week(random: Random, number: int, *, nights: float = 1.0) -> list[tuple[int, int]]:
    """Return when the executions of a week ended and how long they took: a slow Monday morning, quick nights."""
    found = []
    for hour in range(168):
        is_night = hour % 24 < NIGHT
        middle = 4000 if hour in MONDAY_MORNING else 300 * nights if is_night else 1000
        count = 20 if 8 <= hour % 24 < 18 and hour < 5 * 24 else 6
        begins = FIRST_MS + (number * 168 + hour) * HOUR_MS
        times = (begins + n * HOUR_MS // count for n in range(count))
        found += [(at, round(middle * random.lognormvariate(0, 0.5))) for at in times]
    return found


def learnt(random: Random) -> tuple[Baseline, dict[int, Hour]]:
    """Learn from four weeks, by way of the roll-ups: the plain baseline, and the hours of the week."""
    ended = [one for number in range(4) for one in week(random, number)]
    baseline = baselines.to_pin(
        workflow="w", step="s", family="f", clean_ms=random.sample([took for _, took in ended], 200), known=(),
        now_ms=0, by="x",
    )  # fmt: skip
    assert baseline is not None
    slots: dict[int, list[int]] = {}
    for at, took in ended:
        slots.setdefault(at // HOUR_MS, []).append(took)
    rows = of_rows((), [Durations("w", "1", "s", slot, took) for slot, took in slots.items()], 0, HOUR_MS)
    return baseline, seasons.of_rows(rows, FIRST_MS, 0)


def slow_hours(ended: list[tuple[int, int]], baseline: Baseline, hours: dict[int, Hour]) -> list[int]:
    """Judge at the end of every hour; return the hours of the week at which the step was too slow."""
    found = []
    for end in range(ended[0][0] + HOUR_MS, ended[-1][0] + HOUR_MS, HOUR_MS):
        window = [one for one in ended if end - 24 * HOUR_MS <= one[0] < end][::-1]
        season = Now(at_ms=end, times_ms=[at for at, _ in window], hours=hours)
        if baselines.speed(2.0, (), [took for _, took in window], [baseline], season=season).pace is Pace.SLOW:
            found.append(seasons.hour_of_week(end - 1))
    return found


def test_hours_of_the_week_end_the_false_alarm_of_every_monday() -> None:
    random = Random(f"{SEED} mondays")
    baseline, hours = learnt(random)
    assert len(hours) == 168
    plain: list[int] = []
    for number in range(4, 10):
        ended = week(random, number)
        alarms = slow_hours(ended, baseline, {})
        assert set(alarms) >= set(MONDAY_MORNING)  # week after week
        plain += alarms
        assert slow_hours(ended, baseline, hours) == []
    assert set(plain) <= {*MONDAY_MORNING, MONDAY_MORNING.stop}


def test_hours_of_the_week_see_a_quiet_hour_grow_slow() -> None:
    random = Random(f"{SEED} nights")
    baseline, hours = learnt(random)
    ended = week(random, 4, nights=2.5)
    assert not [hour for hour in slow_hours(ended, baseline, {}) if hour % 24 < NIGHT]
    seen = [hour for hour in slow_hours(ended, baseline, hours) if hour % 24 in range(3, NIGHT)]
    assert len(seen) / (7 * 3) >= 0.85
