"""Decides what an agent's proposals have used up of its limits, as the journals tell it.

``office.proposing`` hands in the journals that an agent has proposed in. Money counts while a proposal within
the limits is open, whatever day it was made, and on the day it goes ahead without a person. One that a
person releases, that is refused, or that ends without an effect gives its money back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from topstitch.governance.agents import Spent
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Record

_ENDS_STEP: Final = frozenset({Kind.STEP_DECLINED, Kind.STEP_NOT_RUN, Kind.STEP_SKIPPED})
_FAILS: Final = frozenset({Kind.STEP_FAILED, Kind.STEP_GIVEN_UP})
_RELEASED: Final = "approved"


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """One proposal and what became of it."""

    at: datetime
    action: str
    payload_digest: str
    amount: str | None
    within_limits: bool
    asked: bool = False
    refused: bool = False
    released: bool = False
    """A person approved it: what goes ahead then is theirs."""
    went_ahead_at: datetime | None = None
    """When it was decided that no person is needed."""
    over: bool = False
    """It ended without an effect, or something else took its place."""

    @property
    def is_open(self) -> bool:
        """Whether it may still go ahead without a person."""
        return not (self.over or self.refused or self.released) and self.went_ahead_at is None

    def takes_money(self, midnight: datetime) -> bool:
        """Whether its amount counts on the day that began at ``midnight``."""
        if not self.within_limits or self.amount is None or self.over:
            return False
        return self.is_open or (self.went_ahead_at is not None and self.went_ahead_at >= midnight)

    def takes_an_ask(self, midnight: datetime) -> bool:
        """Whether it counts as a request for an approval; until it is decided it may become one."""
        return self.at >= midnight and (self.asked or self.is_open)


def proposals_in(records: Sequence[Record], agent: str) -> Iterable[Proposed]:
    """Yield what an agent proposed in one instance, oldest first."""
    me = Actor(ActorKind.AGENT, agent)
    for place, record in enumerate(records):
        if record.kind == Kind.OPERATOR_COMMANDED and record.actor == me:
            yield _followed(record, records[place + 1 :])


def spent_by(proposals: Iterable[Proposed], midnight: datetime, *, whole: bool = True) -> Spent:
    """Return what proposals have used up of the day that began at ``midnight``; ``whole`` says that they are all."""
    made = list(proposals)
    return Spent(
        money=tuple(str(one.amount) for one in made if one.takes_money(midnight)),
        asks=sum(one.takes_an_ask(midnight) for one in made),
        refused=frozenset((one.action, one.payload_digest) for one in made if one.refused),
        whole=whole,
    )


def _followed(command: Record, after: Sequence[Record]) -> Proposed:
    body = command.body.get("proposal", {})
    made = Proposed(
        at=command.at,
        action=str(body.get("action")),
        payload_digest=str(body.get("payload_digest")),
        amount=body.get("amount"),
        within_limits=body.get("within_limits") is True,
    )
    for record in after:
        if record.kind == Kind.ENDED:
            return _ended(made)
        if record.step != command.step:
            continue
        if record.kind == Kind.OPERATOR_COMMANDED:
            return _ended(made)
        made = _next(made, record)
    return made


def _ended(made: Proposed) -> Proposed:
    """What had not gone ahead by then never will."""
    return msgspec.structs.replace(made, over=True) if made.is_open else made


def _next(made: Proposed, record: Record) -> Proposed:
    body, change = record.body, msgspec.structs.replace
    match record.kind:
        case Kind.DECISION if body.get("outcome") == "auto":
            return change(made, went_ahead_at=record.at)
        case Kind.APPROVAL_ASKED:
            return change(made, asked=True, went_ahead_at=None)
        case Kind.APPROVAL_CLOSED if body.get("ending") == "refused":
            return change(made, refused=True)
        case Kind.APPROVAL_CLOSED if body.get("ending") == _RELEASED:
            return change(made, released=True)
        case kind if kind in _ENDS_STEP:
            return change(made, over=True)
        case kind if kind in _FAILS and body.get("effect") == "none":
            return change(made, over=True)
        case _:
            return made
