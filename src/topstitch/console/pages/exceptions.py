"""What went wrong and waits for a person: cases by cause, tasks by hand, discrepancies field by field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.sight import look
from topstitch.console.site import Site, back, sent, twin
from topstitch.foundation.canonical import parse
from topstitch.governance.approvals import find_person
from topstitch.store import definitions, items
from topstitch.store.rows import Shown

ROWS_MAX = 200


async def queue(request: Request) -> Response:
    """``GET /exceptions``: open cases grouped by cause, and open tasks."""
    site: Site = request.app.state.site
    hands = site.hands
    cases = await items.list_cases(
        hands.store, status=None if request.query_params.get("show") == "closed" else "open", limit=ROWS_MAX
    )
    if request.query_params.get("show") == "closed":
        cases = [c for c in cases if c["status"] != "open"][::-1]
    return await site.render(
        request,
        "exceptions.html",
        nav="exceptions",
        title="Exceptions",
        groups=_groups(cases),
        cases=cases,
        limit=ROWS_MAX,
        names=await alias_titles(hands),
        tasks=await items.list_tasks(hands.store, limit=ROWS_MAX),
        closed=request.query_params.get("show") == "closed",
        live="/stream",
        twin="/exceptions.json",
        command="topstitch tasks list",
    )


async def queue_json(request: Request) -> Response:
    """``GET /exceptions.json``."""
    hands: Hands = request.app.state.hands
    return twin({"cases": await items.list_cases(hands.store), "tasks": await items.list_tasks(hands.store)})


def _groups(cases: list[Shown]) -> list[dict[str, Any]]:
    """Group cases by seam and cause, the largest group first."""
    groups: dict[tuple[Any, ...], list[Shown]] = defaultdict(list)
    for case in cases:
        groups[case["from_system"], case["to_system"], case["cause"], case["step"]].append(case)
    found = [
        {
            "from": key[0],
            "to": key[1],
            "cause": key[2],
            "step": key[3],
            "cases": ones,
            "first": ones[0]["opened_at"],
            "last": ones[-1]["opened_at"],
            "remedy": ones[-1]["remedy"],
            "owner": ones[-1]["owner"],
        }
        for key, ones in groups.items()
    ]
    return sorted(found, key=lambda g: len(g["cases"]), reverse=True)


async def case(request: Request) -> Response:
    """``GET /exceptions/{name}``: one case with the way out."""
    site: Site = request.app.state.site
    row = await items.get_case(site.hands.store, request.path_params["name"])
    sight = await look(site.hands, row["instance"])
    known: dict[str, Any] = next((c for c in sight.view["cases"] if c["case"] == row["id"]), {})
    return await site.render(
        request,
        "case.html",
        nav="exceptions",
        title=row["summary"],
        row=row,
        case=known,
        sight=sight,
        twin="/exceptions.json",
    )


async def task(request: Request) -> Response:
    """``GET /tasks/{name}``: what is to be done, and the form it is handed in with."""
    site: Site = request.app.state.site
    return await _task(site, request, request.path_params["name"])


async def _task(site: Site, request: Request, name: str, **more: Any) -> Response:
    row = await items.get_task(site.hands.store, name)
    sight = await look(site.hands, row["instance"])
    shown = next(t for t in sight.view["tasks"] if t["id"] == name)
    person = request.state.person
    known = sight.state.tasks.get(name)
    people = [p for p in (known.people if known else ()) if isinstance(p.get("id"), str)]
    mine = find_person(people, {"id": person.id, **({"email": person.email} if person.email else {})}) is not None
    step = next((s for s in sight.view["steps"] if s["id"] == row["step"]), None)
    return await site.render(
        request,
        "task.html",
        nav="exceptions",
        title=row["title"],
        row=row,
        task=shown,
        sight=sight,
        step=step,
        mine=mine,
        people=people,
        fields=_fields(row["form"] or {}),
        **more,
    )


def _fields(form: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = form.get("required", ())
    return [
        {
            "name": name,
            "needed": name in required,
            "kind": _input_kind(shape),
            "choices": shape.get("enum"),
            "hint": shape.get("description") or shape.get("format") or "",
            "many": shape.get("type") == "array",
        }
        for name, shape in (form.get("properties") or {}).items()
    ]


def _input_kind(shape: Mapping[str, Any]) -> str:
    if shape.get("format") == "date":
        return "date"
    return {"integer": "number", "number": "number", "boolean": "checkbox"}.get(str(shape.get("type")), "text")


async def finish(request: Request) -> Response:
    """``POST /tasks/{name}/done``."""
    hands: Hands = request.app.state.hands
    name = request.path_params["name"]
    row = await items.get_task(hands.store, name)
    form = await sent(request)
    output = _handed_in(row["form"] or {}, form)
    await hands.commands.finish_task(name, request.state.person, output, str(form.get("comment") or "").strip() or None)
    return back(request, f"/instances/{row['instance']}", "Handed in. What was done is read back from the system now.")


def _handed_in(shape: Mapping[str, Any], form: Any) -> dict[str, Any]:
    """Return a form's fields, each in the type that is asked for."""
    output: dict[str, Any] = {}
    for name, each in (shape.get("properties") or {}).items():
        text = str(form.get(f"output.{name}") or "").strip()
        match each.get("type"):
            case "boolean":
                output[name] = bool(text)
            case "integer" if text.lstrip("-").isdigit():
                output[name] = int(text)
            case "array":
                output[name] = [part.strip() for part in text.split(",") if part.strip()]
            case _ if text:
                output[name] = text
            case _:
                continue
    return output


