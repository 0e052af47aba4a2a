"""Decides how long somebody waits who tries passwords: per account and address, per account, and per address.

Five tries are free; from then on each costs twice the wait of the one before, up to a quarter of an
hour. The account alone gives way later, so that a stranger elsewhere does not easily lock its owner out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from topstitch.store.sessions import Failures

WITHIN: Final = timedelta(hours=1)
"""How long an attempt counts."""
FREE_PAIR, FREE_ACCOUNT, FREE_ADDRESS = 5, 25, 50
WAIT_SECONDS_MIN: Final = 15.0
WAIT_SECONDS_MAX: Final = 900.0
_DOUBLINGS_MAX: Final = 10


def judge(now: datetime) -> Callable[[Failures, Failures, Failures], float]:
    """Return what says how many seconds an attempt at ``now`` has to wait still."""

    def wait(pair: Failures, account: Failures, address: Failures) -> float:
        return max(_left(pair, FREE_PAIR, now), _left(account, FREE_ACCOUNT, now), _left(address, FREE_ADDRESS, now))

    return wait


def pause_seconds(count: int, free: int) -> float:
    """Return how long after the last of ``count`` attempts the next one may come."""
    if count < free:
        return 0.0
    return float(min(WAIT_SECONDS_MIN * 2 ** min(count - free, _DOUBLINGS_MAX), WAIT_SECONDS_MAX))


def _left(failures: Failures, free: int, now: datetime) -> float:
    if failures.last is None:
        return 0.0
    passed = (now - failures.last).total_seconds()
    return max(0.0, pause_seconds(failures.count, free) - passed)
