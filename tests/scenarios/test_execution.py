"""Stage 3: order, proof of every write, retries, people in a system's stead, and taking back."""

from __future__ import annotations

from itertools import pairwise

import pytest

from support.world import ONBOARDING, World
from topstitch.cli.instance_view import view
from topstitch.foundation.errors import AuthorError
from topstitch.foundation.timetext import parse_time
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.kinds import Kind
from topstitch.store import items

ORDERS = {"method": "POST", "path": "add_to_cart|order_now|submit_order"}


async def test_E01_steps_run_in_the_order_of_their_needs_and_the_others_side_by_side(world: World):
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(hours=1)
    records = await world.records(name)
    at = {(r.kind, r.step): r.seq for r in records if r.kind in (Kind.ACT_INTENT, Kind.STEP_DONE)}
    for step in ("equipment", "crm_assignment", "welcome_chat", "welcome_email"):
        assert at[Kind.STEP_DONE, "identity"] < at[Kind.ACT_INTENT, step]
    assert at[Kind.STEP_DONE, "equipment"] < at[Kind.ACT_INTENT, "welcome_email"]
    assert at[Kind.ACT_INTENT, "welcome_chat"] < at[Kind.STEP_DONE, "equipment"]


async def test_E02_an_account_that_exists_already_is_not_made_again(world: World):
    world.sims["entra-id"].records.change(
        "users", world.everything("entra-id", "users")[0]["id"], {"employeeId": "W-500001"}
    )
    name = await world.hire(workerId="W-500001")
    await world.run_for(hours=1)
    assert (await world.statuses(name))["identity"] == "declined"
    assert not [c for c in world.calls("entra-id", method="POST", path="/v1.0/users") if c["committed"]]
    declined = await world.records(name, Kind.STEP_DECLINED)
    assert declined[0].body["because"] == "an account with this employee number exists already"


async def test_E03_a_write_that_was_accepted_and_not_stored_is_not_done(world: World):
    world.fault("slack", "accept_store_nothing", match={"path": "invite"})
    name = await world.hire()
    await world.run_until_task(name, hours=2)
    assert (await world.statuses(name))["welcome_chat"] == "compensating"
    failed = await world.records(name, Kind.STEP_FAILED)
    assert (failed[0].step, failed[0].body["failure"]) == ("welcome_chat", "disagrees")


def _messages(world: World, old: str, new: str) -> str:
    """Return what the checker says of the onboarding with one place changed."""
    text = ONBOARDING.read_text()
    assert old in text
    return " ".join(
        f.message for f in check(load(text.replace(old, new, 1), "x.yaml"), world.registry.contracts()).errors
    )


async def test_E04_a_step_that_uses_what_it_does_not_need_does_not_publish(world: World):
    said = _messages(world, "    needs: [identity]\n    when:", "    when:")
    assert "crm_assignment" in said
    assert "identity" in said


async def test_E05_a_write_without_read_back_does_not_publish_and_a_waiver_is_in_the_journal(world: World):
    expect = ONBOARDING.read_text().partition("    retry: {attempts: 5, backoff: exponential, first: 10s, max: 5m}\n")[
        2
    ]
    block = expect.partition("    rollback:")[0]
    assert "expect" in _messages(world, block, "")
    waived = ONBOARDING.read_text().replace(block, "    expect: {none: the gateway has no read}\n", 1)
    await world.publish(waived.replace("version: 1.0.0", "version: 2.0.0"))
    name = await world.hire()
    await world.run_for(minutes=2)
    decision = next(r for r in await world.records(name, Kind.DECISION) if r.step == "welcome_email")
    assert decision.body["not_read_back"] == "the gateway has no read"


async def test_E06_a_step_without_rollback_does_not_publish(world: World):
    undo = "    rollback:\n      do: itsm.cancel_request\n"
    undo += "      with: {request_id: = step.output.request_id, update_asset: true}\n"
    assert "rollback" in _messages(world, undo, "")


