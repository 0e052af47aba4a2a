"""Takes what people press in Slack, at ``POST /hooks/slack/interactivity``: signed, acknowledged, done afterwards.

The raw body's signature is checked before anything in it is looked at. The answer goes out within Slack's
three seconds because nothing is decided before it; a delivery that Slack repeats is the same click.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch.connectors.slack.interactive import verify
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotFoundError, OperatorError, RequestError

PATH: Final = "/hooks/slack/interactivity"
BODY_BYTES_MAX: Final = 1 << 20
Take = Callable[[Mapping[str, Any]], bool]
Secret = Callable[[], str | None]


def routes(take: Take, secret: Secret, clock: Clock) -> list[Route]:
    """Return the address. ``take`` begins to answer a click; ``secret`` is what Slack signs with."""
    door = _Door(take, secret, clock)
    return [Route(PATH, door.interactivity, methods=["POST"])]


class _Door:
    def __init__(self, take: Take, secret: Secret, clock: Clock) -> None:
        self._take, self._secret, self._clock = take, secret, clock

    async def interactivity(self, request: Request) -> Response:
        """Take one click."""
        secret = self._secret()
        if secret is None:
            raise NotFoundError(
                "slack-unsigned",
                "no signing_secret is named for this Slack; name it under the connection's credentials",
            )
        body = await _body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        verify(secret, headers, body, self._clock.now())
        if not self._take(_payload(body)):
            raise OperatorError("clicks-many", "too many clicks are being answered; press again in a moment")
        return Response(status_code=200)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RequestError("too-large", f"a click has at most {BODY_BYTES_MAX // 1024} KB; send less")
    return bytes(body)


def _payload(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(parse_qs(body.decode("utf-8", "strict")).get("payload", [""])[0])
    except (UnicodeDecodeError, orjson.JSONDecodeError):
        found = None
    if not isinstance(found, dict):
        raise RequestError(
            "slack-payload", "the form holds no payload of Slack; send one as Slack's interactivity does"
        )
    return found
