"""Streams: what happens, as it happens, as server-sent events that resume exactly where they were cut off.

The id of an event is its place in the history: the record's number in one instance, the place among
all records otherwise. A comment shows now and then that the connection lives. Whether the reader may
still read is asked again every minute, and the end of a stream is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Header, Request, Response
from fastapi.responses import StreamingResponse

from topstitch.api.answers import plain
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import Id, Search, operation, router
from topstitch.api.resources.instances import seen
from topstitch.api.watcher import Watcher
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.errors import RequestError
from topstitch.governance.access import Identity, may, part_of
from topstitch.model.query import parse_query
from topstitch.store import streams
from topstitch.store.streams import Change

api = router("streams")
MEDIA: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS: Final = 1_000
Last = Annotated[str | None, Header(alias="Last-Event-ID", description="Resume behind this event.")]


@operation(api, "GET", "/instances/{name}/stream", "instances.read", media=(MEDIA,),
           command="topstitch instance watch {name}")  # fmt: skip
async def stream_instance(request: Request, name: Id, last: Last = None) -> Response:
    """Follow one instance: each new record as a sentence; the id of an event is the record's number."""
    hands: ApiHands = request.app.state.hands
    row = await seen(request, name)
    told = _place(last)
    at = told if told is not None else int(row["head_seq"])

    async def say(_caller: Identity, changes: Sequence[Change] | None) -> AsyncIterator[bytes]:
        nonlocal at
        if changes is not None and not any(change.instance == name for change in changes):
            return
        picture = await hands.desk.picture(name)
        teller = hands.teller(picture.plan)
        for record in picture.records[at:]:
            body = {
                "instance": name, "seq": record.seq, "at": record.at, "kind": record.kind, "step": record.step,
                "stage": str(record.stage), "actor": str(record.actor), "text": teller(record),
            }  # fmt: skip
            yield _event("record", record.seq, body)
        at = max(at, len(picture.records))

    return await _streamed(request, say, workflow=row["workflow"], place=None, first=told is not None)


@operation(api, "GET", "/stream", "instances.read", media=(MEDIA,))
async def stream_instances(request: Request, q: Search = "", last: Last = None) -> Response:
    """Follow the instances that match a search: each change with the instance as it is then.

    An instance that no longer matches is said once more, with matches: false.
    """
    hands: ApiHands = request.app.state.hands
    query = parse_query(q)
    matched: set[str] = set()

    async def say(caller: Identity, changes: Sequence[Change] | None) -> AsyncIterator[bytes]:
        newest = {change.instance: change for change in changes or ()}
        part = part_of(caller, "instances.read")
        rows, wanted = await streams.matching(hands.store, query, hands.clock.now(), list(newest), part)
        for name, change in sorted(newest.items(), key=lambda item: item[1].place):
            if name not in rows or (name not in wanted and name not in matched):
                continue
            (matched.add if name in wanted else matched.discard)(name)
            body = {
                "instance": rows[name], "matches": name in wanted, "seq": change.seq, "kind": change.kind,
                "at": change.at, "step": change.step,
            }  # fmt: skip
            yield _event("changed", change.place, body)

    return await _streamed(request, say, workflow=None, place=_place(last), first=False)


async def _streamed(request: Request, say: Any, *, workflow: str | None, place: int | None, first: bool) -> Response:
    """Return the stream; ``first`` says what is behind ``Last-Event-ID`` before anything new."""
    hands: ApiHands = request.app.state.hands
    watcher: Watcher = request.app.state.watcher
    open_ = watcher.looking()
    open_.__enter__()
    begin = place if place is not None else await watcher.head()

    async def events() -> AsyncIterator[bytes]:
        nonlocal begin
        caller, asked = caller_of(request), hands.clock.now()
        try:
            yield f": looking on\nretry: {RETRY_MS}\n\n".encode()
            if first:
                async for text in say(caller, None):
                    yield text
            while not watcher.closed:
                found = await _still(request, hands, caller, workflow, asked)
                if found is None:
                    yield _event("end", None, {"reason": "not-allowed"})
                    return
                caller, asked = found
                changes = await watcher.after(begin)
                if changes:
                    begin = changes[-1].place
                    async for text in say(caller, changes):
                        yield text
                elif not await watcher.moved(hands.comment_seconds):
                    yield b": still here\n\n"
            yield _event("end", None, {"reason": "shutdown"})
        finally:
            open_.__exit__(None, None, None)

    return StreamingResponse(events(), headers=dict(HEADERS), media_type=MEDIA)


async def _still(
    request: Request, hands: ApiHands, caller: Identity, workflow: str | None, asked: datetime
) -> tuple[Identity, datetime] | None:
    """Return who reads and when that was asked, anew when it is time; nothing when they may no longer."""
    now = hands.clock.now()
    if now - asked < timedelta(seconds=hands.recheck_seconds):
        return caller, asked
    found = await hands.identify(request)
    if found is None or found.id != caller.id:
        return None
    allowed = may(found, "instances.read", workflow) if workflow else part_of(found, "instances.read") != ()
    return (found, now) if allowed else None


def _event(name: str, place: int | None, body: Any) -> bytes:
    head = f"id: {place}\n" if place is not None else ""
    return f"{head}event: {name}\ndata: {canonical_bytes(plain(body)).decode()}\n\n".encode()


def _place(last: str | None) -> int | None:
    if last is None:
        return None
    if not last.isdigit() or len(last) > 18:
        message = f"Last-Event-ID {last!r} is the id of no event; send the id of the last event you have, or none"
        raise RequestError("event-id-invalid", message)
    return int(last)
