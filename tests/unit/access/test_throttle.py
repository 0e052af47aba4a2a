"""Waiting grows with each attempt, has an end, and comes for a pair first, for an account alone last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from topstitch.access.throttle import (
    FREE_ACCOUNT,
    FREE_ADDRESS,
    FREE_PAIR,
    WAIT_SECONDS_MAX,
    WAIT_SECONDS_MIN,
    judge,
    pause_seconds,
)
from topstitch.store.sessions import Failures

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
NONE = Failures(0, None)


@given(st.integers(0, 200), st.integers(1, 60))
def test_each_attempt_waits_as_long_as_the_one_before_or_longer(count: int, free: int) -> None:
    assert pause_seconds(count, free) <= pause_seconds(count + 1, free) <= WAIT_SECONDS_MAX
    assert (pause_seconds(count, free) == 0) is (count < free)


def test_waiting_is_counted_from_the_last_attempt() -> None:
    last = Failures(FREE_PAIR, NOW - timedelta(seconds=5))
    assert judge(NOW)(last, last, last) == WAIT_SECONDS_MIN - 5
    assert judge(NOW + timedelta(seconds=15))(last, last, last) == 0


def test_an_account_and_an_address_alone_give_way_later() -> None:
    assert judge(NOW)(NONE, Failures(FREE_ACCOUNT - 1, NOW), Failures(FREE_ADDRESS - 1, NOW)) == 0
    assert judge(NOW)(NONE, Failures(FREE_ACCOUNT, NOW), NONE) == WAIT_SECONDS_MIN
    assert judge(NOW)(NONE, NONE, Failures(FREE_ADDRESS, NOW)) == WAIT_SECONDS_MIN
