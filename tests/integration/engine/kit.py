"""A tiny set of rules for the engine to carry out: steps one after another, with intents, doubts, look-ups and waits.

``Rules`` is a ``Core`` as ``bootstrap`` would hand it over. Its world is a mapping from
idempotency keys to how often the thing was done, so that a test sees what was done twice.
"""

# ruff: noqa: ARG002 -- the rules have the signatures that an engine calls, used or not

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from integration.store.kit import draft
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Grant, LookUpCall, Orders, Outcome, Problem, Result, WriteCall
from topstitch.model.record import Draft, Record
from topstitch.store import Summary

GRANT = Grant(decision="auto", by="policy:test", payload_digest="sha256:x")


@dataclass(frozen=True)
class State:
    """Where an instance stands."""

    instance: str
    done: int = 0
    open: bool = False
    doubt: bool = False
    waited: bool = False
    stopped: bool = False
    ended: bool = False
    began_at: datetime | None = None


class Rules:
    """Carries ``steps`` writes out one after another; waits ``wait_seconds`` after the first."""

    def __init__(self, steps: int = 3, *, wait_seconds: float = 0) -> None:
        self.steps, self.wait_seconds = steps, wait_seconds
        self.world: dict[str, int] = {}
        self.under_way: set[str] = set()
        self.most_under_way = 0
        self.calls: list[str] = []
        self.before: Callable[[Call], Awaitable[None]] | None = None
        self.after: Callable[[Call], Awaitable[None]] | None = None
        self.defect: str | None = None

    async def load(self, digest: str) -> str:
        """The plan is the digest."""
        return digest

    def initial(self, plan: str, instance: str) -> State:
        """Nothing has happened."""
        return State(instance)

    def fold(self, plan: str, state: State, entry: Draft | Record) -> State:
        """Follow the records."""
        match entry.kind:
            case Kind.STARTED:
                return replace(state, began_at=entry.at)
            case Kind.ACT_INTENT:
                return replace(state, open=True, doubt=False)
            case Kind.ACT_IN_DOUBT:
                return replace(state, open=False, doubt=True)
            case Kind.ACT_LOOKED_UP if entry.body["answer"] == "absent":
                return replace(state, doubt=False)
            case Kind.ACT_LOOKED_UP | Kind.STEP_DONE:
                return replace(state, done=state.done + 1, open=False, doubt=False)
            case Kind.CHECK_BEGAN:
                return replace(state, waited=True)
            case Kind.OPERATOR_COMMANDED:
                return replace(state, stopped=True)
            case Kind.ENDED:
                return replace(state, ended=True)
            case _:
                return state

    def recover(self, plan: str, state: State, now: datetime) -> Sequence[Draft]:
        """An open intent whose answer nobody heard is in doubt."""
        if not state.open:
            return []
        act = name(state)
        body = {"act": act, "attempt": 1, "because": "the engine stopped", "next": "doubt"}
        return [draft(Kind.ACT_IN_DOUBT, act, body, at=now)]

    def decide(self, plan: str, state: State, now: datetime) -> Orders:
        """One thing after another."""
        if self.defect == state.instance:
            raise RuntimeError("a defect in the rules")
        if state.ended:
            return Orders(ended=True)
        act = name(state)
        if state.doubt:
            return Orders(calls=(look_up(state),))
        if state.open:
            return Orders(calls=(write(state),))
        if state.stopped or state.done == self.steps:
            return Orders(records=(draft(Kind.ENDED, body={"end": "completed"}, at=now),), ended=True)
        if state.done == 1 and self.wait_seconds and not state.waited:
            return self._wait(state, now)
        body = {"act": act, "attempt": 1, "key": key(state), "system": "box", "action": "put"}
        return Orders(records=(draft(Kind.ACT_INTENT, act, body, at=now),), calls=(write(state),))

    def _wait(self, state: State, now: datetime) -> Orders:
        assert state.began_at is not None
        until = state.began_at + timedelta(seconds=self.wait_seconds)
        if now < until:
            return Orders(wake_at=until)
        begun = draft(Kind.CHECK_BEGAN, body={"check": "T", "late": False}, at=now)
        rest = self.decide("", replace(state, waited=True), now)
        return Orders(records=(begun, *rest.records), calls=rest.calls, ended=rest.ended)

    def settle(self, plan: str, state: State, call: Call, outcome: Outcome, now: datetime) -> Sequence[Draft]:
        """Done, found or absent."""
        act = name(state)
        if isinstance(call, LookUpCall):
            answer = "found" if outcome.value else "absent"
            return [draft(Kind.ACT_LOOKED_UP, act, {"act": act, "why": "doubt", "answer": answer}, at=now)]
        if outcome.result is not Result.OK:
            body = {"act": act, "attempt": 1, "because": "no answer", "next": "doubt"}
            return [draft(Kind.ACT_IN_DOUBT, act, body, at=now)]
        return [draft(Kind.STEP_DONE, act, {"output": {}, "found": False, "system": "box"}, at=now)]

    def summarise(self, plan: str, state: State) -> Summary:
        """Running, or ended."""
        return Summary("execution", "completed" if state.ended else "running", None)

    async def perform(self, plan: str, instance: str, call: Call) -> Outcome:
        """Do it to the world."""
        assert isinstance(call, WriteCall | LookUpCall)
        assert call.idempotency_key not in self.under_way, "two calls of one key under way"
        self.under_way.add(call.idempotency_key)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            return await self._perform(call)
        finally:
            self.under_way.discard(call.idempotency_key)

    async def _perform(self, call: WriteCall | LookUpCall) -> Outcome:
        self.calls.append(call.key)
        if self.before is not None:
            await self.before(call)
        if isinstance(call, LookUpCall):
            return Outcome(result=Result.OK, value=self.look(call.idempotency_key))
        self.put(call.idempotency_key)
        if self.after is not None:
            await self.after(call)
        await asyncio.sleep(0)
        return Outcome(result=Result.OK, record="r")

    def put(self, key: str) -> None:
        """Do the thing once more."""
        self.world[key] = self.world.get(key, 0) + 1

    def look(self, key: str) -> bool:
        """Whether the thing was done."""
        return key in self.world


def name(state: State) -> str:
    """Return the step that is next."""
    return f"step{state.done}"


def key(state: State) -> str:
    """Return its idempotency key."""
    return f"{state.instance}:{name(state)}"


def write(state: State) -> WriteCall:
    """Return the write of the next step."""
    return WriteCall(
        key=name(state), system="box", action="put", params={}, idempotency_key=key(state), attempt=1, grant=GRANT,
        instance=state.instance,
    )  # fmt: skip


def look_up(state: State) -> LookUpCall:
    """Return the look-up of the next step."""
    return LookUpCall(key=f"{name(state)}/look", system="box", action="put", params={}, idempotency_key=key(state))


def no_answer() -> Outcome:
    """Return the outcome of a time-out."""
    return Outcome(result=Result.UNKNOWN, problem=Problem(code="timeout", message="no answer"))


def once(rules: Rules, instances: Sequence[str]) -> dict[str, Any]:
    """Return the world as it must be when every instance has done each step once."""
    return {f"{instance}:step{number}": 1 for instance in instances for number in range(rules.steps)}
