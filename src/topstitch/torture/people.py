"""Decides what people may do while an instance rests, and what happens when nobody does anything.

Called by ``walk`` when no call is under way: an approval is answered, a task is done or not,
an event comes, a called workflow ends, somebody cancels; else time jumps to the next wake.
An instance that asks for nothing and is not over has stalled, which is what all this is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.foundation.errors import TopstitchError
from topstitch.model.instance import Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Stage
from topstitch.model.state import ActStatus, ApprovalState, InstanceState, StepState, TaskState
from topstitch.plan.heals import step_of
from topstitch.torture import world as systems
from topstitch.torture.arrange import Arena
from topstitch.torture.journal import Journal
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.world import World

Move = tuple[str, int, Callable[[], tuple[World, tuple[Draft, ...]]]]
"""A choice: its name, its cost, and what it does."""
OPERATOR: Final = Actor(ActorKind.HUMAN, "olga")
WAITS: Final = (("time passes", 0),)
CANCELS: Final = (*WAITS, ("somebody cancels: roll back", 1), ("somebody cancels: stop", 1))


def rest(arena: Arena, journal: Journal, node: Node, wake_at: datetime | None, kinds: frozenset[str]) -> Point:
    """Return the choices of a rest: the first open matter that a person may see to, else time."""
    matter = _matter(arena, node)
    if matter is None:
        return _time(arena, journal, node, wake_at, kinds)
    what, moves = matter
    moves = [move for move in moves if move[1] == 0 or "people" in kinds]
    if "operate" in kinds:
        moves += _commands(arena, node)

    def take(index: int) -> Node:
        _, cost, act = moves[index]
        world, drafts = act()
        return _said_so(arena, journal, node, world, drafts, cost)

    return Point(what, [(name, cost) for name, cost, _ in moves], take)


def told(world: World, drafts: Sequence[Draft]) -> World:
    """Return the world in which people have read these records: which tasks say to look first."""
    for draft in drafts:
        if draft.kind == Kind.TASK_OPENED and draft.body["check_first"]:
            world = world.shutting(f"first:{draft.body['task']}")
    return world


def _said_so(arena: Arena, journal: Journal, node: Node, world: World, drafts: tuple[Draft, ...], cost: int) -> Node:
    """Return the node after a person's records, which are commits of their own."""
    state = node.state
    for draft in drafts:
        state = lifecycle.fold(arena.plan, state, draft)
    journal.check(node.state, drafts, state)
    orders = None if drafts else node.orders
    return Node(state, world, node.now, node.left - cost, node.flying, orders=orders, wrote=drafts)


def _time(arena: Arena, journal: Journal, node: Node, wake_at: datetime | None, kinds: frozenset[str]) -> Point:
    if wake_at is None:
        raise BrokenError("stall", "the instance is not over and nothing will ever wake it")
    if wake_at <= node.now:
        raise BrokenError("stall", "the instance asks to be woken at a time that has passed, for ever")
    open_ = "cancel" in kinds and node.state.mode is Mode.FORWARD and node.state.executed_at is None
    choices = CANCELS if open_ else WAITS
    commands = _commands(arena, node) if "operate" in kinds else []

    def take(choice: int) -> Node:
        if choice == 0:
            return Node(node.state, node.world, wake_at, node.left)
        if choice >= len(choices):
            world, drafts = commands[choice - len(choices)][2]()
            return _said_so(arena, journal, node, world, drafts, 1)
        mode = Mode.ROLLING_BACK if choice == 1 else Mode.STOPPING
        body = {"mode": mode, "because": "somebody cancelled it", "cancelled": True}
        cancelled = _said(node, Kind.MODE_CHANGED, None, body, "olga")
        world = node.world if choice == 1 else node.world.shutting("cancelled:stop")
        return _said_so(arena, journal, node, world, (cancelled,), 1)

    return Point("rest", [*choices, *((name, cost) for name, cost, _ in commands)], take)


def _matter(arena: Arena, node: Node) -> tuple[str, list[Move]] | None:
    state, world = node.state, node.world
    for step in (*state.steps.values(), *state.heals.values()):
        approval = step.approval
        if (
            step.status is StepStatus.ASKING
            and approval
            and approval.ending is None
            and f"silent:{approval.id}" not in world.shut
        ):
            return f"approval of {step.id}", _decisions(node, step, approval)
        plan = step_of(arena.plan, step.id)
        if step.status is StepStatus.RUNNING and f"silent:{step.id}" not in world.shut:
            if plan.call is not None and step.child is not None:
                return f"workflow called by {step.id}", _ends(node, step)
            if plan.wait is not None and step.looked:
                return f"event for {step.id}", _events(node, step, plan.wait.event_type)
    for task in state.tasks.values():
        if task.ending is None and task.said is None and f"silent:{task.id}" not in world.shut:
            return f"task for {task.step or 'a ticket'} ({task.purpose})", _works(arena, node, task)
    return None


