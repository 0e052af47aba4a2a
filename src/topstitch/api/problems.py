"""Decides how every error leaves: as an RFC 9457 problem document, whatever went wrong and wherever.

``handlers`` is what the application is made with; nothing else answers with an error. The page a
problem's ``type`` points to is served by ``explain``.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.errors import (
    AuthorError,
    ConflictError,
    ConnectorError,
    NotAllowedError,
    NotFoundError,
    OperatorError,
    RequestError,
    TopstitchError,
)
from topstitch.foundation.ids import new_id

LOG: Final = logging.getLogger("topstitch.api")
MEDIA_TYPE: Final = "application/problem+json"
PAGES: Final = "/docs/errors"
RETRY_SECONDS: Final = 30
"""When a sender should come again after our own trouble."""
STATUS_BY_CODE: Final[Mapping[str, int]] = {
    "json-invalid": 400,
    "media-type": 415,
    "too-large": 413,
    "batch-too-large": 413,
    "idempotency-key-missing": 400,
    "idempotency-key-invalid": 400,
    "precondition-required": 428,
    "precondition-failed": 412,
    "throttled": 429,
    "sign-in-wait": 429,
    "not-signed-in": 401,
    "signature-missing": 401,
    "signature-wrong": 401,
    "signature-old": 401,
    "credentials-wrong": 401,
    "token-wrong": 401,
}
STATUS_BY_KIND: Final[tuple[tuple[type[TopstitchError], int], ...]] = (
    (NotFoundError, 404),
    (NotAllowedError, 403),
    (ConflictError, 409),
    (RequestError, 422),
    (AuthorError, 422),
    (OperatorError, 503),
    (ConnectorError, 502),
)
TITLES: Final[Mapping[str, str]] = {
    "json-invalid": "The body is no JSON",
    "media-type": "The content type is not read here",
    "too-large": "The body is too large",
    "batch-too-large": "The batch holds too many events",
    "event-invalid": "The event lacks a field or has a wrong one",
    "event_invalid": "The notification lacks a field or has a wrong one",
    "event-unknown": "There is no event of this type",
    "event_unknown": "There is no event of this type",
    "event-unfit": "The definition cannot read the event",
    "empty-key": "The event lacks what keeps instances apart",
    "hook-unknown": "There is no such hook",
    "signature-missing": "The delivery is not signed",
    "signature-wrong": "The signature is not of this body",
    "signature-old": "The signature's time is too far from ours",
    "credentials-wrong": "The credentials are not those of this hook",
    "idempotency-key-missing": "The request needs a key",
    "idempotency-key-invalid": "The key is none",
    "idempotency-key-reused": "The key belongs to another request",
    "idempotency-running": "The first request is still being carried out",
    "precondition-required": "Say what you looked at",
    "precondition-failed": "It has changed since you looked",
    "throttled": "Too many requests",
    "not-signed-in": "Nobody is signed in",
    "not-allowed": "This is not allowed to you",
    "request-invalid": "The request lacks a field or has a wrong one",
    "parameter-unknown": "There is no such parameter",
    "cursor-invalid": "The cursor is none of this list",
    "approval-decided": "The approval was already decided",
    "not-found": "There is nothing at this address",
    "method-not-allowed": "This address does not take this method",
    "unexpected": "Something unexpected happened",
}
"""Each code's title; what is not listed is titled by its status."""
PAGE: Final = """{title}

Code: {code}

The answer's "detail" says what happened and ends with the remedy; "errors" names each field.
An event that was refused is kept as it came; its number stands under "rejected".
"""


def handlers() -> dict[Any, Any]:
    """Return what turns every exception of the application into a problem document."""
    return {HTTPException: _http, RequestValidationError: _invalid, TopstitchError: _ours, Exception: _unexpected}


def problem(error: TopstitchError, at: str) -> dict[str, Any]:
    """Return an error as the document that is sent."""
    status = status_of(error)
    document = _document(error.code, status, error.message, at)
    document["retryable"] = status >= 500
    for name in ("errors", "rejected"):
        if name in error.detail:
            document[name] = error.detail[name]
    return document


