"""Decides which changes need a second person: what takes control away, and what writes at high risk.

Publishing asks it with the difference to what is in force. A removed or weakened approval, a lowered
tier, and a new or changed write of tier 3 or 4 are of high risk; then the author is not the publisher. In
production every definition that is put in force is, because doing so is itself an act of tier 3. So is
a policy bundle that may demand less than the one in force: a rule that is gone, asks less or fires at other
times; and a calendar that ends a change freeze earlier, or moves the working hours that the policy in force asks
for. The first bundle is not, because a policy only ever adds to what definitions ask.
Pure: who the author is, and whether two people are there at all, is the office's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from topstitch.governance.bundle import TIERS, Bundle, Compiled
from topstitch.governance.calendar import Calendar, Freeze
from topstitch.governance.obligations import AUTO
from topstitch.language.diff import Change, Diff, Level
from topstitch.plan.plan import Plan, StepPlan

TIER: Final = 3
"""From this risk tier on, a write is of high risk."""
PRODUCTION: Final = "prod"
"""The environment in which putting a definition in force is an act of this tier, whatever it changes."""
_WORDS_ONLY: Final = frozenset({"title", "tell", "importance", "retry", "timeout", "expect"})
"""What may change on a step of high risk without changing what it writes, or when."""


def why_two(difference: Diff | None, plan: Plan, environment: str) -> tuple[str, ...]:
    """Return why a change needs a second person; nothing when it does not. Without a difference, it is the first."""
    if difference is None:
        reasons = [_writes(step) for step in plan.steps.values() if is_high(step)]
    else:
        reasons = list(dict.fromkeys(_reasons(difference, plan)))
    if environment == PRODUCTION:
        reasons.append(f"putting a definition in force in {environment} is an act of risk {TIER} itself")
    return tuple(reasons)


def why_two_for_policy(old: Bundle | None, new: Bundle) -> tuple[str, ...]:
    """Return why a bundle needs a second person in the place of ``old``; nothing when it only tightens."""
    return tuple(_loosened(old, new)) if old is not None else ()


def why_two_for_calendar(old: Calendar, new: Calendar, now: datetime, *, reads_hours: bool) -> tuple[str, ...]:
    """Return why a calendar needs a second person in the place of ``old``; what is past weakens nothing.

    ``reads_hours`` says whether the policy in force asks for working hours.
    """
    return tuple(_thawed(old, new, now, reads_hours=reads_hours))


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


def _thawed(old: Calendar, new: Calendar, now: datetime, *, reads_hours: bool) -> Iterator[str]:
    for freeze in old.freezes:
        left = _uncovered(max(freeze.starts_at, now), freeze.ends_at, new.freezes)
        if left is not None:
            until, thawed = (f"{one.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for one in (freeze.ends_at, left))
            yield f"the change freeze '{freeze.because}' until {until} would not hold at {thawed}"
    hours = [(one.zone, one.hours, one.holidays, one.country) for one in (old, new)]
    if reads_hours and hours[0] != hours[1]:
        yield "the policy in force asks for working hours, and they would be others"


def _uncovered(at: datetime, end: datetime, freezes: Iterable[Freeze]) -> datetime | None:
    """Return the first moment from ``at`` to ``end`` that no freeze covers."""
    for freeze in sorted(freezes, key=lambda one: one.starts_at):
        if freeze.starts_at <= at < freeze.ends_at:
            at = freeze.ends_at
    return at if at < end else None


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
