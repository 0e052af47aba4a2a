"""Puts the console together: pages by their addresses, who may see them, what goes around every answer.

``console_app`` is called once by ``bootstrap``, which mounts it at the root behind the API. Nobody who
is not signed in sees a page; static files are everybody's. Errors become pages here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from topstitch.access.guard import Guard, protect
from topstitch.console.bulk import Bulk
from topstitch.console.hands import Hands
from topstitch.console.pages import (
    alerts,
    alike,
    approvals,
    audit,
    bulk,
    calendars,
    cases,
    connectors,
    deciding,
    discrepancies,
    exceptions,
    instance,
    instances,
    overview,
    policies,
    preferences,
    settings,
    signin,
    workflows,
)
from topstitch.console.people import whose
from topstitch.console.rights import declare, place_of
from topstitch.console.security import Shield
from topstitch.console.site import Site, problem
from topstitch.console.stream import Watcher, stream
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import NotAllowedError, TopstitchError
from topstitch.foundation.ids import new_id
from topstitch.governance.access import Identity

Page = Callable[[Request], Awaitable[Response]]


class Static(StaticFiles):
    """Static files that may be kept for ever: their addresses carry their digest."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """Return a file."""
        response = await super().get_response(path, scope)
        if scope.get("query_string"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def console_app(hands: Hands) -> Starlette:
    """Return the console."""
    site, watcher, many = Site(hands), Watcher(hands), Bulk(hands)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        watcher.close()
        many.close()

    static = str(files("topstitch.console") / "static")
    routes: list[BaseRoute] = [Mount("/static", Static(directory=static)), *_routes()]
    declare(routes)
    protect(routes, _guard(hands))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Shield, origin=hands.origin)],
        exception_handlers={TopstitchError: _failed, HTTPException: _not_there, Exception: _unexpected},
        lifespan=lifespan,
    )
    app.state.site, app.state.hands, app.state.watcher, app.state.bulk = site, hands, watcher, many
    return app


GET: Final[tuple[tuple[str, Page], ...]] = (
    ("/", overview.overview),
    ("/index.json", overview.overview_json),
    ("/index.csv", overview.overview_csv),
    ("/seams/{source}/{target}.json", overview.seam_json),
    ("/seams/{source}/{target}", overview.seam),
    ("/instances", instances.listing),
    ("/instances.json", instances.listing_json),
    ("/instances.csv", instances.listing_csv),
    ("/batches/{name}.json", bulk.batch_json),
    ("/batches/{name}.csv", bulk.batch_csv),
    ("/batches/{name}", bulk.batch),
    ("/instances/{name}.json", instance.instance_json),
    ("/instances/{name}", instance.instance),
    ("/instances/{name}/{command}", instance.ask),
    ("/approvals", approvals.inbox),
    ("/approvals.json", approvals.inbox_json),
    ("/approvals.csv", approvals.inbox_csv),
    ("/approvals/alike", alike.ask),
    ("/approvals/{name}.json", approvals.approval_json),
    ("/approvals/{name}", approvals.approval),
    ("/decide/{token}", deciding.question),
    ("/exceptions", exceptions.queue),
    ("/exceptions.json", exceptions.queue_json),
    ("/exceptions.csv", exceptions.queue_csv),
    ("/exceptions/act", cases.ask),
    ("/exceptions/{name}", exceptions.case),
    ("/tasks/{name}", exceptions.task),
    ("/discrepancies", discrepancies.listing),
    ("/discrepancies.json", discrepancies.listing_json),
    ("/discrepancies.csv", discrepancies.listing_csv),
    ("/discrepancies/{name}.json", discrepancies.discrepancy_json),
    ("/discrepancies/{name}", discrepancies.discrepancy),
    ("/workflows", workflows.listing),
    ("/workflows.json", workflows.listing_json),
    ("/workflows.csv", workflows.listing_csv),
    ("/workflows/{name}", workflows.workflow),
    ("/workflows/{name}/versions/{version}", workflows.workflow),
    ("/workflows/{name}/diff/{old}..{new}", workflows.difference),
    ("/connectors", connectors.listing),
    ("/connectors.json", connectors.listing_json),
    ("/connectors.csv", connectors.listing_csv),
    ("/connectors/{alias}", connectors.connector),
    ("/policies", policies.policies),
    ("/policies.json", policies.policies_json),
    ("/policies.csv", policies.policies_csv),
    ("/policies/{name}", policies.policy),
    ("/audit", audit.explorer),
    ("/audit.json", audit.explorer_json),
    ("/audit.csv", audit.explorer_csv),
    ("/settings", settings.settings),
    ("/settings.json", settings.settings_json),
    ("/help", preferences.help_page),
    ("/stream", stream),
    ("/sign-in", signin.page),
    ("/sign-in/with/{provider}", signin.to_provider),
    ("/sign-in/back/{provider}", signin.from_provider),
    ("/account", signin.account),
)
"""What is shown; ``rights`` says to whom."""
POST: Final[tuple[tuple[str, Page], ...]] = (
    ("/approvals/alike", alike.approve),
    ("/approvals/{name}/decision", approvals.decide),
    ("/approvals/{name}/reassign", approvals.reassign),
    ("/decide/{token}", deciding.answer),
    ("/decide/{token}/code", deciding.code),
    ("/exceptions/act", cases.act),
    ("/discrepancies/{name}/act", discrepancies.act),
    ("/tasks/{name}/done", exceptions.finish),
    ("/tasks/{name}/fail", exceptions.fail),
    ("/instances/{name}/{command}", instance.command),
    ("/batches", bulk.choose),
    ("/batches/{name}/start", bulk.start),
    ("/batches/{name}/again", bulk.again),
    ("/views", instances.save_view),
    ("/views/{name}/remove", instances.remove_view),
    ("/connectors/{alias}/test", connectors.prove),
    ("/connectors/{alias}/pause", connectors.pause),
    ("/connectors/{alias}/resume", connectors.resume),
    ("/alerts/{name}/acknowledge", alerts.acknowledge),
    ("/alerts/{name}/mute", alerts.mute),
    ("/policies/try", policies.try_it),
    ("/policies/proposals/{name}/agree", policies.agree),
    ("/policies/proposals/{name}/withdraw", policies.withdraw),
    ("/audit/verify", audit.verify_now),
    ("/settings/delegations", settings.delegate),
    ("/settings/delegations/{name}/end", settings.end_delegation),
    ("/settings/calendars/{name}/agree", calendars.agree),
    ("/settings/calendars/{name}/withdraw", calendars.withdraw),
    ("/settings/webhooks/{name}/deliveries/{delivery}/replay", settings.replay),
    ("/preferences", preferences.keep),
    ("/act-as", preferences.act_as),
    ("/sign-in", signin.with_password),
    ("/sign-in/ended/{provider}", signin.ended),
    ("/sign-out", signin.sign_out),
    ("/account/tokens", signin.make_token),
    ("/account/tokens/{name}/revoke", signin.revoke_token),
)
"""What is done."""


def _routes() -> list[Route]:
    routes = [Route(path, page, methods=["GET"]) for path, page in GET]
    return [*routes, *(Route(path, page, methods=["POST"]) for path, page in POST)]


def _guard(hands: Hands) -> Guard:
    """Return what stands in front of every page: its rule is asked before it is."""

    async def identify(connection: HTTPConnection) -> Identity | None:
        person = await whose(hands.identify, connection)
        connection.state.person = person
        return person.identity if person else None

    async def place(request: Request) -> Any:
        return await place_of(hands.store, request)

    return Guard(identify=identify, refuse=_refused, clock=hands.clock, place=place, origin=hands.origin)


async def _refused(request: Request, error: NotAllowedError) -> Response:
    """Send who is not signed in to where they can; tell everybody else why not."""
    hands: Hands = request.app.state.hands
    data = request.url.path.endswith((".json", ".csv"))
    if error.code == "not-signed-in" and not data:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = f"?next={quote(here, safe='')}" if request.method == "GET" else ""
        return RedirectResponse(f"{hands.sign_in or '/'}{query}", 303)
    if error.code == "sign-in-again" and not data:
        return RedirectResponse(f"{hands.sign_in or '/'}?again=1", 303)
    if data:
        return problem(error, 401 if error.code == "not-signed-in" else None)
    site: Site = request.app.state.site
    return await site.error(request, error)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, TopstitchError)
    if request.url.path.endswith(".json"):
        return problem(error)
    await _whoever(request)
    site: Site = request.app.state.site
    return await site.error(request, error)


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    site: Site = request.app.state.site
    await _whoever(request)
    message = "there is no such page; use the rail on the left, or search"
    return await site.render(
        request, "error.html", status=error.status_code, title="Nothing here", message=message, code="not-found"
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    del error
    name = new_id("err", SystemClock().now())
    site: Site = request.app.state.site
    await _whoever(request)
    message = f"something unexpected happened; try again, and report it with {name}, which the log has too"
    return await site.render(
        request, "error.html", status=500, title="This did not work", message=message, code="unexpected", bare=True
    )


async def _whoever(request: Request) -> None:
    """Make sure an error page knows who looks, and has a nonce."""
    hands: Hands = request.app.state.hands
    if not hasattr(request.state, "person"):
        request.state.person = await whose(hands.identify, request)
