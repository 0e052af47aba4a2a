"""Decides how work by hand is opened, chased and closed.

A task stands in for a step, an undo or a ticket that could not be carried out. It has a due
time, people who are added when it grows old, and an end: a task that is never done has a
disposition, declared before launch. What a person returns must have the shape of what the
system would have returned: ``complete_task`` and ``fail_task``, which the doors call, refuse
anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import derived_id
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.duties import Person, folded, is_human, names_of, person_id, presentable
from topstitch.governance.forms import misfits
from topstitch.governance.notify import personal_in, tell
from topstitch.model.action import JsonSchema
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Actor, ActorKind, Draft, Path, Stage
from topstitch.model.state import InstanceState, TaskState
from topstitch.plan.personal import paths_in, patterns
from topstitch.plan.plan import EscalationPlan


def task_id(instance: str, about: str, index: int) -> str:
    """Return the id that follows from what a task stands in for."""
    return derived_id("tsk", instance, about, str(index))


def open_task(  # noqa: PLR0913 -- a task has this many parts
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


def complete_task(
    state: InstanceState,
    task_id: str,
    person: Person,
    output: Mapping[str, Any] | None,
    comment: str | None,
    now: datetime,
    *,
    form: JsonSchema | None = None,
) -> Draft:
    """Return the record that a person did the work; raise when it is not theirs or not what was asked for.

    ``form`` is the schema that the task was opened with. Whether the system agrees with what was
    done is read back later, by the engine.
    """
    task = _open_task_of(state, task_id, person, now)
    handed_in = dict(output or {})
    wrong = misfits(handed_in, form or {})
    if wrong:
        said = "; ".join(f"{misfit.field} {misfit.detail}" for misfit in wrong)
        detail = {"misfits": [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in wrong]}
        raise RequestError(
            "form", f"What was handed in does not fit: {said}; correct that and hand it in again", detail=detail
        )
    body = {"task": task.id, "output": handed_in}
    return _said(
        task, now, person, Kind.TASK_DONE, body, comment, paths_in(handed_in, patterns(form or {}), ("output",))
    )


def fail_task(state: InstanceState, task_id: str, person: Person, comment: str | None, now: datetime) -> Draft:
    """Return the record that the work cannot be done; raise when it is not theirs or they do not say why."""
    task = _open_task_of(state, task_id, person, now)
    if not (comment or "").strip():
        raise RequestError("reason-missing", "A task that cannot be done needs a reason; say why in the comment")
    return _said(task, now, person, Kind.TASK_FAILED, {"task": task.id}, comment, ())


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


def _open_task_of(state: InstanceState, identity: str, person: Person, now: datetime) -> TaskState:
    task = state.tasks.get(identity)
    if task is None:
        raise NotFoundError("no-such-task", f"There is no task {identity}; list them with: topstitch tasks list")
    if task.ending is not None:
        raise ConflictError("task-closed", f"The task is closed already: {task.ending}; nothing more is needed")
    if task.said is not None:
        raise ConflictError(
            "task-answered", f"{task.by or 'Somebody'} said already: {task.said}; wait for it to be read back"
        )
    if now >= task.give_up_at:
        raise ConflictError(
            "too-late", f"The task ended at {rfc3339(task.give_up_at)}; ask the owner to retry the step"
        )
    if not is_human(person):
        raise NotAllowedError("not-a-person", "A task is done by a person; ask one of the people it was given to")
    if not _is_theirs(task, person):
        raise NotAllowedError(
            "not-yours", f"This task was given to {task.to}; ask them, or an operator, to say that it is done"
        )
    return task


def _is_theirs(task: TaskState, person: Person) -> bool:
    """Whether the task was given to this person, to a group or role of theirs, or they operate the workflow."""
    names = names_of(person)
    if any(names & names_of(one) for one in task.people) or "operator" in (person.get("roles") or ()):
        return True
    given = (task.to, *(to for _, to in task.escalations[: task.escalated]))
    mine = {f"group:{group}" for group in person.get("groups") or ()} | {
        f"role:{role}" for role in person.get("roles") or ()
    }
    return any(who in mine or folded(who) in names for who in given)


def _said(
    task: TaskState,
    now: datetime,
    person: Person,
    kind: Kind,
    body: dict[str, Any],
    comment: str | None,
    personal: tuple[Path, ...],
) -> Draft:
    said = presentable(comment or "").strip()
    if said:
        body, personal = {**body, "comment": said}, (*personal, ("comment",))
    actor = Actor(ActorKind.HUMAN, person_id(person))
    return Draft(kind=kind, at=now, actor=actor, stage=Stage.EXECUTION, step=task.step, body=body, personal=personal)
