"""Tells what a record means in a plain sentence: for ``instance watch``, ``audit show`` and the demo.

A ``Teller`` knows one plan, for the titles of steps and systems. Records that carry evidence only have
no sentence. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from topstitch.bootstrap.summary import who
from topstitch.cli.screen import plain
from topstitch.foundation.timetext import parse_time
from topstitch.model.kinds import Kind
from topstitch.model.record import ActorKind, Record
from topstitch.plan.heals import heal_step, is_heal
from topstitch.plan.plan import Plan

Body = Mapping[str, Any]
NAME_CHARS: Final = 20
UNKNOWN_IN: Final = "nobody could find out"
"""What a residue says of a thing that may be there, or may not (``lifecycle.LEFT``)."""
"""A record's name that is longer is no name to a person; the journal has it."""


def _as_it_is(moment: datetime) -> datetime:
    return moment


class Teller:
    """Turns records of one definition version into sentences; ``here`` puts a time into the zone of whoever reads."""

    def __init__(self, plan: Plan, here: Callable[[datetime], datetime] = _as_it_is) -> None:
        self.plan, self.here = plan, here

    def sentence(self, record: Record) -> str | None:
        """Return the sentence for a record, or nothing when it is not worth one."""
        tell = _SENTENCES.get(record.kind)
        return tell(self, record, record.body) if tell else None

    def step(self, record: Record) -> str:
        """Return a step's title."""
        step = heal_step(self.plan, record.step or "") if is_heal(record.step) else None
        step = step or self.plan.steps.get(record.step or "")
        return step.title if step else record.step or "the instance"

    def system(self, alias: str | None) -> str:
        """Return a system's title."""
        system = self.plan.systems.get(alias or "")
        return system.title if system else alias or "the system"


def _started(t: Teller, _r: Record, b: Body) -> str:
    event = b["event"]
    title = b["title"] if isinstance(b["title"], str) else "(erased)"
    return f"{title}: {t.plan.title} starts, because {event['source']} sent {event['type']} ({event['id']})"


def _stage(_t: Teller, _r: Record, b: Body) -> str | None:
    return "the context is complete; nothing has been written so far" if b["stage"] == "execution" else None


def _context_failed(t: Teller, _r: Record, b: Body) -> str:
    what = f"{t.system(b.get('system'))} did not answer for {b['name']}: {_said(b.get('problem'))}"
    return f"{what}; asked again {_later(t, b)}" if "again_at" in b else f"{what}; that was the last try"


def _skipped(t: Teller, r: Record, _b: Body) -> str:
    return f"{t.step(r)} is not needed here"


def _not_run(t: Teller, r: Record, b: Body) -> str:
    return (
        f"{t.step(r)} is left out: {b['because']} ({', '.join(b['steps'])})"
        if b.get("steps")
        else f"{t.step(r)} is left out: {b['because']}"
    )


def _declined(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} is declined: {b['because']}"


def _decision(t: Teller, r: Record, b: Body) -> str | None:
    if b["outcome"] == "auto":
        return None
    false = [_false(rule) for rule in b.get("because", ()) if isinstance(rule, Mapping) and "condition" in rule]
    return f"{t.step(r)} needs a person's decision" + (f": {'; '.join(false)}" if false else "")


def _false(rule: Mapping[str, Any]) -> str:
    """Say of a condition that it is false, and what it read."""
    read = rule.get("read")
    seen = ", ".join(f"{name} = {plain(value)}" for name, value in read.items()) if isinstance(read, Mapping) else ""
    return f"{rule['condition']} is false" + (f" ({seen})" if seen else "")


def _asked(t: Teller, r: Record, b: Body) -> str:
    people = who(b["people"] if isinstance(b["people"], list) else [], ", ".join(b["from"]))
    return f"to decide on {t.step(r)}: {people} ({b['approval']})"


def _reminded(t: Teller, r: Record, _b: Body) -> str:
    return f"a reminder goes out for the decision on {t.step(r)}"


def _escalated(t: Teller, r: Record, b: Body) -> str:
    people = who(b["people"] if isinstance(b["people"], list) else [], b["to"])
    return f"nobody has decided on {t.step(r)} yet; asked as well: {people}"


