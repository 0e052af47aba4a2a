"""Decides which changes need a second person: what takes control away, and what writes at high risk.

Publishing asks it with the difference to what is in force. A removed or weakened approval, a lowered
tier, and a new or changed write of tier 3 or 4 are of high risk; then the author is not the publisher. So is
a policy bundle that may demand less than the one in force: a rule that is gone, asks less or fires at other
times. The first bundle is not, because a policy only ever adds to what definitions ask.
Pure: who the author is, and whether two people are there at all, is the office's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from topstitch.governance.bundle import TIERS, Bundle, Compiled
from topstitch.governance.obligations import AUTO
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


def why_two_for_policy(old: Bundle | None, new: Bundle) -> tuple[str, ...]:
    """Return why a bundle needs a second person in the place of ``old``; nothing when it only tightens."""
    return tuple(_loosened(old, new)) if old is not None else ()


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


def _loosened(old: Bundle, new: Bundle) -> Iterator[str]:
    after = {one.rule.id: one for one in (*new.hard, *new.soft)}
    for was in (*old.hard, *old.soft):
        yield from _weaker(was, after.get(was.rule.id))
    for tier in TIERS:
        before, now = old.tiers.get(tier, AUTO), new.tiers.get(tier, AUTO)
        if not now.allows(before):
            yield f"tier {tier} asked for {before} and would ask for {now}"
    for name in ("refused", "unanswered"):
        before_end, end = getattr(old.asking, name), getattr(new.asking, name)
        if before_end != end:
            yield f"what is {name} led to '{before_end}' and would lead to '{end}'"


def _weaker(was: Compiled, now: Compiled | None) -> Iterator[str]:
    sort = "hard rule" if was.rule.hard else "rule"
    if now is None:
        yield f"the {sort} {was.rule.id} is gone"
    elif was.rule.hard and not now.rule.hard:
        yield f"the hard rule {was.rule.id} would deny no longer, and a person could release what it denied"
    elif not was.rule.hard and not now.rule.hard and not now.ruling.allows(was.ruling):
        yield f"the rule {was.rule.id} asked for {was.ruling} and would ask for {now.ruling}"
    if now is not None and was.rule.when != now.rule.when:
        yield f"the {sort} {was.rule.id} fired when {was.rule.when} and would fire when {now.rule.when}"


def _takes_control_away(change: Change) -> bool:
    return change.level is Level.MAJOR and change.path[2:3] in (("approval",), ("risk",))


_HARMLESS: Final = frozenset((name,) for name in _WORDS_ONLY)


def _writes(step: StepPlan) -> str:
    return f"'{step.title}' writes with risk {step.risk}"
