"""Decides the order of the five stages. Read this file first.

An instance is carried by one loop: look at where it stands, ask the stage it is in what to
do, record the answer, make the calls, and look again.

    trigger         accepts one business event and writes the first record              begin
    context         reads everything that must be known; nothing can be written here    decide
    execution       carries the steps out, asks people, compensates, rolls back         decide
    reconciliation  compares every system with what should be, at the declared times    decide
    audit           is no step of its own: every record is chained as it is written     fold

Everything here is pure. ``decide`` sees a plan, a state and a time, and returns orders: records
to append, then calls to make. ``settle`` turns what came back for a call into records. ``fold``
sees a state and a record, and returns the next state; the state is nothing but the fold of all
records. The engine, which knows no stage, appends the records, makes the calls and asks again:

    state  = every record of the journal, folded into initial(plan)
    orders = decide(plan, state, now)
    append orders.records, durably; perform orders.calls; append what settle makes of each answer

The stages overlap at one place only: reconciliation does not wait for the last step. At T+2h it
looks, and says *pending* of what still waits for a person.

The file reads from the top: the loop, the beginning, what comes back, the state, the end. Then go
on in the stage that you came for: ``context/decide.py``, ``execution/decide.py``,
``reconciliation/decide.py``; one write, with its tries and look-ups, is ``attempts/machine.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from topstitch.attempts.fold import FOLDS as ACT_FOLDS
from topstitch.attempts.machine import Turn
from topstitch.context import decide as context
from topstitch.context.fold import FOLDS as CONTEXT_FOLDS
from topstitch.execution import decide as execution, operate as commands
from topstitch.execution.fold import FOLDS as EXECUTION_FOLDS, PLANNED
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.governance import notify
from topstitch.governance.policy import NO_LAW, Law
from topstitch.language.expressions import Facts
from topstitch.model.event import TriggerEvent
from topstitch.model.instance import InstanceEnd, Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, DriftCall, Orders, Outcome, ReadCall, ReportCall, Result, TellCall
from topstitch.model.record import ENGINE, Actor, Draft, Path, Record, Stage
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.heals import is_heal, with_heals
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import Plan
from topstitch.reconciliation import decide as reconciliation, desk, tickets
from topstitch.reconciliation.fold import FOLDS as RECONCILIATION_FOLDS

__all__ = ["Command", "begin", "decide", "fold", "initial", "operate", "recover", "settle"]

TURNS_MAX: Final = 500
"""How often one activation may find something new to record before anything is sent: a bound, never reached."""


# --- The loop --------------------------------------------------------------------------------------


def decide(plan: Plan, state: InstanceState, now: datetime, law: Law = NO_LAW) -> Orders:
    """Return everything the instance wants now: records to append, then calls to make, else when to come back.

    ``law`` is the policy in force where it is carried out, joined with the definition's own approvals.
    """
    records: list[Draft] = []
    for _ in range(TURNS_MAX):
        if state.ended is not None:
            return Orders(records=tuple(records), ended=True, state=state)
        turn = _turn(plan, state, now, law)
        if not turn.drafts:
            return Orders(records=tuple(records), calls=tuple(turn.calls), wake_at=turn.wake_at, state=state)
        for draft in turn.drafts:
            state = fold(plan, state, draft)
        records += turn.drafts
    raise AssertionError(f"{state.id} found something to record {TURNS_MAX} times in a row; report this definition")


def _turn(plan: Plan, state: InstanceState, now: datetime, law: Law) -> Turn:
    """Ask the stages in their order; who has something to record is heard alone, so that the next sees it."""
    if state.stage is Stage.CONTEXT and state.mode is Mode.FORWARD:
        return context.decide(plan, state, now)
    turn = execution.decide(plan, state, now, law)
    for ask in (_checks, _repairs, _notices):
        if turn.drafts:
            return turn
        other = ask(plan, state, now, law)
        turn.drafts = other.drafts
        turn.calls += other.calls
        turn.wake(other.wake_at)
    if turn.drafts:
        return turn
    if _is_over(plan, state, turn):
        _finish(plan, state, now, turn)
    return turn


def _checks(plan: Plan, state: InstanceState, now: datetime, _law: Law) -> Turn:
    """Reconciliation: compare what should be, what was done and what is, when a check is due."""
    return reconciliation.decide(plan, state, now)


def _repairs(plan: Plan, state: InstanceState, now: datetime, law: Law) -> Turn:
    """Carry out the repairs that reconciliation proposed: as steps, with approvals and read-backs like any other."""
    if not state.heals:
        return Turn()
    return execution.carry_heals(*_with_heals(plan, state), tuple(state.heals), now, law)


def _notices(plan: Plan, state: InstanceState, now: datetime, _law: Law) -> Turn:
    """Tell people what they are to be told; no step waits for it, only the end."""
    calls, wake = notify.calls(plan, state, now)
    return Turn(calls=calls, wake_at=wake)


# --- The beginning: one event ----------------------------------------------------------------------


def begin(
    plan: Plan,
    event: TriggerEvent,
    instance: str,
    now: datetime,
    *,
    rates: Mapping[str, str] | None = None,
    environment: str = "prod",
    policy: str | None = None,
    parent: tuple[str, str] | None = None,
) -> Draft | None:
    """Return the first record of the instance that ``event`` starts; nothing when the definition's ``when`` is false.

    ``policy`` is the digest of the bundle in force: its soft rules hold for the instance to its end.
    Raises ``ExpressionError`` when the event lacks what ``one_per`` reads.
    """
    scope = Facts({"trigger": event.data, "env": environment}, rates=rates or {})
    trigger = plan.trigger
    if trigger.when is not None and trigger.when.evaluate(scope) is not True:
        return None
    requester = trigger.requester.render(scope) if trigger.requester else None
    body: dict[str, Any] = {
        "event": _event_body(event),
        "data": event.data,
        "workflow": plan.workflow,
        "version": plan.version,
        "digest": plan.digest,
        "title": str(trigger.about.render(scope)),
        "correlation": str(trigger.one_per.render(scope)),
        "requester": str(requester) if requester else None,
        "rates": dict(rates or {}),
        "environment": environment,
    }
    if not body["correlation"]:
        raise RequestError("empty-key", "the event has no value for one_per; send it with that field filled in")
    if policy is not None:
        body["policy"] = policy
    if parent is not None:
        body["parent"], body["parent_step"] = parent
    personal: tuple[Path, ...] = (("title",), *paths_in(body, tuple(("data", *p) for p in trigger.personal)))
    del instance
    return Draft(
        kind=Kind.STARTED,
        at=now,
        actor=Actor(ENGINE.kind, "trigger"),
        stage=Stage.TRIGGER,
        body=body,
        personal=personal,
    )


def _event_body(event: TriggerEvent) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "received_at": rfc3339(event.received_at),
        "signature": event.signature,
        "digest": digest(event.data),
    }
    if event.time is not None:
        body["time"] = rfc3339(event.time)
    if event.trace is not None:
        body["trace"] = event.trace
    if event.trace_state is not None:
        body["trace_state"] = event.trace_state
    return body


# --- What comes back: answers, crashes, commands ---------------------------------------------------


def settle(
    plan: Plan, state: InstanceState, call: Call, outcome: Outcome, now: datetime, law: Law = NO_LAW
) -> list[Draft]:
    """Return the records of what came back for a call."""
    match call:
        case TellCall():
            told = notify.settle(state, call, outcome, now, state.stage)
            return [told] if told else []
        case ReportCall():
            return _reported(state, call, outcome, now)
        case ReadCall() if call.key.startswith("@context/"):
            return context.settle(plan, state, call, outcome, now)
        case DriftCall():
            return reconciliation.settle(plan, state, call, outcome, now)
        case ReadCall() if call.key.startswith("@reconcile/") and tickets.act_of(call.key) not in state.acts:
            return reconciliation.settle(plan, state, call, outcome, now)
        case _ if call.key.startswith("@reconcile/"):
            return tickets.settle(plan, state, call, outcome, now)
        case _:
            return execution.settle(*_with_heals(plan, state), call, outcome, now, law)


def _reported(state: InstanceState, call: ReportCall, outcome: Outcome, now: datetime) -> list[Draft]:
    if outcome.result not in (Result.OK, Result.REFUSED):
        return []
    body = {"parent": call.parent, "step": call.parent_step, "ok": outcome.result is Result.OK}
    return [Draft(kind=Kind.REPORTED, at=now, actor=ENGINE, stage=state.stage, body=body)]


def recover(plan: Plan, state: InstanceState, now: datetime) -> list[Draft]:
    """Return what a new activation must record of writes whose answer the last one did not live to see."""
    return [*execution.recover(*_with_heals(plan, state), now), *tickets.recover(plan, state, now)]


def operate(plan: Plan, state: InstanceState, command: Command, actor: Actor, now: datetime) -> list[Draft]:
    """Return the records of an operator's command; raise when it cannot be carried out."""
    return commands.operate(plan, state, command, actor, now)


