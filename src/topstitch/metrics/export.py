"""Decides what Prometheus is given: the three metrics of the last 24 hours, and what is open.

The figures are the board's own, so that a scrape, a page and an alert never disagree; they are
gauges over a sliding window, which the help texts say. Labels are workflow, version, step and
seam. ``scrape`` gathers; ``exposition`` is pure: figures in, the text exposition format out. A
door serves it under ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from topstitch.metrics.baselines import Speed
from topstitch.metrics.limits import DAY_MS
from topstitch.metrics.seams import SeamFigures
from topstitch.metrics.sketch import median, quantile
from topstitch.metrics.watch import Watcher, board, speeds
from topstitch.plan.plan import Plan
from topstitch.store import alarms, measures
from topstitch.store.alarms import AlertRow
from topstitch.store.measures import Durations
from topstitch.store.sealing import milliseconds

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: its name, what it means, and its samples."""

    name: str
    meaning: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield it in the exposition format."""
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} gauge"
        for labels, value in self.samples:
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{{{inside}}} {value!r}" if inside else f"{self.name} {value!r}"


NAMES: Final[Mapping[str, str]] = {
    "topstitch_step_duration_seconds": "From a step's first attempt to its confirmation, last 24 hours, by quantile.",
    "topstitch_step_executions": "Confirmed executions of a step, last 24 hours.",
    "topstitch_step_baseline_seconds": "The pinned baseline median of a step.",
    "topstitch_handoff_latency_seconds": "Automated handoff, net of approvals and declared waits, last 24 hours.",
    "topstitch_handoff_executions": "Handoffs that ended, last 24 hours.",
    "topstitch_handoff_within_target_ratio": "The share of handoffs within the target, last 24 hours.",
    "topstitch_handoff_oldest_pending_seconds": "The age of the oldest handoff that is open now.",
    "topstitch_handoff_pending": "Handoffs that are open now.",
    "topstitch_seam_exception_ratio": "The share of executions with an exception at a seam, last 24 hours.",
    "topstitch_seam_executions": "Executions that tried a seam, last 24 hours.",
    "topstitch_seam_exceptions": "Executions with an exception at a seam, last 24 hours.",
    "topstitch_alerts_open": "Alerts that are open now.",
}
"""Every metric there is, and what it means."""


async def scrape(watcher: Watcher, now: datetime) -> str:
    """Gather the figures and return the text that a scrape gets."""
    now_ms = milliseconds(now)
    figures = await board(watcher, now)
    durations = await measures.durations(watcher.store, now_ms - DAY_MS, now_ms + 1, slot_ms=DAY_MS + 1)
    return exposition(
        figures,
        durations,
        await speeds(watcher, now),
        await watcher.plans.in_force(),
        await alarms.listing(watcher.store),
    )


def exposition(
    figures: Sequence[SeamFigures],
    durations: Iterable[Durations],
    paces: Mapping[tuple[str, str], Speed],
    plans: Iterable[Plan],
    alerts: Iterable[AlertRow],
) -> str:
    """Return the text that a scrape gets."""
    metrics = {name: Metric(name=name, meaning=meaning) for name, meaning in NAMES.items()}
    known = {(plan.workflow, plan.version): plan for plan in plans}
    _steps(metrics, durations, paces, known)
    _handoffs(metrics, figures)
    _seams(metrics, figures)
    _alerts(metrics, alerts)
    return "\n".join(line for metric in metrics.values() for line in metric.lines()) + "\n"


def _steps(
    metrics: Mapping[str, Metric],
    durations: Iterable[Durations],
    paces: Mapping[tuple[str, str], Speed],
    plans: Mapping[tuple[str, str], Plan],
) -> None:
    values: dict[tuple[str, str, str], list[int]] = {}
    for one in durations:
        values.setdefault((one.workflow, one.version, one.step), []).extend(one.duration_ms)
    for (workflow, version, step), these in sorted(values.items()):
        labels = {"workflow": workflow, "version": version, "step": step, "seam": _seam(plans, workflow, version, step)}
        for share, value in (("0.5", median(these)), ("0.95", quantile(these, 0.95)), ("0.99", quantile(these, 0.99))):
            sample = ({**labels, "quantile": share}, (value or 0) / 1000)
            metrics["topstitch_step_duration_seconds"].samples.append(sample)
        metrics["topstitch_step_executions"].samples.append((labels, float(len(these))))
    for (workflow, step), speed in sorted(paces.items(), key=lambda one: one[0]):
        if speed.baseline is not None:
            sample = ({"workflow": workflow, "step": step}, speed.baseline.median_ms / 1000)
            metrics["topstitch_step_baseline_seconds"].samples.append(sample)


def _handoffs(metrics: Mapping[str, Metric], figures: Iterable[SeamFigures]) -> None:
    for one in figures:
        labels = {
            "workflow": one.workflow,
            "version": one.version,
            "step": one.edge.to_step,
            "from_step": one.edge.from_step,
            "seam": str(one.edge.seam),
        }
        for share, value in (("0.5", one.p50_ms), ("0.95", one.p95_ms)):
            if value is not None:
                sample = ({**labels, "quantile": share}, value / 1000)
                metrics["topstitch_handoff_latency_seconds"].samples.append(sample)
        if one.within_target is not None:
            metrics["topstitch_handoff_within_target_ratio"].samples.append((labels, one.within_target))
        metrics["topstitch_handoff_executions"].samples.append((labels, float(one.count)))
        metrics["topstitch_handoff_pending"].samples.append((labels, float(len(one.pending))))
        metrics["topstitch_handoff_oldest_pending_seconds"].samples.append((labels, one.oldest_ms / 1000))


def _seams(metrics: Mapping[str, Metric], figures: Iterable[SeamFigures]) -> None:
    seen = {}
    for one in figures:
        seen[one.workflow, one.version, str(one.edge.seam)] = one.exceptions.count
    for (workflow, version, seam), count in sorted(seen.items()):
        labels = {"workflow": workflow, "version": version, "seam": seam}
        metrics["topstitch_seam_exception_ratio"].samples.append((labels, count.share))
        metrics["topstitch_seam_executions"].samples.append((labels, float(count.tried)))
        metrics["topstitch_seam_exceptions"].samples.append((labels, float(count.failed)))


def _alerts(metrics: Mapping[str, Metric], alerts: Iterable[AlertRow]) -> None:
    counted: dict[tuple[str, str, str], int] = {}
    for row in alerts:
        key = (row.workflow, row.kind, row.level)
        counted[key] = counted.get(key, 0) + 1
    for (workflow, kind, level), count in sorted(counted.items()):
        labels = {"workflow": workflow, "kind": kind, "level": level}
        metrics["topstitch_alerts_open"].samples.append((labels, float(count)))


def _seam(plans: Mapping[tuple[str, str], Plan], workflow: str, version: str, step: str) -> str:
    plan = plans.get((workflow, version))
    found = plan.steps.get(step) if plan else None
    if plan is None or found is None:
        return ""
    before = plan.steps[found.needs[-1]].system if found.needs else plan.trigger.system
    return f"{plan.connector_of(before)} > {plan.connector_of(found.system)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
