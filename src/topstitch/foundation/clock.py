"""Decides what time it is, and lets a caller wait for a time.

Everything in the product that waits is handed a ``Clock``. The system clock follows the
machine; the simulated clock stands still until somebody moves it; the paced clock runs at
a chosen speed (the demo's days take seconds). Times are aware, in UTC, and cut to
milliseconds, because that is what the journal stores.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a room that waits is handed."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC, cut to milliseconds."""
        ...

    async def sleep_until(self, when: datetime) -> None:
        """Return once ``now() >= when``."""
        ...


def cut(moment: datetime) -> datetime:
    """Return ``moment`` in UTC without what is finer than a millisecond."""
    if moment.tzinfo is UTC and moment.microsecond % 1000 == 0:
        return moment
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def stopwatch() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return time.perf_counter()


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until the machine's clock has reached ``when``."""
        while (left := (when - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left, 3600.0))


class PacedClock:
    """Runs ``speed`` times as fast as the machine's clock, from ``start``.

    The speed may be changed on the way; sleepers notice within a twentieth of a second.
    """

    def __init__(self, start: datetime, speed: float = 1.0) -> None:
        self._base = cut(start)
        self._since = time.monotonic()
        self._speed = speed

    @property
    def speed(self) -> float:
        """How many seconds pass here while one passes on the machine."""
        return self._speed

    def now(self) -> datetime:
        """Return the paced time."""
        return cut(self._base + timedelta(seconds=(time.monotonic() - self._since) * self._speed))

    def set_speed(self, speed: float) -> None:
        """Run at ``speed`` from now on."""
        self._base, self._since, self._speed = self.now(), time.monotonic(), speed

    def jump_to(self, when: datetime) -> None:
        """Move forward to ``when``; a time already past changes nothing."""
        if when > self.now():
            self._base, self._since = cut(when), time.monotonic()

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until the paced time has reached ``when``."""
        while (left := (when - self.now()).total_seconds()) > 0:
            await asyncio.sleep(min(left / self._speed if self._speed else 0.05, 0.05))


class SimulatedClock:
    """Stands still until ``advance_to`` or ``advance`` moves it; wakes sleepers in order of time."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = cut(start or datetime(2026, 1, 5, 9, 0, tzinfo=UTC))
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the simulated time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move ``seconds`` forward."""
        self.advance_to(self._now + timedelta(seconds=seconds))

    def advance_to(self, when: datetime) -> None:
        """Move forward to ``when`` and wake whoever slept until then or earlier."""
        self._now = max(self._now, cut(when))
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    def next_sleeper(self) -> datetime | None:
        """Return the earliest time somebody sleeps until, or nothing."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep_until(self, when: datetime) -> None:
        """Return once somebody has moved the clock to ``when``."""
        if when <= self._now:
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when, next(self._order), sleeper))
        await sleeper
