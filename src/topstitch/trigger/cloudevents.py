"""Reads CloudEvents 1.0 over HTTP: structured, binary and batch, and names what is wrong with one.

``accept`` hands it the raw body and headers and gets documents back. Own parsing, because
this path is hot and the rules are few. It knows neither contracts nor definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_time
from topstitch.governance.forms import Misfit

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
BATCH_MAX: Final = 1000
"""How many events one batch may hold."""
TEXT_MAX: Final = 1024
"""Characters of an id, a source or a type."""
_REQUIRED: Final = ("specversion", "id", "source", "type")


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was sent: attributes checked, data not yet."""

    id: str
    source: str
    type: str
    data: Mapping[str, Any]
    time: datetime | None = None
    trace: str | None = None
    trace_state: str | None = None


def is_batch(headers: Mapping[str, str]) -> bool:
    """Tell a batch from a single event."""
    return _media_type(headers) == BATCH


def read_one(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Read a structured or binary event; raise ``RequestError`` that names the attribute."""
    if "ce-specversion" in headers:
        return event_of(_binary(headers, body))
    media = _media_type(headers)
    if media not in (STRUCTURED, "application/json", ""):
        wanted = f"{STRUCTURED}, {BATCH}, or ce- headers with application/json"
        raise invalid("media-type", [Misfit("", "media-type", f"content type {media!r} is not read; send {wanted}")])
    return event_of(_document(body))


def read_batch(body: bytes) -> list[Any]:
    """Read a batch as documents; each is checked by itself."""
    document = _document(body)
    if not isinstance(document, list):
        raise invalid("event-invalid", [Misfit("", "type", "must be a list of events")])
    if len(document) > BATCH_MAX:
        raise invalid("batch-too-large", [Misfit("", "too-many", f"must hold at most {BATCH_MAX} events")])
    return document


def event_of(document: Any) -> CloudEvent:
    """Check one document's attributes and return the event; raise ``RequestError`` naming each that is wrong."""
    if not isinstance(document, Mapping):
        raise invalid("event-invalid", [Misfit("", "type", "must be one CloudEvent as a JSON object")])
    wrong = [m for name in _REQUIRED if (m := _text_misfit(document, name))]
    if not wrong and document["specversion"] != "1.0":
        wrong.append(Misfit("/specversion", "const", "must be 1.0"))
    if not isinstance(document.get("data"), Mapping):
        wrong.append(Misfit("/data", "type", "must be an object" if "data" in document else "is missing"))
    time, trace, trace_state = document.get("time"), document.get("traceparent"), document.get("tracestate")
    moment = _time(time, wrong)
    if wrong:
        raise invalid("event-invalid", wrong)
    return CloudEvent(
        id=document["id"],
        source=document["source"],
        type=document["type"],
        data=document["data"],
        time=moment,
        trace=trace if isinstance(trace, str) else None,
        trace_state=trace_state if isinstance(trace_state, str) else None,
    )


def invalid(code: str, wrong: list[Misfit]) -> RequestError:
    """Return the error for an event that cannot be taken; it names every field."""
    first = wrong[0]
    more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
    message = f"{first.field}: {first.detail}{more}; correct it and send the event again"
    errors = [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in wrong]
    return RequestError(code, message, detail={"errors": errors})


def _binary(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    attributes: dict[str, Any] = {n[3:]: unquote(v) for n, v in headers.items() if n.startswith("ce-")}
    media = _media_type(headers)
    if media not in ("application/json", "") and not media.endswith("+json"):
        raise invalid("media-type", [Misfit("/datacontenttype", "media-type", "must be application/json")])
    return {**attributes, "data": _document(body)}


def _document(body: bytes) -> Any:
    try:
        return parse(body)
    except ValueError as error:
        raise invalid("json-invalid", [Misfit("", "json", f"is no JSON ({error})")]) from None


def _text_misfit(document: Mapping[str, Any], name: str) -> Misfit | None:
    value = document.get(name)
    if value is None or value == "":
        return Misfit(f"/{name}", "required", "is missing")
    if not isinstance(value, str):
        return Misfit(f"/{name}", "type", "must be text")
    if len(value) > TEXT_MAX:
        return Misfit(f"/{name}", "too-long", f"must have at most {TEXT_MAX} characters")
    return None


def _time(value: Any, wrong: list[Misfit]) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_time(value)
    except (ValueError, TypeError):
        wrong.append(Misfit("/time", "format", "must be written as 2026-01-31T09:00:00Z"))
        return None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