def _answered(t: Teller, r: Record, b: Body) -> str:
    verb = "approves" if b["answer"] == "approve" else "refuses"
    comment = f": {b['comment']}" if isinstance(b.get("comment"), str) else ""
    return f"{_actor(r)} {verb} {t.step(r)}{comment}"


def _closed(t: Teller, r: Record, b: Body) -> str | None:
    if b["ending"] in ("approved", "refused"):
        return None
    return f"the question about {t.step(r)} is {b['ending']}"


def _result(t: Teller, r: Record, b: Body) -> str | None:
    system = t.system(_alias(t, r, b))
    match b["result"]:
        case "ok":
            return None
        case "unknown":
            return f"{system} went silent during {_act(t, r, b)}; it is asked whether it happened"
        case _ if b.get("next") == "waiting":
            why = _said(b.get("problem"))
            return f"{system} does not take {_act(t, r, b)}: {why}; try {b['attempt'] + 1} {_later(t, b)}"
        case "transient":
            return f"{system} does not take {_act(t, r, b)}: {_said(b.get('problem'))}; that was the last try"
        case _:
            return f"{system} does not take {_act(t, r, b)}: {_said(b.get('problem'))}"


def _looked_up(t: Teller, r: Record, b: Body) -> str | None:
    system = t.system(_alias(t, r, b))
    if b["why"] == "guard":
        return f"{system} has {_act(t, r, b)} already" if b["answer"] == "found" else None
    if b["answer"] == "found":
        return f"{system} confirms that {_act(t, r, b)} happened"
    return f"{system} has no trace of {_act(t, r, b)}" if b["answer"] == "absent" else None


def _done(t: Teller, r: Record, b: Body) -> str:
    name = b.get("record")
    record = f" ({name})" if isinstance(name, str) and len(name) <= NAME_CHARS else ""
    return f"{t.step(r)} is done and read back from {t.system(b.get('system'))}{record}"


def _failed(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} cannot be completed: {_said(b.get('problem')) or b['failure']}"


def _by_hand(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} was done by hand by {str(b['by']).removeprefix('human:')}"


def _given_up(t: Teller, r: Record, _b: Body) -> str:
    return f"{t.step(r)} is given up"


def _flag(_t: Teller, _r: Record, b: Body) -> str:
    return f"noted: {b['flag'].replace('_', ' ')}"


def _task_opened(_t: Teller, _r: Record, b: Body) -> str:
    title = b["title"] if isinstance(b["title"], str) else "(erased)"
    return f"a task for {b['to'].removeprefix('group:')}: {title} ({b['task']})"


def _task_escalated(_t: Teller, _r: Record, b: Body) -> str:
    return f"the task {b['task']} is late; asked as well: {b['to'].removeprefix('group:')}"


def _task_done(_t: Teller, r: Record, b: Body) -> str:
    return f"{_actor(r)} hands in the task {b['task']}"


def _task_failed(_t: Teller, r: Record, b: Body) -> str:
    return f"{_actor(r)} cannot do the task {b['task']}"


def _task_reopened(_t: Teller, _r: Record, b: Body) -> str:
    return f"the task {b['task']} is open again: {b['because']}"


def _mode(_t: Teller, _r: Record, b: Body) -> str:
    return f"the instance is {str(b['mode']).replace('_', ' ')}: {b['because']}"


def _undone(t: Teller, r: Record, _b: Body) -> str:
    return f"{t.step(r)} is undone"


def _undo_failed(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} could not be undone: {_said(b.get('problem')) or b['failure']}"


def _kept(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} stays: {b['because']}"


def _waits(t: Teller, r: Record, b: Body) -> str:
    return f"{t.step(r)} waits for {b['event']}"


def _told(t: Teller, _r: Record, b: Body) -> str | None:
    if not b["ok"]:
        return None if "again_at" in b else f"a notice to {', '.join(b['who'])} could not be sent"
    if b["notice"]["kind"] in ("approval", "reminder", "task", "case"):
        return None
    people = who(b["people"] if isinstance(b["people"], list) else [], ", ".join(b["who"]))
    about = t.plan.steps.get(str(b.get("about", "")))
    return f"a notice about {about.title} goes to {people}" if about else f"a notice goes to {people}"


