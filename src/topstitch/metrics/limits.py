"""Decides the figures that the metrics judge by, where the definition does not name its own.

What an author declares under ``monitor`` (targets, limits, the window) comes with the plan;
what is statistics stands here, with the reasons in ``docs/decisions/0004-when-a-baseline-counts.md``.
Tests and installations hand other ``Limits`` in; nobody reads a global.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as enough, as usual, and as too much."""

    established: int = 20
    """From so many clean executions on, a baseline is shown."""
    pinned: int = 50
    """From so many on, it is pinned, and alerts compare with it."""
    baseline_window: int = 200
    """A baseline is the median of at most so many."""
    current_window: int = 20
    """What is current: the median of so many executions of the last day ..."""
    current_least: int = 5
    """... or of all of that day, when they are at least so many."""
    current_ms: int = DAY_MS
    clear_factor: float = 1.5
    """A duration alert clears below this multiple of the baseline."""
    evaluations: int = 2
    """A duration alert takes so many evaluations in a row."""
    season_weeks: int = 4
    """From so many whole weeks on, an hour of the week is compared with itself ..."""
    season_weeks_max: int = 12
    """... learnt from at most so many, then no further."""
    season_beside: int = 1
    """So many hours before and after count in."""
    goal: float = 0.4
    """By how much the frozen first baseline is to be reduced."""
    running_factor: float = 2.0
    """A single execution alarms by age beyond this multiple of the p95 ..."""
    running_least_ms: int = 5 * MINUTE_MS
    """... and never below this."""
    crossings_least: int = 20
    """A share of exceptions counts from so many crossings on ..."""
    exceptions_least: int = 2
    """... or from so many exceptions on, when the crossings are fewer."""
    significance: float = 0.01
    """How unlikely a count must be at the target rate before it pages."""
    same_in_a_row: int = 2
    """So many identical failures in a row page at once."""
    extend_to: int = 30
    """The second line reaches back until it holds so many executions ..."""
    extend_ms: int = 7 * DAY_MS
    """... at most so far."""
    raw_days: int = 90
    """Rows of single executions are kept so long."""
    hourly_days: int = 400
    """Roll-ups of hours become roll-ups of days after so long."""
    message_days: int = 90
    """Cleared alerts and their messages are kept so long."""
    grace_ms: int = 5 * MINUTE_MS
    """An hour is rolled up so long after it is over."""
    overdue_ms: int = 5 * MINUTE_MS
    """A reconciliation check that has not begun so long after its time is overdue."""
    worst: int = 3
    """How many instances an alert names."""


DEFAULT: Final = Limits()
