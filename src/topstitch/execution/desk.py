"""The small change of the execution stage: the facts its steps see, the seam of a failure, and the case of one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from topstitch.attempts.machine import Desk
from topstitch.governance.cases import open_case
from topstitch.governance.policy import NO_LAW, Law
from topstitch.language.expressions import Facts
from topstitch.model.record import Draft, Stage
from topstitch.model.state import ActState, InstanceState, StepState
from topstitch.plan.plan import Plan, StepPlan
from topstitch.plan.scope import facts, step_values

STAGE: Final = Stage.EXECUTION
OWN: Final = frozenset({"step", "found"})
"""What a read-back mostly speaks of: nothing else of the instance need be gathered for it."""


def desk_of(plan: Plan, state: InstanceState, now: datetime, law: Law = NO_LAW) -> Desk:
    """Return the desk at which this stage's acts are carried out."""

    def facts_of(act: ActState, found: Any, roots: frozenset[str]) -> Facts:
        step = {"input": act.payload, "status": "running"}
        if act.output is not None:
            step["output"] = act.output
        if act.step and act.purpose == "undo":
            step = step_values(state.steps[act.step]) | item_values(state, act)
        if roots <= OWN:
            return Facts({"step": step, "found": found}, rates=state.rates)
        return facts(plan, state, step=step, found=found)

    return Desk(instance=state.id, stage=STAGE, now=now, facts=facts_of, law=law)


def item_values(state: InstanceState, undo: ActState) -> dict[str, Any]:
    """Return the input and output of the one act an undo takes back (a step may have many)."""
    done = state.acts.get(undo.id.removesuffix("/undo"))
    step = state.steps[undo.step or ""]
    if done is None or (step.id == done.id and (step.by_hand or step.hand_tried)):
        return {}
    known: dict[str, Any] = {"input": done.payload}
    found = state.acts.get(f"{done.id}/find")
    output = found.output if found is not None and found.output is not None else done.output
    if output is not None:
        known["output"] = output
    return known


def step_facts(plan: Plan, state: InstanceState, step: StepState, **local: Any) -> Facts:
    """Return the facts an expression of ``step`` sees."""
    return facts(plan, state, step=step_values(step), **local)


def case_of(
    plan: Plan,
    step_plan: StepPlan,
    state: InstanceState,
    desk: Desk,
    *,
    cause: str,
    summary: str,
    remedy: str,
    about: str | None = None,
    problem: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    attempt: int | None = None,
) -> list[Draft]:
    """Return the record of a case at a step's seam, about it or something of it; nothing when it is open."""
    case = open_case(
        plan,
        state,
        desk.now,
        desk.stage,
        about=about or step_plan.id,
        cause=cause,
        step=step_plan.id,
        seam=seam_of(plan, step_plan),
        summary=summary,
        remedy=remedy,
        problem=problem,
        request=request,
        attempt=attempt,
    )
    return [case] if case else []


def seam_of(plan: Plan, step_plan: StepPlan) -> dict[str, str]:
    """Return the seam a step stands at: from the system of what it needs last (or the trigger's) to its own."""
    before = plan.steps[step_plan.needs[-1]].system if step_plan.needs else plan.trigger.system
    return {"from_system": plan.connector_of(before), "to_system": plan.connector_of(step_plan.system)}
