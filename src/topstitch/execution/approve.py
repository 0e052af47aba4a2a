"""Decides how a person is asked to release a write, and what their answer leads to.

An approval is bound to the digest of the rendered payload: if the payload is another one by
the time it is released, the approval is void and people are asked again (A-06). Silence is
never consent, and nobody found is never consent either: then the owner is asked, and a case
says so.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from topstitch.attempts.machine import Desk, Turn, problem_body
from topstitch.execution.begin import decision, declined, failed_expression, rendered
from topstitch.execution.desk import draft
from topstitch.foundation.canonical import digest
from topstitch.foundation.ids import derived_id
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.cases import open_case
from topstitch.governance.notify import personal_in, tell
from topstitch.language.expressions import ExpressionError
from topstitch.model.kinds import Kind
from topstitch.model.orders import Outcome, ResolveCall, Result
from topstitch.model.record import Draft
from topstitch.model.state import ApprovalState, InstanceState, StepState
from topstitch.plan.plan import CONTEXT_RETRY, ApprovalPlan, Plan, StepPlan

RESOLVE_TRIES = 6
"""How often approvers are looked for before the owner is asked instead."""


def approval_id(instance: str, step: str, asks: int) -> str:
    """Return the id of the step's approval number ``asks``."""
    return derived_id("apr", instance, step, str(asks))


