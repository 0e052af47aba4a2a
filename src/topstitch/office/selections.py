"""Carries one act out on many instances, a few a second, and says of each how it went.

Batches and acts on exception cases call it. Each item is judged by its own instance as it stands at that moment, by
the rules of the single command; one that cannot be done stops none of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import TopstitchError

RATE_DEFAULT: Final = 5.0
ITEMS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How one item went."""

    item: str
    ok: bool
    code: str | None = None
    message: str | None = None
    seq: int | None = None

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        kept = {"item": self.item, "ok": self.ok, "code": self.code, "message": self.message, "seq": self.seq}
        return {name: value for name, value in kept.items() if value is not None}


async def one_by_one(
    items: Sequence[str],
    do: Callable[[str], Awaitable[int | None]],
    clock: Clock,
    *,
    per_second: float = RATE_DEFAULT,
    told: Callable[[Done], Awaitable[None]] | None = None,
) -> list[Done]:
    """Do ``do`` for each item, at most ``per_second`` of them a second; return how each went, in order."""
    began, done = clock.now(), []
    for number, item in enumerate(items):
        await clock.sleep_until(began + timedelta(seconds=number / per_second))
        try:
            result = Done(item=item, ok=True, seq=await do(item))
        except TopstitchError as error:
            result = Done(item=item, ok=False, code=error.code, message=error.message)
        done.append(result)
        if told is not None:
            await told(result)
        await asyncio.sleep(0)
    return done
