"""What is handed in gets the types that the form asks for."""

from __future__ import annotations

import pytest

from topstitch.cli.typed import handed_in
from topstitch.foundation.errors import RequestError

FORM = {
    "properties": {
        "number": {"type": "string"},
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "tags": {"type": "array"},
    }
}


def test_each_value_in_its_type():
    given = ("number=12", "count=12", "sure=yes", "tags=a, b")
    assert handed_in(given, None, FORM) == {"number": "12", "count": 12, "sure": True, "tags": ["a", "b"]}


def test_what_cannot_be_converted_is_left_for_the_form_to_refuse():
    assert handed_in(("count=many", "sure=perhaps", "other=x=y"), None, FORM) == {
        "count": "many",
        "sure": "perhaps",
        "other": "x=y",
    }


def test_json_and_single_values_go_together():
    assert handed_in(("count=2",), '{"count": 1, "number": "R"}', FORM) == {"count": 2, "number": "R"}


@pytest.mark.parametrize(("outputs", "text"), [(("number",), None), ((), "{"), ((), "[1]")])
def test_what_is_unclear_says_how_to_write_it(outputs: tuple[str, ...], text: str | None):
    with pytest.raises(RequestError, match="write"):
        handed_in(outputs, text, FORM)
