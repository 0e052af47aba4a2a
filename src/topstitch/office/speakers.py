"""Finds the person behind an address that somebody else vouches for: a chat account, a mailbox.

Chat and letters call it before they take an answer. Who has an account here speaks as that account, and
not at all once it is switched off; who has none speaks as the address. Whether they may decide is
asked afterwards, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.duties import names_of
from topstitch.store import Store, people


async def speaker(store: Store, person: Mapping[str, str]) -> dict[str, str]:
    """Return who speaks; raise when their account is switched off."""
    wanted = names_of(person)
    known = [one for one in await people.listing(store) if wanted & names_of({"id": one.id, "email": one.email})]
    if any(one.disabled_at is not None for one in known):
        raise NotAllowedError(
            "account-off", f"the account of {person['id']} is switched off; an admin can switch it on again"
        )
    own = {"id": known[0].id} if known else {}
    return {**person, **own}
