"""Decides which words an instance is found by: those of what it is about and of its key.

``project`` writes them beside the first record, and ``searches`` looks them up: one index on both
databases, however many instances there are. A word is what stands between anything that is neither
letter nor digit, and capitals do not matter. Pure.
"""

from __future__ import annotations

import re
from typing import Final

LENGTH_MAX: Final = 64
WORDS_MAX: Final = 32
"""So many words of one instance are kept; a title that goes on is found by its beginning."""
LAST: Final = "\U0010ffff"
"""Sorts behind every character of a word."""
_WORD: Final = re.compile(r"[^\W_]+")


def words_of(*texts: object) -> list[str]:
    """Return the different words of texts, in their order; what is no text (erased, absent) has none."""
    found = (cut for text in texts if isinstance(text, str) for cut in split(text))
    return list(dict.fromkeys(found))[:WORDS_MAX]


def split(text: str) -> list[str]:
    """Return the words of one text as they are kept."""
    return [word[:LENGTH_MAX] for word in _WORD.findall(text.casefold())]


def is_plain(text: str) -> bool:
    """Whether a text is one word and nothing else, so that the words alone answer for it."""
    return _WORD.fullmatch(text) is not None and len(text) <= LENGTH_MAX


def leading(text: str) -> tuple[str, str] | None:
    """Return the span of words that a sought text leads to: of its longest word; nothing when it has none.

    A word that something follows is whole; the last one may be the beginning of a longer one.
    """
    found = split(text)
    if not found:
        return None
    longest = max(found, key=len)
    begun = text.casefold().endswith(longest) or len(longest) == LENGTH_MAX
    return longest, longest + LAST if begun else longest
