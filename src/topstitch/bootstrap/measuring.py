"""Puts the watch beside the engine: who looks at the seams, whom alerts are told, where traces go.

``serve`` and the demo hold ``measuring`` around the engine. Nothing that goes wrong in it stops the
engine: a part of a round that fails is logged once until it works again. ``Scrape`` answers the
Prometheus endpoint; ``watcher_of`` is what the commands and the console look with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from topstitch.bootstrap.installation import Installation
from topstitch.bootstrap.plans import Plans
from topstitch.connectors import telling
from topstitch.connectors.credentials import read_reference
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock, SystemClock
from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.foundation.ids import new_id
from topstitch.governance.calendar import Calendar
from topstitch.metrics import export
from topstitch.metrics.otlp import Otlp
from topstitch.metrics.rounds import Round, go_round
from topstitch.metrics.routes import Payload, Route, RouteKind
from topstitch.metrics.watch import Calendars, Watcher
from topstitch.office.standing import calendar_of
from topstitch.settings import Settings
from topstitch.store import Store

LOG: Final = logging.getLogger("topstitch.metrics")
OWNER: Final = "owner"
SCRAPE_SECONDS: Final = 5
"""A scrape within this time of the last one gets the same text."""
NAME_LENGTH: Final = 12
ACTIONS: Final = {
    RouteKind.EMAIL: telling.NOTICE,
    RouteKind.SLACK: telling.POST,
    RouteKind.TICKET: telling.FILE,
}


def watcher_of(settings: Settings, store: Store, plans: Plans, *, tells: bool = True) -> Watcher:
    """Return what looks at an installation; whoever only looks tells nobody and needs no secret."""

    async def calendars() -> Calendars:
        return await _calendars(settings, store)

    return Watcher(
        store=store,
        plans=plans,
        routes=routes_of(settings) if tells else {},
        calendars=calendars if settings.business_promises else None,
    )


async def _calendars(settings: Settings, store: Store) -> Calendars:
    calendar = await calendar_of(store, settings.environment)
    found: dict[str, dict[str, Calendar]] = {}
    for one in settings.business_promises:
        workflow, _, promise = one.partition("/")
        found.setdefault(workflow, {})[promise] = calendar
    return found


@contextlib.asynccontextmanager
async def measuring(
    house: Installation, *, pace: Clock | None = None, every_seconds: float | None = None
) -> AsyncIterator[Round]:
    """Make the rounds for the time of an ``async with`` block.

    ``pace`` and ``every_seconds`` are for a clock that runs away: what is waited by, and how long.
    """
    settings, store = house.settings, house.ports.store
    sender = RealSender(house.ports.connectors, house.clock)
    posts = telling.Posts(house.ports.connectors, house.clock, setting="otlp_endpoint", title="the collector")
    one = Round(
        watcher=watcher_of(settings, store, house.plans),
        on_trouble=Troubles(),
        sender=sender,
        sink=sink_of(settings, posts),
        owner=new_id("rnd", SystemClock().now()),
    )
    seconds = every_seconds or settings.watch_seconds
    going = asyncio.create_task(go_round(one, house.clock, pace=pace, every_seconds=seconds), name="rounds")
    try:
        yield one
    finally:
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going
        await sender.close()
        await posts.close()


# --- Where alerts are told ------------------------------------------------------------------------


def routes_of(settings: Settings) -> dict[str, Route]:
    """Return the routes that the settings name; raise ``OperatorError`` when one cannot be used."""
    secret = ""
    found = {}
    for text in settings.alert_routes:
        head, _, to = text.partition(":")
        kind, _, through = head.partition(".")
        if kind == RouteKind.WEBHOOK:
            secret = secret or _secret(settings)
            to = read_reference(to, settings.data) if to.startswith(("env:", "file:")) else to
        name = _name(kind, through, to)
        found[name] = Route(
            name=name,
            kind=RouteKind(kind),
            to=to,
            through=through,
            secret=secret if kind == RouteKind.WEBHOOK else "",
            console=settings.console_url,
        )
    return found


def route_findings(settings: Settings, connectors: Registry) -> Iterator[tuple[str, str, str]]:
    """Say of each route whether a connection can carry it: how it is, the route, what was found."""
    try:
        routes = routes_of(settings)
    except TopstitchError as error:
        yield "bad", "alert routes", error.message
        return
    for name, route in routes.items():
        if route.kind is RouteKind.WEBHOOK:
            yield "ok", f"alerts to {name}", "signed posts"
            continue
        through = route.through or (route.to if route.kind is RouteKind.TICKET else "")
        try:
            alias = telling.alias_for(connectors, ACTIONS[route.kind], through)
            yield "ok", f"alerts to {name}", f"over connection {alias}"
        except TopstitchError as error:
            yield "warn", f"alerts to {name}", error.message


def _name(kind: str, through: str, to: str) -> str:
    """Name a route so that it stays the same, and shows no address that may hold a secret."""
    place = f"{urlsplit(to).hostname}/{digest(to)[7:][:NAME_LENGTH]}" if kind == RouteKind.WEBHOOK else to
    return ":".join(part for part in (kind, through, place) if part)


def _secret(settings: Settings) -> str:
    if not settings.alert_secret:
        raise OperatorError(
            "alert-secret", "alerts to a webhook are signed; set alert_secret to a reference to whsec_ and base64"
        )
    return read_reference(settings.alert_secret, settings.data)


class RealSender:
    """Carries alerts out over the connections of the installation."""

    def __init__(self, connectors: Registry, clock: Clock) -> None:
        self._connectors = connectors
        self._posts = telling.Posts(connectors, clock, setting="alert_routes", title="the receiver of alerts")

    async def send(self, payload: Payload) -> None:
        """Send one message; what does not go out is a ``TopstitchError``, and heard of in the log."""
        try:
            await self._sent(payload)
        except TopstitchError as error:
            LOG.warning("%s was not told of %s: %s", payload.kind, payload.alert, error.message)
            raise

    async def _sent(self, payload: Payload) -> None:
        match payload.kind:
            case RouteKind.EMAIL:
                await self._mail(payload)
            case RouteKind.SLACK:
                alias = telling.alias_for(self._connectors, telling.POST, payload.through)
                await telling.post(self._connectors, alias, payload.to, _chat(payload.body), payload.message)
            case RouteKind.WEBHOOK:
                await self._posts.post(payload.to, payload.headers, payload.raw)
            case RouteKind.TICKET:
                await self._ticket(payload)

    async def close(self) -> None:
        """Let go of what is open."""
        await self._posts.close()

    async def _mail(self, payload: Payload) -> None:
        alias = telling.alias_for(self._connectors, telling.NOTICE, payload.through)
        body = payload.body
        people = [payload.to]
        if payload.to == OWNER:
            people = await telling.owners(self._connectors, body["owner"])
        if not people:
            raise OperatorError(
                "alert-nobody",
                "the owner of this workflow has no address; name the team's people under [people.groups] in "
                "connections.toml",
            )
        for one in people:
            key = f"{payload.message}:{one}"
            await telling.mail(self._connectors, alias, one, str(body["subject"]), str(body["text"]), key)

    async def _ticket(self, payload: Payload) -> None:
        alias = telling.alias_for(self._connectors, telling.FILE, payload.through or payload.to)
        body = dict(payload.body)
        closed = body.pop("closed")
        if closed:
            await telling.close_ticket(self._connectors, alias, body, payload.alert, str(body["detail"]))
        else:
            await telling.file_ticket(self._connectors, alias, body, payload.alert)


def _chat(body: Mapping[str, Any]) -> str:
    """Return a message in blocks as the one text that a channel takes."""
    return "\n".join(str(block["text"]["text"]) for block in body["blocks"])


# --- Where traces go ------------------------------------------------------------------------------


def sink_of(settings: Settings, posts: telling.Posts) -> Otlp | None:
    """Return the collector that the settings name, if they name one."""
    if not settings.otlp_endpoint:
        return None
    headers = {name: read_reference(value, settings.data) for name, value in settings.otlp_headers.items()}
    return Otlp(settings.otlp_endpoint, posts.post, headers=headers)


# --- What is logged, and what is scraped ----------------------------------------------------------


class Troubles:
    """Logs what goes wrong in rounds: once when it begins, not again until something else does."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __call__(self, part: str, error: BaseException) -> None:
        """Hear of one trouble."""
        text = error.message if isinstance(error, TopstitchError) else f"{type(error).__name__}: {error}"
        if self._said.get(part) == text:
            return
        self._said[part] = text
        if isinstance(error, TopstitchError):
            LOG.warning("the rounds go on without %s: %s", part, text)
        else:
            LOG.error("the rounds go on without %s: %s", part, text, exc_info=error)


class Scrape:
    """Answers scrapes: many at a time cost one look."""

    def __init__(self, watcher: Watcher, clock: Clock) -> None:
        self._watcher, self._clock = watcher, clock
        self._lock = asyncio.Lock()
        self._text = ""
        self._until: datetime | None = None

    async def __call__(self) -> str:
        """Return the text of now, or of a moment ago."""
        async with self._lock:
            now = self._clock.now()
            if self._until is None or now >= self._until:
                self._text = await export.scrape(self._watcher, now)
                self._until = now + timedelta(seconds=SCRAPE_SECONDS)
            return self._text
