"""The composite resource of the simulated Salesforce: several calls in one, with ``allOrNone``.

A later part may name what an earlier one returned, ``@{reference.field}``. With ``allOrNone``
all parts stay or none does. ``salesforce`` calls it and lends it its addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson

from topstitch.simulators.state import Json, Store
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

PARTS_MAX: Final = 25
_REFERENCE: Final = re.compile(r"@\{([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)\}")
Results = list[dict[str, Any]]


class Composite:
    """Carries composites out."""

    def __init__(self, store: Store, endpoints: Sequence[Endpoint], error: Callable[[int, str, str], Answer]) -> None:
        self._store = store
        self._endpoints = endpoints
        self._error = error

    def answer(self, call: Call) -> Answer:
        """Carry out several calls; with allOrNone as one transaction."""
        document = call.json()
        parts = document.get("compositeRequest") if isinstance(document, dict) else None
        if not isinstance(parts, list):
            raise Refusal(self._error(400, "JSON_PARSER_ERROR", "compositeRequest must be a list"))
        if len(parts) > PARTS_MAX:
            text = f"The request can't contain more than {PARTS_MAX} subrequests."
            raise Refusal(self._error(400, "LIMIT_EXCEEDED", text))
        results: Results = []
        try:
            with self._store.transaction():
                self._parts(call, parts, results, together=bool(document.get("allOrNone")))
        except _StoppedError:
            results = [_halted(part, results, index) for index, part in enumerate(parts)]
        return Answer(200, {"compositeResponse": results})

    def _parts(self, call: Call, parts: list[Json], results: Results, *, together: bool) -> None:
        for part in parts:
            answer = self._part(call, part, results)
            shown = {"body": answer.body, "httpHeaders": {}, "httpStatusCode": answer.status}
            results.append({**shown, "referenceId": part["referenceId"]})
            if together and answer.status >= 400:
                raise _StoppedError

    def _part(self, call: Call, part: Json, results: Results) -> Answer:
        filled = orjson.loads(_fill(orjson.dumps(dict(part)).decode(), results))
        path, _, query = filled["url"].partition("?")
        for endpoint in self._endpoints:
            params = _match(endpoint.path, path)
            if endpoint.method == filled["method"] and params is not None:
                inner = Call(
                    method=endpoint.method,
                    path=path,
                    params=params,
                    query=dict(parse_qsl(query)),
                    body=orjson.dumps(filled.get("body", {})),
                    base_url=call.base_url,
                )
                return self._act(endpoint, inner)
        return self._error(404, "", "")

    def _act(self, endpoint: Endpoint, call: Call) -> Answer:
        try:
            with self._store.transaction():
                return endpoint.handler(call)
        except Refusal as refused:
            return refused.answer


class _StoppedError(Exception):
    """A part of a composite failed and nothing of it may stay."""


def _halted(part: Json, results: Results, index: int) -> dict[str, Any]:
    """Return a part's result after an allOrNone composite was taken back."""
    if index == len(results) - 1:
        return results[index]
    text = "The transaction was rolled back since another operation in the same transaction failed."
    body = [{"errorCode": "PROCESSING_HALTED", "message": text}]
    return {"body": body, "httpHeaders": {}, "httpStatusCode": 400, "referenceId": part["referenceId"]}


def _fill(text: str, results: Results) -> str:
    """Replace ``@{referenceId.field}`` by what an earlier part returned."""

    def value(match: re.Match[str]) -> str:
        for result in results:
            if result["referenceId"] == match[1] and isinstance(result["body"], dict):
                return str(result["body"].get(match[2], ""))
        return match[0]

    return _REFERENCE.sub(value, text)


def _match(template: str, path: str) -> dict[str, str] | None:
    parts = re.split(r"(\{\w+\})", template)
    pattern = "".join(f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in parts)
    found = re.fullmatch(pattern, path)
    return {name: unquote(value) for name, value in found.groupdict().items()} if found else None
