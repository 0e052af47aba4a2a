"""Decides how resources leave: JSON in one form, pages with a cursor, single resources with a tag.

Times are RFC 3339 with milliseconds, durations are ``*_ms``; a page is ``{items, next}`` with a
``Link``; a single resource has an ``ETag`` of its own text, and ``If-None-Match`` saves sending it.
Changing what several people look at needs ``If-Match``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response

from topstitch.foundation.canonical import canonical_bytes, digest_bytes
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import rfc3339

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: times as text, mappings and sequences all the way down."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return value


def send(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer."""
    return Response(canonical_bytes(plain(document)), status, dict(headers or {}), media_type="application/json")


def page(
    request: Request, items: Sequence[Mapping[str, Any]], following: str | None, *, count: int | None = None
) -> Response:
    """Return one page of a list; ``following`` is the cursor of the next one."""
    document: dict[str, Any] = {"items": list(items), "next": following}
    if count is not None:
        document["count"] = count
    headers = {}
    if following is not None:
        query = {**request.query_params, "after": following}
        headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return send(document, headers=headers)


def cut(
    request: Request, rows: Sequence[Mapping[str, Any]], after: str | None, limit: int, *, key: str = "id"
) -> Response:
    """Return one page of a list that was read whole; its cursor is the ``key`` of a row."""
    names = [str(row[key]) for row in rows]
    if after is not None and after not in names:
        raise bad_cursor(after)
    begin = names.index(after) + 1 if after is not None else 0
    shown = rows[begin : begin + limit]
    more = begin + limit < len(rows)
    return page(request, shown, names[begin + limit - 1] if more else None)


def bad_cursor(after: str) -> RequestError:
    """Return the error for a cursor that is none."""
    message = f"after={after!r} is no cursor of this list; use the next of the page before, or leave it out"
    error = {"pointer": "?after", "code": "invalid", "detail": "is no cursor of this list"}
    return RequestError("cursor-invalid", message, detail={"errors": [error]})


def split_cursor(after: str | None) -> tuple[int, str] | None:
    """Return the time and id of a cursor."""
    if after is None:
        return None
    at, dot, name = after.partition(".")
    if not dot or not at.isdigit() or len(at) > 15 or not name:
        raise bad_cursor(after)
    return int(at), name


def tag_of(document: Mapping[str, Any]) -> str:
    """Return the tag of a resource: of its text, so that it changes when anything does."""
    return f'"{digest_bytes(canonical_bytes(plain(document)))[7:29]}"'


def single(request: Request, document: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Return one resource with its tag, or 304 when the caller has it."""
    tag = tag_of(document)
    fields = {"ETag": tag, "Cache-Control": "private, no-cache", **headers}
    if request.method in ("GET", "HEAD") and _names(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=fields)
    return send(document, status, fields)


def require_match(request: Request, document: Mapping[str, Any]) -> None:
    """Raise unless the caller says what they looked at, and it is still so."""
    given = request.headers.get("if-match")
    if given is None:
        message = "say what you looked at: send If-Match with the ETag of this resource"
        raise RequestError("precondition-required", message)
    tag = tag_of(document)
    if not _names(given, tag):
        message = "this has changed since you looked; get it again, then decide by what it is now"
        raise RequestError("precondition-failed", message, detail={"headers": {"ETag": tag}})


def _names(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in header.split(","))
