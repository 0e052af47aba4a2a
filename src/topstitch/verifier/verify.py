"""Decides whether a definition may be launched, and says what was proved and what was cut.

``topstitch verify`` and ``publish`` call it. Level 1 and the pairs are always complete; they
decide. The exploration is given a budget: what does not fit is cut to one fault, and the
verdict says so in its own words, so that nobody reads more into it than is there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from topstitch.foundation.clock import stopwatch
from topstitch.language.load import Document
from topstitch.language.schema import Workflow
from topstitch.model.finding import Finding
from topstitch.model.instance import InstanceEnd
from topstitch.plan.plan import Plan
from topstitch.verifier import bounds
from topstitch.verifier.classes import OutcomeClass, classes
from topstitch.verifier.explore import Explored, Explorer
from topstitch.verifier.level1 import Places, level1
from topstitch.verifier.pairs import Pair, irreversible, pairs
from topstitch.verifier.reads import late_flags, undefined_outputs
from topstitch.verifier.scenarios import Scenario, scenarios
from topstitch.verifier.table import Row, table
from topstitch.verifier.words import label

FALLBACKS: Final = ((3, 0.4), (1, 0.2))
"""What is explored when everything does not fit the budget: up to how many faults, in which share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was proved of a definition, and what is wrong with it."""

    findings: tuple[Finding, ...]
    proved: str
    """What was proved and what was cut, in a sentence."""
    complete: bool
    """Whether the exploration was walked to its end as it was asked for."""
    faults: int | None
    """Up to how many faults it was walked; nothing for any number."""
    states: int
    transitions: int
    seconds: float
    ends: Mapping[InstanceEnd, tuple[str, ...]]
    """Each end that can be reached, and the shortest way there."""
    executed_seconds: float
    """When every step has settled at the latest, counted from the trigger."""
    ended_seconds: float
    """When the instance has ended at the latest, its checks included."""
    people: tuple[tuple[str, str, int], ...]
    """``(who, as what, how often at most)``: who can be asked, as an approver or for a task."""
    residue: tuple[tuple[str, str], ...]
    """``(step, why)``: what no rollback takes back, as declared (E-07)."""
    table: tuple[Row, ...]
    scenarios: tuple[Scenario, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps the definition from being published."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether the definition may be published."""
        return not self.errors


def verify(
    plan: Plan,
    workflow: Workflow,
    budget_seconds: float = 2.0,
    faults: int | None = None,
    *,
    document: Document | None = None,
) -> Verdict:
    """Return the verdict on a checked definition. ``document`` gives findings their place in the file.

    ``faults`` bounds the exploration; nothing explores any number of them.
    """
    began = stopwatch()
    outcomes, places = classes(plan), Places(document)
    declared = level1(plan, outcomes, places)
    found = _explored(plan, outcomes, budget_seconds, faults)
    paired = pairs(plan, outcomes)
    findings = [*declared, *_pairs(plan, paired, found, places), *undefined_outputs(plan, outcomes, places)]
    findings += [*_level2(plan, found, places), *late_flags(plan, outcomes, places)]
    return Verdict(
        findings=tuple(findings),
        proved=_proved(declared, found, faults, len(paired)),
        complete=found.complete and found.faults == faults,
        faults=found.faults,
        states=found.states,
        transitions=found.transitions,
        seconds=stopwatch() - began,
        ends=found.ends,
        executed_seconds=math.inf if _waits_for_itself(plan) else bounds.executed_seconds(plan),
        ended_seconds=math.inf if _waits_for_itself(plan) else bounds.ended_seconds(plan),
        people=_people(outcomes, workflow),
        residue=tuple((n, s.no_undo or "nothing was declared") for n, s in plan.steps.items() if irreversible(s)),
        table=table(plan, outcomes),
        scenarios=scenarios(plan, outcomes),
    )


