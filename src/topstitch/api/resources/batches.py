"""Batches: a frozen selection, previewed, then carried out beside the server as single commands are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from topstitch.api.answers import bad_cursor, cut, page, send, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import BatchPreview, BatchStart, PageOf
from topstitch.foundation.errors import ConflictError, NotAllowedError, RequestError, TopstitchError
from topstitch.governance.access import may
from topstitch.model.record import Actor, parse_actor
from topstitch.office import batches as office
from topstitch.store import batches, instances
from topstitch.store.batches import Batch

api = router("batches")
LOG: Final = logging.getLogger("topstitch.api")
SAMPLE: Final = 10
RUNNING_MAX: Final = 20
"""How many batches one process carries out at once."""


@operation(
    api, "POST", "/batches/preview", "batches.run", key="optional", command="topstitch batch preview VERB -q QUERY"
)
async def preview_batch(request: Request, given: BatchPreview) -> Response:
    """Choose instances, freeze the choice, and say what would become of each. Nothing is done yet."""
    hands: ApiHands = request.app.state.hands
    if sum(one is not None for one in (given.q, given.instances, given.group)) != 1:
        raise RequestError("nothing-chosen", "choose the instances by q, by instances or by group: one of them")
    wish = {
        "name": given.action, "step": given.step, "choice": given.choice, "reason": given.reason,
        "edits": list(given.edits),
    }  # fmt: skip
    chosen = {"names": given.instances or [], "q": given.q, "group": given.group}
    await _require_all(request, given.instances)
    made = await office.preview(hands.desk, wish, chosen, parse_actor(caller_of(request).actor))
    items = made["items"]
    impossible = [
        {"instance": one["instance"], "code": one["code"], "message": one["says"][0]} for one in items if not one["ok"]
    ]
    body = {"selection": made["batch"], "count": len(items), "sample": items[:SAMPLE], "impossible": impossible}
    return send({**body, "possible": len(items) - len(impossible)})


@operation(api, "POST", "/batches", "batches.run", status=202, key="required", command="topstitch batch start BATCH")
async def start_batch(request: Request, given: BatchStart) -> Response:
    """Carry out exactly what was previewed, a few a second; say what you looked at."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    seen = await batches.get(hands.store, given.selection)
    await _require_all(request, None)
    for what, is_now, was in (
        ("action", seen.action, given.action),
        ("count", seen.count, given.expect_count),
        ("reason", seen.wish["reason"], given.reason),
    ):
        if is_now != was:
            message = f"the {what} of {given.selection} is {is_now!r}, not {was!r}; look at the preview again"
            raise ConflictError("batch-other", message, detail={"expected": was, "found": is_now})
    running: Batches = request.app.state.batches
    running.require_room(given.selection)
    actor = parse_actor(caller.actor)
    asked = await office.begin(hands.desk, given.selection, actor)
    running.start(hands, given.selection, asked, actor, given.rate)
    location = {"Location": f"/api/v1/batches/{given.selection}"}
    return send(_shown(await batches.get(hands.store, given.selection)), 202, location)


@operation(api, "GET", "/batches", "batches.run", shape=PageOf)
async def list_batches(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List batches, newest first."""
    hands: ApiHands = request.app.state.hands
    await _require_all(request, None)
    return cut(request, [_shown(one) for one in await batches.listing(hands.store)], after, limit)


@operation(api, "GET", "/batches/{name}", "batches.run", command="topstitch batch show {name}")
async def get_batch(request: Request, name: Id) -> Response:
    """Show how far a batch is."""
    hands: ApiHands = request.app.state.hands
    await _require_all(request, None)
    return single(request, _shown(await batches.get(hands.store, name)))


@operation(api, "GET", "/batches/{name}/items", "batches.run", shape=PageOf)
async def list_items(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List the items of a batch in order, and how each went."""
    hands: ApiHands = request.app.state.hands
    await _require_all(request, None)
    await batches.get(hands.store, name)
    if after is not None and (not after.isdigit() or len(after) > 9):
        raise bad_cursor(after)
    rows = await batches.items(hands.store, name, after=int(after) if after else -1, limit=limit + 1)
    shown = rows[:limit]
    return page(request, shown, str(shown[-1]["number"]) if len(rows) > limit else None)


class Batches:
    """The batches that this process carries out."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def require_room(self, name: str) -> None:
        """Raise when it is under way here, or as many are as one process carries out."""
        if any(task.get_name() == f"batch {name}" for task in self._tasks):
            raise ConflictError("batch-started", f"{name} is being carried out; look how it goes on")
        if len(self._tasks) >= RUNNING_MAX:
            message = f"{RUNNING_MAX} batches are being carried out; start this one when one of them is over"
            raise ConflictError("batches-busy", message)

    def start(self, hands: ApiHands, name: str, asked: Mapping[str, Any], actor: Actor, rate: float) -> None:
        """Carry a batch out beside everything else."""
        task = asyncio.create_task(_carry_out(hands, name, asked, actor, rate), name=f"batch {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop them where they are; whoever starts one again goes on with what is left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def idle(self) -> None:
        """Return once none is under way."""
        await asyncio.gather(*self._tasks)


async def _carry_out(hands: ApiHands, name: str, asked: Mapping[str, Any], actor: Actor, rate: float) -> None:
    try:
        await office.carry_out(hands.desk, name, asked, actor, hands.clock, per_second=rate)
    except TopstitchError as error:
        LOG.warning("the batch %s stopped: %s", name, error.message)


def batches_of(app: FastAPI) -> Batches:
    """Return the batches that an application carries out."""
    found: Batches = app.state.batches
    return found


async def _require_all(request: Request, names: list[str] | None) -> None:
    """Raise unless the caller may act on all that is chosen: everywhere, or on each that is named."""
    caller = caller_of(request)
    if may(caller, "batches.run"):
        return
    hands: ApiHands = request.app.state.hands
    rows = [await instances.get(hands.store, name) for name in names or ()]
    if not rows or not all(may(caller, "batches.run", row["workflow"]) for row in rows):
        message = f"{caller.shown} may act on a part of the workflows only; name instances of these"
        raise NotAllowedError("not-allowed", message)


def _shown(one: Batch) -> dict[str, Any]:
    return {
        "id": one.id, "action": one.action, "reason": one.wish["reason"], "count": one.count, "status": one.status,
        "counts": one.counts, "frozen_at": one.frozen_at, "frozen_by": one.frozen_by, "started_at": one.started_at,
        "ended_at": one.ended_at,
    }  # fmt: skip
