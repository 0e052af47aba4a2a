"""What the simulated systems hold, and what each makes of a write, a look-up, a read-back.

One *thing* stands for what one write is about. A system knows its things, the keys it has
seen, and which of its doors are shut for good; it knows no instance. Worlds are values: a
walk that goes two ways keeps two of them. Called by ``walk``; judged by ``oracles``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from topstitch.model.action import ActionContract, Idempotency
from topstitch.model.orders import Outcome, Problem, Result

BY_MARK = frozenset({Idempotency.NATIVE_KEY, Idempotency.FIND_FIRST})
"""Classes whose look-up finds only what carries our key."""


class Thing(msgspec.Struct, frozen=True):
    """One record in a system: how often it is there, and who made it."""

    there: int = 0
    made: int = 0
    """How often our writes made it."""
    hand: int = 0
    """How often a person made it."""
    foreign: bool = False
    """Whether it was there before us."""
    lost: bool = False
    """Whether the system said done and dropped it."""
    keys: tuple[str, ...] = ()
    seen_from: datetime | None = None
    """When look-ups begin to see it: reads may lag behind writes by the settle time."""


class World(msgspec.Struct, frozen=True):
    """All systems and people at one moment of one schedule."""

    things: Mapping[str, Thing] = {}
    """By the id of the act that is about it."""
    shut: tuple[str, ...] = ()
    """What stays as it is from now on: ``send:x``, ``look:x``, ``back:x``, ``silent:<task or approval>``."""
    undone: tuple[str, ...] = ()
    """Acts whose thing our undos took away, in order."""
    approved: tuple[str, ...] = ()
    """Steps whose approval a person gave."""

    def thing(self, act: str) -> Thing:
        """Return the thing an act is about."""
        return self.things.get(act, NOTHING)

    def with_thing(self, act: str, thing: Thing) -> World:
        """Return the world with that thing in its place."""
        return replace(self, things={**self.things, act: thing})

    def shutting(self, door: str) -> World:
        """Return the world in which that door stays shut."""
        return replace(self, shut=(*self.shut, door))


NOTHING = Thing()
NO = Outcome(result=Result.REFUSED, problem=Problem(code="http-400", message="refused", status=400))
BUSY = Outcome(result=Result.TRANSIENT, problem=Problem(code="http-503", message="unavailable", status=503))
SILENT = Outcome(result=Result.UNKNOWN, problem=Problem(code="timeout", message="no answer"))
TAKEN = Outcome(result=Result.CHANGED, problem=Problem(code="http-409", message="it exists already", status=409))


def written(
    world: World, act: str, action: ActionContract, key: str, now: datetime, value: Any
) -> tuple[World, Outcome]:
    """Return the world after a write that arrives, and its answer, as the action's idempotency class says."""
    thing = world.thing(act)
    done = Outcome(result=Result.OK, value=value, record=act)
    match action.idempotency:
        case Idempotency.NATURAL if thing.there:
            return world, replace(done, found=True)
        case Idempotency.NATIVE_KEY if key in thing.keys and thing.there:
            return world, done
        case Idempotency.UNIQUE if thing.there:
            return world, TAKEN
        case _:
            return world.with_thing(act, _made(thing, key, now, action.settle_seconds)), done


def slow(world: World, act: str, until: datetime) -> World:
    """Return the world whose system still works at what has just arrived: look-ups see it from ``until``."""
    thing = world.thing(act)
    return world.with_thing(act, replace(thing, seen_from=until)) if thing.there else world


def lost(world: World, act: str) -> World:
    """Return the world in which the system has dropped what it said it had done."""
    thing = world.thing(act)
    return world.with_thing(act, replace(thing, there=0, made=0, lost=True))


def taken_back(world: World, target: str) -> World:
    """Return the world after an undo that arrives: however often it does, it names ours where there is one."""
    thing = world.thing(target)
    if not thing.there:
        return world
    theirs = 1 if thing.foreign and (thing.made or thing.hand) else 0
    after = world.with_thing(target, replace(thing, there=theirs))
    return replace(after, undone=(*world.undone, target))


def by_hand(world: World, act: str, action: ActionContract, *, looks: bool) -> World:
    """Return the world after a person did it: who was told to look first does not do it again."""
    thing = world.thing(act)
    guarded = looks or action.idempotency in (Idempotency.NATURAL, Idempotency.UNIQUE)
    if thing.there and (guarded or thing.hand):
        return world
    return world.with_thing(act, replace(thing, there=thing.there + 1, hand=thing.hand + 1, lost=False))


def by_hand_undone(world: World, act: str) -> World:
    """Return the world after a person took it back; a person leaves what was there before us."""
    thing = world.thing(act)
    return world.with_thing(act, replace(thing, there=1 if thing.foreign and thing.there else 0))


def looked_up(world: World, act: str, action: ActionContract, now: datetime, value: Any) -> Outcome:
    """Return what asking for the thing finds: lagging by the settle time, and by our key where that is all there is."""
    thing = world.thing(act)
    ours = thing.there - thing.hand if action.idempotency in BY_MARK else thing.there
    seen = ours > 0 and (thing.seen_from is None or now >= thing.seen_from)
    return Outcome(result=Result.OK, value=value if seen else None, record=act if seen else None)


def _made(thing: Thing, key: str, now: datetime, settle_seconds: float) -> Thing:
    keys = thing.keys if key in thing.keys else (*thing.keys, key)
    seen_from = now + timedelta(seconds=settle_seconds) if settle_seconds else None
    return replace(thing, there=thing.there + 1, made=thing.made + 1, keys=keys, seen_from=seen_from, lost=False)
