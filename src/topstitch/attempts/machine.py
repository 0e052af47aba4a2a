"""Decides the next move of one write, and what an answer means for it.

The stages call ``advance`` to learn what an act wants now, and ``settle`` with the outcome of
a call it asked for. Rules 6.2 of the language design stand here and nowhere else:

* an intent is committed before the write is sent, with one key for all attempts;
* a write ends done, refused, or unknown, and unknown is looked up before anything is sent
  again, and before anybody may say that there was no effect, even when a later attempt was
  refused;
* absent counts only when it was asked after the write's time limit and the system's settle time (decision 0010);
* where nobody can be asked, only an action that is idempotent by itself is sent again.

It never reads a clock, never sends anything, and never decides what a failure leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import msgspec

from topstitch.foundation.canonical import digest
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.policy import NO_LAW, Law
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Grant, LookUpCall, Outcome, Problem, ReadCall, Result, WriteCall
from topstitch.model.record import ENGINE, Actor, Draft, Path, Stage
from topstitch.model.state import ActState, ActStatus, Failure
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import LOOK_UP_RETRY, POLL_FIRST_SECONDS, POLL_MAX_SECONDS, ActPlan, RetryPlan

HELD_SECONDS = 300
"""How long a held call waits before it looks whether the pause is over; resuming wakes it earlier."""
LEFT_ALONE_SECONDS_MAX = 3600
"""How long a system may ask to be left alone, unless the author waits longer; one that asks for more is unreachable."""
RESTARTS_MAX = 3
"""How many attempts that an engine did not survive are given back; each was proved absent first."""
TERMINAL = frozenset({ActStatus.DONE, ActStatus.FAILED, ActStatus.CALLED_OFF})
FactsOf = Callable[[ActState, Any, frozenset[str]], Facts]
"""Gives the facts in scope of an act: its ``step`` is the act's input and output, ``found`` the second argument.

