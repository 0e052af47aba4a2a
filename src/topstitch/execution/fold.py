"""Folds the records of the execution stage into an instance's state.

``lifecycle`` merges ``FOLDS`` with those of acts and the other stages. Records were made by
``decide``, by people and by operators; none is judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from topstitch.attempts.fold import FOLDS as ACT_FOLDS, Entry, Fold, time_of
from topstitch.foundation.canonical import digest
from topstitch.foundation.timetext import parse_time
from topstitch.governance.notify import gathered
from topstitch.model.instance import Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.state import (
    ActState,
    ActStatus,
    ApprovalState,
    CaseState,
    Failure,
    InstanceState,
    StepState,
    TaskState,
)
from topstitch.plan.plan import ActPlan, Plan


def _with(state: InstanceState, step: StepState) -> InstanceState:
    return replace(state, steps={**state.steps, step.id: step})


def _step(state: InstanceState, entry: Entry) -> StepState:
    return state.steps[entry.step or ""]


def _ends(status: StepStatus) -> Fold:
    def fold(state: InstanceState, entry: Entry) -> InstanceState:
        step = _step(state, entry)
        body = entry.body
        failure = body.get("failure")
        step = replace(
            step,
            status=status,
            settled_at=entry.at,
            failure=Failure(failure) if failure else step.failure,
            effect=body.get("effect", step.effect),
        )
        return _with(state, step)

    return fold


def decided(plan: Plan, state: InstanceState, entry: Entry) -> InstanceState:
    """Fold a decision: the step is released with this payload, or asks for it."""
    body = entry.body
    step = _step(state, entry)
    step = replace(
        step,
        decided=body["outcome"],
        gates=tuple(body.get("gates", ())),
        input=body["payload"],
        payload_digest=body["payload_digest"],
        decided_at=step.decided_at or entry.at,
        approval=None,
        resolves=0,
        wait_until=None,
        asks=step.asks + 1,
    )
    state = gathered(state, entry)
    match body["outcome"]:
        case "auto":
            return _released(plan, state, step, "auto", str(entry.actor), entry.at)
        case "deny":
            return _with(state, step)  # the record of its declared ending follows
        case _:
            return _with(state, replace(step, status=StepStatus.ASKING))


def closed(plan: Plan, state: InstanceState, entry: Entry) -> InstanceState:
    """Fold the end of an approval; when it was approved, the step's writes are released."""
    step = _step(state, entry)
    body = entry.body
    waited = step.approval_ms + body["waited_ms"]
    approval = replace(step.approval, ending=body["ending"]) if step.approval else None
    step = replace(step, approval=approval, approval_ms=waited)
    if body["ending"] == "approved":
        return _released(plan, state, step, body["approval"], ",".join(body["by"]), entry.at)
    return _with(state, step)


def _released(plan: Plan, state: InstanceState, step: StepState, decision: str, by: str, at: datetime) -> InstanceState:
    act_plan = plan.steps[step.id].act
    step = replace(step, status=StepStatus.RUNNING, released_by=decision, released_at=at)
    if act_plan is None:
        return _with(state, step)
    many = plan.steps[step.id].items is not None
    doubtful = step.effect != "none"
    payloads = step.input if many else [step.input]
    acts: dict[str, ActState] = {}
    for index, payload in enumerate(payloads):
        name = f"{step.id}[{index}]" if many else step.id
        acts[name] = ActState(
            id=name,
            step=step.id,
            purpose="step",
            system=act_plan.system,
            action=act_plan.action.name,
            payload=payload,
            payload_digest=digest(payload) if many else step.payload_digest or "",
            key=f"{state.id}:{step.id}:{index}" if many else f"{state.id}:{step.id}",
            granted=decision,
            granted_by=by,
            status=_first_status(act_plan, doubtful),
            doubtful=doubtful,
        )
    step = replace(step, acts=tuple(acts))
    return _with(replace(state, acts={**state.acts, **acts}), step)


def _first_status(act_plan: ActPlan, doubtful: bool) -> ActStatus:
    """A write that an earlier carrying-out may have made already is looked up before anything is sent."""
    if doubtful and act_plan.can_look_up:
        return ActStatus.DOUBT
    return ActStatus.GUARD if act_plan.looks_first else ActStatus.READY


