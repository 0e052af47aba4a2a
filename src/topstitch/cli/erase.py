"""Commands that forget a person, and legal holds that forbid it.

An erasure ends in a receipt on standard output: with its salt the commitment in the records names the person again,
so whoever must prove the erasure keeps it, and nobody else.
"""

from __future__ import annotations

from typing import Any, Final

import click

from topstitch.cli.command import Door, command, command_of
from topstitch.cli.evidence import PERSON, actor_of
from topstitch.cli.groups import Group


@command("erase")
@click.argument("subject", metavar="SUBJECT")
@click.option("--ground", required=True, metavar="TEXT", help="The legal ground, such as GDPR Art. 17(1)(a).")
@PERSON
def erase(door: Door, subject: str, ground: str, person: str | None) -> None:
    """Forget a person in every ended instance. The records stay and still verify; the values can never be read again.

    A legal hold, or an instance that still needs the values, forbids it.
    """
    door.run(_erase(door, subject, ground, person))


async def _erase(door: Door, subject: str, ground: str, person: str | None) -> None:
    from topstitch.audit.erase import erase as forget
    from topstitch.cli.desk import desk
    from topstitch.foundation.timetext import rfc3339

    async with desk(door.settings()) as here:
        done = await forget(here.store, subject, ground=ground, actor=actor_of(door, person), now=here.now())
    door.screen.data(
        {
            "subject": done.subject,
            "ground": done.ground,
            "at": rfc3339(done.at),
            "instances": list(done.instances),
            "records": done.values,
            "events": done.events,
            "salt": done.salt,
            "scrubbed": done.scrubbed,
        }
    )
    door.screen.print(
        f"{door.screen.mark('ok')} Erased {done.subject}: values in {done.values} records of {len(done.instances)} "
        f"instances, {done.events} events."
    )
    door.screen.print(f"Receipt: salt {done.salt} at {rfc3339(done.at)}. Keep it where erasures are proved.")
    door.screen.note("Backups hold what they held until they expire.")
    if not done.scrubbed:
        door.screen.note(
            f"{door.screen.mark('warn')} The database file still holds deleted pages, because it was being read or is "
            "large: stop topstitch, then run VACUUM on it."
        )


@click.group("hold", cls=Group)
def hold() -> None:
    """Place, lift or list legal holds: while one is there, a person may not be erased."""


@command_of(hold, "place")
@click.argument("subject", metavar="SUBJECT")
@click.option("--ground", required=True, metavar="TEXT", help="Why, such as the matter's number.")
@PERSON
def place(door: Door, subject: str, ground: str, person: str | None) -> None:
    """Forbid to erase a person until the hold is lifted."""
    door.run(_place(door, subject, ground, person))


async def _place(door: Door, subject: str, ground: str, person: str | None) -> None:
    from topstitch.audit.erase import place_hold
    from topstitch.cli.desk import desk

    async with desk(door.settings()) as here:
        made = await place_hold(here.store, subject, ground=ground, actor=actor_of(door, person), now=here.now())
    door.screen.data(_plain(made))
    door.screen.print(f"{door.screen.mark('ok')} {made.id}: {made.subject} may not be erased ({made.ground})")


@command_of(hold, "lift")
@click.argument("name", metavar="HOLD")
@click.option("-m", "--reason", "--because", "because", required=True, metavar="TEXT", help="Why.")
@PERSON
def lift(door: Door, name: str, because: str, person: str | None) -> None:
    """Allow again what a hold forbade."""
    door.run(_lift(door, name, because, person))


async def _lift(door: Door, name: str, because: str, person: str | None) -> None:
    from topstitch.audit.erase import lift_hold
    from topstitch.cli.desk import desk

    async with desk(door.settings()) as here:
        await lift_hold(here.store, name, because=because, actor=actor_of(door, person), now=here.now())
    door.screen.data({"id": name, "lifted": True})
    door.screen.print(f"{door.screen.mark('ok')} {name} is lifted")


@command_of(hold, "list")
@click.option("--all", "every", is_flag=True, help="Lifted ones too.")
def list_holds(door: Door, *, every: bool) -> None:
    """List legal holds, oldest first."""
    door.run(_list(door, every=every))


async def _list(door: Door, *, every: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import erasing

    async with desk(door.settings()) as here:
        found = [one for one in await erasing.holds(here.store) if every or one.lifted_at is None]
    door.screen.data({"items": [_plain(one) for one in found]})
    rows = [(h.id, h.subject, h.ground, h.placed_by, at(h.placed_at), at(h.lifted_at)) for h in found]
    door.screen.table(("hold", "person", "ground", "placed by", "at", "lifted"), rows, "There is no legal hold.")


def _plain(one: Any) -> dict[str, Any]:
    from topstitch.foundation.timetext import rfc3339

    return {
        "id": one.id,
        "subject": one.subject,
        "ground": one.ground,
        "placed_at": rfc3339(one.placed_at),
        "placed_by": one.placed_by,
        "lifted_at": rfc3339(one.lifted_at) if one.lifted_at else None,
        "lifted_by": one.lifted_by,
    }


COMMANDS: Final[tuple[click.Command, ...]] = (erase, hold)
