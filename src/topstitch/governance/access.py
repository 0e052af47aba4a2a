"""Decides who may do what: roles, rights, grants for a part of the workflows, and what a token narrows.

Every door asks here before it acts: ``may``, ``why_not`` and ``require`` take an ``Identity`` and a
right of ``RIGHTS``. What is not in the table is nobody's. Admin is no approver and no publisher, an
auditor changes nothing, an agent never decides, publishes or manages, and a token is never wider
than whoever made it. It signs nobody in, knows no request, and reads no clock but the one it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from topstitch.foundation.errors import NotAllowedError

STEP_UP: Final = timedelta(minutes=5)
"""How old a sign-in may be for what needs a fresh one."""


class Role(StrEnum):
    """What people are granted, everywhere or for a part of the workflows."""

    VIEWER = "viewer"
    """Reads what happens, and acts on nothing."""
    OPERATOR = "operator"
    """Starts, retries, pauses and cancels; finishes work by hand."""
    APPROVER = "approver"
    """Decides what is asked of them."""
    DESIGNER = "designer"
    """Writes definitions and tries them out."""
    PUBLISHER = "publisher"
    """Puts definitions and policies in force."""
    AUDITOR = "auditor"
    """Reads everything, exports it, and changes nothing."""
    ADMIN = "admin"
    """Manages people, tokens, connections and the rights of others; neither approves nor publishes."""


ROLES: Final[tuple[str, ...]] = tuple(Role)

_ALL: Final = frozenset(Role)
_V, _O, _A, _D, _P, _U, _M = Role
_OPERATING: Final = frozenset({_O, _M})

RIGHTS: Final[Mapping[str, frozenset[Role]]] = {
    # what there is to see
    "instances.read": _ALL,
    "workflows.read": _ALL,
    "approvals.read": _ALL,
    "tasks.read": _ALL,
    "exceptions.read": _ALL,
    "discrepancies.read": _ALL,
    "connectors.read": _ALL,
    "policies.read": _ALL,
    "seams.read": _ALL,
    "metrics.read": _ALL,
    "audit.read": _ALL,
    "settings.read": frozenset({_O, _D, _P, _U, _M}),
    "people.read": frozenset({_U, _M}),
    "webhooks.read": frozenset({_O, _U, _M}),
    "agents.read": frozenset({_O, _U, _M}),
    # events and instances
    "events.send": _OPERATING,
    "instances.start": _OPERATING,
    "instances.operate": _OPERATING,
    "tasks.finish": frozenset({_O, _A, _M}),
    "exceptions.handle": _OPERATING,
    "discrepancies.handle": _OPERATING,
    "batches.run": _OPERATING,
    "alerts.mute": _OPERATING,
    "comments.write": frozenset({_O, _A, _D, _P, _M}),
    # decisions
    "approvals.decide": frozenset({_A}),
    "delegations.own": frozenset({_A}),
    "delegations.manage": frozenset({_M}),
    # definitions and policies
    "definitions.try": frozenset({_O, _D, _P, _U, _M}),
    "definitions.write": frozenset({_D, _P}),
    "definitions.publish": frozenset({_P}),
    "policies.try": frozenset({_O, _D, _P, _U, _M}),
    "policies.publish": frozenset({_P}),
    "proposals.write": frozenset({_O, _D, _M}),
    # systems
    "connectors.test": _OPERATING,
    "connectors.pause": _OPERATING,
    "connectors.manage": frozenset({_M}),
    "webhooks.manage": frozenset({_M}),
    # the trail
    "audit.verify": frozenset({_O, _U, _M}),
    "audit.export": frozenset({_U, _M}),
    "audit.seal": _OPERATING,
    "audit.erase": frozenset({_M}),
    "audit.hold": frozenset({_M}),
    # people
    "people.manage": frozenset({_M}),
    "tokens.own": _ALL,
    "tokens.manage": frozenset({_M}),
    "agents.manage": frozenset({_M}),
    "views.own": _ALL,
    "settings.manage": frozenset({_M}),
}
"""Every right there is, and the roles that give it. A door that asks for another one is refused."""

PUBLIC: Final = "public"
"""The rule of an address that anybody may ask: signing in, static files, health, vendors' signed webhooks."""
SIGNED_IN: Final = "signed-in"
"""The rule of what everybody who is signed in may do for themselves: sign out, look at their own account."""
ON_THE_MACHINE: Final = "on-the-machine"
"""The rule of a command that touches no installation, or makes one: whoever may run programs here may run it."""
RULES: Final = frozenset({*RIGHTS, PUBLIC, SIGNED_IN, ON_THE_MACHINE})

