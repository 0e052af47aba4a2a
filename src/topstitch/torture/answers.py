"""Decides which answers a simulated system may give to one call, and what each does to the world.

Called by ``walk`` at every call. The first choice is what happens on a good day and costs
nothing; each other one is a fault. A door that was shut for good leaves one choice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from topstitch.model.action import ActionContract
from topstitch.model.instance import StepStatus
from topstitch.model.orders import (
    InboxCall,
    LookUpCall,
    Outcome,
    ReadCall,
    ResolveCall,
    Result,
    StartCall,
    TellCall,
    WriteCall,
)
from topstitch.model.state import ActStatus, InstanceState
from topstitch.plan.heals import healed, is_heal, step_of
from topstitch.plan.plan import ActPlan, Plan
from topstitch.reconciliation.decide import SOURCE
from topstitch.torture import world as systems
from topstitch.torture.arrange import DRIFTS, Arena
from topstitch.torture.node import BrokenError
from topstitch.torture.world import BUSY, NO, SILENT, Thing, World

OK: Final = Outcome(result=Result.OK, value={})
ALONE: Final = Outcome(result=Result.OK, value={"same": 1, "of": 1})
UNDONE: Final = frozenset({StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND})


class Choice(msgspec.Struct, frozen=True):
    """One answer: its name, its cost in faults, the world afterwards, and what comes back."""

    name: str
    cost: int
    world: World
    outcome: Outcome
    kind: str = "system"
    late: bool = False
    crash: bool = False
    """Whether the engine dies after the call is made, with every answer of this turn."""


def of_write(arena: Arena, state: InstanceState, world: World, call: WriteCall, now: datetime) -> list[Choice]:
    """Return the answers to a write; nothing may be sent whose intent is not in the journal."""
    act = call.key.rpartition("/send/")[0]
    known = state.acts.get(act)
    if known is None or known.status is not ActStatus.SENT or known.attempt != call.attempt:
        raise BrokenError("intent", f"{call.key} is sent although its intent is not in the journal")
    if known.payload_digest != call.grant.payload_digest or known.payload != call.params:
        raise BrokenError("grant", f"{call.key} is sent with a payload that nobody released")
    if f"dead:{act}" in world.shut:
        return [Choice("silent as before", 0, world, SILENT)]
    if f"send:{act}" in world.shut:
        return [Choice("unavailable as before", 0, world, BUSY)]
    after, done = _arrives(arena, state, world, act, call, now)
    choices = [
        Choice("ok", 0, after, done),
        Choice("refused", 1, world, NO),
        Choice("no answer, applied", 1, after, SILENT),
        Choice("no answer, not applied", 1, world, SILENT),
        Choice("silent for good, applied", 1, after.shutting(f"dead:{act}").shutting(f"look:{act}"), SILENT, "silent"),
        Choice(
            "silent for good, not applied", 1, world.shutting(f"dead:{act}").shutting(f"look:{act}"), SILENT, "silent"
        ),
        Choice("unavailable once", 1, world, BUSY),
        Choice("unavailable for good", 1, world.shutting(f"send:{act}"), BUSY),
        Choice("ok, but the answer comes late", 1, after, done, "late", late=True),
        Choice("ok, and the engine dies before it hears", 1, after, done, "crash", crash=True),
    ]
    if act in after.things and after.thing(act).there > world.thing(act).there:
        action = _action(arena.plan, call.system, call.action)
        over = (known.intent_at or now) + timedelta(seconds=call.timeout_seconds + action.settle_seconds)
        slow = systems.slow(after, act, over)
        choices.append(
            Choice("the engine dies, and the system takes its whole time", 1, slow, done, "crash", crash=True)
        )
    if known.purpose == "step" and step_of(arena.plan, known.step or "").act.expects:  # type: ignore[union-attr]
        choices.append(Choice("says done, and drops it", 1, systems.lost(after, act), done))
    return choices


def of_look_up(arena: Arena, state: InstanceState, world: World, call: LookUpCall, now: datetime) -> list[Choice]:
    """Return the answers to a look-up; before the first write it may find somebody else's."""
    act = call.key.rpartition("/look/")[0]
    known = state.acts[act]
    if f"look:{act}" in world.shut or f"mute{known.attempt}:{act}" in world.shut:
        return [Choice("no answer as before", 0, world, BUSY)]
    target = target_of(act)
    value = arena.outputs[f"{call.system}.{call.action}"]
    action = _action(arena.plan, call.system, call.action)
    choices = [
        Choice("answers", 0, world, systems.looked_up(world, target, action, now, value)),
        Choice("no answer once", 1, world, BUSY, "look"),
        Choice("no answer for good", 1, world.shutting(f"look:{act}"), BUSY, "look"),
        Choice("no answer until it is sent again", 1, world.shutting(f"mute{known.attempt}:{act}"), BUSY, "look"),
    ]
    if known.status is ActStatus.GUARD and not world.thing(target).there and known.purpose == "step":
        taken = world.with_thing(target, Thing(there=1, foreign=True))
        choices.append(
            Choice(
                "finds what was there before us",
                1,
                taken,
                Outcome(result=Result.OK, value=value, record=act),
                "foreign",
            )
        )
    return choices


