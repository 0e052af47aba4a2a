"""Decides how a request leaves, and what an answer, or its absence, means.

One pool of connections per connection of ``connections.toml``; ``exchange`` carries the bytes.
Adapters and the declarative connector call ``HttpClient.request``; a vendor overrides only where
it differs from the default table in ``classify``. Nothing is ever sent twice behind the
journal's back, but for the one case in which nothing can have been done: a refused token
is renewed once and the request repeated with the new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import orjson

from topstitch.connectors.auth import Auth, NoAuth
from topstitch.connectors.contract import CallContext, Given, Sent, unreadable
from topstitch.connectors.exchange import Exchanges, LostError, UnreachableError, UnsendableError
from topstitch.foundation.deadlines import within
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    CredentialError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)

CONNECT_SECONDS_MAX: Final = 10.0
BODY_KEPT_MAX: Final = 2000
WAIT_SHARE: Final = 0.9
"""How much of its time a call may spend waiting for its turn; the rest is for the answer."""
CONNECT_SHARE: Final = 0.9
"""How much of its time a call may spend connecting."""
JSON: Final = "application/json"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~:-]*")
"""What most ids and keys are made of: of that, only the colon needs quoting."""
REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "x-ms-request-id", "x-transaction-id", "x-slack-req-id")

STATUS_ACCEPTED: Final = 202
FIRST_REDIRECT: Final = 300
STATUS_UNAUTHORIZED: Final = 401
STATUS_FORBIDDEN: Final = 403
STATUS_TIMEOUT: Final = 408
STATUS_TOO_MANY: Final = 429
STATUS_NOT_IMPLEMENTED: Final = 501
STATUS_UNAVAILABLE: Final = 503
FIRST_ERROR: Final = 400
FIRST_SERVER_ERROR: Final = 500
REFUSED_AS_CHANGED: Final = (409, 412, 428)


class Answer:
    """One answer, read whole."""

    __slots__ = ("_json", "body", "headers", "status", "system")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, system: str = "") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.system = system
        self._json: Any = ...

    def json(self, *, writes: bool = False) -> Any:
        """Return the body as JSON; raise ``ConnectorError`` if it is none (an unknown outcome for a write)."""
        if self._json is ...:
            try:
                self._json = orjson.loads(self.body) if self.body else None
            except orjson.JSONDecodeError:
                raise unreadable(
                    self.system,
                    "a body that is no JSON",
                    writes=writes,
                    status=self.status,
                    request_id=self.request_id,
                    body=self.text(),
                ) from None
        return self._json

    def document(self, *, writes: bool = False) -> dict[str, Any]:
        """Return the body as a JSON object; raise ``ConnectorError`` if it is anything else."""
        document = self.json(writes=writes)
        if not isinstance(document, dict):
            raise unreadable(self.system, "JSON that is no object", writes=writes, status=self.status, body=self.text())
        return document

    def peek(self) -> Any:
        """Return the body as JSON, or nothing if it is none; for reading error bodies."""
        try:
            return self.json()
        except ConnectorError:
            return None

    def text(self) -> str:
        """Return the beginning of the body as text."""
        return self.body[:BODY_KEPT_MAX].decode("utf-8", "replace")

    @property
    def request_id(self) -> str | None:
        """The id that the system gave the request."""
        return next((self.headers[name] for name in REQUEST_ID_HEADERS if name in self.headers), None)


Classify: TypeAlias = Callable[[Answer, bool], ConnectorError | None]


class HttpClient:
    """What one connection of ``connections.toml`` sends, and what it gets."""

    def __init__(
        self,
        given: Given,
        *,
        title: str,
        auth: Auth | None = None,
        classify: Classify | None = None,
        expired: Callable[[Answer], bool] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.given = given
        self.title = title
        self.base_url = given.base_url.rstrip("/")
        self._origin = origin_of(self.base_url)
        self._auth: Auth = auth or NoAuth()
        self._classify: Classify = classify or self.classify
        self._expired = expired
        self._headers = {"Accept": JSON, "User-Agent": "Topstitch", **(headers or {})}
        self._exchanges = Exchanges()

    async def request(
        self,
        method: str,
        path: str,
        call: CallContext,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        writes: bool | None = None,
    ) -> Answer:
        """Send one request and return its answer; raise the ``ConnectorError`` that the answer means.

        ``writes`` says whether the request may change something; without it the method decides.
        """
        if writes is None:
            writes = method not in ("GET", "HEAD")
        url = self._url(path, query)
        sent_headers = {**self._headers, **headers} if headers else self._headers.copy()
        if body is not None:
            data = orjson.dumps(body)
            sent_headers.setdefault("Content-Type", JSON)
        elif form is not None:
            data = urlencode(form).encode()
            sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
        trace = call.traceparent
        if trace is not None:
            sent_headers["traceparent"] = trace
            state = call.tracestate
            if state is not None:
                sent_headers["tracestate"] = state
        call.sent = Sent(method, url, sent_headers, data)
        answer = await self._send_authorised(method, url, sent_headers, data, call.timeout_seconds, writes=writes)
        error = self._classify(answer, writes)
        if error is not None:
            raise self.heeded(error)
        return answer

    async def get(self, path: str, call: CallContext, **rest: Any) -> Answer:
        """Send a GET."""
        return await self.request("GET", path, call, **rest)

    def classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Return what an answer means by the default table; nothing means that it is good."""
        if answer.status < FIRST_REDIRECT and answer.status != STATUS_ACCEPTED:
            return None
        return classify(answer, self.title, writes=writes, retry_after=self.retry_after(answer))

    def retry_after(self, answer: Answer) -> float | None:
        """Return how many seconds the system asked for, if it did."""
        return parse_retry_after(answer.headers.get("Retry-After"), self.given.clock.now())

    async def raw(self, method: str, url: str, *, headers: Mapping[str, str], data: bytes | None) -> Answer:
        """Send one request outside of the connection's limits and credentials: what token endpoints need."""
        sent_headers = {**self._headers, **headers}
        return await self._exchange(method, url, sent_headers, data, self.given.timeout_seconds, writes=False)

    async def close(self) -> None:
        """Close its connections; what is under way ends by itself."""
        await self._exchanges.close()

    async def _send_authorised(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None, timeout: float, *, writes: bool
    ) -> Answer:
        """Send with the credential; a refused one is renewed once, for all callers together."""
        auth = self._auth
        credential = auth.current or await auth.obtain(self)
        if credential is not None:
            headers[auth.header] = credential
        answer = await self._send_limited(method, url, headers, data, timeout, writes=writes)
        if not self._refused(answer) or credential is None:
            return answer
        await auth.renew(self, credential)
        headers[auth.header] = await auth.obtain(self) or ""
        answer = await self._send_limited(method, url, headers, data, timeout, writes=writes)
        if self._refused(answer):
            raise CredentialError(
                "credential_refused",
                f"{self.title} refuses the credential of connection {self.given.alias!r} even after a renewal; "
                "renew it at the system, then update the reference it is read from",
                status=answer.status,
                request_id=answer.request_id,
                body=answer.text(),
            )
        return answer

    def _refused(self, answer: Answer) -> bool:
        if answer.status == STATUS_UNAUTHORIZED:
            return True
        return self._expired is not None and self._expired(answer)

    async def _send_limited(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, timeout: float, *, writes: bool
    ) -> Answer:
        limits = self.given.limits
        await limits.enter(timeout * WAIT_SHARE)
        try:
            return await self._exchange(method, url, headers, data, timeout, writes=writes)
        finally:
            limits.leave()

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, timeout: float, *, writes: bool
    ) -> Answer:
        """Perform one exchange and say of every way in which it can break whether anything may have been done."""
        connect_seconds = min(CONNECT_SECONDS_MAX, timeout * CONNECT_SHARE)
        try:
            with within(timeout):
                status, received, content = await self._exchanges.exchange(
                    method, url, headers, data, connect_seconds=connect_seconds
                )
        except UnreachableError as error:
            raise TransientError(
                "unreachable",
                f"{self.title} cannot be reached at {self._origin}, so nothing was sent ({error}); "
                "check base_url and the network",
            ) from None
        except UnsendableError as error:
            raise PermanentError(
                "request_invalid",
                f"{self.title}: {error}, so nothing was sent; correct what is sent, or base_url of "
                f"{self.given.alias!r}",
            ) from None
        except (TimeoutError, LostError) as error:
            raise self._lost(error, timeout, writes=writes) from None
        return Answer(status, received, content, self.title)

    def _lost(self, error: Exception, timeout: float, *, writes: bool) -> ConnectorError:
        what = str(error) if isinstance(error, LostError) else f"did not answer within {timeout:g} s"
        cause = error.cause if isinstance(error, LostError) else ""
        detail = {"cause": cause} if cause else None
        if writes:
            return UnknownOutcomeError(
                "no_answer",
                f"{self.title} {what} after a write was sent; it is looked up whether it was done",
                detail=detail,
            )
        return TransientError("no_answer", f"{self.title} {what}; it is asked again", detail=detail)

    def refused_when(self, says: Callable[[Answer], bool]) -> None:
        """Renew the credential also when ``says`` finds its refusal in a body."""
        self._expired = says

    def heeded(self, error: ConnectorError) -> ConnectorError:
        """Hold back everybody who shares the connection when the system asked for time."""
        if isinstance(error, TransientError) and error.retry_after_seconds and error.status == STATUS_TOO_MANY:
            self.given.limits.close_for(error.retry_after_seconds)
        return error

    def _url(self, path: str, query: Mapping[str, Any] | None) -> str:
        if path.startswith("/"):
            url = self.base_url + path
        elif origin_of(path) == self._origin:
            url = path
        else:
            raise PermanentError(
                "address_foreign",
                f"{self.title} points to {origin_of(path)}, which is not the system at {self._origin}; "
                "nothing was sent there; correct base_url",
            )
        return f"{url}?{urlencode(query, quote_via=quote)}" if query else url


