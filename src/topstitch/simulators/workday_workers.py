"""The workers of the simulated Workday: found by either id, active or not, shown as the REST API does.

``workday``, ``workday_hires`` and ``workday_soap`` share it. It answers no calls itself.
"""

from __future__ import annotations

from typing import Any

from topstitch.foundation.clock import Clock
from topstitch.simulators import company
from topstitch.simulators.state import Json, Records


class Workers:
    """The workers of one tenant."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def all(self) -> list[Json]:
        """Return every worker."""
        return self._records.all("workers")

    def by(self, key: str) -> Json | None:
        """Return a worker by WID or employee number, or nothing."""
        plain = key.removeprefix("Employee_ID=")
        return self._records.get("workers", plain) or self._records.first("workers", id=plain)

    def reports_of(self, manager: Json) -> list[Json]:
        """Return those whom a worker manages."""
        return self._records.find("workers", manager_id=manager["workerId"])

    def put(self, fields: Json) -> Json:
        """Store a worker."""
        wid = company.hex_id("worker", fields["workerId"])
        return self._records.put("workers", fields["workerId"], {"id": wid, **fields})

    def change(self, worker_id: str, fields: Json) -> Json:
        """Change a worker."""
        return self._records.change("workers", worker_id, fields)

    def is_active(self, worker: Json) -> bool:
        """A worker is active from the hire date on, until terminated, and never when rescinded."""
        today = f"{self._clock.now():%Y-%m-%d}"
        gone = worker["terminated_on"] and worker["terminated_on"] <= today
        return worker["status"] == "active" and worker["hire_date"] <= today and not gone

    def shown(self, worker: Json) -> dict[str, Any]:
        """Return a worker as the REST API shows it."""
        manager = self.by(worker["manager_id"]) if worker["manager_id"] else None
        profile = self._records.get("job_profiles", worker["job_profile"]) or {}
        location = worker["location"] or ""
        return {
            "id": worker["id"],
            "descriptor": f"{worker['first']} {worker['last']}",
            "workerId": worker["workerId"],
            "person": {"legalName": {"first": worker["first"], "last": worker["last"]}, "email": worker["email"]},
            "primaryJob": {
                "jobProfile": {
                    "id": worker["job_profile"],
                    "descriptor": profile.get("Job_Profile_Name", worker["title"]),
                },
                "supervisoryOrganization": {"descriptor": worker["department"]},
                "businessTitle": worker["title"],
                "location": {"id": location, "descriptor": company.LOCATIONS.get(location, location)},
                "manager": _manager_shown(manager) if manager else None,
            },
            "costCenter": {"id": worker["cost_center"]},
            "hireDate": worker["hire_date"],
            "active": self.is_active(worker),
            "onLeave": bool(worker.get("on_leave")),
        }


def _manager_shown(manager: Json) -> dict[str, str]:
    name = f"{manager['first']} {manager['last']}"
    return {"workerId": manager["workerId"], "id": manager["id"], "descriptor": name}
