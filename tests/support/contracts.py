"""Contracts of the shipped connectors as the language's tests see them.

The connectors make their own from typed actions; these are written by hand from the agreed
list of actions, so that the language is tested without any connector. Fields are written
as the list writes them: ``name``, ``name?`` optional, ``name P`` personal, ``M`` money,
``L`` list of text, ``bool``, ``date``, ``any`` and ``enum(a|b)``.
"""

from __future__ import annotations

import re
from typing import Any

from topstitch.model.action import (
    ActionContract,
    Contracts,
    Effect,
    EventContract,
    Idempotency,
    SystemContract,
)

KINDS: dict[str, dict[str, Any]] = {
    "M": {"type": "string", "format": "money"},
    "L": {"type": "array", "items": {"type": "string"}},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "any": {"type": "object", "additionalProperties": True},
    "": {"type": "string"},
}
PEOPLE: dict[str, Any] = {
    "type": "object",
    "required": ["people"],
    "additionalProperties": False,
    "properties": {
        "people": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "name", "email"],
                "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string", "x-personal": True},
                    "email": {"type": "string", "x-personal": True},
                },
            },
        }
    },
}


def fields(text: str) -> dict[str, Any]:
    """Read ``"user_id, upn P, groups L, quota? M"`` as a JSON Schema."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        words = part.split()
        name = words[0].rstrip("?")
        schema: dict[str, Any] = {"type": "string"}
        for word in words[1:]:
            if found := re.fullmatch(r"enum\((.*)\)", word):
                schema["enum"] = found[1].split("|")
            elif word == "P":
                schema["x-personal"] = True
            elif word == "S":
                schema["x-secret"] = True
            else:
                schema = {**KINDS[word], **{key: value for key, value in schema.items() if key.startswith("x-")}}
        properties[name] = schema
        if not words[0].endswith("?"):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def rows(text: str) -> dict[str, Any]:
    """Return the schema of ``{rows: list of records}``."""
    return {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "items": fields(text)}},
        "additionalProperties": False,
    }


def read(name: str, given: str, output: str | dict[str, Any]) -> ActionContract:
    """Return a read action."""
    out = fields(output) if isinstance(output, str) else output
    return ActionContract(name=name, effect=Effect.READ, input=fields(given), output=out)


def write(name: str, given: str, output: str, idempotency: Idempotency, **rest: Any) -> ActionContract:
    """Return an action that changes or notifies."""
    effect = rest.pop("effect", Effect.WRITE)
    return ActionContract(
        name=name, effect=effect, input=fields(given), output=fields(output), idempotency=idempotency, **rest
    )


def event(name: str, data: str, *, scheduled: bool = False) -> EventContract:
    """Return an event."""
    return EventContract(name=name, data=fields(data), scheduled=scheduled)


def system(ref: str, title: str, kind: str, *parts: ActionContract | EventContract) -> SystemContract:
    """Return the contract of one connector."""
    name, major = ref.split("@")
    return SystemContract(
        name=name,
        major=int(major),
        title=title,
        kind=kind,
        actions={part.name: part for part in parts if isinstance(part, ActionContract)},
        events={part.name: part for part in parts if isinstance(part, EventContract)},
    )


HIRE = (
    "employee_id, first_name P, last_name P, department, location, start_date date, manager_id, cost_center, "
    "job_profile, initiated_by, personal_email? P"
)
WORKDAY = system(
    "workday@1",
    "Workday",
    "HRIS",
    event("hire_completed", HIRE),
    event("hire_rescinded", "employee_id, transaction_id"),
    event("start_date_changed", "employee_id, start_date date"),
    read(
        "get_worker",
        "worker_id",
        "worker_id, name P, first_name P, last_name P, email P, active bool, department?, location?, manager_id?, "
        "job_profile?, cost_center?, start_date? date",
    ),
    read(
        "get_job_profile",
        "profile_id",
        "profile_id, active bool, elevated bool, equipment_tier, groups L, licenses L, team_channel, territory, "
        "crm_role, quota_carrying bool, quota? M",
    ),
    read("list_hires", "since date", rows("employee_id, hired_on date")),
    read("resolve_manager", "person P", PEOPLE),
)
CREATE_USER_INPUT = "upn P, display_name P, department, groups L, licenses L, manager_upn? P, employee_id?"
CREATE_USER_OUTPUT = "user_id, upn P, enrolment_link P"
ENTRA = system(
    "entra-id@1",
    "Entra ID",
    "Identity",
    write(
        "create_user",
        CREATE_USER_INPUT,
        CREATE_USER_OUTPUT,
        Idempotency.UNIQUE,
        lookup="find_created",
        undo="disable_user",
        risk_floor=2,
        settle_seconds=60,
    ),
    read("find_created", CREATE_USER_INPUT, CREATE_USER_OUTPUT),
    read("get_user", "upn P", "user_id, upn P, enabled bool, department, groups L, licenses L, employee_id?"),
    read("find_user", "employee_id?, upn? P", "found bool, user_id?, upn? P, enabled? bool"),
    write(
        "disable_user",
        "user_id, remove_groups? bool",
        "user_id, enabled bool",
        Idempotency.NATURAL,
        undo="enable_user",
        risk_floor=2,
    ),
    write("enable_user", "user_id", "user_id, enabled bool", Idempotency.NATURAL, undo="disable_user", risk_floor=2),
    write(
        "add_groups", "user_id, groups L", "user_id, groups L", Idempotency.NATURAL, undo="remove_groups", risk_floor=2
    ),
    write(
        "remove_groups", "user_id, groups L", "user_id, groups L", Idempotency.NATURAL, undo="add_groups", risk_floor=2
    ),
    read("list_users", "since date", rows("employee_number, user_id, upn P")),
    read("resolve_group", "group", PEOPLE),
    read("resolve_manager", "person P", PEOPLE),
)
ORDER_STATE = "enum(requested|approved|in_progress|fulfilled|cancelled)"
NEW_EXCEPTION = "process, summary P, severity enum(low|medium|high), detail?"
ORDER = "employee_id, location, department, tier, items L"
SERVICENOW = system(
    "servicenow@1",
    "ServiceNow",
    "ITSM",
    read("price_equipment", "tier, location", "total M, items L, currency"),
    write(
        "create_catalog_request",
        ORDER,
        "request_id, number",
        Idempotency.FIND_FIRST,
        lookup="find_request",
        undo="cancel_request",
        risk_floor=2,
        settle_seconds=10,
    ),
    read("find_request", ORDER, "request_id, number"),
    read(
        "get_request",
        "request_id",
        f"request_id, number, state {ORDER_STATE}, items L, correlation_id",
    ),
    write(
        "cancel_request",
        "request_id, update_asset? bool",
        f"request_id, state {ORDER_STATE}",
        Idempotency.NATURAL,
        risk_floor=2,
        irreversible="a cancelled request is ordered again",
    ),
    write(
        "create_exception",
        NEW_EXCEPTION,
        "exception_id, number, url?",
        Idempotency.NATIVE_KEY,
        lookup="find_exception",
        undo="close_exception",
    ),
    read("find_exception", NEW_EXCEPTION, "exception_id, number, url?"),
    write(
        "close_exception",
        "exception_id, note?",
        "exception_id, state enum(open|closed)",
        Idempotency.NATURAL,
        irreversible="a closed exception is opened again by the next difference",
    ),
    read(
        "get_exception",
        "exception_id",
        "exception_id, number, state enum(open|closed), summary P, severity enum(low|medium|high)",
    ),
    event("incident_p1_created", "incident_id, number, summary P, opened_at, assignment_group?, caller? P"),
)
TEAM = "user_id, territory, role, reports_to P, quota? M"
SALESFORCE = system(
    "salesforce@1",
    "Salesforce",
    "CRM",
    write(
        "assign_team",
        TEAM,
        "assignment_id",
        Idempotency.NATIVE_KEY,
        lookup="find_assignment",
        undo="remove_assignment",
        risk_floor=2,
        settle_seconds=10,
    ),
    read("find_assignment", TEAM, "assignment_id"),
    read("get_assignment", "user_id", "user_id, territory, role, quota? M, found bool"),
    write(
        "remove_assignment",
        "user_id, territory",
        "user_id, removed bool",
        Idempotency.NATURAL,
        irreversible="the assignment is made again",
        risk_floor=2,
    ),
    event("opportunity_closed_won", "opportunity_id, name, account_id, close_date date, amount? M, owner_id?"),
)
MAIL = "to P, cc? P, template, data any P"
EMAIL = system(
    "email@1",
    "E-mail",
    "Messaging",
    write(
        "send",
        MAIL,
        "message_id",
        Idempotency.FIND_FIRST,
        effect=Effect.NOTIFY,
        lookup="find_sent",
        irreversible="a sent message cannot be unsent",
        risk_floor=1,
    ),
    read("find_sent", MAIL, "message_id"),
    read("get_delivery", "message_id", "message_id, state enum(queued|sent|delivered|bounced|unknown)"),
    write(
        "send_notice",
        "to P, subject P, text P",
        "message_id",
        Idempotency.FIND_FIRST,
        effect=Effect.NOTIFY,
        lookup="find_notice",
        irreversible="a sent message cannot be unsent",
    ),
    read("find_notice", "to P, subject P, text P", "message_id"),
)
SLACK = system(
    "slack@1",
    "Slack",
    "Messaging",
    write(
        "invite",
        "upn P, channel",
        "channel_id, state enum(member|invited)",
        Idempotency.NATURAL,
        lookup="find_member",
        undo="remove",
    ),
    read("find_member", "upn P, channel", "channel_id, state enum(member|invited)"),
    write("remove", "upn P, channel", "removed bool", Idempotency.NATURAL, irreversible="a person is invited again"),
    read("is_member", "upn P, channel", "member bool, state enum(member|invited|absent)"),
    write(
        "post_message",
        "channel, text",
        "ts, channel_id",
        Idempotency.FIND_FIRST,
        effect=Effect.NOTIFY,
        lookup="find_message",
        irreversible="a posted message has been read",
    ),
    read("find_message", "channel, text", "ts, channel_id"),
)

CONTRACTS: Contracts = {contract.ref: contract for contract in (WORKDAY, ENTRA, SERVICENOW, SALESFORCE, EMAIL, SLACK)}
"""What the onboarding needs."""
