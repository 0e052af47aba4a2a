"""Test builds of the core with one mistake each: the test of the tests.

A mutant replaces one function of the real core by name while it is in use. Every oracle of
the torture has to earn its place by catching one; the first five are those of
``language.md`` 6.6, the others are mistakes that were made, or nearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Final
from unittest.mock import patch

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.attempts import machine
from topstitch.execution import approve, compensate, decide, rollback
from topstitch.foundation.timetext import rfc3339
from topstitch.governance import tasks
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Orders, Outcome, Result, WriteCall
from topstitch.model.record import Draft
from topstitch.model.state import ActState, ActStatus, DiscrepancyState, Failure, InstanceState, StepState
from topstitch.plan.plan import ActPlan, Plan
from topstitch.plan.rollback_order import transitive_needs
from topstitch.reconciliation import tickets

Patches = Mapping[tuple[Any, str], Callable[..., Any]]


@contextmanager
def mutant(name: str) -> Iterator[None]:
    """Let the core make the mistake ``name`` while this lasts."""
    with ExitStack() as stack:
        for (module, function), wrong in MUTANTS[name].items():
            stack.enter_context(patch.object(module, function, wrong))
        yield


# --- the five of the design -----------------------------------------------------------------------------------------


def _sends_again(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    if act.attempt < plan.retry.attempts:
        return {"next": ActStatus.WAITING, "next_at": rfc3339(now)}
    return {"next": ActStatus.FAILED, "failure": Failure.UNREACHABLE}


def _without_intent(plan: ActPlan, act: ActState, desk: Any, turn: Any, handoffs: Any = None) -> None:
    if act.status is ActStatus.READY:
        turn.calls.append(machine._write(plan, replace(act, attempt=1), desk))
    else:
        _ADVANCE(plan, act, desk, turn, handoffs)


def _result_first(plan: ActPlan, act: ActState, desk: Any, turn: Any, handoffs: Any = None) -> None:
    if act.status is not ActStatus.SENT:
        _ADVANCE(plan, act, desk, turn, handoffs)
        return
    body = {"act": act.id, "attempt": act.attempt, "result": "ok", "output": {}, "next": ActStatus.DONE}
    turn.drafts.append(machine.draft(Kind.ACT_RESULT, desk, act.step, body))


def _key_with_attempt(plan: ActPlan, act: ActState, desk: Any) -> Any:
    call = _WRITE(plan, act, desk)
    return replace(call, idempotency_key=f"{act.key}#{act.attempt}") if isinstance(call, WriteCall) else call


def _undo_forward(plan: Plan, state: InstanceState, desk: Any, turn: Any) -> None:
    blocking = {name for name, step in state.steps.items() if rollback._blocks(plan.steps[name], state, step)}
    waits = {name: (*step.needs, *step.after) for name, step in plan.steps.items()}
    for name in plan.undo_order:
        step, step_plan = state.steps[name], plan.steps[name]
        if step.undo_failed:
            rollback._tend(plan, step_plan, state, step, desk, turn)
        elif name in blocking and not blocking & transitive_needs(waits, name):
            rollback._undo(plan, step_plan, state, step, desk, turn)


# --- and our own ----------------------------------------------------------------------------------------------------


def _absent_at_once(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    return _ABSENT(plan, replace(act, doubt_since=datetime(2000, 1, 1, tzinfo=now.tzinfo), intent_at=None), now)


def _absent_before_the_time_limit(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    return _ABSENT(plan, replace(act, intent_at=None), now)


def _absent_since_the_first_try(plan: ActPlan, act: ActState, now: datetime) -> dict[str, Any]:
    return _ABSENT(plan, replace(act, doubt_since=act.first_intent_at, intent_at=act.first_intent_at), now)


def _refusal_clears_doubt(plan: ActPlan, act: ActState, failure: Failure, now: datetime) -> dict[str, Any]:
    return {"next": ActStatus.FAILED, "failure": failure, "doubtful": False}


def _undoes_what_was_found(
    plan: Plan, step_plan: Any, state: InstanceState, step: StepState, desk: Any, turn: Any
) -> None:
    names = {name: replace(state.acts[name], found=False) for name in step.acts}
    state = replace(state, acts={**state.acts, **names})
    _UNDO(plan, step_plan, state, replace(step, found=False), desk, turn)


def _silence_approves(plan: Plan, step_plan: Any, state: InstanceState, desk: Any, ending: str) -> list[Draft]:
    return _CLOSED(plan, step_plan, state, desk, "approved" if ending == "unanswered" else ending)


def _skips_compensation(
    plan: Plan, step_plan: Any, state: InstanceState, step: StepState, item: Any, desk: Any
) -> list[Draft]:
    return compensate._disposed(plan, step_plan, step_plan.compensate, state, step, desk)


def _done_unread(plan: ActPlan, now: datetime) -> dict[str, Any]:
    return {"next": ActStatus.DONE}


def _blind_task(*arguments: Any, **named: Any) -> Draft:
    return _OPEN_TASK(*arguments, **{**named, "check_first": False})


def _forgets_what_was_sent(plan: Plan, state: InstanceState, now: datetime) -> list[Draft]:
    return []


def _dead_engine_means_no_effect(plan: ActPlan, act: ActState, desk: Any) -> Draft | None:
    if act.status is not ActStatus.SENT:
        return None
    body = {
        "act": act.id,
        "attempt": act.attempt,
        "because": "restart",
        "next": ActStatus.FAILED,
        "failure": Failure.UNREACHABLE,
    }
    return machine.draft(Kind.ACT_IN_DOUBT, desk, act.step, body)


def _task_without_end(task: Any, now: datetime, stage: Any) -> tuple[list[Draft], datetime | None]:
    return [], None


def _hand_is_forgotten(step_plan: Any, undo: ActPlan, state: InstanceState, step: StepState) -> list[ActState]:
    return [a for a in rollback._own_acts(state, step)[::-1] if rollback._may_be_there(a)]


def _impatient(task: Any, now: datetime, stage: Any) -> tuple[list[Draft], datetime | None]:
    return [tasks.close_task(task, now, stage, "expired")], None


def _reads_the_clock(plan: Plan, state: InstanceState, now: datetime) -> Orders:
    orders = _DECIDE(plan, state, now)
    return replace(orders, state=replace(orders.state, title=f"{orders.state.title} at {now}"))


def _changed_payload(plan: ActPlan, act: ActState, desk: Any) -> Call:
    call = _WRITE(plan, act, desk)
    return replace(call, params={**call.params, "name": "another"}) if isinstance(call, WriteCall) else call


def _always_completed(state: InstanceState) -> str:
    return "completed"


def _deaf_to_silence(plan: ActPlan, act: ActState, call: Call, outcome: Outcome, desk: Any) -> Draft | None:
    silent = isinstance(call, WriteCall) and outcome.result is Result.UNKNOWN
    return None if silent else _SETTLE(plan, act, call, outcome, desk)


def _stumbles(plan: ActPlan, act: ActState, failure: Failure, now: datetime) -> dict[str, Any]:
    raise LookupError(failure)


_SETTLE = machine.settle
_ADVANCE, _WRITE, _ABSENT = machine.advance, machine._write, machine._absent
_UNDO, _CLOSED, _OPEN_TASK, _DECIDE = rollback._undo, approve._closed, tasks.open_task, lifecycle.decide


def _nobody_is_told(found: DiscrepancyState) -> bool:
    return _WANTS_TELLING(found) and not any(row.get("heal") for row in found.fields)


_WANTS_TELLING: Final = tickets._wants_telling

MUTANTS: Final[Mapping[str, Patches]] = {
    "sends again without looking": {(machine, "_in_doubt"): _sends_again},
    "writes no intent": {(machine, "advance"): _without_intent},
    "journals the result before it sends": {(machine, "advance"): _result_first},
    "puts the attempt into the key": {(machine, "_write"): _key_with_attempt},
    "undoes in forward order": {(rollback, "undo_all"): _undo_forward},
    "takes absent for an answer before the settle time": {(machine, "_absent"): _absent_at_once},
    "takes absent for an answer before the time limit": {(machine, "_absent"): _absent_before_the_time_limit},
    "lets a refusal clear an earlier doubt": {(machine, "_verdict"): _refusal_clears_doubt},
    "undoes what it only found": {(rollback, "_undo"): _undoes_what_was_found},
    "takes silence for approval": {(approve, "_closed"): _silence_approves},
    "skips the compensation": {(compensate, "_begin"): _skips_compensation},
    "is done without a read-back": {(machine, "_success"): _done_unread},
    "never says look first": {(tasks, "open_task"): _blind_task},
    "counts the settle time from the first try": {(machine, "_absent"): _absent_since_the_first_try},
    "forgets what it had sent": {(lifecycle, "recover"): _forgets_what_was_sent},
    "takes its own death for no effect": {(machine, "recover"): _dead_engine_means_no_effect},
    "never ends a task": {(tasks, "chase"): _task_without_end},
    "ends a task at once": {(tasks, "chase"): _impatient},
    "forgets what a person did": {(rollback, "_targets"): _hand_is_forgotten},
    "keeps what no record says": {(lifecycle, "decide"): _reads_the_clock},
    "sends what nobody released": {(machine, "_write"): _changed_payload},
    "says completed of whatever happened": {(decide, "_completed"): _always_completed},
    "records no silence": {(machine, "settle"): _deaf_to_silence},
    "takes a proposed repair for a made one": {(tickets, "_wants_telling"): _nobody_is_told},
    "stumbles over a refusal": {(machine, "_verdict"): _stumbles},
}
"""By name: which functions of the core are replaced."""