The third names what will be read of them, so that no more is gathered than that."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """Where an act is being carried out: which instance and stage, and when."""

    instance: str
    stage: Stage
    now: datetime
    facts: FactsOf
    law: Law = NO_LAW
    """What policy holds where this is carried out."""


class Turn(msgspec.Struct):
    """What a pure function gathers on its way: drafts, calls, and the earliest time to come back."""

    drafts: list[Draft] = msgspec.field(default_factory=list)
    calls: list[Call] = msgspec.field(default_factory=list)
    wake_at: datetime | None = None

    def wake(self, when: datetime | None) -> None:
        """Come back at ``when`` at the latest."""
        if when is not None and (self.wake_at is None or when < self.wake_at):
            self.wake_at = when


def advance(
    plan: ActPlan, act: ActState, desk: Desk, turn: Turn, handoffs: list[Mapping[str, Any]] | None = None
) -> None:
    """Add to ``turn`` what ``act`` wants now."""
    match act.status:
        case ActStatus.READY:
            turn.drafts.append(intent(act, desk, handoffs))
        case ActStatus.SENT:
            turn.calls.append(_write(plan, act, desk))
        case ActStatus.DONE | ActStatus.FAILED | ActStatus.CALLED_OFF:
            pass
        case _ if act.next_at is not None and act.next_at > desk.now:
            turn.wake(act.next_at)
        case ActStatus.WAITING:
            turn.drafts.append(intent(act, desk, handoffs))
        case ActStatus.GUARD | ActStatus.DOUBT:
            turn.calls.append(_look_up(plan, act))
        case ActStatus.CONFIRMING:
            _read_back(plan, act, desk, turn)


def first_status(plan: ActPlan) -> ActStatus:
    """Return where a new act of this plan begins."""
    return ActStatus.GUARD if plan.looks_first else ActStatus.READY


def propose(
    plan: ActPlan,
    act_id: str,
    payload: Any,
    desk: Desk,
    *,
    purpose: str,
    step: str | None,
    granted_by: str,
    key: str | None = None,
) -> Draft:
    """Return the record that opens an act released by the definition itself: an undo, a compensation, a ticket."""
    body = {
        "act": act_id,
        "purpose": purpose,
        "system": plan.system,
        "action": plan.action.name,
        "payload": payload,
        "payload_digest": digest(payload),
        "key": f"{desk.instance}:{key or act_id}",
        "grant": {"decision": "declared", "by": granted_by},
        "next": first_status(plan),
    }
    return draft(Kind.ACT_PROPOSED, desk, step, body, paths_in(payload, plan.personal_in, ("payload",)))


def intent(act: ActState, desk: Desk, handoffs: list[Mapping[str, Any]] | None = None) -> Draft:
    """Return the record that must be durable before the next attempt is sent."""
    body: dict[str, Any] = {
        "act": act.id,
        "attempt": act.attempt + 1,
        "key": act.key,
        "system": act.system,
        "action": act.action,
        "payload_digest": act.payload_digest,
        "grant": {"decision": act.granted, "by": act.granted_by},
    }
    if handoffs and act.attempt == 0:
        body["handoffs"] = handoffs
    return draft(Kind.ACT_INTENT, desk, act.step, body)


def recover(plan: ActPlan, act: ActState, desk: Desk) -> Draft | None:
    """Return what a new activation records of an act that the last one left between intent and answer."""
    if act.status is not ActStatus.SENT:
        return None
    because = "the engine stopped between the intent and the answer"
    body = {"act": act.id, "attempt": act.attempt, "because": because, **_in_doubt(plan, act, desk.now)}
    return draft(Kind.ACT_IN_DOUBT, desk, act.step, body)


def quiesce(plan: ActPlan, act: ActState, desk: Desk, *, confirm: bool) -> Draft | None:
    """Return the record that keeps an act from being tried again, or nothing while an answer is still out.

    A write in doubt is looked up first. With ``confirm`` a read-back goes on to its end.
    """
    match act.status:
        case ActStatus.GUARD | ActStatus.READY if act.doubtful and plan.can_look_up:
            body = _verdict_after_look(Failure.UNREACHABLE, desk.now)
        case ActStatus.GUARD | ActStatus.READY if act.doubtful:
            body = {"next": ActStatus.FAILED, "failure": Failure.UNKNOWN}
        case ActStatus.GUARD | ActStatus.READY:
            body = {"next": ActStatus.CALLED_OFF, "failure": Failure.CALLED_OFF}
        case ActStatus.WAITING if act.doubtful and plan.can_look_up:
            body = _verdict_after_look(Failure.UNREACHABLE, desk.now)
        case ActStatus.WAITING if act.doubtful:
            body = {"next": ActStatus.FAILED, "failure": Failure.UNKNOWN}
        case ActStatus.WAITING:
            body = {"next": ActStatus.FAILED, "failure": Failure.UNREACHABLE}
        case ActStatus.DOUBT if act.failure is None:
            body = _verdict_after_look(Failure.UNREACHABLE, min(act.next_at or desk.now, desk.now))
        case ActStatus.CONFIRMING if not confirm:
            body = {"next": ActStatus.DONE}
        case _:
            return None
    because = "the instance makes no further attempts"
    return draft(Kind.ACT_QUIESCED, desk, act.step, {"act": act.id, "because": because, **body})


def settle(plan: ActPlan, act: ActState, call: Call, outcome: Outcome, desk: Desk) -> Draft | None:
    """Return the record of what came back for ``act``; nothing when the answer is to a question no longer open."""
    match call:
        case WriteCall() | ReadCall() if act.status is ActStatus.SENT and call.key == f"{act.id}/send/{act.attempt}":
            return _result(plan, act, outcome, desk)
        case LookUpCall() if act.status in (ActStatus.GUARD, ActStatus.DOUBT) and call.key == _look_key(act):
            return _looked_up(plan, act, outcome, desk)
        case ReadCall() if act.status is ActStatus.CONFIRMING and call.key == _back_key(act):
            return _confirmed(plan, act, outcome, desk)
        case _:
            return None


# --- what is asked of the systems -----------------------------------------------------------------------------------


def _write(plan: ActPlan, act: ActState, desk: Desk) -> WriteCall | ReadCall:
    key = f"{act.id}/send/{act.attempt}"
    if not plan.action.writes:
        return ReadCall(
            key=key,
            system=plan.system,
            action=plan.action.name,
            params=act.payload,
            timeout_seconds=plan.timeout_seconds,
        )
    return WriteCall(
        key=key,
        system=plan.system,
        action=plan.action.name,
        params=act.payload,
        idempotency_key=act.key,
        attempt=act.attempt,
        grant=Grant(decision=act.granted, by=act.granted_by, payload_digest=act.payload_digest),
        instance=desk.instance,
        provable=plan.can_look_up or plan.repeatable,
        timeout_seconds=plan.timeout_seconds,
    )


def _look_up(plan: ActPlan, act: ActState) -> LookUpCall:
    return LookUpCall(
        key=_look_key(act),
        system=plan.system,
        action=plan.action.name,
        params=act.payload,
        idempotency_key=act.key,
        timeout_seconds=plan.timeout_seconds,
    )


def _read_back(plan: ActPlan, act: ActState, desk: Desk, turn: Turn) -> None:
    expect = plan.expects[act.expect]
    try:
        params = expect.params.render(desk.facts(act, None, expect.params.roots))
    except ExpressionError as error:
        body: dict[str, Any] = {"next": ActStatus.FAILED, "failure": Failure.DISAGREES, "problem": _said(error)}
        body |= {"act": act.id, "index": act.expect, "poll": act.polls, "agrees": False, "duration_ms": 0}
        turn.drafts.append(draft(Kind.ACT_READ_BACK, desk, act.step, body))
        return
    turn.calls.append(ReadCall(key=_back_key(act), system=expect.system, action=expect.action.name, params=params))


def _look_key(act: ActState) -> str:
    return f"{act.id}/look/{act.lookups}"


def _back_key(act: ActState) -> str:
    return f"{act.id}/back/{act.expect}/{act.polls}"


# --- what an answer means -------------------------------------------------------------------------------------------


def _result(plan: ActPlan, act: ActState, outcome: Outcome, desk: Desk) -> Draft:
    body: dict[str, Any] = {"act": act.id, "attempt": act.attempt, "result": outcome.result}
    body |= _evidence(outcome)
    body |= _judge(plan, act, outcome, desk.now)
    if outcome.result is Result.OK:
        body["output"] = outcome.value
    return draft(Kind.ACT_RESULT, desk, act.step, body, paths_in(body, _prefixed(plan)))


def _judge(plan: ActPlan, act: ActState, outcome: Outcome, now: datetime) -> dict[str, Any]:
    match outcome.result:
        case Result.OK:
            return {**_success(plan, now), "found": outcome.found and not act.doubtful}
        case Result.UNKNOWN:
            return _in_doubt(plan, act, now)
        case Result.CHANGED if plan.can_look_up:
            return _verdict_after_look(Failure.REFUSED, now)
        case Result.REFUSED | Result.CHANGED:
            return _verdict(plan, act, Failure.REFUSED, now)
        case Result.HELD:
            return {"next": ActStatus.WAITING, "next_at": rfc3339(held_until(outcome, now)), "held": True}
        case Result.TRANSIENT | Result.CREDENTIAL:
            if _tries_left(plan, act) and is_bearable(plan.retry, outcome.problem):
                return _try_again(plan, act, now, outcome.problem)
            return _verdict(plan, act, Failure.UNREACHABLE, now)


def held_until(outcome: Outcome, now: datetime) -> datetime:
    """Return when a call that was held back is asked for again."""
    named = outcome.problem.retry_after_seconds if outcome.problem else None
    return _ceil(now + timedelta(seconds=named or HELD_SECONDS))


def is_bearable(retry: RetryPlan, problem: Problem | None) -> bool:
    """Whether a system that names a time wants to be asked again before it must count as unreachable."""
    named = problem.retry_after_seconds if problem is not None else None
    return named is None or named <= max(LEFT_ALONE_SECONDS_MAX, retry.max_seconds)


def _tries_left(plan: ActPlan, act: ActState) -> bool:
    """Whether one more attempt is allowed; one that an engine did not survive uses up none, a few times."""
    return act.attempt < plan.retry.attempts + min(act.restarts, RESTARTS_MAX)


def _success(plan: ActPlan, now: datetime) -> dict[str, Any]:
    if plan.expects:
        return {"next": ActStatus.CONFIRMING, "next_at": rfc3339(now)}
    return {"next": ActStatus.DONE}


def _in_doubt(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    if plan.can_look_up:
        return {"next": ActStatus.DOUBT, "next_at": rfc3339(now), "doubtful": True}
    if plan.repeatable and _tries_left(plan, act):
        return {**_try_again(plan, act, now, None), "doubtful": True}
    return {"next": ActStatus.FAILED, "failure": Failure.UNKNOWN, "doubtful": True}


def _verdict(plan: ActPlan, act: ActState, failure: Failure, now: datetime) -> dict[str, Any]:
    """A clean failure: but an earlier attempt that is still in doubt must be asked after first (6.2.4)."""
    if not act.doubtful:
        return {"next": ActStatus.FAILED, "failure": failure}
    if plan.can_look_up:
        return _verdict_after_look(failure, now)
    return {"next": ActStatus.FAILED, "failure": Failure.UNKNOWN}


def _verdict_after_look(failure: Failure, now: datetime) -> dict[str, Any]:
    return {"next": ActStatus.DOUBT, "next_at": rfc3339(now), "failure": failure}


def _try_again(plan: ActPlan, act: ActState, now: datetime, problem: Problem | None) -> dict[str, Any]:
    wait = plan.retry.wait_seconds(max(act.attempt, 1), act.key)
    if problem is not None and problem.retry_after_seconds is not None:
        wait = max(wait, problem.retry_after_seconds)
    return {"next": ActStatus.WAITING, "next_at": rfc3339(_ceil(now + timedelta(seconds=wait)))}


def _looked_up(plan: ActPlan, act: ActState, outcome: Outcome, desk: Desk) -> Draft:
    guard = act.status is ActStatus.GUARD
    body: dict[str, Any] = {"act": act.id, "why": "guard" if guard else "verdict" if act.failure else "doubt"}
    body |= _evidence(outcome)
    if outcome.result is Result.HELD:
        body |= {"answer": "held", "next": act.status, "next_at": rfc3339(held_until(outcome, desk.now))}
        body |= {"failure": act.failure} if act.failure else {}
    elif outcome.result is not Result.OK:
        body["answer"] = "no_answer"
        body |= _guard_unanswered(plan, act, outcome, desk.now) if guard else _doubt_unanswered(plan, act, desk.now)
    elif outcome.value is not None:
        body |= {
            "answer": "found",
            "output": outcome.value,
            "found": not act.doubtful,
            **_success(plan, desk.now),
        }
        body["doubtful"] = False
    else:
        body["answer"] = "absent"
        body |= {"next": ActStatus.READY} if guard else _absent(plan, act, desk.now)
    return draft(Kind.ACT_LOOKED_UP, desk, act.step, body, paths_in(body, _prefixed(plan)))


def _guard_unanswered(plan: ActPlan, act: ActState, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Nothing was sent yet, so a guard that cannot be answered is an ordinary try without effect."""
    if outcome.result is Result.REFUSED:
        return {"next": ActStatus.FAILED, "failure": Failure.REFUSED}
    if act.unanswered + 1 < plan.retry.attempts and is_bearable(plan.retry, outcome.problem):
        wait = plan.retry.wait_seconds(act.unanswered + 1, act.key)
        if outcome.problem is not None and outcome.problem.retry_after_seconds is not None:
            wait = max(wait, outcome.problem.retry_after_seconds)
        return {"next": ActStatus.GUARD, "next_at": rfc3339(_ceil(now + timedelta(seconds=wait)))}
    return {"next": ActStatus.FAILED, "failure": Failure.UNREACHABLE}


