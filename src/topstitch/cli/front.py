"""Puts the console beside the API on one port: whose address a request has decides who answers it.

``serve`` and the demo use it. The console has no sign-in of its own yet, so whoever reaches it
acts as the person of the settings; ``serve`` therefore shows it on loopback addresses only.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from topstitch.api import problems
from topstitch.api.app import HEALTH

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from topstitch.bootstrap.installation import Installation
    from topstitch.settings import Settings

PROGRAMS: Final = ("/api/", "/hooks/", HEALTH, f"{problems.PAGES}/")
"""Addresses that programs ask; everything else is a page."""


class Front:
    """One application out of two."""

    def __init__(self, programs: ASGIApp, pages: Starlette | None) -> None:
        self._programs, self._pages = programs, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to whoever answers its address."""
        if self._pages is None or scope["type"] != "http" or scope["path"].startswith(PROGRAMS):
            await self._programs(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    def close(self) -> None:
        """End the streams that pages hold open, so that the server can end."""
        if self._pages is not None:
            self._pages.state.watcher.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def front(programs: ASGIApp, house: Installation, settings: Settings) -> Front:
    """Return both as one application; without the console where others than this machine could reach it."""
    if not is_loopback(settings.host):
        return Front(programs, None)
    from topstitch.cli.instance_view import view
    from topstitch.cli.tale import Teller
    from topstitch.console.app import console_app
    from topstitch.console.commands import StoreCommands
    from topstitch.console.hands import Hands
    from topstitch.console.people import LocalPeople
    from topstitch.settings import SETTINGS

    shown = tuple((s.name, str(getattr(settings, s.name)), s.doc) for s in SETTINGS if s.name != "database")
    console = console_app(
        Hands(
            store=house.ports.store,
            clock=house.clock,
            load=house.plans.load,
            contracts=house.ports.connectors.contracts(),
            connections=house.ports.connectors.connections,
            health=house.ports.connectors.health,
            view=view,
            teller=lambda plan: Teller(plan).sentence,
            commands=StoreCommands(house.ports.store, house.plans.load, house.clock),
            identify=LocalPeople(settings.person),
            settings=shown,
        )
    )
    return Front(programs, console)
