"""Decides which changes of a definition need a second person: what takes control away, and what writes at high risk.

Publishing asks it with the difference to what is in force. A removed or weakened approval, a lowered
tier, and a new or changed write of tier 3 or 4 are of high risk; then the author is not the publisher.
Pure: who the author is, and whether two people are there at all, is the office's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from topstitch.language.diff import Change, Diff, Level
from topstitch.plan.plan import Plan, StepPlan

TIER: Final = 3
"""From this risk tier on, a write is of high risk."""
_WORDS_ONLY: Final = frozenset({"title", "tell", "importance", "retry", "timeout", "expect"})
"""What may change on a step of high risk without changing what it writes, or when."""


def why_two(difference: Diff | None, plan: Plan) -> tuple[str, ...]:
    """Return why a change needs a second person; nothing when it does not. Without a difference, it is the first."""
    if difference is None:
        return tuple(_writes(step) for step in plan.steps.values() if is_high(step))
    return tuple(dict.fromkeys(_reasons(difference, plan)))


def is_high(step: StepPlan) -> bool:
    """Whether a step writes at high risk."""
    return step.act is not None and step.act.action.writes and step.risk >= TIER


def _reasons(difference: Diff, plan: Plan) -> Iterator[str]:
    for change in difference.changes:
        if _takes_control_away(change):
            yield change.sentence
        elif change.path[:1] == ("steps",) and len(change.path) > 1:
            step = plan.steps.get(change.path[1])
            if step is not None and is_high(step) and change.path[2:3] not in _HARMLESS:
                yield f"{change.sentence}; {_writes(step)}"


def _takes_control_away(change: Change) -> bool:
    return change.level is Level.MAJOR and change.path[2:3] in (("approval",), ("risk",))


_HARMLESS: Final = frozenset((name,) for name in _WORDS_ONLY)


def _writes(step: StepPlan) -> str:
    return f"'{step.title}' writes with risk {step.risk}"
