"""Walks every schedule with at most N faults, and keeps the first bad one of each sort.

Called by ``cli torture`` and the tests. Two schedules that meet in the same state of
journal, systems and time, with the same number of faults left, have the same future: it is
walked once and counted for both (``merge``; without it each is walked to its own end, and
the counts are the same). A bad schedule carries the choices that lead to it: ``replay``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from topstitch.foundation.clock import stopwatch
from topstitch.foundation.errors import TopstitchError
from topstitch.model.action import JsonSchema
from topstitch.model.instance import StepStatus
from topstitch.model.state import Failure
from topstitch.plan.plan import Plan
from topstitch.torture.alike import alike, exactly
from topstitch.torture.arrange import Arena, arrange, simplify
from topstitch.torture.journal import Journal, PaperJournal
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.oracles import judge
from topstitch.torture.walk import FAULT_KINDS, Walker

Merge = Literal["alike", "exact", "never"]
POINTS_MAX: Final = 4000
"""Choice points of one schedule; one that needs more does not end."""
RAISED: Final = (AssertionError, LookupError, TypeError, ValueError, AttributeError, TopstitchError)
"""What a core with a mistake in it may raise."""
KEPT_MAX: Final = 20
"""Bad schedules that are kept to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSchedule:
    """A schedule in which something is not as it must be."""

    oracle: str
    said: str
    choices: str
    """What ``replay`` takes: ``2/3:1,17:2`` is, of two faults, choice 1 at point 3 and choice 2 at point 17."""
    faults: tuple[str, ...]
    """The choices that were not the expected ones, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Torture:
    """What came of walking all schedules."""

    faults: int
    schedules: int
    bad: int
    points: int
    """Choice points that were expanded."""
    seconds: float
    first: tuple[BadSchedule, ...]
    """One for each sort of badness, the first found."""
    finals: frozenset[tuple[str, tuple[str, ...]]]
    """Every way an instance ended: its end and the status of each step."""
    simplified: tuple[str, ...]
    cut: bool
    """Whether the budget ended before the schedules did."""

    @property
    def clean(self) -> bool:
        """Whether every schedule was walked and none was bad."""
        return not self.bad and not self.cut

    @property
    def per_second(self) -> float:
        """Schedules for each second."""
        return self.schedules / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Tally:
    finals: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    first: dict[tuple[str, str], BadSchedule] = field(default_factory=dict)
    points: int = 0


@dataclass(slots=True)
class _Frame:
    point: Point
    options: Sequence[int]
    """The choices that can be paid for."""
    keys: list[bytes]
    """The points that lead to this one without a choice, and itself."""
    at: int = -1
    schedules: int = 0
    bad: int = 0


def explore(
    plan: Plan,
    faults: int,
    *,
    schema: JsonSchema | None = None,
    data: Mapping[str, Any] | None = None,
    kinds: frozenset[str] = FAULT_KINDS,
    reconcile: bool = True,
    merge: Merge = "alike",
    budget_seconds: float | None = None,
    bound_seconds: float | None = None,
    stop_at_first: bool = False,
) -> Torture:
    """Walk all schedules of ``plan`` with at most ``faults`` faults.

    ``schema`` is the trigger event's, ``data`` a real event's. ``bound_seconds`` is what ``verify``
    printed: an instance that takes longer is a bad schedule.
    """
    arena = ready(plan, schema=schema, data=data, reconcile=reconcile)
    walk = _Walk(Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=kinds), faults, merge, bound_seconds)
    began = stopwatch()
    until = began + budget_seconds if budget_seconds is not None else None
    schedules, bad, cut = walk.all(until, stop_at_first=stop_at_first)
    return Torture(
        faults=faults,
        schedules=schedules,
        bad=bad,
        points=walk.tally.points,
        seconds=stopwatch() - began,
        first=tuple(walk.tally.first.values()),
        finals=frozenset(walk.tally.finals),
        simplified=arena.simplified,
        cut=cut,
    )


def ready(
    plan: Plan, *, schema: JsonSchema | None = None, data: Mapping[str, Any] | None = None, reconcile: bool = True
) -> Arena:
    """Return the arena of ``plan``, with the payloads replaced that sample data cannot render."""
    arena = arrange(plan, schema=schema, data=data, reconcile=reconcile)
    for _ in plan.steps:
        poor = _without_data(arena)
        if not poor:
            break
        arena = simplify(arena, poor)
    return arena


def _without_data(arena: Arena) -> list[str]:
    """Return the steps that fail on a good day, because the sample data lacks what they read."""
    walker = Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=frozenset())
    node = walker.begin(arena.variants[0], 0)
    for _ in range(POINTS_MAX):
        poor = [
            s.id
            for s in node.state.steps.values()
            if s.failure is Failure.EXPRESSION and s.status is StepStatus.COMPENSATING
        ]
        if poor or node.ended:
            return poor
        try:
            node = walker.expand(node).take(0)
        except (BrokenError, *RAISED):
            return []  # walked again with its schedule, and told
    return []


def payable(point: Point, left: int) -> Sequence[int]:
    """Return the choices that can be paid for with the faults that are left."""
    if len(point.options) == 1:
        return (0,)
    return [index for index, option in enumerate(point.options) if option[1] <= max(left, 0)]


class _Walk:
    def __init__(self, walker: Walker, faults: int, merge: Merge, bound: float | None) -> None:
        self.walker, self.faults, self.merge, self.bound = walker, faults, merge, bound
        self.tally = _Tally()
        self._known: dict[bytes, tuple[int, int]] = {}
        self._stack: list[_Frame] = []

    def all(self, until: float | None, *, stop_at_first: bool) -> tuple[int, int, bool]:
        """Return how many schedules there are, how many are bad, and whether time ran out first."""
        top = self.walker.top(self.faults)
        stack = self._stack = [_Frame(top, payable(top, self.faults), [])]
        while stack:
            frame = stack[-1]
            if (until is not None and stopwatch() > until) or (stop_at_first and self.tally.first):
                return sum(f.schedules for f in stack), sum(f.bad for f in stack), True
            frame.at += 1
            if frame.at < len(frame.options):
                self._take(frame)
                continue
            stack.pop()
            self._remember(frame.keys, frame.schedules, frame.bad)
            if not stack:
                return frame.schedules, frame.bad, False
            stack[-1].schedules += frame.schedules
            stack[-1].bad += frame.bad
        raise AssertionError("the stack holds at least its first frame")

    def _take(self, frame: _Frame) -> None:
        keys: list[bytes] = []
        try:
            found = self._arrive(frame.point.take(frame.options[frame.at]), keys)
        except BrokenError as broken:
            self._broken(broken)
            found = (1, 1)
        except RAISED as error:
            self._broken(BrokenError("raised", f"{type(error).__name__}: {error}"))
            found = (1, 1)
        if found is not None:
            self._remember(keys, *found)
            frame.schedules += found[0]
            frame.bad += found[1]

    def _arrive(self, node: Node, keys: list[bytes]) -> tuple[int, int] | None:
        """Go on until there is a choice; return the schedules and bad ones from here when that is known at once."""
        for _ in range(POINTS_MAX):
            if node.ended:
                judge(self.walker.arena.plan, node, self.bound)
                self.tally.finals.add((str(node.state.ended), tuple(s.status.value for s in node.state.steps.values())))
                return 1, 0
            if self.merge != "never" and node.begins:
                key = self._key(node)
                known = self._known.get(key)
                if known is not None:
                    return known
                keys.append(key)
            self.tally.points += 1
            point = self.walker.expand(node)
            options = payable(point, node.left)
            if len(options) > 1:
                if len(self._stack) > POINTS_MAX:
                    break
                self._stack.append(_Frame(point, options, keys))
                return None
            node = point.take(options[0])
        raise BrokenError("stall", f"it is not over after {POINTS_MAX} choices")

    def _key(self, node: Node) -> bytes:
        told = alike(self.walker.arena.plan, node) if self.merge == "alike" else exactly(node)
        return bytes([self._stack[0].at]) + told

    def _remember(self, keys: list[bytes], schedules: int, bad: int) -> None:
        for key in keys:
            self._known[key] = (schedules, bad)

    def _broken(self, broken: BrokenError) -> None:
        name = (broken.oracle, broken.said)
        if name in self.tally.first or len(self.tally.first) >= KEPT_MAX:
            return
        taken = [(i, f.options[f.at], f.point) for i, f in enumerate(self._stack) if f.at != 0]
        self.tally.first[name] = BadSchedule(
            oracle=broken.oracle,
            said=broken.said,
            choices=f"{self.faults}/" + ",".join(f"{i}:{at}" for i, at, _ in taken),
            faults=tuple(f"{point.what}: {point.options[at][0]}" for _, at, point in taken),
        )


__all__ = ["BadSchedule", "Journal", "Torture", "explore", "ready"]