def of_read(arena: Arena, state: InstanceState, world: World, call: ReadCall) -> list[Choice]:
    """Return the answers to a read: of the context, of a check, or after a write."""
    place, _, rest = call.key.partition("/")
    if "/send/" in call.key:
        return _of_reading_step(arena, world, call)
    if place == "@context":
        value = arena.outputs[f"{call.system}.{call.action}"]
        return [
            Choice("answers", 0, world, Outcome(result=Result.OK, value=value)),
            Choice("unavailable once", 1, world, BUSY, "context"),
            Choice("refused", 1, world, NO, "context"),
        ]
    if place == "@reconcile":
        return _of_check(arena, state, world, rest.split("/")[1])
    act = call.key.rpartition("/back/")[0]
    if f"back:{act}" in world.shut:
        return [Choice("unreadable as before", 0, world, BUSY)]
    there = any(world.thing(name).there for name in things_of(arena.plan, state, target_of(act)))
    return [
        Choice("answers", 0, world, Outcome(result=Result.OK, value={"there": there})),
        Choice("unreadable once", 1, world, BUSY, "back"),
        Choice("unreadable for good", 1, world.shutting(f"back:{act}"), BUSY, "back"),
    ]


def _of_check(arena: Arena, state: InstanceState, world: World, name: str) -> list[Choice]:
    """Return the answers to the read of a record: what it covers is there or not; what can be repaired may differ."""
    if name.startswith(SOURCE):
        return [Choice("answers", 0, world, Outcome(result=Result.OK, value={}))]
    record = next(record for record in arena.plan.reconcile.records if record.name == name)
    there = _covered_there(arena.plan, state, world, name)

    def found(*, kept: bool) -> Outcome:
        return Outcome(result=Result.OK, value={"there": there, DRIFTS: kept})

    kept = not drifted(world, name)
    choices = [
        Choice("answers", 0, world, found(kept=kept)),
        Choice("unavailable once", 1, world, BUSY, "reconcile"),
    ]
    if there and kept and f"drift:{name}" not in world.shut and len(record.fields) > 1:
        choices.append(
            Choice("somebody has changed it", 1, world.shutting(f"drift:{name}"), found(kept=False), "drift")
        )
    return choices


def drifted(world: World, record: str) -> bool:
    """Whether somebody has changed a record, and no repair has set it right."""
    return f"drift:{record}" in world.shut and f"mended:{record}" not in world.shut


def _of_reading_step(arena: Arena, world: World, call: ReadCall) -> list[Choice]:
    act = call.key.rpartition("/send/")[0]
    if f"send:{act}" in world.shut:
        return [Choice("unavailable as before", 0, world, BUSY)]
    value = arena.outputs[f"{call.system}.{call.action}"]
    return [
        Choice("answers", 0, world, Outcome(result=Result.OK, value=value)),
        Choice("refused", 1, world, NO),
        Choice("unavailable once", 1, world, BUSY),
        Choice("unavailable for good", 1, world.shutting(f"send:{act}"), BUSY),
    ]


def of_resolve(world: World, call: ResolveCall) -> list[Choice]:
    """Return the answers of the directory that is asked for people."""
    found = [
        {"id": f"{who}/{n}", "name": who, "email": "someone@example.com", "for": who}
        for who in call.who
        for n in range(5)
    ]
    return [
        Choice("answers", 0, world, Outcome(result=Result.OK, value={"people": found, "excluded": []})),
        Choice("unavailable once", 1, world, BUSY, "directory"),
        Choice("nobody", 1, world, Outcome(result=Result.OK, value={"people": [], "excluded": []}), "directory"),
    ]


