"""A database in memory: no thread, nothing suspends, and the same transactions as on disk."""

from __future__ import annotations

import threading

import pytest

from integration.store.kit import NOW, claim_one, draft, later, start
from topstitch.store import BehindError, Store, at_once, instances, items


def test_everything_is_carried_out_at_once_without_an_event_loop() -> None:
    threads = threading.active_count()
    with Store.open("sqlite::memory:") as store:
        at_once(start(store, "ins_1"))
        lease = at_once(claim_one(store))
        at_once(store.append_outside("ins_1", [draft("x")], NOW))
        with pytest.raises(BehindError):
            at_once(store.append(lease, [draft("y")]))
        at_once(store.append(lease, [draft("y")], park=True, wake_at=later(60)))
        assert [record.kind for record in at_once(instances.records(store, "ins_1"))] == ["started", "x", "y"]
        assert at_once(instances.listing(store))[0]["wake_at"] == later(60)
        assert at_once(items.list_approvals(store)) == []
        assert threading.active_count() == threads


def test_two_databases_in_memory_are_two() -> None:
    with Store.open("sqlite::memory:") as one, Store.open("sqlite::memory:") as two:
        at_once(start(one, "ins_1"))
        assert at_once(instances.listing(two)) == []


def test_reset_forgets_everything() -> None:
    with Store.open("sqlite::memory:") as store:
        for number in range(3):
            at_once(start(store, f"ins_{number}"))
            assert len(at_once(instances.listing(store))) == 1
            store.reset()
        assert at_once(store.claim("one", NOW, 30, 10)).due == []


def test_a_file_can_be_used_without_a_thread_too(tmp_path) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with Store.open(str(tmp_path / "x.db"), threads=False) as store:
        at_once(start(store, "ins_1"))
        assert len(at_once(store.claim("one", NOW, 30, 10)).due) == 1
