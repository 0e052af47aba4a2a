"""Decides whether a value has the shape that a JSON Schema asks for, and names the field when not.

The trigger asks it of an event's data, the doors of what a person hands in for a task. It
knows the words that contracts use (``type``, ``properties``, ``required``,
``additionalProperties``, ``items``, ``enum``, ``const``, ``anyOf``, bounds, ``pattern``, and the formats money,
date and date-time) and passes over any other. Contracts are flat: there are no references.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from topstitch.foundation.money import parse_money
from topstitch.foundation.timetext import parse_time
from topstitch.model.action import JsonSchema

PROBLEMS_MAX: Final = 20
"""How many misfits are named at once."""


class Misfit(msgspec.Struct, frozen=True):
    """One place where a value does not fit: a JSON Pointer, a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str

    @property
    def field(self) -> str:
        """The place as people write it: ``worker.name``."""
        return self.pointer.strip("/").replace("/", ".").replace("~1", "/").replace("~0", "~") or "the whole"


def misfits(value: Any, schema: JsonSchema, pointer: str = "") -> list[Misfit]:
    """Return where ``value`` does not fit, in order; an empty list means that it does."""
    found = []
    for misfit in _walk(value, schema, pointer):
        found.append(misfit)
        if len(found) >= PROBLEMS_MAX:
            break
    return found


def _walk(value: Any, schema: JsonSchema, at: str) -> Iterator[Misfit]:
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        yield from _any_of(value, choices, at)
    wanted = schema.get("type")
    if wanted is not None and not _is(value, wanted):
        yield Misfit(at, "type", f"must be {_words(wanted)}, and is {_kind(value)}")
        return
    yield from _scalar(value, schema, at)
    if isinstance(value, Mapping):
        yield from _object(value, schema, at)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _items(value, schema, at)


def _any_of(value: Any, choices: Sequence[JsonSchema], at: str) -> Iterator[Misfit]:
    attempts = [list(_walk(value, choice, at)) for choice in choices]
    if all(attempts):
        real = [a for choice, a in zip(choices, attempts, strict=True) if choice.get("type") != "null"]
        yield from (real or attempts)[0]


def _object(value: Mapping[str, Any], schema: JsonSchema, at: str) -> Iterator[Misfit]:
    known: Mapping[str, Any] = schema.get("properties") or {}
    for name in schema.get("required", ()):
        if name not in value:
            yield Misfit(_below(at, name), "required", "is missing")
    for name, inner in value.items():
        if name in known:
            yield from _walk(inner, known[name], _below(at, name))
        elif schema.get("additionalProperties") is False:
            yield Misfit(_below(at, name), "unknown", f"is not known here; known are {', '.join(known) or 'no fields'}")
        elif isinstance(schema.get("additionalProperties"), Mapping):
            yield from _walk(inner, schema["additionalProperties"], _below(at, name))


def _items(value: Sequence[Any], schema: JsonSchema, at: str) -> Iterator[Misfit]:
    if len(value) < schema.get("minItems", 0):
        yield Misfit(at, "too-few", f"must hold at least {schema['minItems']}")
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield Misfit(at, "too-many", f"must hold at most {schema['maxItems']}")
    inner = schema.get("items")
    if isinstance(inner, Mapping):
        for index, item in enumerate(value):
            yield from _walk(item, inner, _below(at, str(index)))


def _scalar(value: Any, schema: JsonSchema, at: str) -> Iterator[Misfit]:
    if "enum" in schema and value not in schema["enum"]:
        yield Misfit(at, "enum", f"must be one of {', '.join(map(str, schema['enum']))}")
    if "const" in schema and value != schema["const"]:
        yield Misfit(at, "const", f"must be {schema['const']}")
    if isinstance(value, str):
        yield from _string(value, schema, at)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield Misfit(at, "too-small", f"must be at least {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            yield Misfit(at, "too-large", f"must be at most {schema['maximum']}")


def _string(value: str, schema: JsonSchema, at: str) -> Iterator[Misfit]:
    if len(value) < schema.get("minLength", 0):
        yield Misfit(at, "too-short", "is empty" if not value else f"must have {schema['minLength']} characters")
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield Misfit(at, "too-long", f"must have at most {schema['maxLength']} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Misfit(at, "pattern", f"must match {schema['pattern']}")
    reader = _FORMATS.get(schema.get("format", ""))
    if reader is not None:
        read, example = reader
        try:
            read(value)
        except ValueError:
            yield Misfit(at, "format", f"must be written as {example}")


_FORMATS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "money": (parse_money, "2499.99 USD"),
    "date": (date.fromisoformat, "2026-01-31"),
    "date-time": (parse_time, "2026-01-31T09:00:00Z"),
}


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple)):
        return any(_is(value, one) for one in wanted)
    match wanted:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "array":
            return isinstance(value, (list, tuple))
        case "object":
            return isinstance(value, Mapping)
        case _:
            return isinstance(value, _PLAIN.get(wanted, object))


_PLAIN: Final[Mapping[str, type]] = {"string": str, "boolean": bool, "null": type(None)}
_NAMES: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "nothing",
}


def _words(wanted: Any) -> str:
    named = wanted if isinstance(wanted, (list, tuple)) else (wanted,)
    return " or ".join(_NAMES.get(one, one) for one in named)


def _kind(value: Any) -> str:
    return next(words for kind, words in _NAMES.items() if _is(value, kind))


def _below(at: str, name: str) -> str:
    return f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
