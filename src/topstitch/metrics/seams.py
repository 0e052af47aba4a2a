"""Decides which seams a definition has, and what each has come to in a time.

Every edge of a definition is a handoff; where its two ends are different systems it is a
crossing of the seam between them. Nothing is configured: a seam without a single crossing is
listed too. Latency is *net* (without approvals and declared waits), gross stands beside it.
Versions are kept apart. Pure; ``watch`` reads the rows, ``render`` shows the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from topstitch.metrics.exceptions import Count, Judgement, Outcome, Share, judge
from topstitch.metrics.limits import DEFAULT, Limits
from topstitch.metrics.pending import Pending
from topstitch.metrics.sketch import median, quantile
from topstitch.plan.plan import Plan
from topstitch.store.measures import Crossings, Exceptional, Tried

CONTEXT: Final = "context"
"""What the first steps are handed over from."""
OWN_SYSTEM: Final = "topstitch"
SPARKS: Final = "▁▂▃▄▅▆▇█"


class Band(StrEnum):
    """How long work lies at a seam."""

    IDLE = "idle"
    """Nothing has crossed."""
    GREEN = "green"
    """Within the target."""
    AMBER = "amber"
    """Over the target."""
    RED = "red"
    """Over the limit: an alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The boundary between two systems, in one direction."""

    from_system: str
    to_system: str

    def __str__(self) -> str:
        """Write it as ``entra-id > servicenow``."""
        return f"{self.from_system} > {self.to_system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One handoff of a definition: from a step that is needed to the step that needs it."""

    from_step: str
    to_step: str
    seam: Seam

    @property
    def crosses(self) -> bool:
        """Whether the work passes from one system to another."""
        return self.seam.from_system != self.seam.to_system

    def __str__(self) -> str:
        """Write it as ``identity>equipment``."""
        return f"{self.from_step}>{self.to_step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeamFigures:
    """What one edge of one version has come to."""

    workflow: str
    version: str
    edge: Edge
    count: int
    p50_ms: float | None
    p95_ms: int | None
    gross_p50_ms: float | None
    gross_p95_ms: int | None
    within_target: float | None
    """The share of handoffs within the target."""
    sparks: tuple[float | None, ...]
    """The median of each slot of the window, oldest first."""
    pending: tuple[Pending, ...]
    band: Band
    target_ms: int
    limit_ms: int
    exceptions: Judgement
    in_force: bool

    @property
    def oldest_ms(self) -> int:
        """The age of the oldest handoff that is still open; 0 when there is none."""
        return max((one.age_ms for one in self.pending), default=0)

    @property
    def spark(self) -> str:
        """The medians as one line of blocks."""
        return spark_line(self.sparks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was read of a time, for boards and alerts alike."""

    since_ms: int
    until_ms: int
    slot_ms: int
    crossings: Sequence[Crossings] = ()
    tried: Sequence[Tried] = ()
    """Only of seams that several edges of a version cross; elsewhere the crossings say it."""
    exceptions: Sequence[Exceptional] = ()
    crossed: frozenset[tuple[str, str, str]] = frozenset()
    """Which of the instances with exceptions crossed which seam within the time."""
    outcomes: Mapping[tuple[str, str, Seam], Sequence[Outcome]] = field(default_factory=dict)


def edges_of(plan: Plan) -> tuple[Edge, ...]:
    """Return every handoff of a definition, in the order of its steps."""
    return tuple(
        Edge(from_step=name, to_step=step.id, seam=_seam(plan, system, step.system))
        for step in plan.steps.values()
        for name, system in [(n, plan.steps[n].system) for n in step.needs] or [(CONTEXT, plan.trigger.system)]
    )


def seam_of_step(plan: Plan, step: str) -> Seam | None:
    """Return the seam that a failure of a step is counted at: from what it needs last to its own system."""
    found = plan.steps.get(step)
    if found is None:
        return None
    before = plan.steps[found.needs[-1]].system if found.needs else plan.trigger.system
    return _seam(plan, before, found.system)


def seam_of(plan: Plan, what: Exceptional) -> Seam | None:
    """Return the seam of something that went wrong; a discrepancy belongs to the step that its record covers."""
    if not what.record:
        return seam_of_step(plan, what.step)
    covers = next((record.covers for record in plan.reconcile.records if record.name == what.record), "")
    return seam_of_step(plan, covers)


def counts(window: Window, plans: Mapping[tuple[str, str], Plan]) -> dict[tuple[str, str, Seam], Count]:
    """Return, by workflow, version and seam, how many executions tried it and how many had an exception.

    An execution that had an exception within the time has tried, whenever it crossed.
    """
    tried = _tried(window)
    failed: dict[tuple[str, str, Seam], set[str]] = {}
    for what in window.exceptions:
        plan = plans.get((what.workflow, what.version))
        seam = seam_of(plan, what) if plan else None
        if seam is not None:
            failed.setdefault((what.workflow, what.version, seam), set()).add(what.instance)
    for key, instances in failed.items():
        seam = key[2]
        outside = sum((name, seam.from_system, seam.to_system) not in window.crossed for name in instances)
        tried[key] = tried.get(key, 0) + outside
    return {key: Count(tried=total, failed=len(failed.get(key, ()))) for key, total in tried.items()}


def board(
    window: Window,
    plans: Mapping[tuple[str, str], Plan],
    in_force: Iterable[Plan],
    pending: Sequence[Pending],
    limits: Limits = DEFAULT,
) -> list[SeamFigures]:
    """Return every seam of every definition in force, and those of older versions that saw work; worst first."""
    current = {(plan.workflow, plan.version) for plan in in_force}
    rows = _by_edge(window.crossings)
    open_at = _pending_by_edge(pending)
    tallies = counts(window, plans)
    seen = {key[:2] for key in (*rows, *open_at, *tallies)}
    figures = [
        _figures(plan, edge, rows, open_at, tallies, window, limits, in_force=key in current)
        for key, plan in sorted(plans.items())
        if key in current or key in seen
        for edge in edges_of(plan)
        if edge.crosses
    ]
    return sorted(figures, key=_rank)


def is_shared(crossings: Iterable[Crossings]) -> bool:
    """Tell whether several edges of one version cross the same seam, so that executions must be told apart."""
    edges: dict[tuple[str, str, str, str], set[tuple[str, str]]] = {}
    for one in crossings:
        key = (one.workflow, one.version, one.from_system, one.to_system)
        edges.setdefault(key, set()).add((one.from_step, one.to_step))
    return any(len(found) > 1 for found in edges.values())


def between(figures: Iterable[SeamFigures], from_system: str, to_system: str) -> list[SeamFigures]:
    """Return the edges that cross one seam: what ``seam show A B`` is about."""
    seam = Seam(from_system=from_system, to_system=to_system)
    return [one for one in figures if one.edge.seam == seam]


def band_of(longest_ms: float, target_ms: int, limit_ms: int) -> Band:
    """Return the band of a latency or an age: exactly the target is still green, exactly the limit amber."""
    if longest_ms > limit_ms:
        return Band.RED
    return Band.AMBER if longest_ms > target_ms else Band.GREEN


def spark_line(values: Sequence[float | None]) -> str:
    """Return one block for each value, the tallest for the largest; a blank where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    top = max(known) or 1.0
    return "".join(" " if v is None else SPARKS[min(int(v / top * len(SPARKS)), len(SPARKS) - 1)] for v in values)


def _seam(plan: Plan, from_alias: str, to_alias: str) -> Seam:
    return Seam(from_system=plan.connector_of(from_alias), to_system=plan.connector_of(to_alias))


EdgeKey = tuple[str, str, str, str]
"""Workflow, version, from-step, to-step."""


def _by_edge(found: Iterable[Crossings]) -> dict[EdgeKey, list[Crossings]]:
    rows: dict[EdgeKey, list[Crossings]] = {}
    for one in found:
        rows.setdefault((one.workflow, one.version, one.from_step, one.to_step), []).append(one)
    return rows


def _pending_by_edge(pending: Iterable[Pending]) -> dict[EdgeKey, list[Pending]]:
    rows: dict[EdgeKey, list[Pending]] = {}
    for one in pending:
        rows.setdefault((one.workflow, one.version, one.from_step, one.to_step), []).append(one)
    return rows


def _tried(window: Window) -> dict[tuple[str, str, Seam], int]:
    """Count instances by seam: an edge is crossed once by each, so only shared seams need a count of their own."""
    total: dict[tuple[str, str, Seam], int] = {}
    for one in window.crossings:
        key = (one.workflow, one.version, Seam(from_system=one.from_system, to_system=one.to_system))
        total[key] = total.get(key, 0) + len(one.net_ms)
    for shared in window.tried:
        key = (shared.workflow, shared.version, Seam(from_system=shared.from_system, to_system=shared.to_system))
        total[key] = shared.instances
    return total


def _figures(
    plan: Plan,
    edge: Edge,
    rows: Mapping[EdgeKey, Sequence[Crossings]],
    open_at: Mapping[EdgeKey, Sequence[Pending]],
    tallies: Mapping[tuple[str, str, Seam], Count],
    window: Window,
    limits: Limits,
    *,
    in_force: bool,
) -> SeamFigures:
    key = (plan.workflow, plan.version, edge.from_step, edge.to_step)
    found = rows.get(key, ())
    net = [value for one in found for value in one.net_ms]
    gross = [value for one in found for value in one.gross_ms]
    waiting = tuple(sorted(open_at.get(key, ()), key=lambda one: -one.age_ms))
    target, limit = plan.monitor.handoff_target_seconds * 1000, plan.monitor.handoff_alert_seconds * 1000
    p95 = quantile(net, 0.95)
    longest = max(p95 or 0, max((one.age_ms for one in waiting), default=0))
    at_seam = (plan.workflow, plan.version, edge.seam)
    return SeamFigures(
        workflow=plan.workflow,
        version=plan.version,
        edge=edge,
        count=len(net),
        p50_ms=median(net),
        p95_ms=p95,
        gross_p50_ms=median(gross),
        gross_p95_ms=quantile(gross, 0.95),
        within_target=sum(value <= target for value in net) / len(net) if net else None,
        sparks=_sparks(found, window),
        pending=waiting,
        band=band_of(longest, target, limit) if net or waiting else Band.IDLE,
        target_ms=target,
        limit_ms=limit,
        exceptions=judge(
            tallies.get(at_seam, Count(tried=0, failed=0)),
            alert=plan.monitor.exception_alert,
            target=plan.monitor.exception_target,
            outcomes=window.outcomes.get(at_seam, ()),
            limits=limits,
        ),
        in_force=in_force,
    )


def _sparks(found: Sequence[Crossings], window: Window) -> tuple[float | None, ...]:
    slots = max(1, -(-(window.until_ms - window.since_ms) // window.slot_ms))
    medians = {one.slot: median(one.net_ms) for one in found}
    return tuple(medians.get(slot) for slot in range(slots))


_BANDS: Final = {Band.RED: 0, Band.AMBER: 1, Band.GREEN: 2, Band.IDLE: 3}
_SHARES: Final = {Share.PAGING: 0, Share.CROSSED: 1, Share.QUIET: 2}


def _rank(one: SeamFigures) -> tuple[object, ...]:
    worst = min(_BANDS[one.band], _SHARES[one.exceptions.share])
    return (not one.in_force, worst, -max(one.oldest_ms, one.p95_ms or 0), one.workflow, one.version, str(one.edge))
