"""The rates of the design, reproduced by a seeded simulation of the rules themselves (``language.md`` 8.2)."""

from __future__ import annotations

from random import Random

import pytest

from topstitch.metrics import baselines
from topstitch.metrics.baselines import Pace
from topstitch.metrics.exceptions import Count, Share, is_significant, judge
from topstitch.metrics.limits import Limits

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
