"""Decides which rows of the projections follow from a record.

``project`` is pure: one record in, row changes out, by one rule per kind. It reads no table
and knows no plan: what a row needs, the record says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from topstitch.foundation.timetext import parse_time
from topstitch.model.instance import StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.store.projections import Change, Projection, Touch
from topstitch.store.sealing import milliseconds
from topstitch.store.words import words_of

STEPS: Final = Projection(
    "steps",
    "instance step",
    "system status attempts# started_at# done_at# duration_ms# failure failed_at# from_system to_system",
    first=("started_at", "system"),
)
HANDOFFS: Final = Projection(
    "handoffs",
    "instance from_step to_step",
    "from_system to_system ready_at# started_at# net_ms# gross_ms#",
    first=("ready_at", "started_at", "net_ms", "gross_ms"),
)
EFFECTS: Final = Projection(
    "effects",
    "instance act",
    "step system action key attempts# sent_at# applied_at# found# record url undone_at#",
    first=("sent_at", "applied_at"),
)
CONTEXT_READS: Final = Projection(
    "context_reads", "instance name", "system action status at# record url digest attempts# duration_ms#"
)
APPROVALS: Final = Projection(
    "approvals",
    "id",
    "instance step title asked people excluded quorum# because payload_digest escalations asked_at# next_reminder_at# "
    "reminders# give_up_at# status closed_at# closed_by waited_ms# if_approved if_refused if_unanswered",
    first=("asked_at",),
)
ANSWERS: Final = Projection("answers", "approval actor", "instance answer comment answered_for payload_digest via at#")
ASKED_PEOPLE: Final = Projection("asked_people", "item person", "instance name email asked_as since#", first=("since",))
TASKS: Final = Projection(
    "tasks",
    "id",
    "instance step act purpose title assignee form check_first system opened_at# due_at# give_up_at# escalations "
    "status done_at# done_by output comment closed_at# ending",
    first=("opened_at",),
)
CASES: Final = Projection(
    "cases",
    "id",
    "instance step cause from_system to_system owner summary remedy problem attempt# opened_at# status how because "
    "closed_at# closed_by",
    first=("opened_at",),
)
DISCREPANCIES: Final = Projection(
    "discrepancies",
    "id",
    "instance record system check_name last_check severity fields url opened_at# changed_at# ticket ticket_url status "
    "resolved_at# because state owner heal changed_by suspected_at# reopened# waived_until#",
    first=("opened_at", "suspected_at", "check_name"),
)
CHECKS: Final = Projection(
    "checks",
    "instance check_name",
    "due_at# began_at# late# done_at# matched# differing# unverified# pending#",
    first=("began_at",),
)
NOTICES: Final = Projection("notices", "instance seq#", "step about who people notice ok# at#")
WAITS: Final = Projection("waits", "instance step", "event since# give_up_at# status", first=("since",))
WORDS: Final = Projection("instance_words", "instance word", "")
HEAL_MARK: Final = "heal:"
"""How the names of repairs begin (``plan.heals``)."""
ALL: Final = (
    STEPS, HANDOFFS, EFFECTS, CONTEXT_READS, APPROVALS, ANSWERS, ASKED_PEOPLE, TASKS, CASES, DISCREPANCIES, CHECKS,
    NOTICES, WAITS, WORDS,
)  # fmt: skip


def project(record: Record) -> Sequence[Change]:
    """Return the row changes that follow from a record; none for most kinds."""
    rule = _RULES.get(record.kind)
    if rule is None:
        return ()
    if record.step is not None and record.step.startswith(HEAL_MARK):
        return [change for change in rule(record, record.body) if not _of_a_step(change)]
    return list(rule(record, record.body))


def _of_a_step(change: Change) -> bool:
    """Whether a change is of a step's row: a heal is carried out like a step, and is none of the definition's."""
    return not isinstance(change, Touch) and change[0] in (STEPS, HANDOFFS)


# --- The rules, one per kind ------------------------------------------------------------------

Body = Mapping[str, Any]
Changes = Iterable[Change]
Rule = Callable[[Record, Body], Changes]


def _step(r: Record, status: StepStatus | None, **more: Any) -> Change:
    return STEPS, {"instance": r.instance, "step": r.step, "status": status and str(status), **more}


def _ms(text: Any) -> int | None:
    return milliseconds(parse_time(text)) if isinstance(text, str) else None


def _own_act(r: Record, act: str) -> bool:
    """Tell a step's own act, or one item's of it, from its undo and its compensation."""
    step = r.step or ""
    return act == step or (act.startswith(step + "[") and "/" not in act)


def _status(status: StepStatus) -> Rule:
    def rule(r: Record, _: Body) -> Changes:
        yield _step(r, status)

    return rule


def _started(r: Record, b: Body) -> Changes:
    for word in words_of(b.get("title"), b.get("correlation")):
        yield WORDS, {"instance": r.instance, "word": word}


def _context_read(r: Record, b: Body) -> Changes:
    yield CONTEXT_READS, {
        "instance": r.instance, "name": b["name"], "system": b.get("system"), "action": b.get("action"),
        "status": "read", "at": milliseconds(r.at),
        "record": b.get("record"), "url": b.get("url"), "digest": b.get("digest"), "attempts": b.get("attempt"),
        "duration_ms": b.get("duration_ms"),
    }  # fmt: skip


def _context_skipped(r: Record, b: Body) -> Changes:
    yield CONTEXT_READS, {"instance": r.instance, "name": b["name"], "status": "skipped", "at": milliseconds(r.at)}


def _context_failed(r: Record, b: Body) -> Changes:
    status = "retrying" if b.get("again_at") else "failed"
    yield CONTEXT_READS, {
        "instance": r.instance, "name": b["name"], "system": b.get("system"), "action": b.get("action"),
        "status": status, "at": milliseconds(r.at),
        "attempts": b.get("attempt"),
    }  # fmt: skip


def _intent(r: Record, b: Body) -> Changes:
    at = milliseconds(r.at)
    act = b["act"]
    yield EFFECTS, {
        "instance": r.instance, "act": act, "step": r.step, "system": b.get("system"), "action": b.get("action"),
        "key": b.get("key"),
        "attempts": b.get("attempt"), "sent_at": at,
    }  # fmt: skip
    if r.step and _own_act(r, act):
        yield _step(r, StepStatus.RUNNING, system=b.get("system"), started_at=at, attempts=b.get("attempt"))
    for crossing in b.get("handoffs") or ():
        yield HANDOFFS, {
            "instance": r.instance, "from_step": crossing["from"], "to_step": r.step or act,
            "from_system": crossing.get("from_system"),
            "to_system": crossing.get("to_system"), "ready_at": _ms(crossing.get("ready_at")), "started_at": at,
            "net_ms": crossing.get("net_ms"), "gross_ms": crossing.get("gross_ms"),
        }  # fmt: skip


def _result(r: Record, b: Body) -> Changes:
    act = b["act"]
    if b.get("result") == "ok":
        yield _applied(r, b)
    elif r.step and _own_act(r, act) and b.get("result") == "unknown":
        yield _step(r, StepStatus.UNKNOWN)


def _looked_up(r: Record, b: Body) -> Changes:
    if b.get("answer") == "found":
        yield _applied(r, b)
    if r.step and _own_act(r, b["act"]) and b.get("answer") in ("found", "absent") and b.get("why") != "guard":
        yield _step(r, StepStatus.RUNNING)


def _applied(r: Record, b: Body) -> Change:
    return EFFECTS, {
        "instance": r.instance, "act": b["act"], "step": r.step, "applied_at": milliseconds(r.at),
        "found": bool(b.get("found")),
        "record": b.get("record"), "url": b.get("url"),
    }  # fmt: skip


def _in_doubt(r: Record, b: Body) -> Changes:
    if r.step and _own_act(r, b["act"]):
        yield _step(r, StepStatus.UNKNOWN)


def _proposed(r: Record, b: Body) -> Changes:
    if r.step and b.get("purpose") == "undo":
        yield _step(r, StepStatus.UNDOING)


def _done(r: Record, b: Body) -> Changes:
    yield _step(
        r,
        StepStatus.DONE,
        system=b.get("system"),
        started_at=_ms(b.get("started_at")),
        done_at=milliseconds(r.at),
        duration_ms=b.get("duration_ms"),
    )
    if b.get("system") == OWN_SYSTEM:
        yield _wait_closed(r)


def _done_by_hand(r: Record, _: Body) -> Changes:
    yield _step(r, StepStatus.DONE_BY_HAND, done_at=milliseconds(r.at))


def _failed(r: Record, b: Body) -> Changes:
    seam = b.get("seam") or {}
    yield _step(
        r,
        StepStatus.COMPENSATING,
        failure=b.get("failure"),
        failed_at=milliseconds(r.at),
        from_system=seam.get("from_system"),
        to_system=seam.get("to_system"),
    )


def _given_up(r: Record, b: Body) -> Changes:
    yield _step(r, StepStatus.GIVEN_UP, failure=b.get("failure"))


def _undone(status: StepStatus) -> Rule:
    def rule(r: Record, _: Body) -> Changes:
        yield _step(r, status)
        yield Touch(
            "UPDATE effects SET undone_at = ? WHERE instance = ? AND step = ? AND applied_at IS NOT NULL AND "
            "undone_at IS NULL AND act NOT LIKE ?",
            milliseconds(r.at), r.instance, r.step, "%/%",
        )  # fmt: skip

    return rule


def _approval_asked(r: Record, b: Body) -> Changes:
    yield APPROVALS, {
        "id": b["approval"], "instance": r.instance, "step": r.step, "title": b.get("title"), "asked": b.get("from"),
        "people": b.get("people"),
        "excluded": b.get("excluded"), "quorum": b.get("quorum"), "because": b.get("because"),
        "payload_digest": b.get("payload_digest"),
        "escalations": b.get("escalations"), "asked_at": milliseconds(r.at),
        "next_reminder_at": _ms(b.get("next_reminder_at")), "reminders": 0,
        "give_up_at": _ms(b.get("give_up_at")), "status": "open", "if_approved": b.get("if_approved"),
        "if_refused": b.get("if_refused"),
        "if_unanswered": b.get("if_unanswered"),
    }  # fmt: skip
    yield from _people(r, b["approval"], b.get("people"))
    if r.step:
        yield _step(r, StepStatus.ASKING)


def _people(r: Record, item: str, people: Any) -> Changes:
    for person in people if isinstance(people, list) else ():
        if isinstance(person, Mapping) and "id" in person:
            yield ASKED_PEOPLE, {
                "item": item, "person": person["id"], "instance": r.instance, "name": person.get("name"),
                "email": person.get("email"),
                "asked_as": person.get("for"), "since": milliseconds(r.at),
            }  # fmt: skip


def _approval(r: Record, b: Body, **more: Any) -> Change:
    return APPROVALS, {"id": b["approval"], "instance": r.instance, "status": "open", **more}


def _approval_reminded(r: Record, b: Body) -> Changes:
    yield _approval(r, b, reminders=b.get("times"), next_reminder_at=_ms(b.get("next_reminder_at")))


def _approval_escalated(r: Record, b: Body) -> Changes:
    yield from _people(r, b["approval"], b.get("people"))


def _approval_answered(r: Record, b: Body) -> Changes:
    yield ANSWERS, {
        "approval": b["approval"], "actor": str(r.actor), "instance": r.instance, "answer": b.get("answer"),
        "comment": b.get("comment"),
        "answered_for": b.get("for"), "payload_digest": b.get("payload_digest"), "via": b.get("via"),
        "at": milliseconds(r.at),
    }  # fmt: skip


def _approval_closed(r: Record, b: Body) -> Changes:
    yield _approval(
        r, b, status=b.get("ending"), closed_at=milliseconds(r.at), closed_by=b.get("by"), waited_ms=b.get("waited_ms")
    )
    if r.step:
        yield _step(r, StepStatus.WAITING)


def _task_opened(r: Record, b: Body) -> Changes:
    yield TASKS, {
        "id": b["task"], "instance": r.instance, "step": r.step, "act": b.get("act"), "purpose": b.get("purpose"),
        "title": b.get("title"),
        "assignee": b.get("to"), "form": b.get("form"), "check_first": b.get("check_first"), "system": b.get("system"),
        "opened_at": milliseconds(r.at), "due_at": _ms(b.get("due_at")), "give_up_at": _ms(b.get("give_up_at")),
        "escalations": b.get("escalations"), "status": "open",
        "done_at": None, "done_by": None, "output": None, "comment": None, "closed_at": None, "ending": None,
    }  # fmt: skip
    yield from _people(r, b["task"], b.get("people"))


def _task(r: Record, b: Body, status: str, **more: Any) -> Change:
    return TASKS, {"id": b["task"], "instance": r.instance, "status": status, **more}


def _task_escalated(r: Record, b: Body) -> Changes:
    yield from _people(r, b["task"], b.get("people"))


def _task_done(r: Record, b: Body) -> Changes:
    yield _task(
        r, b, "done", done_at=milliseconds(r.at), done_by=str(r.actor), output=b.get("output"), comment=b.get("comment")
    )


def _task_failed(r: Record, b: Body) -> Changes:
    yield _task(r, b, "failed", done_at=milliseconds(r.at), done_by=str(r.actor), comment=b.get("comment"))


def _task_reopened(r: Record, b: Body) -> Changes:
    yield _task(r, b, "open", comment=b.get("because"))


def _task_closed(r: Record, b: Body) -> Changes:
    yield _task(r, b, "closed", closed_at=milliseconds(r.at), ending=b.get("ending"))


def _case_opened(r: Record, b: Body) -> Changes:
    seam = b.get("seam") or {}
    yield CASES, {
        "id": b["case"], "instance": r.instance, "step": b.get("step") or r.step, "cause": b.get("cause"),
        "from_system": seam.get("from_system"),
        "to_system": seam.get("to_system"), "owner": b.get("owner"), "summary": b.get("summary"),
        "remedy": b.get("remedy"),
        "problem": b.get("problem"), "attempt": b.get("attempt"), "opened_at": milliseconds(r.at), "status": "open",
    }  # fmt: skip


def _case_closed(r: Record, b: Body) -> Changes:
    yield CASES, {
        "id": b["case"], "instance": r.instance, "status": "closed", "how": b.get("how"), "because": b.get("because"),
        "closed_at": milliseconds(r.at), "closed_by": str(r.actor),
    }  # fmt: skip


def _commanded(r: Record, b: Body) -> Changes:
    """Who takes a case owns it; who is given an item is asked in place of others; the rest shows in what follows."""
    command = b.get("command")
    if command == "take" and b.get("case"):
        yield CASES, {"id": b["case"], "instance": r.instance, "status": "open", "owner": b.get("owner")}
    elif command == "reassign":
        item = b.get("task") or b["approval"]
        yield Touch("DELETE FROM asked_people WHERE item = ? AND instance = ?", item, r.instance)
        yield from _people(r, item, b.get("people"))


def _discrepancy(r: Record, b: Body, status: str, **more: Any) -> Change:
    return DISCREPANCIES, {
        "id": b["discrepancy"],
        "instance": r.instance,
        "status": status,
        "changed_at": milliseconds(r.at),
        "changed_by": str(r.actor),
        **more,
    }


def _discrepancy_opened(r: Record, b: Body) -> Changes:
    yield _discrepancy(
        r, b, "open", state="confirmed", record=b.get("record"), system=b.get("system"), check_name=b.get("check"),
        last_check=b.get("check"), owner=b.get("owner"), reopened=b.get("times") or 0,
        severity=b.get("severity"), fields=b.get("fields"), url=b.get("url"), opened_at=milliseconds(r.at),
    )  # fmt: skip


def _discrepancy_updated(r: Record, b: Body) -> Changes:
    yield _discrepancy(r, b, "open", last_check=b.get("check"), severity=b.get("severity"), fields=b.get("fields"))


def _discrepancy_ticketed(r: Record, b: Body) -> Changes:
    yield _discrepancy(r, b, "open", state=b.get("state"), ticket=b.get("ticket"), ticket_url=b.get("url"))


def _discrepancy_waived(r: Record, b: Body) -> Changes:
    if b.get("until") is None:
        yield _discrepancy(r, b, "open", state="confirmed")
        return
    yield _discrepancy(r, b, "waived", state="waived", waived_until=_ms(b.get("until")), because=b.get("because"))


def _discrepancy_superseded(r: Record, b: Body) -> Changes:
    yield _discrepancy(
        r, b, "superseded", state="superseded", record=b.get("record"), system=b.get("system"),
        check_name=b.get("check"), last_check=b.get("check"), owner=b.get("owner"), severity="low",
        fields=b.get("fields"), url=b.get("url"), resolved_at=milliseconds(r.at),
    )  # fmt: skip


def _discrepancy_resolved(r: Record, b: Body) -> Changes:
    how = str(b.get("how"))
    yield _discrepancy(
        r, b, how, state=how if how in ("accepted", "superseded") else "resolved", last_check=b.get("check"),
        resolved_at=milliseconds(r.at), because=b.get("because"),
    )  # fmt: skip


def _heal(r: Record, b: Body) -> Changes:
    known = {name: b.get(name) for name in ("heal", "field", "action", "mode", "because") if b.get(name) is not None}
    state = "healing" if r.kind == Kind.HEAL_PROPOSED else None
    yield _discrepancy(r, b, "open", state=state, heal=known)


def _check_read(r: Record, b: Body) -> Changes:
    """A difference that was seen once shows as suspected until a second read confirms it or it is gone."""
    if b.get("suspects"):
        yield _discrepancy(
            r, {"discrepancy": b["suspects"]}, "suspected", state="suspected", record=b.get("record"),
            system=b.get("system"), check_name=b.get("check"), last_check=b.get("check"),
            fields=b.get("fields"), url=b.get("url"), suspected_at=milliseconds(r.at),
        )  # fmt: skip
    elif b.get("clears"):
        yield Touch("DELETE FROM discrepancies WHERE id = ? AND status = ?", b["clears"], "suspected")


def _check_began(r: Record, b: Body) -> Changes:
    yield (
        CHECKS,
        {
            "instance": r.instance,
            "check_name": b["check"],
            "due_at": _ms(b.get("due_at")),
            "began_at": milliseconds(r.at),
            "late": bool(b.get("late")),
        },
    )


def _check_done(r: Record, b: Body) -> Changes:
    counts = {name: b.get(name) for name in ("matched", "differing", "unverified", "pending")}
    yield CHECKS, {"instance": r.instance, "check_name": b["check"], "done_at": milliseconds(r.at), **counts}


def _told(r: Record, b: Body) -> Changes:
    yield NOTICES, {
        "instance": r.instance, "seq": r.seq, "step": r.step, "about": b.get("about"), "who": b.get("who"),
        "people": b.get("people"),
        "notice": b.get("notice"), "ok": bool(b.get("ok")), "at": milliseconds(r.at),
    }  # fmt: skip


def _wait_began(r: Record, b: Body) -> Changes:
    at = milliseconds(r.at)
    yield (
        WAITS,
        {
            "instance": r.instance,
            "step": r.step,
            "event": b["event"],
            "since": at,
            "give_up_at": _ms(b.get("give_up_at")),
            "status": "open",
        },
    )
    yield _step(r, StepStatus.RUNNING, system=OWN_SYSTEM, started_at=at)


def _wait_closed(r: Record) -> Touch:
    return Touch("UPDATE waits SET status = 'closed' WHERE instance = ? AND step = ?", r.instance, r.step)


def _wait_expired(r: Record, _: Body) -> Changes:
    yield _wait_closed(r)


def _child_started(r: Record, _: Body) -> Changes:
    if r.step:
        yield _step(r, StepStatus.RUNNING, system=OWN_SYSTEM, started_at=milliseconds(r.at))


OWN_SYSTEM: Final = "topstitch"
"""The system a wait or a call works on: ourselves."""

_RULES: Final[Mapping[str, Rule]] = {
    Kind.STARTED: _started,
    Kind.CONTEXT_READ: _context_read,
    Kind.CONTEXT_SKIPPED: _context_skipped,
    Kind.CONTEXT_FAILED: _context_failed,
    Kind.STEP_SKIPPED: _status(StepStatus.SKIPPED),
    Kind.STEP_NOT_RUN: _status(StepStatus.NOT_RUN),
    Kind.STEP_DECLINED: _status(StepStatus.DECLINED),
    Kind.ACT_PROPOSED: _proposed,
    Kind.ACT_INTENT: _intent,
    Kind.ACT_RESULT: _result,
    Kind.ACT_IN_DOUBT: _in_doubt,
    Kind.ACT_LOOKED_UP: _looked_up,
    Kind.STEP_DONE: _done,
    Kind.STEP_DONE_BY_HAND: _done_by_hand,
    Kind.STEP_FAILED: _failed,
    Kind.STEP_GIVEN_UP: _given_up,
    Kind.STEP_UNDONE: _undone(StepStatus.UNDONE),
    Kind.STEP_UNDONE_BY_HAND: _undone(StepStatus.UNDONE_BY_HAND),
    Kind.STEP_UNDO_OPEN: _status(StepStatus.UNDO_OPEN),
    Kind.STEP_KEPT: _status(StepStatus.KEPT),
    Kind.APPROVAL_ASKED: _approval_asked,
    Kind.APPROVAL_REMINDED: _approval_reminded,
    Kind.APPROVAL_ESCALATED: _approval_escalated,
    Kind.APPROVAL_ANSWERED: _approval_answered,
    Kind.APPROVAL_CLOSED: _approval_closed,
    Kind.TASK_OPENED: _task_opened,
    Kind.TASK_ESCALATED: _task_escalated,
    Kind.TASK_DONE: _task_done,
    Kind.TASK_FAILED: _task_failed,
    Kind.TASK_REOPENED: _task_reopened,
    Kind.TASK_CLOSED: _task_closed,
    Kind.CASE_OPENED: _case_opened,
    Kind.OPERATOR_COMMANDED: _commanded,
    Kind.CASE_CLOSED: _case_closed,
    Kind.DISCREPANCY_OPENED: _discrepancy_opened,
    Kind.DISCREPANCY_UPDATED: _discrepancy_updated,
    Kind.DISCREPANCY_TICKETED: _discrepancy_ticketed,
    Kind.DISCREPANCY_REOPENED: _discrepancy_opened,
    Kind.DISCREPANCY_WAIVED: _discrepancy_waived,
    Kind.DISCREPANCY_SUPERSEDED: _discrepancy_superseded,
    Kind.DISCREPANCY_RESOLVED: _discrepancy_resolved,
    Kind.HEAL_PROPOSED: _heal,
    Kind.HEAL_REFUSED: _heal,
    Kind.CHECK_READ: _check_read,
    Kind.CHECK_BEGAN: _check_began,
    Kind.CHECK_DONE: _check_done,
    Kind.TOLD: _told,
    Kind.WAIT_BEGAN: _wait_began,
    Kind.WAIT_EXPIRED: _wait_expired,
    Kind.CHILD_STARTED: _child_started,
}
