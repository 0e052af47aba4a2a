"""Plays every system in every way, a few at a time, and gathers the matrix.

``cli drill`` calls it. The good day comes first: a definition that does not complete when nothing is
wrong is not drilled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple

from topstitch.drill.judge import Cell, Fate, worst
from topstitch.drill.stage import Drilled, Play, Stage, open_stage
from topstitch.drill.ways import Way
from topstitch.foundation.clock import stopwatch

STAGES: Final = 6
"""How many plays go on at once: while one waits for an answer that never comes, the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What became of every step under every fault."""

    good_day: Play
    plays: tuple[Play, ...]
    seconds: float

    @property
    def stuck(self) -> tuple[tuple[Play, Cell], ...]:
        """Where something is stuck."""
        return tuple((play, cell) for play in self.plays for cell in play.cells if cell.fate is Fate.STUCK)

    @property
    def counts(self) -> dict[Fate, int]:
        """How often each fate came up."""
        return dict(worst(cell for play in self.plays for cell in play.cells))


class Turn(NamedTuple):
    """One outage to be played."""

    system: str
    way: Way
    from_start: bool


async def drill(
    drilled: Drilled,
    systems: Sequence[str],
    ways: Sequence[Way] = tuple(Way),
    *,
    stages: int = STAGES,
) -> Matrix:
    """Play each of ``systems`` in each of ``ways``."""
    began = stopwatch()
    turns = list(_turns(drilled, systems, ways))
    left = sorted(turns, key=lambda turn: turn.way is not Way.TIMEOUT)  # those that wait longest begin first
    plays: dict[Turn, Play] = {}
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_stage(drilled)) for _ in range(min(stages, len(left) or 1))]
        good_day = await opened[0].play(None, None)
        async with asyncio.TaskGroup() as group:
            for stage in opened:
                group.create_task(_play_on(stage, left, plays))
    return Matrix(good_day=good_day, plays=tuple(plays[turn] for turn in turns), seconds=stopwatch() - began)


def _turns(drilled: Drilled, systems: Sequence[str], ways: Sequence[Way]) -> Iterator[Turn]:
    """Go through the outages: from the start for what the context reads, then once the context is complete."""
    read = {drilled.plan.connector_of(read.system) for read in drilled.plan.context.values()}
    for system in systems:
        if system in read and Way.DOWN in ways:
            yield Turn(system, Way.DOWN, from_start=True)
        for way in Way:
            if way in ways:
                yield Turn(system, way, from_start=False)


async def _play_on(stage: Stage, left: list[Turn], plays: dict[Turn, Play]) -> None:
    while left:
        turn = left.pop(0)
        plays[turn] = await stage.play(turn.system, turn.way, from_start=turn.from_start)
