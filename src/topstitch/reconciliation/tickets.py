"""Decides what a confirmed difference leads to: one exception ticket, kept up to date, closed again.

One ticket for each instance and system (R-05): the same key every time, so that a later
check updates it; closed with a note once a read agrees. Where the ticket cannot be filed, a
person does it. A heal is never carried out here (R-10).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn
from topstitch.foundation.ids import derived_id
from topstitch.governance import tasks
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Outcome
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import ActState, ActStatus, DiscrepancyState, InstanceState
from topstitch.plan.plan import ActPlan, Plan, RecordPlan
from topstitch.plan.scope import facts

STAGE = Stage.RECONCILIATION
SEVERITIES = ("low", "medium", "high")


def concluded(
    state: InstanceState,
    record: RecordPlan,
    check: str,
    differing: list[dict[str, Any]],
    url: str | None,
    now: datetime,
    personal: tuple[Path, ...],
) -> list[Draft]:
    """Return the records of a finished comparison: a discrepancy opened, updated, resolved, or nothing."""
    known = _open_for(state, record.name)
    if not differing:
        if known is None:
            return []
        body: dict[str, Any] = {"discrepancy": known.id, "how": "agreed", "check": check}
        return [_draft(Kind.DISCREPANCY_RESOLVED, now, record.covers, body)]
    severity = max((f["severity"] for f in differing), key=SEVERITIES.index)
    if known is None:
        number = sum(1 for d in state.discrepancies.values() if d.record == record.name)
        body = {
            "discrepancy": derived_id("dis", state.id, record.name, str(number)),
            "record": record.name,
            "system": record.system,
            "check": check,
            "severity": severity,
            "fields": differing,
        }
        if url is not None:
            body["url"] = url
        return [_draft(Kind.DISCREPANCY_OPENED, now, record.covers, body, personal)]
    if known.check == check:
        return []
    raised = SEVERITIES[min(SEVERITIES.index(severity) + 1, len(SEVERITIES) - 1)]
    body = {"discrepancy": known.id, "record": record.name, "check": check, "severity": raised, "fields": differing}
    return [_draft(Kind.DISCREPANCY_UPDATED, now, record.covers, body, personal)]


def tend(plan: Plan, state: InstanceState, now: datetime, turn: Turn) -> None:
    """Add to ``turn`` what the tickets of this instance want now."""
    desk = _desk(plan, state, now)
    for found in state.discrepancies.values():
        act = state.acts.get(_ticket_id(found))
        if act is not None and act.status not in TERMINAL:
            machine.advance(plan.reconcile.ticket, act, desk, turn)
        elif act is not None and not act.handed_over and found.ticketed < found.revision:
            turn.drafts += _filed(plan, state, found, act, now)
        elif found.ticketed < found.revision and not found.resolved:
            turn.drafts.append(_file(plan, state, found, desk))
        elif found.resolved and found.ticket is not None and plan.reconcile.close_ticket is not None:
            _close(plan, state, found, plan.reconcile.close_ticket, desk, turn)
    for task in state.tasks.values():
        if task.purpose == "ticket" and task.ending is None:
            _tend_task(state, task.id, now, turn)


def settle(plan: Plan, state: InstanceState, call: Call, outcome: Outcome, now: datetime) -> list[Draft]:
    """Return the record of what came back for a ticket's call."""
    act = state.acts.get(act_of(call.key))
    if act is None:
        return []
    draft = machine.settle(_plan_of(plan, act), act, call, outcome, _desk(plan, state, now))
    return [draft] if draft else []


def recover(plan: Plan, state: InstanceState, now: datetime) -> list[Draft]:
    """Return what a new activation records of ticket writes the last one left without an answer."""
    desk = _desk(plan, state, now)
    mine = (act for act in state.acts.values() if act.id.startswith("@reconcile/"))
    drafts = (machine.recover(_plan_of(plan, act), act, desk) for act in mine)
    return [draft for draft in drafts if draft is not None]


def act_of(key: str) -> str:
    """Return the act a call's key belongs to."""
    for mark in ("/send/", "/look/", "/back/"):
        if mark in key:
            return key[: key.rindex(mark)]
    return key


def is_at_rest(plan: Plan, state: InstanceState) -> bool:
    """Whether no ticket is still to be filed, updated or closed."""
    for found in state.discrepancies.values():
        if found.ticketed < found.revision and not found.resolved:
            return False
        closing = state.acts.get(_close_id(found))
        must_close = found.resolved and found.ticket is not None and plan.reconcile.close_ticket is not None
        if must_close and (closing is None or closing.status not in TERMINAL):
            return False
    return not any(t.purpose == "ticket" and t.ending is None for t in state.tasks.values())


