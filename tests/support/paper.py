"""Carries an instance out on paper: the pure core, a world of plain functions, and time that jumps.

No store, no engine, no sockets. A world answers calls by system and action; what it is not
told to answer fails the test. Used by unit tests of the stages.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch import lifecycle
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.policy import NO_LAW, Law
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.orders import (
    Call,
    DriftCall,
    LookUpCall,
    Outcome,
    Problem,
    ReadCall,
    ResolveCall,
    Result,
    TellCall,
    WriteCall,
)
from topstitch.model.record import Actor, ActorKind, Draft, Stage
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan

Answer = Callable[[Any], Outcome]


def ok(value: Any = None, **rest: Any) -> Outcome:
    return Outcome(result=Result.OK, value=copy.deepcopy(value), **rest)


def transient(code: str = "http-503", retry_after: float | None = None) -> Outcome:
    problem = Problem(code=code, message="unavailable", status=503, retry_after_seconds=retry_after)
    return Outcome(result=Result.TRANSIENT, problem=problem)


def refused(code: str = "http-400") -> Outcome:
    return Outcome(result=Result.REFUSED, problem=Problem(code=code, message="no", status=400))


def unknown() -> Outcome:
    return Outcome(result=Result.UNKNOWN, problem=Problem(code="timeout", message="no answer"))


class PaperEngine:
    """Runs one instance. ``log`` is every call in order; ``records`` the journal."""

    def __init__(
        self, plan: Plan, world: Mapping[str, Any], start: datetime | None = None, *, law: Law = NO_LAW
    ) -> None:
        self.law = law
        self.plan = plan
        self.world = dict(world)
        self.clock = SimulatedClock(start)
        self.log: list[tuple[datetime, Call]] = []
        self.records: list[Draft] = []
        self.state: InstanceState = lifecycle.initial(plan, "ins_1")
        self.wake_at: datetime | None = None

    def begin(self, data: Mapping[str, Any], rates: Mapping[str, str] | None = None) -> PaperEngine:
        event = TriggerEvent(
            id="evt_1", source="workday", type=self.plan.trigger.event_type, data=data, received_at=self.clock.now()
        )
        policy = self.law.in_force.digest if self.law.in_force else None
        first = lifecycle.begin(self.plan, event, "ins_1", self.clock.now(), rates=rates, policy=policy)
        assert first is not None
        self._append([first])
        return self

    def _append(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            self.records.append(draft)
            self.state = lifecycle.fold(self.plan, self.state, draft)

    def activate(self) -> None:
        """One activation: until there is nothing more to do now."""
        self._append(lifecycle.recover(self.plan, self.state, self.clock.now()))
        for _ in range(500):
            orders = lifecycle.decide(self.plan, self.state, self.clock.now(), self.law)
            for draft in orders.records:
                self.records.append(draft)
            self.state = orders.state
            self.wake_at = orders.wake_at
            if not orders.calls:
                return
            for call in orders.calls:
                self.log.append((self.clock.now(), call))
                outcome = self.answer(call)
                self._append(lifecycle.settle(self.plan, self.state, call, outcome, self.clock.now(), self.law))
        raise AssertionError("does not come to rest")

    def answer(self, call: Call) -> Outcome:
        match call:
            case TellCall():
                people = [dict(p) for p in call.people] or [
                    {"id": w, "email": f"{w}@acme.example", "for": w} for w in call.who
                ]
                return ok({"people": people})
            case ResolveCall():
                people = [{"id": w, "name": w, "email": f"{w}@acme.example", "for": w} for w in call.who]
                resolve: Answer = self.world.get("resolve", lambda _c: ok({"people": people, "excluded": []}))
                return resolve(call)
            case ReadCall() | WriteCall() | LookUpCall():
                verb = "look_up " if isinstance(call, LookUpCall) else ""
                answer = self.world[f"{verb}{call.system}.{call.action}"]
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                outcome: Outcome = answer(call) if callable(answer) else answer
                return outcome
            case DriftCall():
                drift: Outcome = self.world.get("drift", ok({"same": 1, "of": 1}))
                return drift
            case _:
                raise AssertionError(call)

    def run(self, *, until: datetime | None = None, turns: int = 1000) -> PaperEngine:
        """Activate, jump to the next wake time, and so on, until it ends or nothing is due before ``until``."""
        for _ in range(turns):
            self.activate()
            if self.state.ended is not None:
                return self
            assert self.wake_at is not None, f"a silent stall: {self.state}"
            if until is not None and self.wake_at > until:
                self.clock.advance_to(until)
                return self
            self.clock.advance_to(self.wake_at)
        raise AssertionError("does not end")

    def run_for(self, **delta: float) -> PaperEngine:
        return self.run(until=self.clock.now() + timedelta(**delta))

    def decide(self, step: str, answer: str, person: str = "dana") -> PaperEngine:
        approval = {**self.state.steps, **self.state.heals}[step].approval
        assert approval is not None
        body = {"approval": approval.id, "answer": answer, "payload_digest": approval.payload_digest, "via": "test"}
        self._append([self._said(Kind.APPROVAL_ANSWERED, step, body, person)])
        return self

    def task(self, step: str, *, output: Mapping[str, Any] | None = None, done: bool = True) -> PaperEngine:
        task = next(t for t in self.state.tasks.values() if t.step == step and t.ending is None)
        kind = Kind.TASK_DONE if done else Kind.TASK_FAILED
        body: dict[str, Any] = {"task": task.id, "output": dict(output or {})}
        self._append([self._said(kind, step, body, "ivo")])
        return self

    def _said(self, kind: Kind, step: str, body: Mapping[str, Any], person: str) -> Draft:
        actor = Actor(ActorKind.HUMAN, person)
        return Draft(kind=kind, at=self.clock.now(), actor=actor, stage=Stage.EXECUTION, step=step, body=body)

    def writes(self) -> list[str]:
        return [f"{c.system}.{c.action}" for _, c in self.log if isinstance(c, WriteCall)]

    def status(self) -> dict[str, str]:
        return {name: step.status.value for name, step in self.state.steps.items()}

    def kinds(self) -> list[str]:
        return [record.kind for record in self.records]
