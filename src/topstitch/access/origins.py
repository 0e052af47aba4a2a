"""Decides whether a request that changes something comes from our own pages, and whose address is ours.

The console's shield and the guard of the API call it for whatever is signed in by a cookie. By Fetch
Metadata; a browser without it is judged by ``Origin`` against the configured origin. There are no tokens.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""What proxies add."""
REFUSED: Final = (
    "This did not come from the console's own pages, so nothing was changed. Open the page in the console and "
    "send it from there; behind a proxy, set console_url."
)


def is_ours(scope: Scope, origin: str | None) -> bool:
    """Whether an unsafe request comes from our own pages; ``origin`` is the configured one."""
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    wanted = origin or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    return headers.get("origin") == wanted


def is_local(scope: Scope) -> bool:
    """Whether a request names this machine itself and came by no proxy.

    A page elsewhere that rebinds its name to us does not name this machine.
    """
    headers = Headers(scope=scope)
    if any(name in headers for name in FORWARDED):
        return False
    return is_loopback_name(headers.get("host", ""))


def is_loopback_name(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return any(_is_loopback(name.strip("[]")) for name in (host, bare))


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