PEOPLE_ONLY: Final = frozenset(
    {
        "approvals.decide", "delegations.own", "delegations.manage", "definitions.publish", "policies.publish",
        "audit.erase", "audit.hold", "people.manage", "tokens.own", "tokens.manage", "agents.manage", "settings.manage",
    }
)  # fmt: skip
"""What neither an agent nor a service account ever does, whatever it was granted."""
AGENTS_MAY: Final = frozenset(
    {right for right in RIGHTS if right.endswith(".read")}
    | {"definitions.try", "policies.try", "proposals.write", "comments.write", "instances.start"}
) - {"people.read", "settings.read"}
"""All that an agent ever does: read, try out, propose, comment, and start what policy lets it start."""
FRESH: Final = frozenset({"definitions.publish", "policies.publish", "people.manage", "tokens.manage", "audit.erase"})
"""What needs a sign-in of the last five minutes, and by a token only when its scopes name it."""
NAMED_ONLY: Final = FRESH | {"approvals.decide"}
"""What a token does only when its scopes name it; ``*`` does not cover it."""
CHANGES_NOTHING: Final = frozenset(
    {right for right in RIGHTS if right.endswith((".read", ".try"))}
    | {"audit.verify", "audit.export", "tokens.own", "views.own"}
)
"""What leaves the installation as it was; an auditor holds nothing else."""


WHOLE: Final = frozenset(
    {
        "settings.read", "people.read", "webhooks.read", "agents.read", "connectors.test", "connectors.pause",
        "connectors.manage", "webhooks.manage", "policies.publish", "audit.verify", "audit.seal", "audit.erase",
        "audit.hold", "people.manage", "tokens.manage", "agents.manage", "delegations.manage", "settings.manage",
    }
)  # fmt: skip
"""What is about the whole installation: a role for a part of the workflows never gives it."""


class Kind(StrEnum):
    """What sort of actor an identity is."""

    HUMAN = "human"
    SERVICE = "service"
    AGENT = "agent"


