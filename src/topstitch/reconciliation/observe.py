"""Decides what a comparison of one record says, field by field.

``decide`` hands in what was read; each rule becomes a row with what was intended, committed
and observed, whether they agree, and what the pair that differs means. Where the definition
names the system whose word counts, what that system says now counts too. A row holds the
repair that was declared for it, or why there may be none; nothing is repaired here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.foundation.canonical import digest
from topstitch.language.expressions import ExpressionError, Facts
from topstitch.model.record import Path
from topstitch.model.state import ActState, CheckState, DiscrepancyState, InstanceState, StepState
from topstitch.plan.heals import PROPOSED
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import ActPlan, ExpectPlan, FieldPlan, Plan, RecordPlan
from topstitch.plan.scope import facts, step_values
from topstitch.reconciliation.compare import cause, field_of, holds, same

AGREE: Final = "agree"
FOLLOWED: Final = "followed"
"""The system whose word counts moved on, and this one followed it: as it should be."""
SUPERSEDED: Final = "superseded"
"""The source moved on after us: work for an update workflow, no alarm."""
NEVER: Final = "never_committed"
"""What was committed was never what was intended, such as a record that had been there before."""
ACCEPTED: Final = "accepted"
"""A person said that this value is right."""
_NO_ALARM: Final = frozenset({SUPERSEDED})
_LISTS: Final = "array"

Row = dict[str, Any]


def compared(
    plan: Plan, state: InstanceState, check: CheckState, record: RecordPlan, observed: Any, accepted: Mapping[str, Any]
) -> list[Row]:
    """Return a row for each field of a record whose step took effect."""
    step = state.steps[record.covers]
    scope = facts(plan, state, step=step_values(step))
    later = _later_scope(plan, state, check, step)
    rows = []
    for rule in record.fields:
        row = _row(rule, scope, later, _committed(state, record, rule), _sent(state, record, rule), observed)
        if row["verdict"] != "match" and _is_accepted(rule, row, accepted):
            row |= {"verdict": "match", "cause": ACCEPTED}
        if row["verdict"] != "match" and rule.heal is not None:
            row["heal"] = _heal(record, rule, rule.heal, row, observed, scope)
        rows.append(row)
    return rows


def undone(plan: Plan, state: InstanceState, record: RecordPlan, observed: Any) -> list[Row]:
    """Return a row for each read-back of the rollback: they say what should be true once a step was undone."""
    step = state.steps[record.covers]
    return [_undone_row(expect, _true_of(plan, state, step, expect, observed)) for expect in record.undone]


def differing(rows: list[Row]) -> list[Row]:
    """Return the rows that disagree."""
    return [row for row in rows if row["verdict"] != "match"]


def alarming(rows: list[Row]) -> list[Row]:
    """Return the rows that somebody must deal with: not those whose source moved on."""
    return [row for row in rows if row["cause"] not in _NO_ALARM]


def personal(record: RecordPlan, rows: list[Row]) -> tuple[Path, ...]:
    """Return where the rows hold personal values."""
    marked = {pattern[0] for pattern in record.personal if pattern}
    paths: list[Path] = []
    for index, row in enumerate(rows):
        if row["field"].split(".")[0] in marked:
            paths += [
                ("fields", index, name) for name in ("intended", "committed", "observed") if row[name] is not None
            ]
        heal = row.get("heal")
        rule = next((rule for rule in record.fields if rule.field == row["field"]), None)
        if heal and "payload" in heal and rule is not None and rule.heal is not None:
            paths += paths_in(heal["payload"], rule.heal.personal_in, ("fields", index, "heal", "payload"))
    return tuple(paths)


# --- one field --------------------------------------------------------------------------------------------


def _row(rule: FieldPlan, scope: Facts, later: Facts, committed: Any, sent: Any, observed: Any) -> Row:
    there = field_of(observed, rule.field)
    intended = _expected(rule, scope)
    now = _expected(rule, later) if rule.sources else intended
    why = _why(rule, intended, now, committed, sent, there)
    severity = "high" if why == "both" else rule.severity
    return {
        "field": rule.field,
        "rule": rule.rule,
        "intended": now,
        "committed": committed,
        "observed": there,
        "verdict": "match" if why in (AGREE, FOLLOWED) else "differs",
        "cause": why,
        "severity": severity,
    }


def _why(rule: FieldPlan, intended: Any, now: Any, committed: Any, sent: Any, observed: Any) -> str:
    """Name what the pair that differs means; ``now`` is what the system whose word counts says at this moment."""
    if rule.sources and now is not None and not same(intended, now, rule):
        if holds(rule, now, observed):
            return FOLLOWED
        return SUPERSEDED if committed is not None and committed == observed else "both"
    why = cause(rule, intended, committed, observed)
    if why == SUPERSEDED and (sent is None or not holds(rule, sent, committed)):
        return NEVER
    return why


def _expected(rule: FieldPlan, scope: Facts) -> Any:
    try:
        return rule.expected.render(scope) if rule.expected else None
    except ExpressionError:
        return None


def _later_scope(plan: Plan, state: InstanceState, check: CheckState, step: StepState) -> Facts:
    """Return the facts with what the sources of record say now in place of what they said then."""
    moved = {name: found["value"] for name, found in check.sources.items() if "value" in found}
    if not moved:
        return facts(plan, state, step=step_values(step))
    return facts(plan, state, step=step_values(step), context={**state.context, **moved})


def _is_accepted(rule: FieldPlan, row: Row, accepted: Mapping[str, Any]) -> bool:
    return rule.field in accepted and accepted[rule.field] == digest(row["observed"])


def _committed(state: InstanceState, record: RecordPlan, rule: FieldPlan) -> Any:
    """Return what our journal says of the field: read back after the write, or else what was sent."""
    for act in _acts(state, record):
        for source in (act.observed, act.output, act.payload):
            value = field_of(source, rule.field)
            if value is not None:
                return value
    return None


def _sent(state: InstanceState, record: RecordPlan, rule: FieldPlan) -> Any:
    """Return what was sent for the field: it tells a source that moved on from a write that never agreed."""
    for act in _acts(state, record):
        value = field_of(act.payload, rule.field)
        if value is not None:
            return value
    return None


def _acts(state: InstanceState, record: RecordPlan) -> list[ActState]:
    step = state.steps[record.covers]
    proofs = [a for a in state.acts.values() if a.step == step.id and a.purpose == "by_hand" and not a.handed_over]
    return proofs or [state.acts[name] for name in step.acts]


def accepted_of(found: DiscrepancyState) -> dict[str, str]:
    """Return the digest of what is there, field by field: what a person who accepts it says is right."""
    return {str(row["field"]): digest(row["observed"]) for row in found.fields}


# --- its repair -------------------------------------------------------------------------------------------


def _heal(record: RecordPlan, rule: FieldPlan, heal: ActPlan, row: Row, observed: Any, scope: Facts) -> dict[str, Any]:
    """Return the repair that was declared, with its payload; or why there is none."""
    action = f"{heal.system}.{heal.action.name}"
    why_not = _why_not(record, rule, heal, row, observed)
    if why_not is not None:
        return {"action": action, "why_not": why_not}
    try:
        payload = _payload(rule, heal, row, observed, scope)
    except ExpressionError as error:
        return {"action": action, "why_not": error.message}
    return {"action": action, "payload": payload, "auto": rule.heal_auto}


def _why_not(record: RecordPlan, rule: FieldPlan, heal: ActPlan, row: Row, observed: Any) -> str | None:
    if rule.authority not in (None, record.system):
        return f"the word of {rule.authority} counts for this field; correct it there"
    if heal.action.risk_floor >= PROPOSED or rule.format == "money":
        return "money and privilege are never repaired by us"
    if observed is None:
        return "the record is not there; a repair sets a field and makes no record"
    if row["cause"] not in ("drift", "both"):
        return f"it is {row['cause'].replace('_', ' ')}, no drift"
    return None


def _payload(rule: FieldPlan, heal: ActPlan, row: Row, observed: Any, scope: Facts) -> dict[str, Any]:
    """Render ``heal_with``; without it, the field as intended and the rest from the record that was read."""
    if heal.params.value:
        rendered: dict[str, Any] = heal.params.render(scope)
        return rendered
    field = rule.field.split(".")[-1]
    known = {**observed, field: row["intended"]} if isinstance(observed, dict) else {field: row["intended"]}
    schemas: Mapping[str, Any] = heal.action.input.get("properties") or {}
    payload = {name: known[name] for name in schemas if known.get(name) is not None}
    missing = [name for name in heal.action.input.get("required", ()) if name not in payload]
    if missing:
        raise ExpressionError(f"the record gives no {missing[0]}; say it in heal_with")
    if (schemas.get(field) or {}).get("type") == _LISTS and not isinstance(payload.get(field), list):
        payload[field] = [payload[field]]
    return payload


# --- a step that was undone -------------------------------------------------------------------------------


def _undone_row(expect: ExpectPlan, is_so: bool) -> Row:
    return {
        "field": expect.that.source,
        "rule": "undone",
        "intended": True,
        "committed": True,
        "observed": is_so,
        "verdict": "match" if is_so else "differs",
        "cause": AGREE if is_so else "drift",
        "severity": "high",
    }


def _true_of(plan: Plan, state: InstanceState, step: StepState, expect: ExpectPlan, observed: Any) -> bool:
    if observed is None:
        return True
    try:
        return expect.that.evaluate(facts(plan, state, step=step_values(step), found=observed)) is True
    except ExpressionError:
        return False
