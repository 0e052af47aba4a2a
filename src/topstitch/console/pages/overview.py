"""The first page: which seam is sick, what needs attention, where the time goes; and one seam in depth."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.icons import drawn
from topstitch.console.pages.alerts import open_alerts
from topstitch.console.pages.ends import ends
from topstitch.console.pages.instances import marked
from topstitch.console.picture import in_order
from topstitch.console.rights import part_seen, theirs
from topstitch.console.site import Site, plural, sheet, twin
from topstitch.console.sparks import BUCKETS, Seam, gathered, line_svg, order_of, seams, spark
from topstitch.console.stream import looked_on
from topstitch.console.times import Zone, span
from topstitch.governance.access import covered
from topstitch.model.query import Query, parse_query
from topstitch.store import definitions, items, measures
from topstitch.store.sealing import milliseconds
from topstitch.store.searches import crossings, open_counts, seam_failures, search

RIGHT = "seams.read"
RANGES = {"24h": ("last 24 hours", 24), "7d": ("last 7 days", 24 * 7), "30d": ("last 30 days", 24 * 30)}


@looked_on
async def overview(request: Request) -> Response:
    """``GET /?range=``."""
    site: Site = request.app.state.site
    hands, part = site.hands, part_seen(request, RIGHT)
    found, label, hours = await _seams(request)
    names = await titles(hands)
    systems = _order({k for key in found for k in key}, names)
    attention = await _attention(request, found, names)
    standing, begun = await open_alerts(hands, part), await ends(hands, hours, part)
    page = await search(hands.store, Query(), hands.clock.now(), limit=6, part=part)
    worst = max(found.values(), key=lambda s: (order_of(s.tone), s.p95_ms), default=None)
    crossed = sum(s.count for s in found.values())
    sick = sum(1 for s in found.values() if s.tone == "breach")
    sentence = f"{plural(crossed, 'handoff')} over {plural(len(found), 'seam')}. " + (
        f"{plural(sick, 'seam is', 'seams are')} over the limit." if sick else "Every seam is within its limit."
    )
    return await site.render(
        request,
        "overview.html",
        nav="overview",
        title=f"Seams, {label}",
        sentence=sentence if found else "No handoffs yet.",
        found=found,
        systems=systems,
        names=names,
        attention=[one for one in attention if one["href"] not in {alert["href"] for alert in standing}],
        alerts=standing,
        begun=begun,
        may_mute=lambda workflow: request.state.person.why_not("alerts.mute", workflow),
        worst=worst,
        line=drawn(line_svg(worst, _times(site.zone(request), hours))) if worst and worst.count else "",
        ranges=RANGES,
        range=request.query_params.get("range", "24h"),
        spark=_spark,
        counts=page.counts,
        total=page.total,
        newest=[marked(row) for row in page.rows],
        live="/stream",
        twin=f"/index.json?range={_range(request)}",
        sheet=f"/index.csv?range={_range(request)}",
        command="topstitch seams",
        hours=hours,
    )


async def overview_json(request: Request) -> Response:
    """``GET /index.json?range=``."""
    found, label, hours = await _seams(request)
    workflows = await ends(request.app.state.hands, hours, part_seen(request, RIGHT))
    return twin({"range": label, "seams": [_data(s) for s in found.values()], "workflows": list(workflows)})


async def overview_csv(request: Request) -> Response:
    """``GET /index.csv?range=``: every seam as a row."""
    found, _, _ = await _seams(request)
    columns = ("from", "to", "count", "p50_ms", "p95_ms", "failed", "exception_rate")
    return sheet(columns, [_data(s) for s in found.values()])


@looked_on
async def seam(request: Request) -> Response:
    """``GET /seams/{source}/{target}``: latency over time, the slowest crossings, who crosses it."""
    site: Site = request.app.state.site
    one, ones, label, _ = await _one(request)
    names = await titles(site.hands)
    source, target = request.path_params["source"], request.path_params["target"]
    query, now = parse_query(f"seam:'{source}>{target}'"), site.hands.clock.now()
    listed = await search(site.hands.store, query, now, limit=200, part=part_seen(request, RIGHT))
    by_id = {row["id"]: row for row in listed.rows}
    slowest = sorted(ones, key=lambda c: c.net_ms, reverse=True)[:10]
    return await site.render(
        request,
        "seam.html",
        nav="overview",
        title=f"{names.get(source, source)} → {names.get(target, target)}",
        one=one,
        label=label,
        slowest=slowest,
        by_id=by_id,
        source=source,
        target=target,
        ranges=RANGES,
        range=_range(request),
        live="/stream",
        twin=f"/seams/{source}/{target}.json?range={_range(request)}",
    )


async def seam_json(request: Request) -> Response:
    """``GET /seams/{source}/{target}.json``: the series behind the chart."""
    one, ones, label, (since, until) = await _one(request)
    width = (until - since) / BUCKETS
    times = [int((since + width * (k + 0.5)).timestamp()) for k in range(BUCKETS)]
    data: dict[str, Any] = {
        "range": label,
        "times": times,
        "p95_ms": list(one.series) if one else [],
        "limit_ms": 300_000,
        "target_ms": 60_000,
    }
    return twin(
        {
            **data,
            "seam": _data(one) if one else None,
            "crossings": [{"at": c.at, "net_ms": c.net_ms, "instance": c.instance} for c in ones[-1000:]],
        }
    )


def _range(request: Request) -> str:
    chosen = request.query_params.get("range", "24h")
    return chosen if chosen in RANGES else "24h"


async def _seams(request: Request) -> tuple[dict[tuple[str, str], Seam], str, int]:
    hands: Hands = request.app.state.hands
    label, hours = RANGES[_range(request)]
    until = hands.clock.now()
    since = until - timedelta(hours=hours)
    begin, end = milliseconds(since), milliseconds(until)
    crossed = await measures.crossings(hands.store, begin, end + 1, slot_ms=max((end - begin) // BUCKETS, 1))
    part = part_seen(request, RIGHT)
    mine = [one for one in crossed if covered(part, one.workflow)]
    return gathered(mine, await seam_failures(hands.store, since, part)), label, hours


async def _one(request: Request) -> tuple[Seam | None, Any, str, Any]:
    hands: Hands = request.app.state.hands
    label, hours = RANGES[_range(request)]
    until = hands.clock.now()
    since = until - timedelta(hours=hours)
    key = (request.path_params["source"], request.path_params["target"])
    part = part_seen(request, RIGHT)
    ones = await crossings(hands.store, since, source=key[0], target=key[1], part=part)
    failed = {k: n for k, n in (await seam_failures(hands.store, since, part)).items() if k == key}
    return seams(ones, failed, since, until).get(key), ones, label, (since, until)


async def titles(hands: Hands) -> dict[str, str]:
    """Return what connectors are called by people, from the definitions in force."""
    found = {"topstitch": "Topstitch"}
    for definition in await definitions.in_force(hands.store):
        plan = await hands.load(definition.digest)
        for system in (plan.systems[alias] for alias in in_order(plan)):
            found[system.connector.partition("@")[0]] = system.title
    return found


def _order(used: set[str], names: dict[str, str]) -> list[str]:
    return [name for name in names if name in used] + sorted(used - set(names))


async def _attention(
    request: Request, found: dict[tuple[str, str], Seam], names: dict[str, str]
) -> list[dict[str, str]]:
    """Return what somebody should look at now, the worst first."""
    hands: Hands = request.app.state.hands
    listed = []
    for (a, b), one in sorted(found.items(), key=lambda kv: -order_of(kv[1].tone)):
        if one.tone != "ok":
            listed.append(
                {
                    "tone": one.tone,
                    "title": f"{names.get(a, a)} → {names.get(b, b)}",
                    "why": one.why,
                    "href": f"/seams/{a}/{b}",
                }
            )
    now, counts = hands.clock.now(), await open_counts(hands.store, part_seen(request, RIGHT))
    if counts.discrepancies:
        listed.append(
            {
                "tone": "breach",
                "title": plural(counts.discrepancies, "discrepancy", "discrepancies"),
                "why": "A system is not as it was left",
                "href": "/discrepancies",
            }
        )
    if counts.cases:
        listed.append(
            {
                "tone": "breach",
                "title": plural(counts.cases, "open exception"),
                "why": "Somebody has to decide how it goes on",
                "href": "/exceptions",
            }
        )
    for noun, rows, key, href in (
        (
            "approval",
            theirs(request, RIGHT, await items.list_approvals(hands.store)),
            "asked_at",
            "/approvals?show=all",
        ),
        ("task", theirs(request, RIGHT, await items.list_tasks(hands.store)), "opened_at", "/exceptions"),
    ):
        if rows:
            oldest = span((now - rows[0][key]).total_seconds())
            listed.append(
                {
                    "tone": "human",
                    "title": f"{plural(len(rows), noun)} waiting",
                    "why": f"Oldest {oldest}",
                    "href": href,
                }
            )
    return listed


def _times(zone: Zone, hours: int) -> list[tuple[float, str]]:
    """Return the times under a line: at its fifths, as the page's zone writes them."""
    begin = zone.now - timedelta(hours=hours)
    form = "%H:%M" if hours <= DAY_HOURS else "%-d %b"
    shares = (0.05, 0.35, 0.65, 0.95)
    return [(share, zone.local(begin + timedelta(hours=hours * share)).strftime(form)) for share in shares]


DAY_HOURS = 24


def _spark(one: Seam) -> str:
    return drawn(spark(one.series))


def _data(one: Seam) -> dict[str, Any]:
    return {
        "from": one.source,
        "to": one.target,
        "count": one.count,
        "p50_ms": one.p50_ms,
        "p95_ms": one.p95_ms,
        "failed": one.failed,
        "exception_rate": round(one.rate, 4),
        "series_p95_ms": list(one.series),
    }
