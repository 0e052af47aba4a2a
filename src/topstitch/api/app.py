"""Puts the HTTP door together: routes, one way of answering errors, and what to mount beside them.

``make_app`` is called by ``serve`` and by the demo. Further applications (the console, the rest of the
API) are mounted by path; they share the error handling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from topstitch import __version__
from topstitch.api import events, metrics, problems
from topstitch.trigger.accept import Intake

HEALTH = "/healthz"


def make_app(
    intake: Intake,
    *,
    body_bytes_max: int,
    standing: Callable[[], Mapping[str, Any]],
    mounts: Mapping[str, ASGIApp] | None = None,
    scrape: Callable[[], Awaitable[str]] | None = None,
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the application. ``standing`` says how the engine is, ``scrape`` what Prometheus gets."""

    async def health(_request: Request) -> Response:
        state = {"version": __version__, **standing()}
        return problems.answer(state, 200 if state.get("ok", True) else 503)

    routes: list[BaseRoute] = [
        Route(HEALTH, health, methods=["GET"]),
        Route(problems.PAGES + "/{code}", problems.explain, methods=["GET"]),
        *more,
        *events.routes(intake, body_bytes_max),
        *([metrics.route(scrape)] if scrape is not None else []),
        *(Mount(path, app) for path, app in (mounts or {}).items()),
    ]
    return Starlette(routes=routes, exception_handlers=problems.handlers())
