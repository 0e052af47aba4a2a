"""Carries one instance through one fault, on a clock that jumps, and returns what became of its steps.

``run`` opens a few stages and hands them faults one after the other. Each play gets systems in their
first state, a database in memory and an engine of its own; what is real is the product's: connectors,
sockets, journal, engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.bootstrap.calls import Calls
from topstitch.bootstrap.core import Core
from topstitch.bootstrap.installation import Installation, wire
from topstitch.bootstrap.plans import Plans
from topstitch.connectors import people
from topstitch.connectors.connections import Connections
from topstitch.connectors.registry import Registry
from topstitch.drill.judge import Cell, judge
from topstitch.drill.people import Answering
from topstitch.drill.ways import SLOW_SECONDS, TIMEOUT_SECONDS, Way, clear, take_down
from topstitch.foundation.clock import SimulatedClock, stopwatch
from topstitch.foundation.errors import RequestError
from topstitch.model.orders import Call, Outcome, ResolveCall, Result
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.settings import Settings
from topstitch.simulators.host import Simulators
from topstitch.store import Store, definitions, instances, pauses
from topstitch.store.definitions import Definition
from topstitch.trigger.accept import accept_made
from topstitch.trigger.cloudevents import CloudEvent
from topstitch.verifier import bounds

TURNS_MAX: Final = 20_000
PLAY_SECONDS_MAX: Final = 60.0
"""Of real time, for one play."""
GLANCE_SECONDS: Final = 0.03
"""How long a slow system's caller is looked at before the clock moves on under it."""
HELD_SECONDS_MAX: Final = 2 * 3600
"""How long a paused connection is looked at; what still waits then waits for its case to be closed."""
MARGIN_SECONDS: Final = 86_400
"""Beyond the bound that the verifier computes for the end of an instance."""