def status_of(error: TopstitchError) -> int:
    """Return the HTTP status that says who must act."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    return next((status for kind, status in STATUS_BY_KIND if isinstance(error, kind)), 500)


async def explain(request: Request) -> Response:
    """Serve the page of a problem type."""
    code = request.path_params["code"]
    if not _CODE.fullmatch(code):
        raise NotFoundError("not-found", f"there is no problem {code!r}; its code is letters, digits, - and _")
    title = TITLES.get(code) or code.replace("-", " ").replace("_", " ").capitalize()
    return PlainTextResponse(PAGE.format(title=title, code=code))


def answer(document: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON."""
    return Response(canonical_bytes(document), status, headers, media_type="application/json")


def _ours(request: Request, error: TopstitchError) -> Response:
    document = problem(error, request.url.path)
    status = document["status"]
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    wait = getattr(error, "retry_after_seconds", None) or getattr(error, "seconds", None)
    if status == 429 and wait:
        headers["Retry-After"] = str(math.ceil(wait))
        document["retryable"] = True
    if status == 401:
        scheme = "Bearer" if error.code in ("not-signed-in", "token-wrong") else "Basic"
        headers["WWW-Authenticate"] = f'{scheme} realm="topstitch", charset="UTF-8"'
    headers |= error.detail.get("headers", {})
    if status >= 500:
        LOG.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return _problem(request, document, headers)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    """Name every field of a request that is missing or wrong."""
    errors = [_field(one) for one in error.errors()]
    said = "; ".join(f"{one['pointer'] or '/'} {one['detail']}" for one in errors[:3])
    if any(one["code"] == "json_invalid" for one in errors):
        document = _document("json-invalid", 400, f"the body is no JSON; {said}; correct it", request.url.path)
    else:
        document = _document("request-invalid", 422, f"{said}; correct what errors names", request.url.path)
    return _problem(request, {**document, "errors": errors}, {})


def _field(found: Mapping[str, Any]) -> dict[str, Any]:
    place, *rest = found["loc"]
    pointer = "".join(f"/{part}" for part in rest)
    if place in ("query", "header", "path"):
        pointer = {"query": "?", "header": "header:", "path": "path:"}[place] + "/".join(map(str, rest))
    code = {"missing": "required", "extra_forbidden": "unknown"}.get(found["type"], found["type"])
    if code == "json_invalid":
        pointer = ""
    return {"pointer": pointer, "code": code, "detail": found["msg"][:1].lower() + found["msg"][1:]}


def _http(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "-")
    detail = _HTTP_DETAILS.get(status, error.detail)
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(request))) or headers.get("Allow", "")
    return _problem(request, _document(code, status, detail, request.url.path), headers)


def _allowed(request: Request) -> set[str]:
    """Return every method that an address takes, whichever route takes it; one that is named itself comes first."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [route for route in request.app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    named = [route for route in routes if route.path == path]
    return {method for route in named or routes for method in route.methods or ()}


def _unexpected(request: Request, error: Exception) -> Response:
    name = new_id("err", SystemClock().now())
    LOG.error("%s: %s %s: %s", name, request.method, request.url.path, error, exc_info=error)
    detail = f"something unexpected happened; send it again later, and report it with {name}, which the log has too"
    document = {**_document("unexpected", 500, detail, request.url.path), "id": name, "retryable": True}
    return _problem(request, document, {})


def _document(code: str, status: int, detail: str, at: str) -> dict[str, Any]:
    title = TITLES.get(code) or HTTPStatus(status).phrase
    return {
        "type": f"{PAGES}/{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": at,
        "code": code,
        "retryable": False,
    }


def _problem(request: Request, document: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """Send a problem; ``trace_id`` is the caller's own, where they sent one."""
    traced = _TRACE.fullmatch(request.headers.get("traceparent", ""))
    if traced:
        document = {**document, "trace_id": traced[1]}
    return Response(canonical_bytes(document), document["status"], headers, media_type=MEDIA_TYPE)


_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
_HTTP_DETAILS: Final[Mapping[int, str]] = {
    404: "there is nothing at this address; events go to POST /api/v1/events, webhooks to POST /hooks/<name>",
    405: "this address does not take this method; the Allow header lists those it takes",
}