def _intended(state: InstanceState, entry: Entry) -> InstanceState:
    state = ACT_FOLDS[Kind.ACT_INTENT](state, entry)
    step = state.steps.get(entry.step or "")
    if step is None or step.started_at is not None or state.acts[entry.body["act"]].purpose != "step":
        return state
    return _with(state, replace(step, started_at=entry.at))


def _sought(state: InstanceState, entry: Entry) -> InstanceState:
    step = _step(state, entry)
    again_at = time_of(entry.body, "again_at")
    if step.approval is not None:  # people are asked already, and more are sought
        approval = replace(step.approval, sought=entry.body["attempt"], again_at=again_at)
        return _with(state, replace(step, approval=approval))
    return _with(state, replace(step, resolves=entry.body["attempt"], wait_until=again_at))


def _asked(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    step = _step(state, entry)
    approval = ApprovalState(
        id=body["approval"],
        step=step.id,
        payload_digest=body["payload_digest"],
        people=_people(body["people"]),
        quorum=body["quorum"],
        asked_at=entry.at,
        give_up_at=parse_time(body["give_up_at"]),
        next_reminder_at=time_of(body, "next_reminder_at"),
        escalations=_escalations(body),
        gates=tuple(body.get("gates", ())),
        barred=_names(body.get("barred")),
        endings=body.get("endings", {}),
    )
    return _with(state, replace(step, approval=approval, wait_until=None))


def _people(people: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(people) if isinstance(people, list) else ()


def _names(names: Any) -> tuple[str, ...]:
    return tuple(names) if isinstance(names, list) else ()


def _escalations(body: Mapping[str, Any]) -> tuple[tuple[datetime, str], ...]:
    return tuple((parse_time(e["at"]), e["to"]) for e in body["escalations"])


def _approval(state: InstanceState, entry: Entry, **changes: Any) -> InstanceState:
    step = _step(state, entry)
    if step.approval is None or step.approval.id != entry.body["approval"]:
        return state
    return _with(state, replace(step, approval=replace(step.approval, **changes)))


def _reminded(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    return _approval(state, entry, reminders=body["times"], next_reminder_at=time_of(body, "next_reminder_at"))


def _escalated(state: InstanceState, entry: Entry) -> InstanceState:
    approval = _step(state, entry).approval
    if approval is None:
        return state
    known = {person["id"] for person in approval.people}
    more = tuple(person for person in _people(entry.body["people"]) if person["id"] not in known)
    people = approval.people + more
    return _approval(state, entry, escalated=approval.escalated + 1, people=people, sought=0, again_at=None)


def _answered(state: InstanceState, entry: Entry) -> InstanceState:
    approval = _step(state, entry).approval
    if approval is None:
        return state
    actor, stood = str(entry.actor), entry.body.get("for")
    stood_for = {**approval.stood_for, actor: stood} if stood else approval.stood_for
    return _approval(state, entry, answers=(*approval.answers, (actor, entry.body["answer"])), stood_for=stood_for)


def _done(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    step = _step(state, entry)
    outputs = [state.acts[name].output for name in step.acts]
    many = bool(step.acts) and step.acts[0] != step.id
    output = body["output"] if "output" in body else {"items": outputs} if many else outputs[0] if outputs else None
    step = replace(step, status=StepStatus.DONE, output=output, found=body["found"], settled_at=entry.at)
    return _with(state, step)


def _failed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    step = _step(state, entry)
    step = replace(
        step,
        status=StepStatus.COMPENSATING,
        failure=Failure(body["failure"]),
        effect=body["effect"],
        problem=body.get("problem"),
        carried=_next_item(state, step.id, 0),
    )
    return _with(state, step)


def _next_item(state: InstanceState, step: str, index: int) -> int:
    """Return the first compensation item from ``index`` on that is not there from before a retry."""
    while f"{step}/compensate/{index}" in state.acts:
        index += 1
    return index


def _by_hand(state: InstanceState, entry: Entry) -> InstanceState:
    step = replace(
        _step(state, entry),
        status=StepStatus.DONE_BY_HAND,
        output=entry.body["output"],
        by_hand=True,
        settled_at=entry.at,
    )
    return _with(state, step)


def _begun(state: InstanceState, entry: Entry) -> InstanceState:
    """Count a compensation item as begun, when the record is of one."""
    index = entry.body.get("compensation")
    if index is None or entry.step is None:
        return state
    return _with(state, replace(_step(state, entry), carried=_next_item(state, entry.step, index + 1)))


def _flagged(state: InstanceState, entry: Entry) -> InstanceState:
    state = replace(state, flags={**state.flags, entry.body["flag"]: True})
    return _begun(state, entry)


def _proposed(state: InstanceState, entry: Entry) -> InstanceState:
    state = _begun(ACT_FOLDS[Kind.ACT_PROPOSED](state, entry), entry)
    step = state.steps.get(entry.step or "")
    undoing = entry.body["purpose"] in ("undo", "find") and step is not None and step.status is not StepStatus.UNDOING
    if undoing and step is not None:
        return _with(state, replace(step, status=StepStatus.UNDOING, settled_at=None))
    return state


def _opened(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    task = TaskState(
        id=body["task"],
        step=entry.step,
        purpose=body["purpose"],
        index=body["index"],
        title=body["title"] if isinstance(body["title"], str) else "",
        to=body["to"],
        people=_people(body["people"]),
        opened_at=entry.at,
        due_at=parse_time(body["due_at"]),
        give_up_at=parse_time(body["give_up_at"]),
        escalations=_escalations(body),
    )
    state = replace(state, tasks={**state.tasks, task.id: task})
    step = state.steps.get(entry.step or "")
    if step is not None and task.purpose == "step":
        state = _with(state, replace(step, carried=_next_item(state, step.id, task.index + 1)))
    return state


def _task(state: InstanceState, entry: Entry, **changes: Any) -> InstanceState:
    task = state.tasks[entry.body["task"]]
    return replace(state, tasks={**state.tasks, task.id: replace(task, **changes)})


def _task_done(state: InstanceState, entry: Entry) -> InstanceState:
    state = _task(state, entry, said="done", output=entry.body["output"], by=str(entry.actor))
    task = state.tasks[entry.body["task"]]
    step = state.steps.get(task.step or "")
    if step is None or task.purpose != "step":
        return state
    effect = "unknown" if step.effect == "none" else step.effect
    return _with(state, replace(step, hand_tried=True, effect=effect))


def _task_failed(state: InstanceState, entry: Entry) -> InstanceState:
    return _task(state, entry, said="failed", by=str(entry.actor))


def _task_reopened(state: InstanceState, entry: Entry) -> InstanceState:
    task = state.tasks[entry.body["task"]]
    state = _task(state, entry, said=None, output=None, by=None)
    proof = state.acts.get(f"{task.step}/by_hand/{task.id}")
    if proof is not None:
        state = replace(state, acts={**state.acts, proof.id: replace(proof, handed_over=True)})
    return state


def _task_escalated(state: InstanceState, entry: Entry) -> InstanceState:
    return _task(state, entry, escalated=entry.body["index"] + 1)


def _task_closed(state: InstanceState, entry: Entry) -> InstanceState:
    if entry.body["task"] not in state.tasks:
        return state  # the retry that withdraws it has forgotten it already
    return _task(state, entry, ending=entry.body["ending"])


def _turned(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    if state.mode is Mode.ROLLING_BACK and body["mode"] == Mode.STOPPING:
        return state
    cancelled = state.cancelled or body.get("cancelled", False)
    return replace(state, mode=Mode(body["mode"]), because=state.because or body["because"], cancelled=cancelled)


def _undo_failed(state: InstanceState, entry: Entry) -> InstanceState:
    step = replace(_step(state, entry), undo_failed=True, status=StepStatus.UNDOING)
    return _with(state, step)


def _waiting(state: InstanceState, entry: Entry) -> InstanceState:
    until = parse_time(entry.body["give_up_at"])
    step = replace(
        _step(state, entry), status=StepStatus.RUNNING, wait_until=until, decided_at=entry.at, started_at=entry.at
    )
    return _with(state, step)


def _offered(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    event = body["event"]
    names = [entry.step] if entry.step else [s.id for s in state.steps.values()]
    for name in names:
        step = state.steps[name or ""]
        known = {(s["event"]["source"], s["event"]["id"]) for s in step.signals}
        if (event["source"], event["id"]) not in known:
            signal = {"event": event, "data": body["data"]}
            state = _with(state, replace(step, signals=(*step.signals, signal)))
    return state


def _looked(state: InstanceState, entry: Entry) -> InstanceState:
    again_at = time_of(entry.body, "again_at")
    step = _step(state, entry)
    if again_at is not None:
        return _with(state, replace(step, look_at=again_at))
    return _with(state, replace(step, looked=True, look_at=None))


def _child_started(state: InstanceState, entry: Entry) -> InstanceState:
    step = replace(_step(state, entry), child=entry.body["instance"], started_at=entry.at, look_at=None)
    return _with(state, step)


def _child_ended(state: InstanceState, entry: Entry) -> InstanceState:
    step = state.steps[entry.step or ""]
    if step.child not in (None, entry.body["instance"]):
        return state  # a retry has started another since
    return _with(state, replace(step, child_end={"end": entry.body["end"]}))


def _case_opened(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    case = CaseState(id=body["case"], about=body["about"], cause=body["cause"], step=entry.step)
    return replace(state, cases={**state.cases, case.id: case})


def _case_closed(state: InstanceState, entry: Entry) -> InstanceState:
    case = replace(state.cases[entry.body["case"]], how=entry.body["how"])
    return replace(state, cases={**state.cases, case.id: case})


def _executed(state: InstanceState, entry: Entry) -> InstanceState:
    return replace(state, executed_at=entry.at, outcome=entry.body["outcome"])


def _telling(fold: Fold) -> Fold:
    return lambda state, entry: gathered(fold(state, entry), entry)


FOLDS: Final[Mapping[str, Fold]] = {
    Kind.ACT_INTENT: _intended,
    Kind.ACT_PROPOSED: _proposed,
    Kind.STEP_SKIPPED: _ends(StepStatus.SKIPPED),
    Kind.STEP_NOT_RUN: _ends(StepStatus.NOT_RUN),
    Kind.STEP_DECLINED: _telling(_ends(StepStatus.DECLINED)),
    Kind.STEP_GIVEN_UP: _ends(StepStatus.GIVEN_UP),
    Kind.STEP_UNDONE: _ends(StepStatus.UNDONE),
    Kind.STEP_UNDONE_BY_HAND: _ends(StepStatus.UNDONE_BY_HAND),
    Kind.STEP_UNDO_OPEN: _ends(StepStatus.UNDO_OPEN),
    Kind.STEP_KEPT: _ends(StepStatus.KEPT),
    Kind.STEP_DONE: _telling(_done),
    Kind.STEP_FAILED: _failed,
    Kind.STEP_DONE_BY_HAND: _by_hand,
    Kind.STEP_UNDO_FAILED: _undo_failed,
    Kind.APPROVERS_SOUGHT: _sought,
    Kind.APPROVAL_ASKED: _telling(_asked),
    Kind.APPROVAL_REMINDED: _telling(_reminded),
    Kind.APPROVAL_ESCALATED: _telling(_escalated),
    Kind.APPROVAL_ANSWERED: _answered,
    Kind.FLAG_SET: _flagged,
    Kind.TASK_OPENED: _telling(_opened),
    Kind.TASK_ESCALATED: _telling(_task_escalated),
    Kind.TASK_DONE: _task_done,
    Kind.TASK_FAILED: _task_failed,
    Kind.TASK_REOPENED: _telling(_task_reopened),
    Kind.TASK_CLOSED: _task_closed,
    Kind.MODE_CHANGED: _turned,
    Kind.WAIT_BEGAN: _waiting,
    Kind.WAIT_LOOKED: _looked,
    Kind.SIGNAL_OFFERED: _offered,
    Kind.WAIT_EXPIRED: lambda state, _entry: state,
    Kind.CHILD_STARTED: _child_started,
    Kind.CHILD_ENDED: _child_ended,
    Kind.CASE_OPENED: _telling(_case_opened),
    Kind.CASE_CLOSED: _case_closed,
    Kind.EXECUTED: _executed,
}
"""Folds that need the state alone."""

PLANNED: Final[Mapping[str, Any]] = {Kind.DECISION: decided, Kind.APPROVAL_CLOSED: closed}
"""Folds that need the plan too: a release makes the acts of its step."""