def _plan_of(plan: Plan, act: ActState) -> ActPlan:
    if act.purpose == "close_ticket" and plan.reconcile.close_ticket is not None:
        return plan.reconcile.close_ticket
    return plan.reconcile.ticket


def _desk(plan: Plan, state: InstanceState, now: datetime) -> Desk:
    def facts_of(act: ActState, found: Any, _roots: frozenset[str]) -> Facts:
        return facts(plan, state, step={"input": act.payload, "output": act.output}, found=found)

    return Desk(instance=state.id, stage=STAGE, now=now, facts=facts_of)


def _open_for(state: InstanceState, record: str) -> DiscrepancyState | None:
    return next((d for d in state.discrepancies.values() if d.record == record and not d.resolved), None)


def _ticket_id(found: DiscrepancyState) -> str:
    return f"@reconcile/{found.record}/ticket/{found.id}/{found.revision}"


def _close_id(found: DiscrepancyState) -> str:
    return f"@reconcile/{found.record}/close/{found.id}"


def _file(plan: Plan, state: InstanceState, found: DiscrepancyState, desk: Desk) -> Draft:
    ticket = plan.reconcile.ticket
    names = ", ".join(f["field"] for f in found.fields)
    first = found.fields[0]
    difference = {
        "system": plan.systems[found.system].title,
        "record": found.record,
        "field": names,
        "fields": [f["field"] for f in found.fields],
        "severity": found.severity,
        "expected": first["intended"],
        "actual": first["observed"],
        "check": found.check,
    }
    try:
        payload = ticket.params.render(facts(plan, state, difference=difference))
    except ExpressionError:
        payload = {
            "process": state.id,
            "summary": f"{difference['system']}: {names} differs",
            "severity": found.severity,
        }
    return machine.propose(
        ticket,
        _ticket_id(found),
        payload,
        desk,
        purpose="ticket",
        step=None,
        granted_by="definition",
        key=f"reconcile/{found.record}/{found.id}",
    )


def _filed(plan: Plan, state: InstanceState, found: DiscrepancyState, act: ActState, now: datetime) -> list[Draft]:
    body: dict[str, Any] = {"discrepancy": found.id, "revision": found.revision, "ticket": None}
    if act.status is ActStatus.DONE:
        body |= {"ticket": act.output, "url": act.url}
        return [_draft(Kind.DISCREPANCY_TICKETED, now, None, body)]
    by_hand = plan.reconcile.ticket_task
    try:
        title = str(by_hand.title.render(facts(plan, state)))
    except ExpressionError:
        title = "File the exception by hand"
    task = tasks.open_task(
        state,
        now,
        STAGE,
        about=_ticket_id(found),
        index=0,
        purpose="ticket",
        step=None,
        system=plan.reconcile.ticket.system,
        title=f"{title}: {state.title}",
        to=by_hand.to,
        due_seconds=by_hand.due_seconds,
        give_up_seconds=by_hand.give_up_seconds,
        escalate=by_hand.escalate,
        facts=act.payload if isinstance(act.payload, dict) else None,
    )
    return [_draft(Kind.DISCREPANCY_TICKETED, now, None, body), task]


def _close(plan: Plan, state: InstanceState, found: DiscrepancyState, close: ActPlan, desk: Desk, turn: Turn) -> None:
    act = state.acts.get(_close_id(found))
    if act is not None:
        machine.advance(close, act, desk, turn)
        return
    wanted = (close.action.input.get("properties") or {}).keys()
    known = {**(found.ticket or {}), "note": f"Read again and agrees: {plan.title}, {state.id}"}
    payload = {name: value for name, value in known.items() if name in wanted}
    turn.drafts.append(
        machine.propose(
            close, _close_id(found), payload, desk, purpose="close_ticket", step=None, granted_by="definition"
        )
    )


def _tend_task(state: InstanceState, identity: str, now: datetime, turn: Turn) -> None:
    task = state.tasks[identity]
    if task.said is not None:
        turn.drafts.append(tasks.close_task(task, now, STAGE, "accepted" if task.said == "done" else "failed"))
        return
    drafts, wake = tasks.chase(task, now, STAGE)
    turn.drafts += drafts
    turn.wake(wake)


def _draft(kind: Kind, now: datetime, step: str | None, body: dict[str, Any], personal: tuple[Path, ...] = ()) -> Draft:
    return Draft(kind=kind, at=now, actor=ENGINE, stage=STAGE, step=step, body=body, personal=personal)
