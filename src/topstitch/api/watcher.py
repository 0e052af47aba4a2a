"""Looks for new records, once for all open streams of this process, and only while somebody looks on.

A stream asks ``after`` with the place it has come to and waits with ``moved``. The newest changes are
kept here; who is further behind reads them from the store, so that nothing is left out however slow
a reader is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.store import Store, streams
from topstitch.store.streams import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT: Final = 5_000
STREAMS_MAX: Final = 2_000


class Watcher:
    """The one who looks."""

    def __init__(self, store: Store, poll_seconds: float) -> None:
        self._store, self._poll = store, poll_seconds
        self._recent: deque[Change] = deque(maxlen=KEPT)
        self._begin = 0
        """Everything behind this place is in ``_recent``."""
        self._head = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.streams = 0
        self.closed = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Count a stream for as long as it is open; raise when there are too many."""
        if self.streams >= STREAMS_MAX:
            message = (
                f"{STREAMS_MAX} streams are open, and one server holds no more; try again later, or ask at intervals"
            )
            raise OperatorError("too-many-streams", message)
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    async def head(self) -> int:
        """Return where the history ends, and look on from there."""
        await self._look()
        return self._head

    async def after(self, place: int) -> Sequence[Change]:
        """Return what was recorded behind a place, as far as it is known."""
        await self._look()
        if place < self._begin:
            return await streams.since(self._store, place)
        return [change for change in self._recent if change.place > place]

    async def moved(self, seconds: float) -> bool:
        """Wait until something was recorded, at most so long; return whether it was."""
        if self.closed:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End every stream, so that a stopping server does not wait for those who look on."""
        self.closed = True
        self._moved.set()
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        if self._task is not None and not self._task.done():
            return
        head = await streams.head(self._store)
        if self._task is not None and not self._task.done():
            return
        self._recent.clear()
        self._begin = self._head = head
        self._task = asyncio.create_task(self._watch(), name="api-watch")

    async def _watch(self) -> None:
        while self.streams and not self.closed:
            await asyncio.sleep(self._poll)
            try:
                changes = await streams.since(self._store, self._head)
            except TopstitchError:
                continue
            if changes:
                self._keep(changes)

    def _keep(self, changes: Sequence[Change]) -> None:
        over = len(self._recent) + len(changes) - KEPT
        if over > 0:
            gone = [*self._recent, *changes][over - 1]
            self._begin = gone.place
        self._recent.extend(changes)
        self._head = changes[-1].place
        self._moved.set()
        self._moved = asyncio.Event()
