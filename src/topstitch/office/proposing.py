"""Records what an agent proposes, once its limits of the day allow it: the door for agents, whoever calls.

Command line, API and tools for models call ``propose``. What an agent has used up is counted from the
journal, so that no counter can be forgotten or set back, and by one proposal at a time. Policy decides what
becomes of a proposal, and nothing here or there reads what a model or a payload says as an instruction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from topstitch.execution.begin import rendered
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.foundation.ids import random_bytes
from topstitch.foundation.money import add_money
from topstitch.governance.agents import Proposal, Spent, decided_by, require_proposal
from topstitch.governance.duties import presentable
from topstitch.governance.spending import Proposed, proposals_in, spent_by
from topstitch.model.record import Actor, ActorKind, Record
from topstitch.office.desk import Desk, Picture
from topstitch.office.standing import agents_of
from topstitch.plan.plan import StepPlan
from topstitch.store import Store, deciding, instances, turns
from topstitch.store.sealing import milliseconds

REMEMBERED_DAYS: Final = 30
"""How long what people refused is not asked again."""
LOOKED_AT_MAX: Final = 2_000
"""How many proposals are looked back on; where there are more, money needs a person."""
TURN_SECONDS: Final = 30
TURN_WAIT_SECONDS: Final = 0.02
TURN_TRIES_MAX: Final = 250


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
    async with _alone(desk, repair.agent):
        used = await spent(desk.store, repair.agent, desk.now())
        require_proposal(agent, proposal, used)
        assert agent is not None  # or else it was refused
        command = Command(
            name="retry",
            step=repair.step,
            input=repair.input,
            reason=presentable(repair.reason) or "proposed",
            proposal={**proposal.body(), **decided_by(agent, proposal, used, seen.state.rates)},
        )
        return await desk.operate(instance, command, Actor(ActorKind.AGENT, repair.agent))


async def spent(store: Store, agent: str, now: datetime) -> Spent:
    """Count from the journal what an agent has used up today, and what of it people have refused lately."""
    places = await deciding.proposed_since(store, agent, now - timedelta(days=REMEMBERED_DAYS), LOOKED_AT_MAX)
    made: list[Proposed] = []
    for name in dict.fromkeys(name for name, _ in places):
        made += proposals_in(await instances.records(store, name), agent)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return spent_by(made, midnight, whole=len(places) < LOOKED_AT_MAX)


@asynccontextmanager
async def _alone(desk: Desk, agent: str) -> AsyncIterator[None]:
    """Keep an agent's other proposals away: what is left of its limits is counted and used by one at a time.

    A process that dies here keeps them away no longer than its turn lasts.
    """
    owner, name = random_bytes(16).hex(), f"agent {agent}"
    for _ in range(TURN_TRIES_MAX):
        now = desk.now()
        until = milliseconds(now + timedelta(seconds=TURN_SECONDS))
        if await turns.take(desk.store, name, owner, milliseconds(now), until):
            break
        await asyncio.sleep(TURN_WAIT_SECONDS)
    else:
        raise ConflictError("agent-busy", f"{agent} is proposing something else at this moment; try again in a moment")
    try:
        yield
    finally:
        await turns.take(desk.store, name, owner, 0, 0)


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
