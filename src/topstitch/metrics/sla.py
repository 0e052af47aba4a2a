"""Decides how the promises of a workflow stand: met, on track, at risk, or broken.

A promise is about a group of steps, from the trigger, and belongs to the workflow with its
owner. Time in which people were asked is left out where the definition says so, and time in
which nobody works where the installation names a calendar for it. At risk comes before broken:
what is still to be done usually takes longer than what is left. Pure; ``watch`` and the doors ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from topstitch.foundation.timetext import duration_text
from topstitch.governance.calendar import ALL_HOURS, Calendar
from topstitch.model.instance import SETTLED, SUCCEEDED, StepStatus
from topstitch.plan.plan import Plan, SlaPlan, StepPlan
from topstitch.store.measures import AskedRow, OpenRow, StepRow

Span = tuple[int, int]
"""From and until, in milliseconds since 1970."""
EXCUSED: Final = frozenset({StepStatus.SKIPPED, StepStatus.DECLINED, StepStatus.NOT_RUN})
"""Nothing was promised of a step that was not wanted after all."""
KEPT: Final = SUCCEEDED | EXCUSED
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PromiseState(StrEnum):
    """How one promise stands in one instance."""

    MET = "met"
    """All of it was confirmed in time."""
    ON_TRACK = "on_track"
    """Under way, and usually what is left takes less than there is."""
    AT_RISK = "at_risk"
    """Under way, and what is left usually takes longer than there is."""
    BREACHED = "breached"
    """Late, or no longer possible."""
    EXCUSED = "excused"
    """None of it was wanted after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one promise stands in one instance."""

    workflow: str
    version: str
    instance: str
    promise: str
    state: PromiseState
    open: bool
    """Whether something of it is still to be done."""
    started_ms: int
    within_ms: int
    used_ms: int
    """Promised time that has passed, without what is excluded."""
    expected_ms: int
    """What is still to be done usually takes this long."""
    waiting: tuple[str, ...]
    """The steps that are still to be done."""
    from_system: str
    to_system: str
    holds_up: str
    text: str

    @property
    def left_ms(self) -> int:
        """What is left beyond the expected time; negative when it will not suffice."""
        return self.within_ms - self.used_ms - (self.expected_ms if self.open else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One instance, as far as a promise looks at it."""

    row: OpenRow
    steps: Mapping[str, StepRow]
    asked: Sequence[AskedRow] = ()
    ended_ms: int | None = None


def standings(
    plan: Plan,
    progress: Progress,
    usual_ms: Mapping[str, float],
    now_ms: int,
    calendars: Mapping[str, Calendar] | None = None,
) -> list[Standing]:
    """Return how each promise stands in one instance.

    ``usual_ms`` is the baseline of each step that has one; ``calendars`` names, by promise,
    in which hours its time runs.
    """
    return [
        _standing(plan, sla, progress, usual_ms, now_ms, (calendars or {}).get(sla.name, ALL_HOURS)) for sla in plan.sla
    ]


def summary(found: Iterable[Standing]) -> dict[tuple[str, str], dict[PromiseState, int]]:
    """Return, by workflow and promise, how many instances stand how."""
    total: dict[tuple[str, str], dict[PromiseState, int]] = {}
    for one in found:
        states = total.setdefault((one.workflow, one.promise), dict.fromkeys(PromiseState, 0))
        states[one.state] += 1
    return total


def _standing(
    plan: Plan, sla: SlaPlan, progress: Progress, usual_ms: Mapping[str, float], now_ms: int, calendar: Calendar
) -> Standing:
    waiting = tuple(name for name in sla.steps if _is_open(progress, name))
    missed = [name for name in sla.steps if not _is_open(progress, name) and not _is_kept(progress, name)]
    end_ms = now_ms if waiting else _kept_ms(progress, sla, now_ms)
    excluded = _asked_spans(plan, sla, progress, now_ms) if sla.excluding_approval else []
    used = passed_ms((progress.row.started_ms, end_ms), excluded, calendar)
    expected = remaining_ms(plan, waiting, progress, usual_ms, now_ms)
    within = sla.within_seconds * 1000
    state = _state(progress, sla, waiting, missed, used, expected, within)
    first = next(iter(waiting), sla.steps[-1])
    return Standing(
        workflow=progress.row.workflow,
        version=progress.row.version,
        instance=progress.row.instance,
        promise=sla.name,
        state=state,
        open=bool(waiting),
        started_ms=progress.row.started_ms,
        within_ms=within,
        used_ms=used,
        expected_ms=expected,
        waiting=waiting,
        from_system=_before(plan, first),
        to_system=plan.connector_of(plan.steps[first].system),
        holds_up=_holds_up(plan, progress, waiting),
        text=f"{_s(used)} of {_s(within)} used"
        + (f", {_s(expected)} usually still to come" if waiting and expected else ""),
    )