# --- The state: a fold over the journal ------------------------------------------------------------


def initial(plan: Plan, instance: str) -> InstanceState:
    """Return the state of an instance before its first record."""
    return InstanceState(id=instance, steps={name: StepState(id=name) for name in plan.steps})


def fold(plan: Plan, state: InstanceState, entry: Draft | Record) -> InstanceState:
    """Return the state after one record. Kinds that carry evidence only change nothing."""
    if state.heals and is_heal(entry.step):
        inner_plan, inner = _with_heals(plan, state)
        after = _fold(inner_plan, inner, entry)
        heals = {name: after.steps[name] for name in state.heals}
        return replace(after, steps={name: after.steps[name] for name in state.steps}, heals=heals)
    return _fold(plan, state, entry)


def _fold(plan: Plan, state: InstanceState, entry: Draft | Record) -> InstanceState:
    kind = entry.kind
    plain = FOLDS.get(kind)
    if plain is not None:
        return plain(state, entry)
    planned = PLANNED.get(kind)
    after: InstanceState = planned(plan, state, entry) if planned is not None else state
    return after


def _with_heals(plan: Plan, state: InstanceState) -> tuple[Plan, InstanceState]:
    """Return plan and state with the repairs among the steps: a repair is carried out as every step is."""
    if not state.heals:
        return plan, state
    return with_heals(plan, state.heals), replace(state, steps={**state.steps, **state.heals})


