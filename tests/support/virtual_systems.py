"""Virtual business systems for the whole-engine simulation: what they hold, how late and how badly they answer.

What may come of a call is what ``torture`` says (its systems and its list of faults); which
of it, and when, the seed says. A request that has left arrives although its sender dies.
Every write is judged as it arrives: by the journal's own intent and grant, and by who holds
the instance. Called by ``virtual``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

from msgspec.structs import replace

from topstitch.foundation.clock import SimulatedClock
from topstitch.model.orders import (
    Call,
    DriftCall,
    LookUpCall,
    Outcome,
    ReadCall,
    ResolveCall,
    Result,
    TellCall,
    WriteCall,
)
from topstitch.model.state import InstanceState
from topstitch.torture import answers
from topstitch.torture.answers import Choice
from topstitch.torture.arrange import Arena
from topstitch.torture.node import BrokenError
from topstitch.torture.world import World

ARRIVES_SECONDS_MAX: Final = 5.0
"""A request is there after this long at the latest, whatever became of its sender: far below lease and timeout."""
SLOW_SECONDS_MAX: Final = 25.0
DOORS: Final = ("dead:", "send:", "look:", "back:")
"""What a fault may shut; doors open again when faults stop."""


class Sender(Protocol):
    """The process that makes a call."""

    name: str
    states: dict[str, InstanceState]

    def crash(self) -> None:
        """Die."""


class Systems:
    """All virtual systems of one simulation."""

    def __init__(self, rng: random.Random, clock: SimulatedClock) -> None:
        self.rng, self.clock = rng, clock
        self.fault_rate = 0.15
        self.calm = False
        self.arenas: dict[str, Arena] = {}
        """By definition digest."""
        self.worlds: dict[str, World] = {}
        """By instance."""
        self.holders: dict[str, tuple[int, Sender]] = {}
        """Who claimed an instance last, and under which epoch."""
        self.applied: Counter[tuple[str, str]] = Counter()
        """How often a write has taken effect that is still there, by instance and act."""
        self.sends = 0
        self.violations: list[str] = []
        self.scripted: list[str] = []
        """Faults to come next, by their name in ``torture``; before any that the seed draws."""

    async def answer(self, sender: Sender, arena: Arena, instance: str, call: Call) -> Outcome:
        """Let a request leave; return what its sender hears."""
        self._watch(sender, instance, call)
        arrival = asyncio.get_running_loop().create_task(
            self._arrive(sender, arena, instance, call, sender.states[instance])
        )
        return await asyncio.shield(arrival)

    def stop_faults(self) -> None:
        """From now on everything answers, soon and truly."""
        self.calm = True
        self.scripted.clear()
        for name, world in self.worlds.items():
            self.worlds[name] = replace(world, shut=tuple(d for d in world.shut if not d.startswith(DOORS)))

    def accuse(self, what: str) -> None:
        """Note something that must never be."""
        self.violations.append(f"{self.clock.now():%d %H:%M:%S} {what}")

    def _watch(self, sender: Sender, instance: str, call: Call) -> None:
        if not isinstance(call, WriteCall):
            return
        self.sends += 1
        epoch, holder = self.holders[instance]
        if holder is not sender:
            self.accuse(f"{sender.name} sends {call.key} of {instance} while {holder.name} holds it (epoch {epoch})")

    async def _arrive(self, sender: Sender, arena: Arena, instance: str, call: Call, state: InstanceState) -> Outcome:
        await self._pass(self.rng.uniform(0.01, 0.1 if self.calm else ARRIVES_SECONDS_MAX))
        world = self.worlds.setdefault(instance, World())
        try:
            chosen = self._choose(self._choices(arena, state, world, call))
        except BrokenError as error:
            self.accuse(f"{instance} {error}")
            return Outcome(result=Result.UNKNOWN)
        if isinstance(call, WriteCall):
            self._count(instance, call, world, chosen.world)
        self.worlds[instance] = chosen.world
        if chosen.crash:
            sender.crash()
        await self._pass(self._delay(call, chosen))
        return self._with_wait(chosen.outcome)

    def _choices(self, arena: Arena, state: InstanceState, world: World, call: Call) -> Sequence[Choice]:
        match call:
            case WriteCall():
                return answers.of_write(arena, state, world, call, self.clock.now())
            case LookUpCall() if call.key.rpartition("/look/")[0] not in state.acts:
                # it set out beside a commit that was then decided anew without it: nobody wants to know any more
                return [Choice("answers nobody", 0, world, Outcome(result=Result.OK))]
            case LookUpCall():
                return answers.of_look_up(arena, state, world, call, self.clock.now())
            case ReadCall():
                return answers.of_read(arena, state, world, call)
            case ResolveCall():
                return answers.of_resolve(world, call)
            case TellCall():
                return answers.of_tell(world, call)
            case DriftCall():
                return [Choice("counted", 0, world, answers.ALONE)]
            case _:
                raise AssertionError(call)

    def _choose(self, choices: Sequence[Choice]) -> Choice:
        if self.calm:
            return choices[0]
        for choice in choices:
            if choice.name in self.scripted:
                self.scripted.remove(choice.name)
                return choice
        if self.rng.random() >= self.fault_rate:
            return choices[0]
        return self.rng.choice(choices)

    def _count(self, instance: str, call: WriteCall, before: World, after: World) -> None:
        """Count effects by act, apart from the things that ``torture`` keeps."""
        act = call.key.rpartition("/send/")[0]
        target = answers.target_of(act)
        was, now = before.thing(target), after.thing(target)
        if now.there > was.there:
            self.applied[instance, target] += 1
        elif now.there < was.there or now.lost:
            self.applied[instance, target] = 0
        if self.applied[instance, target] > 1:
            self.accuse(
                f"{target} of {instance} was applied twice (key {call.idempotency_key}, attempt {call.attempt})"
            )

    def _delay(self, call: Call, chosen: Choice) -> float:
        if chosen.outcome.result is Result.UNKNOWN:
            return float(getattr(call, "timeout_seconds", 30))
        if self.calm:
            return 0.05
        slow = chosen.late or self.rng.random() < self.fault_rate / 2
        return self.rng.uniform(0.01, SLOW_SECONDS_MAX if slow else 0.5)

    def _with_wait(self, outcome: Outcome) -> Outcome:
        problem = outcome.problem
        if outcome.result is not Result.TRANSIENT or problem is None or self.rng.random() < 0.7:
            return outcome
        return replace(outcome, problem=replace(problem, retry_after_seconds=self.rng.uniform(1, 90)))

    async def _pass(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + timedelta(seconds=seconds))


def opened(world: World) -> dict[str, Any]:
    """Return what a world holds, for a message."""
    return {name: (thing.there, thing.made, thing.hand) for name, thing in world.things.items()}
