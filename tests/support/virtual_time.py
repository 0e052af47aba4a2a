"""An event loop in which nothing waits: when all sleep, time jumps to whoever wakes first.

The whole-engine simulation runs in it. Two times go on: the product's clock (a
``SimulatedClock``; days pass at once) and the machine's, the loop's own, which moves with it
but never by more than ``STRIDE_SECONDS`` at a time. So an engine that looks for due rows
every few seconds of the machine does so after every jump and not ten thousand times during
one; what those looks would have found, ``next_due`` says, and no jump goes past it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

from topstitch.foundation.clock import SimulatedClock
from topstitch.store import keys

STRIDE_SECONDS: Final = 15.0
JUMPS_MAX: Final = 200_000
"""Jumps of one simulation; one that needs more goes in a circle."""


class StuckError(AssertionError):
    """Time jumps and jumps and nothing comes to an end."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Deterministic: one thread, no sockets, callbacks in the order in which they were made."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self.clock = clock
        self.next_due: Callable[[], datetime | None] = lambda: None
        """When a row falls due that nobody may have set a timer for."""
        self.jumps = 0
        self._seconds = 0.0
        self._selector = self

    def time(self) -> float:
        """Return the machine's seconds."""
        return self._seconds

    def select(self, timeout: float | None) -> list[Any]:
        """Called when no callback is ready: jump."""
        if timeout is None or timeout > 0:
            self._jump(timeout)
        return []

    def _jump(self, timeout: float | None) -> None:
        self.jumps += 1
        if self.jumps > JUMPS_MAX:
            raise StuckError(f"time has jumped {JUMPS_MAX} times and is {self.clock.now()}")
        now, sleeper, due = self.clock.now(), self.clock.next_sleeper(), self.next_due()
        if due is not None:  # whoever looks for it does so within a stride
            due = max(due, now) + timedelta(seconds=STRIDE_SECONDS)
        times = [each for each in (sleeper, due) if each is not None]
        if not times:
            if timeout is None:
                raise StuckError(f"everything sleeps for ever; it is {now}")
            self._seconds += timeout
            return
        then = min(times) + timedelta(microseconds=999)  # clocks are cut to milliseconds
        self._seconds += min(max((then - now).total_seconds(), 0.001), STRIDE_SECONDS)
        self.clock.advance_to(then)

    def _process_events(self, _events: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


@contextlib.contextmanager
def seeded_chance(seed: int) -> Iterator[None]:
    """Draw what the product takes for chance (ids, keys, nonces) from a seed."""
    keys._POOL.forget()
    with mock.patch.object(os, "urandom", random.Random(f"chance {seed}").randbytes):
        yield
    keys._POOL.forget()
