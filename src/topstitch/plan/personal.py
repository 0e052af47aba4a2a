"""Finds the personal values in a payload: which paths of a JSON Schema are ``x-personal``.

The plan computes the patterns once; drafts name the exact paths, so that the store can put
commitments there before a record is written (``language.md`` 4.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from topstitch.model.action import JsonSchema
from topstitch.model.record import Path

Pattern = tuple[str, ...]
"""The way to a personal value; ``*`` stands for every item of a list or every value of a map."""


def patterns(schema: JsonSchema) -> tuple[Pattern, ...]:
    """Return where ``schema`` marks values as personal."""
    return tuple(_walk(schema, ()))


def _walk(schema: JsonSchema, path: Pattern) -> Iterator[Pattern]:
    if schema.get("x-personal"):
        yield path
        return
    for name, inner in (schema.get("properties") or {}).items():
        yield from _walk(inner, (*path, name))
    if isinstance(items := schema.get("items"), Mapping):
        yield from _walk(items, (*path, "*"))
    if isinstance(rest := schema.get("additionalProperties"), Mapping):
        yield from _walk(rest, (*path, "*"))
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _walk(branch, path)


def paths_in(value: Any, marked: Sequence[Pattern], prefix: Path = ()) -> tuple[Path, ...]:
    """Return the exact paths of the values in ``value`` that ``marked`` speaks of, under ``prefix``."""
    found: list[Path] = []
    for pattern in marked:
        _match(value, pattern, 0, prefix, found)
    return tuple(found)


def _match(value: Any, pattern: Pattern, depth: int, path: Path, found: list[Path]) -> None:
    if depth == len(pattern):
        if value is not None:
            found.append(path)
        return
    key = pattern[depth]
    if key != "*":
        if isinstance(value, Mapping) and key in value:
            _match(value[key], pattern, depth + 1, (*path, key), found)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _match(inner, pattern, depth + 1, (*path, name), found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _match(inner, pattern, depth + 1, (*path, index), found)
