"""Decides what is compared when.

Checks are due at fixed times after T; a restart changes none of them, and one that begins
late says so. A difference counts once a second read, after the settle time, still shows it.
What cannot be read is *unverified*, never a match; a step that still waits for a person is
*pending*, not a difference; for a step that was undone the expectation turns round. Where
the definition names the system whose word counts, that system is asked first. People may
ask for a read of one record at any time (``desk``).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from topstitch.attempts.machine import Turn, problem_body
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.cases import close_case, open_case
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import DriftCall, Outcome, ReadCall, Result
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import OVER, CheckRead, CheckState, DiscrepancyStatus, InstanceState, StepState
from topstitch.plan.personal import paths_in
from topstitch.plan.plan import Plan, RecordPlan
from topstitch.plan.scope import facts, step_values
from topstitch.reconciliation import conclude, heal, observe, tickets

STAGE = Stage.RECONCILIATION
LATE_SECONDS = 60
"""A check that begins later than this after it was due is marked late."""
UNREADABLE_AGAIN_SECONDS = 1800
UNREADABLE_GIVE_UP_SECONDS = 7200
"""An unreadable system is asked again every half hour for two hours; then a case says so."""
CAP_SECONDS = 7200
"""With ``T: executed``, T is never later than this after the trigger (ruling 4)."""
MONTH_END = "month_end"
SOURCE = "source:"
"""How the reads of a system whose word counts are told from those of a record."""
UNDONE = frozenset({StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND})
EXPECTED = frozenset({StepStatus.DONE, StepStatus.DONE_BY_HAND, StepStatus.KEPT})
LEFT_SOMETHING = EXPECTED | UNDONE
FRESH = CheckRead()


def decide(plan: Plan, state: InstanceState, now: datetime) -> Turn:
    """Return what reconciliation wants now: a check begun, reads, tickets, repairs proposed."""
    turn = Turn()
    if state.paused or state.started_at is None:
        return turn
    tickets.tend(plan, state, now, turn)
    heal.tend(plan, state, now, turn)
    _end_waivers(state, now, turn)
    due = next_check(plan, state)
    if due is None or turn.drafts:
        return turn
    name, due_at = due
    check = state.checks.get(name)
    if check is None:
        if now < due_at:
            turn.wake(due_at)
        else:
            turn.drafts.append(began(name, due_at, now))
        return turn
    _carry_on(plan, state, check, now, turn)
    return turn


def next_check(plan: Plan, state: InstanceState) -> tuple[str, datetime] | None:
    """Return the first check that is not done and when it is due; nothing when none is left.

    One that has begun goes first, before all the one that somebody asked for. An instance in
    which nothing is left to compare needs none; one whose last step settled after the last
    check gets one more.
    """
    if state.checks:
        begun = [check for check in state.checks.values() if not check.done]
        if begun:
            first = next((check for check in begun if check.only), begun[0])
            return first.name, first.due_at
    if state.executed_at is not None and not _anything_there(plan, state):
        return None
    for name, due_at in scheduled(plan, state):
        if not _done(state, name):
            return name, due_at
    return _one_more(plan, state)


def scheduled(plan: Plan, state: InstanceState) -> Iterator[tuple[str, datetime]]:
    """Yield every check that the definition asks for, and when it is due."""
    origin = last = _origin(plan, state)
    for name, seconds in plan.reconcile.at:
        last = origin + timedelta(seconds=seconds)
        yield name, last
    if plan.reconcile.month_end:
        yield MONTH_END, last_day_of_month(last)


def last_day_of_month(after: datetime) -> datetime:
    """Return when the first last day of a month begins, in UTC, that begins later than ``after``."""
    last = after.replace(day=monthrange(after.year, after.month)[1], hour=0, minute=0, second=0, microsecond=0)
    if last > after:
        return last
    first = last + timedelta(days=1)
    return first.replace(day=monthrange(first.year, first.month)[1])


def began(name: str, due_at: datetime, now: datetime, *, records: tuple[str, ...] = (), by: Any = ENGINE) -> Draft:
    """Return the record that begins a check; with ``records`` only these are read."""
    late = (now - due_at).total_seconds() > LATE_SECONDS
    body: dict[str, Any] = {"check": name, "due_at": rfc3339(due_at), "late": late}
    if records:
        body["records"] = list(records)
    return Draft(kind=Kind.CHECK_BEGAN, at=now, actor=by, stage=STAGE, body=body)


def is_at_rest(plan: Plan, state: InstanceState) -> bool:
    """Whether no ticket, no repair and no waiver keeps the instance open."""
    waived = any(d.status is DiscrepancyStatus.WAIVED for d in state.discrepancies.values())
    return not waived and tickets.is_at_rest(plan, state) and heal.is_at_rest(state)


def settle(
    plan: Plan, state: InstanceState, call: ReadCall | DriftCall, outcome: Outcome, now: datetime
) -> list[Draft]:
    """Return the records of what a system was found to hold, or of how far a difference has spread."""
    if isinstance(call, DriftCall):
        return heal.settle(plan, state, call, outcome, now)
    _, name, record_name, number = call.key.split("/")
    check = state.checks.get(name)
    if check is None or check.done:
        return []
    if record_name.startswith(SOURCE):
        return _source_read(plan, check, record_name.removeprefix(SOURCE), outcome, now)
    record = next((r for r in plan.reconcile.records if r.name == record_name), None)
    if record is None:
        return []
    progress = check.reads.get(record_name, FRESH)
    if progress.settled or int(number) != progress.read:
        return []
    if outcome.result is not Result.OK and not _missing(outcome):
        return _unreadable(plan, state, check, record, progress, outcome, now)
    observed = outcome.value if outcome.result is Result.OK else None
    return _compared(plan, state, check, record, progress, observed, outcome, now)


def _end_waivers(state: InstanceState, now: datetime, turn: Turn) -> None:
    """A waiver that is over has its record read again: it agrees, or the discrepancy is back."""
    for found in state.discrepancies.values():
        until = found.waived_until
        if found.status is not DiscrepancyStatus.WAIVED or until is None:
            continue
        name = f"waiver-{rfc3339(until)}-{found.record}"
        if now < until:
            turn.wake(until)
        elif name not in state.checks:
            turn.drafts.append(began(name, until, now, records=(found.record,)))
        elif state.checks[name].done:
            turn.drafts.append(_waiver_expired(found.id, now))


def _waiver_expired(name: str, now: datetime) -> Draft:
    """The system could not be read when the waiver ended: what was waived stands again."""
    body = {"discrepancy": name, "until": None, "because": "the waiver is over"}
    return _draft(Kind.DISCREPANCY_WAIVED, now, None, body)


def _one_more(plan: Plan, state: InstanceState) -> tuple[str, datetime] | None:
    """Return the check after the last one, when a step settled after that."""
    if state.executed_at is None or not plan.reconcile.at:
        return None
    name, seconds = plan.reconcile.at[0]
    done = [c.due_at for c in state.checks.values() if not c.only]
    last = max(done, default=_origin(plan, state))
    settled = [state.steps[r.covers].settled_at for r in plan.reconcile.records]
    extra = f"executed{name[1:]}"
    if any(at is not None and at > last for at in settled) and not _done(state, extra):
        return extra, state.executed_at + timedelta(seconds=seconds)
    return None


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
    if any(d.status not in OVER for d in state.discrepancies.values()):
        return True
    return any(state.steps[r.covers].status in LEFT_SOMETHING for r in plan.reconcile.records)


def _carry_on(plan: Plan, state: InstanceState, check: CheckState, now: datetime, turn: Turn) -> None:
    left = False
    for record in plan.reconcile.records:
        progress = check.reads.get(record.name, FRESH)
        if progress.settled or (check.only and record.name not in check.only):
            continue
        left = True
        if progress.again_at is not None and progress.again_at > now:
            turn.wake(progress.again_at)
        elif not _ask_sources(plan, state, check, record, now, turn):
            _look(plan, state, check, record, progress, now, turn)
    if not left:
        turn.drafts.append(_check_done(state, check, now))


def _ask_sources(
    plan: Plan, state: InstanceState, check: CheckState, record: RecordPlan, now: datetime, turn: Turn
) -> bool:
    """Have the systems whose word counts asked what they say now, once for each check; return whether any is."""
    if state.steps[record.covers].status not in EXPECTED:
        return False
    wanted = {name for rule in record.fields for name in rule.sources if name not in check.sources}
    for name in sorted(wanted):
        read = plan.context[name]
        try:
            params = read.params.render(facts(plan, state))
        except ExpressionError as error:
            body = {"check": check.name, "name": name, "system": read.system}
            turn.drafts.append(
                _draft(Kind.SOURCE_READ, now, None, body | {"problem": {"code": error.code, "message": error.message}})
            )
            continue
        turn.calls.append(
            ReadCall(
                key=f"@reconcile/{check.name}/{SOURCE}{name}/0",
                system=read.system,
                action=read.action.name,
                params=params,
                timeout_seconds=read.action.timeout_seconds,
            )
        )
    return bool(wanted)


def _source_read(plan: Plan, check: CheckState, name: str, outcome: Outcome, now: datetime) -> list[Draft]:
    """Keep what a source says now; one that does not answer leaves what it said when the instance began."""
    read = plan.context.get(name)
    if read is None or name in check.sources:
        return []
    body: dict[str, Any] = {"check": check.name, "name": name, "system": read.system}
    if outcome.result is not Result.OK:
        body["problem"] = (
            problem_body(outcome.problem) if outcome.problem else {"code": str(outcome.result), "message": "no answer"}
        )
        return [_draft(Kind.SOURCE_READ, now, None, body)]
    body["value"] = outcome.value
    return [_draft(Kind.SOURCE_READ, now, None, body, paths_in(outcome.value, read.personal, ("value",)))]


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
    known = conclude.latest(state, record.name)
    fields = (
        observe.undone(plan, state, record, observed)
        if step.status in UNDONE
        else observe.compared(plan, state, check, record, observed, known.accepted if known else {})
    )
    differing = observe.differing(fields)
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
    if known is None and verdict == "suspected":
        body["suspects"] = conclude.discrepancy_id(state, record.name)
    elif known is None and progress.verdict == "suspected" and verdict == "match":
        body["clears"] = conclude.discrepancy_id(state, record.name)
    drafts = [_draft(Kind.CHECK_READ, now, record.covers, body, observe.personal(record, fields))]
    readable = close_case(
        state, now, STAGE, about=f"reconcile/{record.name}", cause="unverified", how="the system was read again"
    )
    drafts += [readable] if readable else []
    if verdict == "suspected":
        return drafts
    return drafts + conclude.concluded(plan, state, record, check, fields, outcome.url, now)


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
