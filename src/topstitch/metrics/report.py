"""Decides what a process has gained: what it took by hand, as somebody recorded it, beside what is measured.

The manual baseline is a statement with a source and a name under it, never a measurement of
ours. A business day counts as eight working hours, so that the gain is rather understated.
Approvals are decisions, not handoffs, and are counted apart. ``measure`` and ``compare`` are pure; ``report``
gathers for them, and ``topstitch report`` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import duration_text
from topstitch.metrics.baselines import Speed
from topstitch.metrics.limits import DAY_MS, DEFAULT, HOUR_MS, Limits
from topstitch.metrics.sketch import median, quantile
from topstitch.metrics.sla import PromiseState, Standing
from topstitch.metrics.time_split import Split, Where, of_progress
from topstitch.metrics.watch import Watcher, progress_of, promises, speeds
from topstitch.model.instance import InstanceEnd
from topstitch.model.record import Actor, Stage
from topstitch.plan.plan import Plan
from topstitch.store import Store, measures, rollups
from topstitch.store.sealing import milliseconds

WORKING_HOURS: Final = 8
UNDER_WAY: Final = frozenset({Stage.TRIGGER, Stage.CONTEXT, Stage.EXECUTION})
UNEXCEPTIONAL: Final = frozenset({InstanceEnd.COMPLETED.value, "running", "waiting"})
"""How an instance stands that is executed and has no exceptions: ended well, or with only checks to come."""


class ManualBaseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process took before it was orchestrated, as its owner states it."""

    days_low: float
    """Business days, at best."""
    days_high: float
    """Business days, at worst."""
    handoffs: int
    """How often a person passed the work on."""
    source: str
    """Where the figures are from."""
    steps: Mapping[str, str] = {}
    """What single steps took, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one workflow has come to in a time."""

    instances: int
    finished: int
    lead_p50_ms: float | None
    """From the trigger to the last step."""
    lead_p95_ms: int | None
    tasks: int
    """Work done by hand."""
    approvals: int
    """Decisions of people."""
    straight: int
    """Instances that no person touched."""
    shares_ms: Mapping[Where, int] = field(default_factory=dict)
    promises: Mapping[str, Mapping[PromiseState, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the report."""

    what: str
    before: str
    now: str
    change: str


async def record(store: Store, workflow: str, manual: ManualBaseline, actor: Actor, now: datetime) -> None:
    """Record what a process took by hand; a later record replaces an earlier one."""
    if not 0 < manual.days_low <= manual.days_high or manual.handoffs < 0:
        raise RequestError(
            "manual-baseline",
            "a manual baseline is from fewer to more business days, both above 0; correct the figures",
        )
    await rollups.record_manual(store, workflow, msgspec.json.encode(manual).decode(), milliseconds(now), str(actor))


async def recorded(store: Store, workflow: str) -> ManualBaseline | None:
    """Return what was recorded, if anything was."""
    text = await rollups.manual(store, workflow)
    return msgspec.json.decode(text, type=ManualBaseline) if text is not None else None


async def report(watcher: Watcher, plan: Plan, now: datetime, *, days: int = 30) -> list[Line]:
    """Return what ``topstitch report`` shows of one workflow: the instances that began in the last days."""
    now_ms = milliseconds(now)
    since = now_ms - days * DAY_MS
    found = await progress_of(watcher.store, plan.workflow, since, now_ms)
    begun = await measures.begun(watcher.store, plan.workflow, since, now_ms)
    tasks: dict[str, list[measures.AskedRow]] = {}
    for task in begun.tasks:
        tasks.setdefault(task.instance, []).append(task)
    over = [one for one in found if one.ended_ms is not None or one.row.stage not in UNDER_WAY]
    measured = measure(
        [of_progress(plan, one, tasks.get(one.row.instance, ()), now_ms) for one in over],
        {one.row.instance: one.row.status for one in over},
        tasks=[task.instance for task in begun.tasks],
        approvals=[asked.instance for asked in begun.asked],
        standings=await promises(watcher, now, workflow=plan.workflow, days=days),
        instances=len(found),
    )
    return compare(
        plan, measured, await recorded(watcher.store, plan.workflow), await speeds(watcher, now), watcher.limits
    )


def measure(
    splits: Sequence[Split],
    ends: Mapping[str, str],
    *,
    tasks: Iterable[str],
    approvals: Iterable[str],
    standings: Iterable[Standing] = (),
    instances: int,
) -> Measured:
    """Sum a time up.

    ``splits`` are of finished instances, ``ends`` how each of those stands; ``tasks`` and
    ``approvals`` name the instance that each of them was in.
    """
    by_hand, asked = list(tasks), list(approvals)
    took = [split.total_ms() for split in splits]
    touched = set(by_hand) | set(asked)
    straight = sum(end in UNEXCEPTIONAL and name not in touched for name, end in ends.items())
    promises: dict[str, dict[PromiseState, int]] = {}
    for one in standings:
        states = promises.setdefault(one.promise, dict.fromkeys(PromiseState, 0))
        states[one.state] += 1
    return Measured(
        instances=instances,
        finished=len(splits),
        lead_p50_ms=median(took),
        lead_p95_ms=quantile(took, 0.95),
        tasks=len(by_hand),
        approvals=len(asked),
        straight=straight,
        shares_ms={where: sum(split.total_ms(where) for split in splits) for where in Where},
        promises=promises,
    )


def compare(
    plan: Plan,
    measured: Measured,
    manual: ManualBaseline | None,
    paces: Mapping[tuple[str, str], Speed],
    limits: Limits = DEFAULT,
) -> list[Line]:
    """Return the report: before and now, line by line."""
    lines = [_lead(measured, manual), _handoffs(measured, manual), _approvals(measured)]
    lines.append(Line(what="untouched by people", before="", now=_of(measured.straight, measured.finished), change=""))
    lines.append(_time(measured))
    for name, states in sorted(measured.promises.items()):
        kept, broken = states[PromiseState.MET], states[PromiseState.BREACHED]
        within = next((sla.within_seconds for sla in plan.sla if sla.name == name), 0)
        said = f"{_of(kept, kept + broken)} in {duration_text(within)}"
        lines.append(Line(what=f"promise '{name}'", before="", now=said, change=""))
    for step in plan.steps.values():
        speed = paces.get((plan.workflow, step.id))
        if speed is not None:
            lines.append(_step(step.title, step.id, speed, manual, limits))
    return lines


def _lead(measured: Measured, manual: ManualBaseline | None) -> Line:
    now = "nothing finished yet"
    if measured.lead_p50_ms is not None:
        now = f"p50 {_s(measured.lead_p50_ms)}, p95 {_s(measured.lead_p95_ms or 0)}"
    if manual is None:
        return Line(what="total time", before="not recorded", now=now, change="")
    before = f"{manual.days_low:g} to {manual.days_high:g} business days"
    if measured.lead_p95_ms is None:
        return Line(what="total time", before=before, now=now, change="")
    best = manual.days_low * WORKING_HOURS * HOUR_MS
    return Line(what="total time", before=before, now=now, change=_at_worst(best, measured.lead_p95_ms))


def _handoffs(measured: Measured, manual: ManualBaseline | None) -> Line:
    each = measured.tasks / measured.finished if measured.finished else 0.0
    before = f"{manual.handoffs} each" if manual else "not recorded"
    change = _change(manual.handoffs, each) if manual and manual.handoffs and measured.finished else ""
    return Line(what="manual handoffs", before=before, now=f"{each:.2g} each ({measured.tasks} in all)", change=change)


def _approvals(measured: Measured) -> Line:
    return Line(what="approvals asked of people", before="", now=f"{measured.approvals}, counted apart", change="")


def _time(measured: Measured) -> Line:
    total = sum(measured.shares_ms.values())
    parts = [f"{where} {value * 100 / total:.0f} %" for where, value in measured.shares_ms.items()] if total else []
    return Line(what="where the time goes", before="", now=", ".join(parts) or "nothing finished yet", change="")


def _step(title: str, name: str, speed: Speed, manual: ManualBaseline | None, limits: Limits) -> Line:
    before = (manual.steps.get(name, "") if manual else "") or (
        f"first baseline {_s(speed.first.median_ms)}" if speed.first else ""
    )
    progress = speed.progress(limits)
    change = "" if progress is None else f"{progress * 100:.0f} % of the way to -{limits.goal * 100:.0f} %"
    return Line(what=title, before=before, now=speed.text, change=change)


def _at_worst(before: float, now: float) -> str:
    """Word the change from the best before to nearly the worst now: it is at least as good for all others."""
    return f"{'at least' if now <= before else 'at most'} {_change(before, now)}"


def _change(before: float, now: float) -> str:
    if not before:
        return ""
    share = (before - now) / before * 100
    return f"{share:.1f} % less" if share >= 0 else f"{-share:.1f} % more"


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({part * 100 / whole:.0f} %)" if whole else "")


def _s(ms: float) -> str:
    return duration_text(ms / 1000)
