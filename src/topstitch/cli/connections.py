"""Commands on connections and seams: what is paused and why, pausing, and going on.

A pause holds calls back; it fails none of them. What waits goes on as soon as it is resumed, at the
rate of the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.foundation.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from topstitch.connectors.connections import Connections
    from topstitch.settings import Settings


@click.group(cls=Group)
def connections() -> None:
    """List connections; pause or resume one, or a seam between two systems."""


def _connection_command(name: str, **rest: Any) -> Callable[[Callable[..., None]], click.Command]:
    def make(function: Callable[..., None]) -> click.Command:
        made = command(name, **rest)(function)
        connections.add_command(made)
        return made

    return make


@_connection_command("list")
def list_connections(door: Door) -> None:
    """List connections and paused seams, and why they are paused."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import ago
    from topstitch.foundation.timetext import rfc3339
    from topstitch.store import pauses

    settings = door.settings()
    async with desk(settings) as here:
        held = {pause.subject: pause for pause in await pauses.open_pauses(here.store)}
        now = here.now()
    known = {pauses.connection(alias): c.connector for alias, c in _known(settings).connections.items()}
    rows, documents = [], []
    for subject in [*known, *(s for s in held if s not in known)]:
        pause, name = held.get(subject), subject.partition(":")[2]
        mark = door.screen.mark("wait", "paused") if pause else door.screen.mark("ok", "open")
        since = ago(pause.opened_at, now) if pause else ""
        rows.append(
            (
                name,
                known.get(subject, subject.partition(":")[0]),
                mark,
                since,
                pause.opened_by if pause else "",
                pause.reason if pause else "",
            )
        )
        document: dict[str, Any] = {"subject": subject, "connector": known.get(subject), "paused": pause is not None}
        if pause is not None:
            document |= {
                "cause": pause.cause,
                "reason": pause.reason,
                "since": rfc3339(pause.opened_at),
                "by": pause.opened_by,
            }
        documents.append(document)
    door.screen.data({"items": documents})
    door.screen.table(
        ("connection", "connector", "is", "since", "by", "why"),
        rows,
        "There are no connections; topstitch init makes some.",
    )


@_connection_command("pause")
@click.argument("name", metavar="ALIAS-OR-SEAM")
@REASON
@PERSON
def pause(door: Door, name: str, reason: str, person: str | None) -> None:
    """Hold every call over a connection, or every crossing of a seam such as entra-id>servicenow.

    Work is held; people are still told what waits for them.
    """
    door.run(_pause(door, name, reason, person))


async def _pause(door: Door, name: str, reason: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.store import pauses

    settings = door.settings(person=person)
    subject = subject_of(settings, name)
    async with desk(settings) as here:
        made = await pauses.pause(here.store, subject, parse_actor(settings.person), here.now(), reason=reason)
    if made is None:
        raise ConflictError("already", f"{name} is paused already; topstitch connections list says why")
    door.screen.data({"subject": subject, "pause": made.id, "by": made.opened_by})
    door.screen.print(f"{name} is paused by {made.opened_by}: {reason}. Calls wait; none fails because of it.")


@_connection_command("resume")
@click.argument("name", metavar="ALIAS-OR-SEAM")
@REASON
@PERSON
def resume(door: Door, name: str, reason: str, person: str | None) -> None:
    """Let calls go on; what waits follows at once."""
    door.run(_resume(door, name, reason, person))


async def _resume(door: Door, name: str, reason: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.store import pauses

    settings = door.settings(person=person)
    subject = subject_of(settings, name)
    async with desk(settings) as here:
        done = await pauses.resume(here.store, subject, parse_actor(settings.person), here.now(), because=reason)
    door.screen.data({"subject": subject, "pause": done.id, "by": done.closed_by})
    door.screen.print(f"{name} goes on, by {done.closed_by}: {reason}. What waited follows at once.")


def subject_of(settings: Settings, name: str) -> str:
    """Return what is meant: a connection by its alias, or a seam by its two systems."""
    from topstitch.store import pauses

    before, arrow, after = name.partition(">")
    if arrow:
        return pauses.seam(before.strip(), after.strip())
    known = _known(settings).connections
    if known and name not in known:
        raise NotFoundError(
            "no-connection", f"there is no connection {name!r}; use one of: {', '.join(known)}, or two systems as a>b"
        )
    return pauses.connection(name)


def _known(settings: Settings) -> Connections:
    from topstitch.connectors.connections import Connections, load_connections

    if not settings.connections.exists():
        return Connections()
    return load_connections(settings.connections, check_credentials=False)
