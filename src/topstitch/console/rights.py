"""Decides which right each address of the console needs, and which workflow a request is about.

``app`` puts it in front of every route; an address that is not in ``RULES`` is refused, and the test
over all routes names it. Whoever holds a right for a part of the workflows only sees what is about
one of them, and the pages in ``FILTERED``, which leave the rest out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from topstitch.access.guard import RULE, SOMEWHERE, Somewhere
from topstitch.foundation.errors import NotFoundError
from topstitch.governance.access import PUBLIC, SIGNED_IN, covered, part_of
from topstitch.store import Store, alarms, instances, items

Row = TypeVar("Row", bound=Mapping[str, Any])
RULES: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "/static"): PUBLIC,
    ("GET", "/sign-in"): PUBLIC,
    ("POST", "/sign-in"): PUBLIC,
    ("GET", "/sign-in/with/{provider}"): PUBLIC,
    ("GET", "/sign-in/back/{provider}"): PUBLIC,
    ("POST", "/sign-in/ended/{provider}"): PUBLIC,
    ("POST", "/sign-out"): SIGNED_IN,
    ("GET", "/account"): SIGNED_IN,
    ("POST", "/account/tokens"): "tokens.own",
    ("POST", "/account/tokens/{name}/revoke"): "tokens.own",
    ("GET", "/help"): SIGNED_IN,
    ("POST", "/preferences"): SIGNED_IN,
    ("POST", "/act-as"): SIGNED_IN,
    ("GET", "/"): "seams.read",
    ("GET", "/index.json"): "seams.read",
    ("GET", "/index.csv"): "seams.read",
    ("POST", "/alerts/{name}/acknowledge"): "alerts.mute",
    ("POST", "/alerts/{name}/mute"): "alerts.mute",
    ("GET", "/seams/{source}/{target}.json"): "seams.read",
    ("GET", "/seams/{source}/{target}"): "seams.read",
    ("GET", "/instances"): "instances.read",
    ("GET", "/instances.json"): "instances.read",
    ("GET", "/instances.csv"): "instances.read",
    ("GET", "/instances/{name}.json"): "instances.read",
    ("GET", "/instances/{name}"): "instances.read",
    ("GET", "/instances/{name}/{command}"): "instances.operate",
    ("POST", "/instances/{name}/{command}"): "instances.operate",
    ("GET", "/batches/{name}.json"): "batches.run",
    ("GET", "/batches/{name}.csv"): "batches.run",
    ("GET", "/batches/{name}"): "batches.run",
    ("POST", "/batches"): "batches.run",
    ("POST", "/batches/{name}/start"): "batches.run",
    ("POST", "/batches/{name}/again"): "batches.run",
    ("POST", "/views"): "views.own",
    ("POST", "/views/{name}/remove"): "views.own",
    ("GET", "/approvals"): "approvals.read",
    ("GET", "/approvals.json"): "approvals.read",
    ("GET", "/approvals.csv"): "approvals.read",
    ("GET", "/approvals/alike"): "approvals.read",
    ("POST", "/approvals/alike"): "approvals.decide",
    ("GET", "/approvals/{name}.json"): "approvals.read",
    ("GET", "/approvals/{name}"): "approvals.read",
    ("POST", "/approvals/{name}/decision"): "approvals.decide",
    ("POST", "/approvals/{name}/reassign"): "instances.operate",
    ("GET", "/decide/{token}"): PUBLIC,  # whoever holds the link may look; the answer asks who they are
    ("POST", "/decide/{token}"): PUBLIC,
    ("POST", "/decide/{token}/code"): PUBLIC,
    ("GET", "/exceptions"): "exceptions.read",
    ("GET", "/exceptions.json"): "exceptions.read",
    ("GET", "/exceptions.csv"): "exceptions.read",
    ("GET", "/exceptions/act"): "exceptions.handle",
    ("POST", "/exceptions/act"): "exceptions.handle",
    ("GET", "/exceptions/{name}"): "exceptions.read",
    ("GET", "/tasks/{name}"): "tasks.read",
    ("POST", "/tasks/{name}/done"): "tasks.finish",
    ("POST", "/tasks/{name}/fail"): "tasks.finish",
    ("GET", "/discrepancies"): "discrepancies.read",
    ("GET", "/discrepancies.json"): "discrepancies.read",
    ("GET", "/discrepancies.csv"): "discrepancies.read",
    ("GET", "/discrepancies/{name}.json"): "discrepancies.read",
    ("GET", "/discrepancies/{name}"): "discrepancies.read",
    ("POST", "/discrepancies/{name}/act"): "discrepancies.handle",
    ("GET", "/workflows"): "workflows.read",
    ("GET", "/workflows.json"): "workflows.read",
    ("GET", "/workflows.csv"): "workflows.read",
    ("GET", "/workflows/{name}"): "workflows.read",
    ("GET", "/workflows/{name}/versions/{version}"): "workflows.read",
    ("GET", "/workflows/{name}/diff/{old}..{new}"): "workflows.read",
    ("GET", "/connectors"): "connectors.read",
    ("GET", "/connectors.json"): "connectors.read",
    ("GET", "/connectors.csv"): "connectors.read",
    ("GET", "/connectors/{alias}"): "connectors.read",
    ("POST", "/connectors/{alias}/test"): "connectors.test",
    ("POST", "/connectors/{alias}/pause"): "connectors.pause",
    ("POST", "/connectors/{alias}/resume"): "connectors.pause",
    ("GET", "/policies"): "policies.read",
    ("GET", "/policies.json"): "policies.read",
    ("GET", "/policies.csv"): "policies.read",
    ("GET", "/policies/{name}"): "policies.read",
    ("POST", "/policies/try"): "policies.try",
    ("POST", "/policies/proposals/{name}/agree"): "policies.publish",
    ("POST", "/policies/proposals/{name}/withdraw"): "policies.publish",
    ("GET", "/audit"): "audit.read",
    ("GET", "/audit.json"): "audit.read",
    ("GET", "/audit.csv"): "audit.read",
    ("POST", "/audit/verify"): "audit.verify",
    ("GET", "/settings"): SIGNED_IN,
    ("GET", "/settings.json"): SIGNED_IN,
    ("POST", "/settings/delegations"): SIGNED_IN,
    ("POST", "/settings/delegations/{name}/end"): SIGNED_IN,
    ("POST", "/settings/calendars/{name}/agree"): "policies.publish",
    ("POST", "/settings/calendars/{name}/withdraw"): "policies.publish",
    ("POST", "/settings/webhooks/{name}/deliveries/{delivery}/replay"): "webhooks.manage",
    ("GET", "/stream"): "instances.read",
}
"""Method and path to the right that it needs."""

FILTERED: Final = frozenset(
    f"/{name}{twin}"
    for name in ("instances", "approvals", "exceptions", "discrepancies", "workflows", "connectors", "policies")
    for twin in ("", ".json", ".csv")
) | {"/", "/index.json", "/index.csv", "/policies/try"}
"""Pages that show somebody with a right for a part of the workflows what is theirs."""
SHOWN_IN_PART: Final = ("seams", "connectors")
"""What is looked at one by one and shows only what is theirs; what is done to a connection is about the whole."""


def theirs(request: Request, right: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows whose workflow the person of a request may see; what is about none is for who sees all."""
    part = part_of(request.state.person.identity, right)
    return [row for row in rows if part is None or (row.get("workflow") and covered(part, str(row["workflow"])))]