def classify(answer: Answer, title: str, *, writes: bool, retry_after: float | None = None) -> ConnectorError | None:
    """Return what an answer means by status alone (the default table); nothing means that it is good."""
    status = answer.status
    if status < FIRST_REDIRECT and (status != STATUS_ACCEPTED or not writes):
        return None
    rest: dict[str, Any] = {"status": status, "request_id": answer.request_id, "body": answer.text()}
    said = f"{title} answered {status}"
    if status == STATUS_ACCEPTED:
        return UnknownOutcomeError("accepted_only", f"{said}: accepted, not yet done; it is looked up", **rest)
    if status < FIRST_ERROR:
        return PermanentError("redirected", f"{said}: it points elsewhere; correct base_url of the connection", **rest)
    if status == STATUS_TOO_MANY or (status == STATUS_UNAVAILABLE and (retry_after is not None or not writes)):
        return nothing_done(answer, title, retry_after)
    if status in REFUSED_AS_CHANGED:
        return ChangedError(
            "conflict", f"{said}: somebody else changed it, or the key is taken; look at the record", **rest
        )
    if status == STATUS_UNAUTHORIZED:
        return CredentialError("credential_refused", f"{said}; renew the credential of the connection", **rest)
    if status == STATUS_FORBIDDEN:
        return PermanentError("forbidden", f"{said}; grant the connection's account the permission it lacks", **rest)
    if status == STATUS_TIMEOUT or (status >= FIRST_SERVER_ERROR and status != STATUS_NOT_IMPLEMENTED):
        if writes:
            return UnknownOutcomeError(
                "server_error", f"{said} to a write; it is looked up whether it was done", **rest
            )
        return TransientError("server_error", f"{said}; it is asked again", retry_after_seconds=retry_after, **rest)
    code = "not_found" if status in (404, 410) else "refused"
    return PermanentError(code, f"{said}; correct what is sent, or the record at the system", **rest)


def nothing_done(answer: Answer, title: str, retry_after: float | None) -> TransientError:
    """Return the error for an answer by which a system promises that it did nothing and may later."""
    busy = answer.status == STATUS_TOO_MANY
    return TransientError(
        "too_many_requests" if busy else "unavailable",
        f"{title} answered {answer.status} and did nothing; it is tried again"
        + (", or lower the connection's rate" if busy else ""),
        retry_after_seconds=retry_after,
        status=answer.status,
        request_id=answer.request_id,
        body=answer.text(),
    )


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or a date; what is no time says nothing."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    return text.replace(":", "%3A") if _PLAIN.fullmatch(text) else quote(text, safe="")


def origin_of(url: str) -> str:
    """Return scheme and host of an address, without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
