"""What the commands of the metrics look with: an open data folder, and the watch over its definitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from topstitch.bootstrap.measuring import watcher_of
from topstitch.bootstrap.plans import Plans
from topstitch.cli.desk import Desk, contracts, desk
from topstitch.foundation.errors import NotFoundError

if TYPE_CHECKING:
    from topstitch.metrics.watch import Watcher
    from topstitch.plan.plan import Plan
    from topstitch.settings import Settings


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[tuple[Desk, Watcher]]:
    """Open a data folder for one look."""
    async with desk(settings) as here:
        yield here, watcher_of(settings, here.store, Plans(here.store, contracts(settings)), tells=False)


async def plans_of(watcher: Watcher, workflow: str | None) -> list[Plan]:
    """Return the definitions in force, or the one that is named."""
    found = [plan for plan in await watcher.plans.in_force() if workflow in (None, plan.workflow)]
    if workflow is not None and not found:
        message = f"no workflow {workflow!r} is published; topstitch seams names those there are"
        raise NotFoundError("no-workflow", message)
    return found
