"""Carries batches out while the console runs, and keeps what their pages show meanwhile.

A batch is frozen, judged and noted down by ``office.batches``; here it runs in the background, one
at a time for each name, and says how far it is. What ended stands in the installation's journal; a
batch that a stop of the server cut off is said to be cut off, and its rest can be chosen anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from topstitch.console.hands import Hands
from topstitch.model.record import Actor
from topstitch.office import batches
from topstitch.office.desk import Desk
from topstitch.office.selections import RATE_DEFAULT, Done

PREVIEWS_KEPT: Final = 20
SELECTION_MAX: Final = 2000
"""How many instances one batch of the console may hold: each is judged before it starts."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A batch under way."""

    done: list[Done] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Bulk:
    """The batches of one console."""

    def __init__(self, hands: Hands, *, per_second: float = RATE_DEFAULT) -> None:
        self._hands, self._rate = hands, per_second
        self.desk = Desk(hands.store, hands.load, hands.clock)
        self._previews: OrderedDict[str, Sequence[Mapping[str, Any]]] = OrderedDict()
        self._running: dict[str, Running] = {}

    async def freeze(self, wish: Mapping[str, Any], names: Sequence[str], actor: Actor) -> str:
        """Freeze a selection and note it down; return the batch's id."""
        chosen = {"names": list(names), "workflow": None, "statuses": [], "group": None}
        made = await batches.preview(self.desk, wish, chosen, actor)
        self._keep(made["batch"], made["items"])
        return str(made["batch"])

    async def previewed(self, name: str, asked: Mapping[str, Any], actor: Actor) -> Sequence[Mapping[str, Any]]:
        """Return what would become of each item; judged anew when this process did not judge it."""
        if name not in self._previews:
            judged = [await batches.previewed(self.desk, item, asked["wish"], actor) for item in asked["items"]]
            self._keep(name, judged)
        return self._previews[name]

    def _keep(self, name: str, items: Sequence[Mapping[str, Any]]) -> None:
        self._previews[name] = items
        while len(self._previews) > PREVIEWS_KEPT:
            self._previews.popitem(last=False)

    async def start(self, name: str, actor: Actor) -> None:
        """Start a batch; it goes on by itself."""
        asked = await batches.begin(self.desk, name, actor)
        running = self._running[name] = Running()

        async def go() -> None:
            await batches.carry_out(
                self.desk, name, asked, actor, self._hands.clock, per_second=self._rate, told=running.done.append
            )
            self._running.pop(name, None)

        running.task = asyncio.create_task(go(), name=f"console-{name}")

    def running(self, name: str) -> Running | None:
        """Return a batch that is under way here."""
        return self._running.get(name)

    async def wait(self, name: str) -> None:
        """Wait until a batch has ended."""
        running = self._running.get(name)
        if running is not None and running.task is not None:
            await running.task

    def close(self) -> None:
        """Stop what is under way; each item is whole, the rest is said to be cut off."""
        for one in self._running.values():
            if one.task is not None:
                one.task.cancel()