async def fail(request: Request) -> Response:
    """``POST /tasks/{name}/fail``."""
    hands: Hands = request.app.state.hands
    name = request.path_params["name"]
    row = await items.get_task(hands.store, name)
    form = await sent(request)
    await hands.commands.fail_task(name, request.state.person, str(form.get("because") or ""))
    return back(
        request, f"/instances/{row['instance']}", "Noted that it cannot be done; what was declared for that follows."
    )


async def discrepancies(request: Request) -> Response:
    """``GET /discrepancies?show=``."""
    site: Site = request.app.state.site
    resolved = request.query_params.get("show") == "resolved"
    rows = await items.list_discrepancies(site.hands.store, status=None if resolved else "open", limit=ROWS_MAX)
    rows = [r for r in rows if (r["status"] != "open") is resolved][::-1]
    return await site.render(
        request,
        "discrepancies.html",
        nav="discrepancies",
        title="Discrepancies",
        rows=[{**r, "wrong": _wrong(r), "number": ticket_number(r["ticket"])} for r in rows],
        resolved=resolved,
        limit=ROWS_MAX,
        live="/stream",
        names=await alias_titles(site.hands),
        twin="/discrepancies.json",
    )


async def discrepancies_json(request: Request) -> Response:
    """``GET /discrepancies.json``."""
    hands: Hands = request.app.state.hands
    return twin({"items": await items.list_discrepancies(hands.store)})


async def discrepancy(request: Request) -> Response:
    """``GET /discrepancies/{name}``: what was meant, what was committed, what is there."""
    site: Site = request.app.state.site
    row = await items.get_discrepancy(site.hands.store, request.path_params["name"])
    sight = await look(site.hands, row["instance"])
    system = sight.plan.systems.get(row["system"] or "")
    return await site.render(
        request,
        "discrepancy.html",
        nav="discrepancies",
        title=f"{system.title if system else row['system']} differs",
        row=row,
        number=ticket_number(row["ticket"]),
        sight=sight,
        system=system,
        fields=row["fields"] or [],
        checks=sight.view["checks"],
        twin="/discrepancies.json",
    )


def ticket_number(ticket: Any) -> str | None:
    """Return what people call a ticket."""
    if isinstance(ticket, str) and ticket.startswith("{"):
        ticket = parse(ticket)
    if isinstance(ticket, Mapping):
        return str(ticket.get("number") or ticket.get("exception_id") or "") or None
    return str(ticket) if ticket else None


async def alias_titles(hands: Hands) -> dict[str, str]:
    """Return what the aliases of the definitions in force are called by people."""
    plans = [await hands.load(d.digest) for d in await definitions.in_force(hands.store)]
    return {alias: system.title for plan in plans for alias, system in plan.systems.items()}


def _wrong(row: Shown) -> list[Mapping[str, Any]]:
    fields = row["fields"] or []
    return [f for f in fields if f.get("verdict") not in ("match", None)] or list(fields)
