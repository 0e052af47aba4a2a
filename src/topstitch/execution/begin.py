"""Decides whether a waiting step may begin, and what is decided about its write.

In this order: its needs, what it comes after, its condition, its preconditions, its payload,
and who must release that payload. Every outcome is a record; waiting is the only one that
is not, and it always has a time or a step that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts.machine import Desk, Turn, draft
from topstitch.execution.desk import seam_of, step_facts
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import AuthorError
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.agents import as_proposed
from topstitch.governance.facts import DEFINITION_DECIDED, ENGINE_ACTS, recorded, split
from topstitch.governance.notify import personal_in, tell
from topstitch.governance.obligations import AUTO, Ruling, declared_gate, gates_body, gates_from
from topstitch.governance.policy import judge, personal_facts, scope_of
from topstitch.language.cel import ENGINE
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.instance import SETTLED, SUCCEEDED, Disposition, Mode
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path, parse_actor
from topstitch.model.state import Failure, InstanceState, StepState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import EndingPlan, Plan, StepPlan
from topstitch.plan.scope import step_values, values

MISSED = SETTLED - SUCCEEDED
"""Where a step stands that will not do any more what others need of it."""
DEFINITION = Actor(ActorKind.POLICY, "definition")
DENIED = EndingPlan(then=Disposition.STOP, flag=None, tell=("requester", "owner"))
"""What a denial leads to when the definition says nothing of a refusal."""


def begin(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what becomes of a waiting step."""
    unmet = missed = False
    for need in step_plan.needs:
        status = state.steps[need].status
        unmet = unmet or status not in SUCCEEDED
        missed = missed or status in MISSED
    if unmet:
        if missed:
            turn.drafts.append(_not_run(step_plan, state, desk))
        return
    waits_until = waits_for_others(step_plan, state) if step_plan.after else None
    if waits_until is not None and waits_until > desk.now:
        turn.wake(waits_until)
        return
    try:
        turn.drafts += _decided(plan, step_plan, state, desk)
    except ExpressionError as error:
        turn.drafts += failed_expression(plan, step_plan, state, desk, error)


def _not_run(step_plan: StepPlan, state: InstanceState, desk: Desk) -> Draft:
    """A step whose needs are not met waits; once one of them has come to nothing, it is not run."""
    missed = [need for need in step_plan.needs if state.steps[need].status in MISSED]
    body = {"because": "a step it needs did not happen", "steps": missed}
    return draft(Kind.STEP_NOT_RUN, desk, step_plan.id, body)


def waits_for_others(step_plan: StepPlan, state: InstanceState) -> datetime | None:
    """Return until when the step waits for what it comes after; nothing when it waits for nothing more.

    Each wait has a deadline, counted from when the step's needs were met.
    """
    ready = ready_at(step_plan, state)
    if ready is None:
        return None
    pending = [
        ready + timedelta(seconds=limit)
        for other, limit in step_plan.after.items()
        if state.steps[other].status not in SETTLED
    ]
    return max(pending) if pending else None


def ready_at(step_plan: StepPlan, state: InstanceState) -> datetime | None:
    """Return when the last of the step's needs was met; for a root, when the context was complete."""
    times = [t for n in step_plan.needs if (t := state.steps[n].settled_at) is not None]
    return max(times) if times else state.context_done_at


def failed_expression(
    plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, error: AuthorError
) -> list[Draft]:
    """Return the record of a step whose condition or payload cannot be worked out: a failure without a new effect."""
    body = {
        "failure": Failure.EXPRESSION,
        "effect": state.steps[step_plan.id].effect,
        "problem": {"code": error.code, "message": error.message},
        "seam": seam_of(plan, step_plan),
    }
    return [draft(Kind.STEP_FAILED, desk, step_plan.id, body)]


def rendered(plan: Plan, step_plan: StepPlan, state: InstanceState, scope: Facts | None = None) -> Any:
    """Return the step's payload as it would be sent now: a map, or a list of maps for ``for_each``."""
    step = state.steps[step_plan.id]
    if step.override is not None:
        return step.override
    template = step_plan.act.params if step_plan.act else step_plan.call.params if step_plan.call else None
    if template is None:
        return {}
    scope = scope or step_facts(plan, state, step)
    if step_plan.items is None:
        return template.render(scope)
    items = step_plan.items.evaluate(scope)
    if not isinstance(items, list) or len(items) > step_plan.items_max:
        raise ExpressionError(f"for_each wants a list of at most {step_plan.items_max}; raise max or send less")
    return [template.render(step_facts(plan, state, step, item=item)) for item in items]