def _doubt_unanswered(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    if act.unanswered + 1 < LOOK_UP_RETRY.attempts:
        wait = LOOK_UP_RETRY.wait_seconds(act.unanswered + 1, act.key)
        return _still_in_doubt(act, now + timedelta(seconds=wait))
    if act.failure is None and plan.repeatable and _tries_left(plan, act):
        return _try_again(plan, act, now, None)
    return {"next": ActStatus.FAILED, "failure": Failure.UNKNOWN}


def _absent(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    """What is not there may still be on its way: until its time limit is over, and the system shows what it has.

    What counts is when the system was asked, and not when we heard: an answer may have been long under way.
    """
    since = act.doubt_since or now
    if act.intent_at is not None:  # we may have been gone, or cut off, long before the request had run its course
        since = max(since, act.intent_at + timedelta(seconds=plan.timeout_seconds))
    settled_at = since + timedelta(seconds=plan.action.settle_seconds)
    if (act.next_at or act.doubt_since or now) < settled_at:
        return _still_in_doubt(act, max(settled_at, now))
    if act.failure is not None:
        return {"next": ActStatus.FAILED, "failure": act.failure, "doubtful": False}
    if _tries_left(plan, act):
        return {**_try_again(plan, act, now, None), "doubtful": False}
    return {"next": ActStatus.FAILED, "failure": Failure.UNREACHABLE, "doubtful": False}


def _still_in_doubt(act: ActState, again_at: datetime) -> dict[str, Any]:
    pending = {"failure": act.failure} if act.failure else {}
    return {"next": ActStatus.DOUBT, "next_at": rfc3339(_ceil(again_at)), **pending}


def _confirmed(plan: ActPlan, act: ActState, outcome: Outcome, desk: Desk) -> Draft:
    expect = plan.expects[act.expect]
    if outcome.result is Result.HELD:
        held = {"act": act.id, "index": act.expect, "poll": act.polls, "agrees": False, "held": True, "duration_ms": 0}
        held |= {"next": ActStatus.CONFIRMING, "next_at": rfc3339(held_until(outcome, desk.now))}
        return draft(Kind.ACT_READ_BACK, desk, act.step, held)
    agrees, problem = _agrees(plan, act, outcome, desk)
    body: dict[str, Any] = {"act": act.id, "index": act.expect, "poll": act.polls, "agrees": agrees}
    body |= _evidence(outcome)
    if problem is not None:
        body["problem"] = problem
    body["observed"] = outcome.value
    deadline = (act.confirming_since or desk.now) + timedelta(seconds=expect.within_seconds)
    if agrees:
        more = act.expect + 1 < len(plan.expects)
        body |= {"next": ActStatus.CONFIRMING, "next_at": rfc3339(desk.now)} if more else {"next": ActStatus.DONE}
    elif desk.now >= deadline:
        body |= {"next": ActStatus.FAILED, "failure": Failure.DISAGREES}
    else:
        wait = min(POLL_FIRST_SECONDS * 2 ** min(act.polls, 10), POLL_MAX_SECONDS)
        body |= {"next": ActStatus.CONFIRMING, "next_at": rfc3339(min(desk.now + timedelta(seconds=wait), deadline))}
    return draft(Kind.ACT_READ_BACK, desk, act.step, body, paths_in(body, _observed(expect.personal)))


def _agrees(plan: ActPlan, act: ActState, outcome: Outcome, desk: Desk) -> tuple[bool, Mapping[str, Any] | None]:
    if outcome.result is not Result.OK or outcome.value is None:
        return False, None
    try:
        that = plan.expects[act.expect].that
        return that.evaluate(desk.facts(act, outcome.value, that.roots)) is True, None
    except ExpressionError as error:
        return False, _said(error)


# --- the small change -----------------------------------------------------------------------------------------------


def _evidence(outcome: Outcome) -> dict[str, Any]:
    body: dict[str, Any] = {"duration_ms": outcome.duration_ms}
    if outcome.record is not None:
        body["record"] = outcome.record
    if outcome.url is not None:
        body["url"] = outcome.url
    if outcome.request is not None:
        body["request"] = outcome.request
    if outcome.problem is not None:
        body["problem"] = problem_body(outcome.problem)
    return body


def problem_body(problem: Problem) -> dict[str, Any]:
    """Return what a system said of a failure as a record holds it."""
    body: dict[str, Any] = {"code": problem.code, "message": problem.message}
    for name in ("status", "request_id", "body"):
        if (value := getattr(problem, name)) is not None:
            body[name] = value
    if problem.retry_after_seconds is not None and isfinite(problem.retry_after_seconds):
        body["retry_after_s"] = round(problem.retry_after_seconds)
    return body


def _said(error: ExpressionError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def draft(
    kind: Kind,
    desk: Desk,
    step: str | None,
    body: Mapping[str, Any],
    personal: tuple[Path, ...] = (),
    actor: Actor = ENGINE,
) -> Draft:
    """Return a record of this desk's stage and time."""
    return Draft(kind=kind, at=desk.now, actor=actor, stage=desk.stage, step=step, body=body, personal=personal)


def _prefixed(plan: ActPlan) -> tuple[tuple[str, ...], ...]:
    return tuple(("output", *pattern) for pattern in plan.personal_out)


def _observed(personal: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(("observed", *pattern) for pattern in personal)


def _ceil(moment: datetime) -> datetime:
    """Round up to the millisecond, so that a wait is never shorter than was asked."""
    rest = moment.microsecond % 1000
    return moment + timedelta(microseconds=1000 - rest) if rest else moment
