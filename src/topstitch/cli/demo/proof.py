"""Compares the systems with the story: what each holds now against what the journals say it must hold.

It looks into the simulators' own records, not through any connector, and wants each thing exactly
once: nothing lost, nothing written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from topstitch.cli.demo.cast import HIRES, Hire
from topstitch.model.instance import StepStatus
from topstitch.simulators.host import Simulators

DONE = frozenset({str(StepStatus.DONE), str(StepStatus.DONE_BY_HAND)})
Rows = Sequence[Mapping[str, Any]]


def differences(sims: Simulators, statuses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return what does not agree; ``statuses`` are the steps' by worker id. An empty list is the proof."""
    found = [each for hire in HIRES for each in _of(sims, hire, statuses.get(hire.worker_id, {}))]
    return [*found, *_nothing_else(sims)]


def _of(sims: Simulators, hire: Hire, steps: Mapping[str, str]) -> Iterator[str]:
    if not steps:
        yield f"{hire.name}: no instance"
        return
    yield from _account(sims, hire, there=steps["identity"] in DONE)
    yield from _equipment(sims, hire, steps["equipment"])
    yield from _territory(sims, hire, there=steps["crm_assignment"] in DONE)
    yield from _welcome(sims, hire, there=steps["welcome_email"] in DONE, delayed=_is_late(steps))
    yield from _channel(sims, hire, there=steps["welcome_chat"] in DONE)


def _is_late(steps: Mapping[str, str]) -> bool:
    return steps["equipment"] in (str(StepStatus.DONE_BY_HAND), str(StepStatus.GIVEN_UP))


def _account(sims: Simulators, hire: Hire, *, there: bool) -> Iterator[str]:
    directory = sims["entra-id"].records
    users = directory.find("users", employeeId=hire.worker_id)
    yield from _count(f"{hire.name}: account in Entra ID", users, 1 if there else 0)
    for user in users:
        if user["accountEnabled"] is not True or user["department"] != hire.department:
            yield f"{hire.name}: the account is {user['accountEnabled']}, {user['department']}"
        groups = {g["displayName"] for g in directory.all("groups") if user["id"] in g["_members"]}
        if groups != set(hire.groups):
            yield f"{hire.name}: in groups {sorted(groups)}, should be {sorted(hire.groups)}"


def _equipment(sims: Simulators, hire: Hire, status: str) -> Iterator[str]:
    desk = sims["servicenow"].records
    mine = [r for r in desk.all("sc_request") if _is_for(hire, r)]
    yield from _count(f"{hire.name}: equipment request in ServiceNow", mine, 1 if status in DONE else 0)
    for request in mine:
        if request["request_state"] == "closed_cancelled":
            yield f"{hire.name}: {request['number']} is cancelled"


def _is_for(hire: Hire, request: Mapping[str, Any]) -> bool:
    text = str(request["short_description"])
    return hire.worker_id in text or hire.name in text


def _territory(sims: Simulators, hire: Hire, *, there: bool) -> Iterator[str]:
    org = sims["salesforce"].records
    accounts = {user["id"] for user in sims["entra-id"].records.find("users", employeeId=hire.worker_id)}
    ids = {user["Id"] for user in org.all("User") if user.get("FederationIdentifier") in accounts}
    for kind, field in (("UserTerritory2Association", "UserId"), ("ForecastingQuota", "QuotaOwnerId")):
        rows = [row for row in org.all(kind) if row[field] in ids and not row.get("IsDeleted")]
        yield from _count(f"{hire.name}: {kind} in Salesforce", rows, 1 if there else 0)


def _welcome(sims: Simulators, hire: Hire, *, there: bool, delayed: bool) -> Iterator[str]:
    mails = [m for m in sims["email"].visible() if f"Welcome, {hire.name}" in str(m["subject"])]
    yield from _count(f"{hire.name}: welcome e-mail", mails, 1 if there else 0)
    for mail in mails:
        if ("equipment" in str(mail["subject"])) is not delayed:
            yield f"{hire.name}: the welcome is the {'usual' if delayed else 'delayed'} one ({mail['subject']})"


def _channel(sims: Simulators, hire: Hire, *, there: bool) -> Iterator[str]:
    chat = sims["slack"].records
    users = [u for u in chat.all("users") if str(u["profile"].get("email", "")).lower() == hire.upn]
    yield from _count(f"{hire.name}: invited to Slack", users, 1 if there else 0)
    members = (chat.first("channels", name=hire.channel) or {}).get("members", ())
    for user in users:
        if list(members).count(user["id"]) != 1:
            yield f"{hire.name}: not in #{hire.channel} exactly once"


def _nothing_else(sims: Simulators) -> Iterator[str]:
    """Nothing beside what the story says: no second ticket, no open one."""
    tickets = sims["servicenow"].records.all("incident")
    yield from _count("exception tickets in ServiceNow", tickets, 1)
    for ticket in tickets:
        if ticket["state"] not in ("6", "7"):
            yield f"the exception ticket {ticket['number']} is still open"


def _count(what: str, rows: Rows, wanted: int) -> Iterator[str]:
    if len(rows) != wanted:
        yield f"{what}: {len(rows)}, should be {wanted}"