def of_tell(world: World, call: TellCall) -> list[Choice]:
    """Return the answers to a notice: nothing waits for it, so one that fails is a fault of its own kind."""
    told = [{"id": who, "name": who, "for": who} for who in call.who]
    return [
        Choice("sent", 0, world, Outcome(result=Result.OK, value={"people": told})),
        Choice("not sent once", 1, world, BUSY, "tell"),
    ]


def of_event(world: World, call: InboxCall | StartCall) -> list[Choice]:
    """Return what becomes of a look into the inbox, or of another workflow that is started."""
    step = call.key.partition("/")[0]
    if isinstance(call, StartCall):
        started = Outcome(result=Result.OK, value={"instance": f"ins_{step}"})
        return [
            Choice("started", 0, world, started),
            Choice("unavailable once", 1, world, BUSY, "event"),
            Choice("refused", 1, world, NO, "event"),
            Choice("no answer, started", 1, world, SILENT, "event"),
        ]
    event = {
        "event": {
            "id": f"evt_{step}",
            "source": "torture",
            "type": call.event_type,
            "received_at": "2026-01-05T09:00:00.000Z",
        },
        "data": {},
    }
    none = Outcome(result=Result.OK, value={"events": []})
    return [
        Choice(
            "the event is there",
            0,
            world.shutting(f"silent:{step}"),
            Outcome(result=Result.OK, value={"events": [event]}),
        ),
        Choice("not there yet", 1, world, none, "event"),
        Choice("it never comes", 1, world.shutting(f"silent:{step}"), none, "event"),
        Choice("unavailable once", 1, world, BUSY, "event"),
    ]


def target_of(act: str) -> str:
    """Return the act whose thing a call of ``act`` is about: an undo's, a find's and a proof's is another's."""
    for mark in ("/undo", "/find"):
        if act.endswith(mark):
            return act.removesuffix(mark)
    return act.partition("/by_hand/")[0]


def things_of(plan: Plan, state: InstanceState, target: str) -> tuple[str, ...]:
    """Return the things a call on ``target`` is about: every item's, when a step of many is meant as a whole."""
    step = state.steps.get(target)
    return step.acts if step is not None and step.acts and plan.steps[target].items is not None else (target,)


def _arrives(
    arena: Arena, state: InstanceState, world: World, act: str, call: WriteCall, now: datetime
) -> tuple[World, Outcome]:
    value = arena.outputs[f"{call.system}.{call.action}"]
    if act.endswith("/undo"):
        whole = things_of(arena.plan, state, target_of(act))
        for name in whole:
            if len(whole) == 1 or world.thing(name).hand:
                world = systems.taken_back(world, name)
        return world, Outcome(result=Result.OK, value=value)
    if act.startswith("@reconcile/"):
        return world, Outcome(result=Result.OK, value=value)
    action = _action(arena.plan, call.system, call.action)
    after, done = systems.written(world, act, action, call.idempotency_key, now, value)
    about = healed(arena.plan, act) if is_heal(act) else None
    return (after.shutting(f"mended:{about[0].name}") if about else after), done


def _action(plan: Plan, system: str, name: str) -> ActionContract:
    """Return the contract of a write of the definition."""
    for step in plan.steps.values():
        items = step.compensate.items if step.compensate else ()
        for act in (step.act, step.undo, *(item for item in items if isinstance(item, ActPlan))):
            if act is not None and act.system == system and act.action.name == name:
                return act.action
    for record in plan.reconcile.records:
        for rule in record.fields:
            if rule.heal is not None and rule.heal.system == system and rule.heal.action.name == name:
                return rule.heal.action
    return plan.reconcile.ticket.action


def _covered_there(plan: Plan, state: InstanceState, world: World, record: str) -> bool:
    covers = next(r.covers for r in plan.reconcile.records if r.name == record)
    step = state.steps[covers]
    held = [world.thing(name).there > 0 for name in step.acts or (covers,)]
    return any(held) if step.status in UNDONE else all(held)
