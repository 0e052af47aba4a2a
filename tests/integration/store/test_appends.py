"""Appending: one writer per chain, nothing half, nothing lost, and everybody hears of everybody."""

from __future__ import annotations

import asyncio

import pytest

from integration.store.kit import DANA, NOW, claim_one, draft, event, later, new, query, start
from topstitch.foundation.canonical import GENESIS, chain_hash
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.store import BehindError, FencedError, HeadIs, NotYet, Store, Summary, instances


async def test_records_are_chained_byte_for_byte_in_the_order_they_were_appended(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("stage.entered", body={"stage": "context"}), draft("x", "identity")])
    await store.append(lease, [draft("y", "identity", {"b": 1, "a": [True, None, "é"]})], park=True)
    rows = await instances.stored_records(store, instance="ins_1")
    prev = GENESIS
    for number, row in enumerate(rows, 1):
        assert row.seq == number
        prev = chain_hash(prev, row.body)
        assert row.hash == prev
    (head,) = await instances.heads(store)
    assert (head.seq, head.hash) == (4, prev)
    assert rows[-1].body == (
        b'{"actor":"system:engine","at":"2026-01-05T09:00:00.000Z","body":{"a":[true,null,"\xc3\xa9"],"b":1},'
        b'"instance":"ins_1","kind":"y","seq":4,"stage":"execution","step":"identity"}'
    )


async def test_what_is_loaded_is_what_was_appended(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    body = {"payload": {"name": "Priya", "tags": ["a", {"mail": "p@acme.example"}]}, "n": 3}
    await store.append(
        lease, [draft("x", "identity", body, [("payload", "name"), ("payload", "tags", 1, "mail")], actor=DANA)]
    )
    record = (await instances.records(store, "ins_1"))[-1]
    assert (record.kind, record.step, record.actor, record.at, record.seq) == ("x", "identity", DANA, NOW, 2)
    assert record.body == body


async def test_an_older_lease_is_fenced_and_writes_nothing(store: Store) -> None:
    await start(store, "ins_1")
    old = await claim_one(store, "one", NOW, 30)
    new_lease = await claim_one(store, "two", later(31), 30)
    with pytest.raises(FencedError):
        await store.append(old, [draft("x")])
    await store.append(new_lease, [draft("y")])
    assert [record.kind for record in await instances.records(store, "ins_1")] == ["started", "y"]


async def test_a_lease_that_was_given_back_is_worth_nothing(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("x")], park=True, wake_at=later(60))
    with pytest.raises(FencedError):
        await store.append(lease, [draft("y")])


