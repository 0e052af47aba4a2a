"""Commands on calendars: working hours, holidays, absences and change freezes of an environment."""

from __future__ import annotations

from pathlib import Path

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON


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
    from topstitch.store import deciding

    async with desk(door.settings()) as here:
        kept, now = await deciding.all_calendars(here.store), here.now()
    rows, documents = [], []
    for one in kept:
        calendar = read_calendar(one.document, f"the calendar of {one.environment}")
        facts, away = calendar.facts(now), sorted(calendar.absent(now))
        freeze = f"until {at(facts['freeze_ends'])}: {facts['freeze_because']}" if facts["freeze"] else ""
        open_now = "open" if facts["working_hours"] else "closed"
        rows.append(
            (one.environment, calendar.zone, open_now, freeze, ", ".join(away), at(one.loaded_at), one.loaded_by)
        )
        documents.append({"environment": one.environment, "zone": calendar.zone, "now": dict(facts), "absent": away})
    door.screen.data({"items": documents})
    columns = ("environment", "zone", "is", "frozen", "away", "loaded", "by")
    door.screen.table(columns, rows, "There is no calendar, so people are there at all hours and nothing is frozen.")


@command_of(calendars, "load")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@PERSON
def load(door: Door, file: Path, person: str | None) -> None:
    """Put a calendar in force in this environment, in the place of the one before."""
    door.run(_load(door, file, _text(file), person))


def _text(file: Path) -> str:
    from topstitch.foundation.errors import OperatorError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise OperatorError("calendar", f"{file} cannot be read ({reason}); name a calendar file") from None


async def _load(door: Door, file: Path, text: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.office import deciding

    settings = door.settings(person=person)
    async with desk(settings) as here:
        calendar = await deciding.load_calendar(
            here.store, text, str(file), settings.environment, parse_actor(settings.person), here.now()
        )
    counts = f"{len(calendar.freezes)} freezes, {len(calendar.absences)} absences"
    door.screen.data({"environment": settings.environment, "freezes": len(calendar.freezes)})
    door.screen.print(f"The calendar of {settings.environment} is {file.name}: {calendar.zone}, {counts}.")