def part_seen(request: Request, right: str) -> tuple[str, ...] | None:
    """Return which workflows the person of a request may see; nothing: all of them. Without a person, none."""
    person = request.state.person
    return part_of(person.identity, right) if person else ()


def declare(routes: Sequence[BaseRoute]) -> None:
    """Give each route its rule; a route of two methods, or without an entry, gets none."""
    for route in routes:
        if isinstance(route, Mount):
            rule = RULES.get(("GET", route.path))
        elif isinstance(route, Route):
            methods = sorted((route.methods or set()) - {"HEAD"})
            rule = RULES.get((methods[0], route.path)) if len(methods) == 1 else None
        else:
            rule = None
        if rule is not None:
            setattr(route, RULE, rule)


async def place_of(store: Store, request: Request) -> str | Somewhere | None:
    """Return the workflow that a request is about; asked only where the right is held for a part of them."""
    path, _, _ = request.url.path.strip("/").partition("/")
    name = str(request.path_params.get("name", ""))
    if not name:
        if request.url.path == "/stream" and "instance" in request.query_params:
            return await _workflow(store, request.query_params["instance"])
        shown = request.method in ("GET", "HEAD") and path in SHOWN_IN_PART
        return SOMEWHERE if shown or request.url.path in FILTERED or path in ("views", "account") else None
    match path:
        case "instances":
            return await _workflow(store, name)
        case "approvals":
            return await _workflow(store, (await items.get_approval(store, name))["instance"])
        case "tasks":
            return await _workflow(store, (await items.get_task(store, name))["instance"])
        case "exceptions":
            return await _workflow(store, (await items.get_case(store, name))["instance"])
        case "discrepancies":
            return await _workflow(store, (await items.get_discrepancy(store, name))["instance"])
        case "alerts":
            return await _alerting(store, name)
        case "workflows":
            return name
        case "views" | "account" | "policies":  # publishing a policy is about the whole, wherever it is asked
            return SOMEWHERE
        case _:
            return None


async def _alerting(store: Store, alert: str) -> str | None:
    try:
        return (await alarms.get(store, alert)).workflow
    except NotFoundError:
        return None


async def _workflow(store: Store, instance: str) -> str | None:
    """Return an instance's workflow; an unknown one is about none that anybody holds in part."""
    try:
        return str((await instances.get(store, instance))["workflow"])
    except NotFoundError:
        return None
