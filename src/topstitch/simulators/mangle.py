"""Turns a fault into an answer: instead of the real one, or out of the real one.

``simulator`` calls ``instead`` before a handler acts and ``after`` when it has acted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from topstitch.simulators.faults import Fault, FaultKind
from topstitch.simulators.wire import Answer

SUCCESS_BELOW: Final = 400
_TYPES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "text": str,
    "number": lambda value: float(value) if str(value).replace(".", "", 1).isdigit() else 0,
    "list": lambda value: [value],
    "null": lambda _: None,
}


class Vendor(Protocol):
    """What a vendor says when something is wrong."""

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return its error for a status."""
        ...

    def throttled(self, retry_after: int) -> Answer:
        """Return its refusal of too many calls."""
        ...


def instead(vendor: Vendor, fault: Fault | None) -> Answer | None:
    """Return the answer of a fault that prevents the call, or nothing."""
    match fault.kind if fault else None:
        case FaultKind.REFUSE if fault:
            return _refusal(vendor, fault)
        case FaultKind.TOO_MANY if fault:
            return vendor.throttled(int(fault.number("retry_after", 5)))
        case FaultKind.INTERNAL:
            return vendor.error(500)
        case FaultKind.UNAVAILABLE:
            return vendor.error(503)
    return None


def after(vendor: Vendor, fault: Fault | None, answer: Answer) -> Answer:
    """Return the answer as a fault leaves it."""
    if fault is None or answer.status >= SUCCESS_BELOW:
        return answer
    match fault.kind:
        case FaultKind.ALREADY_DONE:
            return vendor.error(409)
        case FaultKind.BAD_JSON:
            return Answer(answer.status, answer.payload()[: max(1, len(answer.payload()) // 2)], answer.headers)
        case FaultKind.WRONG_SCHEMA if answer.body is not None and answer.media == "application/json":
            document = orjson.loads(answer.payload())
            return Answer(answer.status, reshape(document, fault.with_), answer.headers)
    return answer


def reshape(document: Any, how: Mapping[str, Any]) -> Any:
    """Return a document with fields renamed, set, retyped or dropped at every depth."""
    if not any(how.get(part) for part in ("rename", "set", "retype", "drop")):
        return {"unexpected": True}
    if isinstance(document, list):
        return [reshape(item, how) for item in document]
    if not isinstance(document, dict):
        return document
    kept = {name: value for name, value in document.items() if name not in how.get("drop", ())}
    return {how.get("rename", {}).get(name, name): _value(name, value, how) for name, value in kept.items()}


def _value(name: str, value: Any, how: Mapping[str, Any]) -> Any:
    if name in how.get("set", {}):
        return how["set"][name]
    if name in how.get("retype", {}):
        return _TYPES[how["retype"][name]](value)
    return reshape(value, how)


def _refusal(vendor: Vendor, fault: Fault) -> Answer:
    status = int(fault.number("status", 500))
    if "body" in fault.with_:
        return Answer(status, fault.with_["body"])
    answer = vendor.error(status, str(fault.with_.get("code", "")), str(fault.with_.get("message", "")))
    if "retry_after" in fault.with_:
        answer.headers["Retry-After"] = str(int(fault.number("retry_after", 5)))
    return answer
