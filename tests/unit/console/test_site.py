"""How values and sentences are written on a page."""

from __future__ import annotations

import pytest

from topstitch.console.site import human, sentence, ticks, who


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1200000 USD", "1,200,000 USD"),
        ("2500.00 EUR", "2,500.00 EUR"),
        ("950 USD", "950 USD"),
        ("1200000", "1200000"),
        ("W-104233", "W-104233"),
        (["a", "1200 CHF"], "a, 1,200 CHF"),
        (None, "\u2013"),
    ],
)
def test_money_is_read_in_thousands_and_keys_as_they_are(value: object, text: str) -> None:
    assert human(value) == text


def test_a_sentence_begins_with_a_capital_unless_it_begins_with_an_id() -> None:
    assert sentence("connection crm is paused") == "Connection crm is paused."
    assert sentence("ins_01M8 is already paused") == "ins_01M8 is already paused."
    assert sentence("  ") == ""


def test_what_stands_between_backticks_is_code_and_stays_text() -> None:
    assert ticks("automatic when `a < b`; else <you>") == "automatic when <code>a &lt; b</code>; else &lt;you&gt;"


def test_the_definition_is_named_as_such() -> None:
    assert who("policy:definition") == "the definition"
    assert who("policy:standard") == "policy:standard"
