"""Decides what there is to know of one instance, gathered from its plan, its state and its records.

``instance show`` prints it and ``--json`` returns it. Everything comes from the journal: no system is
asked (CX-05). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from topstitch.bootstrap.summary import summarise, who
from topstitch.foundation.timetext import duration_text, rfc3339
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.heals import step_of
from topstitch.plan.plan import Plan

UNDONE: Final = (StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND)
DECISIONS: Final = frozenset(
    {Kind.DECISION, Kind.APPROVAL_ANSWERED, Kind.APPROVAL_CLOSED, Kind.STEP_DECLINED, Kind.TASK_DONE, Kind.TASK_FAILED,
     Kind.OPERATOR_COMMANDED, Kind.FLAG_SET, Kind.MODE_CHANGED}
)  # fmt: skip
"""Records in which somebody or some rule chose."""


def view(plan: Plan, state: InstanceState, records: Sequence[Record], now: datetime) -> dict[str, Any]:
    """Return the whole picture as plain data."""
    summary = summarise(plan, state)
    return {
        "id": state.id,
        "title": state.title,
        "workflow": state.workflow,
        "workflow_title": plan.title,
        "version": state.version,
        "digest": state.digest,
        "stage": str(state.stage),
        "status": summary.status,
        "mode": str(state.mode),
        "because": state.because,
        "key": state.correlation,
        "requester": state.requester,
        "started_at": _text(state.started_at),
        "ended_at": rfc3339(records[-1].at) if state.ended else None,
        "end": state.ended,
        "trigger": {**state.event, "data": dict(state.trigger)},
        "waiting": waiting(plan, state, records, now),
        "context": _context(records),
        "steps": [_step(plan, state, name, records) for name in plan.steps],
        "effects": effects(plan, state),
        "undone": [n for n, s in state.steps.items() if s.status in UNDONE],
        "compensated": _compensated(plan, state),
        "decisions": _decisions(records),
        "tasks": [_task(state, record) for record in records if record.kind == Kind.TASK_OPENED],
        "cases": _cases(records),
        "flags": sorted(name for name, value in state.flags.items() if value),
        "checks": _checks(records),
        "discrepancies": _discrepancies(state),
        "notices": _notices(records),
        "records": len(records),
        "head": records[-1].hash.hex(),
    }


def waiting(plan: Plan, state: InstanceState, records: Sequence[Record], now: datetime) -> list[dict[str, Any]]:
    """Return what the instance waits for: what, on whom, since when, until when."""
    found: list[dict[str, Any]] = []
    for step in (*state.steps.values(), *state.heals.values()):
        asked = step.approval
        if step.status is StepStatus.ASKING and asked is not None and asked.ending is None:
            declared = step_of(plan, step.id)
            ask = declared.approval
            found.append(
                _wait(
                    "approval",
                    asked.id,
                    declared.title,
                    asked.people,
                    ", ".join(ask.ask if ask else ()),
                    asked.asked_at,
                    asked.give_up_at,
                    now,
                )
            )
    found += [
        _wait("task", task.id, task.title, task.people, task.to, task.opened_at, task.give_up_at, now)
        for task in state.tasks.values()
        if task.ending is None
    ]
    if not found and state.ended is None:
        said = summarise(plan, state).waiting_on
        if said:
            found.append({"kind": "time", "what": said, "whom": None, "since": rfc3339(records[-1].at)})
    return found


def effects(plan: Plan, state: InstanceState) -> list[dict[str, Any]]:
    """Return what the instance left in each system so far, with the system's own ids."""
    found = []
    for act in state.acts.values():
        if act.output is None or act.purpose not in ("step", "by_hand", "compensate", "ticket"):
            continue
        step = state.steps.get(act.step or "")
        system = plan.systems.get(act.system)
        found.append(
            {
                "step": act.step,
                "act": act.id,
                "system": act.system,
                "connector": system.connector if system else act.system,
                "action": act.action,
                "record": act.record or _id_in(act.output),
                "url": act.url,
                "key": act.key,
                "output": act.output,
                "found": act.found,
                "standing": _standing(step, found=act.found),
                "by_hand": act.purpose == "by_hand",
            }
        )
    return found


def _standing(step: StepState | None, *, found: bool) -> str:
    if step is not None and step.status in UNDONE:
        return "undone"
    if step is not None and step.status is StepStatus.UNDO_OPEN:
        return "could not be undone"
    return "was there before" if found else "in place"


def _id_in(output: Any) -> str | None:
    """Return the first id in an output, for systems that name no record."""
    if isinstance(output, Mapping):
        for name, value in output.items():
            if name.endswith("_id") and isinstance(value, str):
                return value
    return None


def _wait(
    kind: str,
    name: str,
    what: str,
    people: Sequence[Mapping[str, Any]],
    to: str,
    since: datetime,
    until: datetime,
    now: datetime,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": name,
        "what": what,
        "whom": who(people, to),
        "people": [str(p.get("id")) for p in people],
        "since": rfc3339(since),
        "for_seconds": max(0, round((now - since).total_seconds())),
        "until": rfc3339(until),
    }