# --- The end ---------------------------------------------------------------------------------------


def _is_over(plan: Plan, state: InstanceState, turn: Turn) -> bool:
    return (
        state.executed_at is not None
        and not turn.calls
        and not state.tells
        and not state.paused
        and reconciliation.next_check(plan, state) is None
        and reconciliation.is_at_rest(plan, state)
    )


def _finish(plan: Plan, state: InstanceState, now: datetime, turn: Turn) -> None:
    if state.parent is not None and not state.reported:
        body = {"instance": state.id, "end": _end(state)}
        turn.calls.append(ReportCall(key="report", parent=state.parent, parent_step=state.parent_step or "", body=body))
        return
    turn.drafts.append(_ended(plan, state, now))


def _end(state: InstanceState) -> str:
    outcome = state.outcome or InstanceEnd.STOPPED
    unresolved = any(not d.resolved for d in state.discrepancies.values()) or bool(state.open_cases)
    if outcome == InstanceEnd.COMPLETED and unresolved:
        return InstanceEnd.COMPLETED_WITH_EXCEPTIONS
    if outcome == InstanceEnd.ROLLED_BACK and unresolved:
        return InstanceEnd.ROLLED_BACK_WITH_EXCEPTIONS
    return outcome


RESIDUE: Final = {
    StepStatus.KEPT: "cannot be undone, as declared",
    StepStatus.UNDO_OPEN: "could not be undone",
}
LEFT: Final = {
    "applied": "was done, at least in part, before it was given up",
    "unknown": "was given up, and nobody could find out whether it was done",
}
"""What a step that was given up may have left, by what is known of its effect."""


def _ended(plan: Plan, state: InstanceState, now: datetime) -> Draft:
    residue = [
        {"step": name, "system": plan.steps[name].system, "why": why}
        for name, step in state.steps.items()
        if not step.found
        and (why := LEFT.get(step.effect) if step.status is StepStatus.GIVEN_UP else RESIDUE.get(step.status))
    ]
    undone = [n for n, s in state.steps.items() if s.status in (StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND)]
    compensated = [n for n, s in state.steps.items() if s.carried]
    body = {
        "end": _end(state),
        "residue": residue,
        "undone": undone,
        "compensated": compensated,
        "open_cases": list(state.open_cases),
        "open_discrepancies": [d.id for d in state.discrepancies.values() if not d.resolved],
    }
    return Draft(kind=Kind.ENDED, at=now, actor=ENGINE, stage=Stage.AUDIT, body=body)


# --- Each kind of record and what it changes; the stages bring their own ---------------------------


def _fold_started(state: InstanceState, entry: Draft | Record) -> InstanceState:
    body = entry.body
    return replace(
        state,
        workflow=body["workflow"],
        version=body["version"],
        digest=body["digest"],
        title=body["title"] if isinstance(body["title"], str) else "(erased)",
        correlation=body["correlation"],
        requester=body["requester"],
        started_at=parse_time(body["event"]["received_at"]),
        event=body["event"],
        trigger=body["data"],
        rates=body["rates"],
        environment=body["environment"],
        policy=body.get("policy"),
        parent=body.get("parent"),
        parent_step=body.get("parent_step"),
        stage=Stage.CONTEXT,
    )


def _fold_stage(state: InstanceState, entry: Draft | Record) -> InstanceState:
    stage = Stage(entry.body["stage"])
    done_at = entry.at if stage is Stage.EXECUTION else state.context_done_at
    return replace(state, stage=stage, context_done_at=done_at)


def _fold_executed(state: InstanceState, entry: Draft | Record) -> InstanceState:
    return replace(EXECUTION_FOLDS[Kind.EXECUTED](state, entry), stage=Stage.RECONCILIATION)


def _fold_commanded(state: InstanceState, entry: Draft | Record) -> InstanceState:
    if entry.body["command"] in desk.COMMANDS:
        return desk.commanded(state, entry)
    return commands.commanded(state, entry)


def _fold_reported(state: InstanceState, _entry: Draft | Record) -> InstanceState:
    return replace(state, reported=True)


def _fold_ended(state: InstanceState, entry: Draft | Record) -> InstanceState:
    return replace(state, ended=entry.body["end"], stage=Stage.AUDIT, mode=Mode.FINISHED)


FOLDS: Final[Mapping[str, Callable[[InstanceState, Any], InstanceState]]] = {
    **ACT_FOLDS,
    **EXECUTION_FOLDS,
    **CONTEXT_FOLDS,
    **RECONCILIATION_FOLDS,
    Kind.STARTED: _fold_started,
    Kind.STAGE_ENTERED: _fold_stage,
    Kind.TOLD: notify.told,
    Kind.EXECUTED: _fold_executed,
    Kind.REPORTED: _fold_reported,
    Kind.OPERATOR_COMMANDED: _fold_commanded,
    Kind.ENDED: _fold_ended,
}
