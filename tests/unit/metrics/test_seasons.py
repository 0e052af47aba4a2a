"""Hours of the week: known from four whole weeks on, pinned, and compared with themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from topstitch.metrics import baselines, seasons
from topstitch.metrics.baselines import Now, Pace
from topstitch.metrics.limits import HOUR_MS
from topstitch.metrics.sketch import Sketch
from topstitch.store.rollups import Hour, Rollup
from unit.metrics.test_baselines import pinned

MONDAY = round(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)
NINE = MONDAY + 9 * HOUR_MS


def rolled(begins: int, values: list[int]) -> Rollup:
    return Rollup(
        workflow="w", version="1", measure="step", name="s", begins_ms=begins, spans_ms=HOUR_MS,
        executions=len(values), sketch=Sketch(values).text(),
    )  # fmt: skip


def weeks(count: int, each: int = 10, *, grows: float = 1.0) -> list[Rollup]:
    """Every hour 1 s and on Mondays from 8 to 11 4 s, a factor slower every week."""
    return [
        rolled(begins, [round((4000 if 8 <= hour < 11 else 1000) * grows**week)] * each)
        for week in range(count)
        for hour in range(168)
        for begins in (MONDAY + week * seasons.WEEK_MS + hour * HOUR_MS,)
    ]


def learnt(rows: list[Rollup]) -> dict[int, Hour]:
    return seasons.of_rows(rows, MONDAY, 7)


def speed(current: int, at_ms: int, count: int = 20) -> baselines.Speed:
    """Judge executions of an hour against a baseline of 1 s and four weeks."""
    season = Now(at_ms=at_ms, times_ms=[at_ms] * count, hours=learnt(weeks(4)))
    return baselines.speed(2.0, (), [current] * count, [pinned(1000)], season=season)


def test_the_hours_of_the_week_begin_on_monday() -> None:
    assert [seasons.hour_of_week(MONDAY + h * HOUR_MS) for h in (0, 9, 167, 168)] == [0, 9, 167, 0]


def test_below_four_whole_weeks_nothing_is_known_of_hours() -> None:
    assert learnt(weeks(3, each=100)) == {}
    assert len(learnt(weeks(4))) == 168


def test_an_hour_is_known_with_its_neighbours_when_they_hold_enough() -> None:
    assert learnt(weeks(4, each=4)) == {}  # 48 of 50
    found = learnt(weeks(4, each=5))[9]
    assert (found.samples, found.median_ms, found.pinned_ms) == (60, pytest.approx(4000, rel=0.01), 7)
    assert learnt(weeks(4))[12].median_ms == pytest.approx(1000, rel=0.01)


def test_one_busy_monday_is_no_season() -> None:
    quiet = [row for row in weeks(4) if not MONDAY <= row.begins_ms < MONDAY + 14 * HOUR_MS]
    quiet.append(rolled(NINE, [9000] * 500))
    once = learnt([row for row in quiet if seasons.hour_of_week(row.begins_ms) not in range(8, 11) or row is quiet[-1]])
    assert 9 not in once
    assert 40 in once


def test_a_slow_decay_does_not_become_usual() -> None:
    assert len(learnt(weeks(6, grows=1.05))) == 168
    assert learnt(weeks(6, grows=1.3)) == {}
    later = learnt(
        weeks(5) + [rolled(r.begins_ms, [9000] * 90) for r in weeks(12) if r.begins_ms >= MONDAY + 5 * seasons.WEEK_MS]
    )
    assert later[12].median_ms == pytest.approx(1000, rel=0.01)


def test_I04_an_execution_is_compared_with_its_hour_of_the_week() -> None:
    assert baselines.speed(2.0, (), [4100] * 20, [pinned(1000)]).pace is Pace.SLOW
    usual, slow = speed(4100, NINE), speed(8300, NINE)
    assert (usual.pace, slow.pace) == (Pace.USUAL, Pace.SLOW)
    assert slow.text == "8 s, 2.1x the usual 4 s on Mondays at 9:00 UTC (slow); baseline 1 s"
    assert speed(2100, NINE + 12 * HOUR_MS).pace is Pace.SLOW


def test_what_is_shown_as_usual_is_that_of_the_hour() -> None:
    few = speed(4000, NINE, count=3)
    assert few.shown_ms == pytest.approx(4000, rel=0.01)
    assert few.text == "usually 4 s on Mondays at 9:00 UTC; baseline 1 s; too few executions today"


def test_a_window_over_many_hours_names_none_of_them() -> None:
    times = [NINE + HOUR_MS * n for n in range(10)]
    season = Now(at_ms=NINE, times_ms=times, hours=learnt(weeks(4)))
    found = baselines.speed(2.0, (), [4000, 4000, *[1000] * 8], [pinned(1000)], season=season)
    assert (found.pace, found.text) == (Pace.USUAL, "1 s, 1.0x the usual 1 s at these hours of the week; baseline 1 s")


def test_an_hour_that_nothing_is_known_of_keeps_the_baseline() -> None:
    season = Now(at_ms=NINE, times_ms=[NINE] * 20, hours={})
    found = baselines.speed(2.0, (), [2100] * 20, [pinned(1000)], season=season)
    assert found.text == "2 s, 2.1x the baseline of 1 s (slow)"


def test_a_single_execution_is_old_by_its_hour_of_the_week() -> None:
    found = speed(4000, NINE)
    assert found.p95_ms(NINE) == pytest.approx(4000, rel=0.01)
    assert found.p95_ms(NINE + 5 * HOUR_MS) == pytest.approx(1000, rel=0.01)
    assert baselines.speed(2.0, (), [], [pinned(1000)]).p95_ms(NINE) == 3000
