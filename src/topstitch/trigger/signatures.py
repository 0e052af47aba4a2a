"""Decides whether a delivery comes from whom it claims: the vendor's own signature over the raw body.

``verify`` is called by ``accept`` with the hook's scheme and secrets before anything in the
body is looked at. Comparisons take the same time whatever differs. A signed delivery older
or newer than five minutes is refused, so that one that was overheard cannot be played again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from topstitch.foundation.errors import NotAllowedError, OperatorError

TOLERANCE_SECONDS: Final = 300
"""How far the sender's time may be from ours."""

Headers = Mapping[str, str]
"""By lower-case name."""


def verify(scheme: str, headers: Headers, body: bytes, now: datetime, secret: str, username: str | None = None) -> str:
    """Return ``scheme`` once the delivery has proved itself; raise ``NotAllowedError`` otherwise."""
    check = _CHECKS.get(scheme)
    if check is None:
        raise OperatorError("scheme-unknown", f"there is no scheme {scheme!r}; use one of {', '.join(_CHECKS)}")
    check(headers, body, now, secret, username)
    return scheme


def _standard_webhooks(headers: Headers, body: bytes, now: datetime, secret: str, _username: str | None) -> None:
    name, stamp = _header(headers, "webhook-id"), _header(headers, "webhook-timestamp")
    offered = _header(headers, "webhook-signature")
    _require_recent(stamp, now)
    expected = hmac.new(_key(secret), f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    candidates = [_decoded(one[3:]) for one in offered.split() if one.startswith("v1,")]
    # every candidate is compared, so that the time does not tell which one was close
    agrees = [hmac.compare_digest(expected, candidate) for candidate in candidates]
    if True not in agrees:
        raise _refused("signature-wrong", "webhook-signature", "is not this secret's signature of this body")


def _hmac_sha256(headers: Headers, body: bytes, now: datetime, secret: str, _username: str | None) -> None:
    offered = dict(part.partition("=")[::2] for part in _header(headers, "x-signature").split(",") if "=" in part)
    stamp = offered.get("t", "")
    _require_recent(stamp, now)
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), offered.get("v1", "").encode()):
        raise _refused("signature-wrong", "x-signature", "is not this secret's signature of this body")


def _basic(headers: Headers, _body: bytes, _now: datetime, secret: str, username: str | None) -> None:
    scheme, _, encoded = _header(headers, "authorization").partition(" ")
    offered = _decoded(encoded) if scheme.lower() == "basic" else b""
    if not hmac.compare_digest(f"{username or ''}:{secret}".encode(), offered):
        raise _refused("credentials-wrong", "authorization", "does not carry the user and password of this hook")


def _token(headers: Headers, _body: bytes, _now: datetime, secret: str, _username: str | None) -> None:
    offered = headers.get("x-topstitch-token") or headers.get("authorization", "").removeprefix("Bearer ")
    if not offered:
        raise _refused("signature-missing", "authorization", "is missing")
    if not hmac.compare_digest(secret.encode(), offered.encode()):
        raise _refused("credentials-wrong", "authorization", "does not carry the token of this hook")


_CHECKS: Final[Mapping[str, Callable[[Headers, bytes, datetime, str, str | None], None]]] = {
    "standard-webhooks": _standard_webhooks,
    "hmac-sha256": _hmac_sha256,
    "basic": _basic,
    "token": _token,
}


def _require_recent(stamp: str, now: datetime) -> None:
    if not stamp.isdigit() or len(stamp) > 12:
        raise _refused("signature-missing", "webhook-timestamp", "is no time in seconds since 1970")
    apart = abs(now.timestamp() - int(stamp))
    if apart > TOLERANCE_SECONDS:
        why = f"is {round(apart)} seconds from our clock, and {TOLERANCE_SECONDS} are allowed"
        raise _refused("signature-old", "webhook-timestamp", why)


def _key(secret: str) -> bytes:
    """Return the bytes of a ``whsec_`` secret."""
    key = _decoded(secret.removeprefix("whsec_"))
    if not key:
        raise OperatorError("secret-damaged", "the secret of this hook is no base64; write it as whsec_ and base64")
    return key


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _header(headers: Headers, name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise _refused("signature-missing", name, "is missing")
    return value


def _refused(code: str, header: str, why: str) -> NotAllowedError:
    message = f"the header {header} {why}; sign the delivery with the secret that this hook is configured with"
    return NotAllowedError(code, message, detail={"header": header, "why": why})
