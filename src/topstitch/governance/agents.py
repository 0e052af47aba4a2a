"""Decides what an agent may propose, and what of it needs a person: its owner, tier, actions, money and asks.

An agent is an actor that people answer for. It fills in a payload, picks a declared branch or
drafts a repair; that is data, checked like anybody's, and policy decides whether it goes ahead.
No agent approves or publishes, whatever a policy says. Nothing a payload or a model *says*
is read here: only who proposes, what, and for how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from topstitch.foundation.errors import NotAllowedError
from topstitch.foundation.money import NO_RATES, parse_money
from topstitch.governance.duties import Parties
from topstitch.governance.obligations import AUTO, Ruling, gate

REASON_LENGTH_MAX: Final = 2_000
"""Characters of a model's stated reason that are kept."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and its limits. Without an entry here, an agent may not even propose."""

    id: str
    owner: str
    """The person who answers for it, and who therefore never approves what it proposes."""
    max_tier: int = 1
    """The highest risk tier that may go ahead without a person."""
    actions: tuple[str, ...] = ()
    """What it may propose: ``servicenow.create_catalog_request``, ``slack.*``."""
    money_per_day: str = "0 USD"
    """How much of its proposals may go ahead in a day without a person; what is still open counts."""
    asks_per_day: int = 20
    """How many approvals its proposals may ask for in a day."""
    off: bool = False

    def may_propose(self, action: str) -> bool:
        """Whether ``connector.action`` is on its list."""
        return not self.off and any(fnmatchcase(action, pattern) for pattern in self.actions)


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent proposes for one step, and what the audit keeps of how it came to it."""

    agent: str
    action: str
    risk: int
    payload_digest: str
    model: str
    prompt_digest: str
    inputs_digest: str
    reason: str
    """What the model says. Shown to people as its words; read by no rule."""
    confidence_percent: int = 0
    amount: str | None = None
    """How much money the payload moves, as the action's schema tells, not as the agent says."""

    def body(self) -> dict[str, Any]:
        """Return the proposal as records hold it."""
        body: dict[str, Any] = {**msgspec.to_builtins(self), "reason": self.reason[:REASON_LENGTH_MAX]}
        return {name: value for name, value in body.items() if value is not None}


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent has used up today, counted from the journal."""

    money: tuple[str, ...] = ()
    """The amounts of what went ahead without a person, and of what may still."""
    asks: int = 0
    refused: frozenset[tuple[str, str]] = frozenset()
    """``(action, payload digest)`` of what people have refused: it is not asked again."""
    whole: bool = True
    """Whether everything was looked at; where it was not, no money is covered."""


class Act(StrEnum):
    """What an actor may want to do to the product itself."""

    PROPOSE = "propose"
    COMMENT = "comment"
    READ = "read"
    TRIGGER = "trigger"
    APPROVE = "approve"
    PUBLISH = "publish"
    CHANGE_POLICY = "change_policy"
    MANAGE_PEOPLE = "manage_people"
    MANAGE_SECRETS = "manage_secrets"
    DELETE = "delete"
    EXPORT_PERSONAL = "export_personal"


NEVER: Final = frozenset(Act) - {Act.PROPOSE, Act.COMMENT, Act.READ, Act.TRIGGER}
"""What no agent does, with whatever token."""


def require_agent_may(agent: str, act: Act) -> None:
    """Raise when ``act`` is for people alone."""
    if act in NEVER:
        raise NotAllowedError(
            "agent-never", f"{agent} may propose, and never {act.replace('_', ' ')}; a person has to do it"
        )


def require_proposal(agent: Agent | None, proposal: Proposal, spent: Spent) -> None:
    """Raise when a proposal is not even taken: off the list, asked too often, or refused before."""
    if agent is None:
        raise NotAllowedError(
            "agent-unknown", f"{proposal.agent} is no agent here; have an admin add it with an owner and limits"
        )
    if not agent.may_propose(proposal.action):
        remedy = "have its owner switch it on" if agent.off else "have an admin add the action to its list"
        raise NotAllowedError("agent-action", f"{agent.id} may not propose {proposal.action}; {remedy}")
    if (proposal.action, proposal.payload_digest) in spent.refused:
        raise NotAllowedError(
            "agent-refused", f"A person has refused exactly this of {agent.id}; propose something else"
        )
    if spent.asks >= agent.asks_per_day:
        raise NotAllowedError(
            "agent-asks",
            f"{agent.id} has used its {agent.asks_per_day} requests for approval of today; wait until tomorrow",
        )


def decided_by(agent: Agent, proposal: Proposal, spent: Spent, rates: Mapping[str, str] = NO_RATES) -> dict[str, Any]:
    """Return what policies read as ``decided_by``: who proposed, and whether that is within the agent's limits."""
    return {
        "kind": "agent",
        "id": agent.id,
        "owner": agent.owner,
        "max_tier": agent.max_tier,
        "within_limits": proposal.risk <= agent.max_tier and _affordable(agent, proposal, spent, rates),
        "confidence_percent": max(0, min(100, proposal.confidence_percent)),
        "model": proposal.model,
    }


def as_proposed(decided: Mapping[str, Any], payload_digest: str) -> Mapping[str, Any]:
    """Return what is read of a proposal when this payload is decided on: limits were judged for one payload only."""
    if decided.get("kind") != "agent" or decided.get("payload_digest") == payload_digest:
        return decided
    return {**decided, "within_limits": False}


def limits(decided: Mapping[str, Any]) -> Ruling:
    """Return what an agent's limits demand, whatever the policy says: past them, the owner of the process is asked."""
    if decided.get("kind") != "agent" or decided.get("within_limits") is True:
        return AUTO
    return gate("owner")


def with_proposer(parties: Parties, decided: Mapping[str, Any]) -> Parties:
    """Return who may not decide, with a proposing agent and the person who answers for it."""
    if decided.get("kind") != "agent":
        return parties
    named = parties.with_names("proposer", str(decided["id"]))
    return named.with_names("owner of the proposing agent", str(decided["owner"]))


def _affordable(agent: Agent, proposal: Proposal, spent: Spent, rates: Mapping[str, str]) -> bool:
    """Whether today's money still covers it; an amount that cannot be converted is not covered."""
    if proposal.amount is None:
        return True
    if not spent.whole:
        return False
    try:
        limit = parse_money(agent.money_per_day)
        total = sum((_in(limit.currency, amount, rates) for amount in (*spent.money, proposal.amount)), Decimal(0))
    except ValueError:
        return False
    return total <= limit.amount


def _in(currency: str, text: str, rates: Mapping[str, str]) -> Decimal:
    money = parse_money(text)
    if money.currency == currency:
        return abs(money.amount)
    pair = f"{money.currency}/{currency}"
    if pair not in rates:
        raise ValueError(f"no rate for {pair}")
    return abs(money.amount) * Decimal(rates[pair])
