"""Decides how a person is asked to release a write, and what their answer leads to.

An approval is bound to the digest of the rendered payload: if the payload is another one by
the time it is released, the approval is void and people are asked again (A-06). Silence is
never consent, and nobody found is never consent either: then the owner is asked, and a case
says so.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from topstitch.attempts.machine import Desk, Turn, draft, problem_body
from topstitch.execution.begin import allows, decided, declined, failed_expression, rendered
from topstitch.foundation.canonical import digest
from topstitch.foundation.timetext import rfc3339
from topstitch.governance import approvals
from topstitch.governance.agents import with_proposer
from topstitch.governance.cases import open_case
from topstitch.governance.duties import Parties, Person, exclude, parties_of
from topstitch.governance.notify import personal_in, tell
from topstitch.governance.obligations import persons_needed
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import Disposition, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Outcome, ResolveCall, Result
from topstitch.model.record import Draft
from topstitch.model.state import ApprovalState, InstanceState, StepState
from topstitch.plan.plan import CONTEXT_RETRY, ApprovalPlan, EndingPlan, EscalationPlan, Plan, StepPlan

RESOLVE_TRIES = 6
"""How often approvers are looked for before the owner is asked instead."""


def chase(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what an asking step wants now: people, reminders, more people, or its end."""
    step = state.steps[step_plan.id]
    ask = asking(step_plan, step, desk)
    if step.approval is None:
        if step.wait_until is not None and step.wait_until > desk.now:
            turn.wake(step.wait_until)
        else:
            turn.calls.append(_resolve(plan, state, f"{step.id}/approvers/{step.resolves}", _whom(step)))
        return
    ending = approvals.standing(step.approval)
    if ending is not None:
        turn.drafts += _closed(plan, step_plan, state, desk, ending)
        return
    if desk.now >= step.approval.give_up_at:
        turn.drafts += _closed(plan, step_plan, state, desk, "unanswered")
        return
    turn.wake(step.approval.give_up_at)
    _remind(step_plan, step, ask, step.approval, desk, turn)
    _escalate(plan, state, step.approval, desk, turn)


def resolved(plan: Plan, state: InstanceState, call: ResolveCall, outcome: Outcome, desk: Desk) -> list[Draft]:
    """Return the records of who was found: the approval that is asked now, or people added to one."""
    name, _, rest = call.key.partition("/")
    step = state.steps.get(name)
    step_plan = plan.steps.get(name)
    if step is None or step_plan is None:
        return []
    if rest.startswith("escalate/"):
        return _escalated(state, step, call, outcome, desk)
    if step.status is not StepStatus.ASKING or step.approval is not None:
        return []  # the question went out beside a commit that was then decided anew, and nobody asks it any more
    if call.key != f"{name}/approvers/{step.resolves}" or call.who != _whom(step):
        return []
    people, excluded = _may_decide(state, step, outcome, desk)
    last = step.resolves >= RESOLVE_TRIES
    if not people and not last:
        return [_nobody_yet(step, call, outcome, desk)]
    barred = (outcome.value or {}).get("barred", [])
    drafts = [_asked(plan, step_plan, state, step, people, excluded, barred, desk)]
    if approvals.too_few(step.gates, people):
        case = open_case(
            plan,
            state,
            desk.now,
            desk.stage,
            about=step.id,
            cause="nobody-to-ask",
            step=step.id,
            summary=f"{step_plan.title} waits for an approval that nobody can give, or too few can",
            remedy="Name approvers in the directory, or reassign the approval; without an answer it ends as unanswered",
        )
        drafts += [case] if case else []
    return drafts


def withdrawn(step: StepState, desk: Desk) -> list[Draft]:
    """Return the record that takes an open approval back."""
    if step.approval is None or step.approval.ending is not None:
        return []
    return [_close(step.approval, step.id, desk, "withdrawn")]


def asking(step_plan: StepPlan, step: StepState, desk: Desk) -> ApprovalPlan:
    """Return how people are asked: as the definition says, else as the policy that asks says."""
    if step_plan.approval is not None:
        return step_plan.approval
    given = desk.law.asking
    endings = step.approval.endings if step.approval else {}
    return ApprovalPlan(
        auto_when=None,
        ask=(),
        quorum=1,
        remind_seconds=given.remind_seconds,
        escalate=(EscalationPlan(after_seconds=given.escalate_seconds, to=given.escalate_to),),
        give_up_seconds=given.give_up_seconds,
        refused=_ending_plan(endings.get("refused", given.refused)),
        unanswered=_ending_plan(endings.get("unanswered", given.unanswered)),
    )


