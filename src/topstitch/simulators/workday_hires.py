"""Hires people in the simulated Workday and notifies the outside of it.

``POST /_sim/hires`` (or ``hire``) creates the worker, inactive until the start date, and puts the
signed notification into the outbox. The other acts move a start date, rescind a hire, storm
with many, send again, or send in another order. ``workday`` owns it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch.foundation.ids import random_bytes
from topstitch.simulators import company, control
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.webhooks import WebhookSender, standard_webhook_headers
from topstitch.simulators.workday_workers import Workers

EVENT_TYPE: Final = "staffing.hire.completed"
STORM_MAX: Final = 5000
_FIRST: Final = (
    "Priya",
    "Lukas",
    "Noor",
    "Mateo",
    "Yuki",
    "Elif",
    "Samuel",
    "Ana",
    "Piotr",
    "Chidi",
    "Freya",
    "Hassan",
    "Iris",
    "Jae",
)
_LAST: Final = (
    "Raman",
    "Vogel",
    "Aziz",
    "Silva",
    "Mori",
    "Demir",
    "Brandt",
    "Costa",
    "Zielinski",
    "Eze",
    "Holm",
    "Khalil",
    "Novak",
    "Park",
)


class HireError(ValueError):
    """A hire that the control plane cannot make."""


class Hires:
    """The hires of one tenant and their notifications."""

    def __init__(self, simulator: Simulator, workers: Workers) -> None:
        self._simulator = simulator
        self._workers = workers
        self._records = simulator.records
        self.sender = WebhookSender(simulator.records, simulator.clock, simulator.faults, self._sign)

    def routes(self) -> list[Route]:
        """Return the control plane's addresses."""
        return [
            Route("/_sim/hires", self._post_hire, methods=["POST"]),
            Route("/_sim/hires/{worker}/rescind", self._post_rescind, methods=["POST"]),
            Route("/_sim/hires/{worker}/start_date", self._post_start_date, methods=["POST"]),
            Route("/_sim/notifications", self._get_notifications, methods=["GET"]),
            Route("/_sim/notifications/{id}/again", self._post_again, methods=["POST"]),
        ]

    def hire(self, overrides: Mapping[str, Any] | None = None, *, notify: bool = True) -> Json:
        """Hire somebody; return the notification's document.

        ``overrides`` names any of workerId, first, last, department, location, managerId,
        costCenter, jobProfile, startDate, personalEmail, title, initiatedBy (a worker id),
        eventType, and ``worker`` or ``omit`` to bend the notification itself.
        """
        asked = dict(overrides or {})
        document = self.make(asked)
        with self._records.store.transaction():
            self._workers.put(_worker_of(document, asked))
            if notify:
                self.notify(document)
        return document

    def make(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the notification of a hire that ``asked`` describes."""
        number = self._records.number("hire", 104233)
        profile = _profile(str(asked.get("jobProfile") or "ENG-SWE"))
        first, last = (
            asked.get("first") or _FIRST[number % len(_FIRST)],
            asked.get("last") or _LAST[number // 3 % len(_LAST)],
        )
        usual = _usual_place(profile)
        start = (self._simulator.clock.now() + timedelta(days=14)).strftime("%Y-%m-%d")
        worker = {
            "workerId": asked.get("workerId") or f"W-{number}",
            "legalName": {"first": first, "last": last},
            "department": asked.get("department", usual["department"]),
            "location": asked.get("location", "LOC-BER"),
            "managerId": asked.get("managerId", usual["managerId"]),
            "costCenter": asked.get("costCenter", usual["costCenter"]),
            "jobProfile": asked.get("jobProfile", "ENG-SWE"),
            "startDate": asked.get("startDate", start),
            "personalEmail": asked.get("personalEmail", f"{first}.{last}@mail.example".lower()),
        }
        return self._document({**worker, **asked.get("worker", {})}, asked)

    def notify(self, document: Mapping[str, Any]) -> Json:
        """Put a notification into the outbox."""
        url = self._simulator.settings["hook_url"]
        return self.sender.put(url, orjson.dumps(document), id_=document["id"], kind=document["eventType"])

    def storm(self, count: int, overrides: Mapping[str, Any] | None = None, *, reverse: bool = False) -> list[Json]:
        """Hire ``count`` people at once; with ``reverse`` notify of the last first."""
        if not 1 <= count <= STORM_MAX:
            raise HireError(f"a storm has 1 to {STORM_MAX} hires; {count} were asked for")
        documents = [self.hire(_numbered(overrides or {}, index), notify=False) for index in range(count)]
        for document in documents[::-1] if reverse else documents:
            self.notify(document)
        return documents

    def rescind(self, worker_id: str) -> Json:
        """Take a hire back: the worker never becomes active; notify of it."""
        worker = self._known(worker_id)
        changed = self._workers.change(worker["workerId"], {"status": "rescinded"})
        return self._follow_up(changed, "staffing.hire.rescinded")

    def move_start(self, worker_id: str, date: str) -> Json:
        """Move a start date; notify of it."""
        worker = self._known(worker_id)
        changed = self._workers.change(worker["workerId"], {"hire_date": date})
        return self._follow_up(changed, "staffing.hire.startDateChanged")

    def _follow_up(self, worker: Json, event_type: str) -> Json:
        shown = {
            "workerId": worker["workerId"],
            "legalName": {"first": worker["first"], "last": worker["last"]},
            "department": worker["department"],
            "location": worker["location"],
            "managerId": worker["manager_id"],
            "costCenter": worker["cost_center"],
            "jobProfile": worker["job_profile"],
            "startDate": worker["hire_date"],
            "personalEmail": worker.get("personal_email", ""),
        }
        document = self._document(shown, {"eventType": event_type})
        self.notify(document)
        return document

    def _document(self, worker: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        initiator = self._workers.by(str(asked.get("initiatedBy") or company.HR_PARTNER.worker_id)) or {}
        for name in asked.get("omit", ()):
            worker.pop(name, None)
        rescinded = asked.get("eventType") == "staffing.hire.rescinded"
        return {
            "id": asked.get("id") or f"wd-ntf-{random_bytes(8).hex()}",
            "tenant": self._simulator.settings["tenant"],
            "eventType": asked.get("eventType", EVENT_TYPE),
            "occurredAt": self._simulator.now_text(),
            "businessProcess": {
                "type": "Hire Employee",
                "transactionId": random_bytes(16).hex(),
                "status": "Rescinded" if rescinded else "Successfully Completed",
                "initiatedBy": {"workerId": initiator.get("workerId", ""), "email": initiator.get("email", "")},
            },
            "worker": worker,
        }

    def _known(self, worker_id: str) -> Json:
        worker = self._workers.by(worker_id)
        if worker is None:
            raise HireError(f"there is no worker {worker_id}; GET /_sim/records/workers lists them")
        return worker

    def _sign(self, notification: Json, body: bytes) -> dict[str, str]:
        settings = self._simulator.settings
        signed = standard_webhook_headers(notification["id"], settings["webhook_secret"], body, self._simulator.clock)
        login = base64.b64encode(f"{settings['hook_username']}:{settings['hook_password']}".encode()).decode()
        return {**signed, "Authorization": f"Basic {login}"}

    # Control plane

    async def _post_hire(self, request: Request) -> Response:
        """One hire, or ``{"count": N, "order": "reversed", "overrides": {...}}``; ``notify: false`` keeps still."""
        asked = await control.document(request)
        try:
            if "count" in asked:
                made = self.storm(int(asked["count"]), asked.get("overrides"), reverse=asked.get("order") == "reversed")
                return control.reply({"hired": len(made), "ids": [document["id"] for document in made]}, 201)
            return control.reply(self.hire(asked, notify=asked.pop("notify", True)), 201)
        except HireError as error:
            return control.reply({"error": str(error)}, 400)

    async def _post_rescind(self, request: Request) -> Response:
        return self._act(lambda: self.rescind(request.path_params["worker"]))

    async def _post_start_date(self, request: Request) -> Response:
        date = (await control.document(request)).get("date", "")
        return self._act(lambda: self.move_start(request.path_params["worker"], date))

    async def _get_notifications(self, _request: Request) -> Response:
        return control.reply(self.sender.all())

    async def _post_again(self, request: Request) -> Response:
        if self._records.get("_outbox", request.path_params["id"]) is None:
            return control.reply({"error": "there is no such notification; GET /_sim/notifications lists them"}, 404)
        self.sender.again(request.path_params["id"])
        return control.reply({"again": request.path_params["id"]}, 202)

    def _act(self, act: Any) -> Response:
        try:
            return control.reply(act(), 201)
        except HireError as error:
            return control.reply({"error": str(error)}, 404)


def _profile(id_: str) -> company.JobProfile:
    return next((profile for profile in company.PROFILES if profile.id == id_), company.PROFILES[0])


def _usual_place(profile: company.JobProfile) -> dict[str, str]:
    """Return department, manager and cost centre that go with a job profile."""
    places = {
        "SAL": ("Sales", "W-100041", "CC-7300"),
        "DES": ("Design", "W-100012", "CC-4200"),
        "SEC": ("IT", "W-100020", "CC-4400"),
        "IT-": ("IT", "W-100020", "CC-4400"),
        "PPL": ("People", "W-100030", "CC-2100"),
    }
    department, manager, center = places.get(profile.id[:3], ("Engineering", "W-100011", "CC-4100"))
    return {"department": department, "managerId": manager, "costCenter": center}


def _numbered(overrides: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Make the names of a storm differ, so that their accounts do."""
    return {"first": f"{_FIRST[index % len(_FIRST)]}{index}", **overrides}


def _worker_of(document: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    shown = document["worker"]
    name = shown.get("legalName") or {}
    return {
        "workerId": shown.get("workerId") or asked.get("workerId") or f"W-{document['id'][-6:]}",
        "first": name.get("first", ""),
        "last": name.get("last", ""),
        "email": "",
        "job_profile": shown.get("jobProfile", ""),
        "title": asked.get("title") or _profile(str(shown.get("jobProfile"))).name,
        "department": shown.get("department", ""),
        "location": shown.get("location", ""),
        "manager_id": shown.get("managerId") or "",
        "cost_center": shown.get("costCenter", ""),
        "hire_date": shown.get("startDate", ""),
        "personal_email": shown.get("personalEmail", ""),
        "status": "active",
        "terminated_on": "",
        "on_leave": False,
    }
