"""Commands by which an operator acts on one instance: retry, skip, pause, resume, cancel, edit, reassign.

Each is recorded with actor and reason before anything follows from it, and judged by the
instance as it is at that moment: when it moved on meanwhile, it is looked at again. What
cannot be done says why, and what can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from topstitch.cli.command import Door, command
from topstitch.cli.typed import changed

PERSON = click.option("--as", "person", metavar="PERSON", help="Who acts. [the person setting, or your user name]")
QUERY = click.option(
    "-q", "--query", default="", metavar="QUERY", help="Only of instances that match, such as 'older:2h priya'."
)
REASON = click.option("-m", "--reason", required=True, metavar="TEXT", help="Why; kept in the journal.")


def add_to(group: click.Group) -> None:
    """Add the commands to the group of instances."""
    for made in (retry, skip, pause, resume, cancel, edit, reassign):
        group.add_command(made)


@command("retry")
@click.argument("name", metavar="INSTANCE")
@click.option("--step", metavar="STEP", help="The step to retry. [the context reads that failed]")
@click.option("--set", "changes", multiple=True, metavar="FIELD=JSON", help="Put this into the step's payload first.")
@REASON
@PERSON
def retry(door: Door, name: str, step: str | None, changes: Sequence[str], reason: str, person: str | None) -> None:
    """Try a step again that came to nothing, and what was not run because of it."""
    values = dict(map(changed, changes)) if changes else None
    door.run(_act(door, name, person, {"name": "retry", "reason": reason, "step": step, "input": values}))


@command("skip")
@click.argument("name", metavar="INSTANCE")
@click.option("--step", required=True, metavar="STEP", help="The step to leave out.")
@REASON
@PERSON
def skip(door: Door, name: str, step: str, reason: str, person: str | None) -> None:
    """Leave a step out that has left nothing behind; what needs it is not run."""
    door.run(_act(door, name, person, {"name": "skip", "reason": reason, "step": step}))


@command("pause")
@click.argument("name", metavar="INSTANCE")
@REASON
@PERSON
def pause(door: Door, name: str, reason: str, person: str | None) -> None:
    """Start nothing more until it is resumed; what is under way lands."""
    door.run(_act(door, name, person, {"name": "pause", "reason": reason}))


@command("resume")
@click.argument("name", metavar="INSTANCE")
@REASON
@PERSON
def resume(door: Door, name: str, reason: str, person: str | None) -> None:
    """Go on where it was paused; what fell due meanwhile follows at once."""
    door.run(_act(door, name, person, {"name": "resume", "reason": reason}))


@command("cancel")
@click.argument("name", metavar="INSTANCE")
@click.option("--rollback", "choice", flag_value="rollback", help="Take back what is done.")
@click.option("--stop", "choice", flag_value="stop", help="Keep what is done and start nothing new.")
@REASON
@PERSON
def cancel(door: Door, name: str, choice: str | None, reason: str, person: str | None) -> None:
    """End an instance: take back what is done, or keep it."""
    door.run(_act(door, name, person, {"name": "cancel", "reason": reason, "choice": choice}))


@command("edit")
@click.argument("name", metavar="INSTANCE")
@click.argument("change", metavar="PATH=JSON")
@REASON
@PERSON
def edit(door: Door, name: str, change: str, reason: str, person: str | None) -> None:
    """Change process data such as trigger.location; an approval of the old payload is void."""
    path, value = changed(change)
    door.run(_act(door, name, person, {"name": "edit", "reason": reason, "path": path, "value": value}))


@command("reassign")
@click.argument("name", metavar="INSTANCE")
@click.argument("item", metavar="APPROVAL-OR-TASK")
@click.option("--to", required=True, metavar="PERSON", help="Whose it is from now on: an address.")
@REASON
@PERSON
def reassign(door: Door, name: str, item: str, to: str, reason: str, person: str | None) -> None:
    """Give an open approval or task to somebody else, who is told."""
    door.run(given_to(door, name, item, to, reason, person))


async def given_to(door: Door, name: str, item: str, to: str, reason: str, person: str | None) -> None:
    """Give an open approval or task of an instance to somebody else."""
    people = ({"id": to, "email": to, "for": "reassigned"},)
    await _act(door, name, person, {"name": "reassign", "reason": reason, "item": item, "people": people})


async def _act(door: Door, name: str, person: str | None, wanted: Mapping[str, Any]) -> None:
    from topstitch.cli.desk import desk
    from topstitch.execution.operate import Command
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with desk(settings) as here:
        identity = await here.named(name)
        wish = Command(**wanted)
        record = await here.operate(identity, wish, parse_actor(settings.person))
    door.screen.data({"instance": identity, "command": wish.name, "actor": str(record.actor), "seq": record.seq})
    door.screen.print(f"{wish.name.capitalize()} recorded for {identity}, by {record.actor.id}: {wish.reason}")
    door.screen.note("Follow it with: " + door.typed(f"instance watch {identity}"))
