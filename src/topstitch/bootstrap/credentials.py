"""Fills in what ``stored:NAME`` means for the connections of an installation: at its opening, and when one changes."""

from __future__ import annotations

from topstitch.connectors.connections import Connections
from topstitch.store import Store
from topstitch.store.vault import Vault


async def reveal_stored(store: Store, connections: Connections) -> None:
    """Read the stored credentials that the connections refer to; one that lacks is said when it is needed."""
    wanted = connections.stored_names()
    if not wanted:
        return
    vault = Vault(store)
    there = {one.name for one in await vault.names()}
    connections.stored.fill({name: await vault.reveal(name) for name in sorted(wanted & there)})
