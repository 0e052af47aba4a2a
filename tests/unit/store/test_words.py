"""Which words an instance is found by."""

from __future__ import annotations

from topstitch.store.words import LAST, LENGTH_MAX, WORDS_MAX, is_plain, leading, words_of


def test_words_are_what_stands_between_signs_without_capitals_and_once() -> None:
    assert words_of("Onboarding of Priya RAMAN-Øre", "W-104233 priya") == [
        "onboarding", "of", "priya", "raman", "øre", "w", "104233",
    ]  # fmt: skip
    assert words_of(None, {"erased": True}, "__ -- %") == []


def test_words_are_bounded_in_length_and_number() -> None:
    assert words_of("x" * 500) == ["x" * LENGTH_MAX]
    assert len(words_of(" ".join(f"w{n}" for n in range(100)))) == WORDS_MAX


def test_a_sought_text_leads_to_its_longest_word_whole_unless_it_stands_last() -> None:
    assert leading("Rama") == ("rama", "rama" + LAST)
    assert leading("W-104233") == ("104233", "104233" + LAST)
    assert leading("raman p") == ("raman", "raman")
    assert leading("%_") is None
    assert (is_plain("raman"), is_plain("W-104233")) == (True, False)
