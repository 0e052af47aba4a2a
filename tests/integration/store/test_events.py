"""Events: kept for ever, started once, offered to whoever waits, rejected ones kept too."""

from __future__ import annotations

import asyncio
from pathlib import Path

from integration.store.kit import NOW, claim_one, draft, event, later, new, query, start
from topstitch.foundation.clock import cut
from topstitch.store import Store, events, instances


async def test_T04_one_event_starts_one_instance_however_often_it_is_delivered(url: str, key_file: Path) -> None:
    with Store.open(url, key_file=key_file) as store:
        first = await store.accept(event("hire-1"), [new("ins_1")], raw=b"{}", note={"matched": "onboarding"})
        again = await store.accept(event("hire-1", at=later(5)), [new("ins_2")], raw=b"{}")
    with Store.open(url, key_file=key_file) as store:  # also after a restart, also 400 days later
        late = await store.accept(event("hire-1", at=later(400 * 86_400)), [new("ins_3")], raw=b'{"other": 1}')
        assert (first.first, again.first, late.first) == (True, False, False)
        assert first.instances == again.instances == late.instances == ("ins_1",)
        assert again.outcome == {"matched": "onboarding", "instances": ["ins_1"]}
        assert (again.same_body, late.same_body) == (True, False)
        assert await query(store, "SELECT id FROM instances") == [("ins_1",)]
        kept = await events.get(store, "workday/acme", "hire-1")
        assert kept is not None
        assert [each["received_at"] for each in kept["deliveries"]] == [later(5), later(400 * 86_400)]


async def test_T04_the_same_event_delivered_at_once_starts_one_instance(url: str, key_file: Path, store: Store) -> None:
    with Store.open(url, key_file=key_file) as other:
        answers = await asyncio.gather(
            *(s.accept(event("hire-1"), [new(f"ins_{n}_{o}")]) for n in range(10) for o, s in enumerate((store, other)))
        )
    assert sum(answer.first for answer in answers) == 1
    assert len({answer.instances for answer in answers}) == 1
    assert len(await query(store, "SELECT id FROM instances")) == 1
    assert await query(store, "SELECT count(*) FROM deliveries") == [(19,)]


async def test_T05_two_events_with_equal_bodies_are_two(store: Store) -> None:
    one, two = await asyncio.gather(
        store.accept(event("hire-1"), [new("ins_1")], raw=b"{}"),
        store.accept(event("hire-2"), [new("ins_2")], raw=b"{}"),
    )
    assert one.first
    assert two.first
    assert len(await query(store, "SELECT id FROM instances")) == 2


async def test_the_raw_bytes_come_back_exactly(store: Store) -> None:
    await store.accept(event("hire-1"), [], raw=b"\xff\x00raw", headers={"webhook-id": "1"})
    kept = await events.get(store, "workday/acme", "hire-1")
    assert kept is not None
    assert events.text_bytes(kept["raw"]) == b"\xff\x00raw"
    assert kept["headers"] == {"webhook-id": "1"}


async def test_T07_an_event_before_the_wait_is_found_in_the_inbox(store: Store) -> None:
    resolved = event("e-9", "servicenow.incident_resolved", later(10))
    await store.accept(resolved, [])
    assert [each.id for each in await events.inbox(store, resolved.type, NOW)] == ["e-9"]
    assert (await events.inbox(store, resolved.type, NOW))[0] == resolved
    assert await events.inbox(store, resolved.type, later(11)) == []


async def test_T07_an_event_after_the_wait_is_offered_with_its_own_commit(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    wait = {"event": "servicenow.incident_resolved", "give_up_at": "2026-01-06T09:00:00.000Z"}
    await store.append(lease, [draft("wait.began", "resolved", wait)], park=True, wake_at=later(86_400))
    accepted = await store.accept(event("e-9", "servicenow.incident_resolved", later(10)), [])
    assert accepted.offered == ("ins_1",)
    again = await store.accept(event("e-9", "servicenow.incident_resolved", later(20)), [])
    assert again.offered == ()
    claims = await store.claim("one", later(10), 30, 10)
    offered = claims.due[0].records[-1]
    assert (offered.kind, offered.step) == ("signal.offered", "resolved")
    assert offered.body["event"]["id"] == "e-9"
    assert offered.body["data"] == {"worker": {"name": "Priya Raman"}}
    (raw,) = (await instances.stored_records(store, instance="ins_1"))[-1:]
    assert b"Priya" not in raw.body


async def test_T07_an_event_accepted_while_the_wait_begins_is_never_missed(
    url: str, key_file: Path, store: Store
) -> None:
    """Whatever the order of the two commits, the instance is offered the event or finds it in its inbox."""
    kind = "servicenow.incident_resolved"
    with Store.open(url, key_file=key_file) as other:
        for number in range(25):
            name = f"ins_{number}"
            await start(store, name, later(number))
            lease = await claim_one(store, at=later(number), seconds=1)
            wait = draft("wait.began", "resolved", {"event": kind}, at=later(number))
            accepting = asyncio.create_task(other.accept(event(f"e-{number}", kind, later(number)), []))
            await store.append(lease, [wait])
            found = [each.id for each in await events.inbox(store, kind, later(number))]
            accepted = await accepting
            assert name in accepted.offered or f"e-{number}" in found
            await store.catch_up(lease)
            await store.append(lease, [draft("ended")], ended_at=cut(later(number)))


async def test_rejected_events_are_kept_for_an_operator(store: Store) -> None:
    problem = {"code": "missing-field", "field": "worker.managerId"}
    name = await events.reject(store, b"{bad", door="/hooks/workday", problem=problem, now=NOW)
    (kept,) = await events.rejected(store)
    assert (kept["id"], kept["raw"], kept["problem"], kept["received_at"]) == (name, "{bad", problem, NOW)
    assert await query(store, "SELECT count(*) FROM events") == [(0,)]
