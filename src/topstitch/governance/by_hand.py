"""Decides whether what a person says of a task counts, and makes the record of it.

The doors call ``finished`` and ``could_not`` with the instance's state as it stands. A task that stands
in for a step returns what the system would have returned: it is held against the task's
form, and every field that does not fit is named. Whether the work can be read back from the
system, the execution stage finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.approvals import find_person
from topstitch.governance.duties import Person, folded, is_human, names_of, person_of, presentable
from topstitch.governance.forms import misfits
from topstitch.model.action import JsonSchema
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path
from topstitch.model.state import InstanceState, TaskState

Form = JsonSchema


def finished(
    state: InstanceState,
    task: str,
    person: str | Person,
    output: Mapping[str, Any],
    form: Form,
    now: datetime,
    *,
    comment: str | None = None,
) -> Draft:
    """Return the record that a task is done; raise when it is closed, not theirs, or the form is not filled in."""
    open_task = _open(state, task, now)
    actor = _actor(open_task, person)
    wrong = misfits(output, form) if form else []
    if wrong:
        named = "; ".join(f"{m.field} {m.detail}" for m in wrong[:5])
        message = f"what {task} returns does not fit: {named}; give each with --output name=value"
        errors = [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in wrong]
        raise RequestError("form-unfilled", message, detail={"errors": errors})
    body: dict[str, Any] = {"task": task, "output": dict(output)}
    personal: list[Path] = [("output",)] if output else []
    if comment:
        body["comment"] = presentable(comment)
        personal.append(("comment",))
    return Draft(
        kind=Kind.TASK_DONE,
        at=now,
        actor=actor,
        stage=state.stage,
        step=open_task.step,
        body=body,
        personal=tuple(personal),
    )


def could_not(state: InstanceState, task: str, person: str | Person, because: str, now: datetime) -> Draft:
    """Return the record that a task cannot be done."""
    open_task = _open(state, task, now)
    return Draft(
        kind=Kind.TASK_FAILED,
        at=now,
        actor=_actor(open_task, person),
        stage=state.stage,
        step=open_task.step,
        body={"task": task, "comment": presentable(because)},
        personal=(("comment",),),
    )


def _open(state: InstanceState, task: str, now: datetime) -> TaskState:
    found = state.tasks.get(task)
    if found is None:
        raise NotFoundError("no-task", f"{state.id} has no task {task}; see what is open with: topstitch tasks list")
    if found.ending is not None or found.said is not None:
        by = f" by {found.by.removeprefix('human:')}" if found.by else ""
        said = found.ending or f"handed in as {found.said}"
        raise ConflictError("task-closed", f"{task} is {said}{by} already; see the instance for what followed")
    if now >= found.give_up_at:
        message = (
            f"{task} ended at {rfc3339(found.give_up_at)} and was not done by then; see the instance for what followed"
        )
        raise ConflictError("task-closed", message)
    return found


def _actor(task: TaskState, person: str | Person) -> Actor:
    """Return who did it: one of those whose task it is, once they are known, or an operator in their stead."""
    speaker = person_of(person)
    if not is_human(speaker):
        message = f"{speaker['id']} is no person and may only propose; ask one of those whose task {task.id} is"
        raise NotAllowedError("not-a-person", message)
    known = find_person(task.people, speaker)
    if known is None and task.people and not _is_given_to(task, speaker):
        names = ", ".join(str(p.get("id")) for p in task.people)
        message = f"{task.id} is a task of {task.to}; one of these may hand it in: {names} (say who you are with --as)"
        raise NotAllowedError("not-yours", message)
    return Actor(ActorKind.HUMAN, str((known or speaker)["id"]).removeprefix("human:"))


def _is_given_to(task: TaskState, person: Person) -> bool:
    """Whether a group or role of this person was given the task, was added as it grew old, or operates the workflow."""
    roles = tuple(person.get("roles") or ())
    mine = {f"group:{group}" for group in person.get("groups") or ()} | {f"role:{role}" for role in roles}
    given = (task.to, *(to for _, to in task.escalations[: task.escalated]))
    return "operator" in roles or any(who in mine or folded(who) in names_of(person) for who in given)
