"""Makes the rounds: looks at everything, has told what is due, exports spans, keeps the roll-ups.

``bootstrap.measuring`` starts ``go_round`` beside the engine and cancels it at the end. Each round
stands alone: what goes wrong in one part is handed to ``on_trouble`` and the others go on, because
the watch must not die of what it watches. Every process of an installation makes rounds; what they
find is counted once, each message is sent by one, and one at a time exports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.foundation.clock import Clock
from topstitch.metrics.otlp import SpanSink, export_new
from topstitch.metrics.outbox import deliver
from topstitch.metrics.routes import Sender
from topstitch.metrics.tracer import Tracer
from topstitch.metrics.watch import EVALUATE_SECONDS, Watcher, evaluate, keep
from topstitch.store import turns
from topstitch.store.sealing import milliseconds

KEEP_SECONDS: Final = 600
"""How often roll-ups and retention are due."""
EXPORTS_MAX: Final = 20
"""How many batches of spans one round sends; the next round goes on."""
TURN: Final = "export"
TURN_SECONDS: Final = 3 * EVALUATE_SECONDS
"""Who exports goes on doing so; this long after its last round another process takes over."""

Trouble = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What rounds are made with."""

    watcher: Watcher
    on_trouble: Trouble
    sender: Sender | None = None
    sink: SpanSink | None = None
    tracer: Tracer = field(default_factory=Tracer)
    owner: str = "alone"
    """Which process this is, for what one at a time does."""


async def go_round(one: Round, clock: Clock, *, pace: Clock | None = None, every_seconds: float | None = None) -> None:
    """Make one round after the other until cancelled. ``pace`` is what it waits by, where a clock runs away.

    Telling and exporting go on beside the next looks: a mail server that does not answer delays no alert.
    """
    kept: datetime | None = None
    waits, rest = pace or clock, timedelta(seconds=every_seconds or EVALUATE_SECONDS)
    outside: asyncio.Task[None] | None = None
    try:
        while True:
            now, began = clock.now(), waits.now()
            due = kept is None or now - kept >= timedelta(seconds=KEEP_SECONDS)
            await _inside(one, now, keeping=due)
            kept = now if due else kept
            if outside is None or outside.done():
                outside = asyncio.create_task(_outside(one, now), name="telling")
            await waits.sleep_until(began + rest)
    finally:
        if outside is not None:
            outside.cancel()
            await asyncio.wait({outside})


async def one_round(one: Round, now: datetime, *, keeping: bool = False) -> None:
    """Make one round."""
    await _inside(one, now, keeping=keeping)
    await _outside(one, now)


async def _inside(one: Round, now: datetime, *, keeping: bool) -> None:
    await _part("evaluate", evaluate(one.watcher, now), one.on_trouble)
    if keeping:
        await _part("keep", keep(one.watcher, now), one.on_trouble)


async def _outside(one: Round, now: datetime) -> None:
    if one.sender is not None:
        await _part("deliver", deliver(one.watcher, one.sender, now), one.on_trouble)
    if one.sink is not None:
        await _part("export", _export(one, one.sink, now), one.on_trouble)


async def _export(one: Round, sink: SpanSink, now: datetime) -> None:
    store, until = one.watcher.store, now + timedelta(seconds=TURN_SECONDS)
    if not await turns.take(store, TURN, one.owner, milliseconds(now), milliseconds(until)):
        return
    for _ in range(EXPORTS_MAX):
        if await export_new(store, sink, now, one.tracer) is None:
            return


async def _part(name: str, work: Awaitable[Any], on_trouble: Trouble) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 -- the watch must not die of what it watches
        on_trouble(name, error)
