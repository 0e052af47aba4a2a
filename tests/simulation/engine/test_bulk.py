"""Work in bulk beside running engines: what was previewed happens, to each once, however often it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pytest

from support.virtual import Simulation
from support.virtual_definitions import arena
from support.virtual_time import seeded_chance
from topstitch.foundation.errors import ConflictError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind
from topstitch.office import batches
from topstitch.office.desk import Desk
from topstitch.plan.plan import Plan
from topstitch.store import instances

MANY = 1500
GONE = 300
"""How many come to their end by themselves while the batch is carried out."""
CUT = (200, 700)
"""After how many items whoever carries it out is killed."""
OPS = Actor(ActorKind.HUMAN, "ops@corp.example")
WISH = {"name": "cancel", "choice": "stop", "step": None, "reason": "the supplier is bankrupt", "edits": []}


async def load(_digest: str) -> Plan:
    return arena("order").plan


async def killed(work: Any, simulation: Simulation, seconds: float) -> None:
    """Let work go on for a while, and end it where it stands."""
    task = asyncio.ensure_future(work)
    await simulation.pause(seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def scenario(simulation: Simulation) -> None:
    here = Desk(simulation.store, load, simulation.clock)
    for process in simulation.processes:
        process.start()
    for number in range(MANY):
        await simulation.start("order", f"W-{number}", 1)
    await simulation.pause(3000)
    made = await batches.preview(here, WISH, {"workflow": "order"}, OPS)
    name = made["batch"]
    assert len(made["items"]) == MANY, "a selection is not cut short at a page of the list"
    assert all(item["ok"] for item in made["items"])
    after = await instances.listing(simulation.store, limit=1)
    assert after[0]["status"] == "waiting", "a preview does nothing"
    refused = [item["instance"] for item in made["items"][-GONE:]]
    for number, instance in enumerate(refused):
        simulation.after(
            number / 10, lambda instance=instance: simulation.people.command(instance, "cancel", choice="stop")
        )
    for count in CUT:
        asked = await batches.begin(here, name, OPS)
        done = len(await batches.results_so_far(here, name))
        await killed(
            batches.carry_out(here, name, asked, OPS, simulation.clock, per_second=50), simulation, (count - done) / 50
        )
        assert 0 < len(await batches.results_so_far(here, name)) < MANY
    asked = await batches.begin(here, name, OPS)
    results = await batches.carry_out(here, name, asked, OPS, simulation.clock, per_second=50)
    assert [one.item for one in results] == [item["instance"] for item in made["items"]]
    assert Counter(one.ok for one in results) == {True: MANY - GONE, False: GONE}
    assert {one.item for one in results if not one.ok} == set(refused), "what cannot be done is listed per item"
    with pytest.raises(ConflictError, match="is over"):
        await batches.begin(here, name, OPS)
    await simulation.pause(600)
    for one in results:
        said = [r for r in await instances.records(simulation.store, one.item) if r.kind == Kind.OPERATOR_COMMANDED]
        assert [r.body.get("batch") for r in said] == [name if one.ok else None], "each was acted on once"
        assert (await instances.get(simulation.store, one.item))["status"] == "cancelled"


def test_H11_X07_fifteen_hundred_are_acted_on_once_each_though_the_batch_is_killed_twice() -> None:
    with seeded_chance(11):
        simulation = Simulation(11)
        simulation.people.idle = True
        simulation.faulty, simulation.systems.calm = False, True
        simulation.look_for_orphans = lambda: None  # type: ignore[method-assign] -- at every append it is too much
        try:
            simulation.run(scenario(simulation))
        finally:
            verdict = simulation.close()
    assert not verdict.broken, str(verdict)
