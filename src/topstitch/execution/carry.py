"""Decides what a running step wants: its writes, the event it waits for, or the workflow it called.

A step is done when every write of it is confirmed; it has failed when all have come to an
end and one of them has not been done. What a failure leads to is decided in ``compensate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn, draft, problem_body
from topstitch.execution.begin import ready_at, turned, waited_for_others
from topstitch.execution.desk import case_of, seam_of, step_facts
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.notify import personal_in, tell
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import InstanceEnd, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, Outcome, Result, StartCall
from topstitch.model.record import Draft
from topstitch.model.state import ActState, ActStatus, Failure, InstanceState, StepState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import CallPlan, Plan, StepPlan

GOOD_ENDS = frozenset({"completed", "completed_with_exceptions"})


def carry(plan: Plan, step_plan: StepPlan, state: InstanceState, desk: Desk, turn: Turn) -> None:
    """Add to ``turn`` what a running step wants now."""
    step = state.steps[step_plan.id]
    if step_plan.wait is not None:
        _wait(plan, step_plan, state, step, desk, turn)
    elif step_plan.call is not None:
        _call(plan, step_plan, state, step, desk, turn)
    else:
        _write(plan, step_plan, state, step, desk, turn)


def _write(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    acts = [state.acts[name] for name in step.acts]
    if all(act.status in TERMINAL for act in acts):
        turn.drafts.append(ended(plan, step_plan, state, step, acts, desk))
        return
    assert step_plan.act is not None
    handoffs = None if step.started_at else handoffs_of(plan, step_plan, state, step, desk)
    for act in acts:
        machine.advance(step_plan.act, act, desk, turn, handoffs)
        handoffs = None


def ended(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, acts: list[ActState], desk: Desk
) -> Draft:
    """Return the record of a step all of whose writes have come to an end."""
    failed = [act for act in acts if act.status is not ActStatus.DONE]
    if failed:
        return _failed(plan, step_plan, acts, failed, desk)
    body: dict[str, Any] = {"system": step_plan.system, "found": all(act.found for act in acts)}
    if acts and acts[0].record is not None:
        body["record"] = acts[0].record
    if acts and acts[0].url is not None:
        body["url"] = acts[0].url
    return _done(plan, step_plan, state, step, desk, body)


def _done(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, body: dict[str, Any]
) -> Draft:
    started = step.started_at or step.decided_at or desk.now
    body["started_at"] = rfc3339(started)
    body["duration_ms"] = _ms(started, desk.now)
    if step_plan.tell:
        title = f"{step_plan.title} is done for {state.title}"
        notice = {"kind": "done", "title": title, "text": f"{plan.title}: {title}."}
        body["tell"] = [tell(step.id, "done", step_plan.tell, notice)]
    personal = personal_in(body)
    if "output" in body and step_plan.wait is not None:
        personal += paths_in(body["output"], step_plan.wait.personal, ("output",))
    return draft(Kind.STEP_DONE, desk, step.id, body, personal=personal)


def _failed(
    plan: Plan,
    step_plan: StepPlan,
    acts: list[ActState],
    failed: list[ActState],
    desk: Desk,
) -> Draft:
    only = worst(failed)
    failure = only.failure or Failure.REFUSED
    effect = effect_of(only)
    if len(acts) > 1 and len(failed) < len(acts):
        failure, effect = Failure.SOME_FAILED, "unknown" if effect == "unknown" else "applied"
    body: dict[str, Any] = {
        "failure": failure,
        "effect": effect,
        "seam": seam_of(plan, step_plan),
        "attempt": only.attempt,
    }
    if only.problem is not None:
        body["problem"] = only.problem
    if only.request is not None:
        body["request"] = only.request
    if len(acts) > 1:
        body["items"] = [acts.index(act) for act in failed]
    return draft(Kind.STEP_FAILED, desk, step_plan.id, body)


def worst(acts: list[ActState]) -> ActState:
    """Return the act that may have left most behind: what is not known counts before what is there."""
    return max(acts, key=lambda act: ("none", "applied", "unknown").index(effect_of(act)))


def effect_of(act: ActState) -> str:
    """Return what an ended act of ours has left: what was only found is not ours."""
    if act.found or act.failure is None:
        return "none" if act.found or act.status is not ActStatus.DONE else "applied"
    return act.failure.effect


def handoffs_of(
    plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk
) -> list[Mapping[str, Any]]:
    """Return the crossings that end as this step starts (``language.md`` 8.1).

    ``net_ms`` leaves out approval and what the definition itself says to wait for; the
    clock starts when the last of the needs was done.
    """
    ready, free = ready_at(step_plan, state), waited_for_others(step_plan, state, step)
    if ready is None or free is None:
        return []
    gross = _ms(ready, desk.now)
    net = max(_ms(max(ready, free), desk.now) - step.approval_ms, 0)
    sources = [(n, plan.steps[n].system) for n in step_plan.needs] or [("context", plan.trigger.system)]
    return [
        {
            "from": name,
            "from_system": plan.connector_of(system),
            "to_system": plan.connector_of(step_plan.system),
            "ready_at": rfc3339(ready),
            "net_ms": net,
            "gross_ms": gross,
        }
        for name, system in sources
    ]


def not_run(desk: Desk, step: StepState) -> Draft:
    """Return the record of a step that is not begun any more; what it may have left before stays known."""
    if step.effect != "none":
        return draft(Kind.STEP_GIVEN_UP, desk, step.id, {"failure": Failure.UNKNOWN, "effect": step.effect})
    return draft(Kind.STEP_NOT_RUN, desk, step.id, {"because": "the instance left the forward way", "steps": []})


def left_behind(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk) -> list[Draft]:
    """Return what is recorded of a call when the instance goes on without it: what was started goes on by itself."""
    if step.child_end is not None:
        turn = Turn()
        _call(plan, step_plan, state, step, desk, turn)
        return turn.drafts
    if step.child is None and step.look_at is None:
        return [not_run(desk, step)]
    given_up = draft(Kind.STEP_GIVEN_UP, desk, step.id, {"failure": Failure.UNKNOWN, "effect": "unknown"})
    return [given_up, *_still_running(plan, step_plan, state, step.child, desk)]


def _still_running(plan: Plan, step_plan: StepPlan, state: InstanceState, child: str | None, desk: Desk) -> list[Draft]:
    return case_of(
        plan,
        step_plan,
        state,
        desk,
        cause="called-goes-on",
        summary=f"{step_plan.title} has called a workflow, and {state.title} did not wait for its end",
        remedy=f"Cancel {child or 'the called instance, if there is one'}, or let it come to its end; then close this",
    )


def answered(plan: Plan, state: InstanceState, call: Call, outcome: Outcome, desk: Desk) -> list[Draft]:
    """Return the record of what came back for a wait's look into the inbox, or a started workflow."""
    name = call.key.partition("/")[0]
    step_plan = plan.steps[name]
    if state.steps[name].status is not StepStatus.RUNNING:
        return _answered_late(plan, state, call, outcome, desk)
    if isinstance(call, InboxCall) and outcome.result is Result.OK and step_plan.wait is not None:
        return _offers(step_plan, outcome.value["events"], desk)
    if isinstance(call, StartCall) and outcome.result is Result.OK:
        body = {"instance": outcome.value["instance"], "workflow": call.workflow}
        return [draft(Kind.CHILD_STARTED, desk, name, body)]
    if outcome.result in (Result.REFUSED, Result.CHANGED) and outcome.problem is not None:
        body = {
            "failure": Failure.REFUSED,
            "effect": "none",
            "seam": seam_of(plan, step_plan),
            "problem": problem_body(outcome.problem),
        }
        return [draft(Kind.STEP_FAILED, desk, name, body)]
    again_at = rfc3339(desk.now + timedelta(seconds=10))
    return [draft(Kind.WAIT_LOOKED, desk, name, {"seen": 0, "again_at": again_at})]


