"""Decides what is compared when, and what a difference leads to.

Checks are due at fixed times after T; a restart changes none of them, and one that begins
late says so. A difference counts once a second read, after the settle time, still shows it.
What cannot be read is *unverified*, never a match; a step that still waits for a person is
*pending*, not a difference; for a step that was undone the expectation turns round.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts.machine import Turn, problem_body
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.cases import close_case, open_case
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Outcome, ReadCall, Result
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import ActState, CheckRead, CheckState, InstanceState, StepState
from topstitch.plan.plan import ExpectPlan, FieldPlan, Plan, RecordPlan
from topstitch.plan.scope import facts, step_values
from topstitch.reconciliation import tickets
from topstitch.reconciliation.compare import cause, field_of

STAGE = Stage.RECONCILIATION
LATE_SECONDS = 60
"""A check that begins later than this after it was due is marked late."""
UNREADABLE_AGAIN_SECONDS = 1800
UNREADABLE_GIVE_UP_SECONDS = 7200
"""An unreadable system is asked again every half hour for two hours; then a case says so."""
CAP_SECONDS = 7200
"""With ``T: executed``, T is never later than this after the trigger (ruling 4)."""
UNDONE = frozenset({StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND})
EXPECTED = frozenset({StepStatus.DONE, StepStatus.DONE_BY_HAND, StepStatus.KEPT})
FRESH = CheckRead()


def decide(plan: Plan, state: InstanceState, now: datetime) -> Turn:
    """Return what reconciliation wants now: a check begun, reads, tickets."""
    turn = Turn()
    if state.paused or state.started_at is None:
        return turn
    tickets.tend(plan, state, now, turn)
    due = next_check(plan, state)
    if due is None:
        return turn
    name, due_at = due
    check = state.checks.get(name)
    if check is None:
        if now < due_at:
            turn.wake(due_at)
        else:
            body = {"check": name, "due_at": rfc3339(due_at), "late": (now - due_at).total_seconds() > LATE_SECONDS}
            turn.drafts.append(_draft(Kind.CHECK_BEGAN, now, None, body))
        return turn
    _carry_on(plan, state, check, now, turn)
    return turn


def next_check(plan: Plan, state: InstanceState) -> tuple[str, datetime] | None:
    """Return the first check that is not done and when it is due; nothing when none is left.

    An instance in which nothing is left to compare needs none; one whose last step settled
    after the last check gets one more.
    """
    if state.executed_at is not None and not _anything_there(plan, state):
        return None
    origin = _origin(plan, state)
    for name, seconds in plan.reconcile.at:
        if not _done(state, name):
            return name, origin + timedelta(seconds=seconds)
    if state.executed_at is None or not plan.reconcile.at:
        return None
    name, seconds = plan.reconcile.at[0]
    last = max((c.due_at for c in state.checks.values()), default=origin)
    settled = [state.steps[r.covers].settled_at for r in plan.reconcile.records]
    extra = f"executed{name[1:]}"
    if any(at is not None and at > last for at in settled) and not _done(state, extra):
        return extra, state.executed_at + timedelta(seconds=seconds)
    return None


def settle(plan: Plan, state: InstanceState, call: ReadCall, outcome: Outcome, now: datetime) -> list[Draft]:
    """Return the records of what a system was found to hold."""
    _, name, record_name, number = call.key.split("/")
    check = state.checks.get(name)
    record = next((r for r in plan.reconcile.records if r.name == record_name), None)
    if check is None or record is None:
        return []
    progress = check.reads.get(record_name, FRESH)
    if progress.settled or int(number) != progress.read:
        return []
    if outcome.result is not Result.OK and not _missing(outcome):
        return _unreadable(plan, state, check, record, progress, outcome, now)
    observed = outcome.value if outcome.result is Result.OK else None
    return _compared(plan, state, check, record, progress, observed, outcome, now)


def _done(state: InstanceState, name: str) -> bool:
    check = state.checks.get(name)
    return check is not None and check.done


def _origin(plan: Plan, state: InstanceState) -> datetime:
    assert state.started_at is not None
    if not plan.reconcile.from_execution:
        return state.started_at
    cap = state.started_at + timedelta(seconds=CAP_SECONDS)
    return min(state.executed_at or cap, cap)


def _anything_there(plan: Plan, state: InstanceState) -> bool:
    """Whether a covered step left an effect, or took one back, or a discrepancy is open."""
    if any(not d.resolved for d in state.discrepancies.values()):
        return True
    return any(state.steps[r.covers].status in EXPECTED | UNDONE for r in plan.reconcile.records)


def _carry_on(plan: Plan, state: InstanceState, check: CheckState, now: datetime, turn: Turn) -> None:
    left = False
    for record in plan.reconcile.records:
        progress = check.reads.get(record.name, FRESH)
        if progress.settled:
            continue
        left = True
        if progress.again_at is not None and progress.again_at > now:
            turn.wake(progress.again_at)
            continue
        _look(plan, state, check, record, progress, now, turn)
    if not left:
        turn.drafts.append(_check_done(state, check, now))


def _look(
    plan: Plan,
    state: InstanceState,
    check: CheckState,
    record: RecordPlan,
    progress: CheckRead,
    now: datetime,
    turn: Turn,
) -> None:
    step = state.steps[record.covers]
    verdict = _without_reading(record, step)
    if verdict is not None:
        turn.drafts.append(_unread(plan, state, check, record, progress, verdict, now))
        return
    expect = record.undone[0] if step.status in UNDONE else None
    template, system, action = (
        (expect.params, expect.system, expect.action) if expect else (record.params, record.system, record.action)
    )
    try:
        params = template.render(facts(plan, state, step=step_values(step)))
    except ExpressionError as error:
        unread = _unread(plan, state, check, record, progress, "nothing_expected", now)
        problem = {"code": error.code, "message": error.message}
        turn.drafts.append(_draft(Kind.CHECK_READ, now, record.covers, {**unread.body, "problem": problem}))
        return
    turn.calls.append(
        ReadCall(
            key=f"@reconcile/{check.name}/{record.name}/{progress.read}",
            system=system,
            action=action.name,
            params=params,
            timeout_seconds=action.timeout_seconds,
        )
    )


def _without_reading(record: RecordPlan, step: StepState) -> str | None:
    """Return the verdict that needs no read: nothing is expected there, or it is still pending."""
    if step.status not in SETTLED:
        return "pending"
    if step.status in UNDONE and record.undone:
        return None
    return None if step.status in EXPECTED else "nothing_expected"


def _unread(
    plan: Plan,
    state: InstanceState,
    check: CheckState,
    record: RecordPlan,
    progress: CheckRead,
    verdict: str,
    now: datetime,
) -> Draft:
    step = state.steps[record.covers]
    body: dict[str, Any] = {
        "check": check.name,
        "record": record.name,
        "system": record.system,
        "read": progress.read,
        "verdict": verdict,
        "fields": [],
        "step_status": step.status,
    }
    personal: tuple[Path, ...] = ()
    if verdict == "pending":
        waiting = [person.get("name") or person.get("id") for person in (step.approval.people if step.approval else ())]
        waiting += [t.to for t in state.tasks.values() if t.step == step.id and t.ending is None]
        body["waiting_on"] = waiting or [plan.steps[step.id].title]
        personal = (("waiting_on",),)
    return _draft(Kind.CHECK_READ, now, record.covers, body, personal)


def _missing(outcome: Outcome) -> bool:
    """Whether the system said that there is no such record: an observation, not a failure to observe."""
    problem = outcome.problem
    return outcome.result is Result.REFUSED and problem is not None and problem.status == 404


def _unreadable(
    plan: Plan,
    state: InstanceState,
    check: CheckState,
    record: RecordPlan,
    progress: CheckRead,
    outcome: Outcome,
    now: datetime,
) -> list[Draft]:
    since = now if outcome.result is Result.HELD else progress.unread_since or now
    problem = (
        problem_body(outcome.problem) if outcome.problem else {"code": str(outcome.result), "message": "no answer"}
    )
    body: dict[str, Any] = {
        "check": check.name,
        "record": record.name,
        "system": record.system,
        "read": progress.read,
        "verdict": "unverified",
        "fields": [],
        "step_status": state.steps[record.covers].status,
        "problem": problem,
        "unread_since": rfc3339(since),
    }
    if (now - since).total_seconds() < UNREADABLE_GIVE_UP_SECONDS:
        body["again_at"] = rfc3339(now + timedelta(seconds=UNREADABLE_AGAIN_SECONDS))
        return [_draft(Kind.CHECK_READ, now, record.covers, body)]
    title = plan.systems[record.system].title
    case = open_case(
        plan,
        state,
        now,
        STAGE,
        about=f"reconcile/{record.name}",
        cause="unverified",
        step=record.covers,
        summary=f"{title} could not be read for two hours, so {state.title} is not verified there",
        remedy=f"Mend the connection to {title}; the next check reads it again",
        problem=problem,
        seam={"from_system": "topstitch", "to_system": plan.connector_of(record.system)},
    )
    return [_draft(Kind.CHECK_READ, now, record.covers, body), *([case] if case else [])]


def _compared(
    plan: Plan,
    state: InstanceState,
    check: CheckState,
    record: RecordPlan,
    progress: CheckRead,
    observed: Any,
    outcome: Outcome,
    now: datetime,
) -> list[Draft]:
    step = state.steps[record.covers]
    fields = (
        _undone_fields(plan, state, record, observed)
        if step.status in UNDONE
        else _fields(plan, state, record, observed)
    )
    differing = [f for f in fields if f["verdict"] != "match"]
    verdict = "match" if not differing else "differs" if progress.verdict == "suspected" else "suspected"
    body: dict[str, Any] = {
        "check": check.name,
        "record": record.name,
        "system": record.system,
        "read": progress.read,
        "verdict": verdict,
        "fields": fields,
        "step_status": step.status,
    }
    if outcome.url is not None:
        body["url"] = outcome.url
    if verdict == "suspected":
        body["again_at"] = rfc3339(now + timedelta(seconds=record.settle_seconds))
    drafts = [_draft(Kind.CHECK_READ, now, record.covers, body, _personal(record, fields))]
    readable = close_case(
        state, now, STAGE, about=f"reconcile/{record.name}", cause="unverified", how="the system was read again"
    )
    drafts += [readable] if readable else []
    if verdict == "suspected":
        return drafts
    return drafts + tickets.concluded(
        state, record, check.name, differing, outcome.url, now, _personal(record, differing)
    )


def _fields(plan: Plan, state: InstanceState, record: RecordPlan, observed: Any) -> list[dict[str, Any]]:
    scope = facts(plan, state, step=step_values(state.steps[record.covers]))
    rows = []
    for rule in record.fields:
        try:
            intended = rule.expected.render(scope) if rule.expected else None
        except ExpressionError:
            intended = None
        rows.append(_row(rule, intended, _committed(state, record, rule), field_of(observed, rule.field)))
    return rows


def _row(rule: FieldPlan, intended: Any, committed: Any, observed: Any) -> dict[str, Any]:
    why = cause(rule, intended, committed, observed)
    return {
        "field": rule.field,
        "rule": rule.rule,
        "intended": intended,
        "committed": committed,
        "observed": observed,
        "verdict": "match" if why == "agree" else "differs",
        "cause": why,
        "severity": rule.severity,
    }


def _undone_fields(plan: Plan, state: InstanceState, record: RecordPlan, observed: Any) -> list[dict[str, Any]]:
    """For a step that was undone the rollback's own read-backs say what should be true now."""
    step = state.steps[record.covers]
    return [_undone_row(expect, _true_of(plan, state, step, expect, observed)) for expect in record.undone]


