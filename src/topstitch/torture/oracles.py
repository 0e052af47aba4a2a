"""Decides whether a schedule ended as it must (``language.md`` 6.6).

Called by ``explore`` at the end of each schedule, with what the journal says and what the
systems hold. What a step's outcome class cannot know is not judged: a write whose fate
nobody could find out may be there or not, but it must have been given to a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from topstitch.attempts.machine import TERMINAL
from topstitch.foundation.timetext import parse_time
from topstitch.model.instance import IN_ORDER, SETTLED, InstanceEnd, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.heals import step_of
from topstitch.plan.plan import Plan, StepPlan
from topstitch.plan.rollback_order import transitive_needs
from topstitch.reconciliation.decide import EXPECTED
from topstitch.torture.answers import drifted
from topstitch.torture.node import BrokenError, Node
from topstitch.torture.world import World

NEVER_SENT: Final = frozenset({StepStatus.NOT_RUN, StepStatus.SKIPPED, StepStatus.DECLINED})
TAKEN_BACK: Final = frozenset({StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND})
COMPLETED: Final = frozenset({InstanceEnd.COMPLETED, InstanceEnd.COMPLETED_WITH_EXCEPTIONS})
ORACLES: Final = {
    "stall": "every schedule ends, within a bound, without an intent left open",
    "twice": "no step is applied twice",
    "there": "what is done is there",
    "orphan": "what is failed, given up, undone or not run is not there",
    "theirs": "what was only found is never undone",
    "order": "steps are undone in reverse dependency order",
    "intent": "nothing is sent whose intent is not in the journal",
    "grant": "nothing is sent that nobody released",
    "refolded": "the state folded from the journal equals the state in memory",
    "declared": "each end is a declared one, and says what is so",
    "carried": "what was declared for a failure is carried out",
    "unheard": "each answer to a write is recorded",
    "drift": "what differs and was not repaired is somebody's",
    "patience": "nobody's time is up before it is",
    "raised": "the core raises nothing",
}
"""What is asked of every schedule."""


def judge(plan: Plan, node: Node, bound_seconds: float | None) -> None:
    """Raise ``BrokenError`` for the first thing that is not as it must be at the end of a schedule."""
    state, world = node.state, node.world
    for oracle, said in _broken(plan, state, world):
        raise BrokenError(oracle, said)
    if bound_seconds is not None and state.started_at is not None:
        took = node.now - state.started_at
        if took > timedelta(seconds=bound_seconds):
            raise BrokenError(
                "stall", f"it took {took}, which is longer than the bound of {timedelta(seconds=bound_seconds)}"
            )


def watch(plan: Plan, before: InstanceState, drafts: Sequence[Draft]) -> None:
    """Raise ``BrokenError`` when a commit ends a wait, an approval or a task before its time."""
    opened = {task.id: task.give_up_at for task in before.tasks.values()}
    for draft in drafts:
        step = before.steps.get(draft.step or "") or before.heals.get(draft.step or "")
        since: datetime | None = None
        seconds = 0
        if draft.kind == Kind.WAIT_EXPIRED and step is not None and (wait := step_of(plan, step.id).wait):
            since, seconds = step.decided_at, wait.give_up_seconds
        elif (
            draft.kind == Kind.APPROVAL_CLOSED
            and draft.body["ending"] == "unanswered"
            and step is not None
            and step.approval
        ):
            asked = step_of(plan, step.id).approval
            since, seconds = step.approval.asked_at, asked.give_up_seconds if asked else 0
        elif draft.kind == Kind.TASK_OPENED:
            opened[draft.body["task"]] = parse_time(draft.body["give_up_at"])
        elif draft.kind == Kind.TASK_CLOSED and draft.body["ending"] == "expired":
            since = opened.get(draft.body["task"])
        if since is not None and draft.at < since + timedelta(seconds=seconds):
            raise BrokenError(
                "patience",
                f"{draft.kind} of {draft.step} came after {draft.at - since}, not {timedelta(seconds=seconds)}",
            )


def _broken(plan: Plan, state: InstanceState, world: World) -> Iterator[tuple[str, str]]:
    yield from _left_open(state)
    for name, step in {**state.steps, **state.heals}.items():
        yield from _of_step(step_of(plan, name), state, step, world)
    yield from _drift(plan, state, world)
    yield from _order(plan, state, world)
    yield from _end(plan, state, world)


def _left_open(state: InstanceState) -> Iterator[tuple[str, str]]:
    for step in (*state.steps.values(), *state.heals.values()):
        if step.status not in SETTLED:
            yield "stall", f"{step.id} ended {step.status}"
        if step.approval is not None and step.approval.ending is None:
            yield "stall", f"the approval of {step.id} is still open"
    for act in state.acts.values():
        if act.status not in TERMINAL and not act.handed_over:
            yield "stall", f"the write {act.id} was left {act.status}"
    for task in state.tasks.values():
        if task.ending is None:
            yield "stall", f"a task for {task.step} is still open"


def _of_step(plan: StepPlan, state: InstanceState, step: StepState, world: World) -> Iterator[tuple[str, str]]:
    if plan.act is None or not plan.act.action.writes:
        return
    for name in step.acts or (step.id,):
        thing = world.thing(name)
        if thing.made > 1 or thing.there - thing.foreign > 1:
            yield "twice", f"{name} is there {thing.there} times; {thing.made} by us, {thing.hand} by hand"
        if thing.made and plan.approval is not None and not _released(state, step, world):
            yield "grant", f"{name} was made although nobody approved it"
        if thing.foreign and not thing.there and step.status in TAKEN_BACK | {StepStatus.KEPT}:
            yield "theirs", f"{name} was there before us and was taken away"
        yield from _by_status(plan, state, step, name, world)
    if step.status is StepStatus.UNDO_OPEN and not state.open_cases:
        yield "declared", f"{step.id} could not be undone and no case says so"


def _released(state: InstanceState, step: StepState, world: World) -> bool:
    """Whether somebody let it be written: a person, or a rule, now or before the step was retried."""
    automatic = step.decided == "auto" or any(
        act.step == step.id and act.granted == "auto" for act in state.acts.values()
    )
    return automatic or step.id in world.approved


def _by_status(
    plan: StepPlan, state: InstanceState, step: StepState, name: str, world: World
) -> Iterator[tuple[str, str]]:
    thing = world.thing(name)
    ours = thing.there > thing.foreign
    knowable = not thing.lost or (plan.act is not None and bool(plan.act.expects))
    match step.status:
        case StepStatus.DONE | StepStatus.DONE_BY_HAND:
            if not thing.there and knowable and f"wrong:{name}" not in world.shut:
                yield "there", f"{step.id} says {step.status}, and {name} is not there"
        case StepStatus.NOT_RUN | StepStatus.SKIPPED | StepStatus.DECLINED:
            if ours and not any(case.step == step.id for case in state.cases.values()):
                yield "orphan", f"{step.id} says {step.status}, {name} is there, and no case says so"
        case StepStatus.GIVEN_UP if step.effect == "none":
            if ours:
                yield "orphan", f"{step.id} was given up as without effect, and {name} is there"
        case StepStatus.UNDONE | StepStatus.UNDONE_BY_HAND:
            if ours:
                yield "orphan", f"{step.id} says {step.status}, and {name} is still there"
            theirs_only = thing.foreign and thing.there and not thing.made and not thing.hand
            if step.status is StepStatus.UNDONE and theirs_only and len(step.acts) <= 1:
                yield "declared", f"{step.id} says {step.status}, but {name} was there before us and is kept"
        case _:
            pass


def _drift(plan: Plan, state: InstanceState, world: World) -> Iterator[tuple[str, str]]:
    """A difference that nobody has repaired is somebody's: in a ticket, a task or a case."""
    for record in plan.reconcile.records:
        if not drifted(world, record.name) or state.steps[record.covers].status not in EXPECTED:
            continue
        told = any(found.record == record.name and found.ticketed for found in state.discrepancies.values())
        if not told and not state.open_cases and not any(t.purpose == "ticket" for t in state.tasks.values()):
            yield "drift", f"{record.name} differs, and nobody was told"


