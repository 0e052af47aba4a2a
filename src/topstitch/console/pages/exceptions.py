"""What went wrong and waits for a person: cases by cause, and tasks by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.bulk import Bulk
from topstitch.console.hands import Hands
from topstitch.console.pages.sight import look
from topstitch.console.rights import theirs
from topstitch.console.site import Site, back, sent, sheet, twin, who
from topstitch.console.stream import looked_on
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import RequestError
from topstitch.governance.approvals import find_person
from topstitch.model.query import parse_query
from topstitch.office.cases import case_of, cases_of, grouped
from topstitch.store import definitions, items
from topstitch.store.searches import among

ROWS_MAX = 200


@looked_on
async def queue(request: Request) -> Response:
    """``GET /exceptions?show=&q=``: open cases grouped by cause, and open tasks."""
    site: Site = request.app.state.site
    hands, show = site.hands, request.query_params.get("show", "open")
    query, unreadable = asked_for(request)
    cases = await _cases(request)
    closed = [c["closed_at"] for c in await _known(request, every=True) if c["closed_at"]] if not cases else []
    return await site.render(
        request,
        "exceptions.html",
        nav="exceptions",
        title="Exceptions",
        groups=_groups(cases),
        cases=cases,
        limit=ROWS_MAX,
        names=await system_names(hands),
        tasks=await matching(request, await _tasks(request)),
        q=query,
        unreadable=unreadable,
        closed=show == "closed",
        mine=show == "mine",
        last_closed=max(closed, default=None),
        live="/stream",
        twin=f"/exceptions.json?{request.url.query}",
        sheet=f"/exceptions.csv?{request.url.query}",
        command="topstitch exceptions list",
    )


async def queue_json(request: Request) -> Response:
    """``GET /exceptions.json?show=``."""
    tasks = await matching(request, await _tasks(request), strict=True)
    return twin({"cases": await _cases(request, strict=True), "tasks": tasks})


async def queue_csv(request: Request) -> Response:
    """``GET /exceptions.csv?show=``."""
    columns = ("id", "instance", "instance_title", "step", "cause", "from_system", "to_system", "owner", "status")
    return sheet((*columns, "summary", "remedy", "opened_at", "closed_at"), await _cases(request, strict=True))


async def _known(request: Request, *, every: bool) -> list[dict[str, Any]]:
    bulk: Bulk = request.app.state.bulk
    return theirs(request, "exceptions.read", await cases_of(bulk.desk, every=every))


async def _tasks(request: Request, limit: int = ROWS_MAX) -> list[Any]:
    hands: Hands = request.app.state.hands
    return theirs(request, "tasks.read", await items.list_tasks(hands.store, limit=limit))


def asked_for(request: Request) -> tuple[str, str | None]:
    """Return the search of a list, and why it cannot be read where it cannot."""
    text = request.query_params.get("q", "")
    try:
        parse_query(text)
    except RequestError as error:
        return text, error.message
    return text, None


async def matching(request: Request, rows: Sequence[Any], *, strict: bool = False) -> list[Any]:
    """Return the rows whose instances match the list's search: the language that instances are searched with.

    A search that cannot be read finds nothing, and the page says why; ``strict`` raises instead.
    """
    text, unreadable = asked_for(request)
    if not text.strip():
        return list(rows)
    if unreadable and not strict:
        return []
    hands: Hands = request.app.state.hands
    known = {row["instance"] for row in rows if row["instance"]}
    found = await among(hands.store, parse_query(text), hands.clock.now(), known)
    return [row for row in rows if row["instance"] in found]


async def _cases(request: Request, *, strict: bool = False) -> list[dict[str, Any]]:
    show, person = request.query_params.get("show", "open"), request.state.person
    known = await matching(request, await _known(request, every=show == "closed"), strict=strict)
    if show == "closed":
        return [c for c in known if c["status"] != "open"][::-1][:ROWS_MAX]
    return [c for c in known if show != "mine" or who(c["owner"]) == who(person.id)][:ROWS_MAX]


def _groups(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group cases by cause, the largest group first."""
    found = [
        {
            "group": name,
            "from": ones[0]["from_system"],
            "to": ones[0]["to_system"],
            "cases": ones,
            "first": ones[0]["opened_at"],
            "last": ones[-1]["opened_at"],
            "remedy": ones[-1]["remedy"],
            "owners": sorted({str(one["owner"]) for one in ones}),
        }
        for name, ones in grouped(cases).items()
    ]
    return sorted(found, key=lambda g: len(g["cases"]), reverse=True)


async def case(request: Request) -> Response:
    """``GET /exceptions/{name}``: one case with the way out."""
    site: Site = request.app.state.site
    bulk: Bulk = request.app.state.bulk
    row = await case_of(bulk.desk, request.path_params["name"])
    sight = await look(site.hands, row["instance"]) if row["instance"] else None
    listed = sight.view["cases"] if sight else ()
    known: dict[str, Any] = next((c for c in listed if c["case"] == row["id"]), {})
    return await site.render(
        request,
        "case.html",
        nav="exceptions",
        title=row["summary"],
        row=row,
        case=known,
        sight=sight,
        names=await system_names(site.hands),
        why_not=request.state.person.why_not("operate"),
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


def ticket_number(ticket: Any) -> str | None:
    """Return what people call a ticket."""
    if isinstance(ticket, str) and ticket.startswith("{"):
        ticket = parse(ticket)
    if isinstance(ticket, Mapping):
        return str(ticket.get("number") or ticket.get("exception_id") or "") or None
    return str(ticket) if ticket else None


async def system_names(hands: Hands) -> dict[str, str]:
    """Return what people call systems, by the aliases of the definitions in force and by the connectors' names."""
    plans = [await hands.load(d.digest) for d in await definitions.in_force(hands.store)]
    systems = [(alias, system) for plan in plans for alias, system in plan.systems.items()]
    return {system.connector.partition("@")[0]: system.title for _, system in systems} | {
        alias: system.title for alias, system in systems
    }
