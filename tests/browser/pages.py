"""Every address of the console that has a page, for tests that visit them all."""

from __future__ import annotations

from browser.site import Served
from topstitch.store import items


def addresses(site: Served) -> dict[str, str]:
    """Return each page by a short name."""
    store, hires = site.hands.store, site.hires
    priya, lukas, samuel = (f"/instances/{hires[k].id}" for k in (0, 1, 4))
    approval = site.do(items.list_approvals(store))[0]["id"]
    task = site.do(items.list_tasks(store))[0]["id"]
    discrepancy = site.do(items.list_discrepancies(store))[0]["id"]
    return {
        "overview": "/",
        "seam": "/seams/entra-id/servicenow",
        "instances": "/instances",
        "searched": "/instances?q=state:waiting+has:approval",
        "instance": priya,
        "failed": lukas,
        "rolled back": samuel,
        "step": f"{priya}?step=equipment",
        "time": f"{priya}?view=time",
        "table": f"{priya}?view=table",
        "history": f"{priya}?view=history",
        "data": f"{priya}?view=data",
        "versions": f"{priya}?view=versions",
        "past": f"{priya}?at=20",
        "cancel": f"{priya}/cancel",
        "retry": f"{lukas}/retry",
        "skip": f"{priya}/skip",
        "pause": f"{priya}/pause",
        "approvals": "/approvals",
        "decided": "/approvals?show=done",
        "approval": f"/approvals/{approval}",
        "exceptions": "/exceptions",
        "task": f"/tasks/{task}",
        "discrepancies": "/discrepancies",
        "discrepancy": f"/discrepancies/{discrepancy}",
        "workflows": "/workflows",
        "workflow": "/workflows/employee-onboarding",
        "mapping": "/workflows/employee-onboarding?view=mapping",
        "outcomes": "/workflows/employee-onboarding?view=outcomes",
        "text": "/workflows/employee-onboarding?view=text",
        "connectors": "/connectors",
        "connector": "/connectors/itsm",
        "policies": "/policies",
        "audit": "/audit",
        "settings": "/settings",
        "help": "/help",
    }