def _decisions(node: Node, step: StepState, approval: ApprovalState) -> list[Move]:
    def answer(word: str, people: int) -> Callable[[], tuple[World, tuple[Draft, ...]]]:
        body = {"approval": approval.id, "answer": word, "payload_digest": approval.payload_digest, "via": "torture"}
        said = tuple(_said(node, Kind.APPROVAL_ANSWERED, step.id, body, f"person{n}") for n in range(people))
        given = (*node.world.approved, step.id) if word == "approve" else node.world.approved
        return lambda: (replace(node.world, approved=given), said)

    return [
        ("approved", 0, answer("approve", approval.quorum)),
        ("refused", 1, answer("refuse", 1)),
        ("nobody answers", 1, lambda: (node.world.shutting(f"silent:{approval.id}"), ())),
    ]


def _works(arena: Arena, node: Node, task: TaskState) -> list[Move]:
    world = node.world
    silent = world.shutting(f"silent:{task.id}")
    step = arena.plan.steps.get(task.step or "")
    output = arena.outputs.get(f"{step.act.system}.{step.act.action.name}", {}) if step and step.act else {}
    done: Mapping[str, Any] = {"task": task.id, "output": output if task.purpose == "step" else {}}
    said = (_said(node, Kind.TASK_DONE, task.step, done, "ivo"),)
    failed = (_said(node, Kind.TASK_FAILED, task.step, {"task": task.id, "comment": "no"}, "ivo"),)
    moves: list[Move] = [
        ("done", 0, lambda: (_done(arena, node.state, silent, task), said)),
        ("said to be impossible", 1, lambda: (silent, failed)),
        ("nobody does it", 1, lambda: (silent, ())),
    ]
    if task.purpose == "step" and step and step.act and step.act.expects and step.items is None:
        moves.append(("said to be done, and is not", 1, lambda: (silent, said)))
    return moves


def _done(arena: Arena, state: InstanceState, world: World, task: TaskState) -> World:
    """Return the world once a person has done what the task says."""
    step = arena.plan.steps.get(task.step or "")
    if step is None or step.act is None or not step.act.action.writes or task.purpose == "ticket":
        return world
    acts = state.steps[step.id].acts or (step.id,)
    for name in acts:
        if task.purpose == "undo":
            world = systems.by_hand_undone(world, name)
        elif name not in state.acts or state.acts[name].status is not ActStatus.DONE:
            world = systems.by_hand(world, name, step.act.action, looks=f"first:{task.id}" in world.shut)
    return world


def _events(node: Node, step: StepState, event_type: str) -> list[Move]:
    event = {"id": f"evt_{step.id}", "source": "torture", "type": event_type, "received_at": "2026-01-05T09:00:00.000Z"}
    offered = (_said(node, Kind.SIGNAL_OFFERED, step.id, {"event": event, "data": {}}, "torture"),)
    silent = node.world.shutting(f"silent:{step.id}")
    return [("comes", 0, lambda: (silent, offered)), ("never comes", 1, lambda: (silent, ()))]


def _commands(arena: Arena, node: Node) -> list[Move]:
    """Return what an operator may do to the first step that has come to nothing, or is about to."""
    moves: list[Move] = []
    for name in ("retry", "skip"):
        for step in node.state.steps.values():
            wish = lifecycle.Command(name=name, reason="torture", step=step.id)
            try:
                drafts = tuple(lifecycle.operate(arena.plan, node.state, wish, OPERATOR, node.now))
            except TopstitchError:
                continue
            moves.append((f"somebody wants to {name} {step.id}", 1, _commanded(node, step, drafts)))
            break
    return moves


def _commanded(node: Node, step: StepState, drafts: tuple[Draft, ...]) -> Callable[[], tuple[World, tuple[Draft, ...]]]:
    """Return what a command does: whoever did nothing about the step's tasks may do something about the next ones."""
    tasks = [task.id for task in node.state.tasks.values() if task.step == step.id]
    doors = {f"{door}:{task}" for door in ("silent", "first") for task in tasks} | {f"silent:{step.id}"}
    world = replace(node.world, shut=tuple(door for door in node.world.shut if door not in doors))
    return lambda: (world, drafts)


def _ends(node: Node, step: StepState) -> list[Move]:
    silent = node.world.shutting(f"silent:{step.id}")

    def ended(end: str) -> tuple[Draft, ...]:
        return (_said(node, Kind.CHILD_ENDED, step.id, {"instance": step.child, "end": end}, "torture"),)

    return [
        ("completes", 0, lambda: (silent, ended("completed"))),
        ("is rolled back", 1, lambda: (silent, ended("rolled_back"))),
        ("never ends", 1, lambda: (silent, ())),
    ]


def _said(node: Node, kind: Kind, step: str | None, body: Mapping[str, Any], person: str) -> Draft:
    actor = Actor(ActorKind.HUMAN, person)
    return Draft(kind=kind, at=node.now, actor=actor, stage=Stage.EXECUTION, step=step, body=body)
