"""Seams: what each has come to lately, as the board of the console and ``topstitch seams`` show it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from topstitch.api.answers import cut, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import PageOf
from topstitch.foundation.errors import NotFoundError
from topstitch.governance.access import covered, part_of
from topstitch.metrics.render import seam_data

api = router("seams")
Hours = Annotated[int, Query(ge=1, le=24 * 90, description="Over so many hours.")]
Slots = Annotated[int, Query(ge=1, le=200, description="In so many slots.")]


@operation(api, "GET", "/seams", "seams.read", shape=PageOf, command="topstitch seams")
async def list_seams(request: Request, hours: Hours = 24, limit: Limit = PAGE, after: After = None) -> Response:
    """List every seam of every definition, the worst first: latency, exceptions, what lies there now."""
    return cut(request, await _seams(request, hours, 24), after, limit)


@operation(api, "GET", "/seams/{source}/{target}", "seams.read")
async def get_seam(request: Request, source: Id, target: Id, hours: Hours = 24) -> Response:
    """Show one seam: each handoff that crosses it."""
    return single(request, {"id": f"{source}>{target}", "edges": await _edges(request, source, target, hours, 24)})


@operation(api, "GET", "/seams/{source}/{target}/series", "seams.read")
async def get_series(request: Request, source: Id, target: Id, hours: Hours = 24, slots: Slots = 24) -> Response:
    """Show how long work lay at a seam over time: the median of each slot, oldest first; null without a crossing."""
    edges = await _edges(request, source, target, hours, slots)
    series = [
        {"workflow": one["workflow"], "version": one["version"], "from_step": one["from_step"],
         "to_step": one["to_step"], "p50_ms": one["trend_ms"], "limit_ms": one["limit_ms"]}
        for one in edges
    ]  # fmt: skip
    return single(request, {"id": f"{source}>{target}", "slot_ms": hours * 3_600_000 // slots, "series": series})


async def _edges(request: Request, source: str, target: str, hours: int, slots: int) -> list[dict[str, Any]]:
    rows = await _seams(request, hours, slots)
    edges = [one for one in rows if (one["from_system"], one["to_system"]) == (source, target)]
    if not edges:
        message = f"no definition hands over from {source} to {target}; list the seams and use one from there"
        raise NotFoundError("no-seam", message)
    return edges


async def _seams(request: Request, hours: int, slots: int) -> list[dict[str, Any]]:
    hands: ApiHands = request.app.state.hands
    part = part_of(caller_of(request), "seams.read")
    rows = seam_data(await hands.board(hours, slots))
    return [
        {"id": f"{one['workflow']}@{one['version']}/{one['from_step']}>{one['to_step']}", **one}
        for one in rows
        if covered(part, one["workflow"])
    ]
