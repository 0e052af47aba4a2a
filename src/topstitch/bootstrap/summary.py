"""Decides what the instance list says of an instance: stage, status, and on whom or what it waits.

The engine asks after every turn and writes the answer beside the records. Pure; the words
are for a person, so people are named, and so are systems by their titles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.state import ActStatus, InstanceState, StepState
from topstitch.plan.heals import step_of
from topstitch.plan.plan import Plan
from topstitch.reconciliation.decide import next_check
from topstitch.store import Summary

LATER = frozenset({ActStatus.WAITING, ActStatus.DOUBT})
NAMES_MAX = 2
"""How many people are named before the rest is counted."""


def summarise(plan: Plan, state: InstanceState) -> Summary:
    """Return what the instance list shows."""
    if state.ended is not None:
        return Summary(stage=str(state.stage), status=str(state.ended))
    waiting = waiting_on(plan, state)
    asked = StepStatus.ASKING in {step.status for step in state.steps.values()} or _open_tasks(state)
    status = "paused" if state.paused else "waiting" if asked or _at_rest(state) else "running"
    return Summary(stage=str(state.stage), status=status, waiting_on="; ".join(waiting) or None)


def waiting_on(plan: Plan, state: InstanceState) -> list[str]:
    """Return each thing the instance waits for, people first."""
    asking = StepStatus.ASKING
    found = [_approval(plan, step) for step in (*state.steps.values(), *state.heals.values()) if step.status is asking]
    found += [f"{who(task.people, task.to)}: {task.title}" for task in _open_tasks(state)]
    found += [line for step in state.steps.values() if (line := _system(plan, state, step))]
    if not found:
        found += _later(plan, state)
    return found


def who(people: Iterable[Mapping[str, Any]], otherwise: str) -> str:
    """Name the people, or what they were looked for as."""
    names = [str(p.get("name") or p.get("id")) for p in people]
    if not names:
        return otherwise.removeprefix("group:")
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def _approval(plan: Plan, step: StepState) -> str:
    declared = step_of(plan, step.id)
    title, ask = declared.title, declared.approval
    named = ", ".join(ask.ask) if ask else "owner"
    people = step.approval.people if step.approval else ()
    return f"{who(people, named)}: decide on {title}"


def _open_tasks(state: InstanceState) -> list[Any]:
    return [task for task in state.tasks.values() if task.ending is None]


def _system(plan: Plan, state: InstanceState, step: StepState) -> str | None:
    """Say which system a step waits for, when it will be tried again later."""
    if step.wait_until is not None and step.status not in SETTLED and step.status is not StepStatus.ASKING:
        return f"an event for {plan.steps[step.id].title}, until {_at(step.wait_until)}"
    for name in step.acts:
        act = state.acts[name]
        if act.next_at is not None and act.status in LATER:
            system = plan.systems.get(act.system)
            verb = "the next try of" if act.status is ActStatus.WAITING else "finding out about"
            return f"{system.title if system else act.system}: {verb} {plan.steps[step.id].title}"
    return None


def _context(state: InstanceState) -> list[str]:
    """Say what of the context could not be read yet, and when it is tried again."""
    open_ = [
        (name, read) for name, read in state.context_reads.items() if read.again_at is not None and not read.settled
    ]
    if not open_ or state.context_done_at is not None:
        return []
    soonest = min(read.again_at for _, read in open_ if read.again_at is not None)
    return [f"the context: {', '.join(name for name, _ in open_)} could not be read, tried again at {_at(soonest)}"]


def _later(plan: Plan, state: InstanceState) -> list[str]:
    if context := _context(state):
        return context
    if state.executed_at is None:
        unsettled = [step for step in state.steps.values() if step.status not in SETTLED]
        if unsettled and {step.status for step in unsettled} == {StepStatus.WAITING}:
            return [f"the time set for {plan.steps[unsettled[0].id].title}"]
        return []
    due = next_check(plan, state)
    return [f"the check {due[0]} at {_at(due[1])}"] if due else []


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _at_rest(state: InstanceState) -> bool:
    """Whether nothing is under way: all steps are settled and only time has to pass."""
    return state.executed_at is not None
