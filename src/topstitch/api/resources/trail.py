"""The audit trail: every record as it was written, verification, checkpoints, exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from topstitch.api.answers import bad_cursor, cut, page, send
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Limit, operation, router
from topstitch.api.shapes import ExportGiven, PageOf
from topstitch.audit.export import Format, export
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.governance.access import may
from topstitch.store import ledger, searches
from topstitch.store.ledger_reader import open_ledger
from topstitch.store.sealing import milliseconds

api = router("audit")
FAR_MS: Final = 1 << 50
LINES_MAX: Final = 200_000
Kind = Annotated[str | None, Query(max_length=100, pattern="^[a-z_.]+$", description="Only records of this kind.")]
Instance = Annotated[str | None, Query(max_length=200, pattern="^[A-Za-z0-9_-]+$", description="Only of this one.")]


@operation(api, "GET", "/audit", "audit.read", shape=PageOf)
async def list_records(
    request: Request, kind: Kind = None, instance: Instance = None, limit: Limit = PAGE, after: After = None
) -> Response:
    """List records over all instances, newest first, without their bodies."""
    hands: ApiHands = request.app.state.hands
    _require_whole(request, "audit.read")
    if after is not None and (not after.isdigit() or len(after) > 15):
        raise bad_cursor(after)
    rows = await searches.newest_records(
        hands.store, kind=kind, instance=instance, before=int(after) if after else None, limit=limit + 1
    )
    shown = rows[:limit]
    return page(request, shown, str(shown[-1]["position"]) if len(rows) > limit else None)


@operation(api, "POST", "/audit/verify", "audit.verify", command="topstitch audit verify")
async def verify_trail(request: Request) -> Response:
    """Verify chains, tree, signatures and anchors; the answer says how far it reaches."""
    hands: ApiHands = request.app.state.hands
    _require_whole(request, "audit.verify")
    return send(await hands.auditing.verify())


@operation(api, "GET", "/audit/checkpoints", "audit.read", shape=PageOf)
async def list_checkpoints(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the signed roots of the tree, newest first, as whoever keeps them outside has them."""
    hands: ApiHands = request.app.state.hands
    with open_ledger(hands.store) as reader:
        found = reader.checkpoints()
    rows = [
        {"id": str(one.number), "size": one.size, "root": one.root, "note": one.note, "made_at": one.made_at}
        for one in reversed(found)
    ]
    return cut(request, rows, after, limit)


@operation(api, "POST", "/audit/checkpoints", "audit.seal", status=201, key="required",
           command="topstitch audit checkpoint")  # fmt: skip
async def make_checkpoint(request: Request) -> Response:
    """Sign the tree as it is now, and take it to the anchors."""
    hands: ApiHands = request.app.state.hands
    _require_whole(request, "audit.seal")
    await hands.auditing.seal()
    newest = await ledger.newest_checkpoint(hands.store)
    if newest is None:
        raise NotFoundError(
            "nothing-to-sign", "there is no record yet, so there is nothing to sign; send an event first"
        )
    body = {"id": str(newest.number), "size": newest.size, "root": newest.root, "note": newest.note}
    return send({**body, "made_at": newest.made_at}, 201)


@operation(api, "POST", "/audit/exports", "audit.export", media=("application/x-ndjson", "text/csv"),
           command="topstitch audit export --format jsonl")  # fmt: skip
async def export_records(request: Request, given: ExportGiven) -> Response:
    """Return the records of a time for other programs, in the order in which they were written."""
    hands: ApiHands = request.app.state.hands
    _require_whole(request, "audit.export")
    since = milliseconds(given.since) if given.since else 0
    until = milliseconds(given.until) if given.until else FAR_MS
    with open_ledger(hands.store) as reader:
        text = "".join(_bounded(export(reader.in_order(since, until), Format(given.format))))
    media = {"jsonl": "application/x-ndjson", "ocsf": "application/x-ndjson", "csv": "text/csv"}[given.format]
    return Response(text, media_type=media)


def _bounded(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number >= LINES_MAX:
            message = f"more than {LINES_MAX:,} records match; narrow the time, or use topstitch audit export"
            raise RequestError("export-too-large", message)
        yield line


def _require_whole(request: Request, rule: str) -> None:
    """Raise unless the caller may see every workflow: the trail is one."""
    caller: Any = caller_of(request)
    if not may(caller, rule):
        message = f"{caller.shown} holds {rule} for a part of the workflows only, and the trail is of all of them"
        raise NotAllowedError("not-allowed", f"{message}; look at single instances, or ask an admin")
