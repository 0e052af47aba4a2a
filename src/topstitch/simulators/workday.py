"""A simulated Workday: token endpoint, staffing REST API, a custom report, SOAP, hire notifications.

Workers and their job profiles; a hire through the control plane (``workday_hires``) creates a
worker and emits the signed notification. Sources: the vendor's REST description (staffing
v6), public SOAP clients; ``README.md`` lists what is not faithful.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Final

from starlette.routing import BaseRoute

from topstitch.simulators import company
from topstitch.simulators.oauth import Standing, credentials, issue, standing
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal
from topstitch.simulators.workday_hires import Hires
from topstitch.simulators.workday_soap import Soap
from topstitch.simulators.workday_workers import Workers

STAFFING: Final = "/ccx/api/staffing/v6/{tenant}"
REPORT: Final = "/ccx/service/customreport2/{tenant}/{owner}/{report}"
PAGE_MAX: Final = 100
_USUAL: Final = {
    400: ("A400", "Validation error"),
    401: ("A401", "Unauthorized"),
    403: ("A403", "Permission denied"),
    404: ("S22", "Resource not found"),
    409: ("A421", "The worker has a conflicting in-progress event"),
    429: ("A429", "Too many requests"),
    500: ("S500", "Internal server error"),
    503: ("S503", "The tenant is not available"),
}


class WorkdaySimulator(Simulator):
    """The company's Workday tenant."""

    system: ClassVar[str] = "workday"
    defaults: ClassVar[Json] = {
        "tenant": company.TENANT,
        "client_id": "workday-sim-client",
        "client_secret": "workday-sim-secret",
        "refresh_token": "workday-sim-refresh",
        "username": "ISU_Topstitch",
        "password": "workday-sim-password",
        "report_owner": "ISU_Topstitch",
        "report_name": "Job_Profile_Provisioning",
        "token_seconds": 3600,
        "hook_url": "",
        "webhook_secret": "whsec_d29ya2RheS1zaW0td2ViaG9vay1zZWNyZXQh",
        "hook_username": "workday",
        "hook_password": "workday-sim-hook-password",
    }
    published: ClassVar[tuple[str, ...]] = (
        "tenant",
        "client_id",
        "client_secret",
        "refresh_token",
        "username",
        "password",
        "report_owner",
        "report_name",
        "webhook_secret",
        "hook_username",
        "hook_password",
    )

    def endpoints(self) -> list[Endpoint]:
        """Return the addresses of the tenant."""
        return [
            Endpoint("POST", "/ccx/oauth2/{tenant}/token", self.token, open=True),
            Endpoint("GET", STAFFING + "/workers", self.list_workers),
            Endpoint("GET", STAFFING + "/workers/{worker}", self.get_worker),
            Endpoint("GET", STAFFING + "/workers/{worker}/directReports", self.direct_reports),
            Endpoint("GET", STAFFING + "/jobProfiles", self.list_profiles),
            Endpoint("GET", STAFFING + "/jobProfiles/{profile}", self.get_profile),
            Endpoint("GET", REPORT, self.report),
            Endpoint(
                "POST", "/ccx/service/{tenant}/Human_Resources/{version}", Soap(self, self.workers).answer, open=True
            ),
        ]

    def pages(self) -> list[BaseRoute]:
        """Return the control plane's hires."""
        return [*self.hires.routes()]

    @cached_property
    def workers(self) -> Workers:
        """The workers of the tenant."""
        return Workers(self.records, self.clock)

    @cached_property
    def hires(self) -> Hires:
        """Who is hired, and the notifications of it."""
        return Hires(self, self.workers)

    def seed(self) -> None:
        """Fill workers and job profiles."""
        for person in company.PEOPLE:
            self.workers.put(
                {
                    "workerId": person.worker_id,
                    "first": person.first,
                    "last": person.last,
                    "email": person.email,
                    "job_profile": person.profile,
                    "title": person.title,
                    "department": person.department,
                    "location": person.location,
                    "manager_id": person.manager,
                    "cost_center": person.cost_center,
                    "hire_date": person.hired,
                    "status": "active",
                    "terminated_on": "",
                    "on_leave": False,
                }
            )
        for profile in company.PROFILES:
            row = {
                "Job_Profile_ID": profile.id,
                "Job_Profile_Name": profile.name,
                "Active": _flag(profile.active),
                "Elevated_Access": _flag(profile.elevated),
                "Equipment_Tier": profile.tier,
                "Groups": "; ".join(profile.groups),
                "Licenses": "; ".join(profile.licenses),
                "Team_Channel": profile.channel,
                "Territory": profile.territory,
                "CRM_Role": profile.crm_role,
                "Quota_Carrying": _flag(profile.quota_carrying),
                "Quota": profile.quota,
                "Quota_Currency": "USD" if profile.quota else "",
            }
            self.records.put("job_profiles", profile.id, row)

    async def start(self) -> None:
        """Start delivering notifications."""
        await self.hires.sender.start()

    async def stop(self) -> None:
        """Stop delivering notifications."""
        await self.hires.sender.stop()

    # The vendor's manners

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return an error of the REST API."""
        usual, text = _USUAL.get(status, ("S500", "Error"))
        shown = f"{code or usual} {message or text}"
        return Answer(status, {"error": shown, "errors": [{"error": shown, "field": ""}], "code": code or usual})

    def is_write(self, call: Call) -> bool:
        """SOAP posts of Get_ operations are reads."""
        return super().is_write(call) and b"Get_" not in call.body[:4000]

    def token(self, call: Call) -> Answer:
        """Give out a token for client_credentials or refresh_token."""
        form = call.form()
        if call.params["tenant"] != self.settings["tenant"]:
            return Answer(404, {"error": "invalid_request", "error_description": "tenant not found"})
        if credentials(call) != (self.settings["client_id"], self.settings["client_secret"]):
            return Answer(401, {"error": "invalid_client", "error_description": "Client authentication failed"})
        grant = form.get("grant_type")
        if grant not in {"client_credentials", "refresh_token"}:
            return Answer(400, {"error": "unsupported_grant_type"})
        if grant == "refresh_token" and form.get("refresh_token") != self.settings["refresh_token"]:
            return Answer(400, {"error": "invalid_grant", "error_description": "Refresh token is invalid"})
        token = issue(
            self.records, self.clock, client=self.settings["client_id"], seconds=self.settings["token_seconds"]
        )
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self.settings["token_seconds"]}
        return Answer(
            200, body | ({"refresh_token": self.settings["refresh_token"]} if grant == "refresh_token" else {})
        )

    def authenticate(self, call: Call) -> None:
        """Accept a good token; for reports the integration user's basic credentials too."""
        if call.params.get("tenant", self.settings["tenant"]) != self.settings["tenant"]:
            raise Refusal(self.error(404))
        user = (self.settings["username"], self.settings["password"])
        if "customreport2" in call.path and call.basic() == user:
            return
        if standing(self.records, self.clock, call.bearer()) is not Standing.GOOD:
            raise Refusal(
                Answer(401, {"error": "invalid_token", "error_description": "The access token is invalid or expired"})
            )

    # Workers

    def list_workers(self, call: Call) -> Answer:
        """List workers, with search by name, number or e-mail."""
        wanted = call.query.get("search", "").lower()
        rows = [worker for worker in self.workers.all() if _mentions(worker, wanted)]
        return self._page(call, [self.workers.shown(worker) for worker in rows])

    def get_worker(self, call: Call) -> Answer:
        """Return a worker by WID or by employee number."""
        return Answer(200, self.workers.shown(self._worker(call.params["worker"])))

    def direct_reports(self, call: Call) -> Answer:
        """List those whom a worker manages."""
        manager = self._worker(call.params["worker"])
        return self._page(call, [self.workers.shown(worker) for worker in self.workers.reports_of(manager)])

    # Job profiles and the report

    def list_profiles(self, call: Call) -> Answer:
        """List job profiles."""
        return self._page(call, [_profile_shown(row) for row in self.records.all("job_profiles")])

    def get_profile(self, call: Call) -> Answer:
        """Return one job profile."""
        row = self.records.get("job_profiles", call.params["profile"])
        if row is None:
            raise Refusal(self.error(404))
        return Answer(200, _profile_shown(row))

    def report(self, call: Call) -> Answer:
        """Answer the custom report on job profiles; JSON or CSV, with a prompt for the profile."""
        known = (self.settings["report_owner"], self.settings["report_name"])
        if (call.params["owner"], call.params["report"]) != known:
            raise Refusal(self.error(404, "S22", "Report not found or not shared with this user"))
        wanted = next((value for name, value in call.query.items() if name.startswith("Job_Profile!")), "")
        rows = [row for row in self.records.all("job_profiles") if wanted in ("", row["Job_Profile_ID"])]
        if call.query.get("format", "json") == "csv":
            names = list(rows[0]) if rows else []
            lines = [",".join(names), *(",".join(f'"{row[name]}"' for name in names) for row in rows)]
            return Answer(200, "\r\n".join(lines), media="text/csv")
        return Answer(200, {"Report_Entry": rows})

    # Helpers

    def _worker(self, key: str) -> Json:
        worker = self.workers.by(key)
        if worker is None:
            raise Refusal(self.error(404, "S22", "Resource not found"))
        return worker

    def _page(self, call: Call, rows: list[Any]) -> Answer:
        limit, offset = call.query.get("limit", "20"), call.query.get("offset", "0")
        if not limit.isdigit() or not offset.isdigit() or int(limit) > PAGE_MAX:
            raise Refusal(self.error(400, "A371", f"limit must be at most {PAGE_MAX} and offset a whole number"))
        return Answer(200, {"data": rows[int(offset) : int(offset) + int(limit)], "total": len(rows)})


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _mentions(worker: Json, wanted: str) -> bool:
    return wanted in f"{worker['first']} {worker['last']} {worker['workerId']} {worker['email']}".lower()


def _profile_shown(row: Json) -> dict[str, Any]:
    return {"id": row["Job_Profile_ID"], "descriptor": row["Job_Profile_Name"], "inactive": row["Active"] != "1"}
