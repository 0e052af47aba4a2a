"""Decides how a person is forgotten and how that is written down; and what holds it up.

``erase`` deletes a person's keys, values and raw events in every ended instance, appends an
``erased`` record to each, and clears what the database keeps of deleted rows. The records
hold a salted commitment to the person, opened only by the receipt that the caller keeps. A
legal hold forbids it; holds stand in the installation's own journal. It never touches a
record that is there: every chain, the tree and every checkpoint still verify.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import msgspec

from topstitch.foundation.errors import RequestError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store import Store, erasing
from topstitch.store.database import MEMORY_URL

HOLD_PLACED: Final = "hold.placed"
"""{hold, subject: commitment, ground}, in the installation's own journal."""
HOLD_LIFTED: Final = "hold.lifted"
"""{hold, because}, in the installation's own journal."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever asked for an erasure keeps: with ``salt`` the person's name opens the commitment in the records."""

    subject: str
    ground: str
    at: datetime
    instances: tuple[str, ...]
    values: int
    events: int
    salt: str
    scrubbed: bool
    """Whether the database keeps nothing of the deleted rows; if not, a reader stood in the way: run it again."""


async def erase(store: Store, subject: str, *, ground: str, actor: Actor, now: datetime) -> Receipt:
    """Forget a person. Raises ``ConflictError`` under a legal hold or while an instance still needs the values."""
    if not ground.strip():
        raise RequestError("erasure-without-ground", "an erasure needs its legal ground; say it with --ground")

    def word(instance: str, mark: dict[str, str], count: int) -> Draft:
        del instance
        body = {"subject": mark, "ground": ground, "count": count}
        return Draft(kind=Kind.ERASED, at=now, actor=actor, stage=Stage.AUDIT, body=body)

    erasure = await erasing.erase(store, subject, word, now)
    return Receipt(
        subject=subject,
        ground=ground,
        at=now,
        instances=erasure.instances,
        values=erasure.values,
        events=erasure.events,
        salt=erasure.salt,
        scrubbed=await _scrub(store.url),
    )


async def _scrub(url: str) -> bool:
    if url == MEMORY_URL:
        return True
    return await asyncio.to_thread(erasing.scrub, url)


async def place_hold(store: Store, subject: str, *, ground: str, actor: Actor, now: datetime) -> erasing.Hold:
    """Forbid to erase a person until the hold is lifted."""
    if not ground.strip():
        raise RequestError("hold-without-ground", "a legal hold needs its ground; say it with --ground")

    def word(hold: str, mark: dict[str, str]) -> Draft:
        body = {"hold": hold, "subject": mark, "ground": ground}
        return Draft(kind=HOLD_PLACED, at=now, actor=actor, stage=Stage.AUDIT, body=body)

    return await erasing.place_hold(store, subject, word, ground)


async def lift_hold(store: Store, hold: str, *, because: str, actor: Actor, now: datetime) -> None:
    """Allow again what a hold forbade."""
    body = {"hold": hold, "because": because}
    await erasing.lift_hold(store, hold, Draft(kind=HOLD_LIFTED, at=now, actor=actor, stage=Stage.AUDIT, body=body))
