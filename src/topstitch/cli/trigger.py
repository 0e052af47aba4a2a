"""The command that sends an event, as a system would: into the database, or to a running server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command
from topstitch.cli.typed import TOKEN, event_of, sent
from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from topstitch.trigger.cloudevents import CloudEvent


@command("trigger")
@click.argument("event_type", metavar="EVENT")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="One field of the event; may be repeated.")
@click.option("--file", "source_file", metavar="FILE", help="The event's data as JSON; - reads standard input.")
@click.option(
    "--id", "identity", metavar="ID", help="The event's own id; the same id again starts nothing. [a new one]"
)
@click.option("--source", default="topstitch/cli", show_default=True, metavar="URI", help="Where it comes from.")
@click.option("--url", metavar="URL", help="Send it to a running server instead, with TOPSTITCH_TOKEN.")
def trigger(
    door: Door,
    event_type: str,
    fields: Sequence[str],
    source_file: str | None,
    identity: str | None,
    source: str,
    url: str | None,
) -> None:
    """Send an event such as workday.hire_completed. A running engine picks it up at once."""
    event = event_of(event_type, fields, source_file, identity, source)
    answer = door.run(_post(url, event) if url else _accept(door, event))
    door.screen.data(answer)
    if answer.get("duplicate"):
        door.screen.print(f"{event.id} was known already; it started nothing new.")
    for instance in answer["instances"]:
        door.screen.print(instance)
    if not answer["instances"]:
        door.screen.note(f"{event_type} was kept and starts nothing: no definition in force begins with it.")


async def _accept(door: Door, event: CloudEvent) -> dict[str, Any]:
    from topstitch.bootstrap.installation import open_installation
    from topstitch.cli.clocks import clock_of
    from topstitch.trigger.accept import accept_made

    settings = door.settings()
    async with open_installation(settings, clock=clock_of(settings), check_credentials=False, threads=False) as house:
        return (await accept_made(house.intake, event)).document()


async def _post(url: str, event: CloudEvent) -> dict[str, Any]:
    import aiohttp

    from topstitch.foundation.canonical import canonical_bytes, parse

    address = f"{url.rstrip('/')}/api/v1/events"
    headers = {"Content-Type": "application/cloudevents+json"}
    if token := os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(address, data=canonical_bytes(sent(event)), headers=headers) as answer,
        ):
            document: dict[str, Any] = parse(await answer.read())
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        message = f"{address} does not answer ({error}); start topstitch serve there, or correct --url"
        raise OperatorError("server-unreachable", message) from None
    if status >= 400:
        raise RequestError(document.get("code", "refused"), document.get("detail", "refused"), detail=document)
    return document
