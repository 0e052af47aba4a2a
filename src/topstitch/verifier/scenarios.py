"""Decides, before launch, what each failure would unwind: by whom, in which order, what remains (H-03).

``unwinding`` is the prediction for one moment of one instance; the execution stage follows
the same order, and a property test holds the two together. Called by ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from topstitch.model.instance import Disposition
from topstitch.plan.plan import Plan
from topstitch.plan.rollback_order import transitive_needs
from topstitch.verifier.classes import FAILURES, Case, OutcomeClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """One effect that is taken back: which step's, by which action of which system."""

    step: str
    system: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwinding:
    """What a rollback does at one moment."""

    undone: tuple[Undoing, ...]
    """In an order that is kept: each before everything it came after."""
    residue: tuple[tuple[str, str], ...]
    """``(step, why)``: what stays, as declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One failure point and what follows."""

    by: OutcomeClass
    unwinding: Unwinding | None
    """Nothing when the instance goes on or stops."""
    stays: tuple[str, ...]
    """Steps that may be done by then and stay as they are."""


def unwinding(plan: Plan, there: Iterable[str], found: Iterable[str] = ()) -> Unwinding:
    """Return what a rollback does when the effects of ``there`` are there; of those, ``found`` were there before us."""
    live = [name for name in plan.undo_order if name in set(there) and _leaves(plan, name)]
    theirs = set(found)
    undone = []
    residue = []
    for name in live:
        step = plan.steps[name]
        if name in theirs:
            continue
        if step.undo is not None:
            undone.append(Undoing(step=name, system=step.undo.system, action=step.undo.action.name))
        else:
            residue.append((name, step.no_undo or "nothing was declared to undo it"))
    return Unwinding(undone=tuple(undone), residue=tuple(residue))


def scenarios(plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]]) -> tuple[Scenario, ...]:
    """Return every failure point of every step: at its worst, with all done by then that can be."""
    needs = {name: step.needs for name, step in plan.steps.items()}
    found = []
    for name, classes in outcomes.items():
        others = [o for o in plan.steps if o != name and name not in transitive_needs(needs, o)]
        for one in classes:
            if one.case not in FAILURES and one.then is Disposition.CONTINUE and one.case is not Case.UNANSWERED:
                continue
            there = [*others, name] if one.effect != "none" else others
            back = unwinding(plan, there) if one.then is Disposition.ROLLBACK else None
            stays = () if back is not None else tuple(o for o in others if _leaves(plan, o))
            found.append(Scenario(by=one, unwinding=back, stays=stays))
    return tuple(found)


def _leaves(plan: Plan, name: str) -> bool:
    act = plan.steps[name].act
    return act is not None and act.action.writes
