"""Decides what a person may do about a discrepancy, and records it with actor and reason.

``act`` judges by the instance as it stands; ``office.discrepancies`` appends what it returns
behind the head that was looked at, so that nothing is decided on a picture that has moved. A
recheck reads now; a repair goes its ordinary way under policy and approval; a waiver has an
end; what is accepted counts as right from then on. Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.instance import SETTLED
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Record, Stage
from topstitch.model.state import DiscrepancyState, DiscrepancyStatus, InstanceState
from topstitch.plan.plan import Plan
from topstitch.reconciliation import heal
from topstitch.reconciliation.decide import began
from topstitch.reconciliation.life import Move, next_status
from topstitch.reconciliation.observe import accepted_of

VERBS: Final = ("recheck", "repair", "accept", "waive")
COMMANDS: Final = frozenset(VERBS)
WAIVER_DAYS_MAX: Final = 366
REASON_LENGTH_MAX: Final = 4_000


def act(
    plan: Plan,
    state: InstanceState,
    name: str,
    verb: str,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    until: datetime | None = None,
) -> list[Draft]:
    """Return the records of an act; raise, saying why and what can be done, when it cannot be."""
    said = require_reason(reason)
    found = state.discrepancies.get(name)
    if found is None and verb != "recheck":
        raise ConflictError("discrepancy-moved", f"{name} is not confirmed yet; a second read decides, wait for that")
    if actor.kind is ActorKind.AGENT and verb != "recheck":
        raise NotAllowedError(
            "agent-never", f"{actor} may have a record read again, never {verb}; a person has to do it"
        )
    match verb:
        case "recheck":
            return _recheck(plan, state, name, actor, said, now)
        case "repair" if found is not None:
            return _repair(plan, state, found, actor, said, now)
        case "accept" if found is not None:
            return _accept(state, found, actor, said, now)
        case "waive" if found is not None:
            return _waive(state, found, actor, said, now, until)
        case _:
            raise RequestError("unknown-command", f"there is no {verb}; a discrepancy knows {', '.join(VERBS)}")


def require_reason(reason: str) -> str:
    """Return the reason; raise when there is none worth keeping."""
    said = reason.strip()
    if not said or len(said) > REASON_LENGTH_MAX:
        raise RequestError("no-reason", "an act on a discrepancy is kept with its reason; say why in a sentence or two")
    return said


def require_end(now: datetime, until: datetime | None) -> datetime:
    """Return the end of a waiver; raise when it has none, or one too far away."""
    if until is None or until <= now:
        raise RequestError("waiver-without-end", "a waiver has an end that is to come; say it with --until")
    if until - now > timedelta(days=WAIVER_DAYS_MAX):
        raise RequestError(
            "waiver-too-long", f"a waiver lasts at most {WAIVER_DAYS_MAX} days; name an earlier end, or accept it"
        )
    return until


def commanded(state: InstanceState, entry: Draft | Record) -> InstanceState:
    """Fold one of these commands: an instance that had ended goes on, to be compared again."""
    del entry
    if state.ended is None:
        return state
    return replace(state, ended=None, stage=Stage.RECONCILIATION)


def _recheck(plan: Plan, state: InstanceState, name: str, actor: Actor, reason: str, now: datetime) -> list[Draft]:
    found = state.discrepancies.get(name)
    record = found.record if found is not None else _suspected(plan, state, name)
    number = 1 + sum(1 for check in state.checks if check.startswith("recheck-"))
    check = began(f"recheck-{number}", now, now, records=(record,), by=actor)
    return [_command(state, "recheck", name, actor, reason, now), check]


def _suspected(plan: Plan, state: InstanceState, name: str) -> str:
    from topstitch.reconciliation.conclude import discrepancy_id  # noqa: PLC0415 -- named after what it is asked for

    for record in plan.reconcile.records:
        if name == discrepancy_id(state, record.name):
            return record.name
    raise NotFoundError(
        "unknown-id", f"{state.id} has no discrepancy {name}; list what is open and use an id from there"
    )


def _repair(
    plan: Plan, state: InstanceState, found: DiscrepancyState, actor: Actor, reason: str, now: datetime
) -> list[Draft]:
    _require_live(found, "repair")
    _require_none_open(state, found)
    rows = [dict(row) for row in found.fields if "payload" in (row.get("heal") or {})]
    if not rows:
        raise ConflictError("nothing-to-repair", _why_none(found))
    next_status(found.status, Move.HEAL)
    drafts = [_command(state, "repair", found.id, actor, reason, now, fields=[row["field"] for row in rows])]
    row = rows[0]
    number = heal.next_number(state, found.record, row["field"])
    return [*drafts, heal.proposed(plan, found, row, now, number=number, by=actor)]


def _require_none_open(state: InstanceState, found: DiscrepancyState) -> None:
    mine = [step for name, step in state.heals.items() if name.startswith(f"heal:{found.record}.")]
    going = next((step for step in mine if step.status not in SETTLED), None)
    if going is None:
        return
    if going.approval is not None and going.approval.ending is None:
        message = f"a repair waits for a decision; give it with: topstitch approvals approve {going.approval.id}"
        raise ConflictError("repair-open", message, detail={"approval": going.approval.id})
    raise ConflictError("repair-open", "a repair is under way; wait until the record has been read again")


def _why_none(found: DiscrepancyState) -> str:
    reasons = [
        f"{row['field']}: {row['heal']['why_not']}" for row in found.fields if "why_not" in (row.get("heal") or {})
    ]
    if reasons:
        return f"nothing is repaired by us ({'; '.join(reasons)}); correct it in the system, then recheck"
    return "no repair is declared for these fields; correct them in the system, then recheck, or declare heal for them"


def _accept(state: InstanceState, found: DiscrepancyState, actor: Actor, reason: str, now: datetime) -> list[Draft]:
    _require_open(found, "accept")
    body = {"discrepancy": found.id, "how": "accepted", "because": reason, "accepted": accepted_of(found)}
    resolved = Draft(
        kind=Kind.DISCREPANCY_RESOLVED,
        at=now,
        actor=actor,
        stage=state.stage,
        body=body,
        personal=(("because",),),
    )
    return [_command(state, "accept", found.id, actor, reason, now), resolved]


def _waive(
    state: InstanceState, found: DiscrepancyState, actor: Actor, reason: str, now: datetime, until: datetime | None
) -> list[Draft]:
    _require_open(found, "waive")
    ends = rfc3339(require_end(now, until))
    body = {"discrepancy": found.id, "until": ends, "because": reason}
    waived = Draft(
        kind=Kind.DISCREPANCY_WAIVED,
        at=now,
        actor=actor,
        stage=state.stage,
        body=body,
        personal=(("because",),),
    )
    return [_command(state, "waive", found.id, actor, reason, now, until=ends), waived]


def _require_open(found: DiscrepancyState, verb: str) -> None:
    if found.resolved:
        raise ConflictError(
            "discrepancy-settled", f"{found.id} is {found.status} already; nothing is left to {verb}, recheck reads it"
        )


def _require_live(found: DiscrepancyState, verb: str) -> None:
    _require_open(found, verb)
    if found.status is DiscrepancyStatus.WAIVED:
        raise ConflictError(
            "discrepancy-settled", f"{found.id} is waived; recheck it first if it is to be {verb}ed before the end"
        )


def _command(
    state: InstanceState, verb: str, name: str, actor: Actor, reason: str, now: datetime, **more: Any
) -> Draft:
    body: Mapping[str, Any] = {"command": verb, "reason": reason, "discrepancy": name, **more}
    return Draft(
        kind=Kind.OPERATOR_COMMANDED,
        at=now,
        actor=actor,
        stage=state.stage,
        body=body,
        personal=(("reason",),),
    )