def _order(plan: Plan, state: InstanceState, world: World) -> Iterator[tuple[str, str]]:
    waits = {name: (*step.needs, *step.after) for name, step in plan.steps.items()}
    steps = [state.acts[name].step or "" for name in world.undone if name in state.acts]
    for index, earlier in enumerate(steps):
        for later in steps[index + 1 :]:
            if earlier in transitive_needs(waits, later):
                yield "order", f"{earlier} was undone before {later}, which came after it"


def _end(plan: Plan, state: InstanceState, world: World) -> Iterator[tuple[str, str]]:
    if state.ended not in set(InstanceEnd):
        yield "declared", f"the instance ended {state.ended!r}, which is no declared end"
    if state.ended == InstanceEnd.COMPLETED and not all(step.status in IN_ORDER for step in state.steps.values()):
        yield "declared", "the instance says completed, and a step is neither done nor skipped"
    if state.ended == InstanceEnd.ROLLED_BACK:
        for name, thing in world.things.items():
            step = state.steps.get(state.acts[name].step or "") if name in state.acts else None
            if step is not None and thing.there and not thing.foreign and state.acts[name].purpose == "step":
                yield "orphan", f"the instance says rolled back, and {name} is there"
    if "cancelled:stop" in world.shut and state.ended == InstanceEnd.STOPPED:
        yield "declared", "somebody cancelled the instance, and it says stopped"
    if state.outcome in COMPLETED:
        for name, step in state.steps.items():
            declared = plan.steps[name].compensate
            if step.status is StepStatus.GIVEN_UP and declared is not None and step.carried < len(declared.items):
                yield "carried", f"{name} was given up before all that was declared for it was carried out"
