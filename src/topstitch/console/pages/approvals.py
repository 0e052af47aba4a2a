"""Approvals: the inbox, the one card that a mail or message leads to, and the decision.

A GET shows and never decides, however often it is fetched and by whom. The decision is a POST of a
signed-in person, for exactly the payload that was shown; ``governance`` judges it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.instance import approval_card
from topstitch.console.people import Person
from topstitch.console.site import Site, back, local_path, sent, twin
from topstitch.governance.approvals import find_person
from topstitch.store import items
from topstitch.store.rows import Shown

TABS = (("mine", "Mine"), ("all", "All open"), ("done", "Decided"))


async def inbox(request: Request) -> Response:
    """``GET /approvals?show=``."""
    site: Site = request.app.state.site
    person: Person = request.state.person
    show, rows = await _rows(request)
    open_rows = await items.list_approvals(site.hands.store)
    counts = {"mine": sum(1 for r in open_rows if asked(person, r)), "all": len(open_rows), "done": None}
    if show == "mine" and not counts["mine"] and "show" not in request.query_params and open_rows:
        show, rows = "all", open_rows
    cards = [await approval_card(site.hands, row["id"]) for row in rows[:25]] if show != "done" else []
    for card in cards:
        card["mine"] = asked(person, card["row"])
    return await site.render(
        request,
        "approvals.html",
        nav="approvals",
        title="Approvals",
        show=show,
        tabs=TABS,
        counts=counts,
        rows=rows,
        cards=cards,
        tasks=await items.list_tasks(site.hands.store),
        live="/stream",
        twin=f"/approvals.json?show={show}",
        command="topstitch approvals list",
    )


async def inbox_json(request: Request) -> Response:
    """``GET /approvals.json?show=``."""
    show, rows = await _rows(request)
    return twin({"show": show, "items": rows})


async def _rows(request: Request) -> tuple[str, list[Shown]]:
    hands: Hands = request.app.state.hands
    show = request.query_params.get("show", "mine")
    rows = await items.list_approvals(hands.store, status=None if show == "done" else "open")
    match show:
        case "done":
            return show, sorted((r for r in rows if r["status"] != "open"), key=lambda r: r["closed_at"], reverse=True)
        case "all":
            return show, sorted(rows, key=lambda r: r["give_up_at"])
        case _:
            return "mine", sorted((r for r in rows if asked(request.state.person, r)), key=lambda r: r["give_up_at"])


def asked(person: Person, row: Shown) -> bool:
    """Whether somebody was asked."""
    people = [p for p in row["people"] or [] if isinstance(p, dict) and isinstance(p.get("id"), str)]
    return find_person(people, {"id": person.id, **({"email": person.email} if person.email else {})}) is not None


async def approval(request: Request) -> Response:
    """``GET /approvals/{name}``: the card alone, without rail and picture, for who comes from a mail."""
    site: Site = request.app.state.site
    card = await approval_card(site.hands, request.path_params["name"])
    card["mine"] = asked(request.state.person, card["row"])
    return await site.render(
        request, "approval.html", nav="approvals", title=card["row"]["title"], card=card, bare=True
    )


async def approval_json(request: Request) -> Response:
    """``GET /approvals/{name}.json``."""
    hands: Hands = request.app.state.hands
    card = await approval_card(hands, request.path_params["name"])
    return twin({**card["row"], "payload": card["payload"], "because": card["because"], "risk": card["risk"]})


async def decide(request: Request) -> Response:
    """``POST /approvals/{name}/decision``: one person's answer."""
    hands: Hands = request.app.state.hands
    name = request.path_params["name"]
    form = await sent(request)
    said = str(form.get("said") or "")
    comment = str(form.get("comment") or "").strip() or None
    if said == "refuse" and comment is None:
        site: Site = request.app.state.site
        card = await approval_card(hands, name)
        card["mine"] = asked(request.state.person, card["row"])
        problem = "Say why: a refusal is kept with its reason."
        return await site.render(
            request,
            "approval.html",
            status=422,
            nav="approvals",
            title=card["row"]["title"],
            card=card,
            problem=problem,
            bare=True,
        )
    digest = str(form.get("digest") or "") or None
    await hands.commands.answer(name, request.state.person, said, comment=comment, digest=digest, via="console")
    word = (
        "Approved. The write goes out with exactly what was shown."
        if said == "approve"
        else "Refused. What follows is on the instance."
    )
    row = await items.get_approval(hands.store, name)
    return back(request, local_path(str(form.get("next") or ""), f"/instances/{row['instance']}"), word)
