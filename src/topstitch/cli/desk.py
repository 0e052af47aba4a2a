"""What commands on a data folder work at: its store, its time, and an instance as it stands.

``desk`` opens the store for one command. An id may be typed by its first characters. Answers are
appended behind the head that was looked at; when somebody was quicker, it is looked at again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from topstitch.bootstrap.database import open_store
from topstitch.cli.clocks import clock_of
from topstitch.foundation.errors import ConflictError, NotFoundError, OperatorError
from topstitch.settings import Settings
from topstitch.store import HeadIs, Store, instances

if TYPE_CHECKING:
    from topstitch.model.action import SystemContract
    from topstitch.model.record import Draft, Record
    from topstitch.model.state import InstanceState
    from topstitch.plan.plan import Plan

LOOKS_MAX: Final = 20
"""How often somebody may be quicker than one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One instance as it stands."""

    plan: Plan
    state: InstanceState
    records: Sequence[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """An open data folder."""

    settings: Settings
    store: Store

    def now(self) -> datetime:
        """Return the time here."""
        return clock_of(self.settings).now()

    async def named(self, beginning: str) -> str:
        """Return the one instance whose id begins so."""
        found = await instances.find(self.store, beginning, limit=2) if beginning else []
        if not found:
            message = f"there is no instance {beginning!r}; topstitch instances lists them"
            raise NotFoundError("no-instance", message)
        if len(found) > 1 and beginning not in found:
            message = f"more than one instance begins with {beginning!r}; type more of it"
            raise NotFoundError("id-unclear", message, detail={"found": found})
        return beginning if beginning in found else found[0]

    async def picture(self, instance: str) -> Picture:
        """Return an instance with its journal folded."""
        from topstitch import lifecycle
        from topstitch.bootstrap.plans import Plans

        records = await instances.records(self.store, instance)
        plan = await Plans(self.store, contracts(self.settings)).load(
            (await instances.get(self.store, instance))["digest"]
        )
        state = lifecycle.initial(plan, instance)
        for record in records:
            state = lifecycle.fold(plan, state, record)
        return Picture(plan=plan, state=state, records=records)

    async def say(
        self, instance: str, make: Callable[[InstanceState, datetime], Draft | list[Draft]]
    ) -> Sequence[Record]:
        """Append what a person says to an instance, judged by the state it is appended to."""
        for _ in range(LOOKS_MAX):
            seen = await self.picture(instance)
            made = make(seen.state, max(self.now(), seen.records[-1].at))
            drafts = made if isinstance(made, list) else [made]
            try:
                return await self.store.append_outside(
                    instance, drafts, drafts[0].at, guards=[HeadIs(seen.records[-1].seq)]
                )
            except ConflictError as error:
                if error.code != "stale":
                    raise
        raise ConflictError("busy", f"{instance} keeps moving; try again in a moment")


@asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """Open a data folder that exists, for one command."""
    if settings.is_sqlite and not _exists(settings):
        remedy = "start with topstitch init or topstitch demo, or name the folder with --data"
        message = f"there is no database {settings.database}; {remedy}"
        raise OperatorError("no-data", message)
    with open_store(settings, threads=False) as store:
        yield Desk(settings=settings, store=store)


def contracts(settings: Settings) -> Mapping[str, SystemContract]:
    """Return the contracts that definitions of this folder may name, those of declared systems included."""
    from topstitch.connectors.registry import installed_contracts

    if not settings.connections.exists():
        return installed_contracts()
    from topstitch.connectors.connections import load_connections

    known = load_connections(settings.connections, check_credentials=False)
    if not any(c.connector.startswith("http:") for c in known.connections.values()):
        return installed_contracts()
    from topstitch.connectors.registry import Registry

    return Registry(known).contracts()


def _exists(settings: Settings) -> bool:
    from topstitch.store.database import sqlite_path

    return sqlite_path(settings.database).exists()


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text."""
    from topstitch.foundation.timetext import rfc3339

    return {k: rfc3339(v) if isinstance(v, datetime) else v for k, v in row.items()}
