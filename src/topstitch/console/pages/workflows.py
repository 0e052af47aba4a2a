"""Workflows: what is in force, each version with its lanes, mapping table and outcome table, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console import words
from topstitch.console.hands import Hands
from topstitch.console.icons import drawn
from topstitch.console.picture import definition_svg
from topstitch.console.rights import theirs
from topstitch.console.site import Site, sheet, twin
from topstitch.console.texts import CAME, GONE, count_of, text_difference
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import NotFoundError
from topstitch.language.diff import diff
from topstitch.language.normal import workflow_from_normal
from topstitch.language.render import HEADERS, mapping_table
from topstitch.language.schema import Workflow
from topstitch.plan.plan import Plan
from topstitch.store import definitions
from topstitch.store.definitions import Definition
from topstitch.store.searches import by_version
from topstitch.verifier.classes import classes
from topstitch.verifier.table import Row, table

TABS = ("lanes", "mapping", "outcomes", "text")


async def listing(request: Request) -> Response:
    """``GET /workflows``."""
    site: Site = request.app.state.site
    return await site.render(
        request,
        "workflows.html",
        nav="workflows",
        title="Workflows",
        rows=await _rows(request),
        twin="/workflows.json",
        sheet="/workflows.csv",
        command="topstitch publish <file>",
    )


async def listing_json(request: Request) -> Response:
    """``GET /workflows.json``."""
    rows = await _rows(request)
    return twin({"items": [{k: v for k, v in row.items() if k != "plan"} for row in rows]})


COLUMNS = (
    "workflow", "title", "version", "digest", "owner", "steps", "systems", "open", "all", "published_at",
    "published_by",
)  # fmt: skip


async def listing_csv(request: Request) -> Response:
    """``GET /workflows.csv``."""
    return sheet(COLUMNS, await _rows(request))


async def _rows(request: Request) -> list[dict[str, Any]]:
    hands: Hands = request.app.state.hands
    counts = await by_version(hands.store)
    rows = []
    for d in await definitions.in_force(hands.store):
        plan = await hands.load(d.digest)
        versions = {v: n for (w, v), n in counts.items() if w == d.workflow}
        rows.append(
            {
                "workflow": d.workflow,
                "title": plan.title,
                "purpose": plan.purpose,
                "version": d.version,
                "digest": d.digest,
                "published_at": d.published_at,
                "published_by": d.published_by,
                "owner": plan.owner["team"],
                "steps": len(plan.steps),
                "systems": [s.title for s in plan.systems.values()],
                "open": {v: n["open"] for v, n in versions.items() if n["open"]},
                "all": sum(n["all"] for n in versions.values()),
                "plan": plan,
            }
        )
    return theirs(request, "workflows.read", rows)


async def workflow(request: Request) -> Response:
    """``GET /workflows/{name}`` and ``/workflows/{name}/versions/{version}?view=``."""
    site: Site = request.app.state.site
    name = request.path_params["name"]
    versions = await _versions(site.hands, name)
    wanted = request.path_params.get("version")
    in_force = await definitions.in_force_of(site.hands.store, name)
    shown = _version(versions, wanted) if wanted else in_force or versions[0]
    plan = await site.hands.load(shown.digest)
    tab = request.query_params.get("view", "lanes")
    tab = tab if tab in TABS else "lanes"
    known = _read(shown)
    index = versions.index(next(v for v in versions if v.digest == shown.digest))
    return await site.render(
        request,
        "workflow.html",
        nav="workflows",
        title=plan.title,
        plan=plan,
        shown=shown,
        versions=versions,
        in_force=in_force,
        tab=tab,
        tabs=TABS,
        lanes=drawn(definition_svg(plan)) if tab == "lanes" else "",
        headers=HEADERS,
        mapping=[astuple(row) for row in mapping_table(known, site.hands.contracts)] if tab == "mapping" else [],
        outcomes=_in_step_order(plan, table(plan, classes(plan))) if tab == "outcomes" else [],
        counts=await by_version(site.hands.store),
        before=versions[index + 1] if index + 1 < len(versions) else None,
        command=f"topstitch table {name}",
        twin="/workflows.json",
    )


def _in_step_order(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """Return the outcome table as the work goes, not as the names sort."""
    order = list(plan.undo_order)[::-1]
    return sorted(rows, key=lambda row: order.index(row.step) if row.step in order else len(order))


async def difference(request: Request) -> Response:
    """``GET /workflows/{name}/diff/{old}..{new}``: what changed, in business terms."""
    site: Site = request.app.state.site
    versions = await _versions(site.hands, request.path_params["name"])
    old, new = (_version(versions, request.path_params[k]) for k in ("old", "new"))
    changed = diff(_read(old), _read(new))
    counts = await by_version(site.hands.store)
    staying = counts.get((old.workflow, old.version), {"open": 0})["open"]
    was, is_now = await site.hands.load(old.digest), await site.hands.load(new.digest)
    pictures = [
        drawn(
            definition_svg(plan, standing)
            .replace("lanes-t", f"{k}-t")
            .replace("lanes-d", f"{k}-d")
            .replace("head-", f"{k}-head-")
        )
        for k, plan, standing in (
            ("old", was, _standing(old, new, words.REMOVED)),
            ("new", is_now, _standing(new, old, words.ADDED)),
        )
    ]
    hunks = text_difference(old.text, new.text)
    return await site.render(
        request,
        "diff.html",
        nav="workflows",
        title=f"{old.workflow} {old.version} → {new.version}",
        old=old,
        new=new,
        new_title=is_now.title,
        changed=changed,
        staying=staying,
        pictures=pictures,
        hunks=hunks,
        gone=count_of(hunks, GONE),
        came=count_of(hunks, CAME),
        command=f"topstitch diff {old.workflow}",
    )


async def _versions(hands: Hands, name: str) -> Sequence[Definition]:
    versions = await definitions.versions(hands.store, name)
    if not versions:
        raise NotFoundError("no-workflow", f"no workflow {name!r} is published here; see the list of workflows")
    return versions


def _version(versions: Sequence[Definition], wanted: str) -> Definition:
    found = next(
        (v for v in versions if wanted == v.version or (len(wanted) >= 8 and v.digest.startswith(wanted))), None
    )
    if found is None:
        raise NotFoundError(
            "no-version",
            f"{versions[0].workflow} has no version {wanted}; there are {', '.join(v.version for v in versions)}",
        )
    return found


def _standing(one: Definition, other: Definition, alone: words.Said) -> dict[str, words.Said]:
    """Return how each step of a version stands to the same step of another; ``alone``: the other has none."""
    own, others = parse(one.normal)["steps"], parse(other.normal)["steps"]
    return {
        name: alone if name not in others else words.UNCHANGED if others[name] == step else words.CHANGED
        for name, step in own.items()
    }


def _read(definition: Definition) -> Workflow:
    return workflow_from_normal(parse(definition.normal))
