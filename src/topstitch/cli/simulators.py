"""The command that serves the simulated systems, and writes a data folder's connections to them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command
from topstitch.foundation.errors import OperatorError

if TYPE_CHECKING:
    from topstitch.settings import Settings

STATE_FILE = "simulators.db"


@command("simulators")
@click.option(
    "--port",
    type=click.IntRange(0, 65000),
    default=0,
    metavar="PORT",
    help="The first of the ports; 0 takes free ones.",
)
@click.option("--hook", metavar="URL", help="Where hires are notified. [the serve of this data folder]")
@click.option("--no-connections", is_flag=True, help="Leave the folder's connections.toml as it is.")
def simulators(door: Door, port: int, hook: str | None, *, no_connections: bool) -> None:
    """Serve Workday, Entra ID, ServiceNow, Salesforce, Slack and mail as they would answer."""
    from topstitch.cli.logs import start_log

    settings = door.settings()
    start_log("error")
    door.run(_serve(door, settings, port, hook, write=not no_connections))


async def _serve(door: Door, settings: Settings, port: int, hook: str | None, *, write: bool) -> None:
    from topstitch.cli.simulated import HOOK, write_connections
    from topstitch.simulators.host import KINDS, PortTakenError, Simulators

    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    names = [*KINDS, "email.smtp", "email.imap"]
    ports = {name: port + index for index, name in enumerate(names)} if port else {}
    address = hook or f"http://{settings.host}:{settings.port}/hooks/{HOOK}"
    try:
        async with Simulators(
            data=state_file(settings.data), ports=ports, settings={"workday": {"hook_url": address}}
        ) as sims:
            sims["workday"].configure({"hook_url": address})
            facts: dict[str, dict[str, Any]] = sims.facts()
            if write:
                door.screen.note(f"Wrote {write_connections(settings.data, facts)}")
            door.screen.data({"systems": {name: facts[name]["base_url"] for name in facts}, "hook": address})
            for name in facts:
                door.screen.print(f"{name:<12} {facts[name]['base_url']}")
            door.screen.note(
                "Hire somebody: curl -X POST "
                + facts["workday"]["base_url"]
                + "/_sim/hires -d '{}'   Stop with Ctrl-C."
            )
            await stopping.wait()
    except PortTakenError as error:
        raise OperatorError("port-in-use", str(error)) from None


def state_file(folder: Path) -> Path:
    """Return where the simulated systems of a data folder keep what they hold."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be made ({error.strerror}); choose another folder with --data"
        raise OperatorError("folder-unwritable", message) from None
    return folder / STATE_FILE
