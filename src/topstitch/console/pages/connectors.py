"""Connectors: what each connection is, whether it answers, its limits, and everything its system can do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.connectors.connections import ConnectionSettings
from topstitch.console.hands import Hands
from topstitch.console.rights import part_seen
from topstitch.console.site import Site, back, sent, sheet, twin
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError, TopstitchError
from topstitch.governance.access import covered
from topstitch.model.orders import Result
from topstitch.model.record import Actor, ActorKind
from topstitch.store import definitions, pauses
from topstitch.store.searches import step_failures


async def listing(request: Request) -> Response:
    """``GET /connectors``."""
    site: Site = request.app.state.site
    return await site.render(
        request,
        "connectors.html",
        nav="connectors",
        title="Connectors",
        rows=await _rows(request),
        twin="/connectors.json",
        sheet="/connectors.csv",
        command="topstitch doctor",
    )


async def listing_json(request: Request) -> Response:
    """``GET /connectors.json``."""
    rows = await _rows(request)
    hidden = ("contract", "settings", "pause", "seams")
    items = [{k: v for k, v in row.items() if k not in hidden} | {"paused": row["pause"] is not None} for row in rows]
    return twin({"items": items})


COLUMNS = (
    "alias", "title", "kind", "connector", "base_url", "paused", "limits", "reads", "writes", "used_by", "failures",
)  # fmt: skip


async def listing_csv(request: Request) -> Response:
    """``GET /connectors.csv``."""
    rows = await _rows(request)
    return sheet(COLUMNS, [{**row, "paused": row["pause"] is not None} for row in rows])


async def pause(request: Request) -> Response:
    """``POST /connectors/{alias}/pause``: send nothing over a connection, or over a seam that ends at it."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    alias, reason = request.path_params["alias"], form.get("reason", "").strip()
    if not reason:
        raise RequestError("no-reason", "a pause is kept with its reason; say why")
    actor = Actor(ActorKind.HUMAN, request.state.person.id.removeprefix("human:"))
    made = await pauses.pause(hands.store, pauses.connection(alias), actor, hands.clock.now(), reason=reason)
    said = "Nothing is sent over it until it is resumed; deadlines keep running." if made else "It was paused already."
    return back(request, f"/connectors/{alias}", said)


async def resume(request: Request) -> Response:
    """``POST /connectors/{alias}/resume``."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    alias, reason = request.path_params["alias"], form.get("reason", "").strip()
    if not reason:
        raise RequestError("no-reason", "a resumption is kept with its reason; say why")
    actor = Actor(ActorKind.HUMAN, request.state.person.id.removeprefix("human:"))
    await pauses.resume(hands.store, pauses.connection(alias), actor, hands.clock.now(), because=reason)
    return back(request, f"/connectors/{alias}", "Calls are made again from now on.")


async def connector(request: Request) -> Response:
    """``GET /connectors/{alias}``."""
    return await _connector(request, None)


async def prove(request: Request) -> Response:
    """``POST /connectors/{alias}/test``: ask the system whether it answers and takes the credential."""
    hands: Hands = request.app.state.hands
    why = request.state.person.why_not("connectors.test")
    if why is not None:
        raise NotAllowedError("not-allowed", f"you may not test connections; {why}")
    if hands.health is None:
        raise NotFoundError("no-health", "this console is not connected to the systems; use topstitch doctor")
    try:
        outcome = await hands.health(request.path_params["alias"])
        said = {
            "ok": outcome.result is Result.OK,
            "text": outcome.problem.message if outcome.problem else "It answers and takes the credential.",
        }
    except TopstitchError as error:
        said = {"ok": False, "text": error.message}
    return await _connector(request, said)


async def _connector(request: Request, proof: dict[str, Any] | None) -> Response:
    site: Site = request.app.state.site
    alias = request.path_params["alias"]
    row = next((r for r in await _rows(request) if r["alias"] == alias), None)
    if row is None:
        raise NotFoundError("no-connection", f"there is no connection {alias}; see the list of connectors")
    return await site.render(
        request,
        "connector.html",
        nav="connectors",
        title=row["title"],
        row=row,
        proof=proof,
        may_pause=request.state.person.why_not("connectors.pause"),
        can_test=site.hands.health is not None,
    )


async def _rows(request: Request) -> list[dict[str, Any]]:
    """Return every connection, and every system that definitions name without one.

    Whoever sees a part of the workflows sees those that one of them uses.
    """
    hands: Hands = request.app.state.hands
    part = part_seen(request, "connectors.read")
    mine = [d for d in await definitions.in_force(hands.store) if covered(part, d.workflow)]
    plans = [await hands.load(d.digest) for d in mine]
    failures = await step_failures(hands.store, hands.clock.now() - timedelta(hours=24), part)
    known = dict(hands.connections.connections) if hands.connections else {}
    paused = {one.subject: one for one in await pauses.open_pauses(hands.store)}
    aliases = {alias: system for plan in plans for alias, system in plan.systems.items()}
    rows = []
    for alias in [*(a for a in known if part is None or a in aliases), *(a for a in aliases if a not in known)]:
        settings = known.get(alias)
        ref = settings.connector if settings else aliases[alias].connector
        contract = hands.contracts.get(ref)
        used = [(p.workflow, sorted(_used(p, alias))) for p in plans if alias in p.systems]
        rows.append(
            {
                "alias": alias,
                "connector": ref,
                "title": contract.title if contract else ref,
                "kind": contract.kind if contract else "",
                "contract": contract,
                "settings": settings,
                "base_url": settings.base_url if settings else None,
                "limits": _limits(settings),
                "used_by": [w for w, _ in used],
                "used_actions": sorted({a for _, actions in used for a in actions}),
                "reads": sum(1 for a in contract.actions.values() if not a.writes) if contract else 0,
                "writes": sum(1 for a in contract.actions.values() if a.writes) if contract else 0,
                "failures": failures.get(alias, 0),
                "pause": paused.get(pauses.connection(alias)),
                "seams": [one for one in paused.values() if one.kind == pauses.SEAM and alias in one.name.split(">")],
                "credentials": sorted(settings.credentials) if settings else [],
            }
        )
    return rows


def _used(plan: Any, alias: str) -> set[str]:
    found = {read.action.name for read in plan.context.values() if read.system == alias}
    for step in plan.steps.values():
        for act in (step.act, step.undo):
            if act is not None:
                found |= {act.action.name} if act.system == alias else set()
                found |= {e.action.name for e in act.expects if e.system == alias}
    return found | {record.action.name for record in plan.reconcile.records if record.system == alias}


def _limits(settings: ConnectionSettings | None) -> list[str]:
    if settings is None:
        return ["not configured"]
    rate = [f"{settings.rate.per_second:g} calls a second"] if settings.rate else ["no rate limit"]
    return [*rate, f"{settings.concurrency} at once", f"{settings.timeout_seconds:g} s a call"]
