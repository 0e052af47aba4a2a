"""The Workday connector: workers, job profiles, who manages whom, and hire notifications.

It only reads: a hire is Workday's own business process. Job profiles come from a report
(RaaS) that the customer owns, because what a profile brings with it is kept there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from topstitch.connectors.auth import OAuth2
from topstitch.connectors.contract import CallContext, Connector, Done, Given, NormalisedEvent, read
from topstitch.connectors.http import Answer, HttpClient, segment
from topstitch.connectors.workday.models import (
    Hire,
    HireCompleted,
    HireRescinded,
    Hires,
    JobProfile,
    People,
    Person,
    PersonRef,
    ProfileRef,
    Since,
    StartDateChanged,
    Worker,
    WorkerRef,
)
from topstitch.foundation.errors import ConnectorError, PermanentError, RequestError, TransientError

TITLE: Final = "Workday"
PAGE: Final = 100
PAGES_MAX: Final = 1000
REPORT: Final = "ISU_Topstitch/Job_Profile_Provisioning"
IN_PROGRESS_CODE: Final = "A421"
"""Workday's code for a record that another business process holds just now."""
EVENT_TYPES: Final[Mapping[str, str]] = {
    "staffing.hire.completed": "hire_completed",
    "staffing.hire.rescinded": "hire_rescinded",
    "staffing.hire.startDateChanged": "start_date_changed",
}