def _context(records: Sequence[Record]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for record in records:
        status = _CONTEXT.get(record.kind)
        if status is None or "again_at" in record.body:
            continue
        found.append({"read_at": rfc3339(record.at), "status": status, **_some(record.body, _READ)})
    return found


_CONTEXT: Final[Mapping[str, str]] = {
    Kind.CONTEXT_READ: "read",
    Kind.CONTEXT_SKIPPED: "left out",
    Kind.CONTEXT_FAILED: "failed",
}
_READ: Final = (
    "name", "system", "action", "record", "url", "digest", "value", "attempt", "because", "problem", "duration_ms",
)  # fmt: skip


def _step(plan: Plan, state: InstanceState, name: str, records: Sequence[Record]) -> dict[str, Any]:
    step, declared = state.steps[name], plan.steps[name]
    acts = [state.acts[a] for a in step.acts]
    took = (step.settled_at - step.started_at).total_seconds() if step.settled_at and step.started_at else None
    return {
        "id": name,
        "title": declared.title,
        "system": declared.system,
        "status": str(step.status),
        "attempts": sum(act.attempt for act in acts),
        "tries": [_try(r) for r in records if r.step == name and r.kind in TRIES],
        "decided": step.decided,
        "released_by": step.released_by,
        "started_at": _text(step.started_at),
        "settled_at": _text(step.settled_at),
        "duration_ms": round(took * 1000) if took is not None else None,
        "took": duration_text(took) if took is not None else None,
        "approval_ms": step.approval_ms,
        "again_at": next((_text(a.next_at) for a in acts if a.next_at and step.status not in SETTLED), None),
        "input": step.input,
        "output": step.output,
        "failure": str(step.failure) if step.failure else None,
        "problem": step.problem or next((a.problem for a in acts if a.problem), None),
        "found": step.found,
        "not_read_back": declared.no_expect,
        "no_undo": declared.no_undo,
    }


TRIES: Final = frozenset({Kind.ACT_RESULT, Kind.ACT_LOOKED_UP, Kind.ACT_READ_BACK, Kind.ACT_IN_DOUBT})


def _try(record: Record) -> dict[str, Any]:
    names = (
        "act",
        "attempt",
        "result",
        "answer",
        "why",
        "agrees",
        "next",
        "next_at",
        "duration_ms",
        "record",
        "problem",
        "request",
    )
    return {"at": rfc3339(record.at), "kind": record.kind, **_some(record.body, names)}


def _compensated(plan: Plan, state: InstanceState) -> list[dict[str, Any]]:
    """Return what was done about the consequences of steps that could not be completed."""
    return [
        {"step": name, "title": plan.steps[name].title, "items": step.carried, "end": str(step.status)}
        for name, step in state.steps.items()
        if step.carried
    ]


def _decisions(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [_decision(record) for record in records if record.kind in DECISIONS]


_DECIDED: Final = (
    "outcome", "answer", "ending", "because", "comment", "approval", "task", "payload_digest", "payload", "gates",
    "risk", "by", "flag", "mode", "then", "command", "reason", "via", "for", "waited_ms",
)  # fmt: skip


def _decision(record: Record) -> dict[str, Any]:
    return {
        "at": rfc3339(record.at),
        "kind": record.kind,
        "step": record.step,
        "actor": str(record.actor),
        "actor_kind": str(record.actor.kind),
        **_some(record.body, _DECIDED),
    }


def _task(state: InstanceState, record: Record) -> dict[str, Any]:
    task = state.tasks[record.body["task"]]
    return {
        "id": task.id,
        "step": task.step,
        "title": task.title,
        "to": task.to,
        "people": [str(p.get("id")) for p in task.people],
        "purpose": task.purpose,
        "opened_at": rfc3339(task.opened_at),
        "due_at": rfc3339(task.due_at),
        "status": task.ending or task.said or "open",
        "by": task.by,
        "output": task.output,
        "check_first": record.body.get("check_first", False),
        "form": record.body.get("form"),
        "facts": record.body.get("facts"),
    }


def _cases(records: Sequence[Record]) -> list[dict[str, Any]]:
    closed = {r.body["case"]: r for r in records if r.kind == Kind.CASE_CLOSED}
    found = []
    for record in records:
        if record.kind == Kind.CASE_OPENED:
            end = closed.get(record.body["case"])
            names = ("case", "cause", "owner", "summary", "remedy", "seam", "problem", "request", "attempt")
            case = {"opened_at": rfc3339(record.at), "step": record.step, **_some(record.body, names)}
            found.append({**case, "status": "closed" if end else "open", "how": end.body.get("how") if end else None})
    return found


_CHECKED: Final = (
    "record", "system", "verdict", "fields", "again_at", "step_status", "waiting_on", "url", "problem", "read",
)  # fmt: skip


def _checks(records: Sequence[Record]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        body = record.body
        if record.kind == Kind.CHECK_BEGAN:
            found[body["check"]] = {
                "check": body["check"],
                "due_at": body["due_at"],
                "began_at": rfc3339(record.at),
                "late": body["late"],
                "done_at": None,
                "rows": {},
            }
        elif record.kind == Kind.CHECK_READ:
            row = {"at": rfc3339(record.at), "step": record.step, **_some(body, _CHECKED)}
            found[body["check"]]["rows"][body["record"]] = row
        elif record.kind == Kind.CHECK_DONE:
            counts = _some(body, ("matched", "differing", "unverified", "pending"))
            found[body["check"]] |= {"done_at": rfc3339(record.at), **counts}
    return [{**check, "rows": list(check["rows"].values())} for check in found.values()]


def _discrepancies(state: InstanceState) -> list[dict[str, Any]]:
    return [
        {
            "id": d.id,
            "record": d.record,
            "system": d.system,
            "check": d.check,
            "severity": d.severity,
            "fields": list(d.fields),
            "ticket": d.ticket,
            "state": d.status.value,
            "resolved": d.resolved,
        }
        for d in state.discrepancies.values()
    ]


def _notices(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"at": rfc3339(r.at), **_some(r.body, ("about", "who", "people", "notice", "ok", "problem"))}
        for r in records
        if r.kind == Kind.TOLD and "again_at" not in r.body
    ]


def _some(body: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: body[name] for name in names if name in body}


def _text(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
