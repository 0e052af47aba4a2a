"""Decides how a connection proves who it is, and renews that proof once for all callers.

``HttpClient`` asks for ``current`` on each request (an attribute, so that it costs nothing)
and calls ``renew`` when the system refuses it. However many calls are refused together,
one renewal is under way and all of them wait for it. It never retries a refused renewal.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import orjson

from topstitch.connectors.contract import Given
from topstitch.foundation.errors import CredentialError, OperatorError, TransientError

AHEAD_SECONDS_MAX: Final = 60.0
LIFETIME_SECONDS_DEFAULT: Final = 3600.0
_OK: Final = 200
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


class RawAnswer(Protocol):
    """What is needed of a token endpoint's answer."""

    status: int
    body: bytes


class Sender(Protocol):
    """What is needed of an HTTP client to fetch a token."""

    title: str

    async def raw(self, method: str, url: str, *, headers: Mapping[str, str], data: bytes | None) -> Any:
        """Send one request outside of limits and credentials."""
        ...


class Auth(Protocol):
    """How a connection proves who it is."""

    header: str

    @property
    def current(self) -> str | None:
        """The header's value, if one is at hand and not about to expire."""
        ...

    async def obtain(self, sender: Sender) -> str | None:
        """Return the header's value, fetching it first if need be."""
        ...

    async def renew(self, sender: Sender, stale: str) -> None:
        """Replace ``stale``, unless somebody already did; raise ``CredentialError`` if there is nothing better."""
        ...


class NoAuth:
    """No credential at all."""

    header = "Authorization"
    current: str | None = None

    async def obtain(self, sender: Sender) -> str | None:  # noqa: ARG002 -- the form of Auth
        """Return nothing."""
        return None

    async def renew(self, sender: Sender, stale: str) -> None:
        """Do nothing: there is nothing to renew."""


class StaticAuth:
    """A credential that is written down: bearer token, basic pair or API key. Renewing reads the reference again."""

    def __init__(self, given: Given, make: Callable[[], str], header: str = "Authorization") -> None:
        self.header = header
        self._given = given
        self._make = make
        self._value: str | None = None

    @property
    def current(self) -> str | None:
        """The value as it was read last."""
        return self._value

    async def obtain(self, sender: Sender) -> str | None:  # noqa: ARG002 -- the form of Auth
        """Read the reference if that was not done yet."""
        if self._value is None:
            self._value = self._make()
        return self._value

    async def renew(self, sender: Sender, stale: str) -> None:
        """Read the reference again: a rotated credential is picked up, the same one is refused for good."""
        if self._value != stale:
            return
        _read_again(self._given)
        self._value = self._make()
        if self._value == stale:
            raise _refused(sender.title, self._given.alias, "the credential", "")


def bearer(given: Given, credential: str) -> StaticAuth:
    """Send a token that is written down."""
    return StaticAuth(given, lambda: f"Bearer {given.credentials.get(credential)}")


def basic(given: Given, user: str, password: str) -> StaticAuth:
    """Send user and password."""
    return StaticAuth(given, lambda: basic_value(given.credentials.get(user), given.credentials.get(password)))


def api_key(given: Given, header: str, credential: str) -> StaticAuth:
    """Send a key in a header of its own."""
    return StaticAuth(given, lambda: given.credentials.get(credential), header)


def basic_value(user: str, password: str) -> str:
    """Return the header value of HTTP basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class OAuth2:
    """OAuth 2.0 tokens: client credentials, or a refresh token where the connection has one."""

    header = "Authorization"

    def __init__(
        self,
        given: Given,
        token_url: str,
        *,
        in_header: bool = False,
        scope: str = "",
        extra: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._given = given
        self._token_url = token_url
        self._in_header = in_header
        self._scope = scope
        self._extra = extra
        self._value: str | None = None
        self._good_until: datetime | None = None
        self._under_way: asyncio.Task[None] | None = None

    @property
    def current(self) -> str | None:
        """The token in its header form, unless it is about to expire."""
        if self._good_until is not None and self._given.clock.now() >= self._good_until:
            return None
        return self._value

    async def obtain(self, sender: Sender) -> str | None:
        """Return a token, fetching one if there is none or it is about to expire."""
        if self.current is None:
            await self._fetch_once(sender)
        return self._value

    async def renew(self, sender: Sender, stale: str) -> None:
        """Fetch another token, unless somebody already did."""
        if self._value == stale:
            await self._fetch_once(sender)

    async def _fetch_once(self, sender: Sender) -> None:
        """Join the renewal that is under way, or start one. A caller that gives up does not end it for the others."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.ensure_future(self._fetch(sender))
            self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._under_way)

    async def _fetch(self, sender: Sender) -> None:
        answer = await self._ask(sender)
        if answer.status in (400, 401, 403):
            if not _read_again(self._given):
                raise self._refusal(sender, answer)
            answer = await self._ask(sender)
        if answer.status >= _SERVER_ERROR or answer.status == _TOO_MANY:
            raise TransientError(
                "token_endpoint_down",
                f"{sender.title} gives out no tokens now ({answer.status}), so nothing was sent; it is tried again",
                status=answer.status,
            )
        self._keep(sender, answer)

    async def _ask(self, sender: Sender) -> RawAnswer:
        credentials = self._given.credentials
        client_id, secret = credentials.get("client_id"), credentials.get("client_secret")
        refresh = credentials.optional("refresh_token")
        form = (
            {"grant_type": "refresh_token", "refresh_token": refresh}
            if refresh
            else {"grant_type": "client_credentials"}
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._in_header:
            headers["Authorization"] = basic_value(client_id, secret)
            self._given.redactor.learn(headers["Authorization"].removeprefix("Basic "))
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        if self._scope:
            form["scope"] = self._scope
        if self._extra is not None:
            form |= self._extra()
        answer: RawAnswer = await sender.raw("POST", self._token_url, headers=headers, data=urlencode(form).encode())
        return answer

    def _keep(self, sender: Sender, answer: RawAnswer) -> None:
        try:
            document = orjson.loads(answer.body)
            token = document["access_token"]
            lifetime = float(document.get("expires_in") or LIFETIME_SECONDS_DEFAULT)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise self._refusal(sender, answer) from None
        self._given.redactor.learn(str(token))
        self._value = f"Bearer {token}"
        ahead = min(AHEAD_SECONDS_MAX, lifetime / 10)
        self._good_until = self._given.clock.now() + timedelta(seconds=lifetime - ahead)

    def _refusal(self, sender: Sender, answer: RawAnswer) -> CredentialError:
        return _refused(
            sender.title, self._given.alias, "client_id and client_secret", answer.body[:500].decode("utf-8", "replace")
        )


def _read_again(given: Given) -> bool:
    try:
        return given.credentials.read_again()
    except OperatorError as error:
        raise CredentialError(error.code, error.message) from None


def _refused(title: str, alias: str, what: str, body: str) -> CredentialError:
    return CredentialError(
        "credential_refused",
        f"{title} refuses {what} of connection {alias!r}; "
        "renew it at the system, then update the reference it is read from",
        body=body,
    )
