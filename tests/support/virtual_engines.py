"""Engines of the whole-engine simulation, as processes that can die, hang, and lose their database.

A ``Process`` holds one real ``Embedded`` engine between a ``Wire`` to the real store and a
``Hands`` around the real core. The wire is where it dies: before a commit, after a commit of
which it never hears, in between. All tasks of a process are known, so that a crash ends every
one of them at the await where it stands. Called by ``virtual``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from topstitch import lifecycle
from topstitch.bootstrap.summary import summarise
from topstitch.engine.embedded import Embedded
from topstitch.foundation.errors import ConflictError, OperatorError
from topstitch.model.orders import Call, Orders, Outcome
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.store import Claims, Lease, Store, Summary

if TYPE_CHECKING:
    from support.virtual import Simulation

LEASE_SECONDS: Final = 30.0
CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
"""Whose task is being made: tasks inherit it."""


def remember_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **rest: Any
) -> asyncio.Task[Any]:
    """Make a task and note whose it is: a loop's task factory."""
    task = asyncio.Task(coroutine, loop=loop, **rest)
    context = rest.get("context")
    owner = context.get(CURRENT) if context is not None else CURRENT.get()
    if owner is not None:
        owner.tasks.append(task)
        task.add_done_callback(owner.look_at)
    return task


class Process:
    """One engine process: started, killed and started again under the same name."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation, self.name = simulation, name
        self.rng = random.Random(f"{simulation.seed} {name}")
        self.alive = False
        self.lives = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.states: dict[str, InstanceState] = {}
        """What it believes of each instance that it carries on."""
        self.engine: Embedded | None = None
        self.life: Life | None = None
        self.thawed = asyncio.Event()
        self.thawed.set()

    def start(self) -> None:
        """Begin a new life."""
        assert not self.alive
        self.alive, self.tasks, self.states = True, [], {}
        self.lives += 1
        self.life = Life(self)
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        loop = asyncio.get_running_loop()
        self.living = loop.create_task(self._live(self.life), name=f"{self.name}-{self.lives}", context=context)

    async def _live(self, life: Life) -> None:
        engine = Embedded(
            Wire(life, self.simulation.store),
            Hands(life),
            self.simulation.clock,
            owner=f"{self.name}-{self.lives}",
            lease_seconds=LEASE_SECONDS,
            activations_max=self.rng.choice((1, 2, 100)),
            pass_seconds_max=math.inf,  # the machine's own time must not decide what a seed does
            on_trouble=self.simulation.trouble,
        )
        self.engine = engine
        try:
            await engine.run()
        except OperatorError:
            self.simulation.count("stopped by its database")
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is a finding
            self.simulation.trouble(self.name, error)
        finally:
            if life.on:
                life.on = self.alive = False
                self.simulation.ended_life(self)

    def look_at(self, task: asyncio.Task[Any]) -> None:
        """No task of an engine ends by an error: nobody would hear of it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.simulation.broken.append(f"{self.name}: {task.get_coro()} raised {error!r}")

    def crash(self) -> None:
        """Die as by ``kill -9``: nothing is written any more, every task ends where it stands."""
        if not self.alive or self.life is None:
            return
        self.alive = self.life.on = False
        for task in self.tasks:
            task.cancel()
        self.thawed.set()
        self.simulation.ended_life(self)

    def stop(self) -> None:
        """End as by SIGTERM."""
        if self.alive and self.engine is not None:
            self.engine.stop()

    def freeze(self) -> None:
        """Stand still at the next await, as a process whose machine is paused."""
        self.thawed.clear()

    def thaw(self) -> None:
        """Go on where it stood."""
        self.thawed.set()


class Life:
    """One life of a process; what belongs to it stops when it does."""

    def __init__(self, process: Process) -> None:
        self.process, self.on = process, True

    @property
    def simulation(self) -> Simulation:
        """Whose life it is."""
        return self.process.simulation

    async def gate(self) -> None:
        """Wait while frozen; end here when dead."""
        await self.process.thawed.wait()
        if not self.on:
            raise asyncio.CancelledError

    async def point(self, name: str) -> None:
        """A place where the seed may kill the process, or hold it up."""
        process, simulation = self.process, self.simulation
        await self.gate()
        if not simulation.faulty:
            return
        draw = process.rng.random()
        if draw < simulation.crash_rate:
            simulation.count(f"crash {name}")
            process.crash()
            await self.gate()
        elif draw < simulation.crash_rate + simulation.stall_rate:
            simulation.count(f"stall {name}")
            process.freeze()
            simulation.after(process.rng.uniform(5, 3 * LEASE_SECONDS), process.thaw)
        elif draw < 0.1:
            await simulation.pause(process.rng.uniform(0, 2))
        elif draw < 0.2:
            await asyncio.sleep(0)
        await self.gate()


class Wire:
    """The store as one process reaches it."""

    def __init__(self, life: Life, store: Store) -> None:
        self._life, self._store = life, store

    async def claim(self, owner: str, now: datetime, lease_seconds: float, limit: int) -> Claims:
        await self._begin("before a claim")
        claims = await self._store.claim(owner, now, lease_seconds, limit)
        for due in claims.due:
            self._life.simulation.claimed(self._life.process, due.lease)
        await self._life.point("after a claim")
        return claims

    async def append(self, lease: Lease, drafts: Sequence[Draft] = (), **rest: Any) -> None:
        await self._begin("before an append")
        await self._store.append(lease, drafts, **rest)
        self._life.simulation.appended(self._life.process, lease, drafts, rest.get("ended_at"))
        await self._life.point("after an append")

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Everything else: the process may die before it."""

        async def through(*given: Any, **named: Any) -> Any:
            await self._begin(f"before a {name}")
            return await getattr(self._store, name)(*given, **named)

        return through

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Hear of changes; under faults now and then a notice gets lost."""
        simulation, rng = self._life.simulation, self._life.process.rng

        def heard() -> None:
            if self._life.on and not (simulation.faulty and rng.random() < 0.1):
                listener()

        return self._store.listen(heard)

    async def _begin(self, name: str) -> None:
        await self._life.point(name)
        simulation = self._life.simulation
        if simulation.faulty and self._life.process.rng.random() < simulation.database_rate:
            raise OperatorError("database-unreachable", "the simulated database does not answer; wait for it")


class Hands:
    """The real core; the calls go to the virtual systems."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def load(self, digest: str) -> Plan:
        return self._life.simulation.systems.arenas[digest].plan

    initial = staticmethod(lifecycle.initial)
    fold = staticmethod(lifecycle.fold)
    recover = staticmethod(lifecycle.recover)
    settle = staticmethod(lifecycle.settle)

    def decide(self, plan: Plan, state: InstanceState, now: datetime) -> Orders:
        orders = lifecycle.decide(plan, state, now)
        self._life.process.states[state.id] = orders.state
        return orders

    def summarise(self, plan: Plan, state: InstanceState) -> Summary:
        return summarise(plan, state)

    async def perform(self, plan: Plan, instance: str, call: Call) -> Outcome:
        # no place to hang: between the engine's last look at its lease and the wire no machine could help it
        outcome = await self._life.simulation.perform(self._life.process, plan, instance, call)
        await self._life.gate()
        return outcome


async def settle_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and see them end."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, ConflictError):
            await task
