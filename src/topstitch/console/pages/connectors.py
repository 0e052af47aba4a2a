"""Connectors: what each connection is, whether it answers, its limits, and everything its system can do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.connectors.connections import ConnectionSettings
from topstitch.console.hands import Hands
from topstitch.console.reads import step_failures
from topstitch.console.site import Site, twin
from topstitch.foundation.errors import NotAllowedError, NotFoundError, TopstitchError
from topstitch.model.orders import Result
from topstitch.store import definitions


async def listing(request: Request) -> Response:
    """``GET /connectors``."""
    site: Site = request.app.state.site
    return await site.render(
        request,
        "connectors.html",
        nav="connectors",
        title="Connectors",
        rows=await _rows(site.hands),
        twin="/connectors.json",
        command="topstitch doctor",
    )


async def listing_json(request: Request) -> Response:
    """``GET /connectors.json``."""
    rows = await _rows(request.app.state.hands)
    return twin({"items": [{k: v for k, v in row.items() if k not in ("contract", "settings")} for row in rows]})


async def connector(request: Request) -> Response:
    """``GET /connectors/{alias}``."""
    return await _connector(request, None)


async def prove(request: Request) -> Response:
    """``POST /connectors/{alias}/test``: ask the system whether it answers and takes the credential."""
    hands: Hands = request.app.state.hands
    why = request.state.person.why_not("operate")
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
    row = next((r for r in await _rows(site.hands) if r["alias"] == alias), None)
    if row is None:
        raise NotFoundError("no-connection", f"there is no connection {alias}; see the list of connectors")
    return await site.render(
        request,
        "connector.html",
        nav="connectors",
        title=row["title"],
        row=row,
        proof=proof,
        can_test=site.hands.health is not None,
    )


async def _rows(hands: Hands) -> list[dict[str, Any]]:
    """Return every connection, and every system that definitions name without one."""
    plans = [await hands.load(d.digest) for d in await definitions.in_force(hands.store)]
    failures = await step_failures(hands.store, hands.clock.now() - timedelta(hours=24))
    known = dict(hands.connections.connections) if hands.connections else {}
    aliases = {alias: system for plan in plans for alias, system in plan.systems.items()}
    rows = []
    for alias in [*known, *(a for a in aliases if a not in known)]:
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
