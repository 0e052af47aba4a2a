"""Decides how the difference of two texts reads: the lines that left and came, with a few around them.

Each line carries its sign and its number in both texts, so that nothing hangs on colour. Pure; a template draws
it and escapes every line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

import msgspec

AROUND: Final = 3
"""How many unchanged lines stand before and after what changed."""
LINES_MAX: Final = 4000
"""From so many lines on, lines that come often are not used to find what belongs together: it would take seconds."""
SAME, GONE, CAME = "same", "gone", "came"


class Line(msgspec.Struct, frozen=True):
    """One line of a difference."""

    kind: str
    old: int | None
    """Its number in the text before, where it stands there."""
    new: int | None
    text: str


class Hunk(msgspec.Struct, frozen=True):
    """Lines that stand together."""

    skipped: int
    """How many unchanged lines of the text after were left out before it."""
    lines: tuple[Line, ...]


def text_difference(old: str, new: str, around: int = AROUND) -> Sequence[Hunk]:
    """Return what differs between two texts; nothing, when line by line they are the same."""
    before, after = old.splitlines(), new.splitlines()
    often = len(before) + len(after) > LINES_MAX
    matcher = SequenceMatcher(None, before, after, autojunk=often)
    hunks, end = [], 0
    for group in matcher.get_grouped_opcodes(around):
        lines = tuple(line for code in group for line in _lines(code, before, after))
        hunks.append(Hunk(group[0][3] - end, lines))
        end = group[-1][4]
    return hunks


def count_of(hunks: Sequence[Hunk], kind: str) -> int:
    """Return how many lines left or came."""
    return sum(line.kind == kind for hunk in hunks for line in hunk.lines)


def _lines(code: tuple[str, int, int, int, int], before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    tag, i, i_end, j, j_end = code
    if tag == "equal":
        for offset, text in enumerate(before[i:i_end]):
            yield Line(SAME, i + offset + 1, j + offset + 1, text)
        return
    for number in range(i, i_end):
        yield Line(GONE, number + 1, None, before[number])
    for number in range(j, j_end):
        yield Line(CAME, None, number + 1, after[number])
