"""The page that Prometheus scrapes: the figures of the board, in the text exposition format.

``make_app`` adds it where there is something to scrape. It says nothing of a person or an
instance, so it asks nobody who they are, as ``/healthz`` does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch.metrics.export import CONTENT_TYPE

METRICS: Final = "/metrics"


def route(scrape: Callable[[], Awaitable[str]]) -> Route:
    """Return the route; ``scrape`` gives the text."""

    async def answer(_request: Request) -> Response:
        return Response(await scrape(), headers={"content-type": CONTENT_TYPE})

    return Route(METRICS, answer, methods=["GET"])
