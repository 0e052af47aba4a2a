"""Decides what is done about the consequences when a step cannot be completed.

The items of the list are begun in order. Opening a task does not hold the rest of the list
back (the modified welcome must not wait for a person); a further action does, until it has
ended. The disposition follows once every task has ended too: done by hand, or never done.
Compensation is not rollback: nothing here undoes anything.
"""

from __future__ import annotations

from typing import Any

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn, draft
from topstitch.execution.begin import turned
from topstitch.execution.desk import case_of, step_facts
from topstitch.foundation.canonical import digest
from topstitch.governance import tasks
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import Disposition
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.model.state import ActStatus, InstanceState, StepState, TaskState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import ActPlan, CompensatePlan, CompensationItem, FlagPlan, Plan, StepPlan, TaskPlan

NOTHING_DECLARED = CompensatePlan(items=(), done=Disposition.STOP, not_done=Disposition.STOP)
"""A definition that declares nothing does not publish; should one exist all the same, it stops."""


def compensate(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what a step that could not be completed wants now."""
    step = state.steps[step_plan.id]
    declared = step_plan.compensate or NOTHING_DECLARED
    held = _further_actions(step_plan, declared, state, desk, turn)
    for task in open_tasks(state, step.id):
        _tend(plan, step_plan, state, step, task, desk, turn)
    if turn.drafts or held:
        return
    if step.carried < len(declared.items):
        turn.drafts += _begin(plan, step_plan, state, step, declared.items[step.carried], desk)
        return
    if not open_tasks(state, step.id):
        turn.drafts += _disposed(plan, step_plan, declared, state, step, desk)


def open_tasks(state: InstanceState, step: str) -> list[TaskState]:
    """Return the tasks that stand in for ``step`` and have not ended."""
    return [t for t in state.tasks.values() if t.step == step and t.purpose == "step" and t.ending is None]


def tend_task(
    state: InstanceState, task: TaskState, desk: Desk, turn: Turn, check: ActPlan | None, payload: Any
) -> None:
    """Add what an open task wants: its end, more people, or a read-back of what a person did."""
    if task.said == "failed":
        turn.drafts.append(tasks.close_task(task, desk.now, desk.stage, "failed"))
        return
    if task.said != "done":
        drafts, wake = tasks.chase(task, desk.now, desk.stage)
        turn.drafts += drafts
        turn.wake(wake)
        return
    if check is None or not check.expects:
        turn.drafts.append(tasks.close_task(task, desk.now, desk.stage, "accepted"))
        return
    proof = state.acts.get(proof_id(task))
    if proof is None or proof.handed_over:
        turn.drafts.append(_prove(check, task, payload, desk))
    elif proof.status is ActStatus.DONE:
        turn.drafts.append(tasks.close_task(task, desk.now, desk.stage, "accepted"))
    elif proof.status in TERMINAL:
        ended = desk.now >= task.give_up_at
        because = "what was done cannot be read back from the system; look again"
        close = tasks.close_task(task, desk.now, desk.stage, "expired")
        turn.drafts.append(close if ended else tasks.reopen_task(task, desk.now, desk.stage, because))
    else:
        machine.advance(check, proof, desk, turn)


def _tend(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, task: TaskState, desk: Desk, turn: Turn
) -> None:
    before = len(turn.drafts)
    tend_task(state, task, desk, turn, step_plan.act if step_plan.items is None else None, step.input)
    for closed in turn.drafts[before:]:
        if closed.kind == Kind.TASK_CLOSED and closed.body["ending"] in ("expired", "failed"):
            turn.drafts += case_of(
                plan,
                step_plan,
                state,
                desk,
                about=task.id,
                cause="task-not-done",
                summary=f"{step_plan.title} was done neither by the system nor by hand",
                remedy=f"Do what the task says, then retry the step: {task.title}",
                problem=step.problem,
            )


def proof_id(task: TaskState) -> str:
    """Return the act that reads back what a person did for ``task``."""
    return f"{task.step}/by_hand/{task.id}"


def _prove(check: ActPlan, task: TaskState, payload: Any, desk: Desk) -> Draft:
    body = {
        "act": proof_id(task),
        "purpose": "by_hand",
        "system": check.system,
        "action": check.action.name,
        "payload": payload,
        "payload_digest": digest(payload),
        "key": f"{desk.instance}:{task.step}",
        "grant": {"decision": "by_hand", "by": task.by or "human"},
        "next": ActStatus.CONFIRMING,
        "output": task.output,
    }
    personal = paths_in(payload, check.personal_in, ("payload",)) + paths_in(
        task.output, check.personal_out, ("output",)
    )
    return draft(Kind.ACT_PROPOSED, desk, task.step, body, personal=personal)


def _further_actions(
    step_plan: StepPlan, declared: CompensatePlan, state: InstanceState, desk: Desk, turn: Turn
) -> bool:
    """Advance the further actions that were begun; return whether one of them is still under way."""
    held = False
    for index, item in enumerate(declared.items):
        act = state.acts.get(f"{step_plan.id}/compensate/{index}")
        if isinstance(item, ActPlan) and act is not None and act.status not in TERMINAL:
            machine.advance(item, act, desk, turn)
            held = True
    return held


def _begin(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, item: CompensationItem, desk: Desk
) -> list[Draft]:
    index = step.carried
    match item:
        case FlagPlan():
            body = {"flag": item.flag, "because": f"{step_plan.title} could not be completed", "compensation": index}
            return [draft(Kind.FLAG_SET, desk, step.id, body)]
        case TaskPlan():
            return [_open(plan, step_plan, state, step, item, index, desk)]
        case ActPlan():
            return [_further(plan, state, step, item, index, desk)]


def _open(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, item: TaskPlan, index: int, desk: Desk
) -> Draft:
    try:
        title = item.title.render(step_facts(plan, state, step))
    except ExpressionError:
        title = f"{step_plan.title} by hand"
    return tasks.open_task(
        state,
        desk.now,
        desk.stage,
        about=step.id,
        index=index,
        purpose="step",
        step=step.id,
        system=step_plan.system,
        title=str(title),
        to=item.to,
        due_seconds=item.due_seconds,
        give_up_seconds=item.give_up_seconds,
        escalate=item.escalate,
        form=step_plan.act.action.output if step_plan.act and step_plan.items is None else None,
        check_first=step.effect != "none" or any(state.acts[name].found for name in step.acts),
        facts=step.input if isinstance(step.input, dict) else None,
    )


def _further(plan: Plan, state: InstanceState, step: StepState, item: ActPlan, index: int, desk: Desk) -> Draft:
    act_id = f"{step.id}/compensate/{index}"
    try:
        payload = item.params.render(step_facts(plan, state, step))
    except ExpressionError as error:
        body = {"flag": f"compensation_{index}_failed", "because": error.message, "compensation": index}
        return draft(Kind.FLAG_SET, desk, step.id, body)
    proposed = machine.propose(item, act_id, payload, desk, purpose="compensate", step=step.id, granted_by="definition")
    return Draft(
        kind=proposed.kind,
        at=proposed.at,
        actor=proposed.actor,
        stage=proposed.stage,
        step=proposed.step,
        body={**proposed.body, "compensation": index},
        personal=proposed.personal,
    )


def _disposed(
    plan: Plan, step_plan: StepPlan, declared: CompensatePlan, state: InstanceState, step: StepState, desk: Desk
) -> list[Draft]:
    mine = [t for t in state.tasks.values() if t.step == step.id and t.purpose == "step"]
    by_hand = bool(mine) and all(task.ending == "accepted" for task in mine)
    further = [
        state.acts.get(f"{step.id}/compensate/{index}")
        for index, item in enumerate(declared.items)
        if isinstance(item, ActPlan)
    ]
    acts_done = all(act is not None and act.status is ActStatus.DONE for act in further)
    then = declared.done if (by_hand or (not mine and acts_done)) else declared.not_done
    because = f"{step_plan.title} could not be completed"
    given_up: dict[str, Any] = {"failure": step.failure, "effect": step.effect}
    ended = (
        done_by_hand(step, mine[0], desk, step_plan) if by_hand else draft(Kind.STEP_GIVEN_UP, desk, step.id, given_up)
    )
    return [ended, *_case(plan, step_plan, state, step, then, desk), *turned(then, step_plan, desk, because)]


def done_by_hand(step: StepState, task: TaskState, desk: Desk, step_plan: StepPlan) -> Draft:
    """Return the record of a step that a person did in the system's stead."""
    body: dict[str, Any] = {"output": task.output or {}, "by": task.by, "task": task.id, "system": step_plan.system}
    personal = paths_in(body["output"], step_plan.act.personal_out, ("output",)) if step_plan.act else ()
    return draft(Kind.STEP_DONE_BY_HAND, desk, step.id, body, personal=personal)


def _case(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, then: Disposition, desk: Desk
) -> list[Draft]:
    """Stopping is an end that somebody must own."""
    if then is not Disposition.STOP:
        return []
    return case_of(
        plan,
        step_plan,
        state,
        desk,
        cause="stopped",
        summary=f"{state.title} stopped at {step_plan.title}",
        remedy="Mend the cause and retry the step, or cancel the instance",
        problem=step.problem,
    )
