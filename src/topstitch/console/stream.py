"""Tells open pages what has changed: one watcher for all of them, one stream a page, positions as event ids.

The watcher looks for new records only while somebody looks on. A stream sends ``changed`` with the
instance and the position; the page then fetches itself again under its own rights, so that nothing
is shown that the person may not see. ``Last-Event-ID`` resumes where a stream was cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
COMMENT: Final = b": still here\n\n"
RIGHTS_SECONDS: Final = 60.0
"""How long an open stream goes without asking again whether its person may."""
TOLD_MAX: Final = 200
"""How much a page may not have been sent yet; then the oldest is left out."""
STREAMS_MAX: Final = 2_000
TOLD_AT_ONCE: Final = 25
Page = Callable[[Request], Awaitable[Response]]


class Onlooker:
    """One page that looks on, at one instance or at all: what it was told and was not sent yet."""

    __slots__ = ("_bell", "_closed", "_loop", "_told", "instance", "told_at")

    def __init__(self, instance: str | None) -> None:
        self.instance = instance
        self._loop = asyncio.get_running_loop()
        self._told: deque[bytes] = deque(maxlen=TOLD_MAX)
        self._bell: asyncio.Future[None] | None = None
        self._closed = False
        self.told_at = self._loop.time()

    def tell(self, text: bytes) -> None:
        """Have a text sent."""
        self._told.append(text)
        self.told_at = self._loop.time()
        self._ring()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._ring()

    async def next(self) -> bytes | None:
        """Return all that is to be sent, as soon as there is something; nothing at the end."""
        while not self._told and not self._closed:
            self._bell = self._loop.create_future()
            await self._bell
        text = b"".join(self._told)
        self._told.clear()
        return text or None

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


class Watcher:
    """Looks for new records and tells everybody who looks on; what is said is put into words once for all of them."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._onlookers: dict[Onlooker, None] = {}  # in the order they came
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.ready = asyncio.Event()
        """Set while the watcher knows where the journal ends."""

    @property
    def listeners(self) -> int:
        """How many pages look on."""
        return len(self._onlookers)

    def close(self) -> None:
        """End every stream, so that a stopping server does not wait for open pages."""
        self._closed = True
        for one in self._onlookers:
            one.close()
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def looking(self, instance: str | None = None) -> Iterator[Onlooker]:
        """Tell somebody of what changes, for the time of the block."""
        one = Onlooker(instance)
        self._onlookers[one] = None
        if self._closed:
            one.close()
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="console-watch")
        try:
            yield one
        finally:
            del self._onlookers[one]

    async def catch_up(self, one: Onlooker, since: int) -> None:
        """Tell somebody of what was recorded behind a position; what comes from here on, they are told anyway."""
        await self.ready.wait()
        texts = in_words(await changed_since(self._hands.store, since))
        if text := texts.get(one.instance):
            one.tell(text)

    async def _watch(self) -> None:
        position: int | None = None
        while self._onlookers and not self._closed:
            try:
                if position is None:
                    position = await head_position(self._hands.store)
                    self.ready.set()
                changes = await changed_since(self._hands.store, position)
            except TopstitchError:
                changes = []  # the database is away; it is asked again
            if changes:
                position = changes[-1][0]
                await self._tell(in_words(changes))
            await asyncio.sleep(self._hands.poll_seconds)
            self._comfort()
        self.ready.clear()

    async def _tell(self, texts: Mapping[str | None, bytes]) -> None:
        for number, one in enumerate(list(self._onlookers), 1):
            if text := texts.get(one.instance):
                one.tell(text)
            if number % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)  # whoever was told first may fetch its page meanwhile

    def _comfort(self) -> None:
        """Show those who were told nothing for a while that their connection lives, a few at a time."""
        late = asyncio.get_running_loop().time() - COMMENT_SECONDS
        quiet = [one for one in self._onlookers if one.told_at <= late]
        for one in quiet[:TOLD_AT_ONCE]:
            one.tell(COMMENT)


def in_words(changes: Iterable[tuple[int, str]]) -> dict[str | None, bytes]:
    """Return what is said of changes, by instance; under nothing, of all of them. Of each, the newest counts."""
    newest = {instance: at for at, instance in changes}
    said: dict[str | None, bytes] = {
        instance: f"id: {at}\nevent: changed\ndata: {instance}\n\n".encode()
        for instance, at in sorted(newest.items(), key=lambda item: item[1])
    }
    return {**said, None: b"".join(said.values())}


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
        with watcher.looking(wanted) as one:
            if since is not None:
                await watcher.catch_up(one, since)
            while (text := await one.next()) is not None:
                if (hands.clock.now() - asked_at).total_seconds() >= RIGHTS_SECONDS:
                    asked_at = hands.clock.now()
                    if not await _may_still(hands, request, wanted):
                        return
                yield text

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def _may_still(hands: Hands, request: Request, instance: str | None) -> bool:
    """Whether somebody who looks on is still signed in, and still may."""
    person = await whose(hands.identify, request)
    if person is None:
        return False
    place = str((await instances.get(hands.store, instance))["workflow"]) if instance else None
    return access.may(person.identity, "instances.read", place)
