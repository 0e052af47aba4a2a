"""Live updates: who looks on hears what changed, where it left off, and nothing of other instances."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from browser.site import ask
from topstitch.console import stream
from topstitch.console.stream import TOLD_MAX, Watcher, in_words
from topstitch.foundation.errors import OperatorError
from topstitch.store import items
from topstitch.store.searches import head_position


async def heard(house: Any, count: int, query: str = "", **headers: str) -> tuple[asyncio.Task[str], asyncio.Event]:
    """Open a stream; the task ends with what it said once it has said ``count`` things."""
    box, opened = [""], asyncio.Event()
    done = asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            box[0] += message.get("body", b"").decode()
            opened.set()
            if box[0].count("event: changed") >= count and not done.done():
                done.set_result(None)

    async def receive() -> Any:
        await done
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/stream",
        "raw_path": b"/stream",
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("console.test", 80),
    }

    async def listen() -> str:
        await house.app(scope, receive, send)
        return box[0]

    task = asyncio.create_task(listen())
    await asyncio.wait_for(opened.wait(), 5)
    await asyncio.wait_for(_watching(house), 5)
    return task, opened


async def _watching(house: Any) -> None:
    """Wait until the watcher knows where the journal ends, so that what follows is news to it."""
    await house.app.state.watcher.ready.wait()


async def approve(house: Any) -> str:
    row = (await items.list_approvals(house.store))[0]
    await house.post(f"/approvals/{row['id']}/decision", said="approve")
    return str(row["instance"])


async def test_a_change_is_told_with_its_position_as_id(house: Any) -> None:
    task, _ = await heard(house, 1, query=f"instance={house.id('Priya Raman')}")
    instance = await approve(house)
    text = await asyncio.wait_for(task, 5)
    assert f"id: {await head_position(house.store)}\nevent: changed\ndata: {instance}\n\n" in text
    assert text.startswith(": looking on\nretry: 1000")


async def test_a_stream_goes_on_where_it_was_cut_off(house: Any) -> None:
    before = await head_position(house.store)
    await approve(house)
    task, _ = await heard(house, 1, last_event_id=str(before))
    assert f"id: {before + 1}\n" in await asyncio.wait_for(task, 5)


async def test_what_happens_while_a_page_is_read_is_told_once_it_looks_on(house: Any) -> None:
    page = await house.get("/instances")
    address = re.search(r'hx-sse:connect="(/stream[^"]*)"', page.text)
    assert address is not None
    await approve(house)
    task, _ = await heard(house, 1, query=address[1].partition("?")[2])
    assert house.id("Priya Raman") in await asyncio.wait_for(task, 5)


async def test_other_instances_are_not_heard_of(house: Any) -> None:
    before = await head_position(house.store)
    await approve(house)
    watcher: Watcher = house.app.state.watcher
    with watcher.looking(house.id("Priya Raman")) as hers, watcher.looking(house.id("Ana Costa")) as other:
        await watcher.catch_up(hers, before)
        await watcher.catch_up(other, before)
        assert await hers.next() == in_words([(before + 1, hers.instance)])[None]
        watcher.close()
        assert await other.next() is None
    watcher = house.app.state.watcher = Watcher(house.app.state.hands)
    quiet = await house_silent(house, before)
    assert "event: changed" not in quiet


async def house_silent(house: Any, before: int) -> str:
    """Listen to another instance until the server closes the stream."""
    task, _ = await heard(house, 99, query=f"instance={house.id('Ana Costa')}", last_event_id=str(before))
    house.app.state.watcher.close()
    return await asyncio.wait_for(task, 5)


def test_of_each_instance_the_newest_is_said_in_the_order_of_the_journal() -> None:
    said = in_words([(1, "a"), (2, "b"), (3, "a")])
    assert said[None] == said["b"] + said["a"]
    assert said["a"] == b"id: 3\nevent: changed\ndata: a\n\n"
    assert in_words([]).get("a") is None


async def test_a_page_that_does_not_listen_is_told_the_newest_and_no_more_than_it_may_keep(house: Any) -> None:
    with Watcher(house.app.state.hands).looking() as one:
        for number in range(TOLD_MAX + 5):
            one.tell(f"{number} ".encode())
        text = await one.next()
    assert text is not None
    assert text.split()[0] == b"5"
    assert len(text.split()) == TOLD_MAX


async def test_a_quiet_page_is_shown_that_its_connection_lives(house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream, "COMMENT_SECONDS", 0.0)
    with house.app.state.watcher.looking("ins_none") as one:
        assert await asyncio.wait_for(one.next(), 5) == stream.COMMENT


async def test_the_watcher_rests_when_nobody_looks(house: Any) -> None:
    assert house.app.state.watcher.listeners == 0
    answer = await ask(house.app, "/instances")
    assert answer.status == 200
    assert house.app.state.watcher.listeners == 0


async def test_the_watcher_outlives_a_database_that_is_away_when_it_begins(house: Any, monkeypatch: Any) -> None:
    asked = []

    async def away_once(store: Any) -> int:
        asked.append(store)
        if len(asked) == 1:
            raise OperatorError("database-away", "the database does not answer")
        return await head_position(store)

    monkeypatch.setattr(stream, "head_position", away_once)
    task, _ = await heard(house, 1)
    instance = await approve(house)
    assert f"data: {instance}\n" in await asyncio.wait_for(task, 5)
    assert len(asked) == 2