def _answered_late(plan: Plan, state: InstanceState, call: Call, outcome: Outcome, desk: Desk) -> list[Draft]:
    """Nobody waits for the answer any more; but a workflow that was started all the same goes on, and is told of."""
    if not isinstance(call, StartCall) or outcome.result is not Result.OK:
        return []
    name, child = call.key.partition("/")[0], outcome.value["instance"]
    started = draft(Kind.CHILD_STARTED, desk, name, {"instance": child, "workflow": call.workflow})
    return [started, *_still_running(plan, plan.steps[name], state, child, desk)]


def _offers(step_plan: StepPlan, events: list[Mapping[str, Any]], desk: Desk) -> list[Draft]:
    assert step_plan.wait is not None
    offers = [
        draft(
            Kind.SIGNAL_OFFERED,
            desk,
            step_plan.id,
            {"event": one["event"], "data": one["data"]},
            personal=paths_in(one["data"], step_plan.wait.personal, ("data",)),
        )
        for one in events
    ]
    return [*offers, draft(Kind.WAIT_LOOKED, desk, step_plan.id, {"seen": len(events)})]


def _wait(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    assert step_plan.wait is not None
    for signal in step.signals:
        if _matches(plan, step_plan, state, step, signal):
            body = {"output": signal["data"], "event": signal["event"], "system": step_plan.system, "found": False}
            turn.drafts.append(_done(plan, step_plan, state, step, desk, body))
            return
    if step.wait_until is not None and desk.now >= step.wait_until:
        otherwise = step_plan.wait.otherwise
        body = {"ending": "unanswered", "because": "the event did not come in time", "then": otherwise}
        turn.drafts.append(draft(Kind.WAIT_EXPIRED, desk, step.id, {"otherwise": otherwise}))
        turn.drafts.append(draft(Kind.STEP_DECLINED, desk, step.id, body))
        turn.drafts += turned(otherwise, step_plan, desk, f"{step_plan.title}: the event did not come in time")
        return
    turn.wake(step.wait_until)
    since = state.started_at or desk.now
    if step.look_at is not None and step.look_at > desk.now:
        turn.wake(step.look_at)
    elif not step.looked:
        turn.calls.append(InboxCall(key=f"{step.id}/inbox", event_type=step_plan.wait.event_type, since=since))


def _matches(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, signal: Mapping[str, Any]) -> bool:
    assert step_plan.wait is not None
    try:
        return step_plan.wait.match.evaluate(step_facts(plan, state, step, event=signal["data"])) is True
    except ExpressionError:
        return False


def _call(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, desk: Desk, turn: Turn) -> None:
    assert step_plan.call is not None
    began = step.released_at or desk.now
    give_up_at: datetime = began + timedelta(seconds=step_plan.call.give_up_seconds)
    if step.child_end is not None:
        turn.drafts.append(_call_ended(plan, step_plan, state, step, step.child_end["end"], desk))
    elif desk.now >= give_up_at:
        said = "the called workflow did not end in time"
        turn.drafts.append(_call_failed(plan, step_plan, desk, Failure.UNREACHABLE, "unknown", said))
    elif step.child is not None:
        turn.wake(give_up_at)
    elif step.look_at is not None and step.look_at > desk.now:
        turn.wake(min(step.look_at, give_up_at))
    else:
        turn.wake(give_up_at)
        turn.calls.append(_start(step_plan.call, state, step))


def _call_ended(plan: Plan, step_plan: StepPlan, state: InstanceState, step: StepState, end: str, desk: Desk) -> Draft:
    """Return the record of a call whose workflow has ended: what one that was not rolled back did is still there."""
    if end in GOOD_ENDS:
        output = {"instance": step.child or "", "end": end}
        body: dict[str, Any] = {"output": output, "system": step_plan.system, "found": False}
        return _done(plan, step_plan, state, step, desk, body)
    effect = "none" if end == InstanceEnd.ROLLED_BACK else "applied"
    return _call_failed(plan, step_plan, desk, Failure.REFUSED, effect, f"the called workflow ended {end}")


def _call_failed(plan: Plan, step_plan: StepPlan, desk: Desk, failure: Failure, effect: str, message: str) -> Draft:
    problem = {"code": "called-workflow", "message": message}
    body = {"failure": failure, "effect": effect, "seam": seam_of(plan, step_plan), "problem": problem}
    return draft(Kind.STEP_FAILED, desk, step_plan.id, body)


def _start(call: CallPlan, state: InstanceState, step: StepState) -> StartCall:
    """Return the call that starts the workflow, once: only after it came to a bad end does a retry start another."""
    again = f":{step.children}" if step.children else ""
    return StartCall(
        key=f"{step.id}/start",
        workflow=call.workflow,
        data=step.input or {},
        parent=state.id,
        parent_step=step.id,
        idempotency_key=f"{state.id}:{step.id}{again}",
    )


def _ms(start: datetime, end: datetime) -> int:
    """Return the milliseconds between; none when a clock was set back meanwhile."""
    return max(round((end - start).total_seconds() * 1000), 0)
