"""Stands in front of a real OIDC provider: proves PKCE, and can lie in one way at a time.

Requests go on to the provider with our host, so that it calls itself by our address. The challenge of each
authorization is kept with the code that it led to; a code is traded for tokens only with the verifier
that hashes to it. ``lie`` changes the claims of the next ID tokens, which our own key signs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

Claims = dict[str, Any]


class Front:
    """What stands between us and the provider."""

    def __init__(self, behind: str) -> None:
        self.behind, self.issuer = behind, ""
        self.challenges: dict[str, str] = {}
        self.traded: list[tuple[str, bool]] = []
        """Each verifier that reached the token endpoint, and whether it fitted its challenge."""
        self.tamper: Callable[[str], str] = str
        """Changes a verifier on its way."""
        self.lie: Callable[[Claims], Claims] | None = None
        self.sign: Callable[[Claims], str] = self._signed
        self.keys = [self.fresh("k1")]

    @staticmethod
    def fresh(name: str) -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": name, "alg": "RS256", "use": "sig"})

    def rotate(self, name: str) -> None:
        """Sign with another key from now on, and know the old one no longer."""
        self.keys = [self.fresh(name)]

    def _signed(self, claims: Claims) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.keys[0].kid}, claims, self.keys[0])

    @staticmethod
    def unsigned(claims: Claims) -> str:
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "kid": "k1"}, claims)]
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request, mostly by asking the provider."""
        if request.path == "/jwks":
            return web.json_response(KeySet(self.keys).as_dict(private=False))
        body = await request.read()
        if request.path == "/oauth2/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            verifier = self.tamper(form.get("code_verifier", ""))
            found = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            fits = hmac.compare_digest(found, self.challenges.pop(form["code"], ""))
            self.traded.append((verifier, fits))
            if not fits:
                return web.json_response({"error": "invalid_grant"}, status=400)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as http,
            http.request(
                request.method, self.behind + request.path_qs, data=body, headers=headers, allow_redirects=False
            ) as there,
        ):
            text, status, kind = await there.read(), there.status, there.headers.get("Content-Type", "text/html")
            place = there.headers.get("Location")
        if request.path == "/oauth2/authorize" and place is not None:
            self.challenges[parse_qs(urlsplit(place).query)["code"][0]] = request.query["code_challenge"]
        if request.path == "/oauth2/token" and status == 200:
            text = self._retold(text)
        more = {"Location": place} if place is not None else {}
        return web.Response(body=text, status=status, headers={"Content-Type": kind, **more})

    def _retold(self, text: bytes) -> bytes:
        """Return the provider's answer with an ID token of ours, which may lie."""
        document = json.loads(text)
        middle = document["id_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        claims.pop("at_hash", None)
        document["id_token"] = self.sign(self.lie(claims) if self.lie else claims)
        return json.dumps(document).encode()


@asynccontextmanager
async def front(behind: str) -> AsyncIterator[Front]:
    """Listen for the time of the block."""
    one = Front(behind)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        port = runner.addresses[0][1]
        one.issuer = f"http://127.0.0.1:{port}"
        yield one
    finally:
        await runner.cleanup()
