"""Decides what is usual for a step, and when it has become too slow.

A baseline belongs to a step and its *family*: the connector contract and the action behind it,
so that a definition may change around a step without forgetting how long it takes. It is the
median of clean executions, pinned once there are enough, and never moves by itself: a
reference that follows a slow decay would never alarm. The first one is frozen for the goal
("reduce by 40 %"). Where ``seasons`` knows what is usual at an hour of the week, an execution of
that hour is compared with that. Pure; ``watch`` reads the rows and pins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from topstitch.foundation.timetext import duration_text
from topstitch.metrics import seasons
from topstitch.metrics.limits import DEFAULT, Limits
from topstitch.metrics.sketch import median, quantile
from topstitch.plan.plan import Plan, StepPlan
from topstitch.store.rollups import Baseline, Hour

FIRST: Final = 1
"""The number of the frozen baseline."""


class Pace(StrEnum):
    """How fast a step is, compared with what is usual."""

    LEARNING = "learning"
    """Too few clean executions for a verdict."""
    USUAL = "usual"
    """Below the limit."""
    RAISED = "raised"
    """Between where an alert clears and where it fires: whatever was, stays."""
    SLOW = "slow"
    """Over the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What hours of the week say of executions: when each ended, and what is usual then."""

    at_ms: int
    """The present."""
    times_ms: Sequence[int]
    """When the current executions ended, newest first."""
    hours: Mapping[int, Hour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One step's current pace beside its baselines."""

    pace: Pace
    samples: int
    """Clean executions that are known of, up to what a baseline takes."""
    current_ms: float | None
    """The windowed median; nothing with too few executions."""
    baseline: Baseline | None
    """What it is compared with."""
    first: Baseline | None
    """The frozen first one."""
    shown_ms: float | None
    """What a page may show as usual now: of this hour of the week, the pinned median, or the one being learnt."""
    text: str
    factor: float | None = None
    """How many times what is usual it takes."""
    hours: Mapping[int, Hour] = field(default_factory=dict)
    """What is usual at hours of the week."""

    def p95_ms(self, at_ms: int) -> int | None:
        """Return below what 19 of 20 executions stay that begin at a time; nothing without a pinned baseline."""
        hour = self.hours.get(seasons.hour_of_week(at_ms))
        return hour.p95_ms if hour else self.baseline.p95_ms if self.baseline else None

    def goal_ms(self, limits: Limits = DEFAULT) -> float | None:
        """What the frozen first baseline is to come down to."""
        return self.first.median_ms * (1 - limits.goal) if self.first else None

    def progress(self, limits: Limits = DEFAULT) -> float | None:
        """Which share of the way to the goal is done: 1 or more when it is reached, negative when slower."""
        if self.first is None or self.current_ms is None or not self.first.median_ms:
            return None
        return (self.first.median_ms - self.current_ms) / (self.first.median_ms * limits.goal)


def family_of(plan: Plan, step: StepPlan) -> str:
    """Return what a step's durations are comparable by: ``entra-id@1.create_user``."""
    if step.act is None:
        return "topstitch.wait" if step.wait is not None else "topstitch.call"
    return f"{plan.systems[step.system].connector}.{step.act.action.name}"


def speed(
    factor: float,
    clean_ms: Sequence[int],
    current_ms: Sequence[int],
    known: Sequence[Baseline],
    limits: Limits = DEFAULT,
    season: Now | None = None,
) -> Speed:
    """Return how fast a step is.

    ``factor`` is the definition's limit, ``clean_ms`` the newest clean executions for learning,
    ``current_ms`` those of the last day, newest first, ``known`` what was pinned, first to last,
    ``season`` what is usual at hours of the week.
    """
    current = windowed(current_ms, limits)
    pinned = known[-1] if known else None
    first = next((b for b in known if b.number == FIRST), None)
    samples = pinned.samples if pinned else min(len(clean_ms), limits.baseline_window)
    learnt = median(clean_ms) if len(clean_ms) >= limits.established else None
    shown = pinned.median_ms if pinned else learnt
    hour = season.hours.get(seasons.hour_of_week(season.at_ms)) if season and pinned else None
    if hour is not None:
        shown = hour.median_ms
    ratio = None if pinned is None or current is None else _ratio(current_ms, pinned, season, limits)
    pace = _pace(ratio, pinned, factor, limits)
    return Speed(
        pace=pace,
        samples=samples,
        current_ms=current,
        baseline=pinned,
        first=first,
        shown_ms=shown,
        text=_text(pace, samples, current, ratio, pinned, shown, season, limits),
        factor=ratio,
        hours=season.hours if season and pinned else {},
    )


