"""Wires one installation together, once: the three hands, the plans, the core, the intake.

The doors call ``open_installation`` with the settings and hold what it returns until they end. Nothing
else makes a store, a registry or an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from topstitch import lifecycle
from topstitch.bootstrap.calls import Calls
from topstitch.bootstrap.core import Core
from topstitch.bootstrap.credentials import reveal_stored
from topstitch.bootstrap.database import open_store
from topstitch.bootstrap.law import Laws
from topstitch.bootstrap.plans import Plans
from topstitch.connectors.connections import Connections, load_connections
from topstitch.connectors.registry import Registry
from topstitch.engine.embedded import Embedded
from topstitch.foundation.clock import Clock, SystemClock
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Draft
from topstitch.office.desk import Desk
from topstitch.office.letters import Letters
from topstitch.plan.plan import Plan
from topstitch.ports import Ports
from topstitch.settings import Settings
from topstitch.store import Store
from topstitch.trigger.accept import Intake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything of one installation, wired."""

    settings: Settings
    clock: Clock
    ports: Ports
    plans: Plans
    laws: Laws
    core: Core
    intake: Intake
    engine: Embedded


def open_installation(
    settings: Settings,
    *,
    clock: Clock | None = None,
    connections: Connections | None = None,
    on_trouble: Callable[[str, BaseException], None] | None = None,
    check_credentials: bool = True,
    threads: bool = True,
) -> AbstractAsyncContextManager[Installation]:
    """Open an installation for the time of an ``async with`` block."""
    return _opened(settings, clock or SystemClock(), connections, on_trouble, check_credentials, threads)


@asynccontextmanager
async def _opened(
    settings: Settings,
    clock: Clock,
    connections: Connections | None,
    on_trouble: Callable[[str, BaseException], None] | None,
    check_credentials: bool,
    threads: bool,
) -> AsyncIterator[Installation]:
    known = connections or load_connections(settings.connections, check_credentials=check_credentials)
    registry = Registry(known, clock)
    store = open_store(settings, threads=threads)
    try:
        await reveal_stored(store, known)
        yield wire(settings, clock, store, registry, on_trouble)
    finally:
        await registry.close()
        store.close()


def wire(
    settings: Settings,
    clock: Clock,
    store: Store,
    registry: Registry,
    on_trouble: Callable[[str, BaseException], None] | None = None,
) -> Installation:
    """Put the parts together."""
    plans = Plans(store, registry.contracts())
    laws = Laws(store, settings.environment)
    laws.on_change = partial(reveal_stored, store, registry.connections)
    letters = Letters(Desk(store, plans.load, clock), settings.console_url)
    core = Core(plans, Calls(store, registry, plans, clock, settings.environment, laws, letters), laws)
    engine = Embedded(
        store,
        core,
        clock,
        activations_max=settings.activations,
        lease_seconds=settings.lease_seconds,
        on_trouble=on_trouble,
    )
    rates = registry.connections.rates

    def begin(plan: Plan, event: TriggerEvent, instance: str, now: datetime) -> Draft | None:
        return lifecycle.begin(
            plan, event, instance, now, rates=rates, environment=settings.environment, policy=laws.digest
        )

    async def in_force() -> Sequence[Plan]:
        await laws.refresh()
        return await plans.in_force()

    intake = Intake(store=store, connectors=registry, clock=clock, plans=in_force, begin=begin)
    ports = Ports(store=store, connectors=registry, engine=engine)
    return Installation(
        settings=settings,
        clock=clock,
        ports=ports,
        plans=plans,
        laws=laws,
        core=core,
        intake=intake,
        engine=engine,
    )
