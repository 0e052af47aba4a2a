"""Speaks with one OIDC provider: authorization code with PKCE, state and nonce; ID tokens checked; signing out.

``Access`` holds one for each provider. Requests and claims are worded and judged by Authlib, signatures
by joserfc; here is the transport, bounded in time and size. Who a subject is here, and what they may
do, it does not know. An access token is used for the userinfo of this sign-in, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.claims import JWTClaims
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from topstitch.access.providers import Provider
from topstitch.foundation.canonical import parse
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotAllowedError, OperatorError

SECONDS_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 1 << 20
METADATA_KEPT: Final = timedelta(hours=1)
LEEWAY_SECONDS: Final = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key pair alone: ``none`` and shared secrets never count."""
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


class Oidc:
    """One provider, as we speak with it."""

    def __init__(self, name: str, provider: Provider, clock: Clock, folder: Path) -> None:
        self.name, self.provider = name, provider
        self._clock, self._folder = clock, folder
        self._metadata: tuple[datetime, Mapping[str, Any]] | None = None
        self._keys: KeySet | None = None

    async def authorization_url(
        self, *, state: str, nonce: str, verifier: str, redirect_uri: str, anew: bool = False
    ) -> str:
        """Return where the browser goes to sign in; ``anew`` asks for the password even of who is signed in there."""
        metadata = await self._known()
        more: dict[str, Any] = {"prompt": "login", "max_age": 0} if anew else {}
        return str(
            prepare_grant_uri(
                metadata["authorization_endpoint"],
                self.provider.client_id,
                "code",
                redirect_uri,
                " ".join(self.provider.scopes),
                state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
                **more,
            )
        )

    async def claims(self, *, code: str, verifier: str, redirect_uri: str, nonce: str) -> Mapping[str, Any]:
        """Trade a code for what the provider says of the person; raise ``NotAllowedError`` when it does not fit."""
        token = await self._exchange(code, verifier, redirect_uri)
        if not isinstance(token.get("id_token"), str):
            raise _refused("the provider sent no ID token")
        params = {"nonce": nonce, "client_id": self.provider.client_id, "access_token": token.get("access_token")}
        claims = await self._verified(token["id_token"], CodeIDToken, params, self._options())
        return {**await self._userinfo(token, str(claims["sub"])), **claims}

    async def logout_url(self, back_to: str) -> str | None:
        """Return where the browser goes to sign out there too; nothing when the provider has no such place."""
        end = (await self._known()).get("end_session_endpoint")
        if not end:
            return None
        return f"{end}?{urlencode({'client_id': self.provider.client_id, 'post_logout_redirect_uri': back_to})}"

    async def logout_of(self, text: str) -> tuple[str | None, str | None]:
        """Check a back-channel logout token; return the provider's session and the subject that it ends."""
        options: dict[str, Any] = {**self._options(), "iat": {"essential": True}, "jti": {"essential": True}}
        options.pop("sub")
        claims = await self._verified(text, JWTClaims, {}, options)
        events = claims.get("events")
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise _refused("this is no logout token")
        session, subject = claims.get("sid"), claims.get("sub")
        if session is None and subject is None:
            raise _refused("the logout token names neither a session nor a subject")
        return (str(session) if session else None), (str(subject) if subject else None)

    def _options(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self.provider.issuer},
            "aud": {"essential": True, "value": self.provider.client_id},
            "sub": {"essential": True},
        }

    async def _verified(
        self, text: str, kind: type[Any], params: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            token = await self._decoded(text)
            claims = kind(token.claims, token.header, dict(options), dict(params))
            claims.validate(now=int(self._clock.now().timestamp()), leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _refused(f"what the provider signed does not hold ({error})") from None
        return dict(claims)

    async def _decoded(self, text: str) -> jwt.Token:
        offered = (await self._known()).get("id_token_signing_alg_values_supported", ["RS256"])
        registry = JWSRegistry(algorithms=[a for a in offered if a in ALGORITHMS], strict_check_header=False)
        try:
            return jwt.decode(text, await self._key_set(), registry=registry)
        except (InvalidKeyIdError, JoseError):
            self._keys = None  # the provider may have rotated its keys
            return jwt.decode(text, await self._key_set(), registry=registry)

    async def _key_set(self) -> KeySet:
        if self._keys is None:
            document: Any = await self._get((await self._known())["jwks_uri"])
            self._keys = KeySet.import_key_set(document)
        return self._keys

    async def _known(self) -> Mapping[str, Any]:
        now = self._clock.now()
        if self._metadata is None or now - self._metadata[0] > METADATA_KEPT:
            found = await self._get(self.provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.provider.issuer:
                message = (
                    f"the provider {self.name} calls itself {found.get('issuer')!r}, not {self.provider.issuer!r}; "
                    "write its own name as issuer in sign-in.toml"
                )
                raise OperatorError("provider-foreign", message)
            self._metadata = (now, found)
        return self._metadata[1]

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        metadata = await self._known()
        secret = self.provider.secret(self._folder)
        body = prepare_token_request("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)
        offered = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        way = "none" if secret is None else next((w for w in _WAYS if w in offered), _WAYS[0])
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        auth = ClientAuth(self.provider.client_id, secret or "", way)
        uri, headers, body = auth.prepare("POST", metadata["token_endpoint"], headers, body)
        return await self._ask("POST", uri, headers=headers, data=body)

    async def _userinfo(self, token: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """Return what userinfo adds; it counts only for the subject of the ID token."""
        place = (await self._known()).get("userinfo_endpoint")
        access = token.get("access_token")
        if not place or not isinstance(access, str):
            return {}
        found = await self._get(place, {"Authorization": f"Bearer {access}"})
        return found if found.get("sub") == subject else {}

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._ask("GET", url, headers={"Accept": "application/json", **(headers or {})})

    async def _ask(self, method: str, url: str, **rest: Any) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as http,
                http.request(method, url, allow_redirects=False, **rest) as answer,
            ):
                body = await answer.content.read(ANSWER_BYTES_MAX)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the provider {self.name} does not answer ({type(error).__name__}); try again in a moment"
            raise OperatorError("provider-unreachable", message) from None
        document = _document(body)
        if status != 200 or document is None:
            said = (document or {}).get("error", f"HTTP {status}")
            raise _refused(f"the provider {self.name} said {said}")
        return document


_WAYS: Final = ("client_secret_basic", "client_secret_post")


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = parse(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refused(why: str) -> NotAllowedError:
    return NotAllowedError("sign-in-refused", f"Signing in did not work: {why}; start again from the sign-in page")
