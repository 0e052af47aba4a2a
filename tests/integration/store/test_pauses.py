"""Pauses on both databases: one row for one connection, however many meet it, and an end that wakes what waits."""

from __future__ import annotations

import asyncio

import pytest

from integration.store.kit import DANA, NOW, claim_one, later, start
from topstitch.foundation.errors import ConflictError
from topstitch.model.record import ENGINE
from topstitch.store import Store, instances, pauses

CRM = pauses.connection("crm")


async def test_C07_many_that_meet_a_revoked_secret_make_one_case(store: Store) -> None:
    async def meets(number: int) -> pauses.Pause | None:
        return await pauses.pause(
            store, CRM, ENGINE, NOW, reason="401", cause=pauses.CREDENTIAL, instance=f"ins_{number}", owner="group:ops"
        )

    made = [one for one in await asyncio.gather(*map(meets, range(20))) if one is not None]
    assert len(made) == 1
    (held,) = await pauses.open_pauses(store)
    assert (held.id, held.owner, held.cause) == (made[0].id, "group:ops", "credential")


async def test_C07_the_end_of_a_pause_wakes_what_a_held_call_may_have_put_to_sleep(store: Store) -> None:
    for name, seconds in (("ins_1", 300), ("ins_2", 86_400)):
        await start(store, name)
        lease = await claim_one(store)
        await store.append(lease, park=True, wake_at=later(seconds))
    await pauses.pause(store, CRM, DANA, NOW, reason="maintenance")
    told: list[None] = []
    store.listen(lambda: told.append(None))
    await pauses.resume(store, CRM, DANA, later(1), because="over")
    rows = {row["id"]: row["wake_at"] for row in await instances.listing(store)}
    assert rows == {"ins_1": later(1), "ins_2": later(86_400)}
    assert told, "the engines hear of it"
    with pytest.raises(ConflictError, match="not paused"):
        await pauses.resume(store, CRM, DANA, later(2), because="again")
