"""Decides when a call may leave: how many at once, and how many in a time.

One ``Limits`` belongs to one connection and is shared by everything that uses it: first
tries, retries, read-backs and reconciliation. Places are given in the order of asking, so
a crowd of retries cannot starve anybody. Waits obey the injected clock; where that clock
stands still, the same wait of real time ends it too, so that nothing hangs. What would
have to wait longer than its own timeout is told so at once and leaves nothing sent.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import TransientError

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h)")
_UNIT_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


SLACK: Final = 1.05
"""A twentieth slower than allowed, so that unequal times on the way do not break the limit."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls per second, ``burst`` of them at once."""

    per_second: float
    burst: int = 1


def parse_rate(text: str, burst: int = 1) -> Rate:
    """Read ``10/s``, ``600/m`` or ``3600/h``; raise ``ValueError`` otherwise."""
    match = _RATE.fullmatch(text)
    if match is None or float(match[1]) <= 0 or burst < 1:
        raise ValueError(f"{text!r} is not a rate; write a number above 0 and /s, /m or /h, such as 10/s")
    return Rate(per_second=float(match[1]) / _UNIT_SECONDS[match[2]], burst=burst)


class Limits:
    """The gate of one connection. ``enter`` before each request, ``leave`` after it."""

    def __init__(self, clock: Clock, *, rate: Rate | None = None, concurrency: int = 32) -> None:
        self._clock = clock
        self._rate = rate
        self._places = asyncio.Semaphore(concurrency)
        self._due: datetime | None = None
        self._closed_until: datetime | None = None

    async def enter(self, wait_seconds_max: float) -> None:
        """Return when one call may leave; raise ``TransientError`` rather than wait longer than allowed."""
        if self._places.locked():
            await self._wait_for_place(wait_seconds_max)
        else:
            await self._places.acquire()
        if self._rate is None and self._closed_until is None:
            return
        try:
            await self._wait_for_turn(wait_seconds_max)
        except BaseException:
            self._places.release()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()

    def close_for(self, seconds: float) -> None:
        """Let nothing leave for ``seconds``: the system asked everybody to slow down."""
        until = self._clock.now() + timedelta(seconds=seconds)
        self._closed_until = max(until, self._closed_until or until)

    async def _wait_for_place(self, wait_seconds_max: float) -> None:
        try:
            await asyncio.wait_for(self._places.acquire(), wait_seconds_max)
        except TimeoutError:
            raise _too_busy("every place of the connection was taken", wait_seconds_max) from None

    async def _wait_for_turn(self, wait_seconds_max: float) -> None:
        now = self._clock.now()
        turn = self._next_turn(now)
        wait = (turn - now).total_seconds()
        if wait <= 0:
            self._book(turn)
            return
        if wait > wait_seconds_max:
            raise _too_busy("the connection's rate limit is used up", wait)
        self._book(turn)
        await sleep_either(self._clock, turn, wait)

    def _next_turn(self, now: datetime) -> datetime:
        """Return when the next call may leave: a bucket of ``burst`` tokens, written as one time."""
        turn = now
        if self._closed_until is not None:
            if self._closed_until <= now:
                self._closed_until = None
            else:
                turn = self._closed_until
        if self._rate is not None and self._due is not None:
            ahead = timedelta(seconds=(self._rate.burst - 1) / self._rate.per_second)
            turn = max(turn, self._due - ahead)
        return turn

    def _book(self, turn: datetime) -> None:
        if self._rate is not None:
            self._due = max(self._due or turn, turn) + timedelta(seconds=SLACK / self._rate.per_second)


async def sleep_either(clock: Clock, until: datetime, seconds: float) -> None:
    """Return when ``clock`` has reached ``until``, or ``seconds`` of real time have passed, whichever is first."""
    by_clock = asyncio.ensure_future(clock.sleep_until(until))
    try:
        await asyncio.wait({by_clock}, timeout=seconds)
    finally:
        by_clock.cancel()


def _too_busy(why: str, wait_seconds: float) -> TransientError:
    return TransientError(
        "connection_busy",
        f"{why}, so nothing was sent; it is tried again, or raise rate or concurrency of the connection",
        retry_after_seconds=round(wait_seconds, 3),
    )
