"""The whole engine in one thread from one seed: up to three engines on a database, systems, people, operators, faults.

``simulate(seed)`` draws a scenario, lets it go wrong for a while, then stops all faults and
waits until everything has reached a declared end, at the latest after the bound that follows
from the definitions. ``Simulation`` is the same world for tests that want to say themselves
what happens next. Everything in it is the product's, but for the systems, the people and the
processes. ``python -m support.virtual SEED`` plays one seed again and says what happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy.dialects import sqlite

from support.virtual_bound import bound_seconds
from support.virtual_definitions import NAMES, arena
from support.virtual_engines import Process, remember_task, settle_all
from support.virtual_people import People
from support.virtual_systems import Systems
from support.virtual_time import JUMPS_MAX, StuckError, VirtualLoop, seeded_chance
from topstitch import lifecycle
from topstitch.bootstrap.summary import summarise
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import ConflictError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, Outcome, ReportCall, Result, StartCall
from topstitch.model.record import ENGINE, Draft, Record, Stage
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.store import Accepted, Lease, NotYet, Store, Summary, events, instances
from topstitch.store.rebuild import rebuild
from topstitch.store.sealing import moment
from topstitch.store.tables import PROJECTIONS
from topstitch.torture.arrange import Arena
from topstitch.torture.node import BrokenError, Node
from topstitch.torture.oracles import judge
from topstitch.torture.world import World
from topstitch.trigger.match import instance_id, new_instance

ENGINES: Final = 3
"""At most; one that is alone has nobody who would take over what it forgets."""
CHAOS_SECONDS: Final = (600, 7200, 86_400, 4 * 86_400)
"""How long things go wrong."""
ORPHANS: Final = str(
    instances.orphans_query().compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
)
SAID_MAX: Final = 20
"""Complaints of one seed that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one seed."""

    seed: int
    broken: tuple[str, ...]
    digest: str
    """Of all that the journals say, in order. Not of their hashes: those are salted."""
    ends: Counter[str]
    counts: Counter[str]

    def __str__(self) -> str:
        said = "\n".join(dict.fromkeys(self.broken[:SAID_MAX])) or "nothing is wrong"
        return f"seed {self.seed}: {said}\nreplay: PYTHONPATH=src:tests .venv/bin/python -m support.virtual {self.seed}"


def simulate(seed: int, *, engines: int | None = None) -> Verdict:
    """Play one seed; it draws the number of engines too, unless that is given."""
    with seeded_chance(seed):
        simulation = Simulation(seed, engines=engines or random.Random(f"engines {seed}").randint(1, ENGINES))
        try:
            simulation.run(_scenario(simulation))
        except StuckError as error:
            simulation.broken.append(str(error))
        finally:
            verdict = simulation.close()
    return verdict


async def _scenario(simulation: Simulation) -> None:
    rng = simulation.rng
    chaos = rng.choice(CHAOS_SECONDS)
    simulation.crash_rate = rng.choice((0.0, 0.005, 0.03))
    simulation.database_rate = rng.choice((0.0, 0.0, 0.01))
    simulation.stall_rate = rng.choice((0.0, 0.0, 0.02))
    simulation.systems.fault_rate = rng.choice((0.05, 0.15, 0.4))
    for process in simulation.processes:
        process.start()
    for number in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(NAMES)
        simulation.after(rng.uniform(0, 900), partial(simulation.start, name, f"W-{number}"))
        if rng.random() < 0.3:
            simulation.after(rng.uniform(0, chaos), partial(simulation.start, name, f"W-{number}"))
    for _ in range(rng.choice((0, 1, 3, 6))):
        simulation.after(rng.uniform(0, chaos), simulation.meddle_with_process)
    for _ in range(rng.choice((0, 0, 1, 3))):
        simulation.after(rng.uniform(0, chaos) ** rng.choice((0.6, 1)), simulation.people.meddle)
    await simulation.pause(max(chaos, 1000))
    await simulation.end_well()


class Simulation:
    """One world. Coroutines given to ``run`` happen in it."""

    def __init__(self, seed: int, *, engines: int = ENGINES) -> None:
        self.seed = seed
        self.rng = random.Random(f"scenario {seed}")
        self.clock = SimulatedClock()
        self.loop = VirtualLoop(self.clock)
        self.loop.set_task_factory(remember_task)  # type: ignore[arg-type]
        self.loop.next_due = self._next_due
        self.store = Store.open("sqlite::memory:")
        self.systems = Systems(random.Random(f"systems {seed}"), self.clock)
        self.people = People(self, random.Random(f"people {seed}"))
        self.processes = [Process(self, f"engine{number}") for number in range(engines)]
        self.instances: list[str] = []
        self.open: set[str] = set()
        self.faulty = True
        self.crash_rate = self.database_rate = self.stall_rate = 0.0
        self.broken: list[str] = self.systems.violations
        self.counts: Counter[str] = Counter()
        self._digests: dict[str, str] = {}
        self._later: list[asyncio.Task[Any]] = []
        self._settled = asyncio.Event()
        self._epochs: dict[tuple[str, int], Process] = {}

    # --- driving it ---------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Let a coroutine happen, and all that happens meanwhile."""
        return self.loop.run_until_complete(coroutine)

    async def pause(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.clock.sleep_until(self.clock.now() + timedelta(seconds=seconds))

    def after(self, seconds: float, act: Callable[[], Any]) -> None:
        """Have something happen later, whatever becomes of the processes."""

        async def wait() -> None:
            await self.pause(seconds)
            found = act()
            if asyncio.iscoroutine(found):
                await found

        self._later.append(asyncio.Task(wait(), loop=self.loop))

    async def start(self, definition: str, key: str, variant: int | None = None) -> Accepted:
        """Deliver the event that starts an instance; delivered twice, it starts one."""
        ready = arena(definition)
        number = variant if variant is not None else self.rng.randrange(len(ready.variants))
        data = {**ready.data, "employee_id": key, "torture": ready.variants[number].says}
        now = self.clock.now()
        event = TriggerEvent(
            id=f"{definition}-{key}", source="workday", type=ready.plan.trigger.event_type, data=data, received_at=now
        )
        return await self._accept(ready, event)

    async def _accept(self, ready: Arena, event: TriggerEvent, parent: tuple[str, str] | None = None) -> Accepted:
        identity = instance_id(event, ready.plan.workflow)
        first = lifecycle.begin(ready.plan, event, identity, self.clock.now(), parent=parent)
        assert first is not None
        self.systems.arenas[ready.plan.digest] = ready
        accepted = await self.store.accept(event, [new_instance(ready.plan, identity, first)])
        if accepted.first:
            self.instances.append(identity)
            self._digests[identity] = ready.plan.digest
            self.open.add(identity)
        elif accepted.instances[0] not in self.instances:
            self.broken.append(f"the second delivery of {event.id} was told of {accepted.instances}")
        return accepted

    def meddle_with_process(self) -> None:
        """Kill, hang or stop a process, as the seed draws."""
        process = self.rng.choice(self.processes)
        what = self.rng.choice(("crash", "freeze", "stop"))
        self.counts[what] += process.alive
        match what:
            case "crash":
                process.crash()
            case "freeze":
                process.freeze()
                self.after(self.rng.uniform(1, 200), process.thaw)
            case _:
                process.stop()

    async def end_well(self) -> None:
        """Stop all faults; then everything must reach a declared end within the bound."""
        self.faulty = False
        self.systems.stop_faults()
        for process in self.processes:
            process.thaw()
            if not process.alive:
                process.start()
        await self.pause(300)  # whoever was dying has died and is back
        for instance in self.instances:
            await self.people.command(instance, "resume")
        bound = max((bound_seconds(self._arena(name).plan) for name in self.instances), default=1.0)
        deadline = self.clock.now() + timedelta(seconds=bound * 2)  # a called workflow may take as long again
        self._settled.clear()
        self._check_settled()
        waiter = asyncio.Task(self._settled.wait(), loop=self.loop)
        alarm = asyncio.Task(self.clock.sleep_until(deadline), loop=self.loop)
        await asyncio.wait([waiter, alarm], return_when=asyncio.FIRST_COMPLETED)
        await settle_all([waiter, alarm])
        for name in sorted(self.open):
            row = self._row(name, "workflow, status, waiting_on, wake_at, lease_owner")
            self.broken.append(f"{name} is still open {bound * 2 / 86_400:.1f} days after the last fault: {row}")

    def close(self) -> Verdict:
        """Judge what there is, and let go of everything."""
        try:
            digest, ends = self.run(self._judged())
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is this seed's
            self.broken.append(f"{type(error).__name__}: {error}")
            digest, ends = "", Counter()
        for process in self.processes:
            process.crash()
        self.run(settle_all([*self._later, *(t for t in asyncio.all_tasks(self.loop) if not t.done())]))
        self.loop.close()
        self.store.close()
        return Verdict(seed=self.seed, broken=tuple(self.broken), digest=digest, ends=ends, counts=self.counts)

    # --- what processes tell ------------------------------------------------------------------

    def claimed(self, process: Process, lease: Lease) -> None:
        """A process has claimed an instance: nobody else ever did under this epoch."""
        if self._epochs.setdefault((lease.instance, lease.epoch), process) is not process:
            self.broken.append(f"{lease.instance} was claimed twice under epoch {lease.epoch}")
        self.systems.holders[lease.instance] = (lease.epoch, process)

    def appended(self, process: Process, lease: Lease, drafts: Sequence[Draft], ended_at: datetime | None) -> None:
        """A process has appended."""
        epoch, holder = self.systems.holders[lease.instance]
        if drafts and (holder is not process or epoch != lease.epoch):
            self.broken.append(
                f"{process.name} wrote to {lease.instance} under epoch {lease.epoch}; it stands at {epoch}"
            )
        self.people.hear(lease.instance, drafts)
        self.look_for_orphans()
        if ended_at is not None:
            self.open.discard(lease.instance)
            self._check_settled()

    def _check_settled(self) -> None:
        if not self.open and not self.faulty:
            self._settled.set()

    def ended_life(self, process: Process) -> None:
        """A process has died: a supervisor starts it again, sooner or later."""
        self.after(self.rng.uniform(1, 120), lambda: None if process.alive else process.start())

    def trouble(self, instance: str, error: BaseException) -> None:
        """An engine could not carry an instance on."""
        self.broken.append(f"{instance} cannot be carried on: {error!r}")
        if len(self.broken) > SAID_MAX:
            self.loop.jumps = JUMPS_MAX  # it will not get better

    def count(self, what: str) -> None:
        """Note that something has happened."""
        self.counts[what] += 1

    # --- calls --------------------------------------------------------------------------------

    async def perform(self, process: Process, plan: Plan, instance: str, call: Call) -> Outcome:
        """Make a call of a process: to a virtual system, or to ourselves."""
        match call:
            case StartCall():
                ready, now = arena(call.workflow), self.clock.now()
                data = {**ready.data, **call.data, "torture": ready.variants[0].says}
                event = TriggerEvent(
                    id=call.idempotency_key,
                    source="topstitch",
                    type=ready.plan.trigger.event_type,
                    data=data,
                    received_at=now,
                )
                accepted = await self._accept(ready, event, (call.parent, call.parent_step))
                return Outcome(result=Result.OK, value={"instance": accepted.instances[0]})
            case ReportCall():
                draft = Draft(
                    kind=Kind.CHILD_ENDED,
                    at=self.clock.now(),
                    actor=ENGINE,
                    stage=Stage.EXECUTION,
                    step=call.parent_step,
                    body=dict(call.body),
                )
                try:
                    guard = NotYet(Kind.CHILD_ENDED, call.parent_step)
                    await self.store.append_outside(call.parent, [draft], self.clock.now(), guards=[guard])
                except ConflictError:
                    self.counts["child told twice"] += 1
                return Outcome(result=Result.OK)
            case InboxCall():
                found = await events.inbox(self.store, call.event_type, call.since)
                mine = [event for event in found if event.id == f"for-{instance}"]
                return Outcome(result=Result.OK, value={"events": [_offered(event) for event in mine]})
            case _:
                return await self.systems.answer(process, self.systems.arenas[plan.digest], instance, call)

    # --- looking ------------------------------------------------------------------------------

    def _arena(self, instance: str) -> Arena:
        return self.systems.arenas[self._digests[instance]]

    def _next_due(self) -> datetime | None:
        rows = self._rows("SELECT min(wake_at) FROM instances WHERE ended_at IS NULL")
        return moment(rows[0][0]) if rows[0][0] is not None else None

    def _rows(self, text: str) -> list[tuple[Any, ...]]:
        backend: Any = self.store._writer
        return list(backend._backend.execute(text))

    def _row(self, instance: str, columns: str) -> tuple[Any, ...]:
        return self._rows(f"SELECT {columns} FROM instances WHERE id = '{instance}'")[0]

    def look_for_orphans(self) -> None:
        """Complain of open instances that nothing will ever wake."""
        self.broken += [
            f"{row[0]} is an orphan: {self._row(row[0], 'stage, status, waiting_on')}"
            for row in self._rows(f"{ORPHANS} AND status <> 'paused'")
        ]

    async def state_of(self, instance: str) -> tuple[Arena, InstanceState]:
        """Return an instance's state, folded from its journal."""
        ready = self._arena(instance)
        return ready, _folded(ready.plan, instance, await instances.records(self.store, instance))

    async def head_of(self, instance: str) -> int:
        """Return the number of an instance's last record."""
        return int(self._row(instance, "head_seq")[0])

    async def _judged(self) -> tuple[str, Counter[str]]:
        """Look at every instance: its chain, its state, its end, its effects, its tables."""
        told, ends = hashlib.sha256(), Counter[str]()
        for name in sorted(self.instances):
            ready, records = self._arena(name), await instances.records(self.store, name)
            state = _folded(ready.plan, name, records)
            for record in records:
                told.update(_as_text(record))
            ends[f"{ready.plan.workflow} {state.ended}"] += 1
            if state.ended is not None:
                self._judge(ready, state, records)
        self.look_for_orphans()
        self.broken += await self._rebuilt()
        return told.hexdigest(), ends

    def _judge(self, ready: Arena, state: InstanceState, records: Sequence[Record]) -> None:
        world = self.systems.worlds.get(state.id, World())
        try:
            judge(ready.plan, Node(state, world, self.clock.now(), 0), None)
        except BrokenError as error:
            if error.oracle == "carried" and _went_on_again(records):
                return  # what was given up when it was wound down stays given up; another step was retried
            self.broken.append(f"{state.id} ({ready.plan.workflow}): {error}")

    async def _rebuilt(self) -> list[str]:
        """Derive every projection from the journal again; return the tables that differ."""

        def again(digest: str, records: Sequence[Record]) -> Summary:
            plan = self.systems.arenas[digest].plan
            return summarise(plan, _folded(plan, records[0].instance, records))

        before = self._tables()
        await rebuild(self.store, again)
        after = self._tables()
        return [
            f"{name} is not what the journal says: {_differing(before[name], after[name])}"
            for name in before
            if before[name] != after[name]
        ]

    def _tables(self) -> dict[str, list[str]]:
        found = {table.name: sorted(map(repr, self._rows(f"SELECT * FROM {table.name}"))) for table in PROJECTIONS}
        return found | {
            "instances": sorted(map(repr, self._rows("SELECT id, stage, status, waiting_on, title FROM instances")))
        }


def _folded(plan: Plan, instance: str, records: Sequence[Record]) -> InstanceState:
    state = lifecycle.initial(plan, instance)
    for record in records:
        state = lifecycle.fold(plan, state, record)
    return state


def _went_on_again(records: Sequence[Record]) -> bool:
    """Whether an operator has sent an instance forward again that had been stopped, or cancelled."""
    commands = [(r.seq, r.body["command"]) for r in records if r.kind == Kind.OPERATOR_COMMANDED]
    turned = [r.seq for r in records if r.kind == Kind.MODE_CHANGED] + [
        seq for seq, said in commands if said == "cancel"
    ]
    return bool(turned) and any(said == "retry" and seq > min(turned) for seq, said in commands)


def _as_text(record: Record) -> bytes:
    said = (record.instance, record.seq, record.kind, rfc3339(record.at), str(record.actor), record.stage, record.step)
    return f"{said} ".encode() + canonical_bytes(record.body) + b"\n"


def _differing(before: Sequence[str], after: Sequence[str]) -> str:
    gone, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    return f"stands {gone[:2]}, should be {new[:2]}"


def _offered(event: TriggerEvent) -> dict[str, object]:
    head = {"id": event.id, "source": event.source, "type": event.type, "received_at": rfc3339(event.received_at)}
    return {"event": head, "data": event.data}


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    played = simulate(int(sys.argv[1]))
    print(played, dict(played.ends), dict(played.counts), played.digest, sep="\n")
    sys.exit(bool(played.broken))
