"""Decides what a browser may do with a page of the console, and which posts are taken.

Every answer carries a strict Content-Security-Policy with a fresh nonce: no inline script, no
inline style, no other host, Trusted Types. Unsafe methods are taken only from our own pages, by
Fetch Metadata, else by comparing ``Origin`` with the configured origin. There are no tokens.
"""

from __future__ import annotations

import base64
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from topstitch.foundation.ids import random_bytes

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)
REFUSED: Final = (
    "This form did not come from the console's own pages, so nothing was changed. Open the page in the console and "
    "send it from there; behind a proxy, set the console's public origin.\n"
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

        if scope["method"] not in SAFE and not self.is_ours(Headers(scope=scope), scope):
            await PlainTextResponse(REFUSED, 403)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def is_ours(self, headers: Headers, scope: Scope) -> bool:
        """Whether an unsafe request comes from our own pages."""
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        wanted = self._origin or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        return headers.get("origin") == wanted
