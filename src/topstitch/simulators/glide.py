"""Reads ServiceNow's encoded queries: ``active=true^category=equipment^ORDERBYname``.

Operators: ``=``, ``!=``, ``>``, ``>=``, ``<``, ``<=``, ``STARTSWITH``, ``LIKE``, ``IN``, ``ISEMPTY``,
``ISNOTEMPTY``; ``^``, ``^OR``, ``^NQ``, ``^ORDERBY``, ``^ORDERBYDESC``. A condition on a field that the
table does not have is ignored, so that all rows come back: that is the vendor's default
(``glide.invalid_query.returns_no_rows=false``) and the trap that callers must survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final

from topstitch.simulators.state import Json

_CONDITION: Final = re.compile(
    r"(?P<field>[A-Za-z0-9_.]+?)"
    r"(?P<operator>ISNOTEMPTY|ISEMPTY|STARTSWITH|ENDSWITH|NOT IN|LIKE|IN|!=|>=|<=|=|>|<)(?P<value>.*)",
    re.DOTALL,
)
Reach = Callable[[Json, str], Any]


def select(
    rows: list[Json], query: str, fields: Collection[str], reach: Reach, *, no_rows_if_invalid: bool
) -> list[Json]:
    """Return the rows that an encoded query selects, in its order.

    ``fields`` are the table's columns; ``reach`` reads a column, dot-walked ones too.
    """
    conditions, orders = _split(query)
    if no_rows_if_invalid and any(not _known(text, fields) for group in conditions for text in group):
        return []
    found = [row for row in rows if _row_passes(row, conditions, fields, reach)]
    for name, descending in reversed(orders):
        found.sort(key=lambda row: str(reach(row, name) or ""), reverse=descending)
    return found


def _split(query: str) -> tuple[list[list[str]], list[tuple[str, bool]]]:
    """Return conditions as groups joined by "or", all groups joined by "and"; and the ordering."""
    groups: list[list[str]] = []
    orders: list[tuple[str, bool]] = []
    for part in filter(None, query.split("^")):
        if part.startswith("ORDERBYDESC"):
            orders.append((part.removeprefix("ORDERBYDESC"), True))
        elif part.startswith("ORDERBY"):
            orders.append((part.removeprefix("ORDERBY"), False))
        elif part.startswith("OR") and groups:
            groups[-1].append(part.removeprefix("OR"))
        elif part != "EQ":
            groups.append([part])
    return groups, orders


def _known(text: str, fields: Collection[str]) -> bool:
    match = _CONDITION.fullmatch(text)
    return match is not None and match["field"].partition(".")[0] in fields


def _row_passes(row: Json, groups: list[list[str]], fields: Collection[str], reach: Reach) -> bool:
    for group in groups:
        valid = [text for text in group if _known(text, fields)]
        if valid and not any(_passes(row, text, reach) for text in valid):
            return False
    return True


def _passes(row: Json, text: str, reach: Reach) -> bool:
    match = _CONDITION.fullmatch(text)
    if match is None:
        return True
    value, wanted = str(reach(row, match["field"]) or ""), match["value"]
    folded, low = value.lower(), wanted.lower()
    tests: dict[str, Callable[[], bool]] = {
        "=": lambda: folded == low,
        "!=": lambda: folded != low,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        "STARTSWITH": lambda: folded.startswith(low),
        "ENDSWITH": lambda: folded.endswith(low),
        "LIKE": lambda: low in folded,
        "IN": lambda: folded in low.split(","),
        "NOT IN": lambda: folded not in low.split(","),
        "ISEMPTY": lambda: not value,
        "ISNOTEMPTY": lambda: bool(value),
    }
    return tests[match["operator"]]()
