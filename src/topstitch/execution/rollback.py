"""Decides how an instance is taken back: in reverse dependency order, each undo read back.

Runs once everything in flight has come to rest (``wind_down``). What was only found is left
alone; what may or may not be there is looked up first; an undo that fails becomes an owned
task and a case, and never holds the others back.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn, draft
from topstitch.execution.compensate import tend_task
from topstitch.execution.desk import case_of, item_values
from topstitch.foundation.canonical import digest
from topstitch.governance import tasks
from topstitch.governance.cases import close_case
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.model.state import ActState, ActStatus, Failure, InstanceState, StepState
from topstitch.plan.plan import OWNER_TASK_DUE_SECONDS, OWNER_TASK_GIVE_UP_SECONDS, ActPlan, Plan, StepPlan
from topstitch.plan.scope import facts, step_values

LIVE: Final = frozenset({StepStatus.DONE, StepStatus.DONE_BY_HAND, StepStatus.UNDOING})
"""Statuses of steps whose effect is there."""
CAME_TO_NOTHING: Final = frozenset({StepStatus.GIVEN_UP, StepStatus.SKIPPED, StepStatus.DECLINED, StepStatus.NOT_RUN})
"""Statuses of steps whose effect may be there all the same: from a write that failed, perhaps before a retry."""


def plan_of(plan: Plan, act: ActState) -> ActPlan:
    """Return the plan an act of this stage is carried out by."""
    step = plan.steps[act.step or ""]
    match act.purpose:
        case "undo" if step.undo is not None:
            return step.undo
        case "compensate" if step.compensate is not None:
            item = step.compensate.items[int(act.id.rpartition("/")[2])]
            assert isinstance(item, ActPlan)
            return item
        case _:
            assert step.act is not None
            return step.act


def undo_all(plan: Plan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what the rollback wants now."""
    blocking = {name for name, step in state.steps.items() if _blocks(plan.steps[name], state, step)}
    for name in plan.undo_order:
        step, step_plan = state.steps[name], plan.steps[name]
        if step.undo_failed:
            _tend(plan, step_plan, state, step, desk, turn)
        elif name in blocking and not blocking.intersection(step_plan.descendants):
            _undo(plan, step_plan, state, step, desk, turn)


def is_finished(plan: Plan, state: InstanceState) -> bool:
    """Whether nothing is left that is to be undone."""
    return not any(
        step.status is StepStatus.UNDOING or _blocks(plan.steps[name], state, step)
        for name, step in state.steps.items()
    )


def _blocks(step_plan: StepPlan, state: InstanceState, step: StepState) -> bool:
    """Whether the step's effect is, or may be, still there and is still being dealt with."""
    if step.undo_failed or step_plan.act is None or not step_plan.act.action.writes:
        return False
    if step.status in CAME_TO_NOTHING:
        return step.effect != "none" or any(a.status is ActStatus.DONE and not a.found for a in _own_acts(state, step))
    return step.status in LIVE


def _own_acts(state: InstanceState, step: StepState) -> list[ActState]:
    return [state.acts[name] for name in step.acts]


