"""Records what an agent proposes, once its limits of the day allow it: the door for agents, whoever calls.

Command line, API and tools for models call ``propose``. What an agent has used up is counted from the
journal, so that no counter can be forgotten or set back. Policy decides what becomes of a proposal,
and nothing here or there reads what a model or a payload says as an instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from topstitch.execution.begin import rendered
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import NotFoundError
from topstitch.foundation.money import add_money
from topstitch.governance.agents import Proposal, Spent, decided_by, require_proposal
from topstitch.governance.duties import presentable
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Record
from topstitch.office.desk import Desk, Picture
from topstitch.office.standing import agents_of
from topstitch.plan.plan import StepPlan
from topstitch.store import Store, deciding, instances

REMEMBERED_DAYS: Final = 30
"""How long what people refused is not asked again."""
LOOKED_AT_MAX: Final = 500
"""How many proposals are looked back on."""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent wants: a step that came to nothing tried again, with these values put into its payload."""

    agent: str
    step: str
    model: str
    prompt_digest: str
    inputs_digest: str
    reason: str
    input: Mapping[str, Any] | None = None
    confidence_percent: int = 0


async def propose(desk: Desk, instance: str, repair: Repair) -> Record:
    """Record a proposal; raise when the agent may not make it. Whether it goes ahead, policy decides at the retry."""
    seen = await desk.picture(instance)
    step_plan = _step(seen, repair.step)
    agent = (await agents_of(desk.store)).get(repair.agent)
    proposal = _proposal(seen, step_plan, repair)
    used = await spent(desk.store, repair.agent, desk.now())
    require_proposal(agent, proposal, used)
    assert agent is not None  # or else it was refused
    said = {**proposal.body(), **decided_by(agent, proposal, used, seen.state.rates)}
    command = Command(
        name="retry",
        step=repair.step,
        input=repair.input,
        reason=presentable(repair.reason) or "proposed",
        proposal=said,
    )
    return await desk.operate(instance, command, Actor(ActorKind.AGENT, repair.agent))


async def spent(store: Store, agent: str, now: datetime) -> Spent:
    """Count from the journal what an agent has used up today, and what of it people have refused lately."""
    places = await deciding.proposed_since(store, agent, now - timedelta(days=REMEMBERED_DAYS), LOOKED_AT_MAX)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    money: list[str] = []
    asks, refused = 0, set()
    for name in dict.fromkeys(name for name, _ in places):
        records = await instances.records(store, name)
        for at, made in enumerate(records):
            if made.kind != Kind.OPERATOR_COMMANDED or made.actor != Actor(ActorKind.AGENT, agent):
                continue
            followed = _followed(records[at + 1 :], made.step)
            today = made.at >= midnight
            proposal = made.body.get("proposal", {})
            if today and "auto" in followed and proposal.get("amount"):
                money.append(str(proposal["amount"]))
            asks += today and "asked" in followed
            if "refused" in followed:
                refused.add((str(proposal.get("action")), str(proposal.get("payload_digest"))))
    return Spent(money=tuple(money), asks=asks, refused=frozenset(refused))


def amount_of(payload: Any, schema: Mapping[str, Any]) -> str | None:
    """Return how much money a payload moves, as the action's own schema tells: its fields of money together.

    Amounts of several currencies cannot be added up: then it is no amount that any limit covers.
    """
    found = list(_amounts(payload, schema))
    if not found:
        return None
    try:
        return add_money(found)
    except ValueError:
        return ", ".join(found)


def _amounts(value: Any, schema: Mapping[str, Any]) -> Sequence[str]:
    if schema.get("format") == "money":
        return [value] if isinstance(value, str) else []
    if isinstance(value, Mapping):
        fields = schema.get("properties") or {}
        return [amount for name, part in value.items() for amount in _amounts(part, fields.get(name) or {})]
    if isinstance(value, list):
        return [amount for part in value for amount in _amounts(part, schema.get("items") or schema)]
    return []


def _step(seen: Picture, name: str) -> StepPlan:
    step = seen.plan.steps.get(name)
    if step is None:
        known = ", ".join(seen.plan.steps)
        raise NotFoundError("unknown-step", f"{seen.plan.workflow} has no step {name!r}; its steps are {known}")
    return step


def _proposal(seen: Picture, step_plan: StepPlan, repair: Repair) -> Proposal:
    step = seen.state.steps[step_plan.id]
    before = step.input if isinstance(step.input, dict) else {}
    payload = {**before, **repair.input} if repair.input is not None else rendered(seen.plan, step_plan, seen.state)
    action = step_plan.act.action.name if step_plan.act else ""
    schema = step_plan.act.action.input if step_plan.act else {}
    return Proposal(
        agent=repair.agent,
        action=f"{seen.plan.connector_of(step_plan.system)}.{action}",
        risk=step_plan.risk,
        payload_digest=digest(payload),
        model=repair.model,
        prompt_digest=repair.prompt_digest,
        inputs_digest=repair.inputs_digest,
        reason=presentable(repair.reason),
        confidence_percent=repair.confidence_percent,
        amount=amount_of(payload, schema),
    )


def _followed(after: Sequence[Record], step: str | None) -> set[str]:
    """Return what became of a proposal: ``auto``, ``asked``, ``refused``; up to the next command on its step."""
    found = set()
    for record in after:
        if record.step != step:
            continue
        match record.kind:
            case Kind.OPERATOR_COMMANDED:
                break
            case Kind.DECISION if record.body.get("outcome") == "auto":
                found.add("auto")
            case Kind.APPROVAL_ASKED:
                found.add("asked")
            case Kind.APPROVAL_CLOSED if record.body.get("ending") == "refused":
                found.add("refused")
            case _:
                pass
    return found
