"""The onboarding as the playbook wants it afterwards: minutes, no handoffs, one page."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.world import ONBOARDING, World
from topstitch.cli.instance_page import lines
from topstitch.cli.instance_view import view
from topstitch.cli.screen import Screen
from topstitch.model.kinds import Kind
from topstitch.store import items


async def _took(world: World, name: str, step: str) -> timedelta:
    done = next(r for r in await world.records(name, Kind.STEP_DONE) if r.step == step)
    return done.at - (await world.row(name))["started_at"]


async def test_O01_the_hire_event_alone_starts_it(world: World):
    name = await world.hire()
    await world.run_to_end(name)
    assert {str(r.actor.kind) for r in await world.records(name)} <= {"system", "policy"}


@pytest.mark.parametrize(
    ("profile", "groups"),
    [
        ("ENG-SWE", {"all-staff", "engineering", "source-control"}),
        ("SAL-SDR", {"all-staff", "sales"}),
        ("DES-PROD", {"all-staff", "design"}),
        ("IT-OPS", {"all-staff", "vpn-users", "it-ops"}),
    ],
)
async def test_O02_the_account_is_there_in_ten_minutes_in_the_groups_of_the_job(
    world: World, profile: str, groups: set[str]
):
    world.sims["entra-id"].configure({"consistency_seconds": 90})
    name = await world.hire(jobProfile=profile)
    await world.run_for(minutes=20)
    assert await _took(world, name, "identity") < timedelta(minutes=10)
    key = (await world.row(name))["correlation"]
    account = next(u for u in world.everything("entra-id", "users") if u.get("employeeId") == key)
    found = {g["displayName"] for g in world.everything("entra-id", "groups") if account["id"] in g["_members"]}
    assert found == groups
    world.sims["entra-id"].configure({"consistency_seconds": 0})


async def test_O03_the_standard_tier_is_ordered_without_asking_and_the_requester_is_told(world: World):
    name = await world.hire()
    await world.run_for(minutes=10)
    assert len(world.everything("servicenow", "sc_request")) == 1
    decision = next(r for r in await world.records(name, Kind.DECISION) if r.step == "equipment")
    assert str(decision.actor) == "policy:definition"
    assert [m for m in world.mails("helena.novak@corp.example") if "Equipment" in m["subject"]]


async def test_O04_the_sales_team_has_territory_and_quota_and_sales_operations_is_told(world: World):
    name = await world.hire(jobProfile="SAL-AE")
    await world.run_until_asked(name)
    await world.answer(name, "kofi.mensah@corp.example")
    await world.run_for(minutes=5)
    assert len(world.everything("salesforce", "UserTerritory2Association")) == 1
    assert world.everything("salesforce", "ForecastingQuota")[0]["QuotaAmount"] == 1_200_000
    assert [m for m in world.mails("kofi.mensah@corp.example") if "is done" in m["subject"]]


@pytest.mark.parametrize("ladder", [False, True])
async def test_O05_welcome_and_invitation_go_out_within_the_hour_even_when_equipment_is_stuck(
    world: World, ladder: bool
):
    if ladder:
        world.fault("servicenow", "503", match={"method": "POST", "path": "add_to_cart"})
    name = await world.hire()
    await world.run_for(hours=2)
    assert await _took(world, name, "welcome_email") <= timedelta(minutes=60)
    assert await _took(world, name, "welcome_chat") <= timedelta(minutes=60)
    letter = next(m for m in world.mails() if m["subject"].startswith("Welcome"))
    body = world.sims["email"].records.get("messages", str(letter.get("id", letter["uid"]))) or letter
    text = str(body)
    assert "http" in text
    account = next(u for u in reversed(world.everything("entra-id", "users")) if u.get("passwordProfile"))
    assert account["passwordProfile"]["password"] not in text


async def test_O06_all_four_systems_are_confirmed_within_two_hours(world: World):
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(hours=3)
    for step in ("identity", "equipment", "crm_assignment", "welcome_email"):
        assert await _took(world, name, step) <= timedelta(hours=2)
    check = (await world.records(name, Kind.CHECK_DONE))[0]
    assert check.body["matched"] == 5


async def test_O07_the_standard_path_needs_nobody(world: World):
    name = await world.hire()
    await world.run_to_end(name)
    assert not await items.list_tasks(world.store, status=None, instance=name)
    assert (await world.row(name))["status"] == "completed"


async def test_O08_one_screen_says_where_it_is_what_waits_on_whom_and_since_when(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    await world.run_until_asked(name)
    world.clock.advance(3 * 3600)
    await world.rest()
    plan = (await world.house.plans.in_force())[0]
    picture = view(plan, await world.state(name), await world.records(name), world.clock.now())
    page = "\n".join(lines(Screen(), plan, picture, world.clock.now(), more="topstitch audit show"))
    assert "Jonas Weber is to decide: Identity provisioning" in page
    assert "(3 h)" in page
    assert "stage: execution" in page
    assert "Microsoft Entra ID" not in page.partition("Steps")[0]
    row = await world.row(name)
    assert row["waiting_on"] == "Jonas Weber: decide on Identity provisioning"


def test_V10_the_onboarding_is_one_file():
    assert [p.name for p in ONBOARDING.parent.glob("*.yaml")] == ["employee-onboarding.yaml"]
    assert all(
        system in ONBOARDING.read_text()
        for system in ("workday@1", "entra-id@1", "servicenow@1", "salesforce@1", "email@1", "slack@1")
    )
