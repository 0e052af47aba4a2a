"""Commands on alerts: what is open, one in full, taking one on, and telling nobody of one for a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.cli.screen import GAP
from topstitch.foundation.errors import NotFoundError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topstitch.cli.screen import Screen
    from topstitch.store import Store
    from topstitch.store.alarms import AlertRow

LEVELS: Final = {"crossed": "warn", "at_risk": "warn", "red": "bad", "paging": "bad", "breached": "bad"}
LISTED_MAX: Final = 200
LEVEL_WIDTH: Final = max(len(level) for level in LEVELS)
UNDER: Final = LEVEL_WIDTH + 2 + len(GAP)
"""How far what is said of an alert is set in: under its id, behind the level and its glyph."""


@click.group(cls=Group)
def alerts() -> None:
    """List alerts, take one on, or mute one with a reason and an end."""


@command_of(alerts, "list")
@click.option("--all", "also_over", is_flag=True, help="Also those that are over.")
@click.option("--workflow", metavar="NAME", help="Only this workflow.")
def list_alerts(door: Door, workflow: str | None, *, also_over: bool) -> None:
    """List what is alarming now: since when, at which seam, whose fault it looks like, who has taken it on."""
    door.run(_list(door, workflow, also_over=also_over))


async def _list(door: Door, workflow: str | None, *, also_over: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import retold
    from topstitch.metrics import render
    from topstitch.store import alarms
    from topstitch.store.sealing import milliseconds

    statuses = ("open", "cleared") if also_over else ("open",)
    async with desk(door.settings()) as here:
        found = await alarms.listing(here.store, statuses=statuses, workflow=workflow, limit=LISTED_MAX)
        muted = await alarms.mutes(here.store)
        now_ms = milliseconds(here.now())
    found = render.worst_first(found)
    door.screen.data({"items": render.alert_data(found, muted, now_ms)})
    rows = [tuple(map(retold, row)) for row in render.alert_rows(found, muted, now_ms)]
    if door.screen.width and rows:
        _blocks(door.screen, rows)
        return
    marked = [(row[0], _level(door.screen, row), *row[2:]) for row in rows]
    door.screen.table(render.ALERT_COLUMNS, marked, "Nothing is alarming.")


def _blocks(screen: Screen, rows: Sequence[Sequence[str]]) -> None:
    """Print an alert in a few lines, whole words and ids: eight columns fit no terminal."""
    from topstitch.metrics import render

    for row in rows:
        head, under = render.alert_block(row)
        screen.print(GAP.join([_level(screen, row) + " " * (LEVEL_WIDTH - len(row[1])), *head]))
        for line in under:
            _wrapped(screen, line, " " * UNDER)


def _level(screen: Screen, row: Sequence[str]) -> str:
    return screen.mark(LEVELS[row[1]], row[1].replace("_", " "))


def _wrapped(screen: Screen, line: str, indent: str = "") -> None:
    """Print a line; on a terminal, what does not fit goes on under it."""
    import textwrap

    if not screen.width:
        screen.print(indent + line)
        return
    hanging = indent + "  "
    whole = textwrap.wrap(
        line, screen.width, initial_indent=indent, subsequent_indent=hanging, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    for part in whole:
        screen.print(part)


@command_of(alerts, "show")
@click.argument("name", metavar="ALERT")
def show(door: Door, name: str) -> None:
    """Show one alert in full, and who was told of it."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import retold
    from topstitch.metrics import render
    from topstitch.store import alarms
    from topstitch.store.sealing import milliseconds

    async with desk(door.settings()) as here:
        row = await named(here.store, name)
        told = await alarms.messages_of(here.store, row.id)
        muted = [one for one in await alarms.mutes(here.store) if one.cause == row.cause]
        now_ms = milliseconds(here.now())
    (document,) = render.alert_data([row], muted, now_ms)
    door.screen.data({**document, "told": render.message_data(told)})
    for line in [*render.alert_page(row, [one for one in muted if one.ends_ms > now_ms]), *render.message_lines(told)]:
        _wrapped(door.screen, retold(line))


@command_of(alerts, "ack")
@click.argument("name", metavar="ALERT")
@click.option("--note", metavar="TEXT", help="What is being done.")
@PERSON
def ack(door: Door, name: str, note: str | None, person: str | None) -> None:
    """Take an alert on: others see that somebody has."""
    door.run(_ack(door, name, note, person))


async def _ack(door: Door, name: str, note: str | None, person: str | None) -> None:
    from topstitch.cli.watching import watching
    from topstitch.metrics import watch
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with watching(settings) as (here, watcher):
        row = await named(here.store, name)
        done = await watch.acknowledge(watcher, row.id, parse_actor(settings.person), here.now(), note)
    door.screen.data({"alert": done.id, "by": done.acknowledged_by, "note": done.note})
    door.screen.print(f"{done.id} is taken on by {done.acknowledged_by}." + (f" {done.note}" if done.note else ""))


@command_of(alerts, "mute")
@click.argument("name", metavar="ALERT")
@click.option("--for", "span", metavar="DURATION", required=True, help="How long, such as 2h or 1d.")
@REASON
@PERSON
def mute(door: Door, name: str, span: str, reason: str, person: str | None) -> None:
    """Tell nobody of an alert's cause for a time. The board shows it as before."""
    door.run(_mute(door, name, span, reason, person))


async def _mute(door: Door, name: str, span: str, reason: str, person: str | None) -> None:
    from topstitch.cli.watching import watching
    from topstitch.cli.when import at
    from topstitch.foundation.timetext import parse_duration, rfc3339
    from topstitch.metrics import watch
    from topstitch.model.record import parse_actor
    from topstitch.store.sealing import moment

    settings = door.settings(person=person)
    try:
        seconds = parse_duration(span)
    except ValueError as error:
        raise RequestError("bad-duration", str(error)) from None
    async with watching(settings) as (here, watcher):
        row, now = await named(here.store, name), here.now()
        until = now + timedelta(seconds=seconds)
        made = await watch.mute(watcher, row.id, parse_actor(settings.person), now, until=until, because=reason)
    ends = moment(made.ends_ms)
    door.screen.data({"alert": row.id, "by": made.muted_by, "until": rfc3339(ends), "because": made.because})
    door.screen.print(f"Nobody is told of {row.id} until {at(ends)}, by {made.muted_by}: {made.because}")


async def named(store: Store, beginning: str) -> AlertRow:
    """Return the one alert whose id begins so; open ones first."""
    from topstitch.store import alarms

    if not beginning:
        raise NotFoundError("no-alert", "name an alert; `topstitch alerts list` shows them")
    for statuses in (("open",), ("cleared",)):
        found = [r for r in await alarms.listing(store, statuses=statuses) if r.id.startswith(beginning)]
        if len(found) > 1 and beginning not in {row.id for row in found}:
            raise NotFoundError("id-unclear", f"more than one alert begins with {beginning!r}; type more of it")
        if found:
            return next((row for row in found if row.id == beginning), found[0])
    return await alarms.get(store, beginning)
