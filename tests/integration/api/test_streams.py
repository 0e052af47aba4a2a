"""Streams: what happens, as it happens; resumed exactly, ended when the reader may no longer read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from integration.api.programs import DANA, Programs
from topstitch.api.rest import close
from topstitch.api.watcher import Watcher
from topstitch.governance.access import Identity
from topstitch.store import instances, streams

QUICK = {"poll_seconds": 0.002, "comment_seconds": 0.02}


class Stream:
    """One open stream, as a program reads it."""

    def __init__(self, programs: Programs, path: str, **headers: str) -> None:
        self._programs, self._headers = programs, headers
        self._path, _, self._query = path.partition("?")
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.started: dict[str, Any] = {}
        self._gone = asyncio.Event()
        self._text = b""

    async def run(self) -> None:
        raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in self._headers.items()]
        path = f"/api/v1{self._path}"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "path": path, "raw_path": path.encode(), "root_path": "/api/v1", "query_string": self._query.encode(),
            "scheme": "http", "client": ("127.0.0.1", 1), "server": ("api.test", 80), "headers": raw,
        }  # fmt: skip
        first = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            message = next(first, None)
            if message is not None:
                return message
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.started = message
            else:
                self._chunks.put_nowait(message.get("body", b""))

        await self._programs.app(scope, receive, send)
        self._chunks.put_nowait(b"event: closed\ndata: {}\n\n")

    async def next(self) -> tuple[str, int | None, Any]:
        """Return the next event: its name, its place, what it says. Comments are passed over."""
        while True:
            block = (await self.block()).decode()
            fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                place = int(fields["id"]) if "id" in fields else None
                return fields["event"], place, orjson.loads(fields["data"])

    async def block(self) -> bytes:
        while b"\n\n" not in self._text:
            self._text += await asyncio.wait_for(self._chunks.get(), 10)
        block, _, self._text = self._text.partition(b"\n\n")
        return block

    def leave(self) -> None:
        self._gone.set()


@asynccontextmanager
async def following(programs: Programs, path: str, **headers: str) -> AsyncIterator[Stream]:
    stream = Stream(programs, path, **headers)
    task = asyncio.create_task(stream.run())
    try:
        assert (await stream.block()).startswith(b": looking on")
        yield stream
    finally:
        stream.leave()
        await asyncio.wait_for(task, 10)


def quick(programs: Programs) -> Programs:
    return Programs(programs.store, programs.hires, more=QUICK)


async def test_a_change_is_streamed_with_its_place_and_the_instance_as_it_is_then(programs: Programs):
    one = quick(programs)
    name = one.id("Priya Raman")
    async with following(one, "/stream?q=workflow:employee-onboarding") as stream:
        await one.post(f"/instances/{name}/pause", {"reason": "x"})
        event, place, said = await stream.next()
        assert (event, place) == ("changed", await streams.head(one.store))
        assert (said["instance"]["id"], said["matches"], said["kind"]) == (name, True, "operator.commanded")
        headers = {k.decode(): v.decode() for k, v in stream.started["headers"]}
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"


async def test_a_stream_resumes_exactly_behind_the_last_event_and_leaves_nothing_out(programs: Programs):
    one = quick(programs)
    name = one.id("Priya Raman")
    start = (await instances.get(one.store, name))["head_seq"]
    for verb in ("pause", "resume", "pause"):
        await one.post(f"/instances/{name}/{verb}", {"reason": verb})
    async with following(one, f"/instances/{name}/stream", last_event_id=str(start)) as stream:
        seen = [await stream.next() for _ in range(3)]
        assert [place for _, place, _ in seen] == [start + 1, start + 2, start + 3]
        assert all(said["text"] for _, _, said in seen)
        await one.post(f"/instances/{name}/resume", {"reason": "on"})
        assert (await stream.next())[1] == start + 4
    position = (await streams.head(one.store)) - 2
    async with following(one, "/stream", last_event_id=str(position)) as stream:
        assert (await stream.next())[1] == await streams.head(one.store)


async def test_a_reader_who_is_far_behind_reads_from_the_store(programs: Programs):
    async with following(quick(programs), "/stream", last_event_id="0") as stream:
        places = [(await stream.next())[1] for _ in range(5)]
        assert places == sorted(places)


async def test_a_silent_stream_shows_that_it_lives(programs: Programs):
    async with following(quick(programs), "/stream") as stream:
        assert await stream.block() == b": still here"


async def test_rights_are_asked_again_every_minute_and_a_stream_ends_without_them(programs: Programs):
    one = quick(programs)
    async with following(one, "/stream") as stream:
        one.caller = Identity(id="dana", via="token")
        assert await stream.block() == b": still here"
        one.clock.advance(60)
        assert await stream.next() == ("end", None, {"reason": "not-allowed"})


async def test_a_stopping_server_says_so_and_waits_for_no_reader(programs: Programs):
    one = quick(programs)
    async with following(one, "/stream") as stream:
        await close(one.app)
        assert await stream.next() == ("end", None, {"reason": "shutdown"})
    watcher: Watcher = one.app.state.watcher
    assert watcher.streams == 0


async def test_nobody_is_told_of_workflows_that_they_may_not_see(programs: Programs):
    from topstitch.governance.access import Grant

    one = quick(programs)
    one.caller = Identity(id="eve", grants=(Grant("viewer", "other"),), via="token")
    async with following(one, "/stream") as stream:
        operator = Programs(one.store, one.hires, caller=DANA)
        await operator.post(f"/instances/{one.id('Priya Raman')}/pause", {"reason": "x"})
        assert await stream.block() == b": still here"


async def test_an_id_that_is_none_is_refused(told: Programs):
    answer = await told.get("/stream", **{"last-event-id": "abc"})
    assert (answer.status, answer.json["code"]) == (422, "event-id-invalid")