def windowed(newest_first_ms: Sequence[int], limits: Limits = DEFAULT) -> float | None:
    """Return the median of the current window; nothing when it holds too few."""
    window = newest_first_ms[: limits.current_window]
    return median(window) if len(window) >= limits.current_least else None


def to_pin(
    *,
    workflow: str,
    step: str,
    family: str,
    clean_ms: Sequence[int],
    known: Sequence[Baseline],
    now_ms: int,
    by: str,
    because: str | None = None,
    limits: Limits = DEFAULT,
) -> Baseline | None:
    """Return the baseline that can be pinned from these executions; nothing while there are too few."""
    if len(clean_ms) < limits.pinned:
        return None
    sample = clean_ms[: limits.baseline_window]
    middle, high = median(sample), quantile(sample, 0.95)
    assert middle is not None
    assert high is not None
    return Baseline(
        workflow=workflow,
        step=step,
        family=family,
        number=known[-1].number + 1 if known else FIRST,
        median_ms=max(round(middle), 1),
        p95_ms=max(high, 1),
        samples=len(sample),
        pinned_ms=now_ms,
        pinned_by=by,
        because=because,
    )


def too_old_ms(p95_ms: int | None, share_ms: int | None, limits: Limits = DEFAULT) -> int | None:
    """Return the age at which one running execution alarms; nothing while neither baseline nor promise says."""
    limit = None if p95_ms is None else round(limits.running_factor * p95_ms)
    found = [value for value in (limit, share_ms) if value is not None]
    return max(*found, limits.running_least_ms) if found else None


def _ratio(current_ms: Sequence[int], pinned: Baseline, season: Now | None, limits: Limits) -> float:
    """Return how many times what is usual the current executions take, each beside its own hour of the week."""
    window = current_ms[: limits.current_window]
    if season is None or not season.hours:
        return (median(window) or 0) / pinned.median_ms
    beside = zip(window, season.times_ms, strict=False)
    return median([took / _usual_ms(at, pinned, season.hours) for took, at in beside]) or 0


def _usual_ms(at_ms: int, pinned: Baseline, hours: Mapping[int, Hour]) -> int:
    hour = hours.get(seasons.hour_of_week(at_ms))
    return hour.median_ms if hour else pinned.median_ms


def _pace(ratio: float | None, pinned: Baseline | None, factor: float, limits: Limits) -> Pace:
    if pinned is None or ratio is None:
        return Pace.LEARNING if pinned is None else Pace.USUAL
    if ratio > factor:
        return Pace.SLOW
    return Pace.USUAL if ratio < limits.clear_factor else Pace.RAISED


def _text(
    pace: Pace,
    samples: int,
    current: float | None,
    ratio: float | None,
    pinned: Baseline | None,
    shown: float | None,
    season: Now | None,
    limits: Limits,
) -> str:
    if pinned is None:
        learnt = f"; so far {_ms(shown)}" if shown is not None else ""
        return f"learning ({samples} of {limits.pinned}){learnt}"
    baseline = f"baseline {_ms(pinned.median_ms)}"
    if current is None or ratio is None:
        now = [season.at_ms] if season and seasons.hour_of_week(season.at_ms) in season.hours else []
        usual = f"usually {seasons.usual_text(shown or 0, now, limits)}; " if now else ""
        return f"{usual}{baseline}; too few executions today"
    said = "" if pace is Pace.USUAL else f" ({pace})"
    times = season.times_ms[: limits.current_window] if season else ()
    if season is None or not any(seasons.hour_of_week(at) in season.hours for at in times):
        return f"{_ms(current)}, {ratio:.1f}x the {baseline.replace('baseline', 'baseline of')}{said}"
    usual = seasons.usual_text(current / max(ratio, 0.001), times, limits)
    return f"{_ms(current)}, {ratio:.1f}x the usual {usual}{said}; {baseline}"


def _ms(value: float | None) -> str:
    return duration_text((value or 0) / 1000)
