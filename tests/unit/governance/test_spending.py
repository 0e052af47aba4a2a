"""What agents use up: money counts while a proposal is open and once it goes ahead; it comes back from nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from topstitch.governance.agents import Agent, Proposal, Spent, decided_by
from topstitch.governance.spending import Proposed, proposals_in, spent_by
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Record, Stage

LIMIT = 1_000
FIXER = Agent(id="fixer", owner="dana", max_tier=2, actions=("*",), money_per_day=f"{LIMIT} USD", asks_per_day=99)
ME, ENGINE = Actor(ActorKind.AGENT, "fixer"), Actor(ActorKind.SYSTEM, "engine")
MORNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def record(kind: Kind, at: datetime = MORNING, *, actor: Actor = ENGINE, **body: Any) -> Record:
    return Record(
        instance="ins_1", seq=0, kind=kind, at=at, actor=actor, stage=Stage.EXECUTION, step="equipment", body=body
    )


def proposal(amount: int, number: int = 0) -> Proposal:
    return Proposal(
        agent="fixer", action="erp.order", risk=2, payload_digest=f"sha256:{number}", model="m", prompt_digest="p",
        inputs_digest="i", reason="", amount=f"{amount} USD",
    )  # fmt: skip


def proposed(amount: int, spent: Spent, at: datetime = MORNING, number: int = 0) -> Record:
    made = proposal(amount, number)
    said = {**made.body(), **decided_by(FIXER, made, spent)}
    return record(Kind.OPERATOR_COMMANDED, at, actor=ME, command="retry", proposal=said)


def used(*after: Record, at: datetime = MORNING) -> Spent:
    journal = [proposed(600, Spent()), *after]
    return spent_by(proposals_in(journal, "fixer"), at.replace(hour=0))


AUTO, ASKED = record(Kind.DECISION, outcome="auto"), record(Kind.APPROVAL_ASKED)


def closed(ending: str) -> Record:
    return record(Kind.APPROVAL_CLOSED, ending=ending)


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        ((), True),  # open: it may still go ahead
        ((AUTO,), True),
        ((AUTO, record(Kind.STEP_DONE)), True),
        ((AUTO, record(Kind.STEP_FAILED, effect="unknown")), True),
        ((AUTO, record(Kind.STEP_FAILED, effect="none")), False),
        ((ASKED,), True),  # asked anew, it may need nobody
        ((ASKED, closed("void")), True),
        ((ASKED, closed("refused")), False),
        ((ASKED, closed("approved"), record(Kind.STEP_DONE)), False),  # a person's, no longer the agent's
        ((ASKED, closed("unanswered"), record(Kind.STEP_DECLINED)), False),
        ((record(Kind.DECISION, outcome="deny"), record(Kind.STEP_DECLINED)), False),
        ((record(Kind.STEP_SKIPPED),), False),
        ((record(Kind.OPERATOR_COMMANDED, command="retry"), AUTO), False),  # somebody else's retry took its place
        ((record(Kind.ENDED),), False),
        ((AUTO, record(Kind.ENDED)), True),
    ],
)
def test_money_counts_while_open_and_once_it_went_ahead_and_never_for_nothing(
    after: tuple[Record, ...], counts: bool
) -> None:
    assert (used(*after).money == ("600 USD",)) is counts


def test_what_went_ahead_counts_on_its_day_and_what_is_open_on_every_day() -> None:
    tomorrow = MORNING + timedelta(days=1)
    assert used(AUTO, at=tomorrow).money == ()
    assert used(at=tomorrow).money == ("600 USD",)
    assert used(record(Kind.DECISION, tomorrow, outcome="auto"), at=tomorrow).money == ("600 USD",)


def test_two_that_are_open_are_not_both_within_a_limit_that_covers_one() -> None:
    first = proposed(600, Spent())
    second = proposed(600, spent_by(proposals_in([first], "fixer"), MORNING.replace(hour=0)))
    assert [one.body["proposal"]["within_limits"] for one in (first, second)] == [True, False]


def test_where_not_all_was_looked_at_no_money_is_covered() -> None:
    assert decided_by(FIXER, proposal(1), Spent(whole=False))["within_limits"] is False
    assert decided_by(FIXER, Proposal(**{**proposal(1).body(), "amount": None}), Spent(whole=False))["within_limits"]


class Days(RuleBasedStateMachine):
    """Proposals come and go; a ledger of our own says what went out, and how much may still go."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.journals, self.out = MORNING, list[list[Record]](), list[tuple[datetime, int]]()
        self.amounts: list[int] = []

    @rule(amount=st.integers(1, LIMIT + 200))
    def propose(self, amount: int) -> None:
        made = [one for journal in self.journals for one in proposals_in(journal, "fixer")]
        spent = spent_by(made, self.now.replace(hour=0))
        self.journals.append([proposed(amount, spent, self.now, len(self.journals))])
        self.amounts.append(amount)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), policy_asks=st.booleans())
    def decide(self, data: Any, policy_asks: bool) -> None:
        place = data.draw(st.sampled_from(self.waiting()))
        alone = self.journals[place][0].body["proposal"]["within_limits"] and not policy_asks
        if alone:
            self.out.append((self.now, self.amounts[place]))
            self.add(place, Kind.DECISION, outcome="auto")
        else:
            self.add(place, Kind.DECISION, outcome="approve")
            self.add(place, Kind.APPROVAL_ASKED)

    @precondition(lambda self: self.asking())
    @rule(data=st.data(), ending=st.sampled_from(["approved", "refused", "void", "unanswered"]))
    def answer(self, data: Any, ending: str) -> None:
        place = data.draw(st.sampled_from(self.asking()))
        self.add(place, Kind.APPROVAL_CLOSED, ending=ending)
        if ending == "unanswered":
            self.add(place, Kind.STEP_DECLINED, ending="unanswered")

    @precondition(lambda self: self.sent())
    @rule(data=st.data(), effect=st.sampled_from(["none", "applied", "unknown", "done"]))
    def settle(self, data: Any, effect: str) -> None:
        place = data.draw(st.sampled_from(self.sent()))
        if effect == "done":
            self.add(place, Kind.STEP_DONE)
            return
        self.add(place, Kind.STEP_FAILED, effect=effect)
        if effect == "none":
            at = next(one.at for one in self.journals[place] if one.body.get("outcome") == "auto")
            self.out.remove((at, self.amounts[place]))

    @rule(data=st.data())
    def end(self, data: Any) -> None:
        if self.journals:
            self.add(data.draw(st.sampled_from(range(len(self.journals)))), Kind.ENDED)

    @rule(hours=st.integers(1, 30))
    def pass_time(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @invariant()
    def never_above_the_limit(self) -> None:
        midnight = self.now.replace(hour=0)
        went = sum(amount for at, amount in self.out if at >= midnight)
        may_go = sum(self.amounts[place] for place in self.waiting() if self.within(place))
        assert went + may_go <= LIMIT
        counted = spent_by((o for j in self.journals for o in proposals_in(j, "fixer")), midnight)
        assert sum(Decimal(text.split()[0]) for text in counted.money) >= went + may_go

    def add(self, place: int, kind: Kind, **body: Any) -> None:
        self.journals[place].append(record(kind, self.now, **body))

    def within(self, place: int) -> bool:
        return bool(self.journals[place][0].body["proposal"]["within_limits"])

    def last(self, wanted: Callable[[Record], bool]) -> list[int]:
        return [place for place, journal in enumerate(self.journals) if wanted(journal[-1])]

    def waiting(self) -> list[int]:
        return self.last(lambda one: one.kind == Kind.OPERATOR_COMMANDED or one.body.get("ending") == "void")

    def asking(self) -> list[int]:
        return self.last(lambda one: one.kind == Kind.APPROVAL_ASKED)

    def sent(self) -> list[int]:
        return self.last(lambda one: one.body.get("outcome") == "auto")


Days.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_what_went_ahead_and_what_is_open_never_exceed_the_limit_together = Days.TestCase


def test_a_proposal_knows_what_became_of_it() -> None:
    (made,) = proposals_in([proposed(600, Spent()), ASKED, closed("refused")], "fixer")
    assert isinstance(made, Proposed)
    assert (made.asked, made.refused, made.is_open) == (True, True, False)
    assert list(proposals_in([proposed(600, Spent())], "another")) == []
