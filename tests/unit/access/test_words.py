"""Tokens have a form that scanners find and a check sum that knows a typo; nothing of them is guessable."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from topstitch.access.words import PREFIX, digest_of, is_token, new_secret, new_token


def test_a_token_has_its_prefix_and_a_check_sum() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(is_token(token) and re.fullmatch(PREFIX + "[0-9A-Za-z]{49}", token) for token in tokens)


@given(st.integers(min_value=len(PREFIX), max_value=len(PREFIX) + 48), st.sampled_from("0Zz"))
def test_a_typo_is_known_without_asking_anybody(place: int, letter: str) -> None:
    token = PREFIX + "A" * 43
    good = next(t for t in (new_token(),) if is_token(t))
    assert not is_token(token + "000000")
    if good[place] != letter:
        assert not is_token(good[:place] + letter + good[place + 1 :])


@given(st.text(max_size=80))
def test_other_texts_are_no_tokens(text: str) -> None:
    assert not is_token(text)
    assert not is_token(PREFIX + text)


def test_secrets_differ_and_are_kept_as_digests() -> None:
    assert new_secret() != new_secret()
    assert re.fullmatch("[0-9a-f]{64}", digest_of("x"))
