"""The audit explorer: records over all instances, and how far they can be trusted, in three levels.

Chain intact is recomputed on demand; anchored means a signed checkpoint lies outside; a checked export
is the auditor's own doing. While nothing lies outside, the badge says self-attested.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.sight import broken_at
from topstitch.console.site import Site, sheet, twin
from topstitch.console.stream import looked_on
from topstitch.foundation.timetext import parse_duration
from topstitch.model.kinds import Kind
from topstitch.model.query import moment_of
from topstitch.store import Store, definitions, instances
from topstitch.store.ledger_reader import open_ledger
from topstitch.store.searches import newest_records

PAGE = 60
RECORDS_VERIFIED_MAX = 200_000


@looked_on
async def explorer(request: Request) -> Response:
    """``GET /audit?kind=&instance=&before=``."""
    return await _explorer(request, None)


@looked_on
async def verify_now(request: Request) -> Response:
    """``POST /audit/verify``: recompute every chain from the stored bytes."""
    hands: Hands = request.app.state.hands
    return await _explorer(request, await verify_all(hands.store))


async def _explorer(request: Request, verdict: dict[str, Any] | None) -> Response:
    site: Site = request.app.state.site
    rows = await _rows(request)
    return await site.render(
        request,
        "audit.html",
        nav="audit",
        title="Audit",
        rows=rows,
        kinds=[str(k) for k in Kind],
        chosen=request.query_params.get("kind", ""),
        instance=request.query_params.get("instance", ""),
        asked={k: request.query_params.get(k, "") for k in ("actor", "workflow", "since")},
        workflows=[d.workflow for d in await definitions.in_force(site.hands.store)],
        may_verify=request.state.person.why_not("audit.verify"),
        more=rows[-1]["position"] if len(rows) == PAGE else None,
        verdict=verdict,
        sealed=await _sealed(site.hands.store),
        live="/stream",
        twin="/audit.json" + (f"?{request.url.query}" if request.url.query else ""),
        sheet="/audit.csv" + (f"?{request.url.query}" if request.url.query else ""),
        command="topstitch audit verify",
    )


async def explorer_json(request: Request) -> Response:
    """``GET /audit.json``."""
    return twin({"items": await _rows(request)})


COLUMNS = ("position", "at", "kind", "instance", "title", "workflow", "step", "stage", "seq", "hash")
EXPORT_MAX = 5000


async def explorer_csv(request: Request) -> Response:
    """``GET /audit.csv``: the same records as a table; the verifiable bundle is the command's."""
    return sheet(COLUMNS, await _rows(request, EXPORT_MAX))


async def _rows(request: Request, limit: int = PAGE) -> list[Any]:
    hands: Hands = request.app.state.hands
    params = request.query_params
    kind, instance, before, actor, workflow = (
        params.get(k) or None for k in ("kind", "instance", "before", "actor", "workflow")
    )
    return await newest_records(
        hands.store,
        kind=kind,
        instance=instance,
        before=int(before) if before and before.isdigit() else None,
        actor=actor,
        workflow=workflow,
        since=_since(params.get("since", ""), hands),
        limit=limit,
    )


def _since(text: str, hands: Hands) -> datetime | None:
    """Read ``24h`` or a time; nothing means always."""
    if not text:
        return None
    try:
        return hands.clock.now() - timedelta(seconds=parse_duration(text))
    except ValueError:
        return moment_of(text)


async def verify_all(store: Store) -> dict[str, Any]:
    """Verify every chain, page by page; stop at a bound and say so."""
    broken: list[str] = []
    counted, names, after = 0, 0, ""
    while counted < RECORDS_VERIFIED_MAX and (heads := await instances.heads(store, after=after, limit=500)):
        for head in heads:
            stored = await instances.stored_records(store, instance=head.instance)
            counted, names = counted + len(stored), names + 1
            bad = broken_at(stored)
            if bad is not None:
                broken.append(f"{head.instance}, record {bad}, is not what was written")
            elif len(stored) != head.seq or (stored and stored[-1].hash != head.hash):
                broken.append(f"{head.instance} ends at record {len(stored)}, its row says {head.seq}")
        after = heads[-1].instance
    return {"records": counted, "instances": names, "broken": broken, "whole": counted < RECORDS_VERIFIED_MAX}


async def _sealed(store: Store) -> dict[str, Any]:
    """Return the newest checkpoint, and where a copy of one lies outside."""

    def read() -> dict[str, Any]:
        with open_ledger(store) as ledger:
            anchored = [a for a in ledger.anchorings() if a.receipt and not a.problem]
            return {
                "checkpoint": ledger.newest_checkpoint(),
                "anchored": anchored[-1] if anchored else None,
                "size": ledger.size(),
            }

    return await run_in_threadpool(read) if store.url != "sqlite::memory:" else read()


__all__ = ["explorer", "explorer_json", "verify_all", "verify_now"]
