"""Decides how what a connector did or raised becomes an ``Outcome``.

The one place where a system's errors turn into values. What is kept for people (the
request as sent, the system's words) loses secrets and personal values first; both are
gathered only when something went wrong, so that a call that succeeds costs nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from topstitch.connectors.contract import CallContext, Connector, Done, Sent, unreadable
from topstitch.connectors.credentials import HIDDEN, Redactor, is_secret_name
from topstitch.foundation.clock import stopwatch
from topstitch.foundation.deadlines import within
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    CredentialError,
    OperatorError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)
from topstitch.model.action import ActionContract, JsonSchema
from topstitch.model.orders import Outcome, Problem, Result

PERSONAL: Final = "[personal]"
PERSONAL_LENGTH_MIN: Final = 3
BODY_KEPT_MAX: Final = 2000

_RESULTS: Final[Mapping[type[ConnectorError], Result]] = {
    TransientError: Result.TRANSIENT,
    PermanentError: Result.REFUSED,
    ChangedError: Result.CHANGED,
    UnknownOutcomeError: Result.UNKNOWN,
    CredentialError: Result.CREDENTIAL,
}


async def carry_out(
    connector: Connector,
    contract: ActionContract,
    params: Mapping[str, Any],
    call: CallContext,
    timeout_seconds: float,
    redactor: Redactor,
) -> Outcome:
    """Perform one action and return what came of it; never raise for what a system does."""
    began = stopwatch()
    error: ConnectorError
    try:
        with within(timeout_seconds):
            done = await connector.perform(contract.name, params, call)
        return _succeeded(done, began)
    except ConnectorError as raised:
        error = raised
    except OperatorError as raised:
        error = CredentialError(raised.code, raised.message)
    except TimeoutError:
        error = _too_slow(connector, contract, timeout_seconds)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as raised:
        what = f"an unexpected shape ({type(raised).__name__})"
        error = unreadable(connector.contract.title, what, writes=contract.writes)
    return _failed(error, began, call, Scrubber(redactor, params, contract.input))


async def prove_health(connector: Connector, call: CallContext, redactor: Redactor) -> Outcome:
    """Ask a connector for its health and return what came of it."""
    began = stopwatch()
    try:
        return _succeeded(Done(dict(await connector.health())), began)
    except ConnectorError as error:
        return _failed(error, began, call, Scrubber(redactor, {}, {}))
    except OperatorError as error:
        return _failed(CredentialError(error.code, error.message), began, call, Scrubber(redactor, {}, {}))


class Scrubber:
    """Takes secrets and the personal values of one call out of what is kept for people."""

    def __init__(self, redactor: Redactor, params: Mapping[str, Any], schema: JsonSchema) -> None:
        self._redactor = redactor
        personal = {text for text in _personal(params, schema) if len(text) >= PERSONAL_LENGTH_MIN}
        forms = personal | {_quoted(text) for text in personal}
        self._personal = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None
        secrets = [text for text in _marked(params, schema, "x-secret") if text]
        self._secrets = re.compile("|".join(map(re.escape, secrets))) if secrets else None

    def text(self, text: str) -> str:
        """Return text fit to be kept."""
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN, text)
        text = self._redactor.text(text)
        return self._personal.sub(PERSONAL, text) if self._personal is not None else text

    def value(self, value: Any) -> Any:
        """Return a JSON shape fit to be kept."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {k: HIDDEN if v and is_secret_name(str(k)) else self.value(v) for k, v in value.items()}
            case list():
                return [self.value(item) for item in value]
            case _:
                return value

    def request(self, sent: Sent | None) -> dict[str, Any] | None:
        """Return a request as sent, fit to be kept."""
        if sent is None:
            return None
        facts: dict[str, Any] = {
            "method": sent.method,
            "url": self.text(sent.url),
            "headers": self.value(dict(sent.headers)),
        }
        if sent.body:
            facts["body"] = self._body(sent.body)
        return facts

    def _body(self, body: bytes) -> Any:
        try:
            return self.value(orjson.loads(body))
        except orjson.JSONDecodeError:
            return self.text(body[:BODY_KEPT_MAX].decode("utf-8", "replace"))


def _succeeded(done: Done[Any], began: float) -> Outcome:
    return Outcome(
        result=Result.OK,
        value=done.value,
        found=done.found,
        record=done.record,
        url=done.url,
        duration_ms=round((stopwatch() - began) * 1000),
    )


def _failed(error: ConnectorError, began: float, call: CallContext, scrub: Scrubber) -> Outcome:
    problem = Problem(
        code=error.code,
        message=scrub.text(error.message),
        status=error.status,
        request_id=error.request_id,
        body=None if error.body is None else scrub.text(error.body)[:BODY_KEPT_MAX],
        retry_after_seconds=error.retry_after_seconds if isinstance(error, TransientError) else None,
    )
    return Outcome(
        result=_RESULTS.get(type(error), Result.UNKNOWN),
        problem=problem,
        request=scrub.request(call.sent),
        duration_ms=round((stopwatch() - began) * 1000),
    )


def _too_slow(connector: Connector, contract: ActionContract, timeout_seconds: float) -> ConnectorError:
    said = f"{connector.contract.title} did not finish {contract.name} within {timeout_seconds:g} s"
    if contract.writes:
        return UnknownOutcomeError("no_answer", f"{said}; it is looked up whether it was done")
    return TransientError("no_answer", f"{said}; it is asked again")


def _personal(params: Mapping[str, Any], schema: JsonSchema) -> Iterator[str]:
    return _marked(params, schema, "x-personal")


def _marked(value: Any, schema: JsonSchema, mark: str) -> Iterator[str]:
    """Yield every text below a schema that carries ``mark``."""
    if schema.get(mark):
        yield from _texts(value)
    elif isinstance(value, Mapping):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _marked(value[name], part, mark)
    elif isinstance(value, list):
        for item in value:
            yield from _marked(item, schema.get("items", {}), mark)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for part in value.values():
                yield from _texts(part)
        case list() | tuple():
            for part in value:
                yield from _texts(part)


def _quoted(text: str) -> str:
    return quote(text, safe="")
