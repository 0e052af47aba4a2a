"""Decides what a confirmed difference leads to: one exception ticket, kept up to date, closed again.

One ticket for each instance and system (R-05): the same key every time, so that whatever
else differs there, and a later check, update it; closed with a note once nothing in that
system differs any more. Where the ticket cannot be filed, a person does it. A repair that
was declared is named in it, and carried out elsewhere (R-10).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from topstitch.attempts import machine
from topstitch.attempts.machine import TERMINAL, Desk, Turn
from topstitch.governance import tasks
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Outcome
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import ActState, ActStatus, DiscrepancyState, DiscrepancyStatus, InstanceState
from topstitch.plan.plan import ActPlan, Plan
from topstitch.plan.scope import facts
from topstitch.reconciliation.conclude import SEVERITIES
from topstitch.reconciliation.life import Move, next_status

STAGE = Stage.RECONCILIATION
_NOTES: Final = {
    DiscrepancyStatus.RESOLVED: "Read again and agrees",
    DiscrepancyStatus.ACCEPTED: "What is there was accepted",
    DiscrepancyStatus.SUPERSEDED: "The source has moved on since",
}


def tend(plan: Plan, state: InstanceState, now: datetime, turn: Turn) -> None:
    """Add to ``turn`` what the tickets of this instance want now."""
    if not state.discrepancies and not state.tasks:
        return
    desk = _desk(plan, state, now)
    for found in state.discrepancies.values():
        act = state.acts.get(_ticket_id(found))
        if act is not None and act.status not in TERMINAL:
            machine.advance(plan.reconcile.ticket, act, desk, turn)
        elif act is not None and not act.handed_over and found.ticketed < found.revision:
            turn.drafts += _filed(plan, state, found, act, now)
        elif _wants_telling(found):
            turn.drafts.append(_file(plan, state, found, desk))
        elif plan.reconcile.close_ticket is not None and _wants_closing(state, found):
            _close(plan, state, found, plan.reconcile.close_ticket, desk, turn)
    for task in state.tasks.values():
        if task.purpose == "ticket" and task.ending is None:
            _tend_task(state, task.id, now, turn)


def _wants_telling(found: DiscrepancyState) -> bool:
    """Whether its ticket has to hear of it: not while somebody lets it stand."""
    return found.ticketed < found.revision and not found.resolved and found.status is not DiscrepancyStatus.WAIVED


def _wants_closing(state: InstanceState, found: DiscrepancyState) -> bool:
    """Whether the ticket is to be closed on account of this one: the last of its system that was settled."""
    if not found.resolved or found.ticket is None:
        return False
    same = [d for d in state.discrepancies.values() if d.system == found.system]
    settled = [d for d in same if d.ticket is not None]
    return all(d.resolved for d in same) and found is settled[-1]


def settle(plan: Plan, state: InstanceState, call: Call, outcome: Outcome, now: datetime) -> list[Draft]:
    """Return the record of what came back for a ticket's call."""
    act = state.acts.get(act_of(call.key))
    if act is None:
        return []
    draft = machine.settle(_plan_of(plan, act), act, call, outcome, _desk(plan, state, now))
    return [draft] if draft else []


def recover(plan: Plan, state: InstanceState, now: datetime) -> list[Draft]:
    """Return what a new activation records of ticket writes the last one left without an answer."""
    mine = [act for act in state.acts.values() if act.id.startswith("@reconcile/")]
    if not mine:
        return []
    desk = _desk(plan, state, now)
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
        if _wants_telling(found):
            return False
        filing = state.acts.get(_ticket_id(found))
        if filing is not None and filing.status not in TERMINAL:
            return False
        if plan.reconcile.close_ticket is None or not _wants_closing(state, found):
            continue
        closing = state.acts.get(_close_id(found))
        if closing is None or closing.status not in TERMINAL:
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


def _ticket_id(found: DiscrepancyState) -> str:
    return f"@reconcile/{found.record}/ticket/{found.id}/{found.revision}"


def _close_id(found: DiscrepancyState) -> str:
    return f"@reconcile/{found.record}/close/{found.id}/{found.times}"


def _file(plan: Plan, state: InstanceState, found: DiscrepancyState, desk: Desk) -> Draft:
    ticket = plan.reconcile.ticket
    difference = difference_of(plan, state, found)
    try:
        payload = ticket.params.render(facts(plan, state, difference=difference))
    except ExpressionError:
        payload = {
            "process": state.id,
            "summary": f"{difference['system']}: {difference['field']} differs",
            "severity": difference["severity"],
        }
    room = ticket.action.input.get("properties") or {}
    if difference["proposal"] and "detail" in room and isinstance(payload, dict):
        payload.setdefault("detail", difference["proposal"])
    return machine.propose(
        ticket,
        _ticket_id(found),
        payload,
        desk,
        purpose="ticket",
        step=None,
        granted_by="definition",
        key=f"reconcile/{found.system}",
    )


def difference_of(plan: Plan, state: InstanceState, found: DiscrepancyState) -> dict[str, Any]:
    """Return what the ticket is told: everything that differs in this one's system, its own fields first."""
    others = [
        d for d in state.discrepancies.values() if d.system == found.system and d.id != found.id and not d.resolved
    ]
    rows = [row for one in (found, *others) for row in one.fields]
    first = rows[0]
    severities = [found.severity, *(d.severity for d in others)]
    return {
        "system": plan.systems[found.system].title,
        "record": ", ".join(dict.fromkeys(d.record for d in (found, *others))),
        "field": ", ".join(row["field"] for row in rows),
        "fields": [row["field"] for row in rows],
        "severity": max(severities, key=SEVERITIES.index),
        "expected": first["intended"],
        "actual": first["observed"],
        "check": found.check,
        "proposal": _proposal(found),
    }


def _proposal(found: DiscrepancyState) -> str:
    """Return in words what repair waits for an approval, and how to give it; empty when there is none."""
    heals = [row["heal"] for row in found.fields if "payload" in (row.get("heal") or {})]
    if not heals:
        return ""
    actions = ", ".join(heal["action"] for heal in heals)
    return f"Repair proposed: {actions}; see topstitch discrepancies show {found.id}"


def _filed(plan: Plan, state: InstanceState, found: DiscrepancyState, act: ActState, now: datetime) -> list[Draft]:
    body: dict[str, Any] = {"discrepancy": found.id, "revision": found.revision, "ticket": None}
    if act.status is ActStatus.DONE:
        body |= {"ticket": act.output, "url": act.url, "state": next_status(found.status, Move.TICKET)}
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
    known = {**(found.ticket or {}), "note": f"{_NOTES[found.status]}: {plan.title}, {state.id}"}
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
