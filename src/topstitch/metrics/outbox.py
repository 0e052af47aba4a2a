"""Sends the messages that alerts have made: each at least once, by one process at a time.

``rounds`` calls ``deliver``. A message that fails is tried again, later each time, and given up
after so many tries, with the reason beside it. How it travels is the ``Sender``'s business.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from topstitch.foundation.errors import TopstitchError
from topstitch.metrics import alerts, routes
from topstitch.metrics.routes import RouteKind, Sender
from topstitch.metrics.watch import Watcher
from topstitch.store import alarms
from topstitch.store.alarms import Message
from topstitch.store.sealing import milliseconds

MESSAGE_TRIES: Final = 8
MESSAGE_FIRST_SECONDS: Final = 10
MESSAGE_MAX_SECONDS: Final = 3600
MESSAGE_HELD_SECONDS: Final = 600
"""So long a message that one process is sending is nobody else's."""


async def deliver(watcher: Watcher, sender: Sender, now: datetime) -> int:
    """Send the messages that are due; return how many went out. One that fails is tried again, up to eight times."""
    sent = 0
    taken_until = milliseconds(now + timedelta(seconds=MESSAGE_HELD_SECONDS))
    for message in await alarms.claim_messages(watcher.store, milliseconds(now), taken_until):
        after = await _send(watcher, sender, message, now)
        await alarms.note_sending(watcher.store, after)
        sent += after.sent_ms is not None
    return sent


async def _send(watcher: Watcher, sender: Sender, message: Message, now: datetime) -> Message:
    tries = message.tries + 1
    route = watcher.routes.get(message.route)
    if route is None:
        problem = f"the route {message.route} is not configured any more"
        return msgspec.structs.replace(message, tries=tries, next_ms=None, problem=problem)
    if route.kind is RouteKind.TICKET and message.event != "cleared" and await _is_over(watcher, message.alert):
        return msgspec.structs.replace(message, tries=tries, next_ms=None, problem="over before it could be filed")
    try:
        await sender.send(routes.payload_of(route, message, now))
    except TopstitchError as error:
        wait = min(MESSAGE_FIRST_SECONDS * 2 ** (tries - 1), MESSAGE_MAX_SECONDS)
        again = milliseconds(now + timedelta(seconds=wait)) if tries < MESSAGE_TRIES else None
        return msgspec.structs.replace(message, tries=tries, next_ms=again, problem=error.message)
    return msgspec.structs.replace(message, tries=tries, next_ms=None, sent_ms=milliseconds(now), problem=None)


async def _is_over(watcher: Watcher, alert: str) -> bool:
    return (await alarms.get(watcher.store, alert)).status == alerts.CLEARED
