"""Decides whether the steps of a definition can be carried out in some order, and which wait for which.

``check`` asks for the order of steps, and for the steps that are over when another begins.
Purely about names: what steps read is looked at in ``values``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from topstitch.language.cel_ast import Syntax
from topstitch.language.load import Path
from topstitch.language.report import Report, nearest
from topstitch.language.schema import Step, Workflow
from topstitch.language.values import constant


@dataclass(slots=True)
class Graph:
    """Which step waits for which."""

    workflow: Workflow
    report: Report
    known: frozenset[str]
    """The names of all steps as written, broken ones included."""
    needs: dict[str, frozenset[str]] = field(default_factory=dict)
    """By step: the steps that must have been completed, near and far."""
    waits: dict[str, frozenset[str]] = field(default_factory=dict)
    """By step: the steps that are over, one way or another, or whose deadline has passed."""

    def build(self) -> None:
        """Check the names and the order; compute what is over before what."""
        steps = self.workflow.steps
        for name, step in steps.items():
            self._names(name, step)
        in_circle = self._circles()
        self._written_order(in_circle)
        direct_needs = {name: frozenset(step.needs) for name, step in steps.items()}
        direct_waits = {name: frozenset(step.needs) | frozenset(step.after) for name, step in steps.items()}
        self.needs = {name: self._reach(name, direct_needs) for name in steps}
        self.waits = {name: self._reach(name, direct_waits) for name in steps}

    def _reach(self, start: str, edges: Mapping[str, frozenset[str]]) -> frozenset[str]:
        seen: set[str] = set()
        queue = [start]
        while queue:
            name = queue.pop()
            broken = name not in edges or self.report.touched(("steps", name, "needs"))
            if broken and name in self.known:
                return self.known  # a broken step may need anything: say nothing about it
            for needed in edges.get(name, ()):
                if needed not in seen:
                    seen.add(needed)
                    queue.append(needed)
        return frozenset(seen)

    def _names(self, name: str, step: Step) -> None:
        base: Path = ("steps", name)
        for index, needed in enumerate(step.needs):
            self._name(needed, name, (*base, "needs", index), key=False)
        for waited in step.after:
            self._name(waited, name, (*base, "after", waited), key=True)
            if waited in step.needs and not self.report.touched((*base, "after", waited)):
                self.report.add(
                    "order",
                    (*base, "after", waited),
                    f"'{name}' needs '{waited}' already",
                    "remove it from after",
                    key=True,
                )

    def _name(self, other: str, name: str, path: Path, *, key: bool) -> None:
        if other == name:
            self.report.add("cycle", path, f"'{name}' waits for itself", "remove it", key=key)
        else:
            self.step_exists(other, path, key=key)

    def step_exists(self, name: str, path: Path, *, key: bool = False) -> bool:
        """Whether there is a step of this name; reported when not."""
        if name in self.known:
            return name in self.workflow.steps
        if not self.report.touched(path):
            self.report.add("unknown-step", path, f"there is no step '{name}'", nearest(name, self.known), key=key)
        return False

    def _circles(self) -> frozenset[str]:
        """Report each circle once, at the step of it that is written first."""
        in_circle: set[str] = set()
        for name in self.workflow.steps:
            if name in in_circle:
                continue
            if circle := self._circle_from(name):
                in_circle.update(circle)
                shown = " -> ".join([*circle, circle[0]])
                field_name = "needs" if circle[1] in self.workflow.steps[name].needs else "after"
                self.report.add(
                    "cycle",
                    ("steps", name, field_name),
                    f"these steps wait for each other: {shown}",
                    "remove one of these waits",
                    key=True,
                )
        return frozenset(in_circle)

    def _circle_from(self, start: str) -> list[str] | None:
        """Return the steps from ``start`` back to it, breadth first, if there is a way."""
        queue: list[list[str]] = [[start]]
        seen = {start}
        while queue:
            way = queue.pop(0)
            step = self.workflow.steps.get(way[-1])
            for other in [*step.needs, *step.after] if step else ():
                if other == start and len(way) > 1:
                    return way
                if other not in seen:
                    seen.add(other)
                    queue.append([*way, other])
        return None

    def _written_order(self, in_circle: frozenset[str]) -> None:
        order = {name: index for index, name in enumerate(self.workflow.steps)}
        for name, step in self.workflow.steps.items():
            if name in in_circle:
                continue
            late = [other for other in [*step.needs, *step.after] if order.get(other, -1) > order[name]]
            if late:
                self.report.add(
                    "order",
                    ("steps", name),
                    f"'{name}' is written above '{late[0]}', which it waits for",
                    f"move it below '{late[0]}': the file is read from the top",
                    key=True,
                )

    def dead_steps(self, conditions: Mapping[str, Syntax]) -> None:
        """Report steps whose condition can never hold."""
        for name, step in self.workflow.steps.items():
            path = ("steps", name, "when")
            if step.when is None or name not in conditions or self.report.touched(path):
                continue
            if conditions[name].constant and constant(step.when) is False:
                self.report.add(
                    "dead-step",
                    path,
                    f"'{name}' never runs: its condition is always false",
                    "remove the step, or its condition",
                )
            elif other := self._excluded_by(name, step.when):
                reason = (
                    "its condition contradicts itself"
                    if other[0] == name
                    else f"it needs '{other[0]}', whose condition rules out {other[1]}"
                )
                self.report.add("dead-step", path, f"'{name}' never runs: {reason}", "change the condition")

    def _excluded_by(self, name: str, condition: str) -> tuple[str, str] | None:
        mine = _demands(condition)
        for other in sorted(self.needs.get(name, ())):
            step = self.workflow.steps.get(other)
            theirs = _demands(step.when) if step is not None and step.when is not None else {}
            for path, value in mine.items():
                if path in theirs and theirs[path] != value:
                    return other, f"{path} == {value}"
        own: dict[str, str] = {}
        for part in _conjuncts(condition):
            demand = _demand(part)
            if demand and own.setdefault(demand[0], demand[1]) != demand[1]:
                return name, f"{demand[0]} == {demand[1]}"
        return None


def _conjuncts(condition: str) -> list[str]:
    """Return the parts of a condition that all must hold; a condition with ``||`` or ``?`` tells nothing."""
    if "||" in condition or "?" in condition:
        return []
    return [part.strip().removeprefix("(").removesuffix(")").strip() for part in condition.split("&&")]


def _demands(condition: str) -> dict[str, str]:
    return dict(demand for part in _conjuncts(condition) if (demand := _demand(part)))


def _demand(part: str) -> tuple[str, str] | None:
    """Read ``path == value``, ``path`` and ``!path`` as what a path must be."""
    if found := re.fullmatch(r"([a-z]\w*(?:\.\w+)+)\s*==\s*(\"[^\"\\]*\"|'[^'\\]*'|true|false|-?\d+)", part):
        return found[1], found[2].replace("'", '"')
    if found := re.fullmatch(r"(!?)\s*([a-z]\w*(?:\.\w+)+)", part):
        return found[2], "false" if found[1] else "true"
    return None