def decided(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, payload: Any) -> list[Draft]:
    """Return the decision on a rendered payload, and what follows at once: a denial is a declared ending."""
    made = decision(plan, step_plan, state, desk, payload)
    if made.body["outcome"] != "deny":
        return [made]
    denied = made.body["denied"]
    because = f"denied by {', '.join(one['rule'] for one in denied)}"
    ending = step_plan.approval.refused if step_plan.approval else DENIED
    said = "is not allowed: " + "; ".join(one["text"] for one in denied)
    return [made, *declined(plan, step_plan, "denied", because, desk, ending, said=said)]


def decision(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, payload: Any) -> Draft:
    """Return the decision on a rendered payload: the definition, the policy and an agent's limits, strictest first."""
    ruling, body = _judged(plan, step_plan, state, desk, payload)
    body |= {
        "system": step_plan.system,
        "payload": payload,
        "payload_digest": digest(payload),
        "key": f"{desk.instance}:{step_plan.id}",
        "risk": step_plan.risk,
    }
    if step_plan.act:
        body["action"] = step_plan.act.action.name
    if step_plan.no_expect:
        body["not_read_back"] = step_plan.no_expect
    if ruling.tell:
        body["tell"] = [_notice(plan, step_plan, state, ruling)]
    personal = payload_paths(step_plan, payload) + personal_facts(plan, step_plan, body) + personal_in(body)
    policy = body.get("policy")
    actor = Actor(ActorKind.POLICY, policy["hard"]["bundle"]) if policy else DEFINITION
    return draft(Kind.DECISION, desk, step_plan.id, body, personal=personal, actor=actor)


def allows(gates: tuple[Mapping[str, Any], ...], made: Draft) -> bool:
    """Whether people who met ``gates`` have met what a decision made now demands."""
    return made.body["outcome"] != "deny" and gates_from(gates).allows(gates_from(made.body.get("gates", ())))


def _judged(
    plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, payload: Any
) -> tuple[Ruling, dict[str, Any]]:
    declared, because = _who_releases(plan, step_plan, state)
    if desk.law.in_force is None and not desk.law.bundles and state.steps[step_plan.id].proposal is None:
        body: dict[str, Any] = {
            "outcome": declared.outcome,
            "because": because,
            "env": state.environment,
            "engine": ENGINE,
        }
        return declared, body | ({"gates": gates_body(declared)} if declared.gates else {})
    asker = parse_actor(state.requester or "")
    scope = scope_of(
        plan,
        step_plan,
        state,
        payload,
        calendar=desk.law.calendar.facts(desk.now),
        actor={"kind": "agent", "id": asker.id} if asker.kind is ActorKind.AGENT else ENGINE_ACTS,
        decided=as_proposed(state.steps[step_plan.id].proposal or DEFINITION_DECIDED, digest(payload)),
    )
    made = judge(desk.law, declared, because, scope, rates=state.rates, digest=state.policy)
    return made.ruling, dict(made.body)


def _notice(plan: Plan, step_plan: StepPlan, state: InstanceState, ruling: Ruling) -> dict[str, Any]:
    """Return what people are told because a policy wants it: for review, and no gate (A-11)."""
    goes = "waits for an approval" if ruling.gates else "goes ahead"
    title = f"{step_plan.title} for {state.title} {goes}"
    text = f"{plan.title}: {title}. This is for your information; nothing waits for you."
    about = f"{step_plan.id}/{state.steps[step_plan.id].asks}"
    return tell(about, "decided", ruling.tell, {"kind": "notice", "title": title, "text": text})


def payload_paths(step_plan: StepPlan, payload: Any) -> tuple[Path, ...]:
    """Return the personal paths of a step's payload under ``payload``."""
    if step_plan.act is None:
        return (("payload",),) if payload else ()
    marked = step_plan.act.personal_in
    if step_plan.items is None:
        return paths_in(payload, marked, ("payload",))
    return tuple(path for i, one in enumerate(payload) for path in paths_in(one, marked, ("payload", i)))


