"""Acts on exception cases: take, retry or waive one, or all of one cause, with a reason and an outcome for each.

The page is asked for with a GET that shows which cases are meant; the POST acts on exactly those. What an act
records is ``office.cases``' matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.bulk import Bulk
from topstitch.console.site import Site, back, sent_pairs
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.model.record import Actor, ActorKind
from topstitch.office import cases
from topstitch.office.selections import one_by_one

VERBS: Final = {
    "take": ("Take", "Taken", "They become your matter; nothing is sent."),
    "retry": ("Retry", "Tried again", "The step is tried again and its case closed; a paused connection is resumed."),
    "waive": ("Waive", "Waived", "The case is closed as it is, with your reason; nothing is sent."),
}
CASES_MAX: Final = 200
A_SECOND: Final = 20.0


async def ask(request: Request) -> Response:
    """``GET /exceptions/act?verb=&group=&case=``: which cases are meant, and what would become of them."""
    verb = _verb(request.query_params.get("verb", ""))
    bulk: Bulk = request.app.state.bulk
    chosen = await _chosen(bulk, request.query_params.getlist("case"), request.query_params.get("group"))
    return await _page(request, verb, chosen)


async def act(request: Request) -> Response:
    """``POST /exceptions/act``: act on exactly the cases of the form."""
    bulk: Bulk = request.app.state.bulk
    person = request.state.person
    why = person.why_not("operate")
    if why is not None:
        raise NotAllowedError("not-allowed", f"you may not act on cases; {why}")
    pairs = await sent_pairs(request)
    form = dict(pairs)
    verb, reason = _verb(form.get("verb", "")), form.get("reason", "").strip()
    if not reason:
        raise RequestError("no-reason", "an act on a case is kept with its reason; say why")
    chosen = await _chosen(bulk, [value for name, value in pairs if name == "case"], None, every=True)
    actor = Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))
    by_id = {str(case["id"]): case for case in chosen}

    async def do(name: str) -> int | None:
        return await cases.on_case(bulk.desk, by_id[name], actor, reason, verb)

    results = await one_by_one(list(by_id), do, SystemClock(), per_second=A_SECOND)
    if len(results) == 1 and results[0].ok:
        return back(request, f"/exceptions/{results[0].item}", f"{VERBS[verb][1]}, and kept with your reason.")
    return await _page(request, verb, chosen, {one.item: one for one in results})


def _verb(verb: str) -> str:
    if verb not in VERBS:
        raise NotFoundError("unknown-command", f"a case cannot be {verb or 'acted on'} so; take, retry or waive it")
    return verb


async def _chosen(
    bulk: Bulk, names: Sequence[str], group: str | None, *, every: bool = False
) -> list[Mapping[str, Any]]:
    known = await cases.cases_of(bulk.desk, every=every)
    found = [case for case in known if str(case["id"]) in names or (group and cases.group_of(case) == group)]
    if not found:
        raise NotFoundError("no-case", "none of these cases is open any more; look at the list of exceptions")
    return list(found[:CASES_MAX])


async def _page(
    request: Request, verb: str, chosen: Sequence[Mapping[str, Any]], results: Mapping[str, Any] | None = None
) -> Response:
    site: Site = request.app.state.site
    count = len(chosen)
    return await site.render(
        request,
        "act.html",
        nav="exceptions",
        title=f"{VERBS[verb][0]} {count} {'case' if count == 1 else 'cases'}",
        verb=verb,
        explained=VERBS[verb][2],
        chosen=chosen,
        group=cases.group_of(chosen[0]),
        results=results,
        why_not=request.state.person.why_not("operate"),
        command=f"topstitch exceptions {verb} {_meant(chosen)} --reason '…'",
    )


def _meant(chosen: Sequence[Mapping[str, Any]]) -> str:
    """Return how a command names these cases: one by its id, more by their cause."""
    return str(chosen[0]["id"]) if len(chosen) == 1 else f"--group {quote(cases.group_of(chosen[0]))}"
