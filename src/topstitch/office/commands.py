"""Says in sentences what a command changes, each consequence named with its system; nothing is recorded.

Console and API preview a command with it, and batches preview many.
"""

from __future__ import annotations

from collections.abc import Sequence

from topstitch import lifecycle
from topstitch.execution.operate import Command
from topstitch.model.instance import StepStatus
from topstitch.model.record import Actor
from topstitch.model.state import InstanceState
from topstitch.office.desk import Desk
from topstitch.plan.plan import Plan


async def preview(desk: Desk, instance: str, command: Command, actor: Actor) -> Sequence[str]:
    """Return what a command would do; raise as the command itself would."""
    seen = await desk.picture(instance)
    now = max(desk.now(), seen.records[-1].at)
    after = seen.state
    for draft in lifecycle.operate(seen.plan, seen.state, command, actor, now):
        after = lifecycle.fold(seen.plan, after, draft)
    return sentences(seen.plan, seen.state, after, command)


def sentences(plan: Plan, before: InstanceState, after: InstanceState, command: Command) -> list[str]:
    """Say what a command changes, each consequence named with its system."""
    said = []
    for name, step in plan.steps.items():
        old, new = before.steps[name].status, after.steps[name].status
        if old is not new:
            said.append(f"{step.title}: {_word(old)} becomes {_word(new)}.")
    if command.name == "cancel" and command.choice == "rollback":
        said += _undos(plan, after)
    elif command.name == "cancel":
        done = [
            plan.steps[n].title
            for n, s in after.steps.items()
            if s.status in (StepStatus.DONE, StepStatus.DONE_BY_HAND)
        ]
        said.append(f"Nothing new is started. What is done stays: {', '.join(done) or 'nothing yet'}.")
    if before.paused is not after.paused:
        said.append("No new call is made until it is resumed." if after.paused else "Calls are made again from now on.")
    return said or ["Nothing else changes."]


def _undos(plan: Plan, state: InstanceState) -> list[str]:
    said = []
    for name in plan.undo_order:
        step, plan_step = state.steps[name], plan.steps[name]
        if step.status not in (StepStatus.DONE, StepStatus.DONE_BY_HAND) or step.found:
            continue
        system = plan.systems[plan_step.system].title if plan_step.system in plan.systems else "Topstitch"
        said.append(
            f"{system}: {plan_step.undo.action.name.replace('_', ' ')} ({plan_step.title})."
            if plan_step.undo
            else f"{system}: {plan_step.title} stays, because {plan_step.no_undo or 'nothing undoes it'}."
        )
    return said or ["Nothing was done yet, so nothing has to be taken back."]


def _word(status: StepStatus) -> str:
    return str(status).replace("_", " ")
