"""Decides who is looking, and what they may do here.

Signing in is done elsewhere: ``Hands.identify`` names the person of a request, or nobody. Where
no sign-in is set up (the demo), ``LocalPeople`` lets whoever sits at this machine act as anybody
who was asked something. What a person may decide, ``governance`` judges again at the click.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import HTTPConnection

ROLES: Final = ("viewer", "operator", "approver", "designer", "publisher", "auditor", "admin")
COOKIE: Final = "topstitch_person"
NEEDS: Final = {
    "operate": ("operator", "admin"),
    "approve": ("approver",),
    "audit": ("auditor", "operator", "admin", "viewer", "approver", "designer", "publisher"),
}
"""Which roles may do what. Admin is no approver."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    id: str
    name: str = ""
    email: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What to call them."""
        return self.name or self.id

    def may(self, what: str) -> bool:
        """Whether a role of theirs allows it."""
        return any(role in self.roles for role in NEEDS[what])

    def why_not(self, what: str) -> str | None:
        """Say why they may not, or nothing when they may."""
        if self.may(what):
            return None
        return f"Needs the role {' or '.join(NEEDS[what])}; you are {', '.join(self.roles) or 'without a role'}."


class LocalPeople:
    """Whoever sits at this machine, with every role, acting as the person they choose."""

    def __init__(self, person: str) -> None:
        self._default = person

    def __call__(self, request: HTTPConnection) -> Person:
        """Name the person of a request."""
        chosen = request.cookies.get(COOKIE) or self._default
        return Person(id=chosen, roles=ROLES)
