"""Discrepancies as people deal with them, against real simulators: repaired, waived, listed, over whole populations."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from scenarios.test_seams import look, watching
from support.commands import Ran, called
from support.world import ONBOARDING, World
from topstitch.bootstrap.populations import Populations, counts_of
from topstitch.cli.clocks import note_time
from topstitch.cli.instance_view import view
from topstitch.cli.tale import Teller
from topstitch.foundation.errors import ConflictError, ConnectorError, NotFoundError
from topstitch.metrics.alerts import Kind as AlertKind
from topstitch.metrics.watch import Watcher, evaluate
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind
from topstitch.office import discrepancies as office
from topstitch.office.desk import Desk
from topstitch.store import discrepancies, populations
from topstitch.store.rebuild import rebuild

IVO = Actor(ActorKind.HUMAN, "ivo@acme.example")
HEAL = "heal:directory.groups"
POPULATION = """  population:
    every: 24h
    left: {read: hris.list_hires, key: = row.employee_id, since: 30d}
    right: {read: directory.list_users, key: = row.employee_number, since: 30d}
    expect: one_to_one
    grace: 24h
  on_difference:
"""


def desk(world: World) -> Desk:
    return Desk(world.store, world.house.plans.load, world.clock)


async def _drifted(world: World) -> tuple[str, dict[str, Any], str]:
    """Hire somebody, take their groups away, and let the first check find it."""
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(minutes=30)
    users = world.everything("entra-id", "users")
    account = dict(next(u for u in reversed(users) if u.get("onPremisesExtensionAttributes")))
    for group in world.everything("entra-id", "groups"):
        left = [one for one in group["_members"] if one != account["id"]]
        if len(left) != len(group["_members"]):
            world.sims["entra-id"].records.change("groups", group["id"], {"_members": left})
    await world.run_for(hours=2)
    rows = await discrepancies.list_discrepancies(world.store, instance=name)
    return name, account, str(rows[0]["id"])


async def _told_everywhere(world: World, name: str) -> None:
    """Have an instance with a repair shown, told and measured: it has a step that its definition does not list."""
    seen = await desk(world).picture(name)
    page = view(seen.plan, seen.state, seen.records, world.clock.now())
    assert page["discrepancies"][0]["fields"]
    assert "Repair groups in Microsoft Entra ID" in str([Teller(seen.plan).sentence(r) for r in seen.records])
    await evaluate(Watcher(store=world.store, plans=world.house.plans), world.clock.now())


async def test_R10_reconciliation_writes_no_repair_until_the_proposal_is_approved(world: World) -> None:
    name, account, found = await _drifted(world)
    row = await discrepancies.discrepancy(world.store, found)
    assert (row["state"], row["workflow"], row["owner"]) == ("healing", "employee-onboarding", "people-operations")
    proposed = (await world.records(name, Kind.HEAL_PROPOSED))[0]
    sent = [r for r in await world.records(name, Kind.ACT_INTENT) if r.step == HEAL]
    assert sent == []
    asked = (await world.records(name, Kind.APPROVAL_ASKED))[-1]
    assert asked.step == HEAL
    await _told_everywhere(world, name)
    await world.answer(name, str(asked.body["people"][0]["id"]))
    await world.run_for(minutes=30)
    sent = [r for r in await world.records(name, Kind.ACT_INTENT) if r.step == HEAL]
    assert [r.body["payload_digest"] for r in sent] == [proposed.body["payload_digest"]]
    assert (await discrepancies.discrepancy(world.store, found))["state"] == "resolved"
    wanted = proposed.body["payload"]["groups"]
    held = [g["displayName"] for g in world.everything("entra-id", "groups") if account["id"] in g["_members"]]
    assert set(wanted) <= set(held)
    tickets = world.everything("servicenow", "incident")
    assert [t["state"] in ("6", "7") for t in tickets] == [True]
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"
    assert (await world.records(name, Kind.DECISION))[-1].body["risk"] == 2
    await _told_everywhere(world, name)


async def test_what_people_do_is_appended_behind_the_engine_and_the_rows_follow_from_the_journal(world: World) -> None:
    name, _, found = await _drifted(world)
    office_desk = desk(world)
    until = world.clock.now() + timedelta(days=2)
    record = await office.act(office_desk, found, "waive", IVO, "known until the audit", until=until)
    assert record is not None
    assert (record.kind, str(record.actor)) == (Kind.OPERATOR_COMMANDED, "human:ivo@acme.example")
    await world.run_for(minutes=5)
    row = await discrepancies.discrepancy(world.store, found[:10])
    assert (row["state"], row["waived_until"], row["because"]) == ("waived", until, "known until the audit")
    assert (await world.state(name)).heals[HEAL].status == "not_run"
    await world.run_for(days=3)
    row = await discrepancies.discrepancy(world.store, found)
    assert (row["state"], row["reopened"]) == ("ticketed", 1)
    await office.act(office_desk, found, "accept", IVO, "they left the team")
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"
    before = await discrepancies.list_discrepancies(world.store)
    await rebuild(world.store)
    assert await discrepancies.list_discrepancies(world.store) == before


async def test_R06_a_check_that_nobody_takes_up_is_itself_an_alert(world: World) -> None:
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(minutes=30)
    watcher = Watcher(store=world.store, plans=world.house.plans)
    assert not [c for c in (await evaluate(watcher, world.clock.now())).conditions if c.kind == AlertKind.CHECK]
    world.house.engine.stop()
    assert world._engine is not None
    await world._engine
    world.clock.advance(timedelta(hours=2).total_seconds())
    found = [c for c in (await evaluate(watcher, world.clock.now())).conditions if c.kind == AlertKind.CHECK]
    assert [one["instance"] for one in found[0].worst] == [name]
    assert found[0].owner["team"] == "people-operations"
    await world.restart()
    await world.run_for(minutes=10)
    began = await world.records(name, Kind.CHECK_BEGAN)
    assert [(r.body["check"], r.body["late"]) for r in began] == [("T+2h", True)]
    watcher = Watcher(store=world.store, plans=world.house.plans)
    assert not [c for c in (await evaluate(watcher, world.clock.now())).conditions if c.kind == AlertKind.CHECK]


async def test_whole_populations_that_differ_are_an_alert(world: World) -> None:
    await _whole(world)
    whole = Populations(world.house)
    world.hired(jobProfile="SAL-SDR")
    await whole.look()
    await world.run_for(hours=25)
    await whole.look()
    told = await evaluate(Watcher(store=world.store, plans=world.house.plans), world.clock.now())
    (found,) = told.conditions
    assert found.cause.startswith("population|employee-onboarding|pop_")
    assert found.title == "Employee onboarding: Workday lists one for which nothing was started"
    assert found.text.endswith(found.cause.rpartition("|")[2])


async def test_a_suspicion_is_listed_and_gone_when_the_second_read_agrees(world: World) -> None:
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(minutes=30)
    users = world.everything("entra-id", "users")
    account = dict(next(u for u in reversed(users) if u.get("onPremisesExtensionAttributes")))
    change = world.sims["entra-id"].records.change
    change("users", account["id"], {"accountEnabled": False})
    start = (await world.row(name))["started_at"]
    await world.run_until(start + timedelta(hours=2, minutes=2))
    rows = await discrepancies.list_discrepancies(world.store, "suspected")
    assert [(row["system"], row["status"]) for row in rows] == [("directory", "suspected")]
    with pytest.raises(ConflictError, match="not confirmed yet"):
        await office.act(desk(world), str(rows[0]["id"]), "accept", IVO, "so it is")
    change("users", account["id"], {"accountEnabled": True})
    await world.run_for(minutes=10)
    assert await discrepancies.list_discrepancies(world.store) == []


async def test_the_commands_list_show_and_act(world: World) -> None:
    _, _, found = await _drifted(world)
    note_time(world.folder, world.clock.now())

    async def run(*words: str) -> Ran:
        return await asyncio.to_thread(called, *words, "--data", str(world.folder), TOPSTITCH_PERSON="ivo@acme.example")

    listed = await run("discrepancies", "list", "--json")
    assert [row["id"] for row in listed.json()["items"]] == [found]
    assert found in (await run("discrepancies", "list")).out
    shown = await run("discrepancies", "show", found)
    assert "observed" in shown.out
    assert "repair    directory.add_groups" in shown.out
    assert "topstitch approvals show apr_" in shown.out
    refused = await run("discrepancies", "repair", found, "-m", "please")
    assert (refused.code, "topstitch approvals approve" in refused.err) == (6, True)
    assert (await run("discrepancies", "waive", found, "-m", "known", "--until", "2020-01-01")).code == 2
    ends = (world.clock.now() + timedelta(days=3)).date().isoformat()
    assert (await run("discrepancies", "waive", found, "-m", "known", "--until", ends)).code == 0
    await world.rest()
    assert (await discrepancies.discrepancy(world.store, found))["state"] == "waived"
    assert (await run("discrepancies", "list")).err.strip().startswith("Nothing differs")
    assert (await run("discrepancies", "recheck", found, "-m", "now")).code == 0
    assert (await run("discrepancies", "accept", found, "-m", "they left the team")).code == 0
    assert (await run("discrepancies", "accept", found, "-m", "again")).code == 6
    assert (await run("discrepancies", "show", "dis_nothing")).code == 5
    assert (await run("reconcile", "employee-onboarding")).code == 0
    assert (await run("reconcile", "employee-onboarding", "--population")).code == 5
    await _whole(world)
    differs = await run("reconcile", "employee-onboarding", "--population", "--json")
    assert differs.code == (3 if differs.json()["differences"] else 0)
    assert set(differs.json()["counts"]) >= {"matched", "pending", "missing", "extra", "no_instance", "duplicate"}


async def test_the_list_is_filtered_and_paged(world: World) -> None:
    _, _, found = await _drifted(world)
    listed = discrepancies.list_discrepancies
    assert [r["id"] for r in await listed(world.store, "open", "directory", "employee-onboarding")] == [found]
    assert await listed(world.store, "open", "crm") == []
    assert await listed(world.store, "resolved") == []
    assert await listed(world.store, after=found) == []
    with pytest.raises(NotFoundError, match="list what is open"):
        await discrepancies.discrepancy(world.store, "dis_nothing")


# --- whole populations ------------------------------------------------------------------------------------


async def _whole(world: World) -> Populations:
    await world.publish(ONBOARDING.read_text().replace("  on_difference:\n", POPULATION, 1).replace("1.0.0", "1.1.0"))
    return Populations(world.house)


def _whats(rows: Any) -> list[tuple[str, str]]:
    return sorted((row["what"], row["state"]) for row in rows)


async def test_every_hire_has_an_instance_every_instance_an_account_and_no_account_is_without(world: World) -> None:
    whole = await _whole(world)
    plan = await world.house.plans.of("employee-onboarding")
    await whole.look()  # what was there before the first hire
    before, standing = await whole.compare(plan)
    old = {row["id"] for row in standing}
    name = await world.hire(jobProfile="SAL-SDR")
    pending, _ = await whole.compare(plan)
    assert pending.pending == before.pending + 1
    await world.run_to_end(name)
    world.hired(jobProfile="SAL-SDR")  # its notification is lost
    account = dict(
        next(u for u in reversed(world.everything("entra-id", "users")) if u.get("onPremisesExtensionAttributes"))
    )
    number = str(account["employeeId"])
    world.sims["entra-id"].records.change("users", account["id"], {"employeeId": "E-STRAY"})
    compared, standing = await whole.compare(plan)
    new = [row for row in standing if row["id"] not in old]
    assert _whats(new) == [("extra", "suspected"), ("missing", "suspected"), ("no_instance", "suspected")]
    assert {row["subject"] for row in new} >= {"E-STRAY", number}
    assert counts_of(compared)["extra"] == counts_of(before)["extra"] + 1
    await world.run_for(hours=25)
    _, standing = await whole.compare(plan)
    opened = [row for row in standing if row["id"] not in old]
    assert {row["state"] for row in opened} == {"open"}
    await world.run_for(minutes=20)  # the instance that has lost its account compares it itself, and files the ticket
    rows = await discrepancies.list_discrepancies(world.store, instance=name)
    assert [row["check_name"] for row in rows] in ([], ["recheck-1"])
    world.sims["entra-id"].records.change("users", account["id"], {"employeeId": number})
    _, standing = await whole.compare(plan)
    assert _whats(row for row in standing if row["id"] not in old) == [("no_instance", "open")]


async def test_R05_each_way_in_which_populations_differ_has_one_ticket_that_is_closed_when_they_agree(
    world: World,
) -> None:
    whole = await _whole(world)
    plan = await world.house.plans.of("employee-onboarding")
    await whole.look()
    for row in await populations.listing(world.store):
        await office.act(desk(world), str(row["id"]), "accept", IVO, "there before us")
    users = world.sims["entra-id"].records
    without_account = await world.hire(jobProfile="SAL-SDR")
    await world.run_to_end(without_account)
    account = dict(next(u for u in reversed(users.all("users")) if u.get("onPremisesExtensionAttributes")))
    users.delete("users", account["id"])
    users.put("users", "stray", {**account, "id": "stray", "employeeId": "E-STRAY", "userPrincipalName": "s@corp"})
    lost = world.hired(jobProfile="SAL-SDR")  # its notification does not arrive
    async with watching(world, "ticket:itsm") as one:
        await whole.compare(plan)
        await look(world, one)
        assert not world.everything("servicenow", "incident")  # suspected: the grace is not over
        for _ in range(2):
            await world.run_for(hours=25)
            await whole.compare(plan)
            await world.run_for(minutes=20)
            await look(world, one)
            tickets = world.everything("servicenow", "incident")
            assert sorted(_about(ticket) for ticket in tickets) == ["extra", "missing", "no_instance"]
            assert {ticket["state"] for ticket in tickets} == {"1"}
        (missing,) = [ticket for ticket in tickets if _about(ticket) == "missing"]
        assert missing["correlation_id"].startswith(without_account)  # the instance's own, from its journal
        users.put("users", account["id"], account)
        users.delete("users", "stray")
        await world.deliver(lost)
        await world.run_for(hours=1)
        await whole.compare(plan)
        await world.run_for(minutes=20)
        await look(world, one)
        assert {ticket["state"] for ticket in world.everything("servicenow", "incident")} == {"7"}
        assert len(world.everything("servicenow", "incident")) == 3
    assert not [row for row in await populations.listing(world.store) if row["state"] == "open"]


def _about(ticket: Any) -> str:
    """Tell by its words what a ticket is about."""
    said = str(ticket["short_description"])
    words = {"nothing was started": "no_instance", "nothing of ours": "extra", "differs": "missing"}
    return next((what for word, what in words.items() if word in said), said)


async def test_a_difference_is_waived_until_its_end_and_a_side_that_cannot_be_read_says_nothing(world: World) -> None:
    whole = await _whole(world)
    plan = await world.house.plans.of("employee-onboarding")
    world.hired(jobProfile="SAL-SDR")
    await whole.look()
    await world.run_for(hours=25)
    assert await whole.look() == ["employee-onboarding"]
    assert await whole.look() == []
    rows = [row for row in await populations.listing(world.store) if row["what"] == "no_instance"]
    found = str(rows[-1]["id"])
    assert rows[-1]["state"] == "open"
    count = (await populations.open_differences(world.store, each=1))["employee-onboarding"].how_many
    with pytest.raises(ConflictError, match="reconcile WORKFLOW --population"):
        await office.act(desk(world), found, "recheck", IVO, "look")
    until = world.clock.now() + timedelta(days=2)
    assert await office.act(desk(world), found, "waive", IVO, "started by hand", until=until) is None
    left = (await populations.open_differences(world.store, each=1)).get("employee-onboarding")
    assert (left.how_many if left else 0) == count - 1
    await world.run_for(days=3)
    await whole.compare(plan)
    again = [row for row in await populations.listing(world.store) if row["id"] == found]
    assert [row["state"] for row in again] == ["open"]
    world.fault("entra-id", "503", match={"path": "/v1.0/"})
    with pytest.raises(ConnectorError, match="nothing was compared"):
        await whole.compare(plan)
    state = await populations.state_of(world.store, "employee-onboarding")
    assert state is not None
    assert "problem" in state["outcome"]
    assert await whole.look() == ["employee-onboarding"]  # due for days, and not to be read either
    await world.run_for(minutes=29)
    assert await whole.look() == []
    world.sims["entra-id"].faults.clear()
    await world.run_for(minutes=2)
    assert await whole.look() == ["employee-onboarding"]
    state = await populations.state_of(world.store, "employee-onboarding")
    assert state is not None
    assert "problem" not in state["outcome"]
