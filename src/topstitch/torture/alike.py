"""Decides whether two points of two schedules have the same future.

Called by ``explore`` at every turn. Two points are alike when everything is equal that a
decision or an oracle may still read: times only as seconds from now, and only those of what
is still open; of what has settled, only what an undo asks for. What is left out is evidence
(when a step settled, what a refusal said), which the journal keeps and nothing decides by.
That this is so is tested: schedules counted with and without it are equally many.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final

import msgspec

from topstitch.attempts.machine import TERMINAL
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.state import ActState, ApprovalState, Failure, InstanceState, StepState, TaskState
from topstitch.plan.heals import step_of
from topstitch.plan.plan import Plan
from topstitch.torture.node import Node
from topstitch.torture.world import Thing, World

_ENCODE: Final = msgspec.msgpack.Encoder().encode
Told = list[Any]


def exactly(node: Node) -> bytes:
    """Return the digest of everything at ``node``."""
    return _digest((node.state, node.world, node.now, node.left, node.flying, node.recovers))


def alike(plan: Plan, node: Node) -> bytes:
    """Return the digest of what the future of ``node`` depends on."""
    state, now = node.state, node.now
    told = [
        node.left,
        node.recovers,
        [(call.key, outcome.result, outcome.found) for call, outcome in node.flying],
        state.stage,
        state.mode,
        state.cancelled,
        state.paused,
        state.outcome,
        state.executed_at is not None,
        state.reported,
        sorted(state.flags),
        sorted((case.id, case.how) for case in state.cases.values()),
        [(t.key, t.tries, _from(now, t.next_at)) for t in state.tells.values()],
        [
            (n, r.settled, r.attempt if not r.settled else 0, _from(now, r.again_at))
            for n, r in sorted(state.context_reads.items())
        ],
        sorted(state.context),
        [_step(plan, state, step, now) for step in (*state.steps.values(), *state.heals.values())],
        [_act(state, act, now) for _, act in sorted(state.acts.items())],
        [_task(task, now) for _, task in sorted(state.tasks.items())],
        _world(state, node.world, now),
    ]
    if plan.reconcile.at:
        told.append(
            (_from(now, state.started_at), _from(now, state.executed_at), state.checks, state.discrepancies, now)
        )
    return _digest(told)


def _digest(told: Any) -> bytes:
    return hashlib.blake2b(_ENCODE(told), digest_size=16).digest()


def _from(now: datetime, when: datetime | None) -> float | None:
    return (when - now).total_seconds() if when is not None else None


def _step(plan: Plan, state: InstanceState, step: StepState, now: datetime) -> Told:
    told: Told = [
        step.status,
        step.effect,
        step.found,
        step.output is None,
        step.input is None,
        step.undo_failed,
        step.by_hand,
        step.hand_tried,
        step.decided,
        step.carried,
    ]
    if step.status not in SETTLED:
        told += [
            step.payload_digest,
            step.asks,
            step.resolves,
            step.failure,
            _approval(step.approval, now),
            _from(now, step.wait_until),
            _from(now, step.look_at),
            step.looked,
            len(step.signals),
            step.child,
            step.child_end,
            step.children,
            step.started_at is None,
            _from(now, step.released_at) if step_of(plan, step.id).call else None,
        ]
        if step.status is StepStatus.WAITING and step_of(plan, step.id).after:
            told += [_from(now, state.steps[n].settled_at) for n in plan.steps[step.id].needs] or [
                _from(now, state.context_done_at)
            ]
    return told


def _approval(approval: ApprovalState | None, now: datetime) -> Told | None:
    if approval is None:
        return None
    return [
        approval.id,
        approval.ending,
        approval.payload_digest,
        _from(now, approval.give_up_at),
        _from(now, approval.next_reminder_at),
        approval.reminders,
        [_from(now, at) for at, _ in approval.escalations],
        approval.escalated,
        approval.sought,
        _from(now, approval.again_at),
        approval.answers,
    ]


def _act(state: InstanceState, act: ActState, now: datetime) -> Told:
    effect = act.failure.effect if act.failure else ""
    told: Told = [
        act.id,
        act.status,
        act.found,
        effect,
        act.failure is Failure.UNKNOWN,
        act.output is None,
        act.handed_over,
    ]
    if act.status in TERMINAL and _is_over(state, act):
        return told
    return [
        *told,
        act.failure,
        act.attempt,
        act.restarts,
        act.doubtful,
        act.unanswered,
        act.polls,
        act.expect,
        act.payload_digest,
        _from(now, act.next_at),
        _from(now, act.doubt_since),
        _from(now, act.intent_at) if act.doubtful else None,
        _from(now, act.confirming_since),
    ]


def _task(task: TaskState, now: datetime) -> Told:
    told: Told = [task.id, task.purpose, task.ending]
    if task.ending is None:
        told += [
            task.said,
            _from(now, task.give_up_at),
            [_from(now, at) for at, _ in task.escalations],
            task.escalated,
            bool(task.people),
        ]
    return told


def _world(state: InstanceState, world: World, now: datetime) -> Told:
    return [
        [_thing(name, thing, now) for name, thing in sorted(world.things.items())],
        sorted(door for door in world.shut if _matters(state, door.partition(":")[2])),
        world.undone,
        sorted(set(world.approved)),
    ]


def _thing(name: str, thing: Thing, now: datetime) -> Told:
    seen = max(_from(now, thing.seen_from) or 0, 0)
    return [name, thing.there, thing.made, thing.hand, thing.foreign, thing.lost, thing.keys, seen]


def _matters(state: InstanceState, name: str) -> bool:
    """Whether a door that is shut can still be knocked at."""
    task = state.tasks.get(name)
    if task is not None:
        return task.ending is None
    act = state.acts.get(name)
    if act is not None:
        return act.status not in TERMINAL or not _is_over(state, act)
    step = state.steps.get(name) or state.heals.get(name)
    if step is not None:
        return step.status not in SETTLED
    return not name.startswith("apr_") or any(
        s.approval and s.approval.id == name and not s.approval.ending
        for s in (*state.steps.values(), *state.heals.values())
    )


def _is_over(state: InstanceState, act: ActState) -> bool:
    """Whether the step or the repair that an act belongs to has settled."""
    step = state.steps.get(act.step or "") or state.heals.get(act.step or "")
    return step is None or step.status in SETTLED
