"""Decides when requests reach the database: many at a time, in one thread, one commit each time.

``GroupCommit`` is the writer of a real database: whoever wants something written puts a
request in its queue and awaits the answer; the thread takes all that has gathered and
commits once, so nobody waits for company and everybody shares the sync. ``Inline`` is the
writer of a database in memory: it carries each request out on the spot, with no thread.
Neither looks into a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from topstitch.foundation.clock import stopwatch
from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.store.database import Backend
from topstitch.store.journal import Answer, Journal
from topstitch.store.requests import Request

BATCH_MAX: Final = 256
LOOK_SECONDS: Final = 0.05
"""How often a SQLite writer looks whether another process has committed."""

Listener = Callable[[], None]
T = TypeVar("T")


class Writer(Protocol):
    """What carries requests out."""

    def submit(self, request: Request) -> Awaitable[Answer]:
        """Have a request carried out; the answer is there once it is durable."""
        ...

    def submit_and_wait(self, request: Request) -> Answer:
        """The same without an event loop."""

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` in the present event loop when something may have fallen due; return what ends it."""
        ...

    def changed(self) -> None:
        """Another process has changed something: tell the listeners."""

    def close(self) -> None:
        """Carry out what is queued, then give the connection back."""


class Inline:
    """Carries requests out on the spot, in the caller's thread."""

    def __init__(self, backend: Backend, journal: Journal) -> None:
        self._backend = backend
        self._journal = journal
        self._listeners: list[Listener] = []

    def submit(self, request: Request) -> Awaitable[Answer]:
        """Have a request carried out."""
        answer = self._journal.carry_out((request,))[0]
        if self._journal.told:
            self.changed()
        return _Ready(answer)

    def submit_and_wait(self, request: Request) -> Answer:
        """The same without an event loop."""
        return _value(self._journal.carry_out((request,))[0])

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` when something may have fallen due."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener()

    def close(self) -> None:
        """Carry out what is queued, then give the connection back."""
        self._backend.close()


class GroupCommit:
    """One thread, one connection, one commit for all that has gathered."""

    def __init__(self, backend: Backend, journal: Journal) -> None:
        self._backend = backend
        self._journal = journal
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Listener]] = []
        self._closed = False
        self._looked_at = stopwatch()
        self._thread = threading.Thread(target=self._write, name="topstitch-writer", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Awaitable[Answer]:
        """Have a request carried out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._put(_Item(request, loop, future, None))
        return future

    def submit_and_wait(self, request: Request) -> Answer:
        """The same without an event loop."""
        box: SimpleQueue[Answer] = SimpleQueue()
        self._put(_Item(request, None, None, box))
        return _value(box.get())

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` when something may have fallen due."""
        entry = (asyncio.get_running_loop(), listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def changed(self) -> None:
        """Tell the listeners."""
        for loop, listener in list(self._listeners):
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(listener)

    def close(self) -> None:
        """Carry out what is queued, then give the connection back."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._backend.close()

    def _put(self, item: _Item) -> None:
        if self._closed:
            raise OperatorError("store-closed", "the store has been closed; start topstitch again")
        self._queue.put(item)

    def _write(self) -> None:
        going = True
        while going:
            batch, going = self._gather()
            if batch:
                answers = self._answers(batch)
                if self._journal.told:
                    self.changed()  # before the answers, so that whoever gets one finds the listeners told
                self._deliver(batch, answers)
            if going:
                self._look_elsewhere()

    def _gather(self) -> tuple[list[_Item], bool]:
        """Wait for one request, then take what else is there."""
        batch: list[_Item] = []
        try:
            item = self._queue.get(timeout=LOOK_SECONDS) if self._backend.polls else self._queue.get()
            while item is not None and len(batch) < BATCH_MAX:
                batch.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return batch, True
        if item is not None:
            batch.append(item)
        return batch, item is not None

    def _answers(self, batch: Sequence[_Item]) -> Sequence[Answer]:
        try:
            return self._journal.carry_out([item.request for item in batch])
        except TopstitchError as error:
            return [error] * len(batch)
        except Exception as error:  # noqa: BLE001 -- whoever asked must hear of it; the thread goes on
            return [error] * len(batch)

    def _deliver(self, batch: Sequence[_Item], answers: Sequence[Answer]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer]]] = {}
        for item, answer in zip(batch, answers, strict=True):
            if item.box is not None:
                item.box.put(answer)
            elif item.loop is not None and item.future is not None:
                by_loop.setdefault(item.loop, []).append((item.future, answer))
        for loop, pairs in by_loop.items():
            with contextlib.suppress(RuntimeError):  # that loop has ended, and with it whoever asked
                loop.call_soon_threadsafe(_resolve, pairs)

    def _look_elsewhere(self) -> None:
        now = stopwatch()
        if not self._backend.polls or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        with contextlib.suppress(OperatorError):  # the next request will meet the same failure, and tell
            if self._backend.changed_elsewhere():
                self.changed()


class _Item:
    __slots__ = ("box", "future", "loop", "request")

    def __init__(
        self,
        request: Request,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Answer] | None,
        box: SimpleQueue[Answer] | None,
    ) -> None:
        self.request, self.loop, self.future, self.box = request, loop, future, box


class _Ready(Awaitable[Answer]):
    """An answer that is already there; awaiting it never suspends."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Answer]:
        yield from ()
        return _value(self._answer)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, such as any of a store in memory, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("this coroutine waits for something; run it in an event loop")


def _value(answer: Answer) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _resolve(pairs: Sequence[tuple[asyncio.Future[Answer], Answer]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
