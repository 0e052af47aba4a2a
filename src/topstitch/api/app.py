"""Puts the HTTP door together: routes, one way of answering errors, and what to mount beside them.

``make_app`` is called by ``serve`` and by the demo. Further applications (the console, the rest of the
API) are mounted by path; they share the error handling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from topstitch import __version__
from topstitch.access.guard import RULE, Guard, protect
from topstitch.api import events, metrics, problems, slack
from topstitch.foundation.errors import NotAllowedError, TopstitchError
from topstitch.governance.access import PUBLIC
from topstitch.trigger.accept import Intake

HEALTH = "/healthz"
RULES_BY_PATH: Final[Mapping[str, str]] = {
    HEALTH: PUBLIC,
    f"{problems.PAGES}/{{code}}": PUBLIC,
    events.EVENTS: "events.send",
    events.HOOKS: PUBLIC,  # signed by the vendor
    slack.PATH: PUBLIC,  # signed by Slack
    metrics.METRICS: PUBLIC,  # it says nothing of a person or an instance
}
"""The right that each address outside the mounted API needs; one that is not here is refused."""


def make_app(
    intake: Intake,
    *,
    body_bytes_max: int,
    standing: Callable[[], Mapping[str, Any]],
    mounts: Mapping[str, ASGIApp] | None = None,
    scrape: Callable[[], Awaitable[str]] | None = None,
    more: Sequence[BaseRoute] = (),
    guard: Guard | None = None,
) -> Starlette:
    """Return the application. ``standing`` says how the engine is, ``scrape`` what Prometheus gets.

    ``guard`` knows who asks; without it (a test, the demo) nobody is asked. What is mounted guards itself.
    """

    async def health(_request: Request) -> Response:
        state = {"version": __version__, **standing()}
        return problems.answer(state, 200 if state.get("ok", True) else 503)

    routes: list[BaseRoute] = [
        Route(HEALTH, health, methods=["GET"]),
        Route(problems.PAGES + "/{code}", problems.explain, methods=["GET"]),
        *more,
        *events.routes(intake, body_bytes_max),
        *([metrics.route(scrape)] if scrape is not None else []),
    ]
    for route in routes:
        if isinstance(route, Route) and route.path in RULES_BY_PATH:
            setattr(route, RULE, RULES_BY_PATH[route.path])
    if guard is not None:
        protect(routes, guard)
    routes += [Mount(path, app) for path, app in (mounts or {}).items()]
    return Starlette(routes=routes, exception_handlers=problems.handlers())


async def refused(request: Request, error: NotAllowedError) -> Response:
    """Answer somebody who may not, as every error is answered."""
    response: Response = problems.handlers()[TopstitchError](request, error)
    return response
