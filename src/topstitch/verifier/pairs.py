"""Decides which irreversible step may already have happened when another rolls the instance back.

Every pair is looked at, whatever the budget of the exploration. An author who means it says
``pivot: true`` on the irreversible step: what it did then stays, as residue, in every rollback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topstitch.model.instance import Disposition
from topstitch.plan.plan import Plan, StepPlan
from topstitch.plan.rollback_order import transitive_needs
from topstitch.verifier.classes import OutcomeClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """``happened`` may be done, and cannot be undone, when ``turner`` rolls the instance back."""

    turner: str
    happened: str
    by: OutcomeClass
    """The class of ``turner`` that rolls back."""
    certain: bool
    """Whether it has always happened by then."""


def irreversible(step: StepPlan) -> bool:
    """Whether the step leaves something that nothing takes back."""
    return step.act is not None and step.act.action.writes and step.undo is None


def pairs(plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]]) -> tuple[Pair, ...]:
    """Return every pair, those the author has accepted too."""
    lasting = [name for name, step in plan.steps.items() if irreversible(step)]
    needs = {name: step.needs for name, step in plan.steps.items()}
    found: list[Pair] = []
    for turner, classes in outcomes.items():
        by = next((one for one in classes if one.then is Disposition.ROLLBACK), None)
        if by is None:
            continue
        before = transitive_needs(needs, turner)
        found += [
            Pair(turner=turner, happened=happened, by=by, certain=happened in before)
            for happened in lasting
            if happened != turner and turner not in transitive_needs(needs, happened)
        ]
    return tuple(found)
