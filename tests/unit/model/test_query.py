"""The search language: every term holds, nothing is ignored, and every error says what to write."""

from __future__ import annotations

import pytest

from topstitch.foundation.errors import RequestError
from topstitch.model.query import FIELDS, STATES, parse_query


def test_terms_and_words_are_told_apart() -> None:
    query = parse_query("state:waiting workflow:employee-onboarding seam:servicenow>email older:2h 'Priya Raman' W-1")
    assert query.terms == (
        ("state", "waiting"),
        ("workflow", "employee-onboarding"),
        ("seam", "servicenow>email"),
        ("older", "2h"),
    )
    assert query.words == ("Priya Raman", "W-1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stat:waiting", "did you mean state?"),
        ("colour:red", "use state, workflow"),
        ("state:sleeping", "one of open"),
        ("older:soon", "write a whole number"),
        ("seam:servicenow", "names no seam"),
        ("has:fun", "one of approval"),
        ("'open", "close it"),
        ("x" * 501, "write less"),
        ("key:", "key:W-104233"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_remedy(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=None) as caught:
        parse_query(text)
    assert said in caught.value.message


def test_a_term_is_replaced_and_words_stay() -> None:
    query = parse_query("state:open key:W-1 'Priya Raman'")
    assert parse_query(query.with_term("state", "ended")).terms == (("key", "W-1"), ("state", "ended"))
    assert parse_query(query.with_term("state", None)).words == ("Priya Raman",)


def test_every_state_stands_for_statuses_and_every_field_is_explained() -> None:
    assert all(STATES.values())
    assert all(name in text for name, text in FIELDS.items())
