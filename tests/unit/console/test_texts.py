"""The difference of two texts: every line with its sign and its numbers, and nothing lost between them."""

from __future__ import annotations

from hypothesis import given, strategies as st

from topstitch.console.texts import AROUND, CAME, GONE, LINES_MAX, SAME, count_of, text_difference

LINES = st.lists(st.sampled_from(["a", "b", "  c: 1", "", "é"]), max_size=30)


def test_lines_that_left_and_came_carry_their_numbers() -> None:
    (hunk,) = text_difference("a\nb\nc\n", "a\nx\ny\nc\n")
    assert [(line.kind, line.old, line.new, line.text) for line in hunk.lines] == [
        (SAME, 1, 1, "a"),
        (GONE, 2, None, "b"),
        (CAME, None, 2, "x"),
        (CAME, None, 3, "y"),
        (SAME, 3, 4, "c"),
    ]


def test_what_stays_far_from_a_change_is_left_out_and_counted() -> None:
    old = [str(number) for number in range(40)]
    first, second = text_difference("\n".join(old), "\n".join(["new", *old[1:-1], "last"]))
    assert (first.skipped, len(first.lines)) == (0, 2 + AROUND)
    assert second.skipped == 40 - 2 - 2 * AROUND
    assert not text_difference("same\n", "same\n")
    assert not text_difference("same\r\n", "same\n")


@given(LINES, LINES)
def test_the_lines_shown_with_all_around_them_are_both_texts(old: list[str], new: list[str]) -> None:
    hunks = text_difference("\n".join(old), "\n".join(new), around=100)
    lines = [line for hunk in hunks for line in hunk.lines]
    before, after = "\n".join(old).splitlines(), "\n".join(new).splitlines()
    assert bool(lines) == (before != after)
    if lines:
        assert [line.text for line in lines if line.kind != CAME] == before
        assert [line.text for line in lines if line.kind != GONE] == after
        assert count_of(hunks, CAME) - count_of(hunks, GONE) == len(after) - len(before)


def test_a_text_of_many_thousand_lines_is_compared_too() -> None:
    old = ["same line"] * LINES_MAX
    hunks = text_difference("\n".join(old), "\n".join([*old, "one more"]))
    assert (count_of(hunks, CAME), count_of(hunks, GONE)) == (1, 0)
