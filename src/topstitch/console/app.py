"""Puts the console together: pages by their addresses, who may see them, what goes around every answer.

``console_app`` is called once by ``bootstrap``, which mounts it at the root behind the API. Nobody who
is not signed in sees a page; static files are everybody's. Errors become pages here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from topstitch.console.hands import Hands
from topstitch.console.pages import (
    approvals,
    audit,
    connectors,
    exceptions,
    instance,
    instances,
    overview,
    preferences,
    rules,
    workflows,
)
from topstitch.console.security import Shield
from topstitch.console.site import Site, problem
from topstitch.console.stream import Watcher, stream
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import TopstitchError
from topstitch.foundation.ids import new_id

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
    site, watcher = Site(hands), Watcher(hands)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        watcher.close()

    static = str(files("topstitch.console") / "static")
    app = Starlette(
        routes=[Mount("/static", Static(directory=static)), *_routes()],
        middleware=[Middleware(Shield, origin=hands.origin)],
        exception_handlers={TopstitchError: _failed, HTTPException: _not_there, Exception: _unexpected},
        lifespan=lifespan,
    )
    app.state.site, app.state.hands, app.state.watcher = site, hands, watcher
    return app


def _routes() -> list[Route]:
    get: list[tuple[str, Page]] = [
        ("/", overview.overview),
        ("/index.json", overview.overview_json),
        ("/seams/{source}/{target}.json", overview.seam_json),
        ("/seams/{source}/{target}", overview.seam),
        ("/instances", instances.listing),
        ("/instances.json", instances.listing_json),
        ("/instances/{name}.json", instance.instance_json),
        ("/instances/{name}", instance.instance),
        ("/instances/{name}/{command}", instance.ask),
        ("/approvals", approvals.inbox),
        ("/approvals.json", approvals.inbox_json),
        ("/approvals/{name}.json", approvals.approval_json),
        ("/approvals/{name}", approvals.approval),
        ("/exceptions", exceptions.queue),
        ("/exceptions.json", exceptions.queue_json),
        ("/exceptions/{name}", exceptions.case),
        ("/tasks/{name}", exceptions.task),
        ("/discrepancies", exceptions.discrepancies),
        ("/discrepancies.json", exceptions.discrepancies_json),
        ("/discrepancies/{name}", exceptions.discrepancy),
        ("/workflows", workflows.listing),
        ("/workflows.json", workflows.listing_json),
        ("/workflows/{name}", workflows.workflow),
        ("/workflows/{name}/versions/{version}", workflows.workflow),
        ("/workflows/{name}/diff/{old}..{new}", workflows.difference),
        ("/connectors", connectors.listing),
        ("/connectors.json", connectors.listing_json),
        ("/connectors/{alias}", connectors.connector),
        ("/policies", rules.policies),
        ("/policies/{name}", rules.policy),
        ("/audit", audit.explorer),
        ("/audit.json", audit.explorer_json),
        ("/settings", rules.settings),
        ("/help", preferences.help_page),
        ("/stream", stream),
    ]
    post: list[tuple[str, Page]] = [
        ("/approvals/{name}/decision", approvals.decide),
        ("/tasks/{name}/done", exceptions.finish),
        ("/tasks/{name}/fail", exceptions.fail),
        ("/instances/{name}/{command}", instance.command),
        ("/connectors/{alias}/test", connectors.prove),
        ("/audit/verify", audit.verify_now),
        ("/preferences", preferences.keep),
        ("/act-as", preferences.act_as),
    ]
    open_to_all = {"/stream"}
    routes = [Route(path, _signed_in(page), methods=["GET"]) for path, page in get if path not in open_to_all]
    routes += [Route(path, _signed_in(page), methods=["POST"]) for path, page in post]
    return [*routes, Route("/stream", _signed_in(stream), methods=["GET"])]


def _signed_in(page: Page) -> Page:
    """Return a page that only somebody who is signed in sees."""

    async def guarded(request: Request) -> Response:
        hands: Hands = request.app.state.hands
        person = hands.identify(request)
        request.state.person = person
        if person is None:
            here = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""), safe="")
            return RedirectResponse(f"{hands.sign_in or '/'}?next={here}", 303)
        return await page(request)

    return guarded


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, TopstitchError)
    if request.url.path.endswith(".json"):
        return problem(error)
    _whoever(request)
    site: Site = request.app.state.site
    return await site.error(request, error)


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    site: Site = request.app.state.site
    _whoever(request)
    message = "there is no such page; use the rail on the left, or search"
    return await site.render(
        request, "error.html", status=error.status_code, title="Nothing here", message=message, code="not-found"
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    del error
    name = new_id("err", SystemClock().now())
    site: Site = request.app.state.site
    _whoever(request)
    message = f"something unexpected happened; try again, and report it with {name}, which the log has too"
    return await site.render(
        request, "error.html", status=500, title="This did not work", message=message, code="unexpected", bare=True
    )


def _whoever(request: Request) -> None:
    """Make sure an error page knows who looks, and has a nonce."""
    hands: Hands = request.app.state.hands
    if not hasattr(request.state, "person"):
        request.state.person = hands.identify(request)
