"""What the API says of itself: its version, its limits, the search language, its own document."""

from __future__ import annotations

from fastapi import Request, Response

from topstitch import __version__
from topstitch.api.answers import LIMIT_MAX, single
from topstitch.api.hands import ApiHands
from topstitch.api.operations import operation, router
from topstitch.governance.access import PUBLIC, RIGHTS, SIGNED_IN
from topstitch.model.query import FIELDS, HAS, STATES
from topstitch.office.told import TYPES
from topstitch.store import idempotency

api = router("meta")


@operation(api, "GET", "/meta", SIGNED_IN)
async def get_meta(request: Request) -> Response:
    """Say what this installation is, and what can be written in a search."""
    hands: ApiHands = request.app.state.hands
    return single(
        request,
        {
            "version": __version__,
            "environment": hands.environment,
            "query": {"fields": FIELDS, "states": sorted(STATES), "has": HAS},
            "event_types": sorted(TYPES.values()),
            "rights": list(RIGHTS),
            "limits": {
                "page_items": LIMIT_MAX,
                "requests_per_minute": hands.requests_per_minute,
                "body_bytes": hands.body_bytes_max,
                "idempotency_kept_ms": round(idempotency.KEPT.total_seconds() * 1000),
            },
        },
    )


@operation(api, "GET", "/openapi.json", PUBLIC)
async def get_openapi(request: Request) -> Response:
    """Return this document."""
    return single(request, request.app.openapi())
