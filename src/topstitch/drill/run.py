"""Plays every system in every way, a few at a time, and gathers the matrix.

``cli drill`` calls it. The good day comes first: a definition that does not complete when nothing is
wrong is not drilled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from topstitch.drill.judge import Cell, Fate, worst
from topstitch.drill.stage import Drilled, Play, Stage, open_stage
from topstitch.drill.ways import Way, ways_of
from topstitch.foundation.clock import stopwatch

STAGES: Final = 4
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


async def drill(
    drilled: Drilled,
    systems: Sequence[str],
    ways: Sequence[Way] = tuple(Way),
    *,
    stages: int = STAGES,
    told: Callable[[Play], None] | None = None,
) -> Matrix:
    """Play each of ``systems`` in each of ``ways``; ``told`` hears of each play as it ends."""
    began = stopwatch()
    wanted = [(system, way) for system in systems for way in ways_of(system) if way in ways]
    wanted.sort(key=lambda pair: pair[1] is not Way.TIMEOUT)  # those that wait longest begin first
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_stage(drilled)) for _ in range(min(stages, len(wanted) or 1))]
        good_day = await opened[0].play(None, None)
        plays: dict[tuple[str, Way], Play] = {}
        async with asyncio.TaskGroup() as group:
            for stage in opened:
                group.create_task(_play_on(stage, wanted, plays, told))
    order = [(system, way) for system in systems for way in ways_of(system) if way in ways]
    return Matrix(good_day=good_day, plays=tuple(plays[pair] for pair in order), seconds=stopwatch() - began)


async def _play_on(
    stage: Stage,
    wanted: list[tuple[str, Way]],
    plays: dict[tuple[str, Way], Play],
    told: Callable[[Play], None] | None,
) -> None:
    while wanted:
        system, way = wanted.pop(0)
        plays[system, way] = play = await stage.play(system, way)
        if told is not None:
            told(play)
