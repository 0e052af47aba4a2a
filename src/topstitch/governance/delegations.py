"""Decides which delegations may be granted: dated, to a person, not passed on, and by whom.

The doors ask ``require_grant`` before anything is stored. That the delegate is nobody who wants the
write is asked at every answer (``duties``), because it is another person for each instance.
Whoever is away names one who is there: a chain of stand-ins ends with the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from topstitch.foundation.errors import ConflictError, RequestError
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.duties import Delegation, folded
from topstitch.model.record import ActorKind, parse_actor

DAYS_MAX: Final = 366
"""A delegation that is longer than a year is a change of office: name the other person in the directory."""
HELD_MAX: Final = 20
"""For how many people one person may stand in at a time."""


def require_grant(new: Delegation, known: Iterable[Delegation], now: datetime) -> None:
    """Raise unless ``new`` may be granted beside the ``known`` ones, saying what to do instead."""
    _require_people(new)
    _require_times(new, now)
    overlapping = [one for one in known if one.starts_at < new.ends_at and new.starts_at < one.ends_at]
    onward = next((one for one in overlapping if folded(one.grantor) == folded(new.delegate)), None)
    if onward is not None:
        raise ConflictError(
            "delegation-chain",
            f"{new.delegate} has a stand-in too until {rfc3339(onward.ends_at)}, and nobody stands in for a stand-in; "
            f"name {onward.delegate} or somebody else who is there",
        )
    back = next((one for one in overlapping if folded(one.delegate) == folded(new.grantor)), None)
    if back is not None:
        raise ConflictError(
            "delegation-chain",
            f"{new.grantor} stands in for {back.grantor} until {rfc3339(back.ends_at)}; end that one first, or give "
            f"{back.grantor} another stand-in",
        )
    if any(_same(one, new) for one in overlapping):
        raise ConflictError(
            "delegation-there", f"{new.delegate} stands in for {new.grantor} already then; end that one first"
        )
    if sum(1 for one in overlapping if folded(one.delegate) == folded(new.delegate)) >= HELD_MAX:
        raise ConflictError(
            "delegation-many", f"{new.delegate} stands in for {HELD_MAX} people already; name somebody else"
        )


def _require_people(new: Delegation) -> None:
    for name in (new.grantor, new.delegate):
        if not name.strip() or parse_actor(name).kind is not ActorKind.HUMAN:
            raise RequestError(
                "delegation-person", f"{name!r} is no person, and only people stand in for people; name one by id"
            )
    if folded(new.grantor) == folded(new.delegate):
        raise RequestError("delegation-self", f"{new.grantor} needs no stand-in for themselves; name somebody else")


def _require_times(new: Delegation, now: datetime) -> None:
    if new.ends_at <= max(new.starts_at, now):
        raise RequestError("delegation-end", "a delegation ends after it begins, and in the future; give another end")
    if new.ends_at - new.starts_at > timedelta(days=DAYS_MAX):
        raise RequestError(
            "delegation-long", f"a delegation lasts at most {DAYS_MAX} days; grant a shorter one, and again when needed"
        )


def _same(one: Delegation, other: Delegation) -> bool:
    return (folded(one.grantor), folded(one.delegate), one.group) == (
        folded(other.grantor),
        folded(other.delegate),
        other.group,
    )
