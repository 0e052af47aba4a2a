"""The commands on an installation that is at work: engine, systems and questions are real, only time is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran, called
from support.world import World
from topstitch.cli.clocks import note_time
from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.host import Simulators
from topstitch.store import instances


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SimulatedClock()
    async with Simulators(clock=clock) as sims:
        made = World(sims, clock, tmp_path / "data")
        await made.open()
        await made.publish()
        yield made
        await made.close()


async def run(world: World, *words: str) -> Ran:
    """Run a command while the engine goes on; it takes the world's time for now, as it takes the demo's."""
    note_time(world.folder, world.clock.now())
    return await elsewhere(*words, "--data", str(world.folder))


async def elsewhere(*words: str) -> Ran:
    return await asyncio.to_thread(lambda: called(*words, TOPSTITCH_ENVIRONMENT="test"))


async def mine(world: World, person: str) -> Any:
    return (await run(world, "approvals", "list", "--as", person, "--json")).json()["items"]


async def test_a_decision_is_given_to_somebody_else_by_its_own_name(world: World) -> None:
    name = await world.hire(jobProfile="SAL-AE")
    asked = await world.run_until_asked(name)
    given = await run(world, "approvals", "reassign", asked["id"], "--to", "sara@corp.example", "-m", "leave", "--json")
    assert given.code == 0, given.err
    assert (given.json()["instance"], given.json()["command"]) == (name, "reassign")
    await world.rest()
    was = asked["people"][0]["id"]
    assert [one["id"] for one in await mine(world, "sara@corp.example")] == [asked["id"]]
    assert await mine(world, was) == []
    former = await run(world, "approvals", "approve", asked["id"], "--as", was)
    assert former.code == 4
    assert (await run(world, "approvals", "approve", asked["id"], "--as", "sara@corp.example")).code == 0
    assert (await run(world, "approvals", "reassign", "apr_none", "--to", "sara", "-m", "x")).code == 5


async def test_connections_are_asked_whether_they_answer(world: World) -> None:
    every = await run(world, "connections", "test", "--json")
    assert every.code == 0, every.out
    assert {one["ok"] for one in every.json()["items"]} == {True}
    assert [one["alias"] for one in every.json()["items"]] == list(world.registry.connections.connections)
    world.fault("servicenow", "503")
    refused = await run(world, "connections", "test", "itsm", "--json")
    (item,) = refused.json()["items"]
    assert (refused.code, item["alias"], item["ok"]) == (1, "itsm", False)
    unknown = await run(world, "connections", "test", "nobody")
    assert (unknown.code, "use one of" in unknown.err) == (5, True)


async def test_what_is_retired_starts_nothing_and_what_is_under_way_goes_on(world: World) -> None:
    before = await world.hire(jobProfile="SAL-AE")
    await world.run_until_asked(before)
    done = await run(world, "workflows", "retire", "employee-onboarding", "-m", "replaced", "--json")
    assert (done.code, done.json()["open"]) == (0, 1), done.err
    assert (await world.deliver(world.hired())).instances == ()
    await world.run_to_end(before)
    assert (await world.row(before))["ended_at"] is not None
    (listed,) = (await run(world, "workflows", "list", "--json")).json()["items"]
    assert listed["retired"] is True
    assert (await run(world, "workflows", "retire", "employee-onboarding", "-m", "again")).code == 6
    assert (await run(world, "workflows", "retire", "nothing", "-m", "again")).code == 5
    noted = [dict(one.body) for one in await instances.records(world.store, "installation")]
    retired = {"command": "workflow.retire", "workflow": "employee-onboarding", "reason": "replaced"}
    assert retired in noted
    assert (await run(world, "workflows", "pin", "employee-onboarding", "1.0.0")).code == 0
    assert len((await world.deliver(world.hired())).instances) == 1


async def test_a_backup_taken_while_the_engine_works_holds_what_was_written(world: World, tmp_path: Path) -> None:
    name = await world.hire(jobProfile="SAL-AE")
    await world.run_until_asked(name)
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    assert (await run(world, "server", "backup", str(backup))).code == 0
    await world.run_to_end(name)
    put = await elsewhere("server", "restore", str(backup), "--data", str(restored), "--json")
    assert (put.code, put.json()["chains"]["broken"]) == (0, [])
    (waiting,) = (await elsewhere("approvals", "list", "--data", str(restored), "--json")).json()["items"]
    assert waiting["instance"] == name


async def test_nothing_is_restored_under_an_engine_even_when_its_file_was_moved_away(
    world: World, tmp_path: Path
) -> None:
    await world.rest()
    backup = tmp_path / "backup"
    assert (await run(world, "server", "backup", str(backup))).code == 0
    for file in world.folder.glob("topstitch.db*"):
        file.rename(tmp_path / file.name)
    refused = await run(world, "server", "restore", str(backup))
    assert (refused.code, "engine-there" in refused.err) == (6, True)
    assert list(world.folder.glob("topstitch.db*")) == []
