"""Decides which moves the life of a discrepancy has: a table, and the one function that reads it.

``conclude``, ``tickets``, ``heal`` and ``desk`` ask here before they write a record that moves one. A
difference that comes back after it was settled reopens the discrepancy it had been.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from topstitch.foundation.errors import ConflictError
from topstitch.model.state import DiscrepancyStatus as S


class Move(StrEnum):
    """What happens to a discrepancy."""

    CONFIRM = "confirm"
    """A second read, after the settle time, saw it too."""
    TICKET = "ticket"
    """Its ticket was filed or updated."""
    HEAL = "heal"
    """A repair is proposed."""
    STAND = "stand"
    """The repair came to nothing."""
    WAIVE = "waive"
    """A person lets it stand until a day."""
    ACCEPT = "accept"
    """A person says that what is there is right."""
    SUPERSEDE = "supersede"
    """The source moved on after us."""
    AGREE = "agree"
    """A read agreed."""
    RETURN = "return"
    """It is there again, or its waiver has ended."""


def _open(status: S) -> dict[tuple[S, Move], S]:
    return {
        (status, Move.HEAL): S.HEALING,
        (status, Move.WAIVE): S.WAIVED,
        (status, Move.ACCEPT): S.ACCEPTED,
        (status, Move.SUPERSEDE): S.SUPERSEDED,
        (status, Move.AGREE): S.RESOLVED,
    }


MOVES: Final[Mapping[tuple[S, Move], S]] = {
    (S.SUSPECTED, Move.CONFIRM): S.CONFIRMED,
    (S.SUSPECTED, Move.SUPERSEDE): S.SUPERSEDED,
    (S.SUSPECTED, Move.AGREE): S.RESOLVED,
    **_open(S.CONFIRMED),
    (S.CONFIRMED, Move.TICKET): S.TICKETED,
    (S.CONFIRMED, Move.STAND): S.CONFIRMED,
    **_open(S.TICKETED),
    (S.TICKETED, Move.TICKET): S.TICKETED,
    (S.TICKETED, Move.STAND): S.TICKETED,
    **_open(S.HEALING),
    (S.HEALING, Move.TICKET): S.HEALING,
    (S.HEALING, Move.STAND): S.TICKETED,
    (S.WAIVED, Move.TICKET): S.WAIVED,
    (S.WAIVED, Move.WAIVE): S.WAIVED,
    (S.WAIVED, Move.ACCEPT): S.ACCEPTED,
    (S.WAIVED, Move.SUPERSEDE): S.SUPERSEDED,
    (S.WAIVED, Move.AGREE): S.RESOLVED,
    (S.WAIVED, Move.RETURN): S.CONFIRMED,
    (S.ACCEPTED, Move.TICKET): S.ACCEPTED,
    (S.ACCEPTED, Move.RETURN): S.CONFIRMED,
    (S.SUPERSEDED, Move.TICKET): S.SUPERSEDED,
    (S.SUPERSEDED, Move.RETURN): S.CONFIRMED,
    (S.RESOLVED, Move.TICKET): S.RESOLVED,
    (S.RESOLVED, Move.RETURN): S.CONFIRMED,
}
"""A ticket whose filing was under way may be heard of after the discrepancy was settled: nothing moves then."""


def next_status(current: S, move: Move) -> S:
    """Return the status after ``move``; raise ``ConflictError`` if the table has no such arrow."""
    after = MOVES.get((current, move))
    if after is None:
        raise ConflictError(
            "discrepancy-moved", f"a discrepancy that is {current} cannot {move}; look at it again, then decide"
        )
    return after
