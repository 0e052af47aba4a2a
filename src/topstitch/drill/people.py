"""The people of a drill: whoever is asked approves after a while; nobody does a task by hand.

So an outage is seen to its end: a task that nobody takes up must have an end too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.bootstrap.installation import Installation
from topstitch.foundation.errors import ConflictError, NotAllowedError
from topstitch.governance import approvals
from topstitch.model.state import InstanceState
from topstitch.store import HeadIs, items

ANSWERS_AFTER: Final = timedelta(minutes=10)


class Answering:
    """Answers what the one instance of a drill asks."""

    def __init__(self, house: Installation, instance: str) -> None:
        self._house, self._instance = house, instance
        self._answered: set[str] = set()

    async def due(self) -> datetime | None:
        """Return when somebody answers next."""
        return min((row["asked_at"] + ANSWERS_AFTER for row in await self._open()), default=None)

    async def act(self, look: Callable[[], Awaitable[tuple[InstanceState, int]]]) -> bool:
        """Answer what is due; return whether that was anything."""
        now = self._house.clock.now()
        for row in await self._open():
            if row["asked_at"] + ANSWERS_AFTER <= now:
                self._answered.add(row["id"])
                return await self._approve(*await look(), row["id"], now)
        return False

    async def _open(self) -> list[Mapping[str, Any]]:
        found = await items.list_approvals(self._house.ports.store, instance=self._instance)
        return [row for row in found if row["id"] not in self._answered]

    async def _approve(self, state: InstanceState, seq: int, approval: str, now: datetime) -> bool:
        """Let the first approve who may; one that nobody may decide is left to its end."""
        people = next(s.approval.people for s in state.steps.values() if s.approval and s.approval.id == approval)
        for person in people:
            try:
                draft = approvals.answer(state, approval, str(person["id"]), approvals.APPROVE, now, via="drill")
                await self._house.ports.store.append_outside(self._instance, [draft], now, guards=[HeadIs(seq)])
            except NotAllowedError:
                continue
            except ConflictError:
                self._answered.discard(approval)
            return True
        return False
