"""Commands on delegations: who stands in for whom, until when; granting one, and ending it early."""

from __future__ import annotations

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON


@click.group(cls=Group)
def delegations() -> None:
    """List, add or end delegations: who may answer for whom, and until when."""


@command_of(delegations, "list")
@click.option("--all", "every", is_flag=True, help="Ended ones too.")
def list_delegations(door: Door, *, every: bool) -> None:
    """List who stands in for whom, newest first."""
    door.run(_list(door, every=every))


async def _list(door: Door, *, every: bool) -> None:
    from msgspec import to_builtins

    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import deciding

    async with desk(door.settings()) as here:
        kept, now = await deciding.all_delegations(here.store), here.now()
    shown = [one for one in kept if every or (one.ended_at is None and now < one.ends_at)]
    door.screen.data({"items": [to_builtins(one) for one in shown]})
    rows = [
        (
            one.id,
            one.delegate,
            one.grantor + (f" in {one.group}" if one.group else ""),
            at(one.starts_at),
            at(one.ended_at or one.ends_at),
            one.granted_by.removeprefix("human:"),
            one.because,
        )
        for one in shown
    ]
    columns = ("delegation", "stands in", "for", "from", "until", "by", "why")
    door.screen.table(columns, rows, "Nobody stands in for anybody.")


@command_of(delegations, "add")
@click.option("--for", "grantor", required=True, metavar="PERSON", help="Who is away.")
@click.option("--to", "delegate", required=True, metavar="PERSON", help="Who may answer in their stead.")
@click.option("--until", required=True, metavar="TIME", help="When it ends: 2026-12-24, to its end, or a time.")
@click.option("--from", "begins", metavar="TIME", help="When it begins. [now]")
@click.option("--group", metavar="GROUP", help="Only what is asked of this group.")
@REASON
@PERSON
def add(
    door: Door,
    grantor: str,
    delegate: str,
    until: str,
    begins: str | None,
    group: str | None,
    reason: str,
    person: str | None,
) -> None:
    """Let somebody answer for somebody else, for a time. Who wants a write never releases it, for nobody."""
    door.run(_add(door, (grantor, delegate, group), (begins, until), reason, person))


async def _add(
    door: Door, who: tuple[str, str, str | None], when: tuple[str | None, str], reason: str, person: str | None
) -> None:
    from topstitch.bootstrap.entrance import entrance
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at, moment
    from topstitch.governance.duties import Delegation
    from topstitch.model.record import parse_actor
    from topstitch.office import deciding
    from topstitch.office.accounts import why_undecided

    settings = door.settings(person=person)
    async with desk(settings) as here:
        now = here.now()
        new = Delegation(
            grantor=who[0],
            delegate=who[1],
            group=who[2].removeprefix("group:") if who[2] else None,
            starts_at=moment(when[0], "--from") if when[0] else now,
            ends_at=moment(when[1], "--until", to_its_end=True),
        )
        made = await deciding.grant(here.store, new, parse_actor(settings.person), now, because=reason)
        doubt = await why_undecided(
            entrance(settings, here.store, clock_of(settings)), made.delegate, settings.code_tier_max
        )
    door.screen.data({"delegation": made.id, "grantor": made.grantor, "delegate": made.delegate, "by": made.granted_by})
    door.screen.print(f"{made.delegate} stands in for {made.grantor} until {at(made.ends_at)} ({made.id}).")
    if doubt:
        door.screen.note(f"warning: {doubt}")


@command_of(delegations, "end")
@click.argument("name", metavar="DELEGATION")
@PERSON
def end(door: Door, name: str, person: str | None) -> None:
    """End a delegation before its time."""
    door.run(_end(door, name, person))


async def _end(door: Door, name: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.office import deciding

    settings = door.settings(person=person)
    async with desk(settings) as here:
        ended = await deciding.end(here.store, name, parse_actor(settings.person), here.now())
    door.screen.data({"delegation": name, "by": ended.ended_by})
    door.screen.print(f"{ended.delegate} stands in for {ended.grantor} no more.")
