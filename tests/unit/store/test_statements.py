"""Statements over many rows: one text per size on SQLite, one JSON parameter on PostgreSQL; and how changes merge."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.canonical import parse
from topstitch.store.project import STEPS
from topstitch.store.projections import Touch, merged
from topstitch.store.statements import CHUNKS, RowsStatement

INSERT = RowsStatement("INSERT INTO t (a, b) {rows}", ("a", "b:bigint"))


@given(st.integers(1, 200))
def test_chunks_hold_every_row_once_and_are_of_few_sizes(count: int) -> None:
    rows = [(f"r{number}", number) for number in range(count)]
    pieces = INSERT.for_sqlite(rows)
    assert [value for _, values in pieces for value in values] == [value for row in rows for value in row]
    sizes = [len(values) // 2 for _, values in pieces]
    assert set(sizes) <= set(CHUNKS)
    assert len(sizes) <= count // max(CHUNKS) + 3
    assert all(sql.count("(?,?)") == size for (sql, _), size in zip(pieces, sizes, strict=True))


def test_postgresql_gets_one_text_and_one_parameter() -> None:
    sql, (json,) = INSERT.for_postgres([("x", 1), ("y", None)])
    assert sql == "INSERT INTO t (a, b) SELECT a, b FROM json_to_recordset(%s) AS given(a text, b bigint)"
    assert parse(json) == [{"a": "x", "b": 1}, {"a": "y", "b": None}]


def test_changes_of_one_row_become_one_and_touches_keep_their_place() -> None:
    touch = Touch("UPDATE x")
    first = {"instance": "i", "step": "s", "status": "running", "started_at": 1, "attempts": 1}
    second = {"instance": "i", "step": "s", "status": "done", "started_at": 9, "attempts": None}
    third = {"instance": "i", "step": "s", "status": "undone"}
    before, middle, after = merged([(STEPS, dict(first)), (STEPS, second), touch, (STEPS, third)])
    assert middle is touch
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    row = dict(zip(STEPS.columns, before[1][0], strict=True))
    assert (row["status"], row["started_at"], row["attempts"]) == ("done", 1, 1)
    assert len(after[1]) == 1


@pytest.mark.parametrize(
    ("value", "column"), [({"erased": "c"}, "(erased)"), ({"b": 1, "a": 2}, '{"a":2,"b":1}'), (True, 1), (None, None)]
)
def test_values_become_what_a_column_takes(value: object, column: object) -> None:
    ((_, (row,)),) = merged([(STEPS, {"instance": "i", "step": "s", "failure": value})])  # type: ignore[misc]
    assert row[STEPS.columns.index("failure")] == column
