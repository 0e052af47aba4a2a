"""Decides whether a waiting step may begin, and what is decided about its write.

In this order: its needs, what it comes after, its condition, its preconditions, its payload,
and who must release that payload. Every outcome is a record; waiting is the only one that
is not, and it always has a time or a step that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts.machine import Desk, Turn
from topstitch.execution.desk import draft, seam_of, step_facts
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import AuthorError
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.notify import personal_in, tell
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.instance import SETTLED, SUCCEEDED, Disposition, Mode
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path
from topstitch.model.state import Failure, InstanceState, StepState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import EndingPlan, Plan, StepPlan
from topstitch.plan.scope import read_values, values

DEFINITION = Actor(ActorKind.POLICY, "definition")


def begin(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what becomes of a waiting step."""
    steps = state.steps
    for need in step_plan.needs:
        if steps[need].status not in SUCCEEDED:
            _needs_more(step_plan, state, desk, turn)
            return
    waits_until = waits_for_others(step_plan, state) if step_plan.after else None
    if waits_until is not None and waits_until > desk.now:
        turn.wake(waits_until)
        return
    try:
        turn.drafts += _decided(plan, step_plan, state, desk)
    except ExpressionError as error:
        turn.drafts += failed_expression(plan, step_plan, desk, error)


def _needs_more(step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """A step whose needs are not met waits; once one of them has come to nothing, it is not run."""
    missed = [n for n in step_plan.needs if (status := state.steps[n].status) in SETTLED and status not in SUCCEEDED]
    if missed:
        body = {"because": "a step it needs did not happen", "steps": missed}
        turn.drafts.append(draft(Kind.STEP_NOT_RUN, desk, step_plan.id, body))


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


def failed_expression(plan: Plan, step_plan: StepPlan, desk: Desk, error: AuthorError) -> list[Draft]:
    """Return the record of a step whose condition or payload cannot be worked out: a failure without effect."""
    body = {
        "failure": Failure.EXPRESSION,
        "effect": "none",
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


def decision(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, payload: Any) -> Draft:
    """Return the decision on a rendered payload: released by the definition, or a person is asked."""
    outcome, because = _who_releases(plan, step_plan, state)
    body: dict[str, Any] = {
        "outcome": outcome,
        "because": because,
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
    if outcome == "approve" and step_plan.approval:
        body["gates"] = [{"from": list(step_plan.approval.ask), "quorum": step_plan.approval.quorum}]
    personal = payload_paths(step_plan, payload) + _read_paths(plan, because)
    return draft(Kind.DECISION, desk, step_plan.id, body, personal=personal, actor=DEFINITION)


def payload_paths(step_plan: StepPlan, payload: Any) -> tuple[Path, ...]:
    """Return the personal paths of a step's payload under ``payload``."""
    if step_plan.act is None:
        return (("payload",),) if payload else ()
    marked = step_plan.act.personal_in
    if step_plan.items is None:
        return paths_in(payload, marked, ("payload",))
    return tuple(path for i, one in enumerate(payload) for path in paths_in(one, marked, ("payload", i)))


def declined(
    plan: Plan, step_plan: StepPlan, ending: str, because: str, desk: Desk, plan_ending: EndingPlan
) -> list[Draft]:
    """Return the records of a refusal, or of silence: its own disposition, never the by-hand task."""
    then = plan_ending.then
    body: dict[str, Any] = {"ending": ending, "because": because, "then": then}
    if plan_ending.tell:
        said = "was refused" if ending == "refused" else "was not answered in time"
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
    return [decision(plan, step_plan, state, desk, rendered(plan, step_plan, state, scope))]


def _who_releases(plan: Plan, step_plan: StepPlan, state: InstanceState) -> tuple[str, list[Mapping[str, Any]]]:
    approval = step_plan.approval
    if approval is None:
        return "auto", [{"rule": "definition:no-approval", "digest": plan.digest, "read": {}}]
    if approval.auto_when is None:
        return "approve", [{"rule": "definition:approval", "digest": plan.digest, "read": {}}]
    because: dict[str, Any] = {
        "rule": "definition:auto_when",
        "digest": plan.digest,
        "condition": approval.auto_when.source,
    }
    step = state.steps[step_plan.id]
    scope = values(plan, state)
    because["read"] = read_values(scope, approval.auto_when.paths)
    if state.rates:
        because["rates"] = dict(state.rates)
    try:
        released = approval.auto_when.evaluate(step_facts(plan, state, step)) is True
    except ExpressionError as error:
        released, because["error"] = False, error.message
    return ("auto" if released else "approve"), [because]


def _read_paths(plan: Plan, because: list[Mapping[str, Any]]) -> tuple[Path, ...]:
    personal = {".".join(("trigger", *pattern)) for pattern in plan.trigger.personal}
    for name, read in plan.context.items():
        personal |= {".".join(("context", name, *pattern)) for pattern in read.personal}
    return tuple(
        ("because", index, "read", path)
        for index, one in enumerate(because)
        for path, value in one["read"].items()
        if value is not None and any(path == p or p.startswith(f"{path}.") for p in personal)
    )


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
