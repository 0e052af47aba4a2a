"""Stage 4: every system is read again at T+2h and T+24h, and what differs has a ticket."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.world import World
from topstitch.model.kinds import Kind
from topstitch.store import items


async def _hired(world: World, profile: str = "SAL-SDR") -> str:
    name = await world.hire(jobProfile=profile)
    await world.run_for(minutes=30)
    return name


def _account(world: World) -> dict[str, Any]:
    return dict(
        next(u for u in reversed(world.everything("entra-id", "users")) if u.get("onPremisesExtensionAttributes"))
    )


def _disable(world: World, *, enabled: bool = False) -> None:
    world.sims["entra-id"].records.change("users", _account(world)["id"], {"accountEnabled": enabled})


async def test_R01_the_check_reads_every_system_instead_of_trusting_the_steps(world: World):
    name = await _hired(world)
    before = {s: len(world.calls(s, method="GET")) for s in ("entra-id", "servicenow", "salesforce")}
    chat = len(world.calls("slack"))
    await world.run_for(hours=2)
    reads = await world.records(name, Kind.CHECK_READ)
    assert {r.body["record"] for r in reads} == {"directory", "itsm", "crm", "email", "chat"}
    for system, count in before.items():
        assert len(world.calls(system, method="GET")) > count
    assert len(world.calls("slack")) > chat


async def test_R02_each_field_has_what_was_intended_committed_observed_and_a_verdict(world: World):
    name = await _hired(world)
    await world.run_for(hours=2)
    rows = {r.body["record"]: r.body for r in await world.records(name, Kind.CHECK_READ)}
    fields = {f["field"]: f for f in rows["directory"]["fields"]}
    assert fields["enabled"]["intended"] is True
    assert fields["enabled"]["observed"] is True
    assert fields["groups"]["verdict"] == "match"
    assert {f["field"] for f in rows["crm"]["fields"]} == {"territory", "role"}


async def test_R03_a_difference_has_a_discrepancy_and_a_ticket_within_the_same_check(world: World):
    name = await _hired(world)
    _disable(world)
    await world.run_for(hours=2)
    found = await items.list_discrepancies(world.store, instance=name)
    assert [d["system"] for d in found] == ["directory"]
    assert len(world.everything("servicenow", "incident")) == 1
    done = (await world.records(name, Kind.CHECK_DONE))[0]
    ticketed = (await world.records(name, Kind.DISCREPANCY_TICKETED))[0]
    assert ticketed.at - done.at < timedelta(minutes=1)


async def test_R04_both_checks_happen_at_their_time_once_each_also_over_a_restart(world: World):
    name = await _hired(world)
    start = (await world.row(name))["started_at"]
    await world.run_until(start + timedelta(minutes=119))
    assert not await world.records(name, Kind.CHECK_BEGAN)
    await world.restart()
    await world.run_until(start + timedelta(hours=2, minutes=10))
    await world.restart()
    await world.run_to_end(name)
    began = await world.records(name, Kind.CHECK_BEGAN)
    assert [(r.body["check"], r.at - start) for r in began] == [
        ("T+2h", timedelta(hours=2)),
        ("T+24h", timedelta(hours=24)),
    ]


async def test_R04_a_check_that_was_slept_through_is_made_late_and_says_so(world: World):
    name = await _hired(world)
    world.house.engine.stop()
    assert world._engine is not None
    await world._engine
    world.clock.advance(timedelta(hours=5).total_seconds())
    await world.restart()
    await world.run_for(minutes=10)
    began = await world.records(name, Kind.CHECK_BEGAN)
    assert [(r.body["check"], r.body["late"]) for r in began] == [("T+2h", True)]


async def test_R05_one_ticket_updated_not_doubled_and_closed_when_healed(world: World):
    name = await _hired(world)
    _disable(world)
    await world.run_for(hours=3)
    assert len(world.everything("servicenow", "incident")) == 1
    await world.run_for(hours=22)
    assert len(world.everything("servicenow", "incident")) == 1
    assert (await world.row(name))["status"] == "completed_with_exceptions"


async def test_R05_the_ticket_is_closed_when_the_next_check_agrees(world: World):
    name = await _hired(world)
    _disable(world)
    await world.run_for(hours=3)
    _disable(world, enabled=True)
    await world.run_to_end(name)
    ticket = world.everything("servicenow", "incident")[0]
    assert ticket["state"] in ("6", "7")
    assert (await world.row(name))["status"] == "completed"


async def test_R06_a_system_that_cannot_be_read_is_unverified_and_never_a_match(world: World):
    name = await _hired(world)
    world.fault("entra-id", "503", match={"path": "/v1.0/"})
    await world.run_for(hours=5)
    verdicts = [
        r.body["verdict"] for r in await world.records(name, Kind.CHECK_READ) if r.body["record"] == "directory"
    ]
    assert set(verdicts) == {"unverified"}


def _break(world: World, system: str) -> None:
    match system:
        case "directory":
            _disable(world)
        case "itsm":
            request = world.everything("servicenow", "sc_request")[-1]
            world.sims["servicenow"].records.change(
                "sc_request", request["sys_id"], {"request_state": "closed_cancelled"}
            )
        case "crm":
            for row in world.everything("salesforce", "UserTerritory2Association"):
                world.sims["salesforce"].records.delete("UserTerritory2Association", row["Id"])
        case _:
            for row in world.everything("email", "messages"):
                world.sims["email"].records.delete("messages", str(row.get("id", row["uid"])))


@pytest.mark.parametrize("system", ["directory", "itsm", "crm", "email"])
async def test_R07_each_of_the_four_records_fails_alone_when_it_is_changed(world: World, system: str):
    name = await _hired(world)
    _break(world, system)
    await world.run_for(hours=2)
    rows = {r.body["record"]: r.body["verdict"] for r in await world.records(name, Kind.CHECK_READ)}
    assert {record for record, verdict in rows.items() if verdict == "differs"} == {system}


async def test_R08_every_record_that_can_bear_it_bears_the_instance(world: World):
    name = await _hired(world)
    account = _account(world)
    assert name in str(account["onPremisesExtensionAttributes"]) or account.get("employeeId")
    assert world.everything("servicenow", "sc_request")[-1]["correlation_id"].startswith(name)
    assert str(world.everything("salesforce", "UserTerritory2Association")[-1]["Topstitch_Key__c"]).startswith(name)
    welcome = [m for m in world.mails() if m["subject"].startswith("Welcome")]
    assert welcome[0]["key"].strip().startswith(name)