Connect = Callable[[Mapping[str, Mapping[str, Any]]], Connections]
Event = Callable[[Simulators, Registry], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """What is drilled, and with what."""

    definition: Definition
    plan: Plan
    settings: Settings
    connect: Connect
    """Makes the connections to the simulated systems out of their facts."""
    event: Event
    """Makes the data of the event that starts the instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One instance under one fault."""

    system: str | None
    way: Way | None
    from_start: bool
    """Whether the system was down before anything was read; else once the context was complete."""
    cells: tuple[Cell, ...]
    end: str | None
    lasted_seconds: float
    """Of the instance's own time."""


class Outage:
    """One system taken down in one way; nothing at all on a good day."""

    def __init__(self, sims: Simulators, system: str | None, way: Way | None) -> None:
        self._sims, self.system, self.way = sims, system, way
        self._lasts = False
        self._over = False

    async def begin(self) -> None:
        """Take the system down, once."""
        if not (self._lasts or self._over) and self.system is not None and self.way is not None:
            self._lasts = True
            await take_down(self._sims, self.system, self.way)

    async def end(self) -> None:
        """Bring it up again, for good."""
        self._over = True
        if self._lasts and self.system is not None and self.way is not None:
            self._lasts = False
            await clear(self._sims, self.system, self.way)


class _Watched(Core):
    """The rules of the product; the outage begins before the first call that is not of the context."""

    def __init__(self, plans: Plans, calls: Calls, outage: Outage) -> None:
        super().__init__(plans, calls)
        self._outage = outage

    async def perform(self, plan: Plan, instance: str, call: Call) -> Outcome:
        """Make a call, or have it fail."""
        if not call.key.startswith("@context/"):
            await self._outage.begin()
        return await super().perform(plan, instance, call)


class Stage:
    """One set of simulated systems, used again and again."""

    def __init__(self, drilled: Drilled, sims: Simulators, clock: SimulatedClock) -> None:
        self._drilled, self._sims, self._clock = drilled, sims, clock

    async def play(self, system: str | None, way: Way | None, *, from_start: bool = False) -> Play:
        """Carry an instance out while ``system`` is taken down; with neither, on a good day."""
        for name in self._sims:
            self._sims[name].reset()
        outage = Outage(self._sims, system, way)
        try:
            return await self._carry_out(outage, from_start=from_start)
        finally:
            await outage.end()

    async def _carry_out(self, outage: Outage, *, from_start: bool) -> Play:
        drilled, way = self._drilled, outage.way
        connections = drilled.connect(self._sims.facts())
        registry = Registry(_impatient(connections) if way is Way.TIMEOUT else connections, self._clock)
        data = drilled.event(self._sims, registry)
        troubles: list[str] = []
        store = Store.open("sqlite::memory:")
        try:
            house = wire(drilled.settings, self._clock, store, registry, lambda _i, e: troubles.append(str(e)))
            await definitions.publish(store, drilled.definition, parent=None)
            calls = Calls(store, registry, house.plans, self._clock, drilled.settings.environment)
            house.engine.core = _Watched(house.plans, calls, outage)
            if from_start:
                await outage.begin()
            async with _running(house):
                instance = await _start(house, drilled.plan, data)
                began = self._clock.now()
                stuck = await self._to_the_end(house, instance, way)
            state, _ = await _state(house, drilled.plan, instance)
            held = frozenset(pause.name for pause in await pauses.open_pauses(store))
            await outage.end()
            state = await _named(registry, drilled.plan, state)
        finally:
            await registry.close()
            store.close()
        trouble = troubles[0] if troubles else stuck
        return Play(
            system=outage.system,
            way=way,
            from_start=from_start,
            cells=judge(drilled.plan, state, trouble=trouble, held=held),
            end=state.ended,
            lasted_seconds=(self._clock.now() - began).total_seconds(),
        )

    async def _to_the_end(self, house: Installation, instance: str, way: Way | None) -> str | None:
        """Move time until the instance has ended; return why it does not."""
        plan = self._drilled.plan
        limit = self._clock.now() + timedelta(seconds=bounds.ended_seconds(plan) + MARGIN_SECONDS)
        answering, until = Answering(house, instance), stopwatch() + PLAY_SECONDS_MAX
        for _ in range(TURNS_MAX):
            due = await self._rest(house, way, until)
            if (await instances.get(house.ports.store, instance))["ended_at"] is not None:
                return None
            if await self._is_held(house):
                return None
            if await answering.act(lambda: _state(house, plan, instance)):
                continue
            when = min((time for time in (due, await answering.due()) if time is not None), default=None)
            if when is None:
                return "nothing will wake it"
            if when > limit:
                return f"not over after {(limit - self._clock.now()).days} days"
            self._clock.advance_to(when)
            house.engine.nudge()
        return f"not over after {TURNS_MAX} turns"

    async def _is_held(self, house: Installation) -> bool:
        """Whether a system refuses its connection for so long that only whoever keeps it can help."""
        since = [pause.opened_at for pause in await pauses.open_pauses(house.ports.store)]
        return bool(since) and min(since) + timedelta(seconds=HELD_SECONDS_MAX) <= self._clock.now()

    async def _rest(self, house: Installation, way: Way | None, until: float) -> datetime | None:
        """Return once there is nothing to do now: what is due next. Under a slow system time passes meanwhile."""
        resting = asyncio.ensure_future(house.engine.idle())
        try:
            while not resting.done():
                if stopwatch() > until:
                    raise TimeoutError(f"an instance did not come to rest within {PLAY_SECONDS_MAX:.0f} s")
                await asyncio.wait({resting}, timeout=GLANCE_SECONDS if way is Way.SLOW else until - stopwatch())
                if way is Way.SLOW and not resting.done():
                    self._pass_time()
            return resting.result()
        finally:
            resting.cancel()

    def _pass_time(self) -> None:
        sleeper = self._clock.next_sleeper()
        if sleeper is not None and sleeper <= self._clock.now() + timedelta(seconds=SLOW_SECONDS):
            self._clock.advance_to(sleeper)


@asynccontextmanager
async def open_stage(drilled: Drilled) -> AsyncIterator[Stage]:
    """Open a stage: its systems listen while the block lasts."""
    clock = SimulatedClock()
    async with Simulators(clock=clock) as sims:
        yield Stage(drilled, sims, clock)


def _impatient(connections: Connections) -> Connections:
    quick = {alias: replace(c, timeout_seconds=TIMEOUT_SECONDS) for alias, c in connections.connections.items()}
    return replace(connections, connections=quick)


@asynccontextmanager
async def _running(house: Installation) -> AsyncIterator[None]:
    engine = asyncio.create_task(house.engine.run(), name="engine of a drill")
    try:
        yield
    finally:
        house.engine.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await engine


async def _start(house: Installation, plan: Plan, data: Mapping[str, Any]) -> str:
    event = CloudEvent(id="drill-1", source="topstitch/drill", type=plan.trigger.event_type, data=data)
    verdict = await accept_made(house.intake, event)
    if not verdict.instances:
        message = (
            f"the event starts no instance of {plan.workflow}: its trigger's condition is false; give another --event"
        )
        raise RequestError("not-started", message)
    return verdict.instances[0]


async def _named(registry: Registry, plan: Plan, state: InstanceState) -> InstanceState:
    """Return the state with its tasks' people named, those too whom no notice could reach."""
    tasks = dict(state.tasks)
    for task in state.tasks.values():
        if not task.people:
            question = ResolveCall(
                key="drill", who=(task.to,), subject=state.correlation, requester=state.requester, owner=plan.owner
            )
            known = await people.resolve(registry, question)
            found = known.value["people"] if known.result is Result.OK else []
            tasks[task.id] = replace(task, people=tuple(found))
    return replace(state, tasks=tasks)


async def _state(house: Installation, plan: Plan, instance: str) -> tuple[InstanceState, int]:
    records = await instances.records(house.ports.store, instance)
    state = lifecycle.initial(plan, instance)
    for record in records:
        state = lifecycle.fold(plan, state, record)
    return state, records[-1].seq