def _undo(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    if step.found:
        turn.drafts.append(_kept(desk, step, "it was there before us"))
    elif step_plan.undo is None:
        turn.drafts.append(_kept(desk, step, step_plan.no_undo or "nothing was declared to undo it"))
    elif (step.by_hand or step.hand_tried) and any(act.found for act in _own_acts(state, step)):
        whose = replace(_by_hand(step, step_plan.undo), status=ActStatus.FAILED, failure=Failure.UNKNOWN)
        turn.drafts += _undo_failed(plan, step_plan, state, step, whose, desk)
    else:
        _undo_acts(plan, step_plan, step_plan.undo, state, step, desk, turn)


def _undo_acts(
    plan: Plan, step_plan: StepPlan, undo: ActPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn
) -> None:
    """Undo each of the step's writes, the last one first; then say how it went."""
    targets = _targets(step_plan, undo, state, step)
    outcomes: list[ActState] = []
    for target in targets:
        outcome, open_ = _undo_one(plan, undo, state, step, target, desk, turn)
        if open_:
            return
        outcomes += [outcome] if outcome else []
    failed = [o for o in outcomes if o.status is not ActStatus.DONE]
    found = [i for i, act in enumerate(_own_acts(state, step)) if act.found]
    if failed:
        turn.drafts += _undo_failed(plan, step_plan, state, step, failed[0], desk)
    elif not outcomes and found:
        turn.drafts.append(draft(Kind.STEP_KEPT, desk, step.id, {"because": "it was there before us", "found": True}))
    else:
        body: dict[str, Any] = {"system": step_plan.system, "absent": not outcomes}
        if found:
            body["kept"] = found
        turn.drafts.append(draft(Kind.STEP_UNDONE, desk, step.id, body))


def _targets(step_plan: StepPlan, undo: ActPlan, state: InstanceState, step: StepState) -> list[ActState]:
    """Return what is to be undone, the last first: our writes, and what a person did or may have done instead."""
    hand = step.by_hand or step.hand_tried
    own = [a for a in _own_acts(state, step) if _may_be_there(a) or f"{a.id}/undo" in state.acts]
    if not hand:
        return own[::-1]
    by_hand = _by_hand(step, undo)
    return [by_hand] if step_plan.items is None else [by_hand, *own[::-1]]


def _by_hand(step: StepState, undo: ActPlan) -> ActState:
    """Return what a person did as if it were a write of ours, so that it is undone like one."""
    return ActState(
        id=step.id,
        step=step.id,
        purpose="step",
        system=undo.system,
        action=undo.action.name,
        payload=step.input,
        payload_digest="",
        key="",
        granted="by_hand",
        granted_by="human",
        status=ActStatus.DONE,
        output=step.output,
    )


def _may_be_there(act: ActState) -> bool:
    if act.found or act.status is ActStatus.CALLED_OFF:
        return False
    return act.status is ActStatus.DONE or (act.failure is not None and act.failure.effect != "none")


def _undo_one(
    plan: Plan, undo: ActPlan, state: InstanceState, step: StepState, target: ActState, desk: Desk, turn: Turn
) -> tuple[ActState | None, bool]:
    """Return the ended undo of one write (nothing when it was not there), and whether it is still under way."""
    forward = plan.steps[step.id].act
    taken_back = state.acts.get(f"{target.id}/undo")
    if taken_back is None and target.failure is Failure.UNKNOWN and forward and forward.can_look_up:
        find = state.acts.get(f"{target.id}/find")
        if find is None:
            turn.drafts.append(_find(target, step, desk))
            return None, True
        if find.status not in TERMINAL:
            machine.advance(forward, find, desk, turn)
            return None, True
        if find.failure is not None and find.failure is not Failure.UNKNOWN and find.failure.effect == "none":
            return None, False
    if taken_back is None:
        turn.drafts.append(_proposed(plan, undo, state, step, target, desk))
        return None, True
    if taken_back.status not in TERMINAL:
        machine.advance(undo, taken_back, desk, turn)
        return None, True
    return taken_back, False


def _find(target: ActState, step: StepState, desk: Desk) -> Draft:
    body = {
        "act": f"{target.id}/find",
        "purpose": "find",
        "system": target.system,
        "action": target.action,
        "payload": target.payload,
        "payload_digest": target.payload_digest,
        "key": target.key,
        "grant": {"decision": "declared", "by": "definition"},
        "next": ActStatus.DOUBT,
        "failure": Failure.REFUSED,
    }
    return draft(Kind.ACT_PROPOSED, desk, step.id, body, personal=(("payload",),))


def _proposed(plan: Plan, undo: ActPlan, state: InstanceState, step: StepState, target: ActState, desk: Desk) -> Draft:
    act_id = f"{target.id}/undo"
    shape = ActState(
        id=act_id,
        step=step.id,
        purpose="undo",
        system=undo.system,
        action=undo.action.name,
        payload=None,
        payload_digest="",
        key="",
        granted="declared",
        granted_by="definition",
        status=ActStatus.READY,
    )
    scope = facts(plan, state, step=step_values(step) | item_values(state, shape))
    try:
        payload = undo.params.render(scope)
    except ExpressionError as error:
        body = {
            "act": act_id,
            "purpose": "undo",
            "system": undo.system,
            "action": undo.action.name,
            "payload": {},
            "payload_digest": digest({}),
            "key": f"{desk.instance}:{act_id}",
            "grant": {"decision": "declared", "by": "definition"},
            "next": ActStatus.FAILED,
            "failure": Failure.EXPRESSION,
            "problem": {"code": error.code, "message": error.message},
        }
        return draft(Kind.ACT_PROPOSED, desk, step.id, body)
    return machine.propose(undo, act_id, payload, desk, purpose="undo", step=step.id, granted_by="definition")


def _kept(desk: Desk, step: StepState, because: str) -> Draft:
    return draft(Kind.STEP_KEPT, desk, step.id, {"because": because, "found": step.found})


def _undo_failed(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, undo: ActState, desk: Desk
) -> list[Draft]:
    failure = undo.failure or Failure.REFUSED
    body: dict[str, Any] = {"failure": failure}
    if undo.problem is not None:
        body["problem"] = undo.problem
    title = f"Take back by hand: {step_plan.title} for {state.title}"
    task = tasks.open_task(
        state,
        desk.now,
        desk.stage,
        about=f"{step.id}/undo",
        index=0,
        purpose="undo",
        step=step.id,
        system=step_plan.system,
        title=title,
        to="owner",
        due_seconds=OWNER_TASK_DUE_SECONDS,
        give_up_seconds=OWNER_TASK_GIVE_UP_SECONDS,
        check_first=failure is Failure.UNKNOWN,
        facts=undo.payload if isinstance(undo.payload, dict) else None,
    )
    case = case_of(
        plan,
        step_plan,
        state,
        desk,
        about=f"{step.id}/undo",
        cause="undo-failed",
        summary=f"{step_plan.title} could not be taken back",
        remedy="Take it back by hand and complete the task",
        problem=undo.problem,
        request=undo.request,
        attempt=undo.attempt,
    )
    return [draft(Kind.STEP_UNDO_FAILED, desk, step.id, body), task, *case]


def _tend(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    del plan
    mine = [t for t in state.tasks.values() if t.step == step.id and t.purpose == "undo"]
    for task in mine:
        if task.ending is None:
            tend_task(state, task, desk, turn, None, None)
        elif step.status is StepStatus.UNDOING and task.ending == "accepted":
            body = {"by": task.by, "task": task.id, "system": step_plan.system}
            turn.drafts.append(draft(Kind.STEP_UNDONE_BY_HAND, desk, step.id, body))
            about = f"{step.id}/undo"
            closed = close_case(state, desk.now, desk.stage, about=about, cause="undo-failed", how="taken back by hand")
            turn.drafts += [closed] if closed else []
        elif step.status is StepStatus.UNDOING:
            turn.drafts.append(draft(Kind.STEP_UNDO_OPEN, desk, step.id, {"failure": step.failure or "refused"}))
