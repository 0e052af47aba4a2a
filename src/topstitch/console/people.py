"""Decides who is looking, and what they may do here.

``Hands.identify`` names the person of a request, or nobody: ``access`` knows by cookie, or, where no
sign-in is set up (the demo), ``LocalPeople`` lets whoever sits at this machine act as anybody who was
asked something. What a person may decide, ``governance`` judges again at the click.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Final

import msgspec
from starlette.requests import HTTPConnection

from topstitch.governance import access
from topstitch.governance.access import ROLES, Identity

__all__ = ["COOKIE", "ROLES", "Identify", "LocalPeople", "Person", "whose"]

COOKIE: Final = "topstitch_person"
WORDS: Final = {"operate": "instances.operate", "approve": "approvals.decide", "audit": "audit.read"}
"""What pages call the rights that they ask for most."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    id: str
    name: str = ""
    email: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    whole: Identity | None = None
    """As ``access`` knows them; without it, somebody at this machine with these roles."""

    @classmethod
    def of(cls, identity: Identity) -> Person:
        """Return an identity as pages know a person."""
        return cls(
            id=identity.id,
            name=identity.name,
            email=identity.email,
            roles=identity.roles,
            groups=identity.groups,
            whole=identity,
        )

    @property
    def identity(self) -> Identity:
        """What the rules of access know."""
        return self.whole or Identity(
            id=self.id, name=self.name, email=self.email, roles=self.roles, groups=self.groups, via="local"
        )

    @property
    def shown(self) -> str:
        """What to call them."""
        return self.name or self.id

    def may(self, what: str, workflow: str | None = None) -> bool:
        """Whether they may: in a workflow, or (without one) somewhere at least."""
        return self.why_not(what, workflow) is None

    def why_not(self, what: str, workflow: str | None = None) -> str | None:
        """Say why they may not, or nothing when they may."""
        right = WORDS.get(what, what)
        if workflow is None and access.may_somewhere(self.identity, right):
            return None
        return access.why_not(self.identity, right, workflow)


Identify = Callable[[HTTPConnection], Person | Identity | Awaitable[Person | Identity | None] | None]


async def whose(identify: Identify, connection: HTTPConnection) -> Person | None:
    """Return the person of a request, or nobody."""
    found = identify(connection)
    if isawaitable(found):
        found = await found
    return Person.of(found) if isinstance(found, Identity) else found


class LocalPeople:
    """Whoever sits at this machine, with every role, acting as the person they choose."""

    def __init__(self, person: str, names: Mapping[str, str] | None = None) -> None:
        self._default, self._names = person, names or {}

    def __call__(self, request: HTTPConnection) -> Identity:
        """Name the person of a request."""
        chosen = request.cookies.get(COOKIE) or self._default
        return Identity(id=chosen, name=self._names.get(chosen, ""), roles=ROLES, via="local")
