"""Decides what a policy rule may read, how that is recorded, and how it is read back years later.

A rule reads the write (``step``), what is known of the case (``trigger``, ``context``, ``steps``,
``flags``, ``process``), who acts (``actor``, ``decided_by``), ``env`` and ``calendar``. Our own
names are typed, so that a typo is found before a bundle is published; what a definition reads
differs from one to the next and is not. A record keeps the values under the paths that any
rule reads, and nothing else. The stages make the scope; this never touches the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from topstitch.language.cel import compile_source, environment
from topstitch.language.cel_ast import Syntax
from topstitch.language.scopes import record
from topstitch.language.shapes import Shapes
from topstitch.model.action import JsonSchema

Parted = tuple[str, tuple[str, ...]]
"""A dotted path and its parts."""

_TEXT: Final[JsonSchema] = {"type": "string"}
_WHOLE: Final[JsonSchema] = {"type": "integer"}
_TRUTH: Final[JsonSchema] = {"type": "boolean"}
_OPEN: Final[JsonSchema] = {"type": "object"}

SCHEMAS: Final[Mapping[str, JsonSchema]] = {
    "step": record(
        {
            "id": _TEXT,
            "title": _TEXT,
            "action": _TEXT,
            "system": _TEXT,
            "risk": _WHOLE,
            "reversible": _TRUTH,
            "input": {},
        }
    ),
    "actor": record({"kind": _TEXT, "id": _TEXT}),
    "decided_by": record(
        {
            "kind": _TEXT,
            "id": _TEXT,
            "owner": _TEXT,
            "max_tier": _WHOLE,
            "within_limits": _TRUTH,
            "confidence_percent": _WHOLE,
            "model": _TEXT,
        }
    ),
    "calendar": record({"freeze": _TRUTH, "freeze_ends": _TEXT, "freeze_because": _TEXT, "working_hours": _TRUTH}),
    "process": record(
        {
            "id": _TEXT,
            "workflow": _TEXT,
            "version": _TEXT,
            "title": _TEXT,
            "key": _TEXT,
            "requester": _TEXT,
            "started_at": _TEXT,
        }
    ),
    "env": _TEXT,
    "trigger": _OPEN,
    "context": _OPEN,
    "steps": _OPEN,
    "flags": _OPEN,
}
"""Every name a rule may read. ``step.action`` names the connector, not its alias: ``servicenow.get_request``."""

ENGINE_ACTS: Final[Mapping[str, Any]] = {"kind": "system", "id": "engine"}
"""``actor``: the engine carries out what a published definition says."""
DEFINITION_DECIDED: Final[Mapping[str, Any]] = {
    "kind": "definition",
    "id": "",
    "owner": "",
    "max_tier": 4,
    "within_limits": True,
    "confidence_percent": 100,
    "model": "",
}
"""``decided_by``: nobody but the definition chose this payload."""
NO_FREEZE: Final[Mapping[str, Any]] = {"freeze": False, "freeze_ends": "", "freeze_because": "", "working_hours": True}


@cache
def _typed_environment() -> Any:
    shapes = Shapes()
    types = {name: shapes.type_of(schema, name) for name, schema in SCHEMAS.items()}
    pool = shapes.seal()
    return environment({name: shapes.cel_type(text) for name, text in types.items()}, pool=pool, typed_money=True)


def typed(source: str) -> tuple[str, Syntax]:
    """Return the type of an expression and what it reads; raise ``ExpressionError`` with the place of an error."""
    program, syntax = compile_source(_typed_environment(), source)
    return str(program.return_type().name()), syntax


def untold(syntax: Syntax) -> str | None:
    """Say why what an expression reads could not be kept in a record; nothing when it can."""
    for read in syntax.reads:
        if len(read.path) == 1 and read.path[0] != "env":
            return f"'{read.path[0]}' is read as a whole, and a record keeps single facts: name the field"
        if any("." in part for part in read.path):
            return (
                f"'{'.'.join(read.path)}' has a part with a point in it, which a record cannot name: use another fact"
            )
    return None


def split(paths: Iterable[str]) -> tuple[Parted, ...]:
    """Return dotted paths with their parts, in the order of records."""
    return tuple((path, tuple(path.split("."))) for path in sorted(paths))


def recorded(scope: Mapping[str, Any], paths: Iterable[Parted]) -> dict[str, Any]:
    """Return what the record of a decision keeps: the value under each path.

    Where a path leads nowhere, the record keeps how far it went: an empty map stands for a map
    that had no such field, so that an absent fact is absent again when it is read back.
    """
    return kept(scope, paths)[0]


def kept(
    scope: Mapping[str, Any], paths: Iterable[tuple[str, tuple[str, ...]]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values under the paths, as ``recorded``, and which of the paths lead nowhere."""
    values: dict[str, Any] = {}
    absent: list[str] = []
    for path, parts in paths:
        value: Any = scope
        for depth, part in enumerate(parts):
            if not isinstance(value, Mapping) or part not in value:
                absent.append(path)
                if depth:
                    values.setdefault(".".join(parts[:depth]), {} if isinstance(value, Mapping) else value)
                break
            value = value[part]
        else:
            values[path] = value
    return values, tuple(absent)


def is_told(path: str, facts: Mapping[str, Any], absent: Iterable[str]) -> bool:
    """Whether a record says what stood at ``path``, be it nothing."""
    if path in facts and facts[path] != {}:
        return True
    if any(path == gone or path.startswith(f"{gone}.") for gone in absent):
        return True
    parts = path.split(".")
    outer = (facts.get(".".join(parts[:length])) for length in range(1, len(parts)))
    return path in facts or any(value is not None and value != {} for value in outer)


def rebuilt(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope that a record of facts stands for."""
    scope: dict[str, Any] = {}
    for path in sorted(facts):
        *outer, last = path.split(".")
        here = scope
        for part in outer:
            inner = here.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            here = inner
        else:
            value = facts[path]
            if last not in here or not isinstance(value, Mapping) or value:
                here[last] = dict(value) if isinstance(value, Mapping) else value
    return scope


def erased(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths whose values were erased since."""
    return tuple(path for path, value in facts.items() if isinstance(value, Mapping) and set(value) == {"erased"})
