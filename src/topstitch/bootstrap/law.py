"""Keeps the law of one installation: which policy bundle is in force, every one before it, and who decides beside it.

``wire`` makes one ``Laws``; the engine asks it at every activation and the intake at every event, because
another process may have published, or granted a delegation. A bundle never changes under its digest, so it
is read once; what is asked each time is two numbers. Where no bundle was ever published the
definitions alone decide. Publishing is the office's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from topstitch.foundation.errors import TamperError
from topstitch.governance.bundle import Bundle
from topstitch.governance.duties import Delegation
from topstitch.governance.policy import NO_LAW, Law
from topstitch.office.lawmaking import opened
from topstitch.office.standing import agents_of, calendar_of, delegations_of
from topstitch.store import Store, deciding, policies


class Laws:
    """The law of one environment, as it was when last looked at."""

    def __init__(self, store: Store, environment: str) -> None:
        self._store, self._environment = store, environment
        self._bundles: dict[str, Bundle] = {}
        self._law = NO_LAW
        self._revision = 0
        self._changes = 0
        self._look: asyncio.Task[None] | None = None
        self.on_change: Callable[[], Awaitable[None]] | None = None
        """Called when something of the installation itself has changed, such as a stored credential."""

    def current(self) -> Law:
        """Return what held at the last ``refresh``."""
        return self._law

    async def delegations(self) -> tuple[Delegation, ...]:
        """Return who may answer for whom, as it is now; each grant knows its own time."""
        return (await self.refresh()).delegations

    @property
    def digest(self) -> str | None:
        """The bundle that an instance begins under now."""
        return self._law.in_force.digest if self._law.in_force else None

    async def refresh(self) -> Law:
        """Look whether a bundle was published since, here or by another process; return what holds.

        Whoever asks before a look has begun shares it: a hundred activations claimed at once cost one.
        """
        if self._look is None:
            self._look = asyncio.create_task(self._looked())
        await asyncio.shield(self._look)
        return self._law

    async def _looked(self) -> None:
        self._look = None  # who asks from here on needs a look of their own
        revision, changes = await deciding.revisions(self._store, self._environment)
        if changes > self._changes:
            await self._look_who_decides(changes)
        if revision > self._revision:
            await self._look_at_bundles()

    async def _look_who_decides(self, changes: int) -> None:
        """Read delegations, agents and the calendar anew: something of the installation itself has changed."""
        grants = await delegations_of(self._store)
        agents = await agents_of(self._store)
        calendar = await calendar_of(self._store, self._environment)
        if self.on_change is not None:
            await self.on_change()
        if changes > self._changes:  # a look that began later may have been quicker
            self._law = replace(self._law, delegations=grants, agents=agents, calendar=calendar)
            self._changes = changes

    async def _look_at_bundles(self) -> None:
        move = await policies.in_force(self._store, self._environment)
        if move is None:
            return
        for one in await policies.others(self._store, self._bundles):
            self._bundles[one.digest] = opened(one)
        if move.digest not in self._bundles:
            raise TamperError(
                "bundle-missing",
                f"the policy bundle in force in {self._environment} ({move.digest[:19]}) is not in the database any "
                "more; restore it from a backup",
                detail={"digest": move.digest},
            )
        if move.revision > self._revision:  # a look that began later may have been quicker
            self._law = replace(self._law, in_force=self._bundles[move.digest], bundles=dict(self._bundles))
            self._revision = move.revision
