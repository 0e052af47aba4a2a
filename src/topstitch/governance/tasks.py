"""Decides how work by hand is opened, chased and closed.

A task stands in for a step, an undo or a ticket that could not be carried out. It has a due
time, people who are added when it grows old, and an end: a task that is never done has a
disposition, declared before launch. What a person returns must have the shape of what the
system would have returned: ``by_hand`` sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch.foundation.ids import derived_id
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.notify import personal_in, tell
from topstitch.model.action import JsonSchema
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.model.state import InstanceState, TaskState
from topstitch.plan.plan import EscalationPlan


def task_id(instance: str, about: str, index: int) -> str:
    """Return the id that follows from what a task stands in for."""
    return derived_id("tsk", instance, about, str(index))


def open_task(
    state: InstanceState,
    now: datetime,
    stage: Stage,
    *,
    about: str,
    index: int,
    purpose: str,
    step: str | None,
    system: str,
    title: str,
    to: str,
    due_seconds: int,
    give_up_seconds: int,
    escalate: tuple[EscalationPlan, ...] = (),
    form: JsonSchema | None = None,
    check_first: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Draft:
    """Return the record that opens a task. ``form`` is the schema of what must be handed in with it.

    ``check_first`` warns that the system may have done the work already: look before doing it again.
    """
    identity = task_id(state.id, about, index)
    due_at, give_up_at = now + timedelta(seconds=due_seconds), now + timedelta(seconds=give_up_seconds)
    body: dict[str, Any] = {
        "task": identity,
        "about": about,
        "index": index,
        "purpose": purpose,
        "system": system,
        "title": title,
        "to": to,
        "people": [],
        "form": form or {},
        "check_first": check_first,
        "due_at": rfc3339(due_at),
        "give_up_at": rfc3339(give_up_at),
        "escalations": [
            {"at": rfc3339(now + timedelta(seconds=e.after_seconds)), "to": e.to}
            for e in escalate
            if e.after_seconds < give_up_seconds
        ],
    }
    if facts:
        body["facts"] = facts
    first = "First look whether it is there already: the system went silent after the request. " if check_first else ""
    text = f"{title}. {first}Due {rfc3339(due_at)}. When it is done: topstitch tasks done {identity}"
    body["tell"] = [tell(identity, "opened", (to,), {"kind": "task", "title": title, "text": text, "task": identity})]
    personal = (("title",), *((("facts",),) if facts else ()), *personal_in(body))
    return Draft(kind=Kind.TASK_OPENED, at=now, actor=ENGINE, stage=stage, step=step, body=body, personal=personal)


def chase(task: TaskState, now: datetime, stage: Stage) -> tuple[list[Draft], datetime | None]:
    """Return what an open task needs now (more people, or its end), and when to look again."""
    if now >= task.give_up_at:
        return [close_task(task, now, stage, "expired")], None
    if task.escalated < len(task.escalations):
        at, to = task.escalations[task.escalated]
        if now >= at:
            return [_escalated(task, now, stage, to)], None
        return [], min(at, task.give_up_at)
    return [], task.give_up_at


def close_task(task: TaskState, now: datetime, stage: Stage, ending: str) -> Draft:
    """Return the record that closes a task: accepted, failed, expired or withdrawn."""
    body = {"task": task.id, "ending": ending}
    return Draft(kind=Kind.TASK_CLOSED, at=now, actor=ENGINE, stage=stage, step=task.step, body=body)


def reopen_task(task: TaskState, now: datetime, stage: Stage, because: str) -> Draft:
    """Return the record that gives a task back to its people."""
    text = f"{task.title}: {because}"
    notice = {"kind": "task", "title": task.title, "text": text, "task": task.id}
    people = [dict(person) for person in task.people]
    body: dict[str, Any] = {"task": task.id, "because": because}
    body["tell"] = [tell(task.id, f"reopened/{rfc3339(now)}", (task.to,), notice, people)]
    return Draft(
        kind=Kind.TASK_REOPENED,
        at=now,
        actor=ENGINE,
        stage=stage,
        step=task.step,
        body=body,
        personal=personal_in(body),
    )


def _escalated(task: TaskState, now: datetime, stage: Stage, to: str) -> Draft:
    notice = {"kind": "task", "title": task.title, "text": f"{task.title}: not done yet, so you are asked as well"}
    body: dict[str, Any] = {"task": task.id, "index": task.escalated, "to": to, "people": []}
    body["tell"] = [tell(task.id, f"escalated/{task.escalated}", (to,), notice)]
    return Draft(
        kind=Kind.TASK_ESCALATED,
        at=now,
        actor=ENGINE,
        stage=stage,
        step=task.step,
        body=body,
        personal=personal_in(body),
    )
