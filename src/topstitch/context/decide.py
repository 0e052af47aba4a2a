"""Decides what is read next, and when the context is complete.

Reads that do not depend on one another go out together. A required read that cannot be had
stops the instance with nothing written and nothing to compensate (CX-04); an optional one
is recorded as missing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts.machine import HELD_SECONDS, Turn, is_bearable, problem_body
from topstitch.foundation.canonical import digest
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.cases import open_case
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import Mode
from topstitch.model.kinds import Kind
from topstitch.model.orders import Outcome, Problem, ReadCall, Result
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import ContextState, InstanceState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import Plan, ReadPlan
from topstitch.plan.scope import facts

STAGE = Stage.CONTEXT
FRESH = ContextState()


def decide(plan: Plan, state: InstanceState, now: datetime) -> Turn:
    """Return the reads that are due, or the record that the context is complete."""
    turn = Turn()
    if state.paused:
        return turn
    open_reads = [read for name, read in plan.context.items() if not _settled(state, name)]
    if not open_reads:
        turn.drafts.append(_draft(Kind.STAGE_ENTERED, now, {"stage": Stage.EXECUTION}))
        return turn
    for read in open_reads:
        progress = state.context_reads.get(read.name, FRESH)
        if progress.again_at is not None and progress.again_at > now:
            turn.wake(progress.again_at)
        elif not _waits_for_others(plan, state, read):
            _read(plan, state, read, progress, now, turn)
    return turn


def settle(plan: Plan, state: InstanceState, call: ReadCall, outcome: Outcome, now: datetime) -> list[Draft]:
    """Return the record of what was read, or could not be."""
    name, _, attempt = call.key.removeprefix("@context/").partition("/")
    read = plan.context[name]
    progress = state.context_reads.get(name, FRESH)
    if progress.settled or int(attempt) != progress.attempt:
        return []
    if outcome.result is Result.OK:
        return [_known(read, call, outcome, progress, now)]
    return _unread(plan, state, read, outcome.problem, outcome.result, progress, now)


def _settled(state: InstanceState, name: str) -> bool:
    progress = state.context_reads.get(name)
    return progress is not None and progress.settled


def _waits_for_others(plan: Plan, state: InstanceState, read: ReadPlan) -> bool:
    """Whether the read speaks of another that has not settled yet."""
    paths = read.params.paths | (read.when.paths if read.when else frozenset())
    others = {parts[1] for path in paths if len(parts := path.split(".")) > 1 and parts[0] == "context"}
    return any(not _settled(state, other) for other in others & plan.context.keys() - {read.name})


def _read(plan: Plan, state: InstanceState, read: ReadPlan, progress: ContextState, now: datetime, turn: Turn) -> None:
    scope = facts(plan, state)
    try:
        if read.when is not None and read.when.evaluate(scope) is not True:
            turn.drafts.append(_draft(Kind.CONTEXT_SKIPPED, now, {"name": read.name, "because": read.when.source}))
            return
        params = read.params.render(scope)
    except ExpressionError as error:
        problem = Problem(code=error.code, message=error.message)
        turn.drafts += _unread(plan, state, read, problem, Result.REFUSED, progress, now)
        return
    key = f"@context/{read.name}/{progress.attempt}"
    turn.calls.append(
        ReadCall(
            key=key,
            system=read.system,
            action=read.action.name,
            params=params,
            timeout_seconds=read.action.timeout_seconds,
        )
    )


def _known(read: ReadPlan, call: ReadCall, outcome: Outcome, progress: ContextState, now: datetime) -> Draft:
    body: dict[str, Any] = {
        "name": read.name,
        "system": read.system,
        "action": read.action.name,
        "params": call.params,
        "value": outcome.value,
        "digest": digest(outcome.value),
        "attempt": progress.attempt + 1,
        "duration_ms": outcome.duration_ms,
    }
    if outcome.record is not None:
        body["record"] = outcome.record
    if outcome.url is not None:
        body["url"] = outcome.url
    marked = tuple(("value", *pattern) for pattern in read.personal)
    return _draft(Kind.CONTEXT_READ, now, body, (("params",), *paths_in(body, marked)))


def _unread(
    plan: Plan,
    state: InstanceState,
    read: ReadPlan,
    problem: Problem | None,
    result: Result,
    progress: ContextState,
    now: datetime,
) -> list[Draft]:
    said = problem_body(problem) if problem else {"code": str(result), "message": "no answer"}
    body: dict[str, Any] = {"name": read.name, "system": read.system, "action": read.action.name}
    body |= {"attempt": progress.attempt + 1, "problem": said}
    if result is Result.HELD:
        wait = problem.retry_after_seconds if problem and problem.retry_after_seconds else HELD_SECONDS
        body |= {"attempt": progress.attempt, "again_at": rfc3339(now + timedelta(seconds=wait)), "held": True}
        return [_draft(Kind.CONTEXT_FAILED, now, body)]
    bearable = result is not Result.REFUSED and is_bearable(read.retry, problem)
    if bearable and progress.attempt + 1 < read.retry.attempts:
        wait = read.retry.wait_seconds(progress.attempt + 1, f"{state.id}:{read.name}")
        if problem is not None and problem.retry_after_seconds is not None:
            wait = max(wait, problem.retry_after_seconds)
        body["again_at"] = rfc3339(now + timedelta(seconds=wait))
        return [_draft(Kind.CONTEXT_FAILED, now, body)]
    if read.optional:
        skipped = {"name": read.name, "because": f"optional, and could not be read: {said['message']}"}
        return [_draft(Kind.CONTEXT_SKIPPED, now, skipped)]
    because = f"the context could not be assembled: {read.name} cannot be read from {plan.systems[read.system].title}"
    case = open_case(
        plan,
        state,
        now,
        STAGE,
        about=f"context/{read.name}",
        cause="context",
        summary=f"{state.title}: nothing was started, {because}",
        remedy="Mend the cause and retry the instance; nothing was written anywhere",
        seam={"from_system": plan.connector_of(plan.trigger.system), "to_system": plan.connector_of(read.system)},
        problem=said,
        attempt=progress.attempt + 1,
    )
    turned = _draft(Kind.MODE_CHANGED, now, {"mode": Mode.STOPPING, "because": because})
    return [_draft(Kind.CONTEXT_FAILED, now, body), *([case] if case else []), turned]


def _draft(kind: Kind, now: datetime, body: dict[str, Any], personal: tuple[Path, ...] = ()) -> Draft:
    return Draft(kind=kind, at=now, actor=ENGINE, stage=STAGE, body=body, personal=personal)