def declined(
    plan: Plan,
    step_plan: StepPlan,
    ending: str,
    because: str,
    desk: Desk,
    plan_ending: EndingPlan,
    *,
    said: str | None = None,
) -> list[Draft]:
    """Return the records of a refusal, a denial, or of silence: its own disposition, never the by-hand task."""
    then = plan_ending.then
    body: dict[str, Any] = {"ending": ending, "because": because, "then": then}
    if plan_ending.tell:
        said = said or ("was refused" if ending == "refused" else "was not answered in time")
        notice = {
            "kind": "declined",
            "title": f"{step_plan.title} {said}",
            "text": f"{plan.title}: {step_plan.title} {said}.",
        }
        body["tell"] = [tell(step_plan.id, ending, plan_ending.tell, notice)]
    drafts = [draft(Kind.STEP_DECLINED, desk, step_plan.id, body, personal=personal_in(body))]
    if plan_ending.flag:
        flag = {"flag": plan_ending.flag, "because": ending}
        drafts.append(draft(Kind.FLAG_SET, desk, step_plan.id, flag))
    return drafts + turned(then, step_plan, desk, f"{step_plan.title}: {because}")


def turned(then: Disposition, step_plan: StepPlan, desk: Desk, because: str) -> list[Draft]:
    """Return the record by which a disposition turns the instance, if it does."""
    if then is Disposition.CONTINUE:
        return []
    mode = Mode.ROLLING_BACK if then is Disposition.ROLLBACK else Mode.STOPPING
    return [draft(Kind.MODE_CHANGED, desk, step_plan.id, {"mode": mode, "because": because})]


def _decided(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk) -> list[Draft]:
    step = state.steps[step_plan.id]
    scope = step_facts(plan, state, step)
    if step_plan.when is not None and step_plan.when.evaluate(scope) is not True:
        return [draft(Kind.STEP_SKIPPED, desk, step_plan.id, {"because": step_plan.when.source})]
    for check in step_plan.require:
        if check.check.evaluate(scope) is not True:
            ending = EndingPlan(then=check.otherwise, flag=None, tell=())
            return declined(plan, step_plan, "precondition", check.because, desk, ending)
    if step_plan.wait is not None:
        give_up_at = desk.now + timedelta(seconds=step_plan.wait.give_up_seconds)
        body = {"event": step_plan.wait.event_type, "give_up_at": rfc3339(give_up_at)}
        return [draft(Kind.WAIT_BEGAN, desk, step_plan.id, body)]
    return decided(plan, step_plan, state, desk, rendered(plan, step_plan, state, scope))


def _who_releases(plan: Plan, step_plan: StepPlan, state: InstanceState) -> tuple[Ruling, list[Mapping[str, Any]]]:
    """Return what the definition itself asks, and why."""
    approval = step_plan.approval
    if approval is None:
        return AUTO, [{"rule": "definition:no-approval", "digest": plan.digest, "read": {}}]
    asks = declared_gate(approval.ask, approval.quorum)
    because: dict[str, Any] = {
        "rule": "definition:approval",
        "digest": plan.digest,
        "read": {},
        "gates": gates_body(asks),
    }
    if approval.auto_when is None:
        return asks, [because]
    because |= {"rule": "definition:auto_when", "condition": approval.auto_when.source}
    step = state.steps[step_plan.id]
    scope = {**values(plan, state), "step": step_values(step)}
    because["read"] = recorded(scope, split(approval.auto_when.paths))
    if state.rates:
        because["rates"] = dict(state.rates)
    try:
        released = approval.auto_when.evaluate(step_facts(plan, state, step)) is True
    except ExpressionError as error:
        released, because["error"] = False, error.message
    return (AUTO if released else asks), [because]


def waited_for_others(step_plan: StepPlan, state: InstanceState, step: StepState) -> datetime | None:
    """Return when the step was free to begin: its needs met, and what it comes after settled or overdue."""
    ready = ready_at(step_plan, state)
    if ready is None or not step_plan.after:
        return ready
    free = ready
    for other, limit in step_plan.after.items():
        deadline = ready + timedelta(seconds=limit)
        settled = state.steps[other].settled_at
        free = max(free, min(settled, deadline) if settled else deadline)
    return min(free, step.decided_at) if step.decided_at else free