def _undone_row(expect: ExpectPlan, holds: bool) -> dict[str, Any]:
    return {
        "field": expect.that.source,
        "rule": "undone",
        "intended": True,
        "committed": True,
        "observed": holds,
        "verdict": "match" if holds else "differs",
        "cause": "drift",
        "severity": "high",
    }


def _true_of(plan: Plan, state: InstanceState, step: StepState, expect: ExpectPlan, observed: Any) -> bool:
    if observed is None:
        return True
    try:
        return expect.that.evaluate(facts(plan, state, step=step_values(step), found=observed)) is True
    except ExpressionError:
        return False


def _committed(state: InstanceState, record: RecordPlan, rule: FieldPlan) -> Any:
    """Return what our journal says of the field: read back after the write, or else what was sent."""
    step = state.steps[record.covers]
    proofs = [a for a in state.acts.values() if a.step == step.id and a.purpose == "by_hand" and not a.handed_over]
    acts: list[ActState] = proofs or [state.acts[name] for name in step.acts]
    for act in acts:
        for source in (act.observed, act.output, act.payload):
            value = field_of(source, rule.field)
            if value is not None:
                return value
    return None


def _personal(record: RecordPlan, fields: list[dict[str, Any]]) -> tuple[Path, ...]:
    marked = {pattern[0] for pattern in record.personal if pattern}
    return tuple(
        ("fields", index, name)
        for index, row in enumerate(fields)
        if row["field"].split(".")[0] in marked
        for name in ("intended", "committed", "observed")
        if row[name] is not None
    )


def _check_done(state: InstanceState, check: CheckState, now: datetime) -> Draft:
    del state
    verdicts = [read.verdict for read in check.reads.values()]
    body = {
        "check": check.name,
        "matched": verdicts.count("match"),
        "differing": verdicts.count("differs"),
        "unverified": verdicts.count("unverified"),
        "pending": verdicts.count("pending"),
    }
    return _draft(Kind.CHECK_DONE, now, None, body)


def _draft(kind: Kind, now: datetime, step: str | None, body: dict[str, Any], personal: tuple[Path, ...] = ()) -> Draft:
    return Draft(kind=kind, at=now, actor=ENGINE, stage=STAGE, step=step, body=body, personal=personal)
