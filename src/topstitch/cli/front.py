"""Puts the console beside the API on one port: whose address a request has decides who answers it.

``serve`` and the demo use it. On loopback, whoever reaches the console acts as the person of the
settings until there are users or a sign-in provider. Elsewhere it is shown only once people can sign
in and ``console_url`` says by which address they come; before that nobody is anybody there.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from topstitch.api import problems
from topstitch.api.app import HEALTH
from topstitch.api.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from topstitch.access import Access
    from topstitch.bootstrap.installation import Installation
    from topstitch.settings import Settings

PROGRAMS: Final = ("/api/", "/hooks/", HEALTH, METRICS, f"{problems.PAGES}/")
"""Addresses that programs ask; everything else is a page."""


class Front:
    """One application out of two."""

    def __init__(
        self, programs: ASGIApp, pages: Starlette | None, is_open: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        self._programs, self._pages, self._is_open = programs, pages, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to whoever answers its address."""
        if self._pages is None or scope["type"] != "http" or scope["path"].startswith(PROGRAMS):
            await self._programs(scope, receive, send)
        elif self._is_open is None or await self._is_open():
            await self._pages(scope, receive, send)
        else:
            await self._programs(scope, receive, send)

    def close(self) -> None:
        """End the streams that pages hold open, so that the server can end."""
        if self._pages is not None:
            self._pages.state.watcher.close()
            self._pages.state.bulk.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def front(
    programs: ASGIApp,
    house: Installation,
    settings: Settings,
    access: Access | None = None,
    cast: Mapping[str, str] | None = None,
) -> Front:
    """Return both as one application. Without ``access`` (the demo) nobody ever signs in; ``cast`` has its people."""
    here = is_loopback(settings.host)
    if not here and (access is None or access.origin is None):
        return Front(programs, None)
    from topstitch.bootstrap.codes import codes_of
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
            identify=access.identify if access else LocalPeople(settings.person, cast),
            access=access,
            codes=codes_of(house),
            sign_in="/sign-in" if access else None,
            origin=access.origin if access else None,
            settings=shown,
            law=house.laws.refresh,
            environment=settings.environment,
            cast=cast or {},
        )
    )
    return Front(programs, console, access.asks if access and not here else None)
