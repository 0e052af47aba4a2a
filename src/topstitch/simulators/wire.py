"""The forms in which a simulator receives a call and gives an answer.

A handler is a plain function ``(Call) -> Answer`` that may raise ``Refusal``; it never sees
a socket, so that one call is one transaction. ``simulator`` turns requests into calls.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read whole."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    query_text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    base_url: str = ""

    def json(self) -> Any:
        """Return the body read as JSON; an empty object if there is none or it is none."""
        try:
            return orjson.loads(self.body) if self.body else {}
        except orjson.JSONDecodeError:
            return {}

    def form(self) -> dict[str, str]:
        """Return the body read as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def fields(self) -> dict[str, Any]:
        """Return the body as a mapping, whether it came as JSON or as a form."""
        if "json" in self.headers.get("content-type", ""):
            document = self.json()
            return document if isinstance(document, dict) else {}
        return dict(self.form())

    def bearer(self) -> str:
        """Return the token of the Authorization header, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() in {"bearer", "oauth"} else ""

    def basic(self) -> tuple[str, str] | None:
        """Return user and password of the Authorization header, or nothing."""
        scheme, _, text = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(text).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return user, password


@dataclass(slots=True)
class Answer:
    """What goes back: a status, a body (JSON, or text with its media type), headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media: str = "application/json"

    def payload(self) -> bytes:
        """Return the body as bytes."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else orjson.dumps(self.body)


class Refusal(Exception):  # noqa: N818 (the answer of a vendor, not an error of ours)
    """A handler refuses: the transaction is taken back and ``answer`` is sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer


Handler: TypeAlias = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A vendor's address and what answers it. ``open`` ones need no token."""

    method: str
    path: str
    handler: Handler
    open: bool = False
