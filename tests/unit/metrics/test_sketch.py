"""A sketch keeps every quantile within one per cent, and two of them add up to the sketch of both."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from topstitch.metrics.sketch import ACCURACY, Sketch, median, quantile, rank_of

VALUES = st.lists(st.integers(min_value=0, max_value=400 * 86_400_000), min_size=1, max_size=200)
SHARES = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])


@given(values=VALUES, share=SHARES)
def test_every_quantile_is_within_one_per_cent_of_the_exact_one(values: list[int], share: float) -> None:
    found, exact = Sketch(values).quantile(share), quantile(values, share)
    assert found is not None
    assert exact is not None
    assert abs(found - exact) <= ACCURACY * exact + 1e-9


@given(one=VALUES, other=VALUES)
def test_two_sketches_add_up_to_the_sketch_of_both(one: list[int], other: list[int]) -> None:
    both, whole = Sketch(one).merge(Sketch(other)), Sketch(one + other)
    assert (both.bins, both.zeros, both.count) == (whole.bins, whole.zeros, whole.count)


@given(parts=st.lists(VALUES, min_size=1, max_size=6), share=SHARES)
def test_a_day_made_of_hours_is_as_exact_as_an_hour(parts: list[list[int]], share: float) -> None:
    day = Sketch()
    for part in parts:
        day = Sketch.parse(day.text()).merge(Sketch.parse(Sketch(part).text()))
    exact = quantile([value for part in parts for value in part], share)
    found = day.quantile(share)
    assert found is not None
    assert exact is not None
    assert abs(found - exact) <= ACCURACY * exact + 1e-9


@given(values=VALUES)
def test_what_is_written_down_is_read_back(values: list[int]) -> None:
    sketch = Sketch(values)
    again = Sketch.parse(sketch.text())
    assert (again.bins, again.zeros, again.count) == (sketch.bins, sketch.zeros, sketch.count)


def test_a_sketch_without_values_has_no_quantiles() -> None:
    assert Sketch().quantile(0.5) is None
    assert quantile([], 0.5) is None
    assert median([]) is None


def test_bins_stay_few() -> None:
    assert len(Sketch(range(1, 400 * 86_400_000, 86_400)).bins) < 1300


@pytest.mark.parametrize(("share", "rank"), [(0.5, 49), (0.95, 94), (0.99, 98), (1.0, 99), (0.0, 0)])
def test_a_quantile_is_the_nearest_rank(share: float, rank: int) -> None:
    assert rank_of(share, 100) == rank


def test_a_median_of_two_is_their_middle() -> None:
    assert median([1, 3]) == 2
    assert median([5, 1, 3]) == 3
