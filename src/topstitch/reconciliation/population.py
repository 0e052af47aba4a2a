"""Decides what a comparison of two whole populations has found.

Checks of single instances never see what has no instance. Here every row of the left side
must have an instance, every instance that succeeded a row on the right, and no row on the
right may stand without an instance; nobody may be there twice. What an instance under way
explains is *pending*, not a difference; a difference counts once it has outlived the grace. Pure:
``bootstrap.populations`` reads both sides and keeps what comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from topstitch.language.expressions import ExpressionError, Facts
from topstitch.plan.plan import PopulationPlan, SidePlan

ROWS_MAX: Final = 100_000
_WENT_WELL: Final = frozenset({"completed", "completed_with_exceptions"})


class What(StrEnum):
    """What is wrong with one key."""

    NO_INSTANCE = "no_instance"
    """It is on the left, and no instance was ever started for it."""
    MISSING = "missing"
    """Its instance succeeded, and it is not on the right."""
    EXTRA = "extra"
    """It is on the right, and no instance stands behind it."""
    DUPLICATE = "duplicate"
    """It is there more than once on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One instance of the workflow: for which key, and how it stands."""

    instance: str
    key: str
    status: str
    is_open: bool
    adopted: bool = False
    """Whether it found its record there before it: the right side, read from a day on, need not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is wrong."""

    what: What
    system: str
    subject: str
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one comparison has found."""

    left: int
    right: int
    matched: int
    pending: int
    unreadable: int
    """Rows whose key could not be worked out."""
    differences: tuple[Difference, ...]


def since_of(side: SidePlan, now: datetime) -> datetime:
    """Return from when on a side is read."""
    return now - timedelta(seconds=side.since_seconds)


def keys_of(side: SidePlan, rows: Iterable[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Return the key of each row, and how many rows have none."""
    keys: list[str] = []
    without = 0
    for row in rows:
        try:
            key = side.key.evaluate(Facts({"row": row}))
        except ExpressionError:
            key = None
        if key in (None, ""):
            without += 1
        else:
            keys.append(str(key))
    return keys, without


def compare(
    plan: PopulationPlan,
    left: Sequence[Mapping[str, Any]],
    right: Sequence[Mapping[str, Any]],
    known: Iterable[Known],
) -> Compared:
    """Return what is wrong between two sides, given the instances that the workflow had for their keys."""
    ours, unread_left = keys_of(plan.left, left)
    theirs, unread_right = keys_of(plan.right, right)
    behind = _behind(known)
    there, here = set(theirs), set(ours)
    differences = _twice(plan.left.system, ours) + _twice(plan.right.system, theirs)
    matched = pending = 0
    for key in sorted(here | behind.keys()):
        one = behind.get(key)
        if one is None:
            differences.append(Difference(what=What.NO_INSTANCE, system=plan.left.system, subject=key))
        elif one.is_open:
            pending += 1
        elif one.status not in _WENT_WELL:
            continue
        elif key in there or one.adopted:
            matched += 1
        else:
            missing = Difference(what=What.MISSING, system=plan.right.system, subject=key, instance=one.instance)
            differences.append(missing)
    for key in sorted(there):
        one = behind.get(key)
        if one is None or not (one.is_open or one.status in _WENT_WELL):
            instance = one.instance if one else None
            differences.append(Difference(what=What.EXTRA, system=plan.right.system, subject=key, instance=instance))
    return Compared(
        left=len(left),
        right=len(right),
        matched=matched,
        pending=pending,
        unreadable=unread_left + unread_right,
        differences=tuple(differences),
    )


def _behind(known: Iterable[Known]) -> dict[str, Known]:
    """Return the instance that speaks for each key: one that is open, else one that went well, else the last."""
    best: dict[str, Known] = {}
    for one in known:
        before = best.get(one.key)
        if before is None or _weight(one) >= _weight(before):
            best[one.key] = one
    return best


def _weight(one: Known) -> int:
    return 2 if one.is_open else 1 if one.status in _WENT_WELL else 0


def _twice(system: str, keys: list[str]) -> list[Difference]:
    return [
        Difference(what=What.DUPLICATE, system=system, subject=key)
        for key, count in sorted(Counter(keys).items())
        if count > 1
    ]
