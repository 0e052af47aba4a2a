"""Carries batches out while the console runs.

A batch is frozen, judged, noted down and carried out by ``office.batches``; here it goes on in the
background after the answer to whoever started it. One that a stop of the server cut off is said to be
cut off, and can be carried on: no instance is acted on twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from topstitch.console.hands import Hands
from topstitch.foundation.clock import SystemClock
from topstitch.model.record import Actor
from topstitch.office import batches
from topstitch.office.desk import Desk
from topstitch.office.selections import RATE_DEFAULT

SELECTION_MAX: Final = 2000
"""How many instances one batch of the console may hold: each is judged before it starts."""


class Bulk:
    """The batches of one console."""

    def __init__(self, hands: Hands, *, per_second: float = RATE_DEFAULT) -> None:
        self._rate = per_second
        self.desk = Desk(hands.store, hands.load, hands.clock)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def freeze(self, wish: Mapping[str, Any], names: Sequence[str], actor: Actor) -> str:
        """Freeze a selection and note it down; return the batch's id."""
        return str((await batches.preview(self.desk, wish, {"names": list(names)}, actor))["batch"])

    async def start(self, name: str, actor: Actor) -> None:
        """Start a batch, or carry on one that was cut off; it goes on by itself."""
        if name in self._running:
            return
        asked = await batches.begin(self.desk, name, actor)

        async def go() -> None:
            try:
                await batches.carry_out(self.desk, name, asked, actor, SystemClock(), per_second=self._rate)
            finally:
                self._running.pop(name, None)

        self._running[name] = asyncio.create_task(go(), name=f"console-{name}")

    def is_running(self, name: str) -> bool:
        """Whether a batch is under way here."""
        return name in self._running

    async def wait(self, name: str) -> None:
        """Wait until a batch has ended."""
        task = self._running.get(name)
        if task is not None:
            await task

    def close(self) -> None:
        """Stop what is under way; each item is whole, the rest is said to be cut off."""
        for task in self._running.values():
            task.cancel()
