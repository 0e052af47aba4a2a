"""Decides how a path finds its value in an answer, and how a template becomes text.

Both are compiled once into small functions; a call only runs them. A path is ``a.b.0.c``,
with ``rows[].id`` for that part of each row. A template that is nothing but ``{input.x}``
keeps the value's own type; inside longer text it is written as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from topstitch.connectors.contract import CallContext
from topstitch.connectors.http import segment

Params: TypeAlias = Mapping[str, Any]
Getter: TypeAlias = Callable[[Any], Any]
Filler: TypeAlias = Callable[[Params, CallContext], Any]

ABSENT: Final = object()
"""Stands for an optional input that was not given: whatever holds only it is left out."""

_PLACE: Final = re.compile(r"\{([a-z_]+(?:\.[A-Za-z0-9_]+)*)\}")
_PATH: Final = re.compile(r"\$|[\w@$-]+(\[\])?(\.[\w@$-]+(\[\])?)*")


def compile_path(path: str) -> Getter:
    """Return the function that finds ``path``, or nothing where it is absent; raise ``ValueError`` if it is none."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path; write it as data.items.0.id, or rows[].id for each row")
    if path == "$":
        return lambda value: value
    if "[]" in path:
        rows, _, rest = path.partition("[]")
        return _each(compile_path(rows), compile_path(rest.lstrip(".") or "$"))
    parts = path.split(".")
    if len(parts) == 1:
        return _one(parts[0])
    return _deep(tuple(_one(part) for part in parts))


def compile_template(template: Any, settings: Mapping[str, str], known: frozenset[str]) -> Filler:
    """Return the function that fills a template of any shape; raise ``ValueError`` on an unknown place."""
    if isinstance(template, str):
        return _text(template, settings, known)
    if isinstance(template, dict):
        parts = [(name, compile_template(value, settings, known)) for name, value in template.items()]
        return lambda p, c: {name: value for name, fill in parts if (value := fill(p, c)) is not ABSENT}
    if isinstance(template, list):
        items = [compile_template(value, settings, known) for value in template]
        return lambda p, c: [value for fill in items if (value := fill(p, c)) is not ABSENT]
    return lambda _p, _c: template


def compile_url(path: str, settings: Mapping[str, str], known: frozenset[str]) -> Callable[[Params, CallContext], str]:
    """Return the function that writes a path, each filled part as one segment."""
    parts = _parts(path, settings, known)
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(part for part in parts if isinstance(part, str))
        return lambda _p, _c: fixed
    return lambda p, c: "".join(part if isinstance(part, str) else segment(_word(part(p, c))) for part in parts)


def _text(template: str, settings: Mapping[str, str], known: frozenset[str]) -> Filler:
    parts = _parts(template, settings, known)
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(part for part in parts if isinstance(part, str))
        return lambda _p, _c: fixed
    return lambda p, c: "".join(part if isinstance(part, str) else _word(part(p, c)) for part in parts)


def _parts(template: str, settings: Mapping[str, str], known: frozenset[str]) -> list[str | Filler]:
    parts: list[str | Filler] = []
    end = 0
    for match in _PLACE.finditer(template):
        if match.start() > end:
            parts.append(template[end : match.start()])
        parts.append(_place(match[1], settings, known))
        end = match.end()
    if end < len(template):
        parts.append(template[end:])
    return parts


def _place(name: str, settings: Mapping[str, str], known: frozenset[str]) -> str | Filler:
    scope, _, field = name.partition(".")
    if scope == "input" and field in known:
        return lambda p, _c: ABSENT if (value := p.get(field)) is None else value
    if scope == "setting" and field in settings:
        return settings[field]
    if name == "key":
        return lambda _p, c: c.key
    if name == "instance":
        return lambda _p, c: c.instance
    choices = ", ".join(
        [*(f"input.{n}" for n in sorted(known)), *(f"setting.{n}" for n in settings), "key", "instance"]
    )
    raise ValueError(f"{{{name}}} names nothing; use one of {choices}")


def _word(value: object) -> str:
    if value is ABSENT or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(_word, value))
    return str(value)


def _one(part: str) -> Getter:
    if part.isdigit():
        index = int(part)
        return lambda value: value[index] if isinstance(value, list) and len(value) > index else None
    return lambda value: value.get(part) if isinstance(value, dict) else None


def _deep(getters: tuple[Getter, ...]) -> Getter:
    def get(value: Any) -> Any:
        for getter in getters:
            value = getter(value)
        return value

    return get


def _each(rows: Getter, inner: Getter) -> Getter:
    def get(value: Any) -> Any:
        found = rows(value)
        return [inner(row) for row in found] if isinstance(found, list) else None

    return get
