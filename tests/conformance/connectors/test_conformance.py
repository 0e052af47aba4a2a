"""Every connector keeps what it claims, over real sockets, with the system failing in every way it can."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, TypeAlias

import jsonschema
import pytest

from topstitch.connectors.conformance import RULES, Subject, examine, merged
from topstitch.connectors.registry import BUILT_IN, described, installed_contracts
from topstitch.model.orders import Result

World: TypeAlias = Any

NEW_USER = {
    "upn": "priya.raman@corp.example",
    "display_name": "Priya Raman",
    "department": "Engineering",
    "groups": ["all-staff", "engineering"],
    "licenses": ["E3"],
    "manager_upn": "tomas.herrera@corp.example",
    "employee_id": "W-104233",
}
NEW_REQUEST = {
    "employee_id": "W-104233",
    "location": "LOC-BER",
    "department": "Engineering",
    "tier": "standard",
    "items": ["Laptop 14 inch", "Monitor 27 inch"],
}
NEW_EXCEPTION = {"process": "onboarding", "summary": "department differs", "severity": "medium"}
NEW_PLACE = {
    "user_id": "0b8f2f3e-0000-4000-8000-000000000001",
    "territory": "EMEA-Central",
    "role": "Account Executive",
    "reports_to": "dana.whitfield@corp.example",
    "quota": "1200000 USD",
}
NEW_MEMBER = {"upn": "nils.berg@corp.example", "channel": "team-design"}
WELCOME = {
    "to": "tomas.herrera@corp.example",
    "template": "welcome",
    "data": {"name": "Priya Raman", "manager": "Tomas Herrera", "start_date": "2026-02-01", "office": "Berlin"},
}
STATIC = "the token is written down; there is nothing to renew it with"
READ_ONLY = "this connector writes nothing"
MAIL_ENDS = "a sent message is never undone"
KEYED = "the key is ours alone, so nobody else can have made the same thing"


def workday(world: World) -> Subject:
    writes = (rule for rule in RULES if "makes-one" in rule or "undo" in rule)
    return Subject(
        registry=world.registry,
        alias="hris",
        sandbox=world.sandbox("hris"),
        reads=[
            ("get_worker", {"worker_id": "W-100050"}),
            ("get_job_profile", {"profile_id": "SAL-AE"}),
            ("list_hires", {"since": "2019-01-01"}),
            ("resolve_manager", {"person": "W-100050"}),
            ("resolve_person", {"person": "nils.berg@corp.example"}),
        ],
        read_match={"method": "GET", "path": "/workers/"},
        secrets=world.secrets["hris"],
        exempt=dict.fromkeys(
            [*writes, "found-is-told", "writes-need-their-grant", "wrong-params-are-refused"], READ_ONLY
        ),
    )


def entra(world: World) -> Subject:
    records = world.sims["entra-id"].records

    def stranger() -> None:
        sku = next(u for u in records.all("users"))["assignedLicenses"]
        records.put(
            "users",
            "u-1",
            {
                "id": "u-1",
                "userPrincipalName": NEW_USER["upn"],
                "accountEnabled": True,
                "displayName": "Priya Raman",
                "employeeId": NEW_USER["employee_id"],
                "assignedLicenses": sku,
                "manager": None,
            },
        )
        for group in records.all("groups"):
            if group["displayName"] in NEW_USER["groups"]:
                records.change("groups", group["id"], {"_members": [*group["_members"], "u-1"]})

    return Subject(
        registry=world.registry,
        alias="directory",
        sandbox=world.sandbox("directory"),
        reads=[
            ("get_user", {"upn": "nils.berg@corp.example"}),
            ("find_user", {"employee_id": "W-100050"}),
            ("list_users", {"since": "2019-01-01"}),
            ("resolve_group", {"group": "sales-ops"}),
            ("resolve_manager", {"person": "nils.berg@corp.example"}),
        ],
        write="create_user",
        params=NEW_USER,
        count=lambda: len(records.find("users", userPrincipalName=NEW_USER["upn"])),
        commit={"method": "POST", "path": "/v1.0/users$"},
        read_match={"method": "GET", "path": "/v1.0/users/"},
        stranger=stranger,
        vanish=lambda output: records.delete("users", output["user_id"]),
        secrets=world.secrets["directory"],
    )


def servicenow(world: World) -> Subject:
    records = world.sims["servicenow"].records
    return Subject(
        registry=world.registry,
        alias="itsm",
        sandbox=world.sandbox("itsm"),
        reads=[("price_equipment", {"tier": "plus", "location": "LOC-BER"})],
        write="create_catalog_request",
        params=NEW_REQUEST,
        count=lambda: len(records.all("sc_request")),
        commit={"method": "POST", "path": "submit_order"},
        read_match={"method": "GET", "path": "/items"},
        vanish=lambda output: records.delete("sc_request", output["request_id"]),
        secrets=world.secrets["itsm"],
        exempt={"found-is-told": KEYED},
    )


def servicenow_exception(world: World) -> Subject:
    records = world.sims["servicenow"].records
    return Subject(
        registry=world.registry,
        alias="itsm",
        sandbox=world.sandbox("itsm"),
        reads=[("price_equipment", {"tier": "plus", "location": "LOC-BER"})],
        write="create_exception",
        params=NEW_EXCEPTION,
        count=lambda: len(records.all("incident")),
        commit={"method": "POST", "path": "table/incident"},
        read_match={"method": "GET", "path": "/items"},
        vanish=lambda output: records.delete("incident", output["exception_id"]),
        secrets=world.secrets["itsm"],
        exempt={"found-is-told": KEYED},
    )


def salesforce(world: World) -> Subject:
    records = world.sims["salesforce"].records
    place = "UserTerritory2Association"

    def stranger() -> None:
        user = {"Id": "005X", "FederationIdentifier": NEW_PLACE["user_id"], "IsActive": True, "Username": "p@x"}
        records.put("User", "005X", user)
        territory = records.first("Territory2", Name=NEW_PLACE["territory"])["Id"]
        fields = {"Id": "0MJX", "UserId": "005X", "Territory2Id": territory, "RoleInTerritory2": NEW_PLACE["role"]}
        records.put(place, "0MJX", {**fields, "CreatedDate": "2026-01-01"})

    return Subject(
        registry=world.registry,
        alias="crm",
        sandbox=world.sandbox("crm"),
        reads=[
            ("get_assignment", {"user_id": "dana.whitfield@corp.example"}),
            ("get_account", {"account_id": records.first("Account")["Id"]}),
        ],
        write="assign_team",
        params=NEW_PLACE,
        count=lambda: len(records.all(place)),
        commit={"method": "POST", "path": "/composite"},
        read_match={"method": "GET", "path": "/query"},
        stranger=stranger,
        vanish=lambda output: records.delete(place, output["assignment_id"]),
        secrets=world.secrets["crm"],
        exempt={"found-is-told": "a keyed upsert meets only our own rows; the look-up finds others', see below"},
    )


def slack(world: World) -> Subject:
    records = world.sims["slack"].records

    def channel() -> Any:
        return records.first("channels", name=NEW_MEMBER["channel"])

    def user() -> str:
        return str(next(u["id"] for u in records.all("users") if u["profile"]["email"] == NEW_MEMBER["upn"]))

    def leave(_output: Mapping[str, Any]) -> None:
        records.change("channels", channel()["id"], {"members": [m for m in channel()["members"] if m != user()]})

    return Subject(
        registry=world.registry,
        alias="chat",
        sandbox=world.sandbox("chat"),
        reads=[("is_member", NEW_MEMBER)],
        write="invite",
        params=NEW_MEMBER,
        count=lambda: channel()["members"].count(user()),
        commit={"path": "conversations.invite"},
        read_match={"path": "users.lookupByEmail"},
        stranger=lambda: records.change("channels", channel()["id"], {"members": [*channel()["members"], user()]}),
        vanish=leave,
        secrets=world.secrets["chat"],
        exempt={"token-is-renewed-once": STATIC},
    )


def slack_message(world: World) -> Subject:
    records = world.sims["slack"].records
    return Subject(
        registry=world.registry,
        alias="chat",
        sandbox=world.sandbox("chat"),
        reads=[("is_member", NEW_MEMBER)],
        write="post_message",
        params={"channel": "team-it", "text": "A hire starts on Monday."},
        count=lambda: len(records.all("messages")),
        commit={"path": "chat.postMessage"},
        read_match={"path": "users.lookupByEmail"},
        secrets=world.secrets["chat"],
        exempt={
            "token-is-renewed-once": STATIC,
            "found-is-told": KEYED,
            "undo-twice-is-harmless": MAIL_ENDS,
            "undo-of-gone-succeeds": MAIL_ENDS,
        },
    )


def slack_question(world: World) -> Subject:
    """Return the question with buttons, sent to one person."""
    asked = {
        "to": "nils.berg@corp.example", "approval": "apr_1", "payload_digest": "sha256:1", "title": "Your decision",
        "question": "May it be written?", "facts": [{"label": "upn", "value": "priya.raman@corp.example"}], "why": [],
        "if_approved": "it goes ahead", "if_refused": "it does not", "if_unanswered": "it does not",
        "ends_at": "2026-02-01T09:00:00.000Z", "risk": 3,
    }  # fmt: skip
    return replace(slack_message(world), write="send_decision", params=asked)


def mail(world: World) -> Subject:
    records = world.sims["email"].records
    return Subject(
        registry=world.registry,
        alias="email",
        sandbox=world.sandbox("email"),
        reads=[("get_delivery", {"message_id": "<nothing@corp.example>"})],
        write="send",
        params=WELCOME,
        count=lambda: len(records.all("messages")),
        commit={"method": "DATA"},
        read_match={"method": "IMAP"},
        secrets=world.secrets["email"],
        server_error=Result.TRANSIENT,
        exempt={
            "garbage-read-is-permanent": "IMAP answers are lines, not documents; a broken one ends the connection",
            "garbage-after-commit-makes-one": "SMTP answers with a number, not with a document",
            "server-errors-are-classified": "SMTP replies 4xx and 5xx, tried in the integration tests",
            "throttling-is-heeded": "SMTP names no time to wait; 450 is tried again by the retry policy",
            "token-is-renewed-once": STATIC,
            "found-is-told": KEYED,
            "undo-twice-is-harmless": MAIL_ENDS,
            "undo-of-gone-succeeds": MAIL_ENDS,
        },
    )


SUBJECTS: dict[str, tuple[Callable[[World], Subject], ...]] = {
    "workday@1": (workday,),
    "entra-id@1": (entra,),
    "servicenow@1": (servicenow, servicenow_exception),
    "salesforce@1": (salesforce,),
    "slack@1": (slack, slack_message, slack_question),
    "email@1": (mail,),
}


def test_V07_every_connector_is_examined() -> None:
    assert set(SUBJECTS) == set(BUILT_IN)


@pytest.mark.parametrize("ref", SUBJECTS)
async def test_V07_connector_keeps_what_it_claims(ref: str, world: World) -> None:
    report = merged([await examine(make(world)) for make in SUBJECTS[ref]])
    assert report.broken == {}
    assert set(report.results) == set(RULES)
    assert report.tier == described(ref)["tier"]


@pytest.mark.parametrize("ref", SUBJECTS)
async def test_V07_reads_return_what_their_contract_says(ref: str, world: World) -> None:
    subject = SUBJECTS[ref][0](world)
    for action, params in subject.reads:
        contract = subject.contract.actions[action]
        jsonschema.validate(dict(params), dict(contract.input))
        outcome = await world.registry.reader(subject.alias).read(action, params)
        assert outcome.result is Result.OK
        jsonschema.validate(outcome.value, dict(contract.output))


@pytest.mark.parametrize("ref", BUILT_IN)
def test_V07_contract_is_json_schema_and_the_manifest_names_it(ref: str) -> None:
    contract = installed_contracts()[ref]
    for action in contract.actions.values():
        jsonschema.Draft202012Validator.check_schema(dict(action.input))
        jsonschema.Draft202012Validator.check_schema(dict(action.output))
        assert action.doc, f"{ref}.{action.name} has no sentence"
    for event in contract.events.values():
        jsonschema.Draft202012Validator.check_schema(dict(event.data))
    module = BUILT_IN[ref].rpartition(".")[0]
    manifest = tomllib.loads((files(module) / "manifest.toml").read_text())
    assert (manifest["name"], manifest["major"]) == (contract.name, contract.major)
    assert manifest["actions"] == list(contract.actions)
    readme = (files(module) / "README.md").read_text()
    assert [name for name in contract.actions if f"`{name}`" not in readme] == []


async def test_V07_an_assignment_somebody_else_made_is_found(world: World) -> None:
    subject = salesforce(world)
    assert subject.stranger is not None
    subject.stranger()
    found = await world.registry.reader("crm").look_up("assign_team", NEW_PLACE, "ins_1:crm")
    assert found.value == {"assignment_id": "0MJX"}
