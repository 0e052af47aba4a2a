"""Commands on agents: who answers for one, what it may propose, and switching it off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON


@click.group(cls=Group)
def agents() -> None:
    """List, add, disable or enable agents, and propose as one: what they may do, and who answers for them."""


@command_of(agents, "list")
def list_agents(door: Door) -> None:
    """List agents with their limits, and what they have used of them today."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from msgspec import to_builtins

    from topstitch.cli.desk import desk
    from topstitch.office.proposing import spent
    from topstitch.office.standing import agents_of

    async with desk(door.settings()) as here:
        known = await agents_of(here.store)
        used = {name: await spent(here.store, name, here.now()) for name in known}
    documents = [
        {**to_builtins(a), "today": {"asks": used[n].asks, "money": list(used[n].money)}} for n, a in known.items()
    ]
    door.screen.data({"items": documents})
    rows = [
        (
            one.id,
            "off" if one.off else "on",
            one.owner,
            str(one.max_tier),
            ", ".join(one.actions) or "nothing",
            f"{' + '.join(used[name].money) or '0'} of {one.money_per_day}",
            f"{used[name].asks} of {one.asks_per_day}",
        )
        for name, one in known.items()
    ]
    columns = ("agent", "is", "owner", "tier", "may propose", "money today", "asks today")
    door.screen.table(columns, rows, "There are no agents; topstitch agents add makes one.")


@command_of(agents, "add")
@click.argument("name", metavar="AGENT")
@click.option(
    "--owner", required=True, metavar="PERSON", help="Who answers for it, and never approves what it proposes."
)
@click.option("--tier", type=int, default=1, metavar="N", help="The highest risk tier that may go ahead alone. [1]")
@click.option(
    "--action", "actions", multiple=True, metavar="ACTION", help="What it may propose; may be repeated: slack.*"
)
@click.option("--money", default="0 USD", metavar="AMOUNT", help="How much may go ahead in a day alone. [0 USD]")
@click.option("--asks", type=int, default=20, metavar="N", help="How many approvals it may ask for in a day. [20]")
@PERSON
def add(
    door: Door, name: str, owner: str, tier: int, actions: Sequence[str], money: str, asks: int, person: str | None
) -> None:
    """Add an agent, or give it other limits. It may propose; it never approves or publishes."""
    limits = {
        "id": name.removeprefix("agent:"),
        "owner": owner,
        "max_tier": tier,
        "actions": actions,
        "money_per_day": money,
        "asks_per_day": asks,
    }
    door.run(_add(door, limits, person))


async def _add(door: Door, limits: Mapping[str, Any], person: str | None) -> None:
    from topstitch.bootstrap.entrance import entrance
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk
    from topstitch.governance.agents import Agent
    from topstitch.model.record import parse_actor
    from topstitch.office import deciding
    from topstitch.office.accounts import require_owner

    settings = door.settings(person=person)
    agent = Agent(**{**limits, "actions": tuple(limits["actions"])})
    async with desk(settings) as here:
        doubt = await require_owner(entrance(settings, here.store, clock_of(settings)), agent.owner)
        await deciding.set_agent(here.store, agent, parse_actor(settings.person), here.now())
    door.screen.data({"agent": agent.id, "owner": agent.owner})
    actions = ", ".join(agent.actions) or "nothing yet (name what with --action)"
    door.screen.print(f"{agent.id} may propose {actions}; {agent.owner} answers for it.")
    if doubt:
        door.screen.note(f"warning: {doubt}")


@command_of(agents, "disable")
@click.argument("name", metavar="AGENT")
@PERSON
def disable(door: Door, name: str, person: str | None) -> None:
    """Switch an agent off: from now on it may not even propose."""
    door.run(_switch(door, name, person, off=True))


@command_of(agents, "enable")
@click.argument("name", metavar="AGENT")
@PERSON
def enable(door: Door, name: str, person: str | None) -> None:
    """Switch an agent on again, with the limits it had."""
    door.run(_switch(door, name, person, off=False))


async def _switch(door: Door, name: str, person: str | None, *, off: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.office import deciding

    settings = door.settings(person=person)
    async with desk(settings) as here:
        agent = await deciding.switch_agent(
            here.store, name.removeprefix("agent:"), parse_actor(settings.person), here.now(), off=off
        )
    door.screen.data({"agent": agent.id, "off": agent.off})
    door.screen.print(f"{agent.id} is {'off: it may not even propose' if agent.off else 'on again'}.")


@command_of(agents, "propose")
@click.argument("instance", metavar="INSTANCE")
@click.option("--agent", "agent", required=True, metavar="AGENT", help="Who proposes.")
@click.option("--step", required=True, metavar="STEP", help="The step that came to nothing and is to be tried again.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=JSON", help="Put this into the step's payload.")
@click.option("--model", required=True, metavar="NAME", help="The model that proposes.")
@click.option("--prompt-digest", required=True, metavar="DIGEST", help="The digest of what it was asked.")
@click.option("--inputs-digest", required=True, metavar="DIGEST", help="The digest of what it was shown.")
@click.option("--confidence", type=int, default=0, metavar="PERCENT", help="How sure it says it is. [0]")
@click.option(
    "-m", "--reason", required=True, metavar="TEXT", help="What the model says; shown to people as its words."
)
def propose(door: Door, instance: str, changes: Sequence[str], **said: Any) -> None:
    """Propose a repair as an agent: policy decides whether it goes ahead or a person is asked."""
    from topstitch.cli.typed import changed

    door.run(_propose(door, instance, dict(map(changed, changes)), said))


async def _propose(door: Door, instance: str, changes: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    from topstitch.cli.desk import desk
    from topstitch.office.proposing import Repair, propose as record

    settings = door.settings()
    repair = Repair(
        agent=said["agent"].removeprefix("agent:"),
        step=said["step"],
        input=changes or None,
        model=said["model"],
        prompt_digest=said["prompt_digest"],
        inputs_digest=said["inputs_digest"],
        reason=said["reason"],
        confidence_percent=said["confidence"],
    )
    async with desk(settings) as here:
        name = await here.named(instance)
        made = await record(here, name, repair)
    door.screen.data({"instance": name, "step": repair.step, "agent": repair.agent, "seq": made.seq})
    door.screen.print(
        f"{repair.agent} has proposed to try {repair.step} again; policy decides whether a person is asked."
    )
