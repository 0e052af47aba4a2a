"""Tells what a record means in a plain sentence: for ``instance watch``, ``audit show`` and the demo.

A ``Teller`` knows one plan, for the titles of steps and systems. Records that carry evidence only have
no sentence. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from topstitch.bootstrap.summary import who
from topstitch.foundation.timetext import parse_time
from topstitch.model.kinds import Kind
from topstitch.model.record import ActorKind, Record
from topstitch.plan.plan import Plan

Body = Mapping[str, Any]


class Teller:
    """Turns records of one definition version into sentences."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def sentence(self, record: Record) -> str | None:
        """Return the sentence for a record, or nothing when it is not worth one."""
        tell = _SENTENCES.get(record.kind)
        return tell(self, record, record.body) if tell else None

    def step(self, record: Record) -> str:
        """Return a step's title."""
        step = self._plan.steps.get(record.step or "")
        return step.title if step else record.step or "the instance"

    def system(self, alias: str | None) -> str:
        """Return a system's title."""
        system = self._plan.systems.get(alias or "")
        return system.title if system else alias or "the system"

    def started(self, r: Record, b: Body) -> str:
        event = b["event"]
        title = b["title"] if isinstance(b["title"], str) else "(erased)"
        return f"{title}: {self._plan.title} starts, because {event['source']} sent {event['type']} ({event['id']})"

    def stage(self, _r: Record, b: Body) -> str | None:
        return "the context is complete; nothing has been written so far" if b["stage"] == "execution" else None

    def context_failed(self, _r: Record, b: Body) -> str:
        what = f"{self.system(b.get('system'))} did not answer for {b['name']}: {_said(b.get('problem'))}"
        return f"{what}; asked again {_later(b)}" if "again_at" in b else f"{what}; that was the last try"

    def skipped(self, r: Record, _b: Body) -> str:
        return f"{self.step(r)} is not needed here"

    def not_run(self, r: Record, b: Body) -> str:
        return (
            f"{self.step(r)} is left out: {b['because']} ({', '.join(b['steps'])})"
            if b.get("steps")
            else f"{self.step(r)} is left out: {b['because']}"
        )

    def declined(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} is declined: {b['because']}"

    def decision(self, r: Record, b: Body) -> str | None:
        if b["outcome"] == "auto":
            return None
        return f"{self.step(r)} needs a person's decision"

    def asked(self, r: Record, b: Body) -> str:
        people = who(b["people"] if isinstance(b["people"], list) else [], ", ".join(b["from"]))
        return f"to decide on {self.step(r)}: {people} ({b['approval']})"

    def reminded(self, r: Record, _b: Body) -> str:
        return f"a reminder goes out for the decision on {self.step(r)}"

    def escalated(self, r: Record, b: Body) -> str:
        people = who(b["people"] if isinstance(b["people"], list) else [], b["to"])
        return f"nobody has decided on {self.step(r)} yet; asked as well: {people}"

    def answered(self, r: Record, b: Body) -> str:
        verb = "approves" if b["answer"] == "approve" else "refuses"
        comment = f": {b['comment']}" if isinstance(b.get("comment"), str) else ""
        return f"{_actor(r)} {verb} {self.step(r)}{comment}"

    def closed(self, r: Record, b: Body) -> str | None:
        if b["ending"] in ("approved", "refused"):
            return None
        return f"the question about {self.step(r)} is {b['ending']}"

    def result(self, r: Record, b: Body) -> str | None:
        system = self.system(self._alias(r, b))
        match b["result"]:
            case "ok":
                return None
            case "unknown":
                return f"{system} went silent during {self._act(r, b)}; it is asked whether it happened"
            case _ if b.get("next") == "waiting":
                return f"{system} does not take {self._act(r, b)}: {_said(b.get('problem'))}; try {b['attempt'] + 1} {_later(b)}"
            case _:
                return f"{system} does not take {self._act(r, b)}: {_said(b.get('problem'))}"

    def looked_up(self, r: Record, b: Body) -> str | None:
        system = self.system(self._alias(r, b))
        if b["why"] == "guard":
            return f"{system} has {self._act(r, b)} already" if b["answer"] == "found" else None
        if b["answer"] == "found":
            return f"{system} confirms that {self._act(r, b)} happened"
        return f"{system} has no trace of {self._act(r, b)}" if b["answer"] == "absent" else None

    def done(self, r: Record, b: Body) -> str:
        record = f" ({b['record']})" if isinstance(b.get("record"), str) else ""
        return f"{self.step(r)} is done and read back from {self.system(b.get('system'))}{record}"

    def failed(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} cannot be completed: {_said(b.get('problem')) or b['failure']}"

    def by_hand(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} was done by hand by {str(b['by']).removeprefix('human:')}"

    def given_up(self, r: Record, _b: Body) -> str:
        return f"{self.step(r)} is given up"

    def flag(self, _r: Record, b: Body) -> str:
        return f"noted: {b['flag'].replace('_', ' ')}"

    def task_opened(self, _r: Record, b: Body) -> str:
        title = b["title"] if isinstance(b["title"], str) else "(erased)"
        return f"a task for {b['to'].removeprefix('group:')}: {title} ({b['task']})"

    def task_escalated(self, _r: Record, b: Body) -> str:
        return f"the task {b['task']} is late; asked as well: {b['to'].removeprefix('group:')}"

    def task_done(self, r: Record, b: Body) -> str:
        return f"{_actor(r)} hands in the task {b['task']}"

    def task_failed(self, r: Record, b: Body) -> str:
        return f"{_actor(r)} cannot do the task {b['task']}"

    def task_reopened(self, _r: Record, b: Body) -> str:
        return f"the task {b['task']} is open again: {b['because']}"

    def mode(self, _r: Record, b: Body) -> str:
        return f"the instance is {str(b['mode']).replace('_', ' ')}: {b['because']}"

    def undone(self, r: Record, _b: Body) -> str:
        return f"{self.step(r)} is undone"

    def undo_failed(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} could not be undone: {_said(b.get('problem')) or b['failure']}"

    def kept(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} stays: {b['because']}"

    def waits(self, r: Record, b: Body) -> str:
        return f"{self.step(r)} waits for {b['event']}"

    def told(self, _r: Record, b: Body) -> str | None:
        if not b["ok"]:
            return None if "again_at" in b else f"a notice to {', '.join(b['who'])} could not be sent"
        if b["notice"]["kind"] in ("approval", "reminder", "task", "case"):
            return None
        people = who(b["people"] if isinstance(b["people"], list) else [], ", ".join(b["who"]))
        return f"told of it: {people}"

    def case(self, _r: Record, b: Body) -> str:
        summary = b["summary"] if isinstance(b["summary"], str) else "(erased)"
        return f"an exception for {b['owner']}: {summary}"

    def executed(self, _r: Record, b: Body) -> str:
        return f"every step has settled ({str(b['outcome']).replace('_', ' ')}); the systems are checked from now on"

    def check_began(self, _r: Record, b: Body) -> str | None:
        return f"the check {b['check']} begins{' late' if b['late'] else ''}"

    def check_read(self, _r: Record, b: Body) -> str | None:
        match b["verdict"]:
            case "suspected":
                return f"{self.system(b['system'])} is not as it should be ({_fields(b)}); read again {_later(b)}"
            case "differs":
                return f"{self.system(b['system'])} differs: {_fields(b)}"
            case "unverified":
                return f"{self.system(b['system'])} cannot be read, so nothing is said of it"
            case "pending":
                return f"{self.system(b['system'])} is not compared yet: it waits for {', '.join(b.get('waiting_on', [])) or 'a person'}"
            case _:
                return None

    def ticketed(self, _r: Record, b: Body) -> str:
        ticket = b.get("ticket")
        name = ticket.get("number") or ticket.get("exception_id") if isinstance(ticket, Mapping) else ticket
        return f"an exception ticket says so: {name}"

    def resolved(self, _r: Record, b: Body) -> str:
        return f"the difference is gone ({b['how']})"

    def check_done(self, _r: Record, b: Body) -> str:
        parts = [f"{b[n]} {word}" for n, word in _COUNTS if b.get(n)]
        return f"the check {b['check']} is done: {', '.join(parts) or 'nothing to compare'}"

    def ended(self, _r: Record, b: Body) -> str:
        residue = f"; what stays: {', '.join(r['step'] for r in b['residue'])}" if b.get("residue") else ""
        return f"ended: {str(b['end']).replace('_', ' ')}{residue}"

    def commanded(self, r: Record, b: Body) -> str:
        return f"{_actor(r)} commands {b['command']}: {b.get('reason', '')}"

    def refused(self, _r: Record, b: Body) -> str:
        return f"refused: {b['what']} ({b['because']})"

    def _alias(self, r: Record, b: Body) -> str | None:
        if isinstance(b.get("system"), str):
            return str(b["system"])
        step = self._plan.steps.get(r.step or "")
        if step is not None:
            return step.system
        return self._plan.reconcile.ticket.system if str(b.get("act", "")).startswith("@reconcile/") else None

    def _act(self, r: Record, b: Body) -> str:
        """Name what is being written, for a step's own write and for those around it."""
        title, act = self.step(r), str(b.get("act", ""))
        if act.endswith("/undo"):
            return f"the undo of {title}"
        if act.startswith("@reconcile/"):
            return "the exception ticket"
        return title


