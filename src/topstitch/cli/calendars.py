"""Commands on calendars: working hours, holidays, absences and change freezes of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import WAITING, Door, command_of, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON
from topstitch.cli.screen import counted
from topstitch.foundation.errors import RequestError

if TYPE_CHECKING:
    from topstitch.settings import Settings


@click.group(cls=Group)
def calendars() -> None:
    """List or load calendars: working hours, holidays, absences and change freezes."""


@command_of(calendars, "list")
def list_calendars(door: Door) -> None:
    """List the calendar of each environment, and what holds now."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.governance.calendar import read_calendar
    from topstitch.office import calendars as office
    from topstitch.store import calendars as kept_calendars

    async with desk(door.settings()) as here:
        kept, now = await kept_calendars.every(here.store), here.now()
    rows, documents = [], []
    for one in kept:
        calendar = read_calendar(one.document, f"the calendar of {one.environment}")
        facts, away = calendar.facts(now), sorted(calendar.absent(now))
        freeze = f"until {at(facts['freeze_ends'])}: {facts['freeze_because']}" if facts["freeze"] else ""
        open_now = "open" if facts["working_hours"] else "closed"
        rows.append(
            (one.environment, calendar.zone, open_now, freeze, ", ".join(away), at(one.loaded_at), one.loaded_by)
        )
        documents.append(office.shown(one, now))
    door.screen.data({"items": documents})
    columns = ("environment", "zone", "is", "frozen", "away", "loaded", "by")
    door.screen.table(columns, rows, "There is no calendar, so people are there at all hours and nothing is frozen.")


@command_of(calendars, "load")
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@PERSON
@click.option("--pending", is_flag=True, help="List what waits for a second person.")
@click.option("--agree", metavar="DIGEST", help="Put in force what somebody else loaded.")
@click.option("--withdraw", metavar="DIGEST", help="Take back what waits.")
def load(door: Door, file: Path | None, person: str | None, **wanted: Any) -> None:
    """Put a calendar in force in this environment, in the place of the one before.

    One that ends a change freeze earlier, or moves working hours that the policy asks for, waits until another
    publisher agrees.
    """
    settings = door.settings(person=person)
    if wanted["pending"] or wanted["agree"] or wanted["withdraw"]:
        door.run(_second_person(door, settings, agree=wanted["agree"], withdraw=wanted["withdraw"]))
        return
    if file is None:
        raise RequestError("no-file", "name the calendar FILE to load, or use --pending, --agree or --withdraw")
    if door.run(_load(door, settings, file, _text(file))):
        fail(WAITING)


def _text(file: Path) -> str:
    from topstitch.foundation.errors import OperatorError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise OperatorError("calendar", f"{file} cannot be read ({reason}); name a calendar file") from None


async def _load(door: Door, settings: Settings, file: Path, text: str) -> bool:
    """Load it; return whether it waits."""
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.model.record import parse_actor
    from topstitch.office import calendars as office
    from topstitch.office.publishing import wants_four_eyes

    where = settings.environment
    async with desk(settings) as here:
        done = await office.load(
            here.store,
            text,
            str(file),
            environment=where,
            by=parse_actor((await speaking(settings, here.store)).actor),
            at=here.now(),
            four_eyes=await wants_four_eyes(here.store, settings.four_eyes),
        )
    freezes, absences = len(done.calendar.freezes), len(done.calendar.absences)
    door.screen.data({"environment": where, "digest": done.digest, "freezes": freezes, "waits": list(done.waits)})
    if not done.waits:
        said = f"{done.calendar.zone}, {counted(freezes, 'freeze')}, {counted(absences, 'absence')}"
        door.screen.print(f"The calendar of {where} is {file.name}: {said}.")
        return False
    door.screen.print("It needs a second person, because")
    for reason in done.waits:
        door.screen.print(f"  {reason}")
    short = done.digest.removeprefix("sha256:")[:12]
    door.screen.print(
        "Until then the calendar in force stays. Another publisher agrees with: topstitch calendars load "
        f"--agree {short}"
    )
    return True


async def _second_person(door: Door, settings: Settings, *, agree: str | None, withdraw: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.office import calendars as office
    from topstitch.store import calendars as kept_calendars

    where = settings.environment
    async with desk(settings) as here:
        if agree is not None:
            done = await office.agree(here.store, agree, where, await speaking(settings, here.store), here.now())
            door.screen.print(f"The calendar that {done.proposed_by} loaded is in force in {where}; you agreed.")
            return
        if withdraw is not None:
            await office.withdraw(here.store, withdraw, where, await speaking(settings, here.store), here.now())
            door.screen.print("It no longer waits.")
            return
        found = await kept_calendars.waiting(here.store)
    names = ("digest", "environment", "parent", "proposed_by", "because")
    door.screen.data({"items": [{name: getattr(one, name) for name in names} for one in found]})
    rows = [(p.digest.removeprefix("sha256:")[:12], p.environment, p.proposed_by, "; ".join(p.because)) for p in found]
    columns = ("proposal", "environment", "by", "because")
    door.screen.table(columns, rows, "Nothing waits for a second person.")
