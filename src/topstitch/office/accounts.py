"""Says whether somebody who is named here is a person with an account, and whether they could decide anything.

``agents add`` and whoever hands decisions over ask here, so that a name mistyped today is no surprise on the day it
matters. Where a provider vouches for people, they get their account when they sign in first: there a name is doubted
and never refused. Where nobody signs in, nobody is known and nothing is said.
"""

from __future__ import annotations

from topstitch.access.service import Access
from topstitch.foundation.errors import RequestError
from topstitch.governance.access import may_somewhere
from topstitch.governance.duties import folded, names_of
from topstitch.language.report import closest
from topstitch.store import people
from topstitch.store.people import PersonRow

HUMAN = "human"


async def require_owner(access: Access, name: str) -> str | None:
    """Raise unless somebody can answer for an agent; return a doubt where they may come from a provider."""
    if not await access.asks():
        return None
    everybody = await people.listing(access.store)
    found = _named(everybody, name)
    if found is None:
        meant = _meant(everybody, name)
        if access.providers:
            return f"{name} has never signed in here{meant}; until they have, nobody is known to answer for it"
        message = f"there is no user {name} who could answer for an agent{meant}; topstitch users list shows everybody"
        raise RequestError("agent-owner", message)
    if found.kind != HUMAN:
        raise RequestError("agent-owner", f"{name} is a service account; name a person who answers with --owner")
    if found.disabled_at is not None:
        raise RequestError("agent-owner", f"the account of {name} is switched off; name another person with --owner")
    return None


async def why_undecided(access: Access, name: str, tier_max: int) -> str | None:
    """Say why somebody could decide nothing, or little, as things stand; nothing when they could.

    ``tier_max`` is up to which risk tier people without an account decide by letter or in chat.
    """
    if not await access.asks():
        return None
    everybody = await people.listing(access.store)
    found = _named(everybody, name)
    if found is None:
        remedy = "sign in" if access.providers else "have an admin add them"
        until = f"only what has a risk tier up to {tier_max}, by letter or in chat" if tier_max else "nothing"
        meant = _meant(everybody, name)
        return f"{name} has no account here{meant}, and could decide {until}; {remedy} with the role approver"
    identity = await access.find(found.id)
    if identity is None:
        return f"the account of {name} is switched off, so that they could decide nothing; an admin can switch it on"
    if not may_somewhere(identity, "approvals.decide"):
        return f"{name} is no approver, so that they could decide nothing; an admin can grant them the role"
    return None


def _named(everybody: list[PersonRow], name: str) -> PersonRow | None:
    wanted = folded(name)
    return next((one for one in everybody if wanted in names_of({"id": one.id, "email": one.email or ""})), None)


def _meant(everybody: list[PersonRow], name: str) -> str:
    known = {each for one in everybody if one.kind == HUMAN for each in (one.id, one.email) if each}
    near = closest(folded(name), known)
    return f" (did you mean '{near}'?)" if near else ""
