"""Values against the shapes that contracts declare."""

from __future__ import annotations

from typing import Any

import pytest

from topstitch.governance.forms import misfits

SHAPE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "amount"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "amount": {"type": "string", "format": "money"},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "state": {"type": "string", "enum": ["open", "closed"]},
        "sure": {"type": "boolean"},
        "size": {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["any"]}]},
        "inner": {"type": "object", "required": ["a/b"], "properties": {"a/b": {"type": "number"}}},
    },
}
GOOD: dict[str, Any] = {"name": "Ana", "amount": "2500.00 USD"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"day": "2026-01-31", "at": "2026-01-31T09:00:00Z", "count": 3, "tags": ["a"], "state": "open", "sure": False},
        {"size": 3},
        {"size": "any"},
        {"inner": {"a/b": 1.5, "other": "is fine where nothing forbids it"}},
    ],
)
def test_what_fits(more: dict[str, Any]):
    assert misfits({**GOOD, **more}, SHAPE) == []


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, [("/name", "required"), ("/amount", "required")]),
        ({**GOOD, "name": ""}, [("/name", "too-short")]),
        ({**GOOD, "name": None}, [("/name", "type")]),
        ({**GOOD, "amount": "2500"}, [("/amount", "format")]),
        ({**GOOD, "day": "2026-02-30"}, [("/day", "format")]),
        ({**GOOD, "at": "2026-01-31T09:00:00"}, [("/at", "format")]),
        ({**GOOD, "count": True}, [("/count", "type")]),
        ({**GOOD, "count": 0}, [("/count", "too-small")]),
        ({**GOOD, "count": 10}, [("/count", "too-large")]),
        ({**GOOD, "tags": ["a", 1]}, [("/tags/1", "type")]),
        ({**GOOD, "tags": ["a", "b", "c"]}, [("/tags", "too-many")]),
        ({**GOOD, "tags": "a"}, [("/tags", "type")]),
        ({**GOOD, "state": "ajar"}, [("/state", "enum")]),
        ({**GOOD, "size": 1.5}, [("/size", "type")]),
        ({**GOOD, "inner": {}}, [("/inner/a~1b", "required")]),
        ({**GOOD, "extra": 1}, [("/extra", "unknown")]),
        ("text", [("", "type")]),
    ],
)
def test_what_does_not_is_named(value: Any, found: list[tuple[str, str]]):
    assert [(m.pointer, m.code) for m in misfits(value, SHAPE)] == found


def test_a_pointer_reads_as_people_write_it_and_there_is_a_bound():
    assert misfits({**GOOD, "inner": {}}, SHAPE)[0].field == "inner.a/b"
    many = {**GOOD, **{f"x{n}": n for n in range(100)}}
    assert len(misfits(many, SHAPE)) == 20
