"""Decides what a reviewer reads: what if, what then, how it ends, and by when (``language.md`` 6.5).

Classes that lead to the same thing share a row. ``difference`` of two tables is the review
comment of a change. Made from outcome classes alone; nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from topstitch.foundation.timetext import duration_text
from topstitch.model.instance import Disposition
from topstitch.plan.plan import Plan
from topstitch.verifier.classes import Case, OutcomeClass
from topstitch.verifier.words import STATUSES, follows, happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the outcome table."""

    step: str
    title: str
    when: str
    then: str
    ends: str
    seconds: float
    """After how long at the latest; for a step that was released by a person, counted from then."""

    @property
    def latest(self) -> str:
        """After how long at the latest, in words."""
        return duration_text(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two outcome tables."""

    step: str
    what: str
    """``added``, ``removed`` or ``changed``."""
    when: str
    old: Row | None
    new: Row | None


TURNS: Final = {
    Disposition.CONTINUE: "go on",
    Disposition.ROLLBACK: "take everything back",
    Disposition.STOP: "stop, and open a case",
}


def table(plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]]) -> tuple[Row, ...]:
    """Return the outcome table of a plan, step by step in file order."""
    rows: list[Row] = []
    for name, classes in outcomes.items():
        for _, same in groupby(classes, key=_consequence):
            ones = list(same)
            rows.append(_row(plan, name, ones))
    return tuple(rows)


def difference(old: Iterable[Row], new: Iterable[Row]) -> tuple[Change, ...]:
    """Return what changed between two tables: rows are matched by step and by what happened."""
    before = {(row.step, row.when): row for row in old}
    after = {(row.step, row.when): row for row in new}
    changes: list[Change] = []
    for key, row in after.items():
        known = before.get(key)
        if known is None:
            changes.append(Change(step=row.step, what="added", when=row.when, old=None, new=row))
        elif known != row:
            changes.append(Change(step=row.step, what="changed", when=row.when, old=known, new=row))
    for key, row in before.items():
        if key not in after:
            changes.append(Change(step=row.step, what="removed", when=row.when, old=row, new=None))
    return tuple(changes)


def _consequence(one: OutcomeClass) -> tuple[object, ...]:
    """Return what makes two neighbouring classes one row: the same case, with its task done and never done."""
    return (one.case, one.because)


def _row(plan: Plan, name: str, ones: Sequence[OutcomeClass]) -> Row:
    first, last = ones[0], ones[-1]
    then = follows(last)
    if first.then is not last.then:
        given = follows(last, turn=False)
        then = f"{given}{'; ' if given else ''}done: {TURNS[first.then]}; never done: {TURNS[last.then]}"
    return Row(
        step=name,
        title=plan.steps[name].title,
        when=happened(first, plan),
        then=then,
        ends=", or ".join(dict.fromkeys(_ends(one) for one in ones)),
        seconds=max(_since_release(one) for one in ones),
    )


def _since_release(one: OutcomeClass) -> float:
    """Return the time that a row names: of a step that was released, counted from then."""
    return one.seconds if one.case in (Case.REFUSED_BY_PERSON, Case.UNANSWERED) else one.seconds - one.approval_seconds


def _ends(one: OutcomeClass) -> str:
    return STATUSES[one.status]
