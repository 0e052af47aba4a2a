"""Ends what takes too long: one timer for everything in a loop that waits for its time.

A timer of its own for each call costs more than the rest of the call's bookkeeping, and
nearly all are cancelled unused. Here times are kept in a table, and one timer looks through
it a few times a second while anything is in it: never early, at most ``TICK_SECONDS`` late.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

TICK_SECONDS: Final = 0.05


class Deadlines:
    """What rings when, in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._rings: dict[int, tuple[float, Callable[[], None]]] = {}
        self._keys = itertools.count()
        self._ticking = False

    def set(self, seconds: float, ring: Callable[[], None]) -> int:
        """Have ``ring`` called once ``seconds`` have passed, unless the key is dropped before."""
        key = next(self._keys)
        self._rings[key] = (self.loop.time() + seconds, ring)
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_SECONDS, self._tick)
        return key

    def drop(self, key: int) -> None:
        """Do not ring any more; a key that has rung is passed over."""
        self._rings.pop(key, None)

    def _tick(self) -> None:
        now = self.loop.time()
        for key in [key for key, (at, _) in self._rings.items() if at <= now]:
            _, ring = self._rings.pop(key)
            ring()
        self._ticking = bool(self._rings)
        if self._ticking:
            self.loop.call_later(TICK_SECONDS, self._tick)


class _Known(threading.local):
    of: Deadlines | None = None


_KNOWN: Final = _Known()


def deadlines() -> Deadlines:
    """Return those of the running loop."""
    loop = asyncio.get_running_loop()
    known = _KNOWN.of
    if known is None or known.loop is not loop:
        known = _KNOWN.of = Deadlines(loop)
    return known


class within:  # noqa: N801 -- read as a statement: with within(30): ...
    """Bound what a block may take: past ``seconds`` it is cancelled and raises ``TimeoutError``.

    As ``asyncio.timeout``, whose rules of cancelling from outside hold here too, but at most
    ``TICK_SECONDS`` late, and cheap enough for every call.
    """

    __slots__ = ("_asked", "_deadlines", "_key", "_rung", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rung = False

    def __enter__(self) -> Self:
        """Begin to count."""
        self._deadlines = deadlines()
        task = asyncio.current_task(self._deadlines.loop)
        if task is None:
            raise RuntimeError("only a task can be given a deadline")
        self._task, self._asked = task, task.cancelling()
        self._key = self._deadlines.set(self._seconds, self._ring)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop counting; say so when it took too long."""
        if not self._rung:
            self._deadlines.drop(self._key)
        elif self._task.uncancel() <= self._asked and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _ring(self) -> None:
        self._rung = True
        self._task.cancel()
