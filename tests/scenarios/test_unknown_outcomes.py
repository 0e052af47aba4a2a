"""An answer lost after the target has committed never makes a duplicate: it is looked up, or a person is asked."""

from __future__ import annotations

import asyncio
from typing import Any

from support.commands import called
from support.world import World
from topstitch.cli.clocks import note_time
from topstitch.model.kinds import Kind
from topstitch.store import items

ORDER = {"method": "POST", "path": "order_now|submit_order"}
LOOK = {"method": "GET", "path": "sc_req"}


async def of_equipment(world: World, name: str, *kinds: Kind) -> list[dict[str, Any]]:
    return [dict(r.body) for r in await world.records(name, *kinds) if r.step == "equipment"]


async def test_H08_what_was_committed_without_an_answer_is_found_and_not_done_again(world: World):
    world.fault("servicenow", "drop_after_commit", match=ORDER, times=1)
    name = await world.hire()
    await world.run_for(hours=1)
    assert (await world.statuses(name))["equipment"] == "done"
    assert len(world.everything("servicenow", "sc_request")) == 1
    assert [body["attempt"] for body in await of_equipment(world, name, Kind.ACT_INTENT)] == [1], "it was sent once"
    looked = await of_equipment(world, name, Kind.ACT_LOOKED_UP)
    assert (looked[-1]["why"], looked[-1]["answer"]) == ("doubt", "found"), "the journal says how it is known"
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"


async def test_H08_what_cannot_be_asked_after_stops_as_unknown_and_is_an_operators_choice(world: World):
    world.fault("servicenow", "drop_after_commit", match=ORDER, times=1)
    world.fault("servicenow", "503", match=LOOK, after=1)  # the look before anything is sent is answered
    name = await world.hire()
    await world.run_for(hours=2)
    assert (await world.statuses(name))["equipment"] == "compensating"
    step = (await world.state(name)).steps["equipment"]
    assert (step.failure, step.effect) == ("unknown", "unknown")
    assert [body["attempt"] for body in await of_equipment(world, name, Kind.ACT_INTENT)] == [1], "no blind retry"
    assert len(world.everything("servicenow", "sc_request")) == 1
    (task,) = await items.list_tasks(world.store, instance=name)
    assert task["check_first"], "whoever does it looks first whether it is there"
    (opened,) = await of_equipment(world, name, Kind.TASK_OPENED)
    assert "look whether it is there already" in opened["tell"][0]["notice"]["text"]

    world.sims["servicenow"].faults.clear()
    (request,) = world.everything("servicenow", "sc_request")
    note_time(world.folder, world.clock.now())
    output = ("--output", f"request_id={request['sys_id']}", "--output", f"number={request['number']}")
    done = await asyncio.to_thread(
        called,
        "tasks",
        "done",
        str(task["id"]),
        *output,
        "--as",
        "femi.adeyemi@corp.example",
        "--data",
        str(world.folder),
    )
    assert done.code == 0, done.out + done.err
    world.house.engine.nudge()
    await world.run_to_end(name)
    assert (await world.statuses(name))["equipment"] == "done_by_hand"
    assert len(world.everything("servicenow", "sc_request")) == 1
