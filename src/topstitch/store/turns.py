"""Decides which process does what only one should do at a time, such as exporting spans.

A turn is a lease on a name: whoever holds it renews it, anybody may take it once it has run out.
Losing one does no harm, because what is done in turn may be done twice; it is only waste.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from topstitch.store.database import Backend

if TYPE_CHECKING:
    from topstitch.store.store import Store

_PREFIX: Final = "turn_"
_FIND: Final = "SELECT value FROM meta WHERE key = ?"
_TAKE: Final = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_LOCK: Final = 7_411_000_005


async def take(store: Store, name: str, owner: str, now_ms: int, until_ms: int) -> bool:
    """Take or keep a turn until a time; return whether it is ours."""

    def do(backend: Backend) -> bool:
        if backend.dialect == "postgresql":
            backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        found = backend.execute(_FIND, (_PREFIX + name,))
        until, _, holder = str(found[0][0]).partition(" ") if found else ("0", "", owner)
        if holder != owner and int(until) > now_ms:
            return False
        backend.execute(_TAKE, (_PREFIX + name, f"{until_ms} {owner}"))
        return True

    return await store.work(do)
