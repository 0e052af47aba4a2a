"""Puts the API for programs together: what it may touch, who asks, and where it is mounted.

``serve`` and the demo use it, beside ``front``, which does the same for the console.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp

    from topstitch.bootstrap.installation import Installation
    from topstitch.governance.access import Identity
    from topstitch.metrics.seams import SeamFigures
    from topstitch.settings import Settings

    Identify = Callable[[HTTPConnection], Awaitable[Identity | None]]


def rest(house: Installation, settings: Settings, identify: Identify, *, origin: str | None = None) -> FastAPI:
    """Return the API of an installation."""
    from topstitch.api.hands import ApiHands
    from topstitch.api.rest import rest_app
    from topstitch.bootstrap.measuring import watcher_of
    from topstitch.cli.instance_view import view
    from topstitch.cli.tale import Teller
    from topstitch.connectors.outgoing import read_networks
    from topstitch.metrics import watch

    watcher = watcher_of(settings, house.ports.store, house.plans)

    async def board(hours: int, slots: int) -> Sequence[SeamFigures]:
        return await watch.board(watcher, house.clock.now(), hours=hours, slots=slots)

    return rest_app(
        ApiHands(
            store=house.ports.store,
            clock=house.clock,
            load=house.plans.load,
            contracts=house.ports.connectors.contracts(),
            intake=house.intake,
            identify=identify,
            view=view,
            teller=lambda plan: Teller(plan).sentence,
            board=board,
            auditing=Audit(house, settings),
            environment=settings.environment,
            connections=house.ports.connectors.connections,
            health=house.ports.connectors.health,
            four_eyes=settings.four_eyes,
            origin=origin,
            networks=read_networks(settings.webhook_networks),
            requests_per_minute=settings.requests_per_minute,
            body_bytes_max=settings.body_kb_max * 1024,
        )
    )


def whoever(settings: Settings) -> Identify:
    """Return who asks where nobody ever signs in, as in the demo: the person of the settings, on this machine."""
    from topstitch.access.origins import is_local
    from topstitch.console.people import LocalPeople

    local = LocalPeople(settings.person)

    async def identify(connection: HTTPConnection) -> Identity | None:
        return local(connection) if is_local(connection.scope) else None

    return identify


def mounts(app: FastAPI) -> Mapping[str, ASGIApp]:
    """Return where the API and its reference page stand."""
    from topstitch.api.reference import PAGE, reference_page
    from topstitch.api.rest import BASE

    return {PAGE: reference_page(app), BASE: app}


class Audit:
    """What of the audit trail takes the installation's keys and anchors."""

    def __init__(self, house: Installation, settings: Settings) -> None:
        self._house, self._settings = house, settings

    async def verify(self) -> dict[str, Any]:
        """Verify everything."""
        from topstitch.bootstrap.auditing import verdict_of
        from topstitch.cli.audit import verdict_document

        found, silent = await verdict_of(self._settings, self._house.ports.store)
        return {**verdict_document(found), "silent": silent}

    async def seal(self) -> None:
        """Sign the tree as it is, and take it to the anchors."""
        from topstitch.bootstrap.auditing import seal_now

        await seal_now(self._settings, self._house.ports.store, self._house.clock)
