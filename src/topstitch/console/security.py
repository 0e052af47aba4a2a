"""Decides what a browser may do with a page of the console, and which posts are taken.

Every answer carries a strict Content-Security-Policy with a fresh nonce: no inline script, no
inline style, no other host, Trusted Types. Unsafe methods are taken only from our own pages, by
Fetch Metadata, else by comparing ``Origin`` with the configured origin. There are no tokens.
"""

from __future__ import annotations

import base64
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from topstitch.access.origins import REFUSED, SAFE, is_ours
from topstitch.foundation.ids import random_bytes

SERVERS: Final = "/sign-in/ended/"
"""Where a sign-in provider's own server says that a session has ended; what it says is signed."""
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)


class Shield:
    """Middleware around every page."""

    def __init__(self, app: ASGIApp, origin: str | None = None) -> None:
        self._app, self._origin = app, origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse foreign posts; put the headers on every answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = base64.urlsafe_b64encode(random_bytes(18)).decode()
        scope.setdefault("state", {})["nonce"] = nonce

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["method"] not in SAFE and not (scope["path"].startswith(SERVERS) or is_ours(scope, self._origin)):
            await PlainTextResponse(REFUSED + "\n", 403)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)