def _case(_t: Teller, _r: Record, b: Body) -> str:
    summary = b["summary"] if isinstance(b["summary"], str) else "(erased)"
    return f"an exception for {b['owner']}: {summary}"


def _executed(_t: Teller, _r: Record, b: Body) -> str:
    return f"every step has settled ({str(b['outcome']).replace('_', ' ')}); the systems are checked from now on"


def _check_began(_t: Teller, _r: Record, b: Body) -> str | None:
    return f"the check {_moment(b)} begins{' late' if b['late'] else ''}: every system is read again"


def _check_read(t: Teller, r: Record, b: Body) -> str | None:
    match b["verdict"]:
        case "suspected":
            return f"{t.system(b['system'])} is not as it should be ({_fields(b)}); read again {_later(t, b)}"
        case "differs":
            return f"{t.system(b['system'])} differs: {_fields(b)}"
        case "unverified":
            return f"{t.system(b['system'])} cannot be read, so nothing is said of it"
        case "pending":
            waiting = b.get("waiting_on") if isinstance(b.get("waiting_on"), list) else []
            if waiting == [t.step(r)]:
                return None  # its turn has not come; the end of the check counts it
            people = ", ".join(str(each).removeprefix("group:") for each in waiting or ()) or "a person"
            return f"{t.system(b['system'])} is not compared yet: it waits for {people}"
        case _:
            return None


def _ticketed(_t: Teller, _r: Record, b: Body) -> str:
    ticket = b.get("ticket")
    name = ticket.get("number") or ticket.get("exception_id") if isinstance(ticket, Mapping) else ticket
    return f"an exception ticket says so: {name}"


def _reopened(t: Teller, _r: Record, b: Body) -> str:
    return f"the difference in {t.system(b['system'])} is back: {_fields(b)}"


def _waived(_t: Teller, r: Record, b: Body) -> str:
    if b.get("until") is None:
        return f"the difference stands again: {b.get('because', '')}"
    return f"{_actor(r)} lets the difference stand until {b['until']}: {b.get('because', '')}"


def _superseded(t: Teller, _r: Record, b: Body) -> str:
    return f"{t.system(b['system'])} is behind its source, which has moved on: {_fields(b)}"


def _heal_proposed(_t: Teller, r: Record, b: Body) -> str:
    who_does = _actor(r) if r.actor.kind is ActorKind.HUMAN else "a repair"
    return f"{who_does} asks for {b['action']}" if who_does != "a repair" else f"a repair is proposed: {b['action']}"


def _heal_refused(_t: Teller, _r: Record, b: Body) -> str:
    return f"{b['field']} is not repaired by {b['action']}: {b['because']}"


def _resolved(_t: Teller, _r: Record, b: Body) -> str:
    return _RESOLVED.get(b["how"], f"the difference is {b['how']}")


def _check_done(_t: Teller, _r: Record, b: Body) -> str:
    parts = [f"{b[n]} {words[b[n] != 1]}" for n, words in _COUNTS if b.get(n)]
    return f"the check {_moment(b)} is done: {', '.join(parts) or 'nothing to compare'}"


def _ended(_t: Teller, _r: Record, b: Body) -> str:
    left = [f"{r['step']}{' (perhaps)' if UNKNOWN_IN in r['why'] else ''}" for r in b.get("residue", ())]
    residue = f"; what stays: {', '.join(left)}" if left else ""
    return f"ended: {str(b['end']).replace('_', ' ')}{residue}"


def _commanded(_t: Teller, r: Record, b: Body) -> str:
    return f"{_actor(r)} commands {b['command']}: {b.get('reason', '')}"


def _refused(_t: Teller, _r: Record, b: Body) -> str:
    return f"refused: {b['what']} ({b['because']})"


def _alias(t: Teller, r: Record, b: Body) -> str | None:
    if isinstance(b.get("system"), str):
        return str(b["system"])
    step = t.plan.steps.get(r.step or "")
    if step is not None:
        return step.system
    return t.plan.reconcile.ticket.system if str(b.get("act", "")).startswith("@reconcile/") else None


