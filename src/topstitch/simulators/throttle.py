"""Decides whether one more call is within a system's rate limit.

A simulator asks before every call. The limit comes from the ``throttle`` setting,
``{"requests": 10, "per_seconds": 1, "shared": true}``: a window per caller, or one for all
callers of the tenant when shared. Without the setting there is no limit.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta

from topstitch.foundation.clock import Clock
from topstitch.simulators.state import Json


class Throttle:
    """A sliding window of calls per caller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: dict[str, deque[datetime]] = {}

    def wait(self, limit: Json | None, caller: str) -> int:
        """Count a call; return 0, or the seconds to wait when it is over the limit."""
        if not limit:
            return 0
        window = timedelta(seconds=float(limit.get("per_seconds", 1)))
        calls = self._window(limit, caller, window)
        now = self._clock.now()
        if len(calls) >= int(limit["requests"]):
            return max(1, math.ceil((calls[0] + window - now).total_seconds()))
        calls.append(now)
        return 0

    def consume(self, limit: Json | None, count: int) -> None:
        """Count ``count`` calls that another application of the tenant made."""
        for _ in range(count):
            self.wait(limit, "another application")

    def left(self, limit: Json | None, caller: str) -> int | None:
        """Return how many calls are left in the window, or nothing without a limit."""
        if not limit:
            return None
        window = timedelta(seconds=float(limit.get("per_seconds", 1)))
        return max(0, int(limit["requests"]) - len(self._window(limit, caller, window)))

    def _window(self, limit: Json, caller: str, window: timedelta) -> deque[datetime]:
        calls = self._calls.setdefault("" if limit.get("shared") else caller, deque())
        while calls and calls[0] + window <= self._clock.now():
            calls.popleft()
        return calls
