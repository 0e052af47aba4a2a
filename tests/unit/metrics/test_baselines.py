"""Baselines: learnt, shown, pinned and frozen; and when a step has become too slow."""

from __future__ import annotations

import pytest

from support.onboarding import onboarding_plan
from topstitch.metrics import baselines
from topstitch.metrics.baselines import Pace
from topstitch.metrics.limits import Limits
from topstitch.store.rollups import Baseline


def pinned(median_ms: int = 1000, number: int = 1, p95_ms: int = 3000) -> Baseline:
    return Baseline(
        workflow="w", step="s", family="f", number=number, median_ms=median_ms, p95_ms=p95_ms, samples=50,
        pinned_ms=0, pinned_by="system:metrics",
    )  # fmt: skip


def to_pin(clean: list[int], known: list[Baseline] | None = None, **limits: int) -> Baseline | None:
    return baselines.to_pin(
        workflow="w", step="s", family="f", clean_ms=clean, known=known or [], now_ms=7, by="human:dana",
        limits=Limits(**limits) if limits else Limits(),
    )  # fmt: skip


def test_I02_below_twenty_it_is_learning_from_twenty_it_is_shown() -> None:
    few = baselines.speed(2.0, [1000] * 19, [1000] * 19, [])
    assert (few.pace, few.shown_ms, few.text) == (Pace.LEARNING, None, "learning (19 of 50)")
    shown = baselines.speed(2.0, [1000] * 20, [1000] * 20, [])
    assert (shown.pace, shown.shown_ms, shown.text) == (Pace.LEARNING, 1000, "learning (20 of 50); so far 1 s")


def test_I02_from_fifty_it_is_pinned_and_alerts_compare_with_it() -> None:
    assert to_pin([1000] * 49) is None
    found = to_pin([*range(1, 50), 1_000_000])  # the slowest is an outlier, and a median does not care
    assert found is not None
    assert (found.number, found.median_ms, found.p95_ms, found.samples) == (1, 26, 48, 50)


def test_ruling_7_the_minimum_is_a_setting() -> None:
    assert to_pin([1000] * 20, established=20, pinned=20) is not None


def test_a_baseline_takes_the_newest_two_hundred() -> None:
    found = to_pin([100] * 200 + [9000] * 500)
    assert found is not None
    assert (found.median_ms, found.samples) == (100, 200)


def test_a_pinned_baseline_does_not_follow_a_slow_decay() -> None:
    slow = baselines.speed(2.0, [2500] * 200, [2500] * 20, [pinned()])
    assert (slow.pace, slow.factor) == (Pace.SLOW, 2.5)


@pytest.mark.parametrize(
    ("current", "pace"),
    [(1400, Pace.USUAL), (1500, Pace.RAISED), (1900, Pace.RAISED), (2000, Pace.RAISED), (2100, Pace.SLOW)],
)
def test_I04_1_9_times_no_2_1_times_yes(current: int, pace: Pace) -> None:
    assert baselines.speed(2.0, [], [current] * 20, [pinned()]).pace is pace


def test_the_window_is_the_last_twenty_or_at_least_five() -> None:
    assert baselines.windowed([1] * 4) is None
    assert baselines.windowed([1] * 5) == 1
    assert baselines.windowed([3] * 20 + [9000] * 100) == 3


def test_I03_the_goal_is_against_the_frozen_first_baseline() -> None:
    speed = baselines.speed(2.0, [], [700] * 20, [pinned(1000), pinned(800, number=2)])
    assert speed.baseline is not None
    assert (speed.baseline.number, speed.first and speed.first.number) == (2, 1)
    assert speed.goal_ms() == 600
    assert speed.progress() == pytest.approx(0.75)
    assert speed.factor == pytest.approx(0.875)


def test_I04_a_single_execution_alarms_by_age_alone() -> None:
    assert baselines.too_old_ms(None, None) is None
    assert baselines.too_old_ms(400_000, None) == 800_000
    assert baselines.too_old_ms(400_000, 3_600_000) == 3_600_000
    assert baselines.too_old_ms(10, None) == 300_000  # never within five minutes


def test_a_family_is_the_connector_contract_and_the_action() -> None:
    plan = onboarding_plan()
    assert baselines.family_of(plan, plan.steps["identity"]) == "entra-id@1.create_user"