def chase(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what an asking step wants now: people, reminders, more people, or its end."""
    step = state.steps[step_plan.id]
    ask = step_plan.approval
    if ask is None:
        return
    if step.approval is None:
        if step.wait_until is not None and step.wait_until > desk.now:
            turn.wake(step.wait_until)
        else:
            turn.calls.append(_resolve(plan, state, f"{step.id}/approvers/{step.resolves}", _whom(ask, step)))
        return
    ending = _ending(step.approval)
    if ending is not None:
        turn.drafts += _closed(plan, step_plan, state, desk, ending)
        return
    if desk.now >= step.approval.give_up_at:
        turn.drafts += _closed(plan, step_plan, state, desk, "unanswered")
        return
    turn.wake(step.approval.give_up_at)
    _remind(step_plan, step.approval, desk, turn)
    _escalate(plan, state, step.approval, desk, turn)


def resolved(plan: Plan, state: InstanceState, call: ResolveCall, outcome: Outcome, desk: Desk) -> list[Draft]:
    """Return the records of who was found: the approval that is asked now, or people added to one."""
    name, _, rest = call.key.partition("/")
    step = state.steps.get(name)
    step_plan = plan.steps.get(name)
    if step is None or step_plan is None or step_plan.approval is None:
        return []
    if rest.startswith("escalate/"):
        return _escalated(step, call, outcome, desk)
    if step.approval is not None or call.key != f"{name}/approvers/{step.resolves}":
        return []
    people = (outcome.value or {}).get("people", []) if outcome.result is Result.OK else []
    last = step.resolves >= RESOLVE_TRIES
    if not people and not last:
        return [_sought(step, call, outcome, desk)]
    drafts = [_asked(plan, step_plan, state, step, outcome, people, desk)]
    if not people:
        case = open_case(
            plan,
            state,
            desk.now,
            desk.stage,
            about=step.id,
            cause="nobody-to-ask",
            step=step.id,
            summary=f"{step_plan.title} waits for an approval that nobody can give",
            remedy="Name approvers in the directory, or reassign the approval; without an answer it ends as unanswered",
        )
        drafts += [case] if case else []
    return drafts


def withdrawn(step: StepState, desk: Desk) -> list[Draft]:
    """Return the record that takes an open approval back."""
    if step.approval is None or step.approval.ending is not None:
        return []
    return [_close(step.approval, step.id, desk, "withdrawn")]


def _whom(ask: ApprovalPlan, step: StepState) -> tuple[str, ...]:
    return ("owner",) if step.resolves >= RESOLVE_TRIES else ask.ask


def _resolve(plan: Plan, state: InstanceState, key: str, who: tuple[str, ...]) -> ResolveCall:
    excluded = tuple(person for person in (state.requester, state.correlation) if person)
    return ResolveCall(
        key=key, who=who, subject=state.correlation, requester=state.requester, owner=plan.owner, exclude=excluded
    )


def _sought(step: StepState, call: ResolveCall, outcome: Outcome, desk: Desk) -> Draft:
    """Nobody yet: a directory that does not answer is asked again; an empty answer goes straight to the owner."""
    body: dict[str, Any] = {"attempt": step.resolves + 1, "who": list(call.who), "found": 0}
    if outcome.result is Result.OK or outcome.result is Result.REFUSED:
        body["attempt"] = RESOLVE_TRIES
    else:
        wait = CONTEXT_RETRY.wait_seconds(step.resolves + 1, call.key)
        body["again_at"] = rfc3339(desk.now + timedelta(seconds=wait))
    if outcome.problem is not None:
        body["problem"] = problem_body(outcome.problem)
    return draft(Kind.APPROVERS_SOUGHT, desk, step.id, body)


def _asked(
    plan: Plan,
    step_plan: StepPlan,
    state: InstanceState,
    step: StepState,
    outcome: Outcome,
    people: list[Any],
    desk: Desk,
) -> Draft:
    ask = step_plan.approval
    assert ask is not None
    identity = approval_id(state.id, step.id, step.asks)
    give_up_at = desk.now + timedelta(seconds=ask.give_up_seconds)
    body: dict[str, Any] = {
        "approval": identity,
        "title": f"{step_plan.title}: {state.title}",
        "from": list(_whom(ask, step)),
        "people": people,
        "excluded": (outcome.value or {}).get("excluded", []),
        "quorum": ask.quorum,
        "payload_digest": step.payload_digest,
        "give_up_at": rfc3339(give_up_at),
        "escalations": [
            {"at": rfc3339(desk.now + timedelta(seconds=e.after_seconds)), "to": e.to}
            for e in ask.escalate
            if e.after_seconds < ask.give_up_seconds
        ],
        "system": step_plan.system,
        "risk": step_plan.risk,
        "if_approved": f"{step_plan.title} goes ahead{_where(plan, step_plan)}",
        "if_refused": _consequence(step_plan, ask.refused.then, ask.refused.flag),
        "if_unanswered": _consequence(step_plan, ask.unanswered.then, ask.unanswered.flag),
    }
    if ask.remind_seconds:
        body["remind_every_s"] = ask.remind_seconds
        body["next_reminder_at"] = rfc3339(desk.now + timedelta(seconds=ask.remind_seconds))
    body["tell"] = [tell(identity, "asked", body["from"], _notice(plan, step_plan, state, identity, body), people)]
    personal = (("title",), *((("people",),) if people else ()), *personal_in(body))
    return draft(Kind.APPROVAL_ASKED, desk, step.id, body, personal=personal)


def _notice(
    plan: Plan, step_plan: StepPlan, state: InstanceState, identity: str, body: dict[str, Any]
) -> dict[str, Any]:
    title = f"Your decision: {step_plan.title} for {state.title}"
    text = (
        f"{plan.title} for {state.title} waits for your decision on: {step_plan.title}.\n"
        f"If you approve: {body['if_approved']}.\nIf you refuse: {body['if_refused']}.\n"
        f"If nobody answers by {body['give_up_at']}: {body['if_unanswered']}.\n"
        f"Decide with: topstitch approvals approve {identity}   or: topstitch approvals refuse {identity}"
    )
    return {"kind": "approval", "title": title, "text": text, "approval": identity}


def _where(plan: Plan, step_plan: StepPlan) -> str:
    system = plan.systems.get(step_plan.system)
    return f" in {system.title}" if system else ""


def _consequence(step_plan: StepPlan, then: str, flag: str | None) -> str:
    noted = f", noted as {flag}" if flag else ""
    match then:
        case "continue":
            return f"{step_plan.title} is left out{noted}; the rest goes on"
        case "rollback":
            return f"everything done so far is taken back{noted}"
        case _:
            return f"nothing new is started{noted}; what is done stays"


def _ending(approval: ApprovalState) -> str | None:
    """Return what the answers so far amount to: one refusal refuses, a quorum of distinct people approves."""
    if any(answer == "refuse" for _, answer in approval.answers):
        return "refused"
    approvers = {actor for actor, answer in approval.answers if answer == "approve"}
    return "approved" if len(approvers) >= approval.quorum else None


def _closed(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, ending: str) -> list[Draft]:
    step = state.steps[step_plan.id]
    approval, ask = step.approval, step_plan.approval
    assert approval is not None
    assert ask is not None
    if ending == "refused":
        return [
            _close(approval, step.id, desk, ending),
            *declined(plan, step_plan, ending, "refused", desk, ask.refused),
        ]
    if ending == "unanswered":
        ended = declined(plan, step_plan, ending, "nobody answered in time", desk, ask.unanswered)
        return [_close(approval, step.id, desk, ending), *ended]
    try:
        payload = rendered(plan, step_plan, state)
    except ExpressionError as error:
        return [_close(approval, step.id, desk, "void"), *failed_expression(plan, step_plan, desk, error)]
    if digest(payload) != approval.payload_digest:
        return [_close(approval, step.id, desk, "void"), decision(plan, step_plan, state, desk, payload)]
    return [_close(approval, step.id, desk, ending)]


def _close(approval: ApprovalState, step: str, desk: Desk, ending: str) -> Draft:
    waited = round((desk.now - approval.asked_at).total_seconds() * 1000)
    body = {
        "approval": approval.id,
        "ending": ending,
        "by": [actor for actor, _ in approval.answers],
        "payload_digest": approval.payload_digest,
        "waited_ms": waited,
    }
    return draft(Kind.APPROVAL_CLOSED, desk, step, body)


def _remind(step_plan: StepPlan, approval: ApprovalState, desk: Desk, turn: Turn) -> None:
    due, ask = approval.next_reminder_at, step_plan.approval
    if due is None or ask is None or ask.remind_seconds is None:
        return
    if due > desk.now:
        turn.wake(due)
        return
    following = desk.now + timedelta(seconds=ask.remind_seconds)
    body: dict[str, Any] = {"approval": approval.id, "times": approval.reminders + 1}
    if following < approval.give_up_at:
        body["next_reminder_at"] = rfc3339(following)
    title = f"Reminder: {step_plan.title} waits for your decision"
    notice = {"kind": "reminder", "title": title, "text": title, "approval": approval.id}
    people = [dict(person) for person in approval.people]
    body["tell"] = [tell(approval.id, f"reminded/{approval.reminders}", ask.ask, notice, people)]
    turn.drafts.append(draft(Kind.APPROVAL_REMINDED, desk, step_plan.id, body, personal=personal_in(body)))


def _escalate(plan: Plan, state: InstanceState, approval: ApprovalState, desk: Desk, turn: Turn) -> None:
    if approval.escalated >= len(approval.escalations):
        return
    at, to = approval.escalations[approval.escalated]
    if at > desk.now:
        turn.wake(at)
        return
    turn.calls.append(_resolve(plan, state, f"{approval.step}/escalate/{approval.escalated}", (to,)))


def _escalated(step: StepState, call: ResolveCall, outcome: Outcome, desk: Desk) -> list[Draft]:
    approval = step.approval
    if approval is None or approval.ending or call.key != f"{step.id}/escalate/{approval.escalated}":
        return []
    people = (outcome.value or {}).get("people", []) if outcome.result is Result.OK else []
    body: dict[str, Any] = {"approval": approval.id, "index": approval.escalated, "to": call.who[0], "people": people}
    if outcome.problem is not None:
        body["problem"] = problem_body(outcome.problem)
    title = "A decision has waited for long, so you are asked as well"
    notice = {"kind": "approval", "title": title, "text": title, "approval": approval.id}
    body["tell"] = [tell(approval.id, f"escalated/{approval.escalated}", call.who, notice, people)]
    personal = (*((("people",),) if people else ()), *personal_in(body))
    return [draft(Kind.APPROVAL_ESCALATED, desk, step.id, body, personal=personal)]
