"""The engine as a contender: a journal on disk, the ``http`` connector, the shipped core.

Wired as ``bootstrap`` wires it, but with one definition handed in; what is measured is what
runs in production: accept, claim, decide, append, perform, park.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from topstitch import lifecycle
from topstitch.bench.bare import Script
from topstitch.bootstrap.summary import summarise
from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.engine.embedded import Embedded
from topstitch.foundation.clock import SystemClock
from topstitch.foundation.ids import new_id
from topstitch.foundation.process import settle_memory
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.event import TriggerEvent
from topstitch.model.instance import StepStatus
from topstitch.model.orders import Call, LookUpCall, Orders, Outcome, Problem, ReadCall, Result, TellCall, WriteCall
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import NewInstance, Store, Summary

HERE: Final = Path(__file__).parent


class BenchCore:
    """The shipped core over one plan; says when an instance has executed."""

    def __init__(self, plan: Plan, registry: Registry) -> None:
        self.plan = plan
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.finished: list[tuple[str, list[str]]] = []
        self._reader, self._writer = registry.reader("stub"), registry.writer("stub")

    async def load(self, _digest: str) -> Plan:
        """Return the one plan."""
        return self.plan

    initial = staticmethod(lifecycle.initial)
    fold = staticmethod(lifecycle.fold)
    settle = staticmethod(lifecycle.settle)
    recover = staticmethod(lifecycle.recover)

    def decide(self, plan: Plan, state: InstanceState, now: datetime) -> Orders:
        """Decide; once nothing is left but the checks of tomorrow, tell whoever waits."""
        orders = lifecycle.decide(plan, state, now)
        if orders.state.executed_at is not None and not orders.calls:
            undone = [step.id for step in orders.state.steps.values() if step.status is not StepStatus.DONE]
            self.finished.append((state.id, undone))
        return orders

    def summarise(self, plan: Plan, state: InstanceState) -> Summary:
        """Return the row of the instance list."""
        return summarise(plan, state)

    async def perform(self, _plan: Plan, instance: str, call: Call) -> Outcome:
        """Make a call."""
        match call:
            case ReadCall():
                return await self._reader.read(call.action, call.params, key=call.key, instance=instance)
            case WriteCall():
                return await self._writer.write(call)
            case LookUpCall():
                return await self._reader.look_up(call.action, call.params, call.idempotency_key, instance=instance)
            case TellCall():
                return Outcome(result=Result.OK, value={"people": []})
            case _:
                return Outcome(result=Result.REFUSED, problem=Problem(code="bench", message="not part of the workload"))

    def landed(self) -> None:
        """Wake those whose instances are durable now; one that went another way than the script is no figure."""
        for instance, undone in self.finished:
            waiter = self.waiting.pop(instance, None)
            if waiter is None or waiter.done():
                continue
            if undone:
                waiter.set_exception(AssertionError(f"{instance} left undone: {', '.join(undone)}"))
            else:
                waiter.set_result(None)
        self.finished.clear()


class NotingStore:
    """The store, but the core hears when an append that finished an instance is durable."""

    def __init__(self, store: Store, core: BenchCore) -> None:
        self._store, self._core = store, core

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's."""
        return getattr(self._store, name)

    async def append(self, lease: Any, drafts: Sequence[Draft] = (), **rest: Any) -> None:
        """Append, then tell."""
        await self._store.append(lease, drafts, **rest)
        if self._core.finished:
            self._core.landed()


class EngineContender:
    """The engine, running."""

    def __init__(self, url: str, database: str, folder: Path, *, at_once: int = 100) -> None:
        connections = folder / "connections.toml"
        connections.write_text(
            f'[connections.stub]\nconnector = "http:{HERE / "system.yaml"}"\nbase_url = "{url}"\nconcurrency = 1000\n'
        )
        tomllib.loads(connections.read_text())
        self.clock = SystemClock()
        self.registry = Registry(load_connections(connections), self.clock)
        text = (HERE / "workflow.yaml").read_text()
        workflow = Workflow.model_validate(load(text, "workflow.yaml").data)
        self.plan = compile_plan(workflow, self.registry.contracts(), "sha256:bench")
        self.store = Store.open(database)
        self.core = BenchCore(self.plan, self.registry)
        self.engine = Embedded(
            NotingStore(self.store, self.core), self.core, self.clock, activations_max=max(at_once, 1) * 2
        )
        self._stub = Script(url)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the engine."""
        settle_memory()
        await self._stub.__aenter__()
        self._running = asyncio.create_task(self.engine.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the engine."""
        self.engine.stop()
        if self._running is not None:
            await self._running
        await self._stub.__aexit__()
        await self.registry.close()
        self.store.close()

    async def carry(self, name: str) -> None:
        """Carry one instance from its event to its last confirmed step."""
        now = self.clock.now()
        event = TriggerEvent(id=name, source="bench", type="bench-stub.asked", data={"number": name}, received_at=now)
        instance = new_id("ins", now)
        first = lifecycle.begin(self.plan, event, instance, now)
        assert first is not None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.core.waiting[instance] = done
        start = NewInstance(
            id=instance,
            workflow="bench",
            version="1.0.0",
            digest=self.plan.digest,
            first=first,
            correlation=name,
            title=name,
        )
        await self.store.accept(event, [start])
        await done

    async def handoffs(self) -> list[float]:
        """Return the handoffs the stub has seen since the last look."""
        return await self._stub.handoffs()
