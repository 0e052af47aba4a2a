"""The list of instances: searched, counted and paged by one statement; the address is its state."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console import words
from topstitch.console.query import FIELDS, Query, parse_query
from topstitch.console.reads import Page, head_position, search
from topstitch.console.site import Site, twin
from topstitch.foundation.errors import RequestError

CHIPS = (
    ("All", "state", None),
    ("Open", "state", "open"),
    ("Waiting on a person", "has", "approval"),
    ("By hand", "has", "task"),
    ("Exceptions", "has", "case"),
    ("Differs", "has", "discrepancy"),
    ("Ended", "state", "ended"),
)


async def listing(request: Request) -> Response:
    """``GET /instances?q=``."""
    site: Site = request.app.state.site
    text, problem = request.query_params.get("q", ""), None
    try:
        query = parse_query(text)
    except RequestError as error:
        query, problem = Query(text), error.message
    page = Page(rows=(), counts={}, next=None) if problem else await _found(request, query)
    position = await head_position(site.hands.store)
    return await site.render(
        request,
        "instances.html",
        status=422 if problem else 200,
        nav="instances",
        title="Instances",
        query=query,
        problem=problem,
        page=page,
        rows=[marked(row) for row in page.rows],
        chips=_chips(query),
        fields=FIELDS,
        live="/stream",
        position=position,
        twin=request.url.path + ".json" + (f"?{request.url.query}" if request.url.query else ""),
        command=f"topstitch instances -q '{text}'" if text else "topstitch instances",
    )


async def listing_json(request: Request) -> Response:
    """``GET /instances.json?q=``: the same search as data."""
    page = await _found(request, parse_query(request.query_params.get("q", "")))
    return twin({"items": list(page.rows), "counts": dict(page.counts), "total": page.total, "next": page.next})


async def _found(request: Request, query: Query) -> Page:
    site: Site = request.app.state.site
    return await search(site.hands.store, query, site.hands.clock.now(), after=request.query_params.get("after"))


def marked(row: Any) -> dict[str, Any]:
    """Return a row with its state in words and the tone of its worst seam."""
    said = words.instance(
        row["status"],
        asks=bool(row["has_approval"] or row["has_task"]),
        cases=bool(row["has_case"] or row["has_discrepancy"]),
        settled=row["stage"] == "reconciliation",
    )
    return {**row, "said": said, "seam_tone": words.seam_tone(row["worst_ms"]) if row["worst_ms"] is not None else None}


def _chips(query: Query) -> list[tuple[str, str, bool]]:
    """Return quick filters: label, the search it makes, whether it is the one in force."""
    bare = Query(terms=tuple(t for t in query.terms if t[0] not in ("state", "has")), words=query.words)
    found = []
    for label, field, value in CHIPS:
        active = value in query.values(field) if value else not query.values("state") and not query.values("has")
        found.append((label, bare.with_term(field, value), active))
    return found