async def test_E07_an_informational_step_may_say_that_it_cannot_be_undone_and_is_what_stays(world: World):
    await world.publish(ABORTING.replace("version: 1.0.0", "version: 2.0.0"))
    world.fault("salesforce", "503", match={"path": "/composite"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_until_task(name)
    await world.run_for(hours=1)
    await world.fail_task(name, "ruth.abend@corp.example")
    await world.run_to_end(name)
    end = (await world.records(name))[-1]
    assert [r["step"] for r in end.body["residue"]] == ["welcome_email"]


async def test_E09_a_rollback_around_what_cannot_be_undone_does_not_publish_unless_it_is_accepted(world: World):
    with pytest.raises(AuthorError) as refused:
        await world.publish(UNCOVERED.replace("version: 1.0.0", "version: 2.0.0"))
    assert refused.value.code == "not-covered"
    assert "welcome_email" in refused.value.message


async def test_E09_a_failure_without_a_declared_end_does_not_publish(world: World):
    assert "not_done" in _messages(world, "then: {done: continue, not_done: rollback}", "then: {done: continue}")


async def test_E08_what_was_undone_and_what_was_compensated_are_told_apart(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    name = await world.hire()
    await world.run_until_task(name)
    plan = (await world.house.plans.in_force())[0]
    picture = view(plan, await world.state(name), await world.records(name), world.clock.now())
    assert picture["undone"] == []
    assert [c["step"] for c in picture["compensated"]] == ["equipment"]


async def test_E10_exactly_three_retries_then_the_ladder_goes_on(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    name = await world.hire()
    await world.run_until_task(name)
    tries = [c for c in world.calls("servicenow", method="POST", path="add_to_cart") if c["status"] == 503]
    assert len(tries) == 4
    assert len([r for r in await world.records(name, Kind.ACT_INTENT) if r.step == "equipment"]) == 4


async def test_E11_the_waits_grow_by_the_factor_within_the_bounds_of_jitter(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    await world.run_until_task(await world.hire())
    times = [parse_time(c["at"]) for c in world.calls("servicenow", method="POST", path="add_to_cart")]
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    for gap, base in zip(gaps, (30, 60, 120), strict=True):
        assert base <= gap <= base * 1.25 + 0.1


async def test_E11_a_refusal_is_not_tried_again(world: World):
    world.fault("servicenow", "refuse", status=400, match=ORDERS)
    name = await world.hire()
    await world.run_until_task(name)
    assert len(world.calls("servicenow", method="POST", path="add_to_cart")) == 1


async def test_E11_retry_after_is_honoured(world: World):
    world.fault("slack", "429", retry_after=90, times=1, match={"path": "invite"})
    name = await world.hire()
    await world.run_for(minutes=10)
    times = [parse_time(c["at"]) for c in world.calls("slack", path="invite")]
    assert (times[1] - times[0]).total_seconds() >= 90
    assert (await world.statuses(name))["welcome_chat"] == "done"


async def test_E12_one_task_for_it_ops_stands_in_and_handing_it_in_completes_the_step(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    name = await world.hire()
    task = await world.run_until_task(name)
    assert task["assignee"] == "group:it-ops"
    assert len(await items.list_tasks(world.store, status=None, instance=name)) == 1
    mails = world.mails("femi.adeyemi@corp.example")
    assert any(task["id"] in str(m.get("raw", m)) or task["title"] in m["subject"] for m in mails)
    world.sims["servicenow"].faults.clear()
    order = _order_by_hand(world)
    await world.do_task(name, "femi.adeyemi@corp.example", order)
    await world.run_for(minutes=5)
    assert (await world.statuses(name))["equipment"] == "done_by_hand"
    assert (await world.state(name)).steps["equipment"].output["request_id"] == order["request_id"]


def _order_by_hand(world: World) -> dict[str, str]:
    """Order in the portal, as a person would."""
    desk = world.sims["servicenow"]
    with desk.records.store.transaction():
        items_ = desk.records.find("sc_cat_item", tier="standard")
        request = desk.catalog._request([(items_[0], 1)], {"short_description": "by hand"}, "")
    return {"request_id": request["sys_id"], "number": request["number"]}


async def test_E12_work_that_cannot_be_read_back_is_given_back(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    name = await world.hire()
    await world.run_until_task(name)
    await world.do_task(name, "femi.adeyemi@corp.example", {"request_id": "0" * 32, "number": "REQ0"})
    await world.run_for(minutes=30)
    assert (await items.list_tasks(world.store, instance=name))[0]["status"] == "open"
    assert len(await world.records(name, Kind.TASK_REOPENED)) == 1


async def test_E13_the_welcome_says_that_the_equipment_is_late(world: World):
    world.fault("servicenow", "503", match=ORDERS)
    name = await world.hire()
    await world.run_for(minutes=59)
    assert (await world.statuses(name))["welcome_email"] == "done"
    subjects = [m["subject"] for m in world.mails() if m["subject"].startswith("Welcome")]
    assert len(subjects) == 1
    assert "equipment" in subjects[0]


async def test_E14_what_has_happened_already_is_known_with_the_systems_own_ids(world: World):
    world.fault("servicenow", "down", match=ORDERS)
    name = await world.hire()
    await world.run_for(minutes=30)
    plan = (await world.house.plans.in_force())[0]
    picture = view(plan, await world.state(name), await world.records(name), world.clock.now())
    account = next(u for u in world.everything("entra-id", "users") if u.get("employeeId"))
    effect = next(e for e in picture["effects"] if e["step"] == "identity")
    assert effect["standing"] == "in place"
    assert effect["record"] in {u["id"] for u in world.everything("entra-id", "users")}
    assert account


_LADDER = """escalate: [{after: 1d, to: "group:sales-leadership"}]
            give_up: 3d
      then: {done: continue, not_done: continue}"""
ABORTING = ONBOARDING.read_text().replace(_LADDER, _LADDER.replace("not_done: continue", "not_done: rollback"))
UNCOVERED = ABORTING
ABORTING = ABORTING.replace("    title: Welcome e-mail\n", "    title: Welcome e-mail\n    pivot: true\n")
_WELCOME = """            due: 8h
            give_up: 24h
      then: {done: continue, not_done: continue}

  welcome_chat"""


async def test_E15_when_sales_is_down_and_the_author_said_abort_all_is_taken_back_in_reverse(world: World):
    assert ONBOARDING.read_text() != ABORTING
    await world.publish(ABORTING.replace("version: 1.0.0", "version: 2.0.0"))
    world.fault("salesforce", "503", match={"path": "/composite"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_until_task(name)
    await world.fail_task(name, "ruth.abend@corp.example")
    await world.run_to_end(name)
    assert (await world.row(name))["status"].startswith("rolled_back")
    undone = [r.step for r in await world.records(name, Kind.STEP_UNDONE)]
    assert undone.index("equipment") < undone.index("identity")
    assert len(undone) == len(set(undone))
    key = (await world.row(name))["correlation"]
    account = next(u for u in world.everything("entra-id", "users") if u.get("employeeId") == key)
    assert account["accountEnabled"] is False
    assert [r["request_state"] for r in world.everything("servicenow", "sc_request")] == ["closed_cancelled"]
    cancels = [c for c in world.calls("servicenow", method="PATCH", path="sc_request") if c["committed"]]
    assert len(cancels) == 1


async def test_E15_when_the_author_said_continue_the_other_steps_are_untouched(world: World):
    world.fault("salesforce", "503", match={"path": "/composite"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_until_task(name)
    await world.run_to_end(name)
    assert (await world.row(name))["status"] == "completed_with_exceptions"
    statuses = await world.statuses(name)
    assert (statuses["identity"], statuses["equipment"], statuses["crm_assignment"]) == ("done", "done", "given_up")


async def test_E16_the_account_is_disabled_and_out_of_its_groups_after_rollback(world: World):
    await world.publish(ABORTING.replace("version: 1.0.0", "version: 2.0.0"))
    world.fault("salesforce", "503", match={"path": "/composite"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_to_end(name)
    key = (await world.row(name))["correlation"]
    account = next(u for u in world.everything("entra-id", "users") if u.get("employeeId") == key)
    assert account["accountEnabled"] is False
    assert not [g for g in world.everything("entra-id", "groups") if account["id"] in g["_members"]]


async def test_E16_the_catalog_request_is_cancelled_and_its_assets_are_free_after_rollback(world: World):
    await world.publish(ABORTING.replace("version: 1.0.0", "version: 2.0.0"))
    world.fault("salesforce", "503", match={"path": "/composite"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_until_task(name)
    await world.fail_task(name, "ruth.abend@corp.example")
    await world.run_to_end(name)
    assert [r["request_state"] for r in world.everything("servicenow", "sc_request")] == ["closed_cancelled"]
    assert not [a for a in world.everything("servicenow", "alm_asset") if a["substatus"] == "reserved"]


async def test_E16_the_territory_is_unassigned_and_the_team_left_after_rollback(world: World):
    text = ONBOARDING.read_text().replace("version: 1.0.0", "version: 2.0.0")
    late = text.replace(
        "    needs: [identity]\n    after: {equipment: 45m, crm_assignment: 45m}",
        "    needs: [identity, crm_assignment]\n    after: {equipment: 45m}",
    ).replace(_WELCOME, _WELCOME.replace("not_done: continue", "not_done: rollback"))
    assert late.count("not_done: rollback") == 2
    late = late.replace(
        "welcomed: {steps: [welcome_email, welcome_chat], within: 1h",
        "welcomed: {steps: [welcome_email, welcome_chat], within: 1d",
    )
    await world.publish(late)
    world.fault("email", "refuse", status=554, match={"method": "DATA"}, times=-1)
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_to_end(name)
    assert (await world.statuses(name))["crm_assignment"] == "undone"
    assert not [r for r in world.everything("salesforce", "UserTerritory2Association") if not r["IsDeleted"]]
    key = f"{name}:crm_assignment"
    assert not [
        r
        for r in world.everything("salesforce", "AccountTeamMember")
        if str(r.get("Topstitch_Key__c") or "").startswith(key) and not r["IsDeleted"]
    ]


@pytest.mark.parametrize("system", ["workday", "entra-id", "servicenow", "salesforce", "slack"])
@pytest.mark.parametrize("kind", ["down", "500", "429"])
async def test_E17_whatever_is_down_every_instance_ends_or_waits_for_a_named_person(
    world: World, system: str, kind: str
):
    world.fault(system, kind, match={"path": "/(v1.0|ccx|api|services/data)"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_to_end(name, days=20)
    end = (await world.row(name))["status"]
    assert end in {"completed", "completed_with_exceptions", "stopped", "rolled_back", "rolled_back_with_exceptions"}


async def test_E17_mail_down_is_no_stall_either(world: World):
    world.fault("email", "down", match={"method": "CONNECT"})
    name = await world.hire()
    await world.run_to_end(name, days=20)
    assert (await world.row(name))["status"] == "completed_with_exceptions"


async def test_E18_an_error_at_a_boundary_names_both_systems_request_answer_and_attempt(world: World):
    world.fault("servicenow", "refuse", status=403, match=ORDERS)
    name = await world.hire()
    await world.run_until_task(name)
    failed = (await world.records(name, Kind.STEP_FAILED))[0]
    assert failed.body["seam"] == {"from_system": "entra-id", "to_system": "servicenow"}
    result = next(r for r in await world.records(name, Kind.ACT_RESULT) if r.step == "equipment")
    assert result.body["problem"]["status"] == 403
    assert result.body["attempt"] == 1
    assert "add_to_cart" in result.body["request"]["url"]
    assert "servicenow-sim-password" not in str(result.body)
