"""Keeps a socket to Slack open for servers that the internet cannot reach, and hands on what people press.

``serve`` runs ``listen`` beside the engine when the connection names an app token. Every envelope is
acknowledged before anything is done about it, so that Slack's three seconds are kept whatever a decision
takes. A socket that Slack closes, or that breaks, is opened again after a growing wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from topstitch.connectors.slack.interactive import Interactive
from topstitch.foundation.errors import TopstitchError
from topstitch.foundation.ids import jitter

LOG: Final = logging.getLogger("topstitch.slack")
WAIT_SECONDS_FIRST: Final = 1.0
WAIT_SECONDS_MAX: Final = 60.0
MESSAGE_BYTES_MAX: Final = 1 << 20
Take = Callable[[Mapping[str, Any]], object]
"""Takes one interaction and returns at once."""


async def listen(slack: Interactive, take: Take, stop: asyncio.Event) -> None:
    """Hand on interactions until told to stop."""
    failures = 0
    while not stop.is_set():
        try:
            address = await slack.socket_address()
            async with connect(address, max_size=MESSAGE_BYTES_MAX) as socket:
                failures = 0
                await _until_closed(socket, take, stop)
        except (TopstitchError, WebSocketException, OSError, TimeoutError) as error:
            failures += 1
            LOG.warning("the socket to Slack is not open (%s); it is opened again", _said(error))
            await _pause(failures, stop)


async def _until_closed(socket: ClientConnection, take: Take, stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stopped.done():
            coming = asyncio.create_task(socket.recv())
            await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                return
            if not await _heard(socket, coming.result(), take):
                return
    finally:
        stopped.cancel()


async def _heard(socket: ClientConnection, text: str | bytes, take: Take) -> bool:
    """Acknowledge one envelope and hand it on; return whether the socket stays."""
    try:
        envelope = orjson.loads(text)
    except orjson.JSONDecodeError:
        return True
    if not isinstance(envelope, dict) or envelope.get("type") == "disconnect":
        return not isinstance(envelope, dict)
    if "envelope_id" in envelope:
        await socket.send(orjson.dumps({"envelope_id": envelope["envelope_id"]}).decode())
    if envelope.get("type") == "interactive" and isinstance(envelope.get("payload"), dict):
        take(envelope["payload"])
    return True


async def _pause(failures: int, stop: asyncio.Event) -> None:
    wait = min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2 ** min(failures - 1, 10))
    try:
        await asyncio.wait_for(stop.wait(), wait * (0.5 + jitter("slack socket", failures) / 2))
    except TimeoutError:
        return


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, TopstitchError) else type(error).__name__
