"""Records who decides beside the rules: a stand-in for a time, an agent with its limits.

Every door calls the same functions. Whether somebody may do it is asked at the door; an agent
never may. What may not be granted at all, ``governance`` says before anything is kept.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from topstitch.foundation.errors import NotFoundError, RequestError
from topstitch.foundation.money import parse_money
from topstitch.governance.agents import Act, Agent, require_agent_may
from topstitch.governance.delegations import require_grant
from topstitch.governance.duties import Delegation
from topstitch.model.record import Actor, ActorKind
from topstitch.office.standing import agents_of, delegations_of
from topstitch.store import Store, deciding
from topstitch.store.deciding import Granted

TIER_MAX = 4
ASKS_MAX = 1_000


async def grant(store: Store, new: Delegation, actor: Actor, now: datetime, *, because: str) -> Granted:
    """Let somebody answer for somebody else for a time; raise when that may not be granted."""
    _require_person(actor, Act.MANAGE_PEOPLE)
    if not because.strip():
        raise RequestError("no-reason", "a delegation is kept with its reason; say why with --reason")
    require_grant(new, await delegations_of(store), now)
    kept = Granted(
        id="",
        grantor=new.grantor,
        delegate=new.delegate,
        group=new.group,
        starts_at=new.starts_at,
        ends_at=new.ends_at,
        because=because,
        granted_at=now,
        granted_by=str(actor),
    )
    return await deciding.grant(store, kept, actor)


async def end(store: Store, name: str, actor: Actor, now: datetime) -> Granted:
    """End a delegation before its time."""
    _require_person(actor, Act.MANAGE_PEOPLE)
    return await deciding.end(store, name, actor, now)


async def set_agent(store: Store, agent: Agent, actor: Actor, now: datetime) -> None:
    """Keep an agent with its owner and limits, in the place of its former ones."""
    _require_person(actor, Act.MANAGE_PEOPLE)
    _require_limits(agent)
    document = msgspec.to_builtins(agent)
    del document["id"]
    await deciding.set_agent(store, agent.id, document, actor, now)


async def switch_agent(store: Store, name: str, actor: Actor, now: datetime, *, off: bool) -> Agent:
    """Switch an agent off, or on again; its limits stay."""
    agent = await the_agent(store, name)
    switched = msgspec.structs.replace(agent, off=off)
    await set_agent(store, switched, actor, now)
    return switched


async def the_agent(store: Store, name: str) -> Agent:
    """Return an agent by id."""
    known = await agents_of(store)
    if name not in known:
        raise NotFoundError("no-agent", f"there is no agent {name}; topstitch agents list names them")
    return known[name]


def _require_person(actor: Actor, act: Act) -> None:
    if actor.kind is ActorKind.AGENT:
        require_agent_may(str(actor), act)


def _require_limits(agent: Agent) -> None:
    if not agent.id or ":" in agent.id or agent.id.split() != [agent.id]:
        raise RequestError("agent-name", f"{agent.id!r} is no name for an agent; use letters, digits, - and _")
    if not agent.owner.strip():
        raise RequestError("agent-owner", f"{agent.id} needs an owner who answers for it; name one with --owner")
    if not 0 <= agent.max_tier <= TIER_MAX:
        raise RequestError("agent-tier", f"a tier is 0 (nothing alone) to {TIER_MAX}; give another --tier")
    if not 0 <= agent.asks_per_day <= ASKS_MAX:
        raise RequestError("agent-asks-many", f"an agent asks 0 to {ASKS_MAX} times a day; give another --asks")
    try:
        parse_money(agent.money_per_day)
    except ValueError as error:
        raise RequestError("agent-money", f"{error}; write --money as '500 USD'") from None
