"""Decides who is not looked for as an approver: who is away, and who stands in for somebody who may not decide.

``bootstrap`` asks before it looks people up, so that a manager who is passed over is passed over for
whoever is above. Whoever is away but has a stand-in is asked as ever: the stand-in answers.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from topstitch.governance.duties import folded
from topstitch.governance.policy import Law
from topstitch.model.orders import ResolveCall


def away(law: Law, now: datetime) -> tuple[str, ...]:
    """Return who is not there and has nobody who stands in."""
    represented = {folded(grant.grantor) for grant in law.delegations if grant.holds(now)}
    return tuple(sorted(law.calendar.absent(now) - represented))


def with_stand_ins(call: ResolveCall, law: Law, now: datetime) -> ResolveCall:
    """Return the call with those excluded as well who act for somebody it excludes."""
    barred = {folded(one) for one in call.exclude}
    more = [one.delegate for one in law.delegations if one.holds(now) and folded(one.grantor) in barred]
    return replace(call, exclude=(*call.exclude, *more)) if more else call