def _explored(
    plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]], budget: float, faults: int | None
) -> Explored:
    if _waits_for_itself(plan):
        return Explored(faults=faults, complete=False)
    explorer = Explorer(plan, outcomes)
    fallbacks = [(most, share) for most, share in FALLBACKS if faults is None or most < faults]
    first = budget * (1 - sum(share for _, share in fallbacks))
    found = explorer.explore(faults, seconds_max=first)
    for most, share in fallbacks:
        if found.complete:
            return found
        found = explorer.explore(most, seconds_max=budget * share)
    return found


def _waits_for_itself(plan: Plan) -> set[str]:
    left = dict(plan.steps)
    while free := [n for n, s in left.items() if not any(o in left for o in (*s.needs, *s.after))]:
        for name in free:
            del left[name]
    return set(left)


def _proved(declared: tuple[Finding, ...], found: Explored, faults: int | None, paired: int) -> str:
    by_hand = (
        "every reachable failure has a declared end"
        if not any(f.severity == "error" for f in declared)
        else "NOT proved: some failures have no declared end"
    )
    count = f"{found.states:,} states"
    looked = f"{paired} pairs looked at" if paired else "pairs checked"
    if found.faults is None and found.complete:
        return f"{by_hand}; explored with any number of faults, all of its {count}; {looked}"
    up_to = (
        f"up to {found.faults} fault" + ("" if found.faults == 1 else "s")
        if found.faults is not None
        else "any number of faults"
    )
    if found.complete and found.faults == faults:
        return f"{by_hand}; explored for {up_to}, all of its {count}; {looked}"
    if found.complete:
        cut = "more faults at once did not fit the budget, so combinations are proved for"
        return f"{by_hand}; {cut} {up_to} ({count}); {looked}"
    cut = "so combinations of outcomes are not proved"
    return f"{by_hand}; the exploration was cut by the budget after {count} ({up_to}), {cut}; {looked}"


def _pairs(plan: Plan, paired: Iterable[Pair], found: Explored, places: Places) -> Iterable[Finding]:
    for pair in paired:
        if plan.steps[pair.happened].pivot:
            continue
        way = found.kept.get((pair.turner, pair.happened))
        done = "has happened" if pair.certain else "may already have happened"
        said = f"'{pair.happened}' cannot be undone and {done} when '{pair.turner}' rolls the instance back"
        said += f" ({label(pair.by)})"
        if way:
            said += "; shortest way: " + "; ".join(f"{number} {step}" for number, step in enumerate(way, 1))
        remedy = (
            f"let '{pair.happened}' need '{pair.turner}', let '{pair.turner}' go on instead, "
            f"or accept what stays with 'pivot: true' on '{pair.happened}'"
        )
        yield places.finding("irreversible-then-rollback", pair.by.path, said, remedy)


def _level2(plan: Plan, found: Explored, places: Places) -> Iterable[Finding]:
    for way in found.stalls:
        said = "the instance can come to a state in which nothing follows: " + "; ".join(way)
        yield places.finding("stall", ("steps",), said, "report this definition")
    if not found.complete:
        return
    for name in plan.steps:
        if name not in found.succeeded:
            said = f"'{name}' can never happen, whichever way the instance goes"
            yield places.finding(
                "dead-step", ("steps", name), said, "remove it, or correct its conditions and needs", "warning"
            )


def _people(outcomes: Mapping[str, tuple[OutcomeClass, ...]], workflow: Workflow) -> tuple[tuple[str, str, int], ...]:
    """Count, for each person or group, how often one instance can ask them at most."""
    asked: Counter[tuple[str, str]] = Counter()
    for step in workflow.steps.values():
        if step.approval is not None:
            gate = step.approval.otherwise
            whom = [gate.from_] if isinstance(gate.from_, str) else gate.from_
            asked.update((who, "approver") for who in (*whom, *(e.to for e in gate.escalate)))
    for ones in outcomes.values():
        most: Counter[tuple[str, str]] = Counter()
        for one in ones:
            tasks = Counter((who, "task") for task in one.tasks for who in (task.to, *(e.to for e in task.escalate)))
            most |= tasks
        asked += most
    return tuple(sorted((who, role, times) for (who, role), times in asked.items()))
