"""The rules of an instance as the engine wants them: ``lifecycle`` on one side, the calls on the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from topstitch import lifecycle
from topstitch.bootstrap.calls import Calls
from topstitch.bootstrap.law import Laws
from topstitch.bootstrap.plans import Plans
from topstitch.bootstrap.summary import summarise
from topstitch.foundation.w3c import follow
from topstitch.governance.policy import NO_LAW, Law
from topstitch.model.orders import Call, Orders, Outcome
from topstitch.model.record import Draft, Record
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.store import Summary


class Core:
    """What the engine is handed. It knows no stage; ``lifecycle`` does."""

    def __init__(self, plans: Plans, calls: Calls, laws: Laws | None = None) -> None:
        """``laws`` says what policy holds now; a bundle may be published while the engine works."""
        self._plans, self._calls, self._laws = plans, calls, laws

    async def load(self, digest: str) -> Plan:
        """Return the plan of a published definition. Every activation begins here: the law is looked at anew."""
        if self._laws is not None:
            await self._laws.refresh()
        return await self._plans.load(digest)

    def _law(self) -> Law:
        return self._laws.current() if self._laws is not None else NO_LAW

    def initial(self, plan: Plan, instance: str) -> InstanceState:
        """Return the state before the first record."""
        return lifecycle.initial(plan, instance)

    def fold(self, plan: Plan, state: InstanceState, entry: Draft | Record) -> InstanceState:
        """Return the state after one record."""
        return lifecycle.fold(plan, state, entry)

    def recover(self, plan: Plan, state: InstanceState, now: datetime) -> Sequence[Draft]:
        """Return what is to be recorded of calls whose answer nobody lived to see."""
        return lifecycle.recover(plan, state, now)

    def decide(self, plan: Plan, state: InstanceState, now: datetime) -> Orders:
        """Return what is to be recorded and called now. The calls carry on the trace that the trigger began."""
        follow(state.id, state.event.get("trace"), state.event.get("trace_state"))
        return lifecycle.decide(plan, state, now, self._law())

    def settle(self, plan: Plan, state: InstanceState, call: Call, outcome: Outcome, now: datetime) -> Sequence[Draft]:
        """Return the records of an outcome."""
        return lifecycle.settle(plan, state, call, outcome, now, self._law())

    def summarise(self, plan: Plan, state: InstanceState) -> Summary:
        """Return what the instance list shows."""
        return summarise(plan, state)

    async def perform(self, plan: Plan, instance: str, call: Call) -> Outcome:
        """Make a call."""
        return await self._calls.perform(plan, instance, call)
