"""Decides which handoffs are open at this moment, and how old each is.

A handoff that never happens leaves no row: it is derived from the definition's edges and how
far each open instance has come. Approvals are people's time and declared waits are the
definition's own, so neither counts; a paused instance waits on purpose. This is what catches a
dead worker while the gap is open. Pure; ``watch`` hands in the picture and asks the journals
for the few facts that only they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from topstitch.metrics.limits import MINUTE_MS
from topstitch.model.instance import SETTLED, SUCCEEDED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Stage
from topstitch.plan.plan import Plan, StepPlan
from topstitch.store.measures import AskedRow, Fact, OpenRow, Picture, StepRow

FACT_KINDS: Final = (
    Kind.STAGE_ENTERED, Kind.MODE_CHANGED, Kind.STEP_SKIPPED, Kind.STEP_DECLINED, Kind.STEP_GIVEN_UP,
    Kind.STEP_NOT_RUN, Kind.APPROVERS_SOUGHT,
)  # fmt: skip
"""What is asked of the journals of instances in which something may be open."""
_SETTLING: Final = frozenset({Kind.STEP_SKIPPED, Kind.STEP_DECLINED, Kind.STEP_GIVEN_UP, Kind.STEP_NOT_RUN})
LOOKING_MS: Final = 3 * MINUTE_MS
"""So long after a look for people that found nobody the next one is still to come; then nobody looks any more."""
RUNNING: Final = frozenset({StepStatus.RUNNING, StepStatus.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An instance that is not executed yet, as far as it has come."""

    row: OpenRow
    steps: Mapping[str, StepRow] = field(default_factory=dict)
    asked: Sequence[AskedRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One handoff that is open."""

    instance: str
    workflow: str
    version: str
    from_step: str
    to_step: str
    from_system: str
    to_system: str
    ready_ms: int
    """Since when nothing but us holds it up."""
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One execution of a step that is under way."""

    instance: str
    workflow: str
    version: str
    step: str
    started_ms: int
    age_ms: int


def open_instances(picture: Picture) -> list[Open]:
    """Put a picture together, one value for each instance."""
    steps: dict[str, dict[str, StepRow]] = {}
    for step in picture.steps:
        steps.setdefault(step.instance, {})[step.step] = step
    asked: dict[str, list[AskedRow]] = {}
    for one in picture.asked:
        asked.setdefault(one.instance, []).append(one)
    return [
        Open(row=row, steps=steps.get(row.instance, {}), asked=asked.get(row.instance, ())) for row in picture.instances
    ]


def candidates(opened: Iterable[Open], plans: Mapping[str, Plan], now_ms: int, least_ms: int = 0) -> list[str]:
    """Return the instances in which a handoff may be open for ``least_ms`` or longer; oldest first."""
    found = []
    for one in opened:
        plan = plans.get(one.row.digest)
        if plan is None or one.row.status == "paused":
            continue
        since = [ready for step in plan.steps.values() if (ready := _ready(one, step, ())) is not None]
        if since and now_ms - min(since) >= least_ms:
            found.append((min(since), one.row.instance))
    return [name for _, name in sorted(found)]


def pending(opened: Iterable[Open], plans: Mapping[str, Plan], facts: Iterable[Fact], now_ms: int) -> list[Pending]:
    """Return every open handoff. Plans go by digest; facts are those of the candidates."""
    by_instance: dict[str, list[Fact]] = {}
    for fact in facts:
        by_instance.setdefault(fact.instance, []).append(fact)
    found: list[Pending] = []
    for one in opened:
        plan = plans.get(one.row.digest)
        if plan is not None and one.row.status != "paused":
            found += _of_instance(one, plan, by_instance.get(one.row.instance, ()), now_ms)
    return found


def running(opened: Iterable[Open], now_ms: int) -> list[Running]:
    """Return every execution of a step that is under way, its retries included."""
    return [
        Running(
            instance=one.row.instance,
            workflow=one.row.workflow,
            version=one.row.version,
            step=step.step,
            started_ms=step.started_ms,
            age_ms=now_ms - step.started_ms,
        )
        for one in opened
        for step in one.steps.values()
        if one.row.status != "paused" and step.status in RUNNING and step.done_ms is None
        if step.started_ms is not None
    ]


def _of_instance(one: Open, plan: Plan, facts: Sequence[Fact], now_ms: int) -> Iterable[Pending]:
    if any(fact.kind == Kind.MODE_CHANGED for fact in facts):
        return  # it stops, or rolls back: nothing more is handed over
    for step in plan.steps.values():
        ready = _ready(one, step, facts)
        if ready is None or _is_looking(one, step.id, facts, now_ms):
            continue
        free = _free(one, step, facts, ready)
        age = now_ms - free - _approval_ms(one, step.id, free)
        if age < 0:
            continue
        for name, system in [(n, plan.steps[n].system) for n in step.needs] or [("context", plan.trigger.system)]:
            yield Pending(
                instance=one.row.instance,
                workflow=one.row.workflow,
                version=one.row.version,
                from_step=name,
                to_step=step.id,
                from_system=plan.connector_of(system),
                to_system=plan.connector_of(step.system),
                ready_ms=free,
                age_ms=age,
            )


def _ready(one: Open, step: StepPlan, facts: Iterable[Fact]) -> int | None:
    """Return when a step's needs were met; nothing when it has begun, is asked about, or still needs something."""
    row = one.steps.get(step.id)
    if row is not None and (row.status != StepStatus.WAITING or row.started_ms is not None):
        return None
    if step.needs:
        times = [_done_ms(one.steps.get(name)) for name in step.needs]
        known = [time for time in times if time is not None]
        return max(known) if len(known) == len(times) else None
    return _begun_ms(one, facts)


def _done_ms(row: StepRow | None) -> int | None:
    return row.done_ms if row is not None and row.status in SUCCEEDED else None


def _begun_ms(one: Open, facts: Iterable[Fact]) -> int | None:
    """Return since when the first steps could begin; before the context is complete, since when nobody works on it."""
    row = one.row
    if row.stage == Stage.EXECUTION:
        entered = [fact.at_ms for fact in facts if fact.kind == Kind.STAGE_ENTERED]
        return max(entered) if entered else row.started_ms
    if row.head_seq == 1:
        return row.started_ms
    if row.lease_ms is not None:
        return row.lease_ms
    return row.wake_ms


def _free(one: Open, step: StepPlan, facts: Sequence[Fact], ready: int) -> int:
    """Return when a step was free to begin: what it comes after had settled, or its deadline had passed."""
    free = ready
    for other, limit_seconds in step.after.items():
        deadline = ready + limit_seconds * 1000
        settled = _settled_ms(one, other, facts)
        free = max(free, deadline if settled is None else min(settled, deadline))
    return free


def _settled_ms(one: Open, step: str, facts: Sequence[Fact]) -> int | None:
    row = one.steps.get(step)
    if row is None or row.status not in SETTLED:
        return None
    if row.done_ms is not None:
        return row.done_ms
    known = [fact.at_ms for fact in facts if fact.step == step and fact.kind in _SETTLING]
    return max(known) if known else row.failed_ms


def _is_looking(one: Open, step: str, facts: Iterable[Fact], now_ms: int) -> bool:
    """Whether people to ask are being looked for: before a question, not for an escalation of one."""
    looked = [fact.at_ms for fact in facts if fact.kind == Kind.APPROVERS_SOUGHT and fact.step == step]
    if not looked or now_ms - max(looked) > LOOKING_MS:
        return False
    closed = [asked.closed_ms for asked in one.asked if asked.step == step and asked.closed_ms is not None]
    return max(looked) > max(closed, default=0)


def _approval_ms(one: Open, step: str, since_ms: int) -> int:
    """Return how much of the time since then people were asked about a step; while they are, it is not ready."""
    return sum(
        max(0, asked.closed_ms - max(asked.asked_ms, since_ms))
        for asked in one.asked
        if asked.step == step and asked.closed_ms is not None
    )
