"""Decides that nothing is answered without a rule: each route has one, and it is asked before the route is.

``needs`` declares an endpoint's rule where the endpoint is written; ``protect`` puts the check around
every route of an application, once it is put together. A route without a rule is refused at run time,
and the test over all routes names it. Where a rule is for a workflow, the endpoint asks again with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from topstitch.access.origins import REFUSED, SAFE, is_ours
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.access import PUBLIC, RULES, SIGNED_IN, Identity, may, may_somewhere, require, require_fresh

RULE: Final = "__topstitch_needs__"
PROTECTED: Final = "topstitch_identity"
"""Where the state of a request holds who asks: ``request.state.topstitch_identity``."""
UNDECLARED: Final = "undeclared"
F = TypeVar("F", bound=Callable[..., Any])
Identify = Callable[[HTTPConnection], Awaitable[Identity | None]]
Refuse = Callable[[Request, NotAllowedError], Awaitable[Response]]


class Somewhere:
    """The place of an address that filters by itself what it shows: a right for any part of the workflows will do."""


SOMEWHERE: Final = Somewhere()
Place = Callable[[Request], Awaitable[str | Somewhere | None]]
"""Which workflow a request is about; nothing: all of them."""


async def anywhere(_request: Request) -> Somewhere:
    """The place of every address of a door whose endpoints ask again with the workflow, or filter."""
    return SOMEWHERE


def needs(rule: str) -> Callable[[F], F]:
    """Declare the rule of an endpoint: a right, ``public`` or ``signed-in``."""
    if rule not in RULES:
        raise ValueError(f"{rule!r} is no rule; use one of governance.access.RULES")

    def mark(endpoint: F) -> F:
        setattr(endpoint, RULE, rule)
        return endpoint

    return mark


def rule_of(route: BaseRoute) -> str | None:
    """Return a route's declared rule, or nothing."""
    return getattr(route, RULE, None) or getattr(getattr(route, "endpoint", None), RULE, None)


def every_route(routes: Sequence[BaseRoute], before: str = "") -> Iterator[tuple[str, BaseRoute]]:
    """Yield each route with its whole path, mounted ones too; a mount of something else is a route itself."""
    for route in routes:
        path = before + getattr(route, "path", "")
        inner = getattr(route, "routes", None) if isinstance(route, Mount) else None
        if inner:
            yield from every_route(inner, path)
        else:
            yield path, route


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a door needs to check its addresses."""

    identify: Identify
    refuse: Refuse
    """Makes the answer to somebody who may not."""
    clock: Clock
    place: Place = anywhere
    origin: str | None = None
    """The configured public origin."""


def protect(routes: Sequence[BaseRoute], guard: Guard) -> None:
    """Put the check in front of every route, in place."""
    for _, route in every_route(routes):
        if isinstance(route, (Route, Mount, WebSocketRoute)) and not isinstance(route.app, _Checked):
            route.app = _Checked(route.app, rule_of(route), guard)


class _Checked:
    """One route's application behind its rule."""

    def __init__(self, app: ASGIApp, rule: str | None, guard: Guard) -> None:
        self._app, self._rule, self._guard = app, rule, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the rule, then the route."""
        request = Request(scope, receive)
        try:
            identity = await self._admitted(request)
        except NotAllowedError as error:
            response = await self._guard.refuse(request, error)
            await response(scope, receive, send)
            return
        scope.setdefault("state", {})[PROTECTED] = identity
        await self._app(scope, receive, send)

    async def _admitted(self, request: Request) -> Identity | None:
        if self._rule == PUBLIC:
            return None
        identity = await self._guard.identify(request)
        if identity is None:
            raise NotAllowedError("not-signed-in", "nobody is signed in; sign in, or send a token, and try again")
        if self._rule is None:
            raise NotAllowedError(UNDECLARED, "nobody may do this: the address has no rule; report it")
        if may_be_forged(identity, request) and not is_ours(request.scope, self._guard.origin):
            raise NotAllowedError("foreign-origin", REFUSED)
        if self._rule != SIGNED_IN:
            await self._require(identity, self._rule, request)
        require_fresh(identity, self._rule, self._guard.clock.now())
        return identity

    async def _require(self, identity: Identity, right: str, request: Request) -> None:
        if may(identity, right):
            return
        place = await self._guard.place(request) if may_somewhere(identity, right) else None
        if not isinstance(place, Somewhere):
            require(identity, right, place)


def may_be_forged(identity: Identity, request: Request) -> bool:
    """Whether a browser may have been made to send it: it adds a cookie, or that it runs on this machine, by itself."""
    if request.method in SAFE or identity.via == "token":
        return False
    from_browser = "sec-fetch-site" in request.headers or "origin" in request.headers
    return identity.via == "session" or from_browser
