"""Decides what the execution stage does now.

``lifecycle`` calls ``decide`` over and over, folding what it returns, until it asks for no
more records. Which way the instance goes decides first (forward, stopping, rolling back),
then where each step stands. It never performs a call and never looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from topstitch.attempts import machine
from topstitch.attempts.machine import Desk, Turn
from topstitch.execution import approve, begin, carry, compensate, rollback
from topstitch.execution.desk import STAGE, case_of, desk_of
from topstitch.execution.wind_down import wind_down
from topstitch.governance.cases import closed
from topstitch.governance.policy import NO_LAW, Law
from topstitch.model.instance import IN_ORDER, SETTLED, Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, LookUpCall, Outcome, ReadCall, ResolveCall, StartCall, WriteCall
from topstitch.model.record import ENGINE, Draft
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.plan import Plan, StepPlan

FORWARD_CASES: Final = frozenset({"task-not-done", "nobody-to-ask", "stopped", "left-behind"})
"""Causes that only matter to an instance that is to go on."""
NOT_CARRIED_OUT: Final = frozenset({Kind.STEP_SKIPPED, Kind.STEP_DECLINED, Kind.STEP_NOT_RUN})


def decide(plan: Plan, state: InstanceState, now: datetime, law: Law = NO_LAW) -> Turn:
    """Return what the execution stage wants now; nothing once it has executed."""
    turn = Turn()
    if state.executed_at is not None or state.paused:
        return turn
    desk = desk_of(plan, state, now, law)
    match state.mode:
        case Mode.FORWARD:
            _forward(plan, state, desk, turn)
        case Mode.STOPPING:
            wind_down(plan, state, desk, turn)
            if not turn.drafts and _all_settled(state):
                turn.drafts.append(_executed(desk, "cancelled" if state.cancelled else "stopped"))
        case Mode.ROLLING_BACK:
            wind_down(plan, state, desk, turn)
            if not turn.drafts and _all_settled(state, undoing=True):
                rollback.undo_all(plan, state, desk, turn)
                if not turn.drafts and rollback.is_finished(plan, state):
                    turn.drafts += [*_moot(state, desk), _executed(desk, _rolled_back(state))]
        case Mode.FINISHED:
            pass
    return turn


def carry_heals(plan: Plan, state: InstanceState, names: tuple[str, ...], now: datetime, law: Law = NO_LAW) -> Turn:
    """Return what the repairs want now: each is carried out as a step is, whatever else is over."""
    turn = Turn()
    if state.paused or (state.mode is Mode.ROLLING_BACK and state.executed_at is None):
        return turn
    desk = desk_of(plan, state, now, law)
    for name in names:
        wants = _WANTS.get(state.steps[name].status)
        if wants is not None:
            wants(plan, plan.steps[name], state, desk, turn)
    return turn


def settle(
    plan: Plan, state: InstanceState, call: Call, outcome: Outcome, now: datetime, law: Law = NO_LAW
) -> list[Draft]:
    """Return the records of what came back for a call of this stage."""
    desk = desk_of(plan, state, now, law)
    match call:
        case WriteCall() | LookUpCall() | ReadCall():
            act = state.acts.get(call.key.rpartition("/send/")[0] or _act_of(call.key))
            if act is None:
                return []
            draft = machine.settle(rollback.plan_of(plan, act), act, call, outcome, desk)
            return [draft] if draft else []
        case ResolveCall():
            return approve.resolved(plan, state, call, outcome, desk)
        case InboxCall() | StartCall():
            return carry.answered(plan, state, call, outcome, desk)
        case _:
            return []


def recover(plan: Plan, state: InstanceState, now: datetime) -> list[Draft]:
    """Return what a new activation records of writes the last one left without an answer."""
    desk = desk_of(plan, state, now)
    drafts = (
        machine.recover(rollback.plan_of(plan, act), act, desk)
        for act in state.acts.values()
        if not act.id.startswith("@reconcile/")
    )
    return [*(draft for draft in drafts if draft is not None), *_asked_again(state, now)]


def _asked_again(state: InstanceState, now: datetime) -> list[Draft]:
    """Ask at once for what a pause held back: whoever woke the instance early may have ended the pause."""
    acts = [act.id for act in state.acts.values() if act.held and act.next_at is not None and act.next_at > now]
    reads = [n for n, read in state.context_reads.items() if read.held and read.again_at and read.again_at > now]
    if not acts and not reads:
        return []
    body = {"acts": acts, "reads": reads}
    return [Draft(kind=Kind.HOLD_ENDED, at=now, actor=ENGINE, stage=state.stage, body=body)]


def _act_of(key: str) -> str:
    for mark in ("/look/", "/back/"):
        if mark in key:
            return key[: key.rindex(mark)]
    return key


def _forward(plan: Plan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    settled = True
    for name, step in state.steps.items():
        wants = _WANTS.get(step.status)
        if wants is not None:
            settled = False
            before = len(turn.drafts)
            wants(plan, plan.steps[name], state, desk, turn)
            if len(turn.drafts) == before:
                continue
            turn.drafts += _left_behind(plan, state, step, turn.drafts[before:], desk)
            if any(draft.kind == Kind.MODE_CHANGED for draft in turn.drafts):
                turn.drafts = [draft for draft in turn.drafts if draft.kind != Kind.ACT_INTENT]
                return
    if settled:
        turn.drafts.append(_executed(desk, _completed(state)))


def _left_behind(plan: Plan, state: InstanceState, step: StepState, drafts: list[Draft], desk: Desk) -> list[Draft]:
    """Open a case when a retried step is not carried out again, and what it left the first time may still be there."""
    if step.effect == "none" or not any(draft.kind in NOT_CARRIED_OUT for draft in drafts):
        return []
    return case_of(
        plan,
        plan.steps[step.id],
        state,
        desk,
        cause="left-behind",
        summary=f"{plan.steps[step.id].title} was not carried out again, and what was sent before may still be there",
        remedy="Look in the system, and take it back by hand, or retry the step",
    )


_WANTS: Final[Mapping[StepStatus, Callable[[Plan, StepPlan, InstanceState, Desk, Turn], None]]] = {
    StepStatus.WAITING: begin.begin,
    StepStatus.ASKING: approve.chase,
    StepStatus.RUNNING: carry.carry,
    StepStatus.UNKNOWN: carry.carry,
    StepStatus.COMPENSATING: compensate.compensate,
}
"""Who knows what an unsettled step wants on the forward way."""


def _all_settled(state: InstanceState, *, undoing: bool = False) -> bool:
    return all(
        step.status in SETTLED or (undoing and step.status is StepStatus.UNDOING) for step in state.steps.values()
    )


def _completed(state: InstanceState) -> str:
    clean = all(step.status in IN_ORDER for step in state.steps.values()) and not state.open_cases
    return "completed" if clean else "completed_with_exceptions"


def _moot(state: InstanceState, desk: Desk) -> list[Draft]:
    """Close the cases that a rollback has answered: what is taken back is not to be mended and retried any more."""
    answered = (case for case in state.cases.values() if case.how is None and case.cause in FORWARD_CASES)
    return [closed(case, desk.now, desk.stage, "rolled back") for case in answered]


def _rolled_back(state: InstanceState) -> str:
    left = any(step.status is StepStatus.UNDO_OPEN for step in state.steps.values())
    kept = any(step.status is StepStatus.KEPT and not step.found for step in state.steps.values())
    return "rolled_back_with_exceptions" if left or kept else "rolled_back"


def _executed(desk: Desk, outcome: str) -> Draft:
    return Draft(kind=Kind.EXECUTED, at=desk.now, actor=ENGINE, stage=STAGE, body={"outcome": outcome})
