"""The command that runs an installation: engine and event endpoint on one port, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import Door, command
from topstitch.foundation.process import settle_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from topstitch.access import Access
    from topstitch.bootstrap.installation import Installation
    from topstitch.settings import Settings

LOG: Final = logging.getLogger("topstitch.serve")


@command("serve")
@click.option("--host", metavar="ADDRESS", help="The address to listen on. [127.0.0.1]")
@click.option("--port", metavar="PORT", help="The port to listen on; 0 takes any free one. [8700]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [info]")
def serve(door: Door, host: str | None, port: str | None, log_level: str | None) -> None:
    """Run the engine and the event endpoint. SIGTERM or Ctrl-C finishes cleanly."""
    from topstitch.cli.logs import start_log

    settings = door.settings(host=host, port=port, log_level=log_level)
    start_log(settings.log_level)
    _faster_loop()
    door.run(_serve(door, settings))


async def _serve(door: Door, settings: Settings) -> None:
    from topstitch.access.guard import Guard
    from topstitch.api.app import make_app, refused
    from topstitch.api.rest import close
    from topstitch.bootstrap.auditing import sealing
    from topstitch.bootstrap.chatting import chat_of, chat_routes, chatting
    from topstitch.bootstrap.installation import open_installation
    from topstitch.bootstrap.measuring import Scrape, measuring, watcher_of
    from topstitch.bootstrap.webhooks import ByMail, sending
    from topstitch.cli.front import front
    from topstitch.cli.hosting import serving, take_port
    from topstitch.cli.programs import mounts, rest
    from topstitch.connectors.outgoing import Outgoing, read_networks

    stopping = asyncio.Event()
    _on_signals(stopping.set)
    listening = take_port(settings.host, settings.port)
    try:
        async with open_installation(settings) as house:
            house.ports.connectors.open_all()
            await _warm(house)
            chat = chat_of(house)
            scrape = Scrape(watcher_of(settings, house.ports.store, house.plans), house.clock)
            access = _access(house, settings)
            api = rest(house, settings, access.identify, origin=access.origin)
            app = make_app(
                house.intake,
                body_bytes_max=settings.body_kb_max * 1024,
                standing=lambda: standing(house),
                mounts=mounts(api),
                scrape=scrape,
                more=chat_routes(chat, house.clock),
                guard=Guard(identify=access.identify, refuse=refused, clock=house.clock, origin=access.origin),
            )
            doors = front(app, house, settings, access)
            async with serving(doors, listening) as port:
                _greet(door, settings, port, signs_in=await access.asks())
                async with (
                    sealing(settings, house.ports.store, house.clock),
                    measuring(house),
                    chatting(chat),
                    sending(
                        house.ports.store,
                        house.clock,
                        Outgoing(read_networks(settings.webhook_networks)),
                        ByMail(house.ports.store, house.ports.connectors),
                    ),
                ):
                    await run_engine(house, stopping)
                await close(api)
                doors.close()
    finally:
        listening.close()
    LOG.info("stopped; everything is where it was left")


def _access(house: Installation, settings: Settings) -> Access:
    """Return who knows the people here; the person of the settings only where nobody but this machine comes in."""
    from topstitch.bootstrap.entrance import entrance, is_for_this_machine
    from topstitch.console.people import LocalPeople

    local = LocalPeople(settings.person) if is_for_this_machine(settings) else None
    return entrance(settings, house.ports.store, house.clock, local=local)


def _greet(door: Door, settings: Settings, port: int, *, signs_in: bool) -> None:
    from topstitch.bootstrap.entrance import is_for_this_machine, public_origin

    address = f"http://{settings.host}:{port}"
    door.screen.data({"address": address, "data": str(settings.data)})
    origin = public_origin(settings)
    if is_for_this_machine(settings):
        who = "people sign in" if signs_in else f"you act as {settings.person}"
        door.screen.print(f"Console: {origin or address}/   ({who})")
    elif origin and signs_in:
        door.screen.print(f"Console: {origin}/   (people sign in)")
    else:
        lacks = "topstitch users add" if origin else "console_url in topstitch.toml"
        door.screen.note(f"The console is not shown to other machines yet; it needs {lacks}.")
    door.screen.print(f"Events: POST {address}/api/v1/events   webhooks: POST {address}/hooks/<name>")
    door.screen.print(f"Metrics: {address}/metrics")
    door.screen.note("Stop with Ctrl-C.")


async def run_engine(house: Installation, stopping: asyncio.Event) -> None:
    """Run the engine until told to stop, or until the database fails."""
    settle_memory()
    from topstitch.bootstrap.orphans import Orphans, stopped

    engine = asyncio.create_task(house.engine.run(), name="engine")
    from topstitch.bootstrap.populations import Populations

    watching = asyncio.create_task(Orphans(house).watch(), name="orphans")
    comparing = asyncio.create_task(Populations(house).watch(), name="populations")
    waiting = asyncio.create_task(stopping.wait(), name="until stopped")
    await asyncio.wait({engine, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await stopped(watching)
    await stopped(comparing)
    house.engine.stop()
    await engine


def standing(house: Installation) -> Mapping[str, Any]:
    """Say how the engine is, for ``/healthz``."""
    engine = house.engine
    return {"ok": not engine.stopping, "active": engine.active, "stopping": engine.stopping}


async def _warm(house: Installation) -> None:
    """Compile what is in force, so that the first event does not wait for it, and a bad binding is said now."""
    plans = await house.plans.in_force()
    if not plans:
        LOG.warning("no definition is published yet; events are kept and start nothing until one is")
    for plan in plans:
        for alias, system in plan.systems.items():
            for problem in house.ports.connectors.binding_problems(alias, system.connector):
                LOG.warning("%s: %s: %s", plan.workflow, alias, problem)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)


def _faster_loop() -> None:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
