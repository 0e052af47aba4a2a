"""The share of exceptions at a seam: the literal rule, the minimum sample, and what pages."""

from __future__ import annotations

import pytest

from topstitch.metrics.exceptions import Count, Outcome, Share, chance_of, judge
from topstitch.metrics.limits import Limits


def said(failed: int, tried: int, **rest: object) -> Share:
    return judge(Count(tried=tried, failed=failed), alert=0.03, target=0.01, **rest).share  # type: ignore[arg-type]


def outcomes(*failures: str) -> list[Outcome]:
    return [Outcome(instance=f"ins_{n}", at_ms=n, failure=failure) for n, failure in enumerate(failures)]


def test_I10_three_of_a_hundred_no_four_of_a_hundred_yes() -> None:
    assert said(3, 100) is Share.QUIET
    assert said(4, 100) is Share.CROSSED
    assert said(5, 100) is Share.PAGING


def test_I10_the_minimum_sample_is_stated() -> None:
    alone = judge(Count(tried=12, failed=1), alert=0.03, target=0.01)
    assert (alone.share, alone.text) == (Share.QUIET, "1 of 12 (8.3 %), too few to judge")
    two = judge(Count(tried=12, failed=2), alert=0.03, target=0.01)
    assert two.share is Share.PAGING  # two of twelve would be a chance of 0.6 % at the target
    small = judge(Count(tried=31, failed=2), alert=0.03, target=0.01)
    assert (small.share, small.text) == (Share.CROSSED, "2 of 31 (6.5 %), not yet significant")


def test_ruling_6_the_minimum_is_a_setting() -> None:
    lax = Limits(crossings_least=10, exceptions_least=1)
    assert judge(Count(tried=12, failed=1), alert=0.03, target=0.01, limits=lax).share is Share.CROSSED


def test_two_identical_failures_in_a_row_page_at_once() -> None:
    assert said(2, 40, outcomes=outcomes("", "", "unreachable", "unreachable")) is Share.PAGING
    assert said(2, 40, outcomes=outcomes("", "unreachable", "", "unreachable")) is Share.CROSSED
    assert said(2, 40, outcomes=outcomes("", "", "refused", "unreachable")) is Share.CROSSED
    assert said(2, 40, outcomes=outcomes("unreachable", "unreachable", "")) is Share.CROSSED


def test_two_failures_of_one_instance_are_not_two_in_a_row() -> None:
    twice = [Outcome(instance="ins_1", at_ms=n, failure="unreachable") for n in (1, 2)]
    assert said(1, 40, outcomes=twice) is Share.QUIET


def test_two_in_a_row_page_even_when_they_are_the_only_two() -> None:
    found = judge(Count(tried=2, failed=2), alert=0.03, target=0.01, outcomes=outcomes("unknown", "unknown"))
    assert (found.share, found.text) == (Share.PAGING, "2 of 2 (100.0 %); unknown 2 times in a row")


def test_the_second_line_reaches_back_over_more_days() -> None:
    thin = Count(tried=20, failed=2)
    quiet = judge(thin, alert=0.03, target=0.01, longer=Count(tried=60, failed=2))
    assert quiet.share is Share.CROSSED
    assert quiet.text == "2 of 20 (10.0 %), not yet significant; over more days 2 of 60 (3.3 %)"
    loud = judge(thin, alert=0.03, target=0.01, longer=Count(tried=40, failed=4))
    assert loud.share is Share.PAGING


@pytest.mark.parametrize(("tried", "smallest"), [(10, 2), (20, 3), (50, 4), (100, 5)])
def test_the_smallest_count_that_pages_is_the_design_s(tried: int, smallest: int) -> None:
    assert chance_of(smallest, tried, 0.01) < 0.01 <= chance_of(smallest - 1, tried, 0.01)


def test_the_ends_of_the_binomial() -> None:
    assert chance_of(0, 10, 0.01) == 1.0
    assert chance_of(11, 10, 0.01) == 0.0
    assert chance_of(1, 10, 0.0) == 0.0
    assert chance_of(5, 10, 1.0) == 1.0
    assert chance_of(1, 20, 0.01) == pytest.approx(1 - 0.99**20)