def _ending_plan(then: str) -> EndingPlan:
    return EndingPlan(then=Disposition(then), flag=None, tell=("requester", "owner"))


def _whom(step: StepState) -> tuple[str, ...]:
    if step.resolves >= RESOLVE_TRIES:
        return ("owner",)
    return tuple(dict.fromkeys(who for gate in step.gates for who in gate["from"]))


def _parties(state: InstanceState, step: StepState) -> Parties:
    return with_proposer(parties_of(state), step.proposal or {})


def _may_decide(
    state: InstanceState, step: StepState, outcome: Outcome, desk: Desk
) -> tuple[list[Person], list[dict[str, str]]]:
    """Return whom of the people found to ask, and who was left out because of separation of duties."""
    if outcome.result is not Result.OK:
        return [], []
    value = outcome.value or {}
    people, excluded = exclude(value.get("people", []), _parties(state, step), desk.law.delegations, desk.now)
    return people, [*value.get("excluded", []), *excluded]


def _resolve(plan: Plan, state: InstanceState, key: str, who: tuple[str, ...]) -> ResolveCall:
    proposal = state.steps[key.partition("/")[0]].proposal or {}
    barred = (state.requester, state.correlation, proposal.get("id"), proposal.get("owner"))
    excluded = tuple(str(name) for name in barred if name)  # as they are written: the directory looks them up
    return ResolveCall(
        key=key, who=who, subject=state.correlation, requester=state.requester, owner=plan.owner, exclude=excluded
    )


def _nobody_yet(step: StepState, call: ResolveCall, outcome: Outcome, desk: Desk) -> Draft:
    """A directory that does not answer is asked again; an empty answer goes straight to the owner."""
    answered = outcome.result is Result.OK or outcome.result is Result.REFUSED
    return _sought(RESOLVE_TRIES if answered else step.resolves + 1, call, outcome, desk, step.id, again=not answered)


def _sought(attempt: int, call: ResolveCall, outcome: Outcome, desk: Desk, step: str, *, again: bool = True) -> Draft:
    body: dict[str, Any] = {"attempt": attempt, "who": list(call.who), "found": 0}
    if again:
        body["again_at"] = rfc3339(desk.now + timedelta(seconds=CONTEXT_RETRY.wait_seconds(attempt, call.key)))
    if outcome.problem is not None:
        body["problem"] = problem_body(outcome.problem)
    return draft(Kind.APPROVERS_SOUGHT, desk, step, body)


def _asked(
    plan: Plan,
    step_plan: StepPlan,
    state: InstanceState,
    step: StepState,
    people: list[Person],
    excluded: list[dict[str, str]],
    barred: list[str],
    desk: Desk,
) -> Draft:
    ask = asking(step_plan, step, desk)
    identity = approvals.approval_id(state.id, step.id, step.asks)
    give_up_at = desk.law.later(desk.now, ask.give_up_seconds)
    body: dict[str, Any] = {
        "approval": identity,
        "title": f"{step_plan.title}: {state.title}",
        "from": list(_whom(step)),
        "people": people,
        "excluded": excluded,
        "quorum": persons_needed((gate["quorum"] for gate in step.gates), len(step.gates)),
        "gates": list(step.gates),
        "payload_digest": step.payload_digest,
        "give_up_at": rfc3339(give_up_at),
        "escalations": [
            {"at": rfc3339(desk.law.later(desk.now, e.after_seconds)), "to": e.to}
            for e in ask.escalate
            if e.after_seconds < ask.give_up_seconds
        ],
        "system": step_plan.system,
        "risk": step_plan.risk,
        "if_approved": f"{step_plan.title} goes ahead{_where(plan, step_plan)}",
        "if_refused": _consequence(step_plan, ask.refused.then, ask.refused.flag),
        "if_unanswered": _consequence(step_plan, ask.unanswered.then, ask.unanswered.flag),
    }
    if barred:
        body["barred"] = barred
    if step_plan.approval is None:
        body["endings"] = {"refused": ask.refused.then, "unanswered": ask.unanswered.then}
    if ask.remind_seconds:
        body["remind_every_s"] = ask.remind_seconds
        body["next_reminder_at"] = rfc3339(desk.law.later(desk.now, ask.remind_seconds))
    body["tell"] = [tell(identity, "asked", body["from"], _notice(plan, step_plan, state, identity, body), people)]
    hidden = tuple((name,) for name in ("people", "barred") if body.get(name))
    personal = (("title",), *hidden, *personal_in(body))
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


