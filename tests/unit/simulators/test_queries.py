"""The query languages that the simulators read: OData, encoded queries, SOQL."""

from __future__ import annotations

from typing import Any

import pytest

from topstitch.simulators import glide, odata, soql

ROWS = [
    {"Id": "1", "name": "Ada", "age": 30, "city": None},
    {"Id": "2", "name": "Bob", "age": 40, "city": "Berlin"},
    {"Id": "3", "name": "O'Hara", "age": 50, "city": "Bonn"},
]


def names(rows: list[Any]) -> str:
    return "".join(row["Id"] for row in rows)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name eq 'ada'", "1"),
        ("name eq 'O''Hara'", "3"),
        ("city eq null", "1"),
        ("name ne 'Ada' and startswith(city,'B')", "23"),
        ("not (name eq 'Ada') and not startsWith(city,'Bo')", "2"),
        ("name in ('Ada','Bob') or city eq 'Bonn'", "123"),
    ],
)
def test_odata_filters(text: str, found: str) -> None:
    assert names(list(filter(odata.parse_filter(text), ROWS))) == found


@pytest.mark.parametrize(
    "text", ["name eq", "name", "name eq 'a' extra", "(name eq 'a'", "name gt 'a'", "name eq \x00"]
)
def test_odata_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(odata.QueryError):
        odata.parse_filter(text)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=Ada", "1"),
        ("name=Ada^ORname=Bob^ORDERBYDESCname", "21"),
        ("city!=Bonn^cityISNOTEMPTY", "2"),
        ("cityISEMPTY", "1"),
        ("nameLIKEb", "2"),
        ("nameINAda,Bob", "12"),
        ("nameNOT INAda,Bob", "3"),
        ("nonsense=1", "123"),
        ("nonsense=1^name=Ada", "1"),
        ("", "123"),
    ],
)
def test_encoded_queries(query: str, found: str) -> None:
    rows = glide.select(ROWS, query, {"name", "city"}, lambda row, name: row.get(name), no_rows_if_invalid=False)
    assert names(rows) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT Id FROM X", "123"),
        ("SELECT Id FROM X WHERE name = 'ada'", "1"),
        (r"SELECT Id FROM X WHERE name = 'O\'Hara'", "3"),
        ("SELECT Id FROM X WHERE age >= 40 AND city LIKE 'B%' ORDER BY name DESC LIMIT 1", "3"),
        ("SELECT Id FROM X WHERE city = null OR (age > 40 AND name != 'Bob')", "13"),
        ("SELECT Id FROM X WHERE name NOT IN ('Ada') ORDER BY name OFFSET 1", "3"),
        ("select Id from X where NOT name in ('Ada', 'Bob')", "3"),
    ],
)
def test_soql_selects(text: str, found: str) -> None:
    assert names(soql.parse(text).select(ROWS, lambda row, name: row.get(name))) == found


@pytest.mark.parametrize(
    "text", ["", "SELECT", "SELECT Id", "SELECT Id FROM X WHERE", "SELECT Id FROM X LIMIT y", "SELECT Id FROM X ;"]
)
def test_soql_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(soql.SoqlError):
        soql.parse(text)
