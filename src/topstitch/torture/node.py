"""Says what one point of a schedule is, and what a choice at it is.

Made by ``walk`` and ``people``, kept by ``explore``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from topstitch.model.orders import Call, Orders, Outcome
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState
from topstitch.torture.world import World


class BrokenError(Exception):
    """A schedule in which something is not as it must be: which rule, and what was seen."""

    def __init__(self, oracle: str, said: str) -> None:
        super().__init__(f"{oracle}: {said}")
        self.oracle, self.said = oracle, said


@dataclass(frozen=True, slots=True)
class Node:
    """One point of a schedule: all that its future depends on.

    A turn begins at a node without ``landed`` and ``todo``; those are filled while the calls of the
    turn are answered one by one, before the core is asked again.
    """

    state: InstanceState
    world: World
    now: datetime
    left: int
    """How many faults may still happen."""
    flying: tuple[tuple[Call, Outcome], ...] = ()
    """Answers that come late."""
    recovers: bool = False
    """Whether a new engine takes the instance up here."""
    landed: tuple[tuple[Call, Outcome], ...] = ()
    todo: tuple[Call, ...] = ()
    orders: Orders | None = None
    """What the core wants, when it has been asked already."""
    wrote: tuple[Draft, ...] = ()
    """What has just been written to the journal; told by ``replay``, of no weight for the future."""
    restarted: bool = False
    """Whether a new engine has just taken the instance up."""

    @property
    def ended(self) -> bool:
        """Whether the schedule is over."""
        return self.state.ended is not None

    @property
    def begins(self) -> bool:
        """Whether a turn begins here: then the node is told by its state, and may be met again."""
        return not self.landed and not self.todo


@dataclass(frozen=True, slots=True)
class Point:
    """The choices at one point: what is happening, each choice's name and cost, and how to take it."""

    what: str
    options: Sequence[tuple[str, int]]
    take: Callable[[int], Node]
