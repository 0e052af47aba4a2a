"""Approvals: per step, by rule, of the right person, for exactly one payload, and remembered."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.world import ONBOARDING, World
from topstitch.foundation.errors import ConflictError, NotAllowedError
from topstitch.model.kinds import Kind
from topstitch.store import items


async def _asked(world: World, name: str) -> list[str]:
    await world.run_for(minutes=2)
    return [str(a["step"]) for a in await items.list_approvals(world.store, status=None, instance=name)]


async def test_A01_two_steps_of_one_instance_ask_by_different_rules(world: World):
    world.sims["workday"].records.change("job_profiles", "SAL-AE", {"Elevated_Access": "1"})
    name = await world.hire(jobProfile="SAL-AE")
    identity = await world.run_until_asked(name)
    await world.answer(name, identity["people"][0]["id"])
    crm = await world.run_until_asked(name)
    assert (identity["asked"], crm["asked"]) == (["manager_of(subject)"], ["group:sales-ops"])


async def test_A02_a_standard_profile_is_released_by_policy_and_elevated_access_by_the_manager(world: World):
    standard, elevated = await world.hire(jobProfile="ENG-SWE"), await world.hire(jobProfile="SEC-ADMIN")
    assert await _asked(world, standard) == []
    assert await _asked(world, elevated) == ["identity"]
    decision = next(r for r in await world.records(standard, Kind.DECISION) if r.step == "identity")
    assert (str(decision.actor), decision.body["outcome"]) == ("policy:definition", "auto")


@pytest.mark.parametrize(("profile", "price", "asks"), [("ENG-DATA", "2499.99", False), ("DES-PROD", "2500.00", True)])
async def test_A03_exactly_2500_asks_and_a_cent_less_does_not(world: World, profile: str, price: str, asks: bool):
    name = await world.hire(jobProfile=profile)
    assert await _asked(world, name) == (["equipment"] if asks else [])
    decision = next(r for r in await world.records(name, Kind.DECISION) if r.step == "equipment")
    assert decision.body["because"][0]["read"] == {"context.quote.total": f"{price} USD"}


async def test_A03_a_cent_more_asks(world: World):
    item = world.sims["servicenow"].records.first("sc_cat_item", tier="design", name="Pen display 16 inch")
    world.sims["servicenow"].records.change("sc_cat_item", item["sys_id"], {"price": "450.01"})
    assert await _asked(world, await world.hire(jobProfile="DES-PROD")) == ["equipment"]


@pytest.mark.parametrize(("price", "asks"), [("2300.00", False), ("2400.00", True)])
async def test_A03_another_currency_is_converted_by_a_recorded_rate(world: World, price: str, asks: bool):
    desk = world.sims["servicenow"].records
    for item in desk.find("sc_cat_item", tier="standard"):
        desk.change("sc_cat_item", item["sys_id"], {"price": "0.00", "currency": "EUR"})
    laptop = desk.first("sc_cat_item", tier="standard")
    desk.change("sc_cat_item", laptop["sys_id"], {"price": price})
    name = await world.hire(jobProfile="ENG-SWE")
    assert await _asked(world, name) == (["equipment"] if asks else [])
    decision = next(r for r in await world.records(name, Kind.DECISION) if r.step == "equipment")
    assert decision.body["because"][0]["rates"]["EUR/USD"] == "1.08"


async def test_A04_a_quota_asks_sales_operations_and_no_quota_only_tells_them(world: World):
    quota, plain = await world.hire(jobProfile="SAL-AE"), await world.hire(jobProfile="SAL-SDR")
    assert await _asked(world, quota) == ["crm_assignment"]
    assert await _asked(world, plain) == []
    assert (await world.statuses(plain))["crm_assignment"] == "done"
    assert [m for m in world.mails("ruth.abend@corp.example") if "done" in m["subject"]]


async def test_A06_an_answer_is_void_when_the_payload_has_changed_since_and_people_are_asked_again(world: World):
    text = ONBOARDING.read_text().replace("version: 1.0.0", "version: 2.0.0")
    role = "      role: = context.profile.crm_role\n      reports_to"
    assert role in text
    delayed = "      role: \"= flags.equipment_delayed ? 'Starter' : context.profile.crm_role\"\n      reports_to"
    await world.publish(text.replace(role, delayed))
    world.fault("servicenow", "503", match={"method": "POST", "path": "add_to_cart"})
    name = await world.hire(jobProfile="SAL-AE")
    first = await world.run_until_asked(name)
    await world.run_for(minutes=10)
    await world.answer(name, "ruth.abend@corp.example")
    await world.run_for(minutes=1)
    second = (await items.list_approvals(world.store, instance=name))[0]
    assert second["id"] != first["id"]
    assert second["payload_digest"] != first["payload_digest"]
    assert (await items.get_approval(world.store, first["id"]))["status"] == "void"
    assert not world.everything("salesforce", "UserTerritory2Association")


async def test_A06_an_answer_to_another_payload_than_is_asked_about_is_refused(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    first = await world.run_until_asked(name)
    with pytest.raises(ConflictError) as stale:
        await world.answer(name, "jonas.weber@corp.example", payload_digest="sha256:of-something-else")
    assert stale.value.code == "approval-stale"
    assert (await items.get_approval(world.store, first["id"]))["status"] == "open"


async def test_A07_who_when_what_and_why_are_kept(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    approval = await world.run_until_asked(name)
    world.clock.advance(600)
    await world.answer(name, "Jonas.Weber@corp.example", comment="he needs it")
    answered = (await world.records(name, Kind.APPROVAL_ANSWERED))[0]
    assert str(answered.actor) == "human:jonas.weber@corp.example"
    assert answered.body["comment"] == "he needs it"
    decision = (await world.records(name, Kind.DECISION))[0]
    assert answered.body["payload_digest"] == decision.body["payload_digest"]
    assert decision.body["payload"]["upn"]
    assert answered.at - approval["asked_at"] == timedelta(seconds=600)
    closed = (await world.records(name, Kind.APPROVAL_CLOSED))[0]
    assert closed.body["waited_ms"] == 600_000


async def test_A07_only_who_was_asked_may_answer_and_a_late_one_hears_who_did(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    await world.run_until_asked(name)
    for outsider in ("helena.novak@corp.example", "W-100031", "mei.tanaka@corp.example"):
        with pytest.raises(NotAllowedError):
            await world.answer(name, outsider)
    approval = (await items.list_approvals(world.store, instance=name))[0]["id"]
    state = await world.state(name)
    await world.answer(name, "jonas.weber@corp.example", "refuse")
    from topstitch.governance import approvals

    with pytest.raises(ConflictError) as late:
        approvals.answer(
            await world.state(name), approval, "jonas.weber@corp.example", "approve", world.clock.now(), via="t"
        )
    assert "jonas.weber@corp.example refused it already" in late.value.message
    assert state.steps["identity"].approval is not None


async def test_A08_the_requester_is_not_asked_even_when_the_rule_names_them(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN", initiatedBy="W-100020")
    approval = await world.run_until_asked(name, hours=8)
    assert "jonas.weber@corp.example" not in [p["id"] for p in approval["people"]]


async def test_A09_silence_escalates_then_ends_as_declared_and_is_never_consent(world: World):
    name = await world.hire(jobProfile="SEC-ADMIN")
    await world.run_until_asked(name)
    await world.run_for(hours=9)
    assert len(await world.records(name, Kind.APPROVAL_REMINDED)) >= 4
    asked = await items.get_approval(world.store, (await items.list_approvals(world.store, instance=name))[0]["id"])
    assert "sara.lindqvist@corp.example" in {p["person"] for p in asked["asked_people"]}
    await world.run_to_end(name)
    assert (await world.statuses(name))["identity"] == "declined"
    assert not [c for c in world.calls("entra-id", method="POST", path="/users") if c["committed"]]


async def test_A11_a_notice_for_review_holds_nobody_up(world: World):
    world.fault("email", "503", match={"method": "RCPT", "path": "ruth.abend|kofi.mensah"})
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(minutes=2)
    assert (await world.statuses(name))["crm_assignment"] == "done"
    assert (await world.statuses(name))["welcome_email"] == "done"


async def test_X03_an_approval_that_waits_400_days_is_still_decidable(world: World):
    text = ONBOARDING.read_text().replace("version: 1.0.0", "version: 2.0.0")
    patient = text.replace(
        'escalate: [{after: 8h, to: "group:identity-admins"}]\n        give_up: 24h', "give_up: 500d"
    ).replace("remind: 2h", "remind: 100d")
    assert patient.count("500d") == 1
    await world.publish(patient)
    name = await world.hire(jobProfile="SEC-ADMIN")
    await world.run_until_asked(name)
    await world.run_for(days=400)
    await world.restart()
    await world.answer(name, "jonas.weber@corp.example")
    await world.run_to_end(name)
    assert (await world.statuses(name))["identity"] == "done"
