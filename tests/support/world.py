"""A whole installation on a simulated clock: real simulators, sockets, store and engine.

``World`` publishes the shipped onboarding, hires people through the simulated Workday, and moves
time from one thing that is due to the next, so that days pass in moments and nothing that
was asked for is left out. Used by the scenarios.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from topstitch import lifecycle
from topstitch.bootstrap.database import open_store
from topstitch.bootstrap.installation import Installation, wire
from topstitch.cli.publishing import publish_into
from topstitch.cli.simulated import write_connections
from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance import approvals, by_hand
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.model.state import InstanceState
from topstitch.settings import Settings, load as load_settings
from topstitch.simulators.host import Simulators
from topstitch.store import Store, instances, items
from topstitch.trigger.accept import Delivery, Verdict, accept_hook

ONBOARDING = Path(__file__).parents[2] / "src/topstitch/examples/onboarding/employee-onboarding.yaml"
TURNS_MAX = 20_000


class World:
    """One installation and the systems around it."""

    def __init__(self, sims: Simulators, clock: SimulatedClock, folder: Path, database: str = "") -> None:
        self.sims, self.clock, self.folder = sims, clock, folder
        self.settings: Settings = load_settings(
            {"data": str(folder), "database": database or str(folder / "topstitch.db"), "environment": "test"}, {}
        )
        write_connections(folder, sims.facts())
        self.house: Installation
        self.store: Store
        self._engine: asyncio.Task[None] | None = None

    # --- the installation -------------------------------------------------------------------------

    async def open(self) -> World:
        """Open the store and start the engine."""
        self.store = open_store(self.settings)
        self.registry = Registry(load_connections(self.settings.connections), self.clock)
        self.troubles: list[tuple[str, BaseException]] = []
        self.house = wire(
            self.settings, self.clock, self.store, self.registry, lambda i, e: self.troubles.append((i, e))
        )
        self.start()
        return self

    def start(self) -> None:
        """Start the engine."""
        self._engine = asyncio.create_task(self.house.engine.run())

    async def close(self) -> None:
        """Stop the engine and close everything."""
        self.house.engine.stop()
        if self._engine is not None:
            await self._engine
        await self.registry.close()
        self.store.close()

    async def restart(self) -> World:
        """End the process, in effect, and start another one on the same data."""
        await self.close()
        return await self.open()

    async def publish(self, text: str | None = None, *, by: str = "human:author", parent: str | None = None) -> str:
        """Publish a definition (the shipped onboarding); return its digest."""
        source = text if text is not None else ONBOARDING.read_text()
        result = check(load(source, "workflow.yaml"), self.registry.contracts())
        assert result.ok, [f.message for f in result.findings]
        done = await publish_into(self.store, source, result, now_of=self.settings, by=by, parent=parent)
        return done.digest

    # --- what happens -----------------------------------------------------------------------------

    async def hire(self, **asked: Any) -> str:
        """Hire somebody in Workday and deliver the notification; return the instance."""
        verdict = await self.deliver(self.hired(**asked))
        assert len(verdict.instances) == 1, verdict
        return verdict.instances[0]

    def hired(self, **asked: Any) -> Mapping[str, Any]:
        """Hire somebody and keep the notification back."""
        document: Mapping[str, Any] = self.sims["workday"].hires.hire(asked, notify=False)
        return document

    async def deliver(self, document: Mapping[str, Any]) -> Verdict:
        """Deliver a notification, signed, as Workday does."""
        return await accept_hook(self.house.intake, "workday", self.signed(document))

    def signed(self, document: Mapping[str, Any]) -> Delivery:
        body = orjson.dumps(document)
        headers = self.sims["workday"].hires._sign({"id": document["id"]}, body)
        lower = {name.lower(): value for name, value in headers.items()}
        return Delivery(door="hooks/workday", body=body, headers={**lower, "content-type": "application/json"})

    async def rest(self) -> datetime | None:
        """Return once nothing is left to do now; the time of what is next."""
        return await asyncio.wait_for(self.house.engine.idle(), 20)

    async def run_for(self, **delta: float) -> World:
        """Let time pass, stopping at everything that is due."""
        return await self.run_until(self.clock.now() + timedelta(**delta))

    async def run_until(self, when: datetime) -> World:
        for _ in range(TURNS_MAX):
            due = await self.rest()
            if due is None or due > when:
                self.clock.advance_to(when)
                await self.rest()
                return self
            self.clock.advance_to(due)
        raise AssertionError("time does not pass")

    async def run_to_end(self, *names: str, days: float = 30) -> World:
        """Let time pass until the instances have ended."""
        limit = self.clock.now() + timedelta(days=days)
        for _ in range(TURNS_MAX):
            due = await self.rest()
            if all([(await self.row(name))["ended_at"] for name in names]):
                return self
            assert due is not None, f"a silent stall: {[(await self.row(n))['waiting_on'] for n in names]}"
            assert due < limit, f"not ended after {days} days: {[(await self.row(n))['waiting_on'] for n in names]}"
            self.clock.advance_to(due)
        raise AssertionError("does not end")

    async def run_until_asked(self, instance: str, *, hours: float = 3) -> Mapping[str, Any]:
        """Let time pass until the instance asks somebody; return the approval."""
        limit = self.clock.now() + timedelta(hours=hours)
        for _ in range(TURNS_MAX):
            due = await self.rest()
            found = await items.list_approvals(self.store, instance=instance)
            if found:
                return found[0]
            assert due is not None, await self.row(instance)
            assert due <= limit, await self.row(instance)
            self.clock.advance_to(due)
        raise AssertionError("nobody is asked")

    async def run_until_task(self, instance: str, *, hours: float = 3) -> Mapping[str, Any]:
        """Let time pass until the instance gives somebody work; return the task."""
        limit = self.clock.now() + timedelta(hours=hours)
        for _ in range(TURNS_MAX):
            due = await self.rest()
            found = await items.list_tasks(self.store, instance=instance)
            if found:
                return found[0]
            assert due is not None, await self.row(instance)
            assert due <= limit, await self.row(instance)
            self.clock.advance_to(due)
        raise AssertionError("nobody is given work")

    async def answer(self, instance: str, person: str, said: str = "approve", **more: Any) -> None:
        """Answer the open approval of an instance."""
        found = (await items.list_approvals(self.store, instance=instance))[0]
        state = await self.state(instance)
        draft = approvals.answer(state, found["id"], person, said, self.clock.now(), via="test", **more)
        await self.store.append_outside(instance, [draft], self.clock.now())
        await self.rest()

    async def do_task(self, instance: str, person: str, output: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Hand in the open task of an instance."""
        found = (await items.list_tasks(self.store, instance=instance))[0]
        state = await self.state(instance)
        now = self.clock.now()
        draft = by_hand.finished(state, found["id"], person, output or {}, found["form"] or {}, now, **more)
        await self.store.append_outside(instance, [draft], now)
        await self.rest()

    async def fail_task(self, instance: str, person: str) -> None:
        """Say that the open task of an instance cannot be done."""
        found = (await items.list_tasks(self.store, instance=instance))[0]
        draft = by_hand.could_not(await self.state(instance), found["id"], person, "it cannot be", self.clock.now())
        await self.store.append_outside(instance, [draft], self.clock.now())
        await self.rest()

    def fault(self, system: str, kind: str, **form: Any) -> None:
        """Have a system misbehave."""
        self.sims[system].faults.add({"kind": kind, **form})

    # --- what there is to see ---------------------------------------------------------------------

    async def row(self, instance: str) -> Mapping[str, Any]:
        return await instances.get(self.store, instance)

    async def records(self, instance: str, *kinds: Kind) -> list[Record]:
        found = await instances.records(self.store, instance)
        return [record for record in found if not kinds or record.kind in kinds]

    async def state(self, instance: str) -> InstanceState:
        found = await instances.records(self.store, instance)
        plan = await self.house.plans.load(found[0].body["digest"])
        state = lifecycle.initial(plan, instance)
        for record in found:
            state = lifecycle.fold(plan, state, record)
        return state

    async def statuses(self, instance: str) -> dict[str, str]:
        return {name: str(step.status) for name, step in (await self.state(instance)).steps.items()}

    def calls(self, system: str, *, method: str = "", path: str = "") -> list[Mapping[str, Any]]:
        """Return the calls that a system received, oldest first."""
        simulator = self.sims[system]
        return [
            call
            for call in simulator.records.store.calls(system)
            if method in ("", call["method"]) and path in call["path"]
        ]

    def everything(self, system: str, kind: str) -> Sequence[Mapping[str, Any]]:
        """Return a system's records of a kind."""
        found: Sequence[Mapping[str, Any]] = self.sims[system].records.all(kind)
        return found

    def mails(self, to: str = "") -> list[Mapping[str, Any]]:
        """Return the messages in the mailbox, oldest first."""
        return [m for m in self.sims["email"].visible() if to in str(m.get("to", m.get("recipients", "")))]
