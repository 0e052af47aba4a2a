"""Agents: what they may propose, what of it needs a person, and what they never do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine
from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.agents import (
    NEVER,
    Act,
    Agent,
    Proposal,
    Spent,
    decided_by,
    limits,
    require_agent_may,
    require_proposal,
    with_proposer,
)
from topstitch.governance.duties import parties_of, why_excluded
from topstitch.governance.facts import DEFINITION_DECIDED
from topstitch.governance.obligations import AUTO, Ruling

FIXER = Agent(
    id="fixer",
    owner="dana",
    max_tier=2,
    actions=("servicenow.*", "slack.invite"),
    money_per_day="1000 USD",
    asks_per_day=3,
)
PROPOSAL = Proposal(
    agent="fixer",
    action="servicenow.create_catalog_request",
    risk=2,
    payload_digest="sha256:p",
    model="m-1",
    prompt_digest="sha256:q",
    inputs_digest="sha256:i",
    reason="The first order was lost.",
    confidence_percent=95,
)


NOTHING = Spent()


def demands(spent: Spent = NOTHING, rates: Any = None, **changes: Any) -> Ruling:
    return limits(decided_by(FIXER, replace(PROPOSAL, **changes), spent, rates or {}))


@pytest.mark.parametrize("act", [Act.APPROVE, Act.PUBLISH, Act.CHANGE_POLICY, Act.MANAGE_SECRETS, Act.DELETE])
def test_H14_an_agent_never_approves_or_publishes(act: Act) -> None:
    with pytest.raises(NotAllowedError, match="a person has to do it"):
        require_agent_may("fixer", act)


def test_H14_what_an_agent_may_do_is_a_closed_list() -> None:
    assert set(Act) - NEVER == {Act.PROPOSE, Act.COMMENT, Act.READ, Act.TRIGGER}
    for act in set(Act) - NEVER:
        require_agent_may("fixer", act)


@pytest.mark.parametrize(
    ("agent", "changes", "spent", "said"),
    [
        (None, {}, Spent(), "is no agent here"),
        (FIXER, {"action": "entra-id.create_user"}, Spent(), "may not propose entra-id.create_user"),
        (replace(FIXER, off=True), {}, Spent(), "have its owner switch it on"),
        (FIXER, {}, Spent(asks=3), "used its 3 requests for approval"),
        (FIXER, {}, Spent(refused=frozenset({(PROPOSAL.action, "sha256:p")})), "has refused exactly this"),
    ],
)
def test_a_proposal_that_is_not_even_taken(
    agent: Agent | None, changes: dict[str, Any], spent: Spent, said: str
) -> None:
    with pytest.raises(NotAllowedError, match=said):
        require_proposal(agent, replace(PROPOSAL, **changes), spent)


def test_a_proposal_within_the_list_and_the_budget_is_taken() -> None:
    require_proposal(FIXER, PROPOSAL, Spent(asks=2, refused=frozenset({(PROPOSAL.action, "sha256:other")})))
    require_proposal(FIXER, replace(PROPOSAL, action="slack.invite"), Spent())


def test_within_its_limits_policy_alone_decides_and_past_them_a_person_is_asked() -> None:
    assert demands() is AUTO
    assert str(demands(risk=3)) == "approve(owner)"
    assert demands(amount="1000.00 USD") is AUTO
    assert str(demands(amount="1000.01 USD")) == "approve(owner)"


def test_a_days_money_adds_up_in_one_currency_and_what_cannot_be_converted_is_not_covered() -> None:
    assert str(demands(Spent(money=("600 USD", "300 USD")), amount="101 USD")) == "approve(owner)"
    assert demands(Spent(money=("600 USD",)), amount="-400 USD") is AUTO
    assert str(demands(Spent(money=("900 USD",)), amount="-400 USD")) == "approve(owner)"
    assert str(demands(amount="1 EUR")) == "approve(owner)"
    assert demands(rates={"EUR/USD": "1.1"}, amount="900 EUR") is AUTO
    assert str(demands(rates={"EUR/USD": "1.1"}, amount="910 EUR")) == "approve(owner)"
    assert str(demands(amount="a lot")) == "approve(owner)"


def test_what_the_definition_decided_has_no_limits_of_an_agent() -> None:
    assert limits(DEFINITION_DECIDED) is AUTO
    assert str(limits({"kind": "agent"})) == "approve(owner)"


def test_A08_neither_the_agent_nor_its_owner_may_decide() -> None:
    state = PaperEngine(onboarding_plan(), Company().world()).begin(HIRE).state
    decided = decided_by(FIXER, PROPOSAL, Spent())
    parties = with_proposer(parties_of(state), decided)
    now = PaperEngine(onboarding_plan(), {}).clock.now()
    assert why_excluded({"id": "Dana"}, parties, (), now) == "owner of the proposing agent"
    assert why_excluded({"id": "agent:fixer"}, parties, (), now) == "proposer"
    assert with_proposer(parties_of(state), DEFINITION_DECIDED) == parties_of(state)


def test_H14_the_audit_keeps_model_digests_and_the_stated_reason_and_no_reason_is_endless() -> None:
    body = replace(PROPOSAL, reason="x" * 9000).body()
    assert set(body) >= {"agent", "model", "prompt_digest", "inputs_digest", "reason", "confidence_percent"}
    assert len(body["reason"]) == 2000
    assert "amount" not in body


def test_H14_confidence_is_a_percentage_whatever_the_model_says() -> None:
    assert decided_by(FIXER, replace(PROPOSAL, confidence_percent=900), Spent())["confidence_percent"] == 100
    assert decided_by(FIXER, replace(PROPOSAL, confidence_percent=-1), Spent())["confidence_percent"] == 0