def _state(
    progress: Progress,
    sla: SlaPlan,
    waiting: Sequence[str],
    missed: Sequence[str],
    used: int,
    expected: int,
    within: int,
) -> PromiseState:
    if not waiting and all(_status(progress, name) in EXCUSED for name in sla.steps):
        return PromiseState.EXCUSED
    if missed or used > within:
        return PromiseState.BREACHED
    if waiting:
        return PromiseState.AT_RISK if used + expected > within else PromiseState.ON_TRACK
    return PromiseState.MET


def _status(progress: Progress, step: str) -> str:
    row = progress.steps.get(step)
    if row is not None and row.done_ms is not None:
        return StepStatus.DONE  # what was taken back later had been done
    if row is None:
        return StepStatus.NOT_RUN if progress.ended_ms is not None else StepStatus.WAITING
    return row.status


def _is_open(progress: Progress, step: str) -> bool:
    return _status(progress, step) not in SETTLED and progress.ended_ms is None


def _is_kept(progress: Progress, step: str) -> bool:
    return _status(progress, step) in KEPT


def _kept_ms(progress: Progress, sla: SlaPlan, now_ms: int) -> int:
    done = [row.done_ms for name in sla.steps if (row := progress.steps.get(name)) and row.done_ms is not None]
    return max(done, default=min(progress.ended_ms or now_ms, now_ms))


# --- Time -----------------------------------------------------------------------------------------


def passed_ms(span: Span, excluded: Iterable[Span], calendar: Calendar = ALL_HOURS) -> int:
    """Return how much promised time lies in a span: without the excluded parts, in the calendar's hours."""
    total = 0
    for start, end in without(span, excluded):
        if calendar.hours:
            total += round(calendar.worked(_moment(start), _moment(end)).total_seconds() * 1000)
        else:
            total += end - start
    return total


def without(span: Span, excluded: Iterable[Span]) -> list[Span]:
    """Return what is left of a span, in order; overlapping exclusions count once."""
    left: list[Span] = []
    at, end = span
    for start, stop in sorted(excluded):
        if stop <= at or start >= end:
            continue
        if start > at:
            left.append((at, start))
        at = max(at, stop)
    if at < end:
        left.append((at, end))
    return left


def remaining_ms(
    plan: Plan, waiting: Iterable[str], progress: Progress, usual_ms: Mapping[str, float], now_ms: int
) -> int:
    """Return how long what is left usually takes: the longest way over steps that are not settled."""
    ends: dict[str, float] = {}

    def left(name: str) -> float:
        if name not in ends:
            row, usual = progress.steps.get(name), usual_ms.get(name, 0.0)
            if not _is_open(progress, name):
                ends[name] = 0.0
            elif row is not None and row.started_ms is not None:
                ends[name] = max(usual - (now_ms - row.started_ms), 0.0)
            else:
                ends[name] = usual + max((left(need) for need in plan.steps[name].needs), default=0.0)
        return ends[name]

    return round(max((left(name) for name in waiting), default=0.0))


def _asked_spans(plan: Plan, sla: SlaPlan, progress: Progress, now_ms: int) -> list[Span]:
    """Return when people were asked about a step that the promise is about or has to wait for."""
    about = _behind(plan, sla.steps)
    return [
        (asked.asked_ms, asked.closed_ms if asked.closed_ms is not None else now_ms)
        for asked in progress.asked
        if asked.step in about
    ]


def _behind(plan: Plan, steps: Iterable[str]) -> set[str]:
    found: set[str] = set()
    queue = list(steps)
    while queue:  # ends: every step is taken once
        name = queue.pop()
        if name not in found and name in plan.steps:
            found.add(name)
            queue += plan.steps[name].needs
    return found


def _holds_up(plan: Plan, progress: Progress, waiting: Sequence[str]) -> str:
    """Say what the promise waits for: a person, a system, or what comes before."""
    for name in waiting:
        step, row = plan.steps[name], progress.steps.get(name)
        if row is not None and row.status == StepStatus.ASKING:
            return f"people: {step.title} waits for a decision"
        if row is not None and row.status == StepStatus.COMPENSATING:
            return f"people: {step.title} is being done by hand"
        if row is not None and row.started_ms is not None:
            return f"{plan.connector_of(step.system)}: {step.title} is under way"
    if not waiting:
        return "nothing: all of it is over"
    return f"orchestrator: {plan.steps[waiting[0]].title} has not begun"


def _before(plan: Plan, name: str) -> str:
    step: StepPlan = plan.steps[name]
    return plan.connector_of(plan.steps[step.needs[-1]].system if step.needs else plan.trigger.system)


def _moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _s(ms: float) -> str:
    return duration_text(ms / 1000)
