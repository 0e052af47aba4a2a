"""Decides how an outcome is said to a process owner: what happened, what is done about it, what it ends as.

Used by the outcome table, the scenarios and the traces, so that one thing has one wording.
"""

from __future__ import annotations

from typing import Final, assert_never

from topstitch.foundation.timetext import duration_text
from topstitch.model.instance import Disposition, StepStatus
from topstitch.plan.plan import Plan, TaskPlan
from topstitch.verifier.classes import FAILURES, Case, Effect, OutcomeClass

DISPOSITIONS: Final = {
    Disposition.CONTINUE: "the rest goes on",
    Disposition.ROLLBACK: "everything done so far is taken back",
    Disposition.STOP: "nothing new is started; what is done stays",
}
STATUSES: Final = {
    StepStatus.DONE: "done",
    StepStatus.DONE_BY_HAND: "by hand",
    StepStatus.SKIPPED: "skipped",
    StepStatus.DECLINED: "declined",
    StepStatus.GIVEN_UP: "given up",
}


def happened(one: OutcomeClass, plan: Plan) -> str:
    """Return what happened, with the system by its name: ``ServiceNow refuses``."""
    step = plan.steps[one.step]
    system = plan.systems[step.system].title if step.system in plan.systems else "Topstitch"
    tries = step.act.retry.attempts if step.act else 1
    match one.case:
        case Case.DONE:
            return "all goes well"
        case Case.DONE_AFTER_DOUBT:
            return f"{system} does not answer, and it is open whether it was done"
        case Case.FOUND:
            return "it is there already"
        case Case.NOBODY_FOUND:
            return "nobody can be found to ask"
        case Case.CONDITION_FALSE:
            return "its condition is false"
        case Case.PRECONDITION:
            return f"it may not be done: {one.because}"
        case Case.REFUSED_BY_PERSON:
            return f"{_whom(step.approval.ask if step.approval else ())} refuses"
        case Case.UNANSWERED:
            return "nobody answers"
        case Case.EXPRESSION:
            return "what is to be sent cannot be worked out"
        case Case.REFUSED:
            return f"{system} refuses"
        case Case.UNREACHABLE:
            return f"{system} is unreachable" + (f" for {tries} attempts" if tries > 1 else "")
        case Case.UNKNOWN:
            return f"{system} is silent and cannot be asked"
        case Case.DISAGREES:
            return "it says done, but that cannot be seen there"
        case Case.SOME_FAILED:
            return "some of the items fail"
        case Case.EXPIRED:
            return "the event does not come in time"
        case Case.CALLED_FAILED:
            return "the called workflow does not complete"
        case Case.CALLED_LATE:
            return "the called workflow does not end in time"
        case _:
            assert_never(one.case)


def label(one: OutcomeClass) -> str:
    """Return a class in a few words, for a trace."""
    task = {True: " -> task done", False: " -> task never done", None: ""}[one.by_hand]
    turn = {Disposition.CONTINUE: "", Disposition.ROLLBACK: " -> roll back", Disposition.STOP: " -> stop"}[one.then]
    return f"{LABELS[one.case]}{task}{turn}"


LABELS: Final = {
    Case.DONE: "done",
    Case.DONE_AFTER_DOUBT: "done, after an answer was missing",
    Case.FOUND: "done: it was there already",
    Case.NOBODY_FOUND: "done, after its owner was asked: nobody else could be found",
    Case.CONDITION_FALSE: "condition is false",
    Case.PRECONDITION: "precondition does not hold",
    Case.REFUSED_BY_PERSON: "approval refused",
    Case.UNANSWERED: "approval unanswered",
    Case.EXPRESSION: "what is to be sent cannot be worked out",
    Case.REFUSED: "the system refuses",
    Case.UNREACHABLE: "the system is unreachable",
    Case.UNKNOWN: "the system is silent and cannot be asked",
    Case.DISAGREES: "it says done, and that cannot be seen",
    Case.SOME_FAILED: "some items fail",
    Case.EXPIRED: "the event does not come",
    Case.CALLED_FAILED: "the called workflow does not complete",
    Case.CALLED_LATE: "the called workflow does not end in time",
}


def follows(one: OutcomeClass, *, turn: bool = True) -> str:
    """Return what is done about it: whom it is given to, what is noted; with ``turn``, what becomes of the instance."""
    parts: list[str] = []
    if one.case is Case.DONE_AFTER_DOUBT:
        parts.append("look it up, go on")
    if one.case is Case.FOUND:
        parts.append("take it as it is, go on; a rollback leaves it alone")
    if one.case is Case.NOBODY_FOUND:
        parts.append("the owner is asked, and a case is opened")
    parts += [_task(task, first=one.effect in (Effect.APPLIED, Effect.UNKNOWN)) for task in one.tasks]
    parts += [f"then {action}" for action in one.actions]
    if one.told:
        parts.append(f"tell {' and '.join(one.told)}")
    parts += [f"flag {flag}" for flag in one.flags]
    if turn and one.then is not Disposition.CONTINUE:
        parts.append(DISPOSITIONS[one.then])
        parts += ["a case is opened"] if one.then is Disposition.STOP and one.case in FAILURES else []
    return "; ".join(parts) or (DISPOSITIONS[Disposition.CONTINUE] if turn else "")


def _task(task: TaskPlan, *, first: bool) -> str:
    chased = "".join(f", {e.to.removeprefix('group:')} after {duration_text(e.after_seconds)}" for e in task.escalate)
    check = ", who first looks whether it is there" if first else ""
    return f"task to {task.to.removeprefix('group:')}{check} (due {duration_text(task.due_seconds)}{chased})"


def _whom(ask: tuple[str, ...]) -> str:
    return " or ".join(who.removeprefix("group:") for who in ask) or "somebody"
