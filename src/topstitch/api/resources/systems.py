"""Connectors: what each connection is, whether it answers, what holds it, everything its system can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from topstitch.api.answers import cut, send, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import PageOf, Reason
from topstitch.connectors.contract import describe
from topstitch.foundation.errors import ConflictError, NotFoundError, TopstitchError
from topstitch.model.orders import Result
from topstitch.model.record import parse_actor
from topstitch.store import pauses

api = router("connectors")


@operation(api, "GET", "/connectors", "connectors.read", shape=PageOf, command="topstitch connections list")
async def list_connectors(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List connections: which system each is, its limits, and what holds it."""
    hands: ApiHands = request.app.state.hands
    held = {pause.subject: pause for pause in await pauses.open_pauses(hands.store)}
    rows = [_shown(hands, alias, held) for alias in hands.connections.connections]
    return cut(request, rows, after, limit)


@operation(api, "GET", "/connectors/{name}", "connectors.read")
async def get_connector(request: Request, name: Id) -> Response:
    """Show one connection; its credentials by name only."""
    hands: ApiHands = request.app.state.hands
    held = {pause.subject: pause for pause in await pauses.open_pauses(hands.store)}
    _require(hands, name)
    return single(request, _shown(hands, name, held))


@operation(api, "GET", "/connectors/{name}/operations", "connectors.read")
async def list_operations(request: Request, name: Id) -> Response:
    """Show what a connection's system can do: every action and event, with its contract."""
    hands: ApiHands = request.app.state.hands
    _require(hands, name)
    contract = hands.contracts.get(hands.connections.connections[name].connector)
    return single(request, describe(contract) if contract is not None else {"actions": []})


@operation(api, "GET", "/connectors/{name}/health", "connectors.read")
async def get_health(request: Request, name: Id) -> Response:
    """Say what is known of a connection without asking its system: whether it is held, since when, why."""
    hands: ApiHands = request.app.state.hands
    held = {pause.subject: pause for pause in await pauses.open_pauses(hands.store)}
    _require(hands, name)
    shown = _shown(hands, name, held)
    return single(request, {"id": name, "ok": shown["paused"] is None, "paused": shown["paused"]})


@operation(api, "POST", "/connectors/{name}/test", "connectors.test", key="optional", command="topstitch doctor")
async def prove_connector(request: Request, name: Id) -> Response:
    """Ask the system whether it answers and takes the credential."""
    hands: ApiHands = request.app.state.hands
    _require(hands, name)
    try:
        outcome = await hands.health(name)
    except TopstitchError as error:
        return send({"id": name, "ok": False, "message": error.message})
    message = outcome.problem.message if outcome.problem else "It answers and takes the credential."
    return send({"id": name, "ok": outcome.result is Result.OK, "message": message})


@operation(api, "POST", "/connectors/{name}/pause", "connectors.pause", key="required",
           command="topstitch connections pause {name} -m REASON")  # fmt: skip
async def pause_connector(request: Request, name: Id, given: Reason) -> Response:
    """Hold every call over a connection; none fails because of it."""
    hands: ApiHands = request.app.state.hands
    _require(hands, name)
    actor = parse_actor(caller_of(request).actor)
    made = await pauses.pause(hands.store, pauses.connection(name), actor, hands.clock.now(), reason=given.reason)
    if made is None:
        raise ConflictError("already", f"{name} is paused already; topstitch connections list says why")
    return send({"id": name, "pause": made.id, "by": made.opened_by})


@operation(api, "POST", "/connectors/{name}/resume", "connectors.pause", key="required",
           command="topstitch connections resume {name} -m REASON")  # fmt: skip
async def resume_connector(request: Request, name: Id, given: Reason) -> Response:
    """Let calls go on; what waited follows within a minute."""
    hands: ApiHands = request.app.state.hands
    _require(hands, name)
    actor = parse_actor(caller_of(request).actor)
    subject = pauses.connection(name)
    done = await pauses.resume(hands.store, subject, actor, hands.clock.now(), because=given.reason)
    return send({"id": name, "pause": done.id, "by": done.closed_by})


def _require(hands: ApiHands, name: str) -> None:
    known = hands.connections.connections
    if name not in known:
        message = f"there is no connection {name!r}; use one of: {', '.join(known) or 'none is configured'}"
        raise NotFoundError("no-connection", message)


def _shown(hands: ApiHands, alias: str, held: Mapping[str, pauses.Pause]) -> dict[str, Any]:
    settings = hands.connections.connections[alias]
    pause = held.get(pauses.connection(alias))
    contract = hands.contracts.get(settings.connector)
    return {
        "id": alias,
        "connector": settings.connector,
        "title": contract.title if contract is not None else alias,
        "base_url": settings.base_url,
        "timeout_ms": round(settings.timeout_seconds * 1000),
        "concurrency": settings.concurrency,
        "credentials": sorted(settings.credentials),
        "paused": None
        if pause is None
        else {"id": pause.id, "cause": pause.cause, "reason": pause.reason, "since": pause.opened_at,
              "by": pause.opened_by},
    }  # fmt: skip
