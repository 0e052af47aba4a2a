"""Decides how fast the demo's time passes: as it comes while something is done, by jumps while nothing is.

Nothing is jumped over: the clock stops at whatever is due next. While somebody at the
terminal is asked, it never passes what they may still answer, and stands there until they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from topstitch.cli.clocks import note_time
from topstitch.engine.embedded import Embedded
from topstitch.foundation.clock import PacedClock
from topstitch.foundation.errors import OperatorError

NOTE_SECONDS: Final = 1.0
STAND_SECONDS: Final = 0.25
"""How often it looks whether somebody has answered."""
MARGIN: Final = timedelta(hours=1)
"""How long before the end of an answer's time the clock stands still."""
GLANCE_SECONDS: Final = 0.35
"""How long a jump takes on a terminal, so that the story can be read."""

Times = Callable[[], Awaitable[datetime | None]]


class Pace:
    """Moves one paced clock."""

    def __init__(self, clock: PacedClock, engine: Embedded, folder: Path, *, hurried: bool, last: datetime) -> None:
        self._clock, self._engine, self._folder, self._hurried = clock, engine, folder, hurried
        self._last = last
        self._stands: Callable[[], Awaitable[None]]
        self.standing = False
        """Whether it waits for somebody to answer."""

    async def drive(
        self,
        *,
        due: Times,
        limit: Times,
        act: Callable[[], Awaitable[bool]],
        over: Callable[[], Awaitable[bool]],
        stands: Callable[[], Awaitable[None]],
    ) -> None:
        """Move the clock until the story is over.

        ``due`` says when the script wants something next, ``limit`` where the clock has to stand,
        ``act`` does what the script has due and says whether that was anything; ``stands`` is called
        each time the clock has come to stand.
        """
        self._stands = stands
        while True:
            engine_due = await self._engine.idle()
            if await act():
                continue
            if await over():
                return
            candidates = [time for time in (engine_due, await due()) if time is not None]
            if self._engine.active == 0 and not candidates:
                await self._stand()
                continue
            await self._towards(min(candidates) if candidates else None, await limit())

    async def _towards(self, when: datetime | None, limit: datetime | None) -> None:
        if when is None or (limit is not None and when > limit):
            await self._stand()
            return
        self.standing = False
        if self._hurried and when > self._last:
            message = f"the story has not ended by {self._last:%d %b}; look with topstitch instances, and report it"
            raise OperatorError("demo-stuck", message)
        if when > self._clock.now():
            if not self._hurried:
                await asyncio.sleep(GLANCE_SECONDS)
            note_time(self._folder, when)
            self._clock.jump_to(when)
        self._engine.nudge()
        await asyncio.sleep(0)

    async def _stand(self) -> None:
        if not self.standing:
            self.standing = True
            await self._stands()
        note_time(self._folder, self._clock.now())
        await asyncio.sleep(STAND_SECONDS)
