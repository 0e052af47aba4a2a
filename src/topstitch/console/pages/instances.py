"""The list of instances: searched, counted and paged by one statement; the address is its state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console import words
from topstitch.console.hands import Hands
from topstitch.console.histogram import BARS, histogram_svg
from topstitch.console.site import Site, back, local_path, sent, sheet, twin
from topstitch.console.stream import looked_on
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_duration, rfc3339
from topstitch.governance.access import part_of
from topstitch.model.query import FIELDS, Query, moment_of, parse_query
from topstitch.store import definitions, views
from topstitch.store.searches import Page, head_position, search, spread

CHIPS = (
    ("All", "state", None),
    ("Open", "state", "open"),
    ("Waiting on a person", "has", "approval"),
    ("By hand", "has", "task"),
    ("Exceptions", "has", "case"),
    ("Differs", "has", "discrepancy"),
    ("Ended", "state", "ended"),
)
COLUMNS = {
    "state": "State",
    "waiting": "Waiting on",
    "workflow": "Workflow",
    "worst": "Worst seam",
    "differs": "Differs",
    "started": "Started",
    "changed": "Changed",
    "ended": "Ended",
}
"""What may stand beside what an instance is about."""
SHOWN = ("state", "waiting", "workflow", "worst", "differs", "started")
"""The columns of somebody who has chosen none."""
COLUMNS_COOKIE = "topstitch_columns"
BY = {"started": "started_at", "changed": "changed_at"}
RANGE_HOURS = 24
EXPORT_MAX = 5000
"""How many rows one CSV file holds; it says so when there are more."""
TABLE = (
    "id", "title", "correlation", "workflow", "version", "status", "stage", "waiting_on", "worst_ms",
    "has_approval", "has_task", "has_case", "has_discrepancy", "started_at", "changed_at", "ended_at",
)  # fmt: skip
VERBS = (
    ("retry", "Retry a step"),
    ("skip", "Skip a step"),
    ("pause", "Pause"),
    ("resume", "Resume"),
    ("cancel-rollback", "Cancel and take back"),
    ("cancel-stop", "Cancel and keep what is done"),
    ("edit", "Change data only"),
)


@looked_on
async def listing(request: Request) -> Response:
    """``GET /instances?q=&by=``."""
    site: Site = request.app.state.site
    text, problem = request.query_params.get("q", ""), None
    try:
        query = parse_query(text)
    except RequestError as error:
        query, problem = Query(text), error.message
    page = Page(rows=(), counts={}, next=None) if problem else await _found(request, query)
    position = await head_position(site.hands.store)
    asked = f"?{request.url.query}" if request.url.query else ""
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
        by=_by(request),
        picture="" if problem else await _histogram(request, query),
        range=_range(query, site.hands.clock.now()),
        columns=COLUMNS,
        shown=_shown(request),
        views=await views.listing(site.hands.store, "instances", request.state.person.id),
        address=urlencode([(k, v) for k, v in request.query_params.multi_items() if k in ("q", "by") and v]),
        why_not=request.state.person.why_not("operate"),
        verbs=VERBS,
        steps=await _steps(site.hands),
        live="/stream",
        position=position,
        twin=request.url.path + ".json" + asked,
        sheet=request.url.path + ".csv" + asked,
        command=f"topstitch instances -q '{text}'" if text else "topstitch instances",
    )


async def listing_json(request: Request) -> Response:
    """``GET /instances.json?q=``: the same search as data."""
    page = await _found(request, parse_query(request.query_params.get("q", "")))
    return twin({"items": list(page.rows), "counts": dict(page.counts), "total": page.total, "next": page.next})


async def listing_csv(request: Request) -> Response:
    """``GET /instances.csv?q=``: the same search as a table."""
    page = await _found(request, parse_query(request.query_params.get("q", "")), EXPORT_MAX)
    response = sheet(TABLE, page.rows)
    if page.next:
        following = urlencode({"q": request.query_params.get("q", ""), "after": page.next})
        response.headers["Link"] = f'</instances.csv?{following}>; rel="next"'
    return response


async def _found(request: Request, query: Query, limit: int = 50) -> Page:
    site: Site = request.app.state.site
    after, by = request.query_params.get("after"), BY[_by(request)]
    part = part_of(request.state.person.identity, "instances.read")
    return await search(site.hands.store, query, site.hands.clock.now(), after=after, limit=limit, by=by, part=part)


def _by(request: Request) -> str:
    by = request.query_params.get("by", "started")
    return by if by in BY else "started"


def _shown(request: Request) -> Sequence[str]:
    """Return the columns that a person has chosen, in the order of the table."""
    chosen = request.cookies.get(COLUMNS_COOKIE, "").split(".")
    return [name for name in COLUMNS if name in chosen] or SHOWN


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


async def _steps(hands: Hands) -> list[tuple[str, str]]:
    """Return the steps of the definitions in force, for a command that names one."""
    found: dict[str, str] = {}
    for definition in await definitions.in_force(hands.store):
        plan = await hands.load(definition.digest)
        found |= {name: step.title for name, step in plan.steps.items()}
    return sorted(found.items(), key=lambda one: one[1])


# --- The histogram over the list ---------------------------------------------------------------------


def _range(query: Query, now: datetime) -> tuple[datetime, datetime]:
    """Return the time that the histogram shows: what the search says of it, else the last day."""
    since, until = query.values("since"), query.values("until")
    newer = [parse_duration(value) for value in query.values("newer")]
    begin = moment_of(since[-1]) if since else now - timedelta(seconds=min(newer, default=RANGE_HOURS * 3600))
    end = moment_of(until[-1]) if until else now
    return begin, max(end, begin + timedelta(minutes=1))


async def _histogram(request: Request, query: Query) -> str:
    site: Site = request.app.state.site
    now, zone = site.hands.clock.now(), site.zone(request)
    since, until = _range(query, now)
    part = part_of(request.state.person.identity, "instances.read")
    counts = await spread(site.hands.store, query, now, since=since, until=until, slots=BARS, part=part)

    kept = Query(terms=tuple(t for t in query.terms if t[0] not in ("newer", "since", "until")), words=query.words)
    base = kept.with_term("newer", None)

    def link(begin: datetime, end: datetime) -> str:
        times = f"since:{rfc3339(begin.astimezone(UTC))} until:{rfc3339(end.astimezone(UTC))}"
        return f"/instances?{urlencode({'q': f'{base} {times}'.strip()})}"

    return histogram_svg(counts, since, until, link=link, said=zone.short)


# --- Saved views --------------------------------------------------------------------------------------


async def save_view(request: Request) -> Response:
    """``POST /views``: keep this search under a name."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    address = form.get("address", "")
    name, shared = form.get("name", ""), form.get("shared") == "yes"
    person = request.state.person.id
    await views.save(hands.store, "instances", person, name, address, hands.clock.now(), shared=shared)
    return back(request, f"/instances{'?' + address if address else ''}", f"Saved as {name.strip()}.")


async def remove_view(request: Request) -> Response:
    """``POST /views/{name}/remove``."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    await views.remove(hands.store, request.path_params["name"], request.state.person.id)
    return back(request, local_path(form.get("next"), "/instances"), "The view is gone.")
