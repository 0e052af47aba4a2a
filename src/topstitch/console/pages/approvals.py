"""Approvals: the inbox, the one card that a mail or message leads to, and the decision.

A GET shows and never decides, however often it is fetched and by whom. The decision is a POST of a
signed-in person, for exactly the payload that was shown; ``governance`` judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.instance import approval_card
from topstitch.console.people import Person
from topstitch.console.rights import theirs
from topstitch.console.site import Site, back, local_path, sent, sheet, twin, who
from topstitch.console.stream import looked_on
from topstitch.console.together import alike
from topstitch.execution.operate import Command
from topstitch.governance.approvals import find_person
from topstitch.office.standing import delegations_of
from topstitch.store import items
from topstitch.store.rows import Shown

TABS = (
    ("mine", "Mine"),
    ("groups", "My groups'"),
    ("delegated", "Delegated to me"),
    ("all", "All open"),
    ("done", "Decided"),
)
COLUMNS = (
    "id", "title", "instance", "instance_title", "workflow", "step", "status", "asked_at", "give_up_at", "quorum",
    "closed_at", "closed_by", "waited_ms",
)  # fmt: skip
WEEK = timedelta(days=7)


@looked_on
async def inbox(request: Request) -> Response:
    """``GET /approvals?show=``."""
    site: Site = request.app.state.site
    show, rows = await _rows(request)
    open_rows = theirs(request, "approvals.read", await items.list_approvals(site.hands.store))
    counts: dict[str, int | None] = {key: len(await _of(request, key, open_rows)) for key, _ in TABS[:3]}
    counts |= {"all": len(open_rows), "done": None}
    if show == "mine" and not counts["mine"] and "show" not in request.query_params and open_rows:
        show, rows = "all", open_rows
    cards = [await approval_card(site.hands, row["id"]) for row in rows[:25]] if show != "done" else []
    for card in cards:
        card["mine"] = await is_mine(request, card["row"])
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
        together=alike(cards) if show != "done" and not request.state.person.why_not("approve") else [],
        decided=await _decided(request) if not counts["mine"] else None,
        live="/stream",
        twin=f"/approvals.json?show={show}",
        sheet=f"/approvals.csv?show={show}",
        command="topstitch approvals list",
    )


async def inbox_json(request: Request) -> Response:
    """``GET /approvals.json?show=``."""
    show, rows = await _rows(request)
    return twin({"show": show, "items": rows})


async def inbox_csv(request: Request) -> Response:
    """``GET /approvals.csv?show=``."""
    return sheet(COLUMNS, (await _rows(request))[1])


async def _rows(request: Request) -> tuple[str, list[Shown]]:
    hands: Hands = request.app.state.hands
    show = request.query_params.get("show", "mine")
    show = show if any(show == key for key, _ in TABS) else "mine"
    found = await items.list_approvals(hands.store, status=None if show == "done" else "open")
    rows = theirs(request, "approvals.read", found)
    if show == "done":
        return show, sorted((r for r in rows if r["status"] != "open"), key=lambda r: r["closed_at"], reverse=True)
    return show, sorted(await _of(request, show, rows), key=lambda r: r["give_up_at"])


async def _of(request: Request, show: str, rows: Sequence[Shown]) -> list[Shown]:
    """Return the approvals of a tab: asked of me, of a group of mine, of somebody who handed theirs to me."""
    hands: Hands = request.app.state.hands
    person: Person = request.state.person
    match show:
        case "mine":
            return [r for r in rows if asked(person, r)]
        case "groups":
            return [r for r in rows if (seat(person, r) or {}).get("for", "").startswith("group:")]
        case "delegated":
            now = hands.clock.now()
            held = [d for d in await delegations_of(hands.store) if d.holds(now) and who(d.delegate) == who(person.id)]
            return [r for r in rows if not asked(person, r) and any(_hands_over(d.grantor, r) for d in held)]
        case _:
            return list(rows)


def _hands_over(grantor: str, row: Shown) -> bool:
    return find_person(_people(row), {"id": who(grantor)}) is not None


async def _decided(request: Request) -> dict[str, Any]:
    """Return how many decisions were made in the last week, and how long the middle one waited."""
    hands: Hands = request.app.state.hands
    since = hands.clock.now() - WEEK
    rows = theirs(request, "approvals.read", await items.list_approvals(hands.store, status=None, limit=1000))
    waited = [r["waited_ms"] for r in rows if r["closed_at"] and r["closed_at"] >= since and r["waited_ms"] is not None]
    return {"count": len(waited), "median": median(waited) if waited else None}


def _people(row: Shown) -> list[Any]:
    return [p for p in row["people"] or [] if isinstance(p, dict) and isinstance(p.get("id"), str)]


def seat(person: Person, row: Shown) -> dict[str, Any] | None:
    """Return as whom somebody was asked, or nothing."""
    spoken = {"id": person.id, **({"email": person.email} if person.email else {})}
    found = find_person(_people(row), spoken)
    return dict(found) if found is not None else None


def asked(person: Person, row: Shown) -> bool:
    """Whether somebody was asked."""
    return seat(person, row) is not None


async def is_mine(request: Request, row: Shown) -> bool:
    """Whether somebody was asked, or stands in for somebody who was."""
    return asked(request.state.person, row) or bool(await _of(request, "delegated", [row]))


async def approval(request: Request) -> Response:
    """``GET /approvals/{name}``: the card alone, without rail and picture, for who comes from a mail."""
    site: Site = request.app.state.site
    card = await approval_card(site.hands, request.path_params["name"])
    card["mine"] = await is_mine(request, card["row"])
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
        card["mine"] = await is_mine(request, card["row"])
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


async def reassign(request: Request) -> Response:
    """``POST /approvals/{name}/reassign``: ask somebody else too; they are told, and who asked for it never decides."""
    hands: Hands = request.app.state.hands
    name = request.path_params["name"]
    form = await sent(request)
    to, row = form.get("to", "").strip(), await items.get_approval(hands.store, name)
    people = ({"id": to, "email": to, "for": "reassigned"},) if to else ()
    wish = Command(name="reassign", reason=form.get("reason", ""), item=name, people=people)
    await hands.commands.operate(row["instance"], request.state.person, wish)
    return back(request, f"/approvals/{name}", f"{to} is asked now, and is told.")
