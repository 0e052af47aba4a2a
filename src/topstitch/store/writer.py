"""Decides when requests reach the database: many at a time, one commit each time.

``GroupCommit`` is the writer of a real database: whoever wants something written leaves a
request and awaits the answer; all that has gathered is written and committed at once, so
nobody waits for company and everybody shares the sync. One transaction is under way at a
time. On SQLite its rows are written by the event loop that asked, and only the commit, which
waits for the disk, is the thread's: handing the interpreter lock over at every statement
cost more than the statements. A request that is alone is committed by the loop too, on a disk
that is quick. What may take long, a file that other processes write to as well,
whose lock must not wait for a change of hands, and all of PostgreSQL is the thread's throughout.
``Inline`` is the writer of a database in memory: it carries each request out on the spot.
Neither looks into a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Generator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from topstitch.foundation.clock import stopwatch
from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.store.database import Backend, Contended
from topstitch.store.journal import Answer, Journal, Started
from topstitch.store.requests import Accept, Claim, Request, Work

BATCH_MAX: Final = 256
LOOK_SECONDS: Final = 0.05
"""How often a SQLite writer looks whether another process has committed."""
SHARED_SECONDS: Final = 10.0
"""How long after another process was seen to write the file counts as shared."""

SHORT_SECONDS: Final = 0.001
"""A commit that takes less of late is done by the loop that wrote its rows when it is one request's: the change to
the thread and back takes as long, and nobody else gains by it."""
DISK_WEIGHT: Final = 0.1
"""How much one commit counts in what they take of late."""

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
    """One connection, one transaction at a time, one commit for all that has gathered."""

    def __init__(self, backend: Backend, journal: Journal) -> None:
        self._backend = backend
        self._journal = journal
        self._waiting: deque[_Item] = deque()
        self._turn = threading.Lock()
        """Whoever holds it has the connection: a loop while it writes rows, then the thread."""
        self._handed: SimpleQueue[_Handed | None] = SimpleQueue()
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Listener]] = []
        self._closed = False
        self._looked_at = stopwatch()
        self._shared_at = -SHARED_SECONDS
        """When another process was last seen to write."""
        self._disk_seconds = 0.0
        """What a commit has taken of late."""
        self._thread = threading.Thread(target=self._serve, name="topstitch-writer", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Awaitable[Answer]:
        """Have a request carried out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        item = _Item(request, loop, future, None)
        self._put(item)
        if item.brief and self._is_ours():
            if isinstance(request, Accept):
                self._foretell(loop)
            loop.call_soon(self._write_rows)
        else:
            self._handed.put(_LOOK)
        return future

    def submit_and_wait(self, request: Request) -> Answer:
        """The same without an event loop."""
        box: SimpleQueue[Answer] = SimpleQueue()
        self._put(_Item(request, None, None, box))
        self._handed.put(_LOOK)
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
        """Carry out what is waiting, then give the connection back."""
        if not self._closed:
            self._closed = True
            self._handed.put(None)
            self._thread.join()
            self._backend.close()

    def _foretell(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the listeners of a loop before its request is written: what they claim shares its commit."""
        for owner, listener in self._listeners:
            if owner is loop:
                listener()

    def _put(self, item: _Item) -> None:
        if self._closed:
            raise OperatorError("store-closed", "the store has been closed; start topstitch again")
        self._waiting.append(item)

    def _is_ours(self) -> bool:
        """Whether a loop may write: into a file that is ours alone."""
        return self._backend.dialect == "sqlite" and stopwatch() - self._shared_at >= SHARED_SECONDS

    def _gather(self) -> list[_Item]:
        """Take what is waiting. Only whoever holds the turn may."""
        waiting = self._waiting
        batch: list[_Item] = []
        while waiting and len(batch) < BATCH_MAX:
            batch.append(waiting.popleft())
        return batch

    # --- in a loop ------------------------------------------------------------------------------

    def _write_rows(self) -> None:
        """Write what is waiting into a transaction, and leave its commit to the thread unless it is short."""
        if not self._waiting or not self._turn.acquire(blocking=False):
            return  # whoever has the turn looks again afterwards
        batch, started = self._gather(), None
        try:
            if self._is_ours() and all(item.brief for item in batch):
                started = self._journal.start([item.request for item in batch], patient=False)
        except Contended:
            self._shared_at = stopwatch()
        except Exception:  # noqa: BLE001, S110 -- it was rolled back; the thread meets it again, and deals with it
            pass
        handed = _Handed(batch, started)
        if started is not None and started.brief and handed.alone and self._disk_seconds < SHORT_SECONDS:
            self._carry_out(handed, batch[0].loop)
        else:
            self._handed.put(handed)

    # --- in the thread, or in a loop that is alone with a short commit --------------------------

    def _serve(self) -> None:
        while (handed := self._next()) is not None:
            if handed.batch:
                self._carry_out(handed)
            elif self._turn.acquire(blocking=False):
                self._carry_out(_Handed(self._gather(), None))
        self._wind_up()

    def _next(self) -> _Handed | None:
        """Wait for what a loop hands over, or for something to look at."""
        try:
            return self._handed.get(timeout=LOOK_SECONDS) if self._backend.polls else self._handed.get()
        except Empty:
            return _LOOK

    def _wind_up(self) -> None:
        """Carry out what is left, and keep the turn: nobody has the connection afterwards."""
        while not self._turn.acquire(blocking=False):
            handed = self._handed.get()  # a loop has the turn, and hands it over
            if handed is not None and handed.batch:
                self._carry_out(handed)
        while batch := self._gather():
            self._deliver(batch, self._answers(_Handed(batch, None)), None)

    def _carry_out(self, handed: _Handed, here: asyncio.AbstractEventLoop | None = None) -> None:
        """Commit a batch, tell what became of it, and give up the turn, which came with it.

        ``here`` is the loop that does so; without one it is the thread.
        """
        loops: set[asyncio.AbstractEventLoop] = set()
        if handed.batch:
            answers = self._answers(handed)
            if self._journal.told:
                self.changed()  # before the answers, so that whoever gets one finds the listeners told
            self._look_elsewhere()
            self._turn.release()
            loops = self._deliver(handed.batch, answers, here)
        else:
            self._look_elsewhere()
            self._turn.release()
        self._hand_on(loops)

    def _hand_on(self, loops: Container[asyncio.AbstractEventLoop]) -> None:
        """Whoever came while the turn was taken must not wait for the next to come; ``loops`` look by themselves."""
        if not self._waiting:
            return
        try:
            item = self._waiting[0]
        except IndexError:  # somebody has the turn again, and it
            return
        if item.loop is None or not item.brief or not self._is_ours():
            self._handed.put(_LOOK)
        elif item.loop not in loops:
            try:
                item.loop.call_soon_threadsafe(self._write_rows)
            except RuntimeError:  # that loop has ended
                item.loop = None
                self._handed.put(_LOOK)

    def _answers(self, handed: _Handed) -> Sequence[Answer]:
        try:
            if handed.started is None:
                return self._journal.carry_out([item.request for item in handed.batch])
            began = stopwatch()
            answers = self._journal.finish(handed.started)
            if handed.alone:
                self._disk_seconds += (stopwatch() - began - self._disk_seconds) * DISK_WEIGHT
            return answers
        except TopstitchError as error:
            return [error] * len(handed.batch)
        except Exception as error:  # noqa: BLE001 -- whoever asked must hear of it; the thread goes on
            return [error] * len(handed.batch)

    def _deliver(
        self, batch: Sequence[_Item], answers: Sequence[Answer], here: asyncio.AbstractEventLoop | None
    ) -> set[asyncio.AbstractEventLoop]:
        """Hand out the answers; return the loops that were told."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer]]] = {}
        for item, answer in zip(batch, answers, strict=True):
            if item.box is not None:
                item.box.put(answer)
            elif item.loop is not None and item.future is not None:
                by_loop.setdefault(item.loop, []).append((item.future, answer))
        told = set()
        for loop, pairs in by_loop.items():
            if loop is here:
                self._answered(pairs)
                told.add(loop)
                continue
            with contextlib.suppress(RuntimeError):  # that loop has ended, and with it whoever asked
                loop.call_soon_threadsafe(self._answered, pairs)
                told.add(loop)
        return told

    def _answered(self, pairs: Sequence[tuple[asyncio.Future[Answer], Answer]]) -> None:
        """In the loop that asked: begin with what has gathered meanwhile, so that the disk does not wait; resolve."""
        self._write_rows()
        _resolve(pairs)

    def _look_elsewhere(self) -> None:
        now = stopwatch()
        if not self._backend.polls or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        with contextlib.suppress(OperatorError):  # the next request will meet the same failure, and tell
            if self._backend.changed_elsewhere():
                self._shared_at = self._looked_at
                self.changed()


class _Handed:
    """The turn with what is to be done in it: a batch, and its transaction if a loop has written it already."""

    __slots__ = ("alone", "batch", "started")

    def __init__(self, batch: Sequence[_Item], started: Started | None) -> None:
        self.batch, self.started = batch, started
        self.alone = len(batch) == 1 or sum([not isinstance(item.request, Claim) for item in batch]) <= 1
        """Whether it is one request; what is claimed at the same time does not count."""


_LOOK: Final = _Handed((), None)
"""No turn comes with this: something may be waiting, take the turn if it is free."""


class _Item:
    __slots__ = ("box", "brief", "future", "loop", "request")

    def __init__(
        self,
        request: Request,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Answer] | None,
        box: SimpleQueue[Answer] | None,
    ) -> None:
        self.request, self.loop, self.future, self.box = request, loop, future, box
        self.brief = loop is not None and not isinstance(request, Work)
        """Whether a loop asked for it that may write it itself: it is a few rows."""


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
