"""Every address of the console that has a page, for tests that visit them all.

``unvisited`` compares them with the routes that the application itself declares, so that no page is forgotten.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

from starlette.routing import compile_path

from browser.seeded import NOW, SALES, Hired, plan_of, publish, trouble, workflow, write
from browser.site import Served
from support.onboarding import FILE, Company
from topstitch.console.app import GET
from topstitch.console.bulk import Bulk
from topstitch.governance.access import Identity
from topstitch.governance.bundle import Bundle
from topstitch.governance.bundle_files import load_bundle
from topstitch.governance.duties import Delegation
from topstitch.language.normal import definition_digest, normal_form, workflow_from_normal
from topstitch.model.record import Actor, ActorKind
from topstitch.office import calendars, deciding, webhooks
from topstitch.office.desk import Desk
from topstitch.office.letters import PATH, token
from topstitch.store import items, views

PARTS = ("people", "tokens", "delegation", "calendars", "webhooks", "retention", "installation")


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
    site.do(second_version(store))
    site.do(two_calendars(store))
    site.do(two_webhooks(store))
    site.do(deciding.grant(store, away, Actor(ActorKind.HUMAN, "dana"), now, because="on holiday"))


NO_PAGES: Final[Mapping[str, str]] = {
    "/stream": "events, not a page",
    "/sign-in/with/{provider}": "leads to a provider",
    "/sign-in/back/{provider}": "leads on from a provider, or shows the sign-in page with what went wrong",
}
"""Addresses that are fetched with GET and show nothing of their own."""


def unvisited(paths: Iterable[str]) -> list[str]:
    """Return the routes of the application that show a page, and that none of these addresses leads to."""
    patterns = [(route, compile_path(route)[0]) for route, _ in GET]
    seen = {next((r for r, shape in patterns if shape.match(path.partition("?")[0])), "") for path in paths}
    shown = [route for route, _ in patterns if not route.endswith((".json", ".csv")) and route not in NO_PAGES]
    return [route for route in shown if route not in seen]


async def second_version(store: Any) -> None:
    """Publish a version with less risk that tries less often, and hire two by it whose questions are the very same."""
    old = workflow()
    form = copy.deepcopy(normal_form(old))
    form["version"] = "1.1.0"
    form["steps"]["welcome_chat"]["retry"]["attempts"] = 3
    del form["steps"]["equipment"]["approval"]
    form["steps"]["crm_assignment"]["risk"] = 1
    new = workflow_from_normal(form)
    text = FILE.read_text(encoding="utf-8")
    begins = text.index("    approval:\n      auto_when: context.quote")
    approval = text[begins : text.index("    retry:", begins)]
    tries = "      channel: = context.profile.team_channel\n    retry: {attempts: "
    risk = '    when: trigger.department == "Sales"\n    risk: '
    edits = {approval: "", f"{tries}5": f"{tries}3", f"{risk}3": f"{risk}1"}
    await publish(store, new, NOW - timedelta(hours=1), parent=definition_digest(old), edits=edits)
    for minutes, name in enumerate(("Iris Falk", "Jonah Reed"), 10):
        one = Hired(plan_of(new), Company(**SALES), NOW - timedelta(minutes=minutes), name)
        await write(store, one.hire(department="Sales").run(until=NOW))


async def two_calendars(store: Any) -> None:
    """Load the calendar that is shipped, with somebody away; keep one waiting that thaws its change freeze early."""
    file = files("topstitch") / "examples" / "policies" / "calendar.yaml"
    away = "absences:\n" + "".join(
        f'  - {{who: {who}, from: "2026-{begins}T00:00:00Z", until: "2026-{ends}T00:00:00Z"}}\n'
        for who, begins, ends in (
            ("omar@acme.example", "11-20", "11-28"),
            ("lena@acme.example", "12-07", "12-12"),
            ("ivo@acme.example", "08-03", "08-21"),
        )
    )
    text = file.read_text(encoding="utf-8") + away
    for who, days_ago, one in (
        ("ana", 3, text),
        ("ana", 0, text.replace("2027-01-04T06:00:00Z", "2026-12-24T06:00:00Z")),
        (
            "dana",
            0,
            text.replace("because: Year end", "because: Year end close").replace("2026-12-19T06", "2026-12-21T06"),
        ),
    ):
        actor, at = Actor(ActorKind.HUMAN, who), NOW - timedelta(days=days_ago, minutes=20)
        await calendars.load(store, one, "calendar.yaml", environment="prod", by=actor, at=at, four_eyes=True)


async def two_webhooks(store: Any) -> None:
    """Tell two addresses of events: one by a shared secret that is being changed for a key, one by a key alone."""
    ana = Identity(id="ana", roles=("operator",))
    made, _ = await webhooks.add(store, "https://hooks.acme.example/topstitch", ("*",), ana, NOW - timedelta(days=9))
    await webhooks.rotate(store, made.id, ana, NOW - timedelta(hours=2), signatures=("v1a",))
    kinds = ("topstitch.approval.*", "topstitch.case.opened")
    await webhooks.add(store, "https://siem.acme.example/in", kinds, ana, NOW, signatures=("v1a",))


def standard() -> Bundle:
    """Return the policy bundle that is shipped."""
    root = files("topstitch") / "examples" / "policies" / "standard"
    return load_bundle({one.name: one.read_text(encoding="utf-8") for one in root.iterdir() if one.is_file()})


OUTSIDE: Final[Mapping[str, str]] = {"sign-in": "/sign-in?next=/audit", "sign-in again": "/sign-in?again=1"}
"""What somebody sees who has not signed in."""
INSIDE: Final[Mapping[str, str]] = {"account": "/account", "forbidden": "/instances/x/cancel", "settings": "/settings"}
"""What somebody sees who has signed in, and may only look."""


ASKED_WITH: Final = frozenset({"/sign-in", "/exceptions/act", "/approvals/alike"})
"""Addresses that mean something only with a query, or only where people sign in."""


def lists() -> dict[str, str]:
    """Return the pages that need no name: what a fresh installation shows."""
    paths = [
        path for path, _ in GET if "{" not in path and not path.endswith((".json", ".csv")) and path not in NO_PAGES
    ]
    return {f"fresh {path}": path for path in paths if path not in ASKED_WITH}


def addresses(site: Served) -> dict[str, str]:
    """Return each page of the seeded console by a short name."""
    prepare(site)
    store = site.hands.store
    case = next(c["id"] for c in site.do(items.list_cases(store)))
    approval = site.do(items.list_approvals(store))[0]["id"]
    everything = site.do(items.list_approvals(store, status=None))
    closed = next((a["id"], a["people"][0]["id"]) for a in everything if a["status"] == "refused")
    same = [a["id"] for a in everything if a["instance_title"] in ("Iris Falk", "Jonah Reed")]
    task = site.do(items.list_tasks(store))[0]["id"]
    discrepancy = site.do(items.list_discrepancies(store))[0]["id"]
    return {
        **of_instances(site),
        "overview": "/",
        "seam": "/seams/entra-id/servicenow",
        "instances": "/instances",
        "searched": "/instances?q=state:waiting+has:approval",
        "changed": "/instances?by=changed&q=newer%3A7d",
        "nothing found": "/instances?q=nobody",
        "unreadable": "/instances?q=colour%3Ared",
        "batch": f"/batches/{site.prepared['batch']}",
        "batch done": f"/batches/{site.prepared['done']}",
        "account": "/account",
        "by mail": f"{PATH}{token(Desk(store, site.hands.load, site.hands.clock), approval, 'dana')}",
        "by mail, decided": f"{PATH}{token(Desk(store, site.hands.load, site.hands.clock), *closed)}",
        "nowhere": "/nowhere",
        "approvals": "/approvals",
        "decided": "/approvals?show=done",
        "groups": "/approvals?show=groups",
        "delegated": "/approvals?show=delegated",
        "approval": f"/approvals/{approval}",
        "alike": "/approvals/alike?" + "&".join(f"approval={a}" for a in same),
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
        "old version": "/workflows/employee-onboarding/versions/1.0.0",
        "diff": "/workflows/employee-onboarding/diff/1.0.0..1.1.0",
        "policy": f"/policies/{site.hands.bundles[0].name}" if site.hands.bundles else "/policies",
        "api": "/api/reference/",
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


def of_instances(site: Served) -> dict[str, str]:
    """Return the pages about one instance."""
    priya, lukas, samuel = (f"/instances/{site.hires[k].id}" for k in (0, 1, 4))
    return {
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
    }
