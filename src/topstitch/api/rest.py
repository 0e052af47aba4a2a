"""Puts the resources together as one application, mounted at ``/api/v1`` beside the events.

``bootstrap`` calls ``rest_app`` once. FastAPI's own pages, which load from other hosts, are off; every
error leaves as a problem document; the reference page is ours.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch import __version__
from topstitch.access.guard import needs
from topstitch.api import problems
from topstitch.api.document import document_of
from topstitch.api.hands import ApiHands
from topstitch.api.resources import (
    batches,
    calendars,
    instances,
    meta,
    people,
    rules,
    seams,
    streams,
    systems,
    trail,
    waiting,
    webhooks,
    workflows,
)
from topstitch.api.resources.batches import Batches
from topstitch.api.throttle import Throttle
from topstitch.api.watcher import Watcher
from topstitch.foundation.errors import NotFoundError
from topstitch.governance.access import PUBLIC

BASE: Final = "/api/v1"
ROUTERS: Final = (
    streams.api,
    instances.api,
    waiting.api,
    workflows.api,
    systems.api,
    rules.api,
    calendars.api,
    seams.api,
    trail.api,
    batches.api,
    webhooks.api,
    people.api,
    meta.api,
)


def rest_app(hands: ApiHands) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Topstitch",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=problems.handlers(),
    )
    app.state.hands = hands
    app.state.throttle = Throttle(hands.requests_per_minute)
    app.state.watcher = Watcher(hands.store, hands.poll_seconds)
    app.state.batches = Batches()
    for each in ROUTERS:
        app.router.routes.extend(each.routes)  # flat, so that whoever walks the routes sees each with its rule
    app.router.routes.append(Route("/events", _only_elsewhere, methods=["POST"], include_in_schema=False))
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]
    return app


async def close(app: FastAPI) -> None:
    """End what is open, so that the server can end: streams and batches."""
    watcher: Watcher = app.state.watcher
    watcher.close()
    running: Batches = app.state.batches
    await running.close()


@needs(PUBLIC)
async def _only_elsewhere(request: Request) -> Response:
    """``POST /events`` is served beside this application; here it only says which method the address takes."""
    raise NotFoundError("not-found", f"{request.url.path} is not served here; mount this beside the events")