_COUNTS: Final = (
    ("matched", "as it should be"),
    ("differing", "different"),
    ("unverified", "not readable"),
    ("pending", "waiting"),
)
_SENTENCES: Final[Mapping[str, Callable[[Teller, Record, Body], str | None]]] = {
    Kind.STARTED: Teller.started,
    Kind.STAGE_ENTERED: Teller.stage,
    Kind.CONTEXT_FAILED: Teller.context_failed,
    Kind.STEP_SKIPPED: Teller.skipped,
    Kind.STEP_NOT_RUN: Teller.not_run,
    Kind.STEP_DECLINED: Teller.declined,
    Kind.DECISION: Teller.decision,
    Kind.APPROVAL_ASKED: Teller.asked,
    Kind.APPROVAL_REMINDED: Teller.reminded,
    Kind.APPROVAL_ESCALATED: Teller.escalated,
    Kind.APPROVAL_ANSWERED: Teller.answered,
    Kind.APPROVAL_CLOSED: Teller.closed,
    Kind.ACT_RESULT: Teller.result,
    Kind.ACT_LOOKED_UP: Teller.looked_up,
    Kind.STEP_DONE: Teller.done,
    Kind.STEP_FAILED: Teller.failed,
    Kind.STEP_DONE_BY_HAND: Teller.by_hand,
    Kind.STEP_GIVEN_UP: Teller.given_up,
    Kind.FLAG_SET: Teller.flag,
    Kind.TASK_OPENED: Teller.task_opened,
    Kind.TASK_ESCALATED: Teller.task_escalated,
    Kind.TASK_DONE: Teller.task_done,
    Kind.TASK_FAILED: Teller.task_failed,
    Kind.TASK_REOPENED: Teller.task_reopened,
    Kind.MODE_CHANGED: Teller.mode,
    Kind.STEP_UNDONE: Teller.undone,
    Kind.STEP_UNDONE_BY_HAND: Teller.undone,
    Kind.STEP_UNDO_FAILED: Teller.undo_failed,
    Kind.STEP_KEPT: Teller.kept,
    Kind.WAIT_BEGAN: Teller.waits,
    Kind.TOLD: Teller.told,
    Kind.CASE_OPENED: Teller.case,
    Kind.EXECUTED: Teller.executed,
    Kind.CHECK_BEGAN: Teller.check_began,
    Kind.CHECK_READ: Teller.check_read,
    Kind.DISCREPANCY_TICKETED: Teller.ticketed,
    Kind.DISCREPANCY_RESOLVED: Teller.resolved,
    Kind.CHECK_DONE: Teller.check_done,
    Kind.ENDED: Teller.ended,
    Kind.OPERATOR_COMMANDED: Teller.commanded,
    Kind.ATTEMPT_REFUSED: Teller.refused,
}


def _said(problem: object) -> str:
    if not isinstance(problem, Mapping):
        return ""
    status = f" ({problem['status']})" if problem.get("status") else ""
    return f"{str(problem.get('message', problem.get('code', ''))).split('; ')[0]}{status}"


def _later(body: Body) -> str:
    when = body.get("again_at") or body.get("next_at")
    return f"at {parse_time(when).strftime('%H:%M:%S')}" if isinstance(when, str) else "later"


def _fields(body: Body) -> str:
    wrong = [f for f in body.get("fields", ()) if f.get("verdict") not in ("match", "as_expected")]
    return "; ".join(
        f"{f['field']} is {_shown(f.get('observed'))}, intended {_shown(f.get('intended'))}" for f in wrong
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _actor(record: Record) -> str:
    return record.actor.id if record.actor.kind is ActorKind.HUMAN else str(record.actor)
