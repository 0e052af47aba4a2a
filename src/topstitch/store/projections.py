"""Decides how changes of projected rows are put together and written.

A change is an upsert under the table's key: a value that is not given stays, a *first*
column keeps its first value, any other takes the newest. A ``Touch`` closes rows that an
earlier record opened. ``project`` says which changes follow from a record, ``journal``
writes them in the record's own transaction, and ``rebuild`` derives them all again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from topstitch.store.statements import RowsStatement

Row = dict[str, Any]
ERASED_TEXT: Final = "(erased)"


class Projection:
    """One projected table: how a row of it is merged in memory and upserted in the database."""

    __slots__ = ("columns", "first", "key", "name", "typed", "upsert")

    def __init__(self, name: str, key: str, rest: str, first: Sequence[str] = ()) -> None:
        """Take the columns of ``tables`` by name, numbers marked with ``#``; a test compares the two.

        They are written here once more so that an engine starts without loading SQLAlchemy.
        """
        self.name = name
        self.key = tuple(each.rstrip("#") for each in key.split())
        columns = [*key.split(), *rest.split()]
        self.typed = tuple(f"{each[:-1]}:bigint" if each.endswith("#") else f"{each}:text" for each in columns)
        self.columns = tuple(each.rstrip("#") for each in columns)
        self.first = frozenset(first)
        self.upsert = RowsStatement(self._upsert(), self.typed)

    def _upsert(self) -> str:
        sets = ", ".join(
            f"{c} = coalesce({self.name}.{c}, excluded.{c})"
            if c in self.first
            else f"{c} = coalesce(excluded.{c}, {self.name}.{c})"
            for c in self.columns
            if c not in self.key
        )
        names, key = ", ".join(self.columns), ", ".join(self.key)
        then = f"DO UPDATE SET {sets}" if sets else "DO NOTHING"  # a row that is all key never changes
        return f"INSERT INTO {self.name} ({names}) {{rows}} ON CONFLICT ({key}) {then}"


class Touch:
    """Set columns on the rows of one step, or of one item, that are still open."""

    __slots__ = ("parameters", "sql")

    def __init__(self, sql: str, *parameters: Any) -> None:
        self.sql, self.parameters = sql, parameters


Change = tuple[Projection, Row] | Touch

# --- Merging ----------------------------------------------------------------------------------


def merged(changes: Iterable[Change]) -> list[tuple[Projection, list[list[Any]]] | Touch]:
    """Put changes of one row together, so that each statement meets a row once; touches keep their place."""
    done: list[tuple[Projection, list[list[Any]]] | Touch] = []
    rows: dict[Projection, dict[tuple[Any, ...], Row]] = {}
    for change in changes:
        if isinstance(change, Touch):
            done += _rows_of(rows)
            rows = {}
            done.append(change)
            continue
        projection, row = change
        known = rows.setdefault(projection, {})
        key = tuple([row[name] for name in projection.key])
        old = known.get(key)
        if old is None:
            known[key] = row
        else:
            _merge(old, row, projection.first)
    return done + _rows_of(rows)


def _merge(old: Row, new: Row, first: frozenset[str]) -> None:
    for name, value in new.items():
        if value is not None and (name not in first or old.get(name) is None):
            old[name] = value


def _rows_of(
    rows: Mapping[Projection, Mapping[tuple[Any, ...], Row]],
) -> list[tuple[Projection, list[list[Any]]] | Touch]:
    return [(projection, [_values(projection, row) for row in known.values()]) for projection, known in rows.items()]


def _values(projection: Projection, row: Row) -> list[Any]:
    return [
        value if value is None or value.__class__ in _PLAIN else _scalar(value)
        for value in map(row.get, projection.columns)
    ]


_PLAIN: Final = frozenset({str, int})


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Mapping) and value.keys() == {"erased"}:
        return ERASED_TEXT
    if isinstance(value, (Mapping, list, tuple)):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return str(value) if isinstance(value, str) else value
