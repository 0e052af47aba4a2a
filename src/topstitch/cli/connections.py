"""Commands on connections and seams: what is paused and why, pausing, going on, and whether a system answers.

A pause holds calls back; it fails none of them. What waits goes on as soon as it is resumed, at the
rate of the connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.foundation.errors import ConflictError, NotFoundError, TopstitchError

if TYPE_CHECKING:
    from topstitch.connectors.connections import Connections
    from topstitch.connectors.registry import Registry
    from topstitch.settings import Settings


@click.group(cls=Group)
def connections() -> None:
    """List or test connections; pause or resume one, or a seam between two systems."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a system answered just now."""

    alias: str
    connector: str
    ok: bool
    says: str
    code: str | None = None
    duration_ms: int | None = None


@_connection_command("test")
@click.argument("names", metavar="[ALIAS]...", nargs=-1)
@PERSON
def test(door: Door, names: Sequence[str], person: str | None) -> None:
    """Ask each system whether it answers and takes the credential; nothing is written. Exit 1 when one does not."""
    found = door.run(_test(door.settings(person=person), names))
    items = [
        {"alias": o.alias, "connector": o.connector, "ok": o.ok, "code": o.code, "says": o.says, "ms": o.duration_ms}
        for o in found
    ]
    door.screen.data({"items": items})
    good, bad = door.screen.mark("ok", "answers"), door.screen.mark("bad", "does not")
    rows = [(one.alias, one.connector, good if one.ok else bad, one.says) for one in found]
    empty = "There are no connections; topstitch init makes some."
    door.screen.table(("connection", "connector", "is", "said"), rows, empty, wrap=True)
    if not all(one.ok for one in found):
        fail(FAILED)


async def _test(settings: Settings, names: Sequence[str]) -> list[Health]:
    from topstitch.connectors.connections import load_connections
    from topstitch.connectors.registry import Registry

    known = load_connections(settings.connections, check_credentials=False)  # what one lacks is said of that one
    for name in names:
        if name not in known.connections:
            message = f"there is no connection {name!r}; use one of: {', '.join(known.connections)}"
            raise NotFoundError("no-connection", message)
    await reveal(settings, known)
    registry = Registry(known)
    try:
        return [one async for one in healths(registry, names or tuple(known.connections))]
    finally:
        await registry.close()


async def healths(registry: Registry, aliases: Sequence[str]) -> AsyncIterator[Health]:
    """Ask systems, one after the other, whether they answer."""
    for alias in aliases:
        connector = registry.connections.connections[alias].connector
        try:
            outcome = await registry.health(alias)
        except TopstitchError as error:
            yield Health(alias=alias, connector=connector, ok=False, says=error.message, code=error.code)
            continue
        problem = outcome.problem
        yield Health(
            alias=alias,
            connector=connector,
            ok=problem is None,
            says=problem.message if problem else f"answers in {outcome.duration_ms} ms",
            code=problem.code if problem else None,
            duration_ms=outcome.duration_ms,
        )


async def reveal(settings: Settings, known: Connections) -> None:
    """Fill in the stored credentials, where connections refer to any and there is a database that holds them."""
    if not known.stored_names():
        return
    from topstitch.bootstrap.credentials import reveal_stored
    from topstitch.cli.desk import desk

    async with desk(settings) as here:
        await reveal_stored(here.store, known)


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
