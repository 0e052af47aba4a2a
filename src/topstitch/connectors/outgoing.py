"""Sends one message to a webhook endpoint, and never to a private address unasked.

``bootstrap.webhooks`` calls it with what ``signing`` has signed. The name is resolved here and every address is judged
before anything is connected to, so that a name that points inside is refused whenever it does. Redirects are not
followed. Whatever happens is an answer or a reason, never an exception.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from topstitch.foundation.errors import RequestError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TIMEOUT_SECONDS: Final = 20.0
ANSWER_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of sending: the status that the receiver gave, or why there is none."""

    status: int | None = None
    problem: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks such as ``10.0.0.0/8``; raise ``ValueError`` for what is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def require_sendable(url: str, allowed: Sequence[Network]) -> None:
    """Raise ``RequestError`` unless a webhook may be sent to an address, as far as the address itself tells."""
    parts = urlsplit(url)
    try:
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("https", "http") or not host or parts.username or parts.password or parts.fragment:
        message = "a webhook's url is an https address without user, password or fragment; correct it"
        raise RequestError("webhook-url", message)
    literal = _literal(host)
    if literal is not None:
        why = why_refused(literal, allowed)
        if why is not None:
            raise RequestError("webhook-private", why)
    if parts.scheme == "http" and (literal is None or not _within(literal, allowed)):
        message = "a webhook is sent over https; http is for addresses that the setting webhook_networks allows"
        raise RequestError("webhook-url", message)


def why_refused(address: str, allowed: Sequence[Network]) -> str | None:
    """Say why nothing is sent to an address, or nothing when it may be."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None) or found
    if _within(str(mapped), allowed) or (mapped.is_global and not mapped.is_multicast):
        return None
    return f"{address} is no public address; an operator can allow it with the setting webhook_networks"


class Outgoing:
    """Sends messages; one for a process."""

    def __init__(self, allowed: Sequence[Network] = (), *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.allowed = tuple(allowed)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one message; return how it was answered."""
        try:
            require_sendable(url, self.allowed)
            async with self._opened().post(
                url,
                data=body,
                headers={**headers, "Content-Type": "application/cloudevents+json", "User-Agent": "topstitch-webhooks"},
                allow_redirects=False,
            ) as answer:
                said = (await answer.content.read(ANSWER_CHARACTERS_MAX)).decode("utf-8", "replace")
                return Answer(status=answer.status, problem=None if answer.status < 300 else said or None)
        except RequestError as error:
            return Answer(problem=error.message)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Answer(problem=f"{type(error).__name__}: {error}"[:ANSWER_CHARACTERS_MAX])

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=_Guarded(self.allowed), limit=20, use_dns_cache=False)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False)
        return self._session


class _Guarded(AbstractResolver):
    """Resolves names, and refuses those that point to where nothing is sent."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            why = why_refused(one["host"], self._allowed)
            if why is not None:
                raise OSError(f"{host} is {why}")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _within(address: str, networks: Sequence[Network]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found.version == one.version and found in one for one in networks)


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