class Workday(Connector):
    """Workday."""

    name = "workday"
    major = 1
    title = TITLE
    kind = "HRIS"
    events = {  # noqa: RUF012 -- declared by the base as a class variable
        "hire_completed": HireCompleted,
        "hire_rescinded": HireRescinded,
        "start_date_changed": StartDateChanged,
    }
    credential_names = ("client_id", "client_secret")
    option_names = ("tenant", "report", "version")

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._tenant = segment(given.option("tenant"))
        token_url = f"{given.base_url.rstrip('/')}/ccx/oauth2/{self._tenant}/token"
        self._http = HttpClient(
            given, title=TITLE, auth=OAuth2(given, token_url, in_header=True), classify=self._classify
        )
        self._workers = f"/ccx/api/staffing/{given.option('version', 'v6')}/{self._tenant}/workers"

    @read()
    async def get_worker(self, ref: WorkerRef, call: CallContext) -> Done[Worker]:
        """A worker by worker number."""
        row = await self._worker(ref.worker_id, call)
        if row is None:
            raise PermanentError("not_found", f"{TITLE} has no worker {ref.worker_id}; check the number", status=404)
        return Done(_worker(row), record=row.get("id"))

    @read()
    async def get_job_profile(self, ref: ProfileRef, call: CallContext) -> Done[JobProfile]:
        """What a job profile brings with it, from the provisioning report."""
        query = {"format": "json", "Job_Profile!WID-or-ID": ref.profile_id}
        path = f"/ccx/service/customreport2/{self._tenant}/{self.given.option('report', REPORT)}"
        rows = (await self._http.get(path, call, query=query)).document()["Report_Entry"]
        fitting = [row for row in rows if row.get("Job_Profile_ID") == ref.profile_id]
        if len(fitting) != 1:
            what = "no row" if not fitting else f"{len(fitting)} rows"
            raise PermanentError(
                "profile_unclear",
                f"{TITLE}'s report has {what} for job profile {ref.profile_id}; correct the profile or the report",
            )
        return Done(_profile(fitting[0]), record=ref.profile_id)

    @read(timeout="60s")
    async def list_hires(self, since: Since, call: CallContext) -> Hires:
        """Workers whose first day is a day or later, those not active yet too."""
        rows = [row async for row in self._all(call) if (row.get("hireDate") or "") >= since.since]
        return Hires(rows=[Hire(employee_id=row["workerId"], hired_on=row["hireDate"]) for row in rows])

    @read()
    async def resolve_manager(self, query: PersonRef, call: CallContext) -> People:
        """The manager of a person, or nobody."""
        row = await self._person(query.person, call)
        manager_id = _manager_id(row) if row else None
        manager = await self._worker(manager_id, call) if manager_id else None
        return People(people=[_person(manager)] if manager and manager.get("active") else [])

    @read()
    async def resolve_person(self, query: PersonRef, call: CallContext) -> People:
        """A person with name and address, or nobody."""
        row = await self._person(query.person, call)
        return People(people=[_person(row)] if row else [])

    def normalise_event(self, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:  # noqa: ARG002 -- the body says it
        """Read a hire notification; raise ``RequestError`` naming the field that is missing or of another type."""
        kind = raw.get("eventType")
        event = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
        if event is None:
            known = ", ".join(EVENT_TYPES)
            raise _bad("eventType", f"is {kind!r}; subscribe to one of {known}", "event_unknown")
        tenant = _text(raw, "tenant")
        identity = _text(raw, "id")
        data = {"hire_completed": _hire, "hire_rescinded": _rescinded, "start_date_changed": _moved}[event](raw)
        return NormalisedEvent(event, identity, f"workday:{tenant}", data)

    async def health(self) -> Mapping[str, Any]:
        """Read one worker."""
        call = CallContext(timeout_seconds=self.given.timeout_seconds)
        await self._http.get(self._workers, call, query={"limit": "1", "offset": "0"})
        return {"ok": True}

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    def _classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Translate Workday's error body; a record that another process holds is free again later."""
        error = self._http.classify(answer, writes)
        if type(error) is not PermanentError:
            return error
        document = answer.peek()
        document = document if isinstance(document, dict) else {}
        details = [str(one.get("error")) for one in document.get("errors") or () if isinstance(one, dict)]
        words = "; ".join([str(document.get("error") or f"status {answer.status}"), *details])
        rest: dict[str, Any] = {"status": answer.status, "request_id": error.request_id, "body": error.body}
        if IN_PROGRESS_CODE in words:
            return TransientError("in_progress", f"{TITLE}: {words}; it is tried again", **rest)
        return PermanentError(error.code, f"{TITLE} refused: {words}. Correct it there or in the step.", **rest)

    async def _worker(self, worker_id: str, call: CallContext) -> dict[str, Any] | None:
        try:
            return (await self._http.get(f"{self._workers}/{segment(worker_id)}", call)).document()
        except PermanentError as error:
            if error.status == 404:
                return None
            raise

    async def _person(self, person: str, call: CallContext) -> dict[str, Any] | None:
        """Find a person by number or e-mail; a search's answer is compared on the rows."""
        if "@" not in person:
            return await self._worker(person, call)
        async for row in self._all(call, search=person):
            if str((row.get("person") or {}).get("email", "")).lower() == person.lower():
                return row
        return None

    async def _all(self, call: CallContext, **query: str) -> AsyncIterator[dict[str, Any]]:
        """Read the list of workers to its end."""
        read_so_far = 0
        for _ in range(PAGES_MAX):
            page = (
                await self._http.get(
                    self._workers, call, query={"limit": str(PAGE), "offset": str(read_so_far), **query}
                )
            ).document()
            rows = page["data"]
            for row in rows:
                yield row
            read_so_far += len(rows)
            if not rows or read_so_far >= int(page["total"]):
                return
        raise PermanentError("too_many_pages", f"{TITLE} has more than {PAGES_MAX} pages of workers; narrow the read")


def _worker(row: Mapping[str, Any]) -> Worker:
    person, job = row["person"], row.get("primaryJob") or {}
    name = person["legalName"]
    return Worker(
        worker_id=row["workerId"],
        name=row.get("descriptor") or f"{name['first']} {name['last']}",
        first_name=name["first"],
        last_name=name["last"],
        email=person.get("email") or "",
        active=bool(row["active"]),
        department=(job.get("supervisoryOrganization") or {}).get("descriptor"),
        location=(job.get("location") or {}).get("id"),
        manager_id=_manager_id(row),
        job_profile=(job.get("jobProfile") or {}).get("id"),
        cost_center=(row.get("costCenter") or {}).get("id"),
        start_date=row.get("hireDate"),
    )


def _manager_id(row: Mapping[str, Any]) -> str | None:
    return ((row.get("primaryJob") or {}).get("manager") or {}).get("workerId")


def _person(row: Mapping[str, Any]) -> Person:
    worker = _worker(row)
    return Person(id=worker.email or worker.worker_id, name=worker.name, email=worker.email)


def _profile(row: Mapping[str, Any]) -> JobProfile:
    quota = str(row.get("Quota") or "")
    return JobProfile(
        profile_id=row["Job_Profile_ID"],
        active=_flag(row, "Active"),
        elevated=_flag(row, "Elevated_Access"),
        equipment_tier=row["Equipment_Tier"],
        groups=_list(row["Groups"]),
        licenses=_list(row["Licenses"]),
        team_channel=row["Team_Channel"],
        territory=row.get("Territory") or "",
        crm_role=row.get("CRM_Role") or "",
        quota_carrying=_flag(row, "Quota_Carrying"),
        quota=f"{quota} {row.get('Quota_Currency') or 'USD'}" if quota else None,
    )


def _flag(row: Mapping[str, Any], name: str) -> bool:
    """Read a report's boolean: ``1`` or ``0``."""
    return {"1": True, "0": False, "true": True, "false": False}[str(row[name]).lower()]


def _list(text: str) -> list[str]:
    """Read a report's multi-instance field: ``a; b``."""
    return [part.strip() for part in text.split(";") if part.strip()]


def _hire(raw: Mapping[str, Any]) -> dict[str, Any]:
    worker, process = _map(raw, "worker"), _map(raw, "businessProcess")
    name, initiator = _map(worker, "legalName", "worker"), _map(process, "initiatedBy", "businessProcess")
    data = {
        "employee_id": _text(worker, "workerId", "worker"),
        "first_name": _text(name, "first", "worker.legalName"),
        "last_name": _text(name, "last", "worker.legalName"),
        "department": _text(worker, "department", "worker"),
        "location": _text(worker, "location", "worker"),
        "start_date": _text(worker, "startDate", "worker"),
        "manager_id": _text(worker, "managerId", "worker"),
        "cost_center": _text(worker, "costCenter", "worker"),
        "job_profile": _text(worker, "jobProfile", "worker"),
        "initiated_by": _text(initiator, "workerId", "businessProcess.initiatedBy"),
    }
    if worker.get("personalEmail") is not None:
        data["personal_email"] = _text(worker, "personalEmail", "worker")
    return data


def _rescinded(raw: Mapping[str, Any]) -> dict[str, Any]:
    process = _map(raw, "businessProcess")
    return {
        "employee_id": _text(_map(raw, "worker"), "workerId", "worker"),
        "transaction_id": _text(process, "transactionId", "businessProcess"),
    }


def _moved(raw: Mapping[str, Any]) -> dict[str, Any]:
    worker = _map(raw, "worker")
    return {"employee_id": _text(worker, "workerId", "worker"), "start_date": _text(worker, "startDate", "worker")}


def _map(raw: Mapping[str, Any], name: str, inside: str = "") -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, Mapping):
        raise _bad(f"{inside}.{name}".lstrip("."), "is missing" if value is None else "is no object")
    return value


def _text(raw: Mapping[str, Any], name: str, inside: str = "") -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(f"{inside}.{name}".lstrip("."), "is missing" if value in (None, "") else "is no text")
    return value


def _bad(field: str, why: str, code: str = "event_invalid") -> RequestError:
    return RequestError(code, f"{field} {why}; correct the integration in {TITLE}", detail={"field": field})
