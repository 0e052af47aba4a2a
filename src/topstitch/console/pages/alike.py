"""Approves several questions at once that ask the very same: one look, one reason, an outcome for each.

Together stand only questions of a low risk tier that were asked of the same person by the same step of the same
definition with the same payload. The GET shows exactly which are meant; the POST answers exactly those, each for
the payload that was shown. Refusing is done one by one, and ``governance`` judges every answer as any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.approvals import is_mine
from topstitch.console.pages.instance import approval_card
from topstitch.console.site import Site, sent_pairs
from topstitch.console.together import TOGETHER_MAX, Card, alike
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import ConflictError, RequestError
from topstitch.governance.approvals import APPROVE
from topstitch.office.selections import one_by_one

A_SECOND: Final = 20.0


async def ask(request: Request) -> Response:
    """``GET /approvals/alike?approval=``: what the questions have in common, and which they are."""
    return await _page(request, await _chosen(request, request.query_params.getlist("approval")))


async def approve(request: Request) -> Response:
    """``POST /approvals/alike``: approve exactly the questions of the form, each for the payload that was shown."""
    hands: Hands = request.app.state.hands
    pairs = await sent_pairs(request)
    shown = dict(value.split(" ", 1) for name, value in pairs if name == "approval" and " " in value)
    comment = dict(pairs).get("comment", "").strip() or None
    chosen = await _chosen(request, list(shown))

    async def do(name: str) -> None:
        person = request.state.person
        await hands.commands.answer(name, person, APPROVE, comment=comment, digest=shown[name], via="console")

    results = await one_by_one([card["row"]["id"] for card in chosen], do, SystemClock(), per_second=A_SECOND)
    return await _page(request, chosen, {one.item: one for one in results})


async def _chosen(request: Request, names: Sequence[str]) -> list[Card]:
    """Return the cards of these questions; raise when they are not the very same."""
    hands: Hands = request.app.state.hands
    names = list(dict.fromkeys(names))
    if not 1 < len(names) <= TOGETHER_MAX:
        message = f"between 2 and {TOGETHER_MAX} questions are approved together; choose them in the inbox"
        raise RequestError("not-alike", message)
    cards = [await approval_card(hands, name) for name in names]
    for card in cards:
        card["mine"] = await is_mine(request, card["row"])
    groups = alike(cards)
    if not groups or len(groups[0]) != len(names):
        message = "these questions do not ask the very same of you (any more); look at the inbox again"
        raise ConflictError("not-alike", message)
    return groups[0]


async def _page(request: Request, chosen: Sequence[Card], results: Mapping[str, Any] | None = None) -> Response:
    site: Site = request.app.state.site
    title = f"Approve {len(chosen)} together"
    person = request.state.person
    return await site.render(
        request,
        "alike.html",
        nav="approvals",
        title=title,
        chosen=chosen,
        first=chosen[0],
        results=results,
        why_not=person.why_not("approve"),
    )
