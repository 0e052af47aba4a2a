"""Every address of the console that has a page, for tests that visit them all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from browser.seeded import trouble
from browser.site import Served
from topstitch.console.bulk import Bulk
from topstitch.governance.duties import Delegation
from topstitch.model.record import Actor, ActorKind
from topstitch.office import deciding
from topstitch.store import items, views

PARTS = ("people", "tokens", "delegation", "webhooks", "retention", "installation")


WISH: dict[str, Any] = {"name": "pause", "step": None, "choice": None, "reason": "payroll asks to wait", "edits": []}


def prepare(site: Served) -> None:
    """Add what only some pages show: trouble for many, a batch previewed and one done, a view, somebody away."""
    if site.prepared:
        return
    store, now = site.hands.store, site.hands.clock.now()
    site.do(trouble(store))
    names = [hire.id for hire in site.hires[-6:]]
    actor = Actor(ActorKind.HUMAN, "ivo")
    site.app.state.bulk = Bulk(site.hands, per_second=100)
    done = site.do(site.app.state.bulk.freeze(WISH, [*names[:3], site.hires[8].id], actor))
    site.do(site.app.state.bulk.start(done, actor))
    site.do(site.app.state.bulk.wait(done))
    site.prepared = {"done": done, "batch": site.do(site.app.state.bulk.freeze(WISH, names[3:], actor))}
    site.do(views.save(store, "instances", "dana", "Waiting long", "q=state%3Awaiting", now, shared=True))
    away = Delegation(
        grantor="human:dana", delegate="human:omar", starts_at=now, ends_at=now + timedelta(days=3), granted_by="dana"
    )
    site.do(deciding.grant(store, away, Actor(ActorKind.HUMAN, "dana"), now, because="on holiday"))


def addresses(site: Served) -> dict[str, str]:
    """Return each page by a short name."""
    prepare(site)
    store, hires = site.hands.store, site.hires
    case = next(c["id"] for c in site.do(items.list_cases(store)))
    priya, lukas, samuel = (f"/instances/{hires[k].id}" for k in (0, 1, 4))
    approval = site.do(items.list_approvals(store))[0]["id"]
    task = site.do(items.list_tasks(store))[0]["id"]
    discrepancy = site.do(items.list_discrepancies(store))[0]["id"]
    return {
        "overview": "/",
        "seam": "/seams/entra-id/servicenow",
        "instances": "/instances",
        "searched": "/instances?q=state:waiting+has:approval",
        "changed": "/instances?by=changed&q=newer%3A7d",
        "nothing found": "/instances?q=nobody",
        "unreadable": "/instances?q=colour%3Ared",
        "batch": f"/batches/{site.prepared['batch']}",
        "batch done": f"/batches/{site.prepared['done']}",
        "instance": priya,
        "in a list": f"{priya}?list=state%3Awaiting",
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
        "groups": "/approvals?show=groups",
        "delegated": "/approvals?show=delegated",
        "approval": f"/approvals/{approval}",
        "exceptions": "/exceptions",
        "case": f"/exceptions/{case}",
        "waive": f"/exceptions/act?verb=waive&case={case}",
        "closed": "/exceptions?show=closed",
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
        "paused": "/connectors/crm",
        "policies": "/policies",
        "audit": "/audit",
        "audit filtered": "/audit?actor=human%3Adana&since=30d",
        "settings": "/settings",
        **{f"settings {p}": f"/settings?part={p}" for p in PARTS},
        "help": "/help",
    }
