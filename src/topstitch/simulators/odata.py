"""Reads the OData query options that Graph callers use: $filter, $orderby, $top, $skiptoken, $count.

``$filter`` knows ``eq``, ``ne``, ``in``, ``startsWith``, ``and``, ``or``, ``not`` and parentheses.
An unknown property or operator is refused, as Graph does. ``entra`` calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from topstitch.foundation.timetext import parse_time
from topstitch.simulators.state import Json

Test: TypeAlias = Callable[[Json], bool]
_TOKEN: Final = re.compile(r"\s*(?:('(?:[^']|'')*')|([(),])|([A-Za-z0-9_./:@-]+))")


class QueryError(ValueError):
    """A query option that cannot be read."""

    def __init__(self, text: str, code: str = "Request_UnsupportedQuery") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows and where the next one is."""

    rows: list[Json]
    next_link: str = ""
    count: int | None = None


def page(rows: list[Json], query: Json, url: str, *, top_max: int, top_default: int = 100) -> Page:
    """Return the rows that ``query`` asks for."""
    found = list(filter(parse_filter(query["$filter"]), rows)) if query.get("$filter") else rows
    if query.get("$orderby"):
        name, _, direction = query["$orderby"].partition(" ")
        found = sorted(found, key=lambda row: str(row.get(name, "")), reverse=direction == "desc")
    top = _number(query.get("$top"), top_default)
    if not 1 <= top <= top_max:
        raise QueryError(
            f"Invalid page size specified: '{top}'. Must be between 1 and {top_max} inclusive.",
            "Request_UnsupportedQuery",
        )
    start = _number(query.get("$skiptoken"), 0)
    options = "".join(f"&{name}={quote(value)}" for name, value in query.items() if name != "$skiptoken")
    more = f"{url}?$skiptoken={start + top}{options}" if start + top < len(found) else ""
    return Page(found[start : start + top], more, len(found) if query.get("$count") == "true" else None)


def parse_filter(text: str) -> Test:
    """Return the test that a ``$filter`` writes down; raise ``QueryError``."""
    reader = _Reader(_tokens(text))
    test = reader.either()
    if reader.peek():
        raise QueryError(f"Syntax error at '{reader.peek()}' in '{text}'.", "BadRequest")
    return test


def seconds_since(text: str, now: datetime) -> float:
    """Return how long ago an RFC 3339 time was."""
    return (now - parse_time(text)).total_seconds()


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default if not text else -1


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise QueryError(f"Syntax error at position {position} in '{text}'.", "BadRequest")
        found.append(match[0].strip())
        position = match.end()
    return found


class _Reader:
    """Reads a filter from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def next(self, expected: str = "") -> str:
        if not self._tokens or (expected and self.peek() != expected):
            raise QueryError(f"Syntax error: '{expected or 'more'}' expected.", "BadRequest")
        return self._tokens.pop(0)

    def either(self) -> Test:
        tests = [self._both()]
        while self.peek() == "or":
            self.next()
            tests.append(self._both())
        return lambda row: any(test(row) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self.peek() == "and":
            self.next()
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        if self.peek() == "not":
            self.next()
            inner = self._one()
            return lambda row: not inner(row)
        if self.peek() == "(":
            self.next()
            test = self.either()
            self.next(")")
            return test
        if self.peek().lower() == "startswith":
            return self._starts_with()
        return self._comparison()

    def _starts_with(self) -> Test:
        self.next()
        self.next("(")
        name = self.next()
        self.next(",")
        prefix = str(_literal(self.next())).lower()
        self.next(")")
        return lambda row: str(_value(row, name) or "").lower().startswith(prefix)

    def _comparison(self) -> Test:
        name, operator = self.next(), self.next()
        if operator == "in":
            return self._in(name)
        wanted = _folded(_literal(self.next()))
        if operator == "eq":
            return lambda row: _folded(_value(row, name)) == wanted
        if operator == "ne":
            return lambda row: _folded(_value(row, name)) != wanted
        raise QueryError(f"Unsupported or invalid query filter clause specified for property '{name}'.")

    def _in(self, name: str) -> Test:
        self.next("(")
        wanted = [_folded(_literal(self.next()))]
        while self.peek() == ",":
            self.next()
            wanted.append(_folded(_literal(self.next())))
        self.next(")")
        return lambda row: _folded(_value(row, name)) in wanted


def _value(row: Json, name: str) -> Any:
    return row.get(name)


def _folded(value: Any) -> Any:
    """Graph compares text without regard to case."""
    return value.lower() if isinstance(value, str) else value


def _literal(token: str) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    return {"true": True, "false": False, "null": None}.get(token, token)
