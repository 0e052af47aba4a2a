"""Decides whether a difference is repaired by us: only where that was declared, once, and never in bulk drift.

A repair begins as a proposal: from there ``lifecycle`` has it carried out as every other step
is, with policy, approval, one key and the record compared again at the end. Nothing is
repaired here (R-10). More instances than a few with the same difference within an hour are
an incident or a wrong mapping, no drift: then nothing is repaired, and a case says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.attempts.machine import Turn
from topstitch.foundation.canonical import digest
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.cases import open_case
from topstitch.model.instance import SETTLED, Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import DriftCall, Outcome, Result
from topstitch.model.record import ENGINE, Actor, Draft, Stage
from topstitch.model.state import DiscrepancyState, DiscrepancyStatus, InstanceState, StepState
from topstitch.plan.heals import ASKED, heal_name, healed
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import Plan
from topstitch.reconciliation.conclude import latest

STAGE: Final = Stage.RECONCILIATION
BULK_SAME: Final = 5
"""At most so many instances may show the same difference within an hour."""
BULK_SHARE: Final = 0.02
"""Or this share of all, where that is more."""
BULK_SECONDS: Final = 3600
_NOT_SENT: Final = frozenset({StepStatus.WAITING, StepStatus.ASKING})
_IN_EFFECT: Final = frozenset({StepStatus.DONE, StepStatus.DONE_BY_HAND, StepStatus.KEPT})
"""Whose records are repaired: what was undone meanwhile is left as it is."""
_LIVE: Final = frozenset({DiscrepancyStatus.CONFIRMED, DiscrepancyStatus.TICKETED, DiscrepancyStatus.HEALING})


def tend(plan: Plan, state: InstanceState, now: datetime, turn: Turn) -> None:
    """Add to ``turn`` what the repairs of this instance want now: to be proposed, refused, or what comes after."""
    if not state.discrepancies and not state.heals:
        return
    if state.mode is Mode.ROLLING_BACK and state.executed_at is None:
        return
    for found, row in _undecided(state):
        declared = row["heal"]
        if "why_not" in declared:
            turn.drafts.append(refused(found, row, declared["why_not"], now))
        else:
            turn.calls.append(_drift(plan, found, row["field"], now))
    for name, step in state.heals.items():
        turn.drafts += _after(plan, state, name, step, now)


def settle(plan: Plan, state: InstanceState, call: DriftCall, outcome: Outcome, now: datetime) -> list[Draft]:
    """Return the records of how far a difference has spread: the repair is proposed, or refused with a case."""
    found = latest(state, call.record)
    row = _row(found, call.field) if found else None
    if found is None or row is None or outcome.result is not Result.OK:
        return []
    if heal_name(found.record, call.field) in state.heals or call.field in found.unhealed:
        return []
    same, of = int(outcome.value["same"]), int(outcome.value["of"])
    if same > max(BULK_SAME, BULK_SHARE * of):
        return _in_bulk(plan, state, found, row, same, of, now)
    return [proposed(plan, found, row, now, spread={"same": same, "of": of})]


def proposed(
    plan: Plan,
    found: DiscrepancyState,
    row: dict[str, Any],
    now: datetime,
    *,
    number: int = 1,
    by: Actor = ENGINE,
    spread: dict[str, int] | None = None,
) -> Draft:
    """Return the record that begins a repair. From the second on it is one that a person asked for."""
    name = heal_name(found.record, row["field"], number)
    about = healed(plan, name)
    assert about is not None
    _, rule = about
    assert rule.heal is not None
    payload = row["heal"]["payload"]
    body: dict[str, Any] = {
        "heal": name,
        "discrepancy": found.id,
        "record": found.record,
        "field": row["field"],
        "system": rule.heal.system,
        "action": row["heal"]["action"],
        "payload": payload,
        "payload_digest": digest(payload),
        "mode": "auto" if rule.heal_auto else "propose",
        **(spread or {}),
    }
    personal = paths_in(payload, rule.heal.personal_in, ("payload",))
    return Draft(kind=Kind.HEAL_PROPOSED, at=now, actor=by, stage=STAGE, step=None, body=body, personal=personal)


def refused(found: DiscrepancyState, row: dict[str, Any], because: str, now: datetime, **spread: int) -> Draft:
    """Return the record that a difference is not repaired by us, and why."""
    body: dict[str, Any] = {
        "discrepancy": found.id,
        "record": found.record,
        "field": row["field"],
        "action": row["heal"]["action"],
        "because": because,
        **spread,
    }
    return Draft(kind=Kind.HEAL_REFUSED, at=now, actor=ENGINE, stage=STAGE, body=body)


def is_at_rest(state: InstanceState) -> bool:
    """Whether no repair is under way, or still to be judged by a read."""
    return not any(
        step.status not in SETTLED or (_wants_judging(step) and not _judged(state, name))
        for name, step in state.heals.items()
    )


def _undecided(state: InstanceState) -> Iterator[tuple[DiscrepancyState, dict[str, Any]]]:
    """Give each field whose declared repair has neither been proposed nor refused."""
    for found in state.discrepancies.values():
        if found.status not in _LIVE:
            continue
        for row in found.fields:
            decided = row["field"] in found.unhealed or heal_name(found.record, row["field"]) in state.heals
            if row.get("heal") and not decided:
                yield found, dict(row)


def _drift(plan: Plan, found: DiscrepancyState, field: str, now: datetime) -> DriftCall:
    return DriftCall(
        key=f"@reconcile/{found.record}/drift/{field}",
        workflow=plan.workflow,
        record=found.record,
        field=field,
        since=now - timedelta(seconds=BULK_SECONDS),
    )


def _in_bulk(
    plan: Plan, state: InstanceState, found: DiscrepancyState, row: dict[str, Any], same: int, of: int, now: datetime
) -> list[Draft]:
    system = plan.systems[found.system].title
    because = f"{same} instances show the same within an hour: an incident or a wrong mapping, no drift"
    case = open_case(
        plan,
        state,
        now,
        STAGE,
        about=f"heal/{found.record}/{row['field']}",
        cause="bulk-drift",
        summary=f"{row['field']} in {system} differs in {same} instances within an hour, so none is repaired",
        remedy=f"Find out what changed {system}, then repair each with topstitch discrepancies repair",
        seam={"from_system": "topstitch", "to_system": plan.connector_of(found.system)},
    )
    drafts = [refused(found, row, because, now, same=same, of=of)]
    return [*drafts, case] if case else drafts


def _row(found: DiscrepancyState | None, field: str) -> dict[str, Any] | None:
    rows = found.fields if found else ()
    return next((dict(row) for row in rows if row["field"] == field and "payload" in (row.get("heal") or {})), None)


# --- once it is under way ---------------------------------------------------------------------------------


def _after(plan: Plan, state: InstanceState, name: str, step: StepState, now: datetime) -> list[Draft]:
    """Return what a repair leads to: a read that judges it, word that it came to nothing, or its withdrawal."""
    about = healed(plan, name)
    found = latest(state, about[0].name) if about else None
    if about is None or found is None:
        return []
    stands = found.status is DiscrepancyStatus.HEALING and state.steps[about[0].covers].status in _IN_EFFECT
    if step.status in _NOT_SENT and not stands:
        return _withdrawn(step, now)
    if _wants_judging(step) and not _judged(state, name):
        body = {"check": _judging(name), "due_at": rfc3339(now), "late": False, "records": [found.record]}
        return [Draft(kind=Kind.CHECK_BEGAN, at=now, actor=ENGINE, stage=STAGE, body=body)]
    if found.status is not DiscrepancyStatus.HEALING or _is_under_way(state, found):
        return []
    if _wants_judging(step) and not state.checks[_judging(name)].done:
        return []
    row = {"field": about[1].field, "heal": {"action": f"{about[1].heal.system}.{about[1].heal.action.name}"}}  # type: ignore[union-attr]
    because = "it was done, and the record still differs" if step.status is StepStatus.DONE else f"it was {step.status}"
    return [refused(found, row, because.replace("_", " "), now)]


def _wants_judging(step: StepState) -> bool:
    """Whether a read has to say what a repair came to: it was done, or nobody knows whether it was."""
    return step.status is StepStatus.DONE or (step.status is StepStatus.GIVEN_UP and step.effect != "none")


def _judging(name: str) -> str:
    return f"after-{name}"


def _judged(state: InstanceState, name: str) -> bool:
    return _judging(name) in state.checks


def _is_under_way(state: InstanceState, found: DiscrepancyState) -> bool:
    """Whether another repair of the same record goes on."""
    beginning = heal_name(found.record, "")
    mine = [step for name, step in state.heals.items() if name.startswith(beginning)]
    return any(step.status not in SETTLED for step in mine)


def _withdrawn(step: StepState, now: datetime) -> list[Draft]:
    """Return the records that take a repair back which nobody needs any more."""
    drafts = []
    if step.approval is not None and step.approval.ending is None:
        body: dict[str, Any] = {
            "approval": step.approval.id,
            "ending": "withdrawn",
            "by": [],
            "payload_digest": step.approval.payload_digest,
            "waited_ms": round((now - step.approval.asked_at).total_seconds() * 1000),
        }
        drafts.append(Draft(kind=Kind.APPROVAL_CLOSED, at=now, actor=ENGINE, stage=STAGE, step=step.id, body=body))
    because = {"because": "the difference is settled otherwise", "steps": []}
    return [*drafts, Draft(kind=Kind.STEP_NOT_RUN, at=now, actor=ENGINE, stage=STAGE, step=step.id, body=because)]


def next_number(state: InstanceState, record: str, field: str) -> int:
    """Return the number of the next repair of a field: one that a person asks for is never the first."""
    first = heal_name(record, field)
    return 2 + sum(1 for name in state.heals if name.startswith(first + ASKED))
