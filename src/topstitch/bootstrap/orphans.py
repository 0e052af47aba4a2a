"""Finds open instances that nothing will wake, makes each an exception case, and has it looked at again (X-02).

``serve`` runs ``watch`` beside the engine. An orphan is a defect, or a row that somebody deleted by hand:
it must not be noticed by a customer first. The case says what was seen; appending it wakes the instance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from topstitch import lifecycle
from topstitch.bootstrap.installation import Installation
from topstitch.foundation.errors import ConflictError, TamperError
from topstitch.governance.cases import open_case
from topstitch.store import HeadIs, instances

LOG: Final = logging.getLogger("topstitch.orphans")
LOOK_SECONDS: Final = 20
"""How often it looks; a row must have been an orphan at two looks, so that one on its way is not taken for one."""
CAUSE: Final = "orphan"


class Orphans:
    """What was seen at the last look."""

    def __init__(self, house: Installation) -> None:
        self._house = house
        self._seen: frozenset[tuple[str, int]] = frozenset()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._house.clock.sleep_until(self._house.clock.now() + timedelta(seconds=LOOK_SECONDS))
            await self.look()

    async def look(self) -> list[str]:
        """Open a case for each instance that was an orphan at the last look too; return which."""
        rows = {(str(r["id"]), int(r["head_seq"])): r for r in await instances.orphans(self._house.ports.store)}
        again = [row for key, row in rows.items() if key in self._seen]
        self._seen = frozenset(rows)
        return [str(row["id"]) for row in again if await self._open_case(row)]

    async def _open_case(self, row: Mapping[str, Any]) -> bool:
        store, name = self._house.ports.store, str(row["id"])
        try:
            records = await instances.records(store, name)
            plan = await self._house.plans.load(row["digest"])
            state = lifecycle.initial(plan, name)
            for record in records:
                state = lifecycle.fold(plan, state, record)
            now = max(self._house.clock.now(), records[-1].at)
            draft = open_case(
                plan,
                state,
                now,
                state.stage,
                about=f"orphan/{records[-1].seq}",
                cause=CAUSE,
                summary=f"{state.title}: nothing would have woken it",
                remedy="It was woken; look whether it goes on, and report this together with its journal",
            )
            if draft is not None:
                await store.append_outside(name, [draft], now, guards=[HeadIs(records[-1].seq)])
        except ConflictError:
            return False  # somebody was quicker, so it is no orphan
        except TamperError as error:
            LOG.error("%s: %s", name, error)  # noqa: TRY400 -- the message says it all
            return False
        LOG.error("%s was an orphan: an open instance that nothing would have woken", name)
        return draft is not None


async def stopped(watching: asyncio.Task[None]) -> None:
    """End the watch."""
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
