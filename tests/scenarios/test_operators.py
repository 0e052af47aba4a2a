"""What operators have in hand, against real simulators: the dry run, paused systems, cases, work in bulk."""

from __future__ import annotations

from typing import Any

import pytest

from support.world import ONBOARDING, World
from topstitch.cli.checking import Compiled
from topstitch.cli.plan import event_of, reading_hands, rehearsed_by
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.kinds import Kind
from topstitch.trigger.accept import accept_made
from topstitch.trigger.cloudevents import CloudEvent

SYSTEMS = ("workday", "entra-id", "servicenow", "salesforce", "slack", "email")


async def compiled(world: World) -> Compiled:
    """Return the shipped onboarding as a command has it."""
    contracts = world.registry.contracts()
    document = load(ONBOARDING.read_text(), "x.yaml")
    result = check(document, contracts)
    assert result.workflow is not None
    plan = await world.house.plans.of("employee-onboarding")
    return Compiled(document=document, workflow=result.workflow, plan=plan, contracts=contracts)


def effects(world: World) -> list[Any]:
    """Return every call that changed something in any system."""
    return [call for system in SYSTEMS for call in world.calls(system) if call["committed"]]


def masked(value: Any, paths: tuple[str, ...], at: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        return {name: masked(part, paths, (*at, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [masked(part, paths, (*at, str(i))) for i, part in enumerate(value)]
    return "..." if ".".join(at) in paths else value


@pytest.mark.parametrize(
    ("profile", "asked"),
    [
        ("ENG-SWE", []),
        ("SEC-ADMIN", [("identity", ("Jonas Weber",))]),
        ("DES-PROD", [("equipment", ("Mei Tanaka",))]),
        ("SAL-AE", [("crm_assignment", ("Ruth Abend", "Kofi Mensah"))]),
    ],
)
async def test_H04_D01_D03_a_real_run_writes_what_the_dry_run_said_and_the_dry_run_wrote_nothing(
    world: World, profile: str, asked: list[Any]
):
    one = await compiled(world)
    document = world.hired(jobProfile=profile)
    data = dict(world.registry.normalise_event("hris", "hire_completed", document).data)
    before = effects(world)
    event = event_of(one, data, world.clock.now())
    told = await rehearsed_by(
        one, reading_hands(world.registry), event, world.settings, world.registry.connections.rates
    )
    assert effects(world) == before, "a dry run changes nothing anywhere"
    assert [(a.step, a.people) for a in told.approvals] == asked

    verdict = await accept_made(
        world.house.intake, CloudEvent(id=event.id, source=event.source, type=event.type, data=data)
    )
    name = verdict.instances[0]
    assert name == told.instance
    await world.run_for(minutes=5)
    for step, people in asked:
        approval = await world.run_until_asked(name)
        assert approval["step"] == step
        await world.answer(name, str((await world.state(name)).steps[step].approval.people[0]["id"]))  # type: ignore[union-attr]
        assert people
    await world.run_for(hours=1)
    sent = {r.step: r.body for r in await world.records(name, Kind.ACT_INTENT)}
    state = await world.state(name)
    assert set(sent) == {write.step for write in told.writes}
    for write in told.writes:
        act = state.acts[write.act]
        assert (act.system, act.action, act.key) == (write.system, write.action, write.key)
        assert masked(act.payload, write.run_time) == masked(write.payload, write.run_time)



async def test_D04_a_write_through_a_reading_handle_is_refused_and_never_sent(world: World):
    from topstitch.foundation.errors import NotAllowedError
    from topstitch.model.orders import ReadCall

    hands = reading_hands(world.registry)
    before = len(world.calls("entra-id"))
    with pytest.raises(NotAllowedError):
        await hands.read(ReadCall(key="x", system="directory", action="create_user", params={}))
    assert len(world.calls("entra-id")) == before