async def test_whoever_is_behind_is_told_what_is_new_and_can_go_on(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append_outside("ins_1", [draft("operator.commanded", actor=DANA)], later(1))
    with pytest.raises(BehindError) as behind:
        await store.append(lease, [draft("x")])
    assert [record.kind for record in behind.value.records] == ["operator.commanded"]
    assert behind.value.detail["records"] == behind.value.records
    await store.append(lease, [draft("x")])
    kinds = [record.kind for record in await instances.records(store, "ins_1")]
    assert kinds == ["started", "operator.commanded", "x"]


async def test_an_append_by_somebody_else_knocks_and_wakes(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append_outside("ins_1", [draft("operator.commanded", actor=DANA)], later(1))
    assert (await store.claim("one", later(1), 30, 10)).knocked == ["ins_1"]
    assert (await store.claim("one", later(1), 30, 10)).knocked == []
    assert [record.kind for record in await store.catch_up(lease)] == ["operator.commanded"]
    await store.append(lease, park=True, wake_at=None)
    assert (await store.claim("one", later(2), 30, 10)).due == []
    await store.append_outside("ins_1", [draft("operator.commanded", actor=DANA)], later(3))
    assert len((await store.claim("one", later(3), 30, 10)).due) == 1


async def test_the_list_says_at_once_that_an_instance_was_paused_or_resumed(store: Store) -> None:
    """Not only with the engine's next record: after a resume that may be a look-up's time-out later."""
    await start(store, "ins_1")
    said = []
    for number, command in enumerate(("pause", "comment", "resume"), 1):
        told = draft("operator.commanded", body={"command": command}, actor=DANA)
        await store.append_outside("ins_1", [told], later(number))
        said.append((await instances.get(store, "ins_1"))["status"])
    assert said == ["paused", "paused", "running"]


async def test_parking_and_ending_share_the_commit_of_the_last_records(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    waiting = Summary("execution", "waiting", "Dana: decide on the laptop")
    await store.append(lease, [draft("x")], summary=waiting, park=True, wake_at=later(7200))
    row = await instances.get(store, "ins_1")
    assert (row["status"], row["waiting_on"], row["wake_at"]) == ("waiting", waiting.waiting_on, later(7200))
    assert row["lease_owner"] is None
    lease = await claim_one(store, at=later(7200))
    await store.append(lease, [draft("ended")], summary=Summary("audit", "completed"), ended_at=later(7200))
    row = await instances.get(store, "ins_1")
    assert (row["status"], row["waiting_on"], row["wake_at"], row["ended_at"]) == (
        "completed", None, None, later(7200)
    )  # fmt: skip
    await store.append_outside("ins_1", [draft("erased")], later(9000))
    assert (await store.claim("one", later(9000), 30, 10)).due == []


async def test_guards_hold_in_the_same_transaction(store: Store) -> None:
    await start(store, "ins_1")
    answer = draft("approval.answered", "equipment", {"approval": "apr_1", "answer": "approve"}, actor=DANA)
    once = NotYet("approval.answered", "equipment", str(DANA))
    results = await asyncio.gather(
        *(store.append_outside("ins_1", [answer], NOW, guards=[once]) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ConflictError"] * 4 + ["list"]
    assert len(await instances.records(store, "ins_1")) == 2
    await store.append_outside("ins_1", [draft("x")], NOW, guards=[HeadIs(2)])
    with pytest.raises(ConflictError, match="moved on"):
        await store.append_outside("ins_1", [draft("x")], NOW, guards=[HeadIs(2)])
    with pytest.raises(NotFoundError):
        await store.append_outside("ins_9", [draft("x")], NOW)


async def test_many_appends_share_a_commit(store: Store) -> None:
    names = [f"ins_{number:03}" for number in range(60)]
    await asyncio.gather(*(start(store, name) for name in names))
    leases = [due.lease for due in (await store.claim("one", NOW, 30, 100)).due]
    commits = []
    backend = store._writer._backend  # type: ignore[attr-defined]
    commit = backend.commit
    backend.commit = lambda: (commits.append(1), commit())[1]
    await asyncio.gather(*(store.append(lease, [draft("x"), draft("y")]) for lease in leases))
    assert len(commits) < 30
    (count,) = (await query(store, "SELECT count(*) FROM journal"))[0]
    assert count == 180


async def test_a_request_that_cannot_be_carried_out_does_not_take_the_others_with_it(store: Store) -> None:
    await asyncio.gather(*(start(store, f"ins_{number}") for number in range(3)))
    first, second, third = [due.lease for due in (await store.claim("one", NOW, 30, 10)).due]
    second.written_seq = second.seq = 0  # a defect: it will write a record that is there already
    await query(store, "UPDATE instances SET head_seq = 0 WHERE id = ?", second.instance)
    results = await asyncio.gather(
        *(store.append(lease, [draft("x")]) for lease in (first, second, third)), return_exceptions=True
    )
    assert [getattr(result, "code", None) for result in results] == [None, "row-refused", None]
    assert [record.kind for record in await instances.records(store, third.instance)] == ["started", "x"]


async def test_whoever_is_fenced_or_behind_does_not_take_the_others_of_its_commit_along(store: Store) -> None:
    names = ["ins_1", "ins_2", "ins_3", "ins_4"]
    await asyncio.gather(*(start(store, name) for name in names))
    leases = {due.lease.instance: due.lease for due in (await store.claim("one", NOW, 30, 10)).due}
    await query(store, "UPDATE instances SET epoch = epoch + 1, lease_owner = 'two' WHERE id = 'ins_2'")
    await store.append_outside("ins_3", [draft("operator.commanded", actor=DANA)], later(1))
    status = Summary(stage="execution", status="waiting")
    results = await asyncio.gather(
        *(store.append(leases[name], [draft("x")]) for name in names[:3]),
        store.append(leases["ins_4"], [draft("x")], summary=status, park=True, wake_at=later(60)),
        return_exceptions=True,
    )
    assert [getattr(result, "code", None) for result in results] == [None, "instance-fenced", "instance-moved-on", None]
    found = [[record.kind for record in await instances.records(store, name)][1:] for name in names]
    assert found == [["x"], [], ["operator.commanded"], ["x"]]
    heads = await query(store, "SELECT head_seq, status FROM instances ORDER BY id")
    assert [tuple(row) for row in heads] == [(2, "running"), (1, "running"), (2, "running"), (2, "waiting")]


async def test_a_long_record_stands_among_the_blobs(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("x", body={"text": "long " * 20_000})], park=True, wake_at=NOW)
    assert await query(store, "SELECT body FROM journal WHERE seq = 2") == [(None,)]
    claims = await store.claim("two", NOW, 30, 10)
    assert claims.due[0].records[-1].body == {"text": "long " * 20_000}


async def test_leases_are_renewed_and_lost_ones_named(store: Store) -> None:
    await start(store, "ins_1")
    await start(store, "ins_2")
    kept, lost = [due.lease for due in (await store.claim("one", NOW, 30, 10)).due]
    assert await store.renew([kept], later(20), 30) == []
    taken = await store.claim("two", later(31), 30, 10)
    assert [due.lease.instance for due in taken.due] == [lost.instance]
    assert await store.renew([kept, lost], later(40), 30) == [lost.instance]
    await store.release(lost, NOW)
    assert (await store.claim("one", later(41), 30, 10)).due == []


async def test_the_next_wake_is_known_even_where_a_dead_engine_was_knocked(store: Store) -> None:
    await start(store, "ins_1")
    await claim_one(store, "dead", NOW, 30)
    await store.append_outside("ins_1", [draft("x")], later(1))
    claims = await store.claim("alive", later(2), 30, 10)
    assert (claims.due, claims.next_wake) == ([], later(30))
    assert len((await store.claim("alive", later(30), 30, 10)).due) == 1


async def test_two_stores_on_one_database_never_claim_the_same_instance(url: str, key_file, store: Store) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    await asyncio.gather(*(start(store, f"ins_{number:03}") for number in range(40)))
    with Store.open(url, key_file=key_file) as other:
        rounds = await asyncio.gather(
            *(s.claim(o, NOW, 30, 5) for _ in range(4) for s, o in ((store, "one"), (other, "two")))
        )
    taken = [due.lease.instance for claims in rounds for due in claims.due]
    assert len(taken) == len(set(taken)) == 40


async def test_a_journal_that_does_not_verify_is_not_carried_on(store: Store) -> None:
    await start(store, "ins_1")
    await start(store, "ins_2")
    await query(store, "UPDATE journal SET body = replace(body, 'SE-2', 'SE-9') WHERE instance = 'ins_1'")
    claims = await store.claim("one", NOW, 30, 10)
    assert [due.lease.instance for due in claims.due] == ["ins_2"]
    assert "record 1 of ins_1" in claims.broken["ins_1"]


async def test_a_journal_whose_tail_was_cut_is_not_carried_on(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, [draft("x")], park=True, wake_at=NOW)
    await query(store, "DELETE FROM journal WHERE seq = 2")
    assert "ends at record 1" in (await store.claim("one", NOW, 30, 10)).broken["ins_1"]


async def test_other_stores_hear_of_what_is_new(url: str, key_file, store: Store) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with Store.open(url, key_file=key_file) as other:
        heard = asyncio.Event()
        deaf = store.listen(heard.set)
        await other.accept(event("e1"), [new("ins_1")])
        await asyncio.wait_for(heard.wait(), 5)
        deaf()
