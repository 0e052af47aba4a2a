"""Policies as they are in force, and what this installation is set to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.people import NEEDS, ROLES
from topstitch.console.site import Site
from topstitch.foundation.errors import NotFoundError
from topstitch.governance.bundle import TIERS
from topstitch.store import definitions


async def policies(request: Request) -> Response:
    """``GET /policies``: bundles, and what definitions themselves ask."""
    site: Site = request.app.state.site
    plans = [await site.hands.load(d.digest) for d in await definitions.in_force(site.hands.store)]
    own = [
        {
            "plan": plan,
            "step": step,
            "auto": step.approval.auto_when.source if step.approval and step.approval.auto_when else None,
        }
        for plan in plans
        for step in plan.steps.values()
        if step.act is not None and step.act.action.writes
    ]
    return await site.render(
        request,
        "policies.html",
        nav="policies",
        title="Policies",
        bundles=site.hands.bundles,
        own=own,
        tiers=TIERS,
        command="topstitch policy --help",
    )


async def policy(request: Request) -> Response:
    """``GET /policies/{name}``: one bundle, rule by rule."""
    site: Site = request.app.state.site
    name = request.path_params["name"]
    bundle = next((b for b in site.hands.bundles if b.name == name), None)
    if bundle is None:
        raise NotFoundError("no-policy", f"there is no policy bundle {name}; see the list of policies")
    return await site.render(request, "policy.html", nav="policies", title=bundle.name, bundle=bundle)


async def settings(request: Request) -> Response:
    """``GET /settings``."""
    site: Site = request.app.state.site
    return await site.render(
        request,
        "settings.html",
        nav="settings",
        title="Settings",
        settings=site.hands.settings,
        roles=ROLES,
        needs=NEEDS,
        connections=site.hands.connections,
    )
