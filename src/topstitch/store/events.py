"""Events as they were received: looked up, listed, searched by those who wait, and rejected.

``Store.accept`` keeps accepted events; what is here reads them. ``reject`` keeps the raw
bytes of an event that could not be taken, for an operator; it starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import select

from topstitch.foundation.canonical import digest_bytes
from topstitch.foundation.ids import new_id
from topstitch.model.event import TriggerEvent
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import deliveries, events, rejected_events
from topstitch.store.text import bytes_text, text_bytes

if TYPE_CHECKING:
    from topstitch.store.store import Store

INBOX_MAX: Final = 1000
_INBOX: Final = (
    "SELECT id, source, type, data, time, received_at, signature, trace FROM events"
    " WHERE type = ? AND received_at >= ? ORDER BY received_at, position LIMIT ?"
)


async def inbox(store: Store, event_type: str, since: datetime, *, limit: int = INBOX_MAX) -> list[TriggerEvent]:
    """Return events of a type received since a time, oldest first.

    Asked once when a wait begins, after its record is committed: from then on every new
    event of the type is offered by ``Store.accept`` itself, so none is missed in between.
    """
    rows = await store.work(lambda backend: backend.execute(_INBOX, (event_type, milliseconds(since), limit)))
    return [
        TriggerEvent(
            id=name,
            source=source,
            type=kind,
            data=orjson.loads(data or "{}"),
            time=moment(time) if time is not None else None,
            received_at=moment(received),
            signature=signature,
            trace=trace,
        )
        for name, source, kind, data, time, received, signature, trace in rows
    ]


async def get(store: Store, source: str, event: str) -> Shown | None:
    """Return an event with its repeated ``deliveries``, or nothing."""
    kept = select(events).where(events.c.source == source, events.c.id == event)
    again = (
        select(deliveries)
        .where(deliveries.c.source == source, deliveries.c.event == event)
        .order_by(deliveries.c.received_at, deliveries.c.receipt)
    )
    found = await store.read(lambda c: all_shown(c.execute(kept).mappings()))
    if not found:
        return None
    return {**found[0], "deliveries": await store.read(lambda c: all_shown(c.execute(again).mappings()))}


async def listing(store: Store, *, event_type: str | None = None, limit: int = 50) -> list[Shown]:
    """Return events, newest first."""
    query = select(events).order_by(events.c.position.desc()).limit(limit)
    if event_type is not None:
        query = query.where(events.c.type == event_type)
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


async def reject(
    store: Store,
    raw: bytes,
    *,
    door: str,
    problem: Mapping[str, Any],
    now: datetime,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Keep what could not be taken, and why; return the id under which an operator finds it."""
    name = new_id("rej", now)
    values = (
        name, milliseconds(now), door, bytes_text(raw), orjson.dumps(dict(headers or {})).decode(), digest_bytes(raw),
        orjson.dumps(dict(problem)).decode(),
    )  # fmt: skip
    await store.work(
        lambda backend: backend.execute(
            "INSERT INTO rejected_events (id, received_at, door, raw, headers, digest, problem) VALUES (?, ?, ?, ?, "
            "?, ?, ?)",
            values,
        )
    )
    return name


async def rejected(store: Store, *, limit: int = 50) -> list[Shown]:
    """Return rejected events, newest first."""
    query = (
        select(rejected_events).order_by(rejected_events.c.received_at.desc(), rejected_events.c.id.desc()).limit(limit)
    )
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


__all__ = ["get", "inbox", "listing", "reject", "rejected", "text_bytes"]
