"""Decides which questions may be approved together: those of a low risk tier that ask the very same of one person.

The inbox offers them, and ``pages.alike`` judges them again before anything is answered. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from topstitch.console.site import plain
from topstitch.foundation.canonical import canonical_bytes

LOW_TIER_MAX: Final = 2
"""Above it every question has a look of its own."""
TOGETHER_MAX: Final = 50

Card = Mapping[str, Any]


def alike(cards: Sequence[Card]) -> list[list[Card]]:
    """Return the groups of two and more that ask the very same, in the order of the inbox."""
    groups: dict[bytes, list[Card]] = {}
    for card in cards:
        same = _same(card)
        if same is not None:
            groups.setdefault(same, []).append(card)
    return [group[:TOGETHER_MAX] for group in groups.values() if len(group) > 1]


def _same(card: Card) -> bytes | None:
    """Return what questions that ask the same have in common; nothing where each is answered alone."""
    row, risk = card["row"], card["risk"]
    apart = row["status"] != "open" or card["decided"] or not card["mine"] or not isinstance(card["payload"], Mapping)
    if apart or not isinstance(risk, int) or risk > LOW_TIER_MAX:
        return None
    return canonical_bytes(plain([card["sight"].state.digest, row["step"], risk, card["payload"]]))
