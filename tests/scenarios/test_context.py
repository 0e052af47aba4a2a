"""Stage 2: everything is read before anything is written, and what was read stays known."""

from __future__ import annotations

from support.world import World
from topstitch.model.kinds import Kind
from topstitch.model.orders import Grant, ReadCall, Result, WriteCall

BUSINESS = ("entra-id", "servicenow", "salesforce", "slack")


async def test_CX01_all_reads_of_the_context_precede_the_first_write(world: World):
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(hours=1)
    records = await world.records(name)
    last_read = max(r.seq for r in records if r.kind == Kind.CONTEXT_READ)
    first_intent = min(r.seq for r in records if r.kind == Kind.ACT_INTENT)
    assert last_read < first_intent
    assert {r.body["name"] for r in records if r.kind == Kind.CONTEXT_READ} == {
        "profile",
        "manager",
        "existing",
        "quote",
    }


async def test_CX02_the_context_has_no_way_to_write_and_an_attempt_is_recorded(world: World):
    name = await world.hire()
    plan = (await world.house.plans.in_force())[0]
    call = ReadCall(key="context/sneaky", system="directory", action="create_user", params={"upn": "a@corp.example"})
    outcome = await world.house.core.perform(plan, name, call)
    assert outcome.result is Result.REFUSED
    await world.rest()
    refused = await world.records(name, Kind.ATTEMPT_REFUSED)
    assert "create_user" in refused[0].body["what"]
    assert not hasattr(world.registry.reader("directory"), "write")


async def test_CX03_the_manager_from_the_org_chart_is_asked(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    approval = await world.run_until_asked(name)
    assert [p["id"] for p in approval["people"]] == ["jonas.weber@corp.example"]


async def test_CX04_a_read_that_keeps_failing_stops_the_instance_with_nothing_written(world: World):
    world.fault("workday", "503", match={"path": "customreport2"})
    name = await world.hire()
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "stopped"
    assert not await world.records(name, Kind.ACT_INTENT)
    assert not [call for system in BUSINESS for call in world.calls(system) if call["committed"]]
    failed = await world.records(name, Kind.CONTEXT_FAILED)
    assert len(failed) == 4


async def test_CX05_why_with_what_and_who_is_known_without_asking_any_system(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    await world.run_until_asked(name)
    await world.answer(name, "jonas.weber@corp.example", comment="he starts on Monday")
    await world.run_for(minutes=10)
    before = {system: len(world.calls(system)) for system in world.sims}
    from topstitch.cli.instance_view import view

    plan = (await world.house.plans.in_force())[0]
    picture = view(plan, await world.state(name), await world.records(name), world.clock.now())
    assert picture["trigger"]["type"] == "workday.hire_completed"
    assert {c["name"]: c["status"] for c in picture["context"]}["profile"] == "read"
    assert all(c["digest"].startswith("sha256:") for c in picture["context"])
    said = next(d for d in picture["decisions"] if d["kind"] == Kind.APPROVAL_ANSWERED)
    assert (said["actor"], said["comment"]) == ("human:jonas.weber@corp.example", "he starts on Monday")
    assert {system: len(world.calls(system)) for system in world.sims} == before


async def test_A05_a_write_without_a_grant_is_refused_and_recorded(world: World):
    name = await world.hire()
    plan = (await world.house.plans.in_force())[0]
    params = {"user_id": "nobody"}
    bare = Grant(decision="auto", by="policy:none", payload_digest="sha256:0")
    call = WriteCall(
        key="identity",
        system="directory",
        action="disable_user",
        params=params,
        idempotency_key="k",
        attempt=1,
        grant=bare,
        instance=name,
    )
    before = len(world.calls("entra-id", method="PATCH"))
    outcome = await world.house.core.perform(plan, name, call)
    assert outcome.result is Result.REFUSED
    assert len(world.calls("entra-id", method="PATCH")) == before
    await world.rest()
    refused = await world.records(name, Kind.ATTEMPT_REFUSED)
    assert refused[-1].body["because"] == "grant_for_other_payload"
