"""Reads the part of SOQL that integrations use, and selects rows with it.

``SELECT a, B.c, COUNT() FROM X WHERE a = 'x' AND (b IN ('y', 'z') OR c != null) ORDER BY a DESC LIMIT 5
OFFSET 10``. Operators: ``= != <> < <= > >= LIKE IN NOT IN``. What it cannot read is refused with the
vendor's ``MALFORMED_QUERY``. ``salesforce`` calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from topstitch.simulators.state import Json

Reach: TypeAlias = Callable[[Json, str], Any]
Test: TypeAlias = Callable[[Json, Reach], bool]
_TOKEN: Final = re.compile(r"\s*('(?:[^'\\]|\\.)*'|[(),]|<=|>=|!=|<>|=|<|>|[A-Za-z0-9_.:+\-]+)")
_ESCAPE: Final = re.compile(r"\\(.)")


class SoqlError(ValueError):
    """A query that cannot be read."""


@dataclass(slots=True)
class Query:
    """A query, read."""

    fields: list[str]
    object: str
    test: Test
    names: list[str] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0

    @property
    def counts(self) -> bool:
        """Whether only the number of rows is asked for."""
        return [name.upper() for name in self.fields] == ["COUNT()"]

    def select(self, rows: list[Json], reach: Reach) -> list[Json]:
        """Return the rows that the query selects, in its order."""
        found = [row for row in rows if self.test(row, reach)]
        for name, descending in reversed(self.order):
            found.sort(key=lambda row: str(reach(row, name) or ""), reverse=descending)
        return found[self.offset :][: self.limit]


def parse(text: str) -> Query:
    """Read a query; raise ``SoqlError``."""
    return _Reader(text).query()


class _Reader:
    """Reads a query from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        self._names: list[str] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise SoqlError(f"unexpected token: '{text[position : position + 10].strip()}'")
            self._tokens.append(match[1])
            position = match.end()

    def query(self) -> Query:
        self._word("SELECT")
        fields = self._fields()
        self._word("FROM")
        query = Query(fields, self._next(), lambda _row, _reach: True)
        if self._takes("WHERE"):
            query.test = self._either()
        if self._takes("ORDER"):
            self._word("BY")
            query.order = self._order()
        if self._takes("LIMIT"):
            query.limit = self._number()
        if self._takes("OFFSET"):
            query.offset = self._number()
        if self._tokens:
            raise SoqlError(f"unexpected token: '{self._tokens[0]}'")
        query.names = [*self._names, *(name for name, _ in query.order)]
        return query

    def _fields(self) -> list[str]:
        fields = [self._field()]
        while self._takes(","):
            fields.append(self._field())
        return fields

    def _field(self) -> str:
        name = self._next()
        if name.upper() in {"COUNT", "FIELDS"} and self._takes("("):
            inner = "" if self._peek() == ")" else self._next()
            self._word(")")
            return f"{name.upper()}({inner})"
        return name

    def _order(self) -> list[tuple[str, bool]]:
        order = []
        while True:
            name = self._next()
            descending = self._takes("DESC")
            self._takes("ASC")
            if self._takes("NULLS"):
                self._next()
            order.append((name, descending))
            if not self._takes(","):
                return order

    def _either(self) -> Test:
        tests = [self._both()]
        while self._takes("OR"):
            tests.append(self._both())
        return lambda row, reach: any(test(row, reach) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._takes("AND"):
            tests.append(self._one())
        return lambda row, reach: all(test(row, reach) for test in tests)

    def _one(self) -> Test:
        if self._takes("NOT"):
            inner = self._one()
            return lambda row, reach: not inner(row, reach)
        if self._takes("("):
            test = self._either()
            self._word(")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        name = self._next()
        self._names.append(name)
        operator = self._next().upper()
        if operator == "NOT":
            self._word("IN")
            unwanted = self._list()
            return lambda row, reach: _folded(reach(row, name)) not in unwanted
        if operator == "IN":
            wanted = self._list()
            return lambda row, reach: _folded(reach(row, name)) in wanted
        if operator not in _OPERATORS:
            raise SoqlError(f"unexpected token: '{operator}'")
        value, compare = self._literal(), _OPERATORS[operator]
        return lambda row, reach: compare(_folded(reach(row, name)), value)

    def _list(self) -> list[Any]:
        self._word("(")
        values = [self._literal()]
        while self._takes(","):
            values.append(self._literal())
        self._word(")")
        return values

    def _literal(self) -> Any:
        token = self._next()
        if token.startswith("'"):
            return _ESCAPE.sub(r"\1", token[1:-1]).lower()
        words = {"null": None, "true": True, "false": False}
        if token.lower() in words:
            return words[token.lower()]
        if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", token):
            return float(token)
        return token.lower()

    def _number(self) -> int:
        token = self._next()
        if not token.isdigit():
            raise SoqlError(f"unexpected token: '{token}'")
        return int(token)

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _next(self) -> str:
        if not self._tokens:
            raise SoqlError("unexpected token: '<EOF>'")
        return self._tokens.pop(0)

    def _takes(self, word: str) -> bool:
        if self._peek().upper() != word:
            return False
        self._tokens.pop(0)
        return True

    def _word(self, word: str) -> None:
        if not self._takes(word):
            raise SoqlError(f"expecting {word}, found '{self._peek() or '<EOF>'}'")


def _folded(value: Any) -> Any:
    """Salesforce compares text without regard to case; numbers as numbers."""
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value


def _like(value: Any, pattern: Any) -> bool:
    regex = re.escape(str(pattern)).replace("%", ".*").replace("_", ".")
    return re.fullmatch(regex, str(value or ""), re.DOTALL) is not None


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: value is not None and type(value) is type(wanted) and compare(value, wanted)


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    "<>": lambda value, wanted: value != wanted,
    "<": _ordered(lambda value, wanted: value < wanted),
    "<=": _ordered(lambda value, wanted: value <= wanted),
    ">": _ordered(lambda value, wanted: value > wanted),
    ">=": _ordered(lambda value, wanted: value >= wanted),
    "LIKE": _like,
}
