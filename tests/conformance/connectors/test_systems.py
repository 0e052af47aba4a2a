"""What each shipped connector does in the situations its vendor is known for, against the simulators."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import msgspec
import pytest

from topstitch.connectors.connections import PeopleSettings
from topstitch.connectors.limits import parse_rate
from topstitch.connectors.notices import tell
from topstitch.connectors.people import resolve
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import OperatorError, RequestError
from topstitch.model.orders import Grant, Outcome, ResolveCall, Result, TellCall, WriteCall

World: TypeAlias = Any
TURNS = 50
"""How often the loop turns before the clock moves on: what was sent has arrived and been answered."""
UPN = "priya.raman@corp.example"
NEW_USER = {
    "upn": UPN,
    "display_name": "Priya Raman",
    "department": "Engineering",
    "groups": ["all-staff", "engineering"],
    "licenses": ["E3"],
    "manager_upn": "tomas.herrera@corp.example",
}


async def send(
    registry: Registry, alias: str, action: str, params: dict[str, Any], *, key: str = "ins_1:step", attempt: int = 1
) -> Outcome:
    grant = Grant(decision="auto", by="policy:test", payload_digest=digest(params))
    return await registry.writer(alias).write(
        WriteCall(
            key=action,
            system=alias,
            action=action,
            params=params,
            idempotency_key=key,
            attempt=attempt,
            grant=grant,
            instance="ins_1",
        )
    )


# Limits and credentials


async def test_C04_two_hundred_calls_against_ten_a_second_meet_no_429(world: World) -> None:
    world.sims["servicenow"].configure({"throttle": {"requests": 10, "per_seconds": 1, "shared": True}})
    settings = world.registry.connections
    itsm = msgspec.structs.replace(settings.connections["itsm"], rate=parse_rate("10/s"), timeout_seconds=60)
    limited = msgspec.structs.replace(settings, connections={**settings.connections, "itsm": itsm})
    registry = Registry(limited, world.clock)
    params = {"tier": "standard", "location": "LOC-BER"}
    reads = asyncio.gather(*(registry.reader("itsm").read("price_equipment", params) for _ in range(200)))
    while not reads.done():
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if (when := world.clock.next_sleeper()) is not None:
            world.clock.advance_to(when)
    await registry.close()
    assert {outcome.result for outcome in reads.result()} == {Result.OK}
    calls = world.sandbox("itsm").calls()
    assert [call for call in calls if call["status"] == 429] == []
    assert len(calls) > 200


@pytest.mark.parametrize("alias", ["hris", "directory", "itsm", "crm", "chat", "email"])
async def test_G04_a_wrong_secret_is_a_credential_problem_that_shows_no_secret(world: World, alias: str) -> None:
    folder = world.registry.connections.folder
    for name in ("client_secret", "token", "password"):
        if (folder / f"{alias}.{name}").exists():
            (folder / f"{alias}.{name}").write_text("canary-wrong-secret")
    outcome = await world.registry.health(alias)
    assert outcome.result is Result.CREDENTIAL
    assert "canary-wrong-secret" not in repr(outcome)
    assert outcome.problem is not None
    assert "renew" in outcome.problem.message


@pytest.mark.parametrize("alias", ["hris", "directory", "itsm", "crm", "chat", "email"])
async def test_every_connection_can_prove_its_health(world: World, alias: str) -> None:
    assert (await world.registry.health(alias)).result is Result.OK


# Entra ID


async def test_C06_a_token_that_expires_in_the_middle_of_a_creation_is_renewed(world: World) -> None:
    sandbox = world.sandbox("directory")
    sandbox.fail("token_expired", {"method": "POST", "path": "members"})
    outcome = await send(world.registry, "directory", "create_user", NEW_USER)
    assert outcome.result is Result.OK
    assert sum("oauth2" in call["path"] for call in sandbox.calls()) == 2


@pytest.mark.parametrize(
    ("fault", "match", "first"),
    [
        ("drop_after_commit", {"method": "POST", "path": "members"}, Result.UNKNOWN),
        ("drop_after_commit", {"method": "POST", "path": "assignLicense"}, Result.UNKNOWN),
        ("500", {"method": "PUT", "path": "manager"}, Result.UNKNOWN),
        ("429", {"method": "POST", "path": "assignLicense"}, Result.TRANSIENT),
        ("503", {"method": "PATCH", "path": "users"}, Result.TRANSIENT),
    ],
)
async def test_an_interrupted_creation_leaves_a_disabled_account_and_the_next_try_completes_it(
    world: World, fault: str, match: dict[str, str], first: Result
) -> None:
    world.sandbox("directory").fail(fault, match, retry_after=5)
    users = world.sims["entra-id"].records
    assert (await send(world.registry, "directory", "create_user", NEW_USER)).result is first
    assert users.first("users", userPrincipalName=UPN)["accountEnabled"] is False
    reader = world.registry.reader("directory")
    world.sandbox("directory").heal()
    assert (await reader.look_up("create_user", NEW_USER, "ins_1:step")).value is None
    done = await send(world.registry, "directory", "create_user", NEW_USER, attempt=2)
    assert done.result is Result.OK
    assert len(users.find("users", userPrincipalName=UPN)) == 1
    shown = await reader.read("get_user", {"upn": UPN})
    assert (shown.value["enabled"], shown.value["groups"]) == (True, ["all-staff", "engineering"])
    assert (await reader.look_up("create_user", NEW_USER, "ins_1:step")).value == done.value


async def test_a_refusal_in_the_middle_of_a_creation_leaves_nothing(world: World) -> None:
    world.sandbox("directory").fail("refuse", {"method": "POST", "path": "assignLicense"}, status=403)
    outcome = await send(world.registry, "directory", "create_user", NEW_USER)
    assert outcome.result is Result.REFUSED
    assert world.sims["entra-id"].records.first("users", userPrincipalName=UPN) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"groups": ["no-such-group"]}, "group_unclear"),
        ({"licenses": ["E9"]}, "license_unknown"),
        ({"manager_upn": "nobody@corp.example"}, "manager_unknown"),
    ],
)
async def test_what_can_be_refused_is_refused_before_anything_is_written(
    world: World, change: dict[str, Any], code: str
) -> None:
    outcome = await send(world.registry, "directory", "create_user", {**NEW_USER, **change})
    assert (outcome.result, outcome.problem and outcome.problem.code) == (Result.REFUSED, code)
    assert world.sims["entra-id"].records.first("users", userPrincipalName=UPN) is None


async def test_a_name_taken_by_somebody_else_is_changed_and_never_adopted(world: World) -> None:
    first = await send(world.registry, "directory", "create_user", NEW_USER, key="ins_other:step")
    second = await send(world.registry, "directory", "create_user", NEW_USER)
    assert (first.result, second.result) == (Result.OK, Result.CHANGED)
    assert (await world.registry.reader("directory").look_up("create_user", NEW_USER, "ins_1:step")).value is None


async def test_a_new_account_that_graph_does_not_see_yet_is_completed_later(world: World) -> None:
    world.sims["entra-id"].configure({"reference_lag_seconds": 30})
    outcome = await send(world.registry, "directory", "create_user", NEW_USER)
    assert (outcome.result, outcome.problem and outcome.problem.code) == (Result.TRANSIENT, "not_visible_yet")
    world.clock.advance(60)
    assert (await send(world.registry, "directory", "create_user", NEW_USER, attempt=2)).result is Result.OK


async def test_disabling_leaves_groups_and_licences_and_enabling_brings_the_account_back(world: World) -> None:
    user = (await send(world.registry, "directory", "create_user", NEW_USER)).value["user_id"]
    gone = await send(world.registry, "directory", "disable_user", {"user_id": user, "remove_groups": True}, key="u")
    assert gone.value == {"user_id": user, "enabled": False}
    shown = (await world.registry.reader("directory").read("get_user", {"upn": UPN})).value
    assert (shown["enabled"], shown["groups"], shown["licenses"]) == (False, [], [])
    await send(world.registry, "directory", "enable_user", {"user_id": user}, key="e")
    params = {"user_id": user, "groups": ["all-staff"]}
    assert (await send(world.registry, "directory", "add_groups", params, key="a")).value == params
    assert (await send(world.registry, "directory", "add_groups", params, key="a")).result is Result.OK
    shown = (await world.registry.reader("directory").read("get_user", {"upn": UPN})).value
    assert (shown["enabled"], shown["groups"]) == (True, ["all-staff"])


# Workday


async def test_T01_a_simulated_hire_becomes_an_event_of_the_contract(world: World) -> None:
    raw = world.sims["workday"].hires.hire({"first": "Priya", "last": "Raman", "jobProfile": "SAL-AE"}, notify=False)
    event = world.registry.normalise_event("hris", "", raw)
    assert (event.name, event.id, event.source) == ("hire_completed", raw["id"], "workday:acme")
    assert event.data["first_name"] == "Priya"
    assert event.data["manager_id"] == "W-100041"
    schema = world.registry.contract_of("hris").events["hire_completed"].data
    assert set(schema["required"]) <= set(event.data) <= set(schema["properties"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventType": "staffing.other"}, "eventType"),
        ({"id": 7}, "id"),
        ({"worker": {}}, "worker.workerId"),
        ({"businessProcess": None}, "businessProcess"),
    ],
)
async def test_T06_a_hire_that_does_not_fit_names_its_field(world: World, change: dict[str, Any], field: str) -> None:
    raw = {**world.sims["workday"].hires.hire(notify=False), **change}
    if field == "worker.workerId":
        raw["worker"] = {"legalName": {"first": "a", "last": "b"}}
    with pytest.raises(RequestError) as caught:
        world.registry.normalise_event("hris", "", raw)
    assert caught.value.detail["field"] == field


async def test_a_moved_and_a_rescinded_hire_are_events_too(world: World) -> None:
    hires = world.sims["workday"].hires
    worker = hires.hire(notify=False)["worker"]["workerId"]
    moved = world.registry.normalise_event("hris", "", hires.move_start(worker, "2026-05-01"))
    rescinded = world.registry.normalise_event("hris", "", hires.rescind(worker))
    assert (moved.name, moved.data) == ("start_date_changed", {"employee_id": worker, "start_date": "2026-05-01"})
    assert (rescinded.name, rescinded.data["employee_id"]) == ("hire_rescinded", worker)


async def test_a_profile_without_quota_or_territory_reads_as_empty(world: World) -> None:
    value = (await world.registry.reader("hris").read("get_job_profile", {"profile_id": "ENG-SWE"})).value
    assert (value["territory"], value["crm_role"], "quota" in value) == ("", "", False)
    missing = await world.registry.reader("hris").read("get_job_profile", {"profile_id": "NOPE"})
    assert (missing.result, missing.problem and missing.problem.code) == (Result.REFUSED, "profile_unclear")


# ServiceNow


async def test_A03_prices_are_the_catalog_s_to_the_cent(world: World) -> None:
    reader = world.registry.reader("itsm")
    totals = {}
    for tier in ("standard", "plus", "design", "workstation"):
        value = (await reader.read("price_equipment", {"tier": tier, "location": "LOC-BER"})).value
        totals[tier] = value["total"]
    assert totals == {
        "standard": "1850.00 USD",
        "plus": "2499.99 USD",
        "design": "2500.00 USD",
        "workstation": "4200.00 USD",
    }


ORDER = {
    "employee_id": "W-1",
    "location": "LOC-BER",
    "department": "IT",
    "tier": "standard",
    "items": ["Laptop 14 inch", "Monitor 27 inch"],
}


async def test_orders_placed_at_once_do_not_mix_in_the_cart(world: World) -> None:
    orders = [{**ORDER, "items": items} for items in (["Laptop 14 inch"], ["Monitor 27 inch"], ORDER["items"])]
    placed = await asyncio.gather(
        *(send(world.registry, "itsm", "create_catalog_request", o, key=f"k{n}") for n, o in enumerate(orders))
    )
    for order, outcome in zip(orders, placed, strict=True):
        shown = await world.registry.reader("itsm").read("get_request", {"request_id": outcome.value["request_id"]})
        assert sorted(shown.value["items"]) == sorted(order["items"])


async def test_a_cancelled_order_frees_its_assets_and_a_delivered_one_stays(world: World) -> None:
    records = world.sims["servicenow"].records
    made = (await send(world.registry, "itsm", "create_catalog_request", ORDER)).value["request_id"]
    undo = {"request_id": made, "update_asset": True}
    assert (await send(world.registry, "itsm", "cancel_request", undo, key="u")).value["state"] == "cancelled"
    assert {asset["install_status"] for asset in records.all("alm_asset")} == {"6"}
    assert records.get("sc_request", made)["request_state"] == "closed_cancelled"
    other = (await send(world.registry, "itsm", "create_catalog_request", ORDER, key="k2")).value["request_id"]
    records.change("sc_request", other, {"request_state": "closed_complete"})
    refused = await send(world.registry, "itsm", "cancel_request", {"request_id": other}, key="u2")
    assert (refused.result, refused.problem and refused.problem.code) == (Result.REFUSED, "already_fulfilled")


async def test_the_same_exception_again_updates_its_ticket_and_opens_it(world: World) -> None:
    records = world.sims["servicenow"].records
    new = {"process": "onboarding", "summary": "department differs", "severity": "low"}
    first = await send(world.registry, "itsm", "create_exception", new)
    await send(world.registry, "itsm", "close_exception", {"exception_id": first.value["exception_id"]}, key="c")
    again = await send(world.registry, "itsm", "create_exception", {**new, "severity": "high"}, attempt=2)
    assert again.value == first.value
    assert len(records.all("incident")) == 1
    shown = await world.registry.reader("itsm").read("get_exception", {"exception_id": first.value["exception_id"]})
    assert (shown.value["state"], shown.value["severity"]) == ("open", "high")


async def test_an_incident_of_priority_one_is_an_event(world: World) -> None:
    record = {"sys_id": "s1", "number": "INC1", "short_description": "Down", "opened_at": "2026-01-05", "priority": "1"}
    event = world.registry.normalise_event("itsm", "", {"id": "n-1", "table": "incident", "record": record})
    assert (event.name, event.id, event.data["number"]) == ("incident_p1_created", "n-1", "INC1")
    with pytest.raises(RequestError, match="priority 1"):
        world.registry.normalise_event("itsm", "", {"record": {**record, "priority": "2"}})


# Salesforce

PLACE = {
    "user_id": "0b8f2f3e-0000-4000-8000-000000000001",
    "territory": "EMEA-Central",
    "role": "Account Executive",
    "reports_to": "dana.whitfield@corp.example",
    "quota": "1200000 USD",
}


async def test_an_assignment_is_all_or_nothing_and_removing_it_leaves_nothing_of_ours(world: World) -> None:
    records = world.sims["salesforce"].records
    users = len(records.all("User"))
    assert (await send(world.registry, "crm", "assign_team", PLACE)).result is Result.OK
    assert len(records.all("AccountTeamMember")) == 2
    assert records.first("ForecastingQuota")["QuotaAmount"] == 1_200_000
    new = records.first("User", FederationIdentifier=PLACE["user_id"])
    assert new["IsActive"] is True
    shown = await world.registry.reader("crm").read("get_assignment", {"user_id": PLACE["user_id"]})
    assert shown.value == {
        "user_id": PLACE["user_id"],
        "territory": "EMEA-Central",
        "role": "Account Executive",
        "quota": "1200000 USD",
        "found": True,
    }
    undo = {"user_id": PLACE["user_id"], "territory": PLACE["territory"]}
    assert (await send(world.registry, "crm", "remove_assignment", undo, key="u")).value["removed"] is True
    for name in ("UserTerritory2Association", "AccountTeamMember", "ForecastingQuota"):
        assert records.all(name) == []
    assert records.first("User", FederationIdentifier=PLACE["user_id"])["IsActive"] is False
    assert len(records.all("User")) == users + 1


async def test_a_used_up_daily_limit_is_no_refusal_but_a_time_to_wait(world: World) -> None:
    await world.registry.health("crm")
    world.sims["salesforce"].configure({"daily_limit": 0})
    outcome = await send(world.registry, "crm", "assign_team", PLACE)
    assert (outcome.result, outcome.problem and outcome.problem.code) == (Result.TRANSIENT, "REQUEST_LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("change", "code"), [({"territory": "Mars"}, "territory_unknown"), ({"reports_to": "x@y"}, "manager_unknown")]
)
async def test_an_assignment_that_refers_to_nothing_is_refused(world: World, change: dict[str, str], code: str) -> None:
    outcome = await send(world.registry, "crm", "assign_team", {**PLACE, **change})
    assert (outcome.result, outcome.problem and outcome.problem.code) == (Result.REFUSED, code)


async def test_a_quote_in_a_value_stays_a_value(world: World) -> None:
    outcome = await world.registry.reader("crm").read("get_assignment", {"user_id": "x' OR Name != '"})
    assert outcome.value["found"] is False


async def test_an_opportunity_can_be_read_and_changed(world: World) -> None:
    records = world.sims["salesforce"].records
    fields = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-03-01", "Amount": 10.5, "IsWon": False}
    records.put("Opportunity", "006X", {"Id": "006X", "AccountId": None, "CurrencyIsoCode": "EUR", **fields})
    change = {"opportunity_id": "006X", "stage": "Closed Won", "amount": "99.90 EUR"}
    assert (await send(world.registry, "crm", "update_opportunity", change)).result is Result.OK
    shown = (await world.registry.reader("crm").read("get_opportunity", {"opportunity_id": "006X"})).value
    assert (shown["stage"], shown["amount"], shown["won"]) == ("Closed Won", "99.90 EUR", True)
    row = {"Id": "006X", "StageName": "Closed Won", "Name": "Deal", "AccountId": "001", "CloseDate": "2026-03-01"}
    event = world.registry.normalise_event("crm", "", {"Id": "n-1", "OrganizationId": "00D", "sObject": row})
    assert (event.name, event.source) == ("opportunity_closed_won", "salesforce:00D")


# Slack


async def test_somebody_new_is_invited_and_somebody_known_is_found(world: World) -> None:
    new = {"upn": UPN, "channel": "team-platform"}
    assert (await send(world.registry, "chat", "invite", new)).value["state"] == "invited"
    assert (await world.registry.reader("chat").read("is_member", new)).value["member"] is True
    known = await send(world.registry, "chat", "invite", {"upn": "nils.berg@corp.example", "channel": "team-platform"})
    assert known.found is True


@pytest.mark.parametrize(("channel", "result"), [("no-such-channel", Result.REFUSED), ("general", Result.REFUSED)])
async def test_slack_s_ok_false_is_a_refusal(world: World, channel: str, result: Result) -> None:
    outcome = await send(world.registry, "chat", "remove", {"upn": "nils.berg@corp.example", "channel": channel})
    assert outcome.result is result


# E-mail

MAIL = {
    "to": "Tomas Herrera <tomas.herrera@corp.example>",
    "template": "welcome",
    "data": {"name": "Priya Raman", "manager": "Tomas Herrera", "start_date": "2026-02-02", "office": "Berlin"},
}


async def test_a_message_arrives_once_with_its_key_and_both_forms(world: World) -> None:
    sent = await send(world.registry, "email", "send", MAIL)
    message = world.sims["email"].records.first("messages", key="ins_1:step")
    assert message["message_id"] == sent.value["message_id"] == sent.record
    assert "text/html" in message["raw"]
    assert "multipart/alternative" in message["raw"]
    delivery = await world.registry.reader("email").read("get_delivery", sent.value)
    assert delivery.value["state"] == "sent"
    nothing = await world.registry.reader("email").read("get_delivery", {"message_id": "<x@y>"})
    assert nothing.value["state"] == "unknown"


@pytest.mark.parametrize(
    ("fault", "verb", "result"),
    [
        ({"kind": "refuse", "status": 550}, "RCPT", Result.REFUSED),
        ({"kind": "refuse", "status": 554}, "DATA", Result.REFUSED),
        ({"kind": "refuse", "status": 451}, "DATA", Result.TRANSIENT),
        ({"kind": "503"}, "MAIL", Result.TRANSIENT),
        ({"kind": "down"}, "MAIL", Result.TRANSIENT),
        ({"kind": "down"}, "DATA", Result.UNKNOWN),
        ({"kind": "drop_after_commit"}, "DATA", Result.UNKNOWN),
    ],
)
async def test_each_smtp_failure_says_whether_it_may_have_been_sent(
    world: World, fault: dict[str, Any], verb: str, result: Result
) -> None:
    world.sims["email"].faults.add({**fault, "match": {"method": verb}, "times": 1})
    assert (await send(world.registry, "email", "send", MAIL)).result is result


async def test_a_mail_connection_without_its_hosts_says_what_to_add(world: World) -> None:
    settings = world.registry.connections
    bare = msgspec.structs.replace(settings.connections["email"], options={"from": "a@corp.example"})
    registry = Registry(msgspec.structs.replace(settings, connections={"email": bare}), world.clock)
    with pytest.raises(OperatorError, match="smtp_host"):
        registry.open_all()


# People and notices


def ask(*who: str, exclude: tuple[str, ...] = (), subject: str | None = "W-100050") -> ResolveCall:
    return ResolveCall(
        key="approval",
        who=who,
        subject=subject,
        requester="W-100031",
        owner={"team": "people-operations"},
        exclude=exclude,
    )


@pytest.mark.parametrize(
    ("who", "emails"),
    [
        ("manager_of(subject)", ["tomas.herrera@corp.example"]),
        ("manager_of(requester)", ["grace.mbeki@corp.example"]),
        ("group:sales-ops", ["ruth.abend@corp.example", "kofi.mensah@corp.example"]),
        ("requester", ["helena.novak@corp.example"]),
        ("person:someone@else.example", ["someone@else.example"]),
        (
            "owner",
            ["grace.mbeki@corp.example", "helena.novak@corp.example", "omar.haddad@corp.example"],
        ),
    ],
)
async def test_A02_who_is_meant_becomes_people(world: World, who: str, emails: list[str]) -> None:
    outcome = await resolve(world.registry, ask(who))
    assert [person["email"] for person in outcome.value["people"]] == emails
    assert all(person["for"] == who and person["name"] for person in outcome.value["people"])


async def test_A08_who_may_not_decide_is_left_out_and_named(world: World) -> None:
    outcome = await resolve(world.registry, ask("owner", exclude=("human:helena.novak@corp.example",)))
    assert [p["email"] for p in outcome.value["people"]] == ["grace.mbeki@corp.example", "omar.haddad@corp.example"]
    assert [e["person"] for e in outcome.value["excluded"]] == ["helena.novak@corp.example"]


async def test_somebody_without_a_manager_resolves_to_nobody(world: World) -> None:
    outcome = await resolve(world.registry, ask("manager_of(subject)", subject="W-100001"))
    assert outcome.value == {"people": [], "excluded": []}


async def test_a_directory_that_is_down_is_the_resolution_s_outcome(world: World) -> None:
    world.sandbox("directory").fail("503", {"path": "groups"})
    assert (await resolve(world.registry, ask("group:sales-ops"))).result is Result.TRANSIENT


async def test_questions_nobody_answers_say_what_to_configure(world: World) -> None:
    settings = msgspec.structs.replace(world.registry.connections, people=PeopleSettings(groups={"x": ("a@b",)}))
    registry = Registry(settings, world.clock)
    assert (await resolve(registry, ask("group:x"))).value["people"][0]["email"] == "a@b"
    outcome = await resolve(registry, ask("group:y"))
    assert (outcome.result, outcome.problem and "[people]" in outcome.problem.message) == (Result.REFUSED, True)
    assert (await resolve(registry, ask("nonsense"))).result is Result.REFUSED


def notice(*who: str) -> TellCall:
    return TellCall(
        key="tell/approval-1",
        who=who,
        subject="W-100050",
        requester="W-100031",
        owner={"team": "people-operations"},
        notice={
            "kind": "approval",
            "title": "Please decide",
            "text": "A laptop of 2,500 USD.",
            "link": "https://t/a/1",
        },
    )


async def test_a_notice_reaches_everybody_once_even_when_told_again(world: World) -> None:
    messages = world.sims["email"].records
    first = await tell(world.registry, notice("group:sales-ops"), instance="ins_1")
    again = await tell(world.registry, notice("group:sales-ops"), instance="ins_1")
    assert first.value == {"sent": ["ruth.abend@corp.example", "kofi.mensah@corp.example"], "skipped": []}
    assert again.result is Result.OK
    assert len(messages.all("messages")) == 2
    assert "https://t/a/1" in messages.all("messages")[0]["raw"]
    await tell(world.registry, notice("group:sales-ops"), instance="ins_2")
    assert len(messages.all("messages")) == 4


async def test_one_who_cannot_be_reached_does_not_keep_the_others_from_being_told(world: World) -> None:
    world.sims["email"].faults.add({"kind": "refuse", "status": 451, "match": {"method": "DATA"}, "times": 1})
    first = await tell(world.registry, notice("group:sales-ops"), instance="ins_1")
    assert first.result is Result.TRANSIENT
    assert (await tell(world.registry, notice("group:sales-ops"), instance="ins_1")).result is Result.OK
    assert len(world.sims["email"].records.all("messages")) == 2


async def test_without_a_mail_connection_people_look_into_their_inbox(world: World) -> None:
    registry = Registry(msgspec.structs.replace(world.registry.connections, notify=None), world.clock)
    outcome = await tell(registry, notice("group:sales-ops"), instance="ins_1")
    assert outcome.value == {"sent": [], "skipped": ["ruth.abend@corp.example", "kofi.mensah@corp.example"]}
    await registry.close()


async def test_C04_a_bulk_retry_shares_the_limit_with_everything_else(world: World) -> None:
    world.sims["servicenow"].configure({"throttle": {"requests": 10, "per_seconds": 1, "shared": True}})
    settings = world.registry.connections
    itsm = msgspec.structs.replace(settings.connections["itsm"], rate=parse_rate("10/s"), timeout_seconds=60)
    limited = msgspec.structs.replace(settings, connections={**settings.connections, "itsm": itsm})
    registry = Registry(limited, world.clock)
    price = {"tier": "standard", "location": "LOC-BER"}
    usual = [registry.reader("itsm").read("price_equipment", price) for _ in range(60)]
    order = {"employee_id": "W-1", "location": "LOC-BER", "department": "IT", "tier": "standard", "items": ["laptop"]}
    retried = [
        registry.reader("itsm").look_up("create_catalog_request", order, f"ins_{n}:equipment", instance=f"ins_{n}")
        for n in range(60)
    ]
    both = asyncio.gather(*usual, *retried)
    while not both.done():
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if (when := world.clock.next_sleeper()) is not None:
            world.clock.advance_to(when)
    await registry.close()
    assert {outcome.result for outcome in both.result()} == {Result.OK}
    assert [call for call in world.sandbox("itsm").calls() if call["status"] == 429] == []