def _act(t: Teller, r: Record, b: Body) -> str:
    """Name what is being written, for a step's own write and for those around it."""
    title, act = t.step(r), str(b.get("act", ""))
    if act.endswith("/undo"):
        return f"the undo of {title}"
    if act.startswith("@reconcile/"):
        return "the exception ticket"
    return title


_COUNTS: Final = (
    ("matched", ("system as it should be", "systems as they should be")),
    ("differing", ("different", "different")),
    ("unverified", ("not readable", "not readable")),
    ("pending", ("still waiting", "still waiting")),
)
_RESOLVED: Final[Mapping[str, str]] = {
    "agreed": "the difference is gone: the system holds again what it should",
    "waived": "the difference is waived",
    "accepted": "the difference is accepted as it is",
    "superseded": "the difference is overtaken by a later one",
}
_SENTENCES: Final[Mapping[str, Callable[[Teller, Record, Body], str | None]]] = {
    Kind.STARTED: _started,
    Kind.STAGE_ENTERED: _stage,
    Kind.CONTEXT_FAILED: _context_failed,
    Kind.STEP_SKIPPED: _skipped,
    Kind.STEP_NOT_RUN: _not_run,
    Kind.STEP_DECLINED: _declined,
    Kind.DECISION: _decision,
    Kind.APPROVAL_ASKED: _asked,
    Kind.APPROVAL_REMINDED: _reminded,
    Kind.APPROVAL_ESCALATED: _escalated,
    Kind.APPROVAL_ANSWERED: _answered,
    Kind.APPROVAL_CLOSED: _closed,
    Kind.ACT_RESULT: _result,
    Kind.ACT_LOOKED_UP: _looked_up,
    Kind.STEP_DONE: _done,
    Kind.STEP_FAILED: _failed,
    Kind.STEP_DONE_BY_HAND: _by_hand,
    Kind.STEP_GIVEN_UP: _given_up,
    Kind.FLAG_SET: _flag,
    Kind.TASK_OPENED: _task_opened,
    Kind.TASK_ESCALATED: _task_escalated,
    Kind.TASK_DONE: _task_done,
    Kind.TASK_FAILED: _task_failed,
    Kind.TASK_REOPENED: _task_reopened,
    Kind.MODE_CHANGED: _mode,
    Kind.STEP_UNDONE: _undone,
    Kind.STEP_UNDONE_BY_HAND: _undone,
    Kind.STEP_UNDO_FAILED: _undo_failed,
    Kind.STEP_KEPT: _kept,
    Kind.WAIT_BEGAN: _waits,
    Kind.TOLD: _told,
    Kind.CASE_OPENED: _case,
    Kind.EXECUTED: _executed,
    Kind.CHECK_BEGAN: _check_began,
    Kind.CHECK_READ: _check_read,
    Kind.DISCREPANCY_TICKETED: _ticketed,
    Kind.DISCREPANCY_REOPENED: _reopened,
    Kind.DISCREPANCY_WAIVED: _waived,
    Kind.DISCREPANCY_SUPERSEDED: _superseded,
    Kind.DISCREPANCY_RESOLVED: _resolved,
    Kind.HEAL_PROPOSED: _heal_proposed,
    Kind.HEAL_REFUSED: _heal_refused,
    Kind.CHECK_DONE: _check_done,
    Kind.ENDED: _ended,
    Kind.OPERATOR_COMMANDED: _commanded,
    Kind.ATTEMPT_REFUSED: _refused,
}


def _said(problem: object) -> str:
    if not isinstance(problem, Mapping):
        return ""
    said, status = str(problem.get("message", problem.get("code", ""))).split("; ")[0], problem.get("status")
    return said if not status or str(status) in said else f"{said} ({status})"


def _later(t: Teller, body: Body) -> str:
    when = body.get("again_at") or body.get("next_at")
    return f"at {t.here(parse_time(when)).strftime('%H:%M:%S')}" if isinstance(when, str) else "later"


def _moment(body: Body) -> str:
    """Say when a check is due, for a person: from the trigger, or from the last step that was late."""
    check = str(body["check"])
    after = check.removeprefix("executed+")
    return f"{after} after the last step" if after != check else f"at {check}"


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