def _closed(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, ending: str) -> list[Draft]:
    step = state.steps[step_plan.id]
    approval, ask = step.approval, asking(step_plan, step, desk)
    assert approval is not None
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
        return [_close(approval, step.id, desk, "void"), *failed_expression(plan, step_plan, state, desk, error)]
    again = decided(plan, step_plan, state, desk, payload)
    if digest(payload) != approval.payload_digest or not allows(approval.gates, again[0]):
        return [_close(approval, step.id, desk, "void"), *again]
    return [_close(approval, step.id, desk, ending)]


def _close(approval: ApprovalState, step: str, desk: Desk, ending: str) -> Draft:
    waited = max(round((desk.now - approval.asked_at).total_seconds() * 1000), 0)
    body = {
        "approval": approval.id,
        "ending": ending,
        "by": [actor for actor, _ in approval.answers],
        "payload_digest": approval.payload_digest,
        "waited_ms": waited,
    }
    return draft(Kind.APPROVAL_CLOSED, desk, step, body)


def _remind(
    step_plan: StepPlan, step: StepState, ask: ApprovalPlan, approval: ApprovalState, desk: Desk, turn: Turn
) -> None:
    due = approval.next_reminder_at
    if due is None or ask.remind_seconds is None:
        return
    if due > desk.now:
        turn.wake(due)
        return
    following = desk.law.later(desk.now, ask.remind_seconds)
    body: dict[str, Any] = {"approval": approval.id, "times": approval.reminders + 1}
    if following < approval.give_up_at:
        body["next_reminder_at"] = rfc3339(following)
    title = f"Reminder: {step_plan.title} waits for your decision"
    notice = {"kind": "reminder", "title": title, "text": title, "approval": approval.id}
    people = [dict(person) for person in approval.people]
    body["tell"] = [tell(approval.id, f"reminded/{approval.reminders}", _whom(step), notice, people)]
    turn.drafts.append(draft(Kind.APPROVAL_REMINDED, desk, step_plan.id, body, personal=personal_in(body)))


def _escalate(plan: Plan, state: InstanceState, approval: ApprovalState, desk: Desk, turn: Turn) -> None:
    if approval.escalated >= len(approval.escalations):
        return
    at, to = approval.escalations[approval.escalated]
    due = max(at, approval.again_at or at)
    if due > desk.now:
        turn.wake(due)
        return
    turn.calls.append(_resolve(plan, state, f"{approval.step}/escalate/{approval.escalated}", (to,)))


def _escalated(state: InstanceState, step: StepState, call: ResolveCall, outcome: Outcome, desk: Desk) -> list[Draft]:
    approval = step.approval
    if approval is None or approval.ending or call.key != f"{step.id}/escalate/{approval.escalated}":
        return []
    silent = outcome.result is not Result.OK and outcome.result is not Result.REFUSED
    if silent and approval.sought + 1 < RESOLVE_TRIES:
        return [_sought(approval.sought + 1, call, outcome, desk, step.id)]
    people, _ = _may_decide(state, step, outcome, desk)
    body: dict[str, Any] = {"approval": approval.id, "index": approval.escalated, "to": call.who[0], "people": people}
    if outcome.problem is not None:
        body["problem"] = problem_body(outcome.problem)
    title = "A decision has waited for long, so you are asked as well"
    notice = {"kind": "approval", "title": title, "text": title, "approval": approval.id}
    body["tell"] = [tell(approval.id, f"escalated/{approval.escalated}", call.who, notice, people)]
    personal = (*((("people",),) if people else ()), *personal_in(body))
    return [draft(Kind.APPROVAL_ESCALATED, desk, step.id, body, personal=personal)]
