"""Finds who is behind an address that somebody else vouches for: a chat account, a mailbox.

Chat and letters call it before they take an answer. Who has an account here speaks as that account, with the
rights it has at that moment, and not at all once it is switched off. Who has none speaks as the address, as long
as nobody signs in here, or up to the risk tier of a setting. Whether they may decide, the desk judges.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from topstitch.access.service import Access
from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.access import Identity, Kind, Role
from topstitch.governance.duties import names_of
from topstitch.store import people


class Speakers:
    """The people behind the addresses of one installation."""

    def __init__(self, access: Access, tier_max: int) -> None:
        """``tier_max`` is up to which risk tier somebody without an account decides, once there are accounts."""
        self._access, self._tier_max = access, tier_max

    async def speaker(self, person: Mapping[str, str], risk: int) -> Identity:
        """Return who speaks about something of this risk tier; raise when nobody may speak from that address."""
        wanted = names_of(person)
        everybody = await people.listing(self._access.store)
        known = [one for one in everybody if wanted & names_of({"id": one.id, "email": one.email})]
        name = person["id"]
        if any(one.disabled_at is not None for one in known):
            raise NotAllowedError(
                "account-off", f"the account of {name} is switched off; an admin can switch it on again"
            )
        if len(known) > 1:
            these = " and ".join(one.id for one in known)
            raise NotAllowedError(
                "account-unclear", f"{name} stands for several accounts here ({these}); sign in as one, then decide"
            )
        account = await self._access.find(known[0].id) if known else None
        if account is not None:
            return replace(account, email=person.get("email") or account.email)
        return await self._guest(person, risk)

    async def _guest(self, person: Mapping[str, str], risk: int) -> Identity:
        if risk > self._tier_max and await self._access.asks():
            raise NotAllowedError(
                "no-account",
                f"{person['id']} has no account here, and without one nobody decides on risk tier {risk}; sign in at "
                "the console once, or have an admin add you",
            )
        return Identity(
            id=person["id"],
            name=person.get("name", ""),
            email=person.get("email", ""),
            kind=Kind.HUMAN,
            roles=(Role.APPROVER,),
            via="address",
        )
