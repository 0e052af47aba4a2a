"""The shipped onboarding as a plan, and a world of plain functions that plays its six systems."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from support.contracts import CONTRACTS
from support.paper import ok
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.orders import LookUpCall, ReadCall, WriteCall
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan

FILE = Path(__file__).parents[2] / "src/topstitch/examples/onboarding/employee-onboarding.yaml"
HIRE: dict[str, Any] = {
    "employee_id": "W-104233",
    "first_name": "Priya",
    "last_name": "Raman",
    "department": "Engineering",
    "location": "Austin",
    "start_date": "2026-02-02",
    "manager_id": "W-100001",
    "cost_center": "CC-4410",
    "job_profile": "ENG-1",
    "initiated_by": "W-100009",
}
PROFILE: dict[str, Any] = {
    "profile_id": "ENG-1",
    "active": True,
    "elevated": False,
    "equipment_tier": "standard",
    "groups": ["all-staff", "engineering"],
    "licenses": ["E3"],
    "team_channel": "eng-austin",
    "territory": "",
    "crm_role": "",
    "quota_carrying": False,
}


@cache
def onboarding_plan() -> Plan:
    document = load(FILE.read_text(encoding="utf-8"), str(FILE))
    return compile_plan(Workflow.model_validate(document.data), CONTRACTS, "sha256:test")


class Company:
    """Six systems that do what they are asked, as answers for ``PaperEngine``. Override any by name."""

    def __init__(self, **profile: Any) -> None:
        self.profile = {**PROFILE, **profile}
        self.quote = "1850.00 USD"
        self.existing = False
        self.users: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.assignments: dict[str, dict[str, Any]] = {}
        self.mails: dict[str, dict[str, Any]] = {}
        self.members: set[tuple[str, str]] = set()
        self.tickets: dict[str, dict[str, Any]] = {}

    def world(self, **overrides: Any) -> dict[str, Any]:
        return {
            "hris.get_job_profile": lambda _c: ok(self.profile),
            "hris.get_worker": lambda _c: ok(
                {
                    "worker_id": "W-100001",
                    "name": "Omar Haddad",
                    "first_name": "Omar",
                    "last_name": "Haddad",
                    "email": "omar@acme.example",
                    "active": True,
                }
            ),
            "directory.find_user": lambda _c: ok({"found": self.existing}),
            "itsm.price_equipment": lambda _c: ok(
                {"total": self.quote, "items": ["laptop", "badge"], "currency": "USD"}
            ),
            "look_up directory.create_user": lambda c: ok(self._account(c)),
            "directory.create_user": self._create,
            "directory.get_user": lambda c: ok(self.users.get(c.params["upn"])),
            "directory.disable_user": self._disable,
            "look_up itsm.create_catalog_request": lambda c: ok(self.requests.get(c.idempotency_key)),
            "itsm.create_catalog_request": self._order,
            "itsm.get_request": lambda c: ok(
                next((r for r in self.requests.values() if r["request_id"] == c.params["request_id"]), None)
            ),
            "itsm.cancel_request": self._cancel,
            "crm.assign_team": self._assign,
            "crm.get_assignment": lambda c: ok(self.assignments.get(c.params["user_id"])),
            "crm.remove_assignment": self._unassign,
            "look_up email.send": lambda c: ok(self.mails.get(c.idempotency_key)),
            "email.send": self._mail,
            "email.get_delivery": lambda c: ok({"message_id": c.params["message_id"], "state": "sent"}),
            "chat.invite": self._invite,
            "look_up chat.invite": lambda c: ok(
                {"channel_id": "C1", "state": "member"}
                if (c.params["upn"], c.params["channel"]) in self.members
                else None
            ),
            "chat.is_member": lambda c: ok(
                {"member": (c.params["upn"], c.params["channel"]) in self.members, "state": "member"}
            ),
            "chat.remove": self._kick,
            "itsm.create_exception": self._ticket,
            "itsm.close_exception": self._close,
            **{name.replace("__", "."): answer for name, answer in overrides.items()},
        }

    def _account(self, call: LookUpCall) -> dict[str, Any] | None:
        user = self.users.get(call.params["upn"])
        return (
            None
            if user is None
            else {"user_id": user["user_id"], "upn": user["upn"], "enrolment_link": "https://enrol.example/1"}
        )

    def _create(self, call: WriteCall) -> Any:
        upn = call.params["upn"]
        self.users[upn] = {
            "user_id": "u1",
            "upn": upn,
            "enabled": True,
            "department": call.params["department"],
            "groups": list(call.params["groups"]),
            "licenses": [],
        }
        return ok({"user_id": "u1", "upn": upn, "enrolment_link": "https://enrol.example/1"}, record="u1")

    def _disable(self, call: WriteCall) -> Any:
        for user in self.users.values():
            if user["user_id"] == call.params["user_id"]:
                user |= {"enabled": False, "groups": []}
        return ok({"user_id": call.params["user_id"], "enabled": False})

    def _order(self, call: WriteCall) -> Any:
        request = {
            "request_id": f"REQ{len(self.requests) + 1}",
            "number": "REQ0001",
            "state": "requested",
            "items": call.params["items"],
        }
        self.requests[call.idempotency_key] = request
        return ok(request, record=request["request_id"])

    def _cancel(self, call: WriteCall) -> Any:
        for request in self.requests.values():
            if request["request_id"] == call.params["request_id"]:
                request["state"] = "cancelled"
        return ok({"request_id": call.params["request_id"], "state": "cancelled"})

    def _assign(self, call: WriteCall) -> Any:
        self.assignments[call.params["user_id"]] = {**call.params, "found": True}
        return ok({"assignment_id": "a1"}, record="a1")

    def _unassign(self, call: WriteCall) -> Any:
        self.assignments.pop(call.params["user_id"], None)
        return ok({"user_id": call.params["user_id"], "removed": True})

    def _mail(self, call: WriteCall) -> Any:
        mail = {"message_id": f"<{call.idempotency_key}@acme.example>", "template": call.params["template"]}
        self.mails[call.idempotency_key] = mail
        return ok({"message_id": mail["message_id"]})

    def _invite(self, call: WriteCall) -> Any:
        self.members.add((call.params["upn"], call.params["channel"]))
        return ok({"channel_id": "C1", "state": "member"})

    def _kick(self, call: WriteCall) -> Any:
        self.members.discard((call.params["upn"], call.params["channel"]))
        return ok({"removed": True})

    def _ticket(self, call: WriteCall) -> Any:
        ticket = self.tickets.setdefault(
            call.idempotency_key, {"exception_id": f"INC{len(self.tickets) + 1}", "updates": 0, "open": True}
        )
        ticket["updates"] += 1
        return ok(
            {"exception_id": ticket["exception_id"], "number": ticket["exception_id"]}, record=ticket["exception_id"]
        )

    def _close(self, call: WriteCall) -> Any:
        for ticket in self.tickets.values():
            if ticket["exception_id"] == call.params["exception_id"]:
                ticket["open"] = False
        return ok({"exception_id": call.params["exception_id"], "state": "closed"})


def reads(log: list[Any]) -> list[Any]:
    return [call for _, call in log if isinstance(call, ReadCall)]
