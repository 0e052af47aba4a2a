"""Decides how an instance comes to rest before it stops or rolls back (``language.md`` 6.2.5).

Nothing new begins; attempts in flight settle; writes in doubt are looked up; approvals and
tasks are withdrawn. Only when every step has come to rest does anything else happen.
"""

from __future__ import annotations

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn, draft
from topstitch.execution import approve, carry
from topstitch.execution.carry import effect_of, not_run, worst
from topstitch.execution.compensate import done_by_hand, open_tasks, proof_id
from topstitch.execution.desk import case_of
from topstitch.execution.rollback import plan_of
from topstitch.governance import tasks
from topstitch.model.instance import Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.model.state import ActState, ActStatus, Failure, InstanceState, StepState, TaskState
from topstitch.plan.plan import Plan, StepPlan


def wind_down(plan: Plan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what brings each step to rest."""
    for name, step_plan in plan.steps.items():
        step, before = state.steps[name], len(turn.drafts)
        match step.status:
            case StepStatus.WAITING:
                _not_run(desk, step, turn)
            case StepStatus.ASKING:
                turn.drafts += approve.withdrawn(step, desk)
                _not_run(desk, step, turn)
            case StepStatus.RUNNING | StepStatus.UNKNOWN:
                _settle_acts(plan, step_plan, state, step, desk, turn)
            case StepStatus.COMPENSATING:
                _withdraw(plan, state, step, desk, turn)
            case _:
                pass
        if state.mode is Mode.STOPPING:
            turn.drafts += _left_behind(plan, step_plan, state, turn.drafts[before:], desk)


def _left_behind(plan: Plan, step_plan: StepPlan, state: InstanceState, drafts: list[Draft], desk: Desk) -> list[Draft]:
    """Open a case where nobody could find out what a step has left: a rollback takes it back, a stop lets it lie."""
    left = any(each.kind == Kind.STEP_GIVEN_UP and each.body["effect"] == "unknown" for each in drafts)
    if not left or any(each.kind == Kind.CASE_OPENED for each in drafts):
        return []
    return case_of(
        plan,
        step_plan,
        state,
        desk,
        cause="left-behind",
        summary=f"{step_plan.title} was given up when {state.title} was stopped, and nobody knows whether it was done",
        remedy="Look in the system, and keep what is there or take it back by hand; then close this",
    )


def _not_run(desk: Desk, step: StepState, turn: Turn) -> None:
    turn.drafts.append(not_run(desk, step))


def _settle_acts(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn
) -> None:
    if step_plan.call is not None:
        turn.drafts += carry.left_behind(plan, step_plan, state, step, desk)
        return
    acts = [state.acts[name] for name in step.acts]
    if not acts:
        _not_run(desk, step, turn)
        return
    if _advance_quietly(plan, state, acts, desk, turn):
        return
    if all(act.status is ActStatus.CALLED_OFF for act in acts):
        _not_run(desk, step, turn)
    elif all(act.status is ActStatus.DONE for act in acts):
        found = all(act.found for act in acts)
        body = {"system": step_plan.system, "found": found, "started_at": None, "duration_ms": None}
        if acts[0].record is not None:
            body["record"] = acts[0].record
        turn.drafts.append(draft(Kind.STEP_DONE, desk, step.id, body))
    else:
        only = worst([act for act in acts if act.status is not ActStatus.DONE])
        failure, effect = only.failure or Failure.REFUSED, effect_of(only)
        if any(act.status is ActStatus.DONE and not act.found for act in acts):
            failure, effect = Failure.SOME_FAILED, "unknown" if effect == "unknown" else "applied"
        body = {"failure": failure, "effect": effect}
        turn.drafts.append(draft(Kind.STEP_GIVEN_UP, desk, step.id, body))


def _advance_quietly(plan: Plan, state: InstanceState, acts: list[ActState], desk: Desk, turn: Turn) -> bool:
    """Bring acts to rest; return whether one of them is still on its way."""
    under_way = False
    for act in acts:
        if act.status in TERMINAL:
            continue
        under_way = True
        act_plan = plan_of(plan, act)
        quiet = machine.quiesce(act_plan, act, desk, confirm=state.mode is Mode.STOPPING)
        if quiet is not None:
            turn.drafts.append(quiet)
        else:
            machine.advance(act_plan, act, desk, turn)
    return under_way


def _withdraw(plan: Plan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    acts = [a for a in state.acts.values() if a.step == step.id and a.purpose in ("compensate", "by_hand")]
    if _advance_quietly(plan, state, acts, desk, turn):
        return
    said = next(
        (task for task in open_tasks(state, step.id) if task.said == "done" and _is_borne_out(state, task)), None
    )
    endings = {task.id: "accepted" if task is said else "withdrawn" for task in open_tasks(state, step.id)}
    turn.drafts += [tasks.close_task(t, desk.now, desk.stage, endings[t.id]) for t in open_tasks(state, step.id)]
    if said is not None:
        turn.drafts.append(done_by_hand(step, said, desk, plan.steps[step.id]))
        return
    turn.drafts.append(draft(Kind.STEP_GIVEN_UP, desk, step.id, {"failure": step.failure, "effect": step.effect}))


def _is_borne_out(state: InstanceState, task: TaskState) -> bool:
    """Whether nothing speaks against what a person says to have done: a read-back that disagrees does."""
    proof = state.acts.get(proof_id(task))
    return proof is None or proof.status is not ActStatus.FAILED
