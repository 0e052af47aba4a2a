"""Tells open pages what has changed: one watcher for all of them, one stream a page, positions as event ids.

The watcher looks for new records only while somebody looks on. A stream sends ``changed`` with the
instance and the position; the page then fetches itself again under its own rights, so that nothing
is shown that the person may not see. ``Last-Event-ID`` resumes where a stream was cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from topstitch.console.hands import Hands
from topstitch.console.people import whose
from topstitch.foundation.errors import TopstitchError
from topstitch.governance import access
from topstitch.store import instances
from topstitch.store.searches import changed_since, head_position

COMMENT_SECONDS: Final = 15.0
RIGHTS_SECONDS: Final = 60.0
"""How long an open stream goes without asking again whether its person may."""
QUEUE_MAX: Final = 200
STREAMS_MAX: Final = 2_000
TOLD_AT_ONCE: Final = 25
TURNS_MAX: Final = 10**9
Change = tuple[int, str]
Page = Callable[[Request], Awaitable[Response]]


class Closed:
    """What ends a stream."""


CLOSED: Final = Closed()


class Watcher:
    """Looks for new records and tells everybody who listens."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._listeners: set[asyncio.Queue[Change | Closed]] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.ready = asyncio.Event()
        """Set while the watcher knows where the journal ends."""

    @property
    def listeners(self) -> int:
        """How many pages look on."""
        return len(self._listeners)

    def close(self) -> None:
        """End every stream, so that a stopping server does not wait for open pages."""
        self._closed = True
        for queue in self._listeners:
            _put(queue, CLOSED)
        if self._task is not None:
            self._task.cancel()

    async def listen(self, since: int | None) -> AsyncIterator[Change | None]:
        """Yield changes; nothing now and then, so that a connection is known to live."""
        queue: asyncio.Queue[Change | Closed] = asyncio.Queue(QUEUE_MAX)
        self._listeners.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="console-watch")
        try:
            if since is not None:
                await self.ready.wait()  # what comes from here on, the watcher tells
                for change in await changed_since(self._hands.store, since, QUEUE_MAX - 1):
                    _put(queue, change)
            while not self._closed:
                heard = await _next(queue)
                if isinstance(heard, Closed):
                    return
                yield heard
        finally:
            self._listeners.discard(queue)

    async def _watch(self) -> None:
        position = await head_position(self._hands.store)
        self.ready.set()
        while self._listeners and not self._closed:
            await asyncio.sleep(self._hands.poll_seconds)
            try:
                changes = await changed_since(self._hands.store, position)
            except TopstitchError:
                continue
            if not changes:
                continue
            position = changes[-1][0]
            newest = {instance: at for at, instance in changes}
            for begin in range(0, len(listeners := list(self._listeners)), TOLD_AT_ONCE):
                for queue in listeners[begin : begin + TOLD_AT_ONCE]:
                    for instance, at in newest.items():
                        _put(queue, (at, instance))
                await asyncio.sleep(0)  # whoever was told first may fetch its page meanwhile
        self.ready.clear()


async def _next(queue: asyncio.Queue[Change | Closed]) -> Change | Closed | None:
    """Return what comes next; nothing when it is time to show that the connection lives."""
    try:
        async with asyncio.timeout(COMMENT_SECONDS):
            return await queue.get()
    except TimeoutError:
        return None


def _put(queue: asyncio.Queue[Change | Closed], change: Change | Closed) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(change)


def looked_on(page: Page) -> Page:
    """Let a page be told of everything after the position at which its reading began."""

    @wraps(page)
    async def reading(request: Request) -> Response:
        hands: Hands = request.app.state.hands
        request.state.position = await head_position(hands.store)
        return await page(request)

    return reading


async def stream(request: Request) -> Response:
    """``GET /stream?since=&instance=``: changes after a position, or from now on; of one instance, or of all."""
    watcher: Watcher = request.app.state.watcher
    if watcher.listeners >= STREAMS_MAX:
        return Response("too many pages look on; this one is not live\n", 503, {"Retry-After": "30"})
    wanted = request.query_params.get("instance")
    last = request.headers.get("last-event-id") or request.query_params.get("since", "")
    since = int(last) if last.isdigit() else None

    hands: Hands = request.app.state.hands

    async def events() -> AsyncIterator[bytes]:
        yield b": looking on\nretry: 1000\n\n"
        asked_at = hands.clock.now()
        async for change in watcher.listen(since):
            if (hands.clock.now() - asked_at).total_seconds() >= RIGHTS_SECONDS:
                asked_at = hands.clock.now()
                if not await _may_still(hands, request, wanted):
                    return
            if change is None:
                yield b": still here\n\n"
            elif wanted is None or change[1] == wanted:
                yield f"id: {change[0]}\nevent: changed\ndata: {change[1]}\n\n".encode()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def _may_still(hands: Hands, request: Request, instance: str | None) -> bool:
    """Whether somebody who looks on is still signed in, and still may."""
    person = await whose(hands.identify, request)
    if person is None:
        return False
    place = str((await instances.get(hands.store, instance))["workflow"]) if instance else None
    return access.may(person.identity, "instances.read", place)
