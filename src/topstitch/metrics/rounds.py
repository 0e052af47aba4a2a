"""Makes the rounds: looks at everything, has told what is due, exports spans, keeps the roll-ups.

A door starts ``go_round`` beside the engine and cancels it at the end. Each round stands alone:
what goes wrong in one part is handed to ``on_trouble`` and the others go on, because the watch
must not die of what it watches. It waits on the clock it is given and asks no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.foundation.clock import Clock
from topstitch.metrics.otlp import SpanSink, export_new
from topstitch.metrics.routes import Sender
from topstitch.metrics.watch import EVALUATE_SECONDS, Watcher, deliver, evaluate, keep

KEEP_SECONDS: Final = 600
"""How often roll-ups and retention are due."""
EXPORTS_MAX: Final = 20
"""How many batches of spans one round sends; the next round goes on."""

Trouble = Callable[[str, BaseException], None]


async def go_round(
    watcher: Watcher, clock: Clock, *, on_trouble: Trouble, sender: Sender | None = None, sink: SpanSink | None = None
) -> None:
    """Make one round after the other until cancelled."""
    kept: datetime | None = None
    while True:
        now = clock.now()
        due = kept is None or now - kept >= timedelta(seconds=KEEP_SECONDS)
        await one_round(watcher, now, on_trouble=on_trouble, sender=sender, sink=sink, keeping=due)
        kept = now if due else kept
        await clock.sleep_until(now + timedelta(seconds=EVALUATE_SECONDS))


async def one_round(
    watcher: Watcher,
    now: datetime,
    *,
    on_trouble: Trouble,
    sender: Sender | None = None,
    sink: SpanSink | None = None,
    keeping: bool = False,
) -> None:
    """Make one round."""
    await _part("evaluate", evaluate(watcher, now), on_trouble)
    if sender is not None:
        await _part("deliver", deliver(watcher, sender, now), on_trouble)
    if sink is not None:
        await _part("export", _export(watcher, sink, now), on_trouble)
    if keeping:
        await _part("keep", keep(watcher, now), on_trouble)


async def _export(watcher: Watcher, sink: SpanSink, now: datetime) -> None:
    for _ in range(EXPORTS_MAX):
        if await export_new(watcher.store, sink, now) == 0:
            return


async def _part(name: str, work: Awaitable[Any], on_trouble: Trouble) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 -- the watch must not die of what it watches
        on_trouble(name, error)
