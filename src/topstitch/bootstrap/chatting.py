"""Wires the chat into an installation: who answers what people press there, the socket, and stale buttons.

``serve`` holds ``chatting`` around the engine and hands the same ``Clicks`` to the signed address. Where
``[notify]`` names no chat there is nothing to wire. It decides nothing and words nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from topstitch.api.slack import routes as slack_routes
from topstitch.bootstrap.entrance import speakers_of
from topstitch.connectors.registry import Registry
from topstitch.connectors.slack.connector import Slack
from topstitch.connectors.slack.interactive import Interactive
from topstitch.connectors.slack.socket import listen
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import OperatorError, TopstitchError, TransientError
from topstitch.model.orders import Grant, Result, WriteCall
from topstitch.office.clicks import Clicks
from topstitch.office.desk import Desk
from topstitch.store.deciding import Message

if TYPE_CHECKING:
    from topstitch.bootstrap.installation import Installation

LOG: Final = logging.getLogger("topstitch.slack")
SETTLE: Final = "settle_decision"
LOOK_SECONDS: Final = 5.0
"""How often messages are looked for whose question was decided at another door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chatting:
    """The chat of one installation."""

    clicks: Clicks
    slack: Interactive


def chat_of(house: Installation) -> Chatting | None:
    """Return the chat that the connections name; raise when it is none that people can press buttons in."""
    registry: Registry = house.ports.connectors
    alias = registry.connections.chat
    if alias is None:
        return None
    connector = registry.connector_of(alias)
    if not isinstance(connector, Slack):
        raise OperatorError(
            "chat-unfit", f"[notify] chat = {alias!r} has no buttons; name a connection of slack@1, or leave chat out"
        )
    slack = Interactive(connector)
    desk = Desk(house.ports.store, house.plans.load, house.clock)

    async def settle(message: Message, title: str, said: str) -> None:
        await _settle(registry, message, title, said)

    return Chatting(clicks=Clicks(desk, speakers_of(house), slack, settle, alias), slack=slack)


def chat_routes(chat: Chatting | None, clock: Clock) -> list[Route]:
    """Return the signed address for clicks; none where no chat is named."""
    return [] if chat is None else slack_routes(chat.clicks.take, chat.slack.signing_secret, clock)


@contextlib.asynccontextmanager
async def chatting(chat: Chatting | None) -> AsyncIterator[None]:
    """Listen to the chat for the time of an ``async with`` block; what was pressed by then is answered."""
    if chat is None:
        yield
        return
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_settling(chat.clicks, stop), name="stale buttons")]
    if chat.slack.wants_socket():
        tasks.append(asyncio.create_task(listen(chat.slack, chat.clicks.take, stop), name="slack socket"))
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chat.clicks.rest()


async def _settling(clicks: Clicks, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await clicks.settle_decided()
        except TopstitchError as error:
            LOG.warning("a decided question still has its buttons: %s", error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


async def _settle(registry: Registry, message: Message, title: str, said: str) -> None:
    params = {"channel_id": message.channel, "ts": message.ts, "title": title, "said": said}
    key = f"settle:{message.approval}:{message.channel}/{message.ts}"
    grant = Grant(decision="declared", by="system:engine", payload_digest=digest(params))
    write = WriteCall(
        key=key,
        system=message.connection,
        action=SETTLE,
        params=params,
        idempotency_key=key,
        attempt=1,
        grant=grant,
        instance="",
    )
    outcome = await registry.writer(message.connection).write(write)
    gone = outcome.result is Result.REFUSED  # the message was deleted: nothing is left to press
    if outcome.result is not Result.OK and not gone:
        code = outcome.problem.code if outcome.problem else str(outcome.result)
        raise TransientError("chat-unsettled", f"a message could not be changed ({code}); it is tried again")
