"""What operators have in hand, against real simulators: the dry run, paused systems, cases, work in bulk."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from support.commands import Ran, called
from support.world import ONBOARDING, World
from topstitch.bootstrap.orphans import LOOK_SECONDS, Orphans
from topstitch.cli.checking import Compiled
from topstitch.cli.clocks import note_time
from topstitch.cli.plan import event_of, reading_hands, rehearsed_by
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.kinds import Kind
from topstitch.store import instances, items, pauses
from topstitch.store.rebuild import rebuild
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


async def door(world: World, *words: str) -> Ran:
    """Run a command on the world's folder, at the world's time, and let the engine see what it did."""
    note_time(world.folder, world.clock.now())
    done = await asyncio.to_thread(called, *words, "--data", str(world.folder), "--json")
    world.house.engine.nudge()
    await world.rest()
    return done


ORDERS = {"method": "POST", "path": "add_to_cart|order_now|submit_order"}
AS = ("-m", "a reason", "--as", "ops@corp.example")


# --- connections and seams ----------------------------------------------------------------------------------------


async def test_C06_C07_a_revoked_secret_makes_one_case_the_instances_queue_and_resuming_drains_them(world: World):
    crm = world.sims["salesforce"]
    secret = crm.settings["client_secret"]
    crm.configure({"client_secret": "rotated"})
    names = [await world.hire(jobProfile="SAL-SDR") for _ in range(4)]
    await world.run_for(hours=3)
    assert [p.subject for p in await pauses.open_pauses(world.store)] == ["connection:crm"]
    assert len(await pauses.all_pauses(world.store)) == 1
    for name in names:
        assert (await world.statuses(name))["crm_assignment"] == "running"
        assert not await world.records(name, Kind.STEP_FAILED, Kind.TASK_OPENED)
    listed = (await door(world, "exceptions", "list")).json()["groups"]
    assert [(g["count"], g["cases"][0]["subject"]) for g in listed] == [(1, "connection:crm")]
    assert listed[0]["owners"] == ["group:people-operations"]
    told = [mail for mail in world.mails() if "Connection crm is paused" in str(mail)]
    whom = [str(mail["to"]) for mail in told]
    assert whom, "the team that owns it hears of it"
    assert len(whom) == len(set(whom)), "each of them once"
    tokens = len(world.calls("salesforce"))
    await world.run_for(minutes=30)
    assert len(world.calls("salesforce")) == tokens, "nothing is sent to a system that refuses the connection"

    crm.configure({"client_secret": secret})
    resumed = await door(world, "connections", "resume", "crm", *AS)
    assert resumed.code == 0, resumed.err
    await world.run_for(seconds=20)
    for name in names:
        assert (await world.statuses(name))["crm_assignment"] == "done", "it goes on at once"
    assert await pauses.open_pauses(world.store) == []


async def test_X06_nothing_new_crosses_a_paused_seam_and_deadlines_run_on(world: World):
    paused = await door(world, "connections", "pause", "entra-id>servicenow", *AS)
    assert paused.code == 0, paused.err
    name = await world.hire()
    await world.run_for(minutes=40)
    assert not world.everything("servicenow", "sc_request")
    statuses = await world.statuses(name)
    assert (statuses["identity"], statuses["equipment"], statuses["welcome_chat"]) == ("done", "running", "done")
    await world.run_for(minutes=10)
    assert (await world.statuses(name))["welcome_email"] == "done", "it waited its 45 minutes and no longer"
    assert (await door(world, "connections", "resume", "entra-id>servicenow", *AS)).code == 0
    await world.run_for(seconds=20)
    assert (await world.statuses(name))["equipment"] == "done"
    assert len(world.everything("servicenow", "sc_request")) == 1


async def test_X06_a_paused_connection_holds_reads_too_and_is_listed_with_who_and_why(world: World):
    assert (await door(world, "connections", "pause", "itsm", *AS)).code == 0
    again = await door(world, "connections", "pause", "itsm", *AS)
    assert again.code == 6
    name = await world.hire()
    await world.run_for(minutes=20)
    assert not world.calls("servicenow", path="/api/")
    assert (await world.row(name))["stage"] == "context"
    listed = {i["subject"]: i for i in (await door(world, "connections", "list")).json()["items"]}
    assert listed["connection:itsm"]["by"] == "human:ops@corp.example"
    assert listed["connection:itsm"]["reason"] == "a reason"
    assert listed["connection:crm"]["paused"] is False
    await door(world, "connections", "resume", "itsm", *AS)
    await world.run_for(hours=1)
    assert (await world.statuses(name))["equipment"] == "done"
    noted = await instances.stored_records(world.store, instance="installation")
    assert [orjson.loads(r.body)["body"]["command"] for r in noted] == ["pause", "resume"]


async def test_pausing_what_there_is_not_names_what_there_is(world: World):
    done = await door(world, "connections", "pause", "erp", *AS)
    assert done.code == 5
    assert "hris, directory, itsm" in done.err
    assert (await door(world, "connections", "resume", "itsm", *AS)).code == 6


# --- exceptions ---------------------------------------------------------------------------------------------------


async def test_X02_an_instance_that_nothing_will_wake_becomes_a_case_within_a_minute_and_goes_on(world: World):
    name = await world.hire()
    await world.run_for(hours=1)
    orphans = Orphans(world.house)
    assert await orphans.look() == []
    await world.store.work(lambda b: b.execute("UPDATE instances SET wake_at = NULL WHERE id = ?", (name,)))
    assert await orphans.look() == []
    assert await orphans.look() == [name]
    assert 2 * LOOK_SECONDS <= 60
    case = (await items.list_cases(world.store, instance=name))[0]
    assert case["cause"] == "orphan"
    assert await orphans.look() == [], "one case, not one for each look"
    done = await door(world, "exceptions", "waive", case["id"], *AS)
    assert done.code == 0, done.err
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"


async def unreadable(world: World, count: int) -> list[str]:
    """Return instances whose context could not be read."""
    world.fault("servicenow", "503")
    names = [await world.hire() for _ in range(count)]
    await world.run_for(hours=1)
    world.sims["servicenow"].faults.clear()
    return names


async def test_cases_of_one_cause_are_one_group_with_count_owner_age_and_remedy(world: World):
    names = await unreadable(world, 3)
    groups = (await door(world, "exceptions", "list")).json()["groups"]
    assert len(groups) == 1
    assert groups[0]["count"] == 3
    assert {c["instance"] for c in groups[0]["cases"]} == set(names)
    assert groups[0]["age_seconds"] > 0
    assert groups[0]["remedy"] == "Mend the cause and retry the instance; nothing was written anywhere"
    shown = (await door(world, "exceptions", "show", groups[0]["cases"][0]["id"])).json()
    assert (shown["from_system"], shown["to_system"], shown["attempt"]) == ("workday", "servicenow", 4)
    assert shown["problem"]["status"] == 503


async def test_X05_a_group_of_cases_is_taken_retried_and_every_instance_completes(world: World):
    names = await unreadable(world, 3)
    group = (await door(world, "exceptions", "list")).json()["groups"][0]["group"]
    taken = await door(world, "exceptions", "take", "--group", group, *AS)
    assert taken.code == 0, taken.err
    owned = (await door(world, "exceptions", "list", "--owner", "ops@corp.example")).json()["groups"]
    assert owned[0]["count"] == 3
    retried = await door(world, "exceptions", "retry", "--group", group, *AS)
    assert retried.code == 0, retried.out + retried.err
    assert (await door(world, "exceptions", "list")).json()["groups"] == []
    await world.run_to_end(*names)
    for name in names:
        assert (await world.row(name))["status"] == "completed"
        said = await world.records(name, Kind.OPERATOR_COMMANDED)
        assert [(str(r.actor), r.body["reason"]) for r in said] == [("human:ops@corp.example", "a reason")] * 2


async def test_a_case_that_is_closed_cannot_be_acted_on_again(world: World):
    await unreadable(world, 1)
    case = (await items.list_cases(world.store))[0]["id"]
    assert (await door(world, "exceptions", "waive", case, *AS)).code == 0
    again = await door(world, "exceptions", "retry", case, *AS)
    assert again.code == 1
    assert again.json()["items"][0]["code"] == "case-closed"
    assert (await items.get_case(world.store, case))["because"] == "a reason"


async def test_what_the_owner_took_survives_a_rebuild_of_the_tables(world: World):
    await unreadable(world, 1)
    case = (await items.list_cases(world.store))[0]["id"]
    await door(world, "exceptions", "take", case, *AS)
    before = await items.get_case(world.store, case)
    await rebuild(world.store)
    assert await items.get_case(world.store, case) == before
    assert before["owner"] == "human:ops@corp.example"


# --- in bulk ------------------------------------------------------------------------------------------------------


async def refused_orders(world: World, count: int) -> list[str]:
    """Return instances whose order ServiceNow refuses because of a bad location."""
    world.fault("servicenow", "refuse", status=400, match={**ORDERS, "body": "LOC-AUS"})
    names = [await world.hire(location="LOC-AUS") for _ in range(count)]
    await world.run_for(minutes=30)
    return names


async def test_H11_many_are_edited_by_expression_and_retried_as_previewed_and_each_completes(world: World):
    names = await refused_orders(world, 6)
    for name in names:
        assert (await world.statuses(name))["equipment"] == "compensating"
    edit = '= trigger.location == "LOC-AUS" ? "LOC-BER" : trigger.location'
    wish = ("--step", "equipment", "--edit", f"trigger.location={edit}", *AS)
    told = await door(world, "batch", "preview", "retry", *names, *wish)
    assert told.code == 0, told.out + told.err
    preview = told.json()
    assert [item["instance"] for item in preview["items"]] == names
    for item in preview["items"]:
        assert item["ok"], item
        assert "trigger.location: 'LOC-AUS' becomes 'LOC-BER'" in item["says"]
        assert "Equipment request would send location: 'LOC-AUS' becomes 'LOC-BER'" in item["says"]
        assert not await world.records(item["instance"], Kind.OPERATOR_COMMANDED), "a preview does nothing"
    done = await door(world, "batch", "start", preview["batch"], "--rate", "50", "--as", "ops@corp.example")
    assert done.code == 0, done.out + done.err
    await world.run_to_end(*names)
    for name in names:
        assert (await world.row(name))["status"] == "completed"
        assert (await world.state(name)).acts["equipment"].payload["location"] == "LOC-BER"
    assert len(world.everything("servicenow", "sc_request")) == 6
    shown = (await door(world, "batch", "show", preview["batch"])).json()
    assert (shown["state"], shown["count"], shown["by"]) == ("done", 6, "human:ops@corp.example")
    again = await door(world, "batch", "start", preview["batch"])
    assert again.code == 6


async def test_X07_what_cannot_be_done_is_listed_per_item_and_stops_none_of_the_others(world: World):
    good = await refused_orders(world, 2)
    done = await world.hire(location="LOC-BER")
    await world.run_for(minutes=5)
    told = await door(world, "batch", "preview", "skip", good[0], done, good[1], "--step", "equipment", *AS)
    preview = told.json()
    assert [item["ok"] for item in preview["items"]] == [True, False, True]
    started = await door(world, "batch", "start", preview["batch"], "--rate", "50")
    assert started.code == 1
    results = started.json()["items"]
    assert [(r["item"], r["ok"]) for r in results] == [(good[0], True), (done, False), (good[1], True)]
    assert results[1]["code"] == "not-skippable"
    assert [(await world.statuses(name))["equipment"] for name in good] == ["skipped", "skipped"]


async def test_H11_the_selection_is_frozen_when_it_is_previewed(world: World):
    first = await world.hire()
    await world.run_for(minutes=1)
    told = (await door(world, "batch", "preview", "pause", "--workflow", "employee-onboarding", *AS)).json()
    second = await world.hire()
    await world.run_for(minutes=1)
    assert (await door(world, "batch", "start", told["batch"])).code == 0
    assert (await world.state(first)).paused
    assert not (await world.state(second)).paused


async def test_X05_a_retry_closes_its_cases_and_tasks_and_a_second_failure_is_news_again(world: World):
    names = await unreadable(world, 1)
    first = (await items.list_cases(world.store))[0]["id"]
    assert (await door(world, "exceptions", "waive", first, *AS)).code == 0
    world.fault("servicenow", "503")
    assert (await door(world, "instance", "retry", names[0], *AS)).code == 0
    await world.run_for(hours=1)
    world.sims["servicenow"].faults.clear()
    listed = (await door(world, "exceptions", "list")).json()["groups"]
    assert [g["count"] for g in listed] == [1], "what was waived and is tried again and fails is a new case"
    assert listed[0]["cases"][0]["id"] != first
    assert (await door(world, "instance", "retry", names[0], *AS)).code == 0
    assert (await door(world, "exceptions", "list")).json()["groups"] == [], "the list agrees with the state"
    assert (await world.state(names[0])).open_cases == ()
    await world.run_to_end(*names)
    assert (await world.row(names[0]))["status"] == "completed"


async def test_a_retried_step_leaves_no_task_in_anybodys_inbox(world: World):
    (name,) = await refused_orders(world, 1)
    (task,) = await items.list_tasks(world.store, instance=name)
    assert task["status"] == "open"
    change = ("--set", "location=LOC-BER")
    assert (await door(world, "instance", "retry", name, "--step", "equipment", *change, *AS)).code == 0
    (task,) = await items.list_tasks(world.store, status=None, instance=name)
    assert (task["status"], task["ending"]) == ("closed", "withdrawn")
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed"