class Grant(msgspec.Struct, frozen=True, order=True):
    """A role, everywhere or for a part of the workflows."""

    role: str
    where: str = ""
    """Nothing: everywhere. ``employee-onboarding``: that workflow. ``people-*``: all whose names begin so."""

    def covers(self, workflow: str | None) -> bool:
        """Whether it holds for a workflow; for nothing in particular only a grant everywhere does."""
        if not self.where:
            return True
        if workflow is None:
            return False
        return workflow.startswith(self.where[:-1]) if self.where.endswith("*") else workflow == self.where

    def __str__(self) -> str:
        """Write it as the commands take it: ``operator``, ``operator:people-*``."""
        return f"{self.role}:{self.where}" if self.where else self.role


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: what they were granted, and what a token narrows that to."""

    id: str
    name: str = ""
    email: str = ""
    kind: str = Kind.HUMAN
    roles: tuple[str, ...] = ()
    """Roles held everywhere."""
    grants: tuple[Grant, ...] = ()
    """Roles held for a part of the workflows."""
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    """What a token is for; nothing: everything its owner may do."""
    maker: Identity | None = None
    """Who made the token: it never does what they may not do now."""
    owner: str | None = None
    """The person who answers for an agent or a service account."""
    via: str = "session"
    """``session``, ``token``, ``local`` (whoever sits at this machine) or ``machine`` (the command line)."""
    credential: str | None = None
    """The id of the session or token, for the log and for signing out."""
    signed_in_at: datetime | None = None

    @property
    def shown(self) -> str:
        """What to call them."""
        return self.name or self.id

    @property
    def actor(self) -> str:
        """How records name them: ``human:ada``, ``agent:helper``."""
        kind = "system" if self.kind == Kind.SERVICE else self.kind
        return self.id if ":" in self.id else f"{kind}:{self.id}"

    @property
    def every_grant(self) -> tuple[Grant, ...]:
        """Roles held everywhere and in part."""
        return (*(Grant(role) for role in self.roles), *self.grants)


def may(identity: Identity | None, right: str, workflow: str | None = None) -> bool:
    """Whether they may, in a workflow or (without one) everywhere."""
    return why_not(identity, right, workflow) is None


def may_somewhere(identity: Identity | None, right: str) -> bool:
    """Whether they may for at least a part of the workflows: what a list asks before it is filtered."""
    if identity is None or right == PUBLIC:
        return right == PUBLIC
    return may(identity, right) or any(may(identity, right, sample(grant)) for grant in identity.grants)


def why_not(identity: Identity | None, right: str, workflow: str | None = None) -> str | None:
    """Say in a sentence why they may not, or nothing when they may."""
    if right == PUBLIC:
        return None
    if identity is None:
        return "Nobody is signed in; sign in first."
    if right == SIGNED_IN:
        return None
    if right not in RIGHTS:
        return f"Nobody may do this: {right!r} is not declared; report it."
    return (
        _kind_forbids(identity, right)
        or _roles_lack(identity, right, workflow)
        or _scopes_lack(identity, right)
        or _maker_lacks(identity, right, workflow)
    )


def require(identity: Identity | None, right: str, workflow: str | None = None) -> Identity:
    """Return the identity; raise ``NotAllowedError`` unless they may."""
    if identity is None:
        raise NotAllowedError("not-signed-in", "nobody is signed in; sign in, or send a token, and try again")
    why = why_not(identity, right, workflow)
    if why is not None:
        raise NotAllowedError("not-allowed", f"{identity.shown} may not do this ({right}): {why[0].lower()}{why[1:]}")
    return identity


def require_fresh(identity: Identity, right: str, now: datetime) -> None:
    """Raise unless the sign-in is fresh enough for ``right``; a token that names the right is taken as it is."""
    if right not in FRESH or identity.via in ("local", "machine", "token"):
        return
    if identity.signed_in_at is None or now - identity.signed_in_at > STEP_UP:
        raise NotAllowedError(
            "sign-in-again", "this needs a sign-in of the last five minutes; sign in again, then repeat it"
        )


def part_of(identity: Identity, right: str) -> tuple[str, ...] | None:
    """Return which workflows they may do it for, as names and ``prefix*``; nothing when it is all of them.

    An empty answer means none. Lists filter by it.
    """
    if may(identity, right):
        return None
    return tuple(sorted({grant.where for grant in identity.grants if may(identity, right, sample(grant))}))


def covered(part: tuple[str, ...] | None, workflow: str) -> bool:
    """Whether a workflow is in what ``part_of`` returned."""
    return part is None or any(Grant("", where).covers(workflow) for where in part)


def no_wider(narrow: Iterable[Grant], wide: Iterable[Grant]) -> list[Grant]:
    """Return which of the ``narrow`` grants give something that the ``wide`` ones do not."""
    held = list(wide)
    return [grant for grant in narrow if not all(_has(held, right, grant) for right in _given_by(grant.role))]


def is_scope(text: str) -> bool:
    """Whether a text is a scope: a right, ``area.*``, ``*.read`` or ``*``."""
    return text in {"*", "*.read"} or text in RIGHTS or (text.endswith(".*") and text[:-2] in _AREAS)


def parse_grant(text: str) -> Grant:
    """Read ``operator`` or ``operator:people-*``; raise ``ValueError`` with what to write instead."""
    role, _, where = text.partition(":")
    if role not in ROLES:
        raise ValueError(f"one of {', '.join(ROLES)}, alone or with :WORKFLOW or :PREFIX*")
    if where == "*":
        where = ""
    if "*" in where[:-1]:
        raise ValueError("a workflow's name, or its beginning with one * at the end")
    return Grant(role, where)


_AREAS: Final = frozenset(right.partition(".")[0] for right in RIGHTS)


def _given_by(role: str) -> list[str]:
    return [right for right, roles in RIGHTS.items() if role in roles]


def _has(held: list[Grant], right: str, wanted: Grant) -> bool:
    return any(one.role in RIGHTS[right] and _encloses(one.where, wanted.where) for one in held)


def _encloses(outer: str, inner: str) -> bool:
    """Whether every workflow of ``inner`` is one of ``outer``."""
    if not outer:
        return True
    if not inner:
        return False
    if outer.endswith("*"):
        return inner.removesuffix("*").startswith(outer[:-1])
    return outer == inner


def sample(grant: Grant) -> str:
    """Return a name that a grant covers, and hardly another does."""
    return grant.where[:-1] + "\uffff" if grant.where.endswith("*") else grant.where


def _kind_forbids(identity: Identity, right: str) -> str | None:
    if identity.kind == Kind.AGENT and right not in AGENTS_MAY:
        return "An agent may propose; a person has to do this."
    if identity.kind == Kind.SERVICE and right in PEOPLE_ONLY:
        return "A service account cannot do this; a person has to."
    return None


def _roles_lack(identity: Identity, right: str, workflow: str | None) -> str | None:
    own = right.endswith(".own")  # about themselves, and no workflow
    workflow = None if right in WHOLE else workflow
    if any(grant.role in RIGHTS[right] and (own or grant.covers(workflow)) for grant in identity.every_grant):
        return None
    needed = " or ".join(role for role in ROLES if role in RIGHTS[right])
    held = ", ".join(str(grant) for grant in identity.every_grant) or "without a role"
    place = f" for {workflow}" if workflow else ""
    return f"Needs the role {needed}{place}; you are {held}. An admin can grant it."


def _scopes_lack(identity: Identity, right: str) -> str | None:
    if identity.scopes is None:
        return None
    area, _, what = right.partition(".")
    broad = () if right in NAMED_ONLY else ("*", f"{area}.*", *(("*.read",) if what == "read" else ()))
    if right in identity.scopes or any(one in identity.scopes for one in broad):
        return None
    return f"The token is not for this: it needs the scope {right}. Make one that has it."


def _maker_lacks(identity: Identity, right: str, workflow: str | None) -> str | None:
    """A maker's own kind does not matter, only what they may do now."""
    if identity.maker is None or _roles_lack(identity.maker, right, workflow) is None:
        return None
    return "Whoever made this token may not do it (any more); somebody who may has to make another."
