"""The state of a simulator: transactions, what a lagging reader sees, what a file remembers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.state import Records, Store


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def records(clock: SimulatedClock) -> Records:
    return Records(Store(), "test", clock)


def test_a_transaction_that_raises_leaves_nothing(records: Records) -> None:
    def act() -> None:
        with records.store.transaction():
            records.put("user", "a", {"n": 2})
            records.put("user", "b", {"n": 3})
            records.delete("user", "a")
            raise KeyError

    records.put("user", "a", {"n": 1})
    with pytest.raises(KeyError):
        act()
    assert records.all("user") == [{"n": 1}]


def test_an_inner_transaction_may_fail_alone_and_an_outer_one_takes_the_inner_back(records: Records) -> None:
    seen = []

    def inner() -> None:
        with records.store.transaction():
            records.put("user", "a", {})
            raise ZeroDivisionError

    def outer() -> None:
        with records.store.transaction():
            with pytest.raises(ZeroDivisionError):
                inner()
            seen.append(len(records.all("user")))
            with records.store.transaction():
                records.put("user", "b", {})
            seen.append(len(records.all("user")))
            raise KeyError

    with pytest.raises(KeyError):
        outer()
    assert (seen, records.all("user")) == ([0, 1], [])


def test_only_business_records_count_as_effects(records: Records) -> None:
    with records.store.transaction() as change:
        records.put("_tokens", "t", {})
        assert change.effects == 0
        records.put("user", "a", {})
        assert change.effects == 1


def test_a_lagging_reader_sees_what_was_before(records: Records, clock: SimulatedClock) -> None:
    records.put("user", "old", {"n": 1})
    clock.advance(60)
    records.change("user", "old", {"n": 2})
    records.put("user", "new", {"n": 1})
    with records.lagging(clock.now() - timedelta(seconds=30)):
        assert (records.get("user", "old"), records.get("user", "new")) == ({"n": 1}, None)
    records.delete("user", "old")
    with records.lagging(clock.now() - timedelta(seconds=30)):
        assert records.get("user", "old") == {"n": 2}
    assert records.get("user", "old") is None


def test_a_stored_record_is_a_copy(records: Records) -> None:
    body = {"list": [1]}
    records.put("user", "a", body)
    body["list"].append(2)
    assert records.get("user", "a") == {"list": [1]}


def test_a_file_remembers_records_numbers_and_calls(tmp_path: Path, clock: SimulatedClock) -> None:
    store = Store(tmp_path / "state.db")
    records = Records(store, "one", clock)
    records.put("user", "a", {"n": 1})
    records.number("ticket", 100)
    store.append_call("one", {"path": "/x"})
    store.close()
    again = Store(tmp_path / "state.db")
    kept = Records(again, "one", clock)
    assert (kept.all("user"), kept.number("ticket", 100)) == ([{"n": 1}], 101)
    assert again.calls("one") == [{"seq": 1, "path": "/x"}]
    assert Records(again, "two", clock).all("user") == []
    again.close()
