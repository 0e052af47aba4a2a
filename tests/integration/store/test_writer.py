"""Who writes when: loops write rows, the thread commits, and nobody who asked is forgotten."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.store.kit import NOW, claim_one, draft, event, new, start
from topstitch.foundation.errors import OperatorError
from topstitch.store import Claims, Store, instances, journal, writer
from topstitch.store.database import Backend
from topstitch.store.requests import Work


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "one.db"


@pytest.fixture
def store(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(writer, "LOOK_SECONDS", 60.0)  # nothing is found by chance
    with Store.open(str(file)) as opened:
        yield opened


def threads_of(store: Store) -> dict[str, set[str]]:
    """Note which thread carries out which kind of statement from here on."""
    connection = store._writer._backend.connection  # type: ignore[attr-defined]
    seen: dict[str, set[str]] = {}
    connection.set_trace_callback(
        lambda text: seen.setdefault(text.split()[0], set()).add(threading.current_thread().name)
    )
    return seen


async def test_the_loop_writes_the_rows_and_the_thread_waits_for_the_disk(store: Store) -> None:
    seen = threads_of(store)
    await asyncio.gather(start(store, "ins_1"), start(store, "ins_2"))
    assert (seen["BEGIN"], seen["INSERT"], seen["COMMIT"]) == ({"MainThread"}, {"MainThread"}, {"topstitch-writer"})


async def test_what_is_alone_is_committed_by_the_loop_while_the_disk_is_quick(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, seconds = [1000.0], [0.0002]
    finish = store._writer._journal.finish  # type: ignore[attr-defined]

    def finish_in_time(started: Any) -> Any:
        now[0] += seconds[0]
        return finish(started)

    monkeypatch.setattr(writer, "stopwatch", lambda: now[0])
    monkeypatch.setattr(store._writer._journal, "finish", finish_in_time)  # type: ignore[attr-defined]
    await start(store, "ins_1")
    lease = await claim_one(store)

    async def committed_by() -> set[str]:
        seen = threads_of(store)
        await store.append(lease, [draft("x")])
        return seen["COMMIT"]

    assert await committed_by() == {"MainThread"}
    seconds[0] = 0.05
    assert await committed_by() == {"MainThread"}, "that it is slow is known only afterwards"
    assert await committed_by() == {"topstitch-writer"}
    seconds[0] = 0.0002
    by = [await committed_by() for _ in range(50)]
    assert (by[0], by[-1]) == ({"topstitch-writer"}, {"MainThread"}), "a disk may become quick again"


@pytest.mark.parametrize(("records_max", "thread"), [(32, "MainThread"), (0, "topstitch-writer")])
async def test_what_an_event_starts_is_claimed_in_the_commit_of_the_event(
    store: Store, monkeypatch: pytest.MonkeyPatch, records_max: int, thread: str
) -> None:
    """And whoever opens much of what was claimed does not do so in the loop."""
    monkeypatch.setattr(journal, "BRIEF_RECORDS_MAX", records_max)
    claims: list[asyncio.Task[Claims]] = []
    deaf = store.listen(lambda: claims.append(asyncio.create_task(store.claim("me", NOW, 30, 8))))
    commits: list[str] = []
    store._writer._backend.connection.set_trace_callback(  # type: ignore[attr-defined]
        lambda text: commits.append(threading.current_thread().name) if text == "COMMIT" else None
    )
    await start(store, "ins_1")
    deaf()
    assert [due.lease.instance for due in (await claims[0]).due] == ["ins_1"]
    assert commits[0] == thread
    assert (len(claims), len(commits)) == (1, 1), "nothing that is due was left, and nobody is told of it again"


async def test_what_an_event_starts_is_told_of_when_nobody_claims_it_at_once(store: Store) -> None:
    told: list[str] = []
    store.listen(lambda: told.append("due"))
    claiming = store.claim("me", NOW - timedelta(seconds=1), 30, 0)
    await asyncio.gather(start(store, "ins_1"), claiming)
    assert told == ["due", "due"], "before it is written, and when it is there"


async def test_what_another_process_holds_up_does_not_hold_the_loop_up(store: Store, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asked = asyncio.ensure_future(store.accept(event("hire-1"), [new("ins_1")]))
    for _ in range(100):  # the loop turns while the request waits for the other one's lock
        await asyncio.sleep(0)
    assert not asked.done()
    other.execute("COMMIT")
    assert (await asked).first
    seen = threads_of(store)
    assert (await store.accept(event("hire-2"), [new("ins_2")])).first
    assert seen["INSERT"] == {"topstitch-writer"}, "a file that others write to is not locked across a change of hands"


async def test_a_row_that_the_database_refuses_takes_no_other_request_with_it(store: Store) -> None:
    await store.accept(event("hire-1"), [new("ins_1")])
    again = store.accept(event("hire-2"), [new("ins_1")])
    fine = store.accept(event("hire-3"), [new("ins_3")])
    refused, accepted = await asyncio.gather(again, fine, return_exceptions=True)
    assert isinstance(refused, OperatorError)
    assert (refused.code, accepted.first) == ("row-refused", True)  # type: ignore[union-attr]


async def test_whoever_comes_while_long_work_is_under_way_comes_next(store: Store) -> None:
    may_end, begun = threading.Event(), threading.Event()

    def long(_: Backend) -> str:
        begun.set()
        assert may_end.wait(10)
        return "worked"

    working = asyncio.create_task(asyncio.to_thread(store._writer.submit_and_wait, Work(long)))
    await asyncio.to_thread(begun.wait, 10)
    asked = [asyncio.ensure_future(store.accept(event(f"hire-{n}"), [new(f"ins_{n}")])) for n in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(one.done() for one in asked)
    may_end.set()
    assert await working == "worked"
    assert [one.first for one in await asyncio.gather(*asked)] == [True] * 3


def test_loops_of_many_threads_and_callers_without_one_are_all_answered(store: Store) -> None:
    async def many(name: int) -> None:
        for turn in range(20):
            label = f"{name}-{turn}"
            both = (store.accept(event(f"hire-{label}"), [new(f"ins_{label}")]), store.work(_count))
            accepted, _ = await asyncio.gather(*both)
            assert accepted.first

    workers = [threading.Thread(target=lambda n=n: asyncio.run(many(n)), daemon=True) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert asyncio.run(store.work(_count)) == 80


def _count(backend: Backend) -> Any:
    return backend.execute("SELECT count(*) FROM instances")[0][0]


async def test_who_comes_while_a_loop_writes_is_not_forgotten(store: Store) -> None:
    queues: Any = store._writer
    started, submitted = queues._journal.start, threading.Event()

    async def ask() -> None:
        asked = queues.submit(Work(_count))
        submitted.set()
        await asked

    asking = threading.Thread(target=lambda: asyncio.run(ask()), daemon=True)

    def start_slowly(*args: Any, **rest: Any) -> Any:
        queues._journal.start = started
        asking.start()
        assert submitted.wait(10)
        while not queues._handed.empty():
            os.sched_yield()  # until the thread has looked, and found the turn taken
        return started(*args, **rest)

    queues._journal.start = start_slowly
    assert (await store.accept(event("hire-1"), [new("ins_1")])).first
    await asyncio.to_thread(asking.join, 10)
    assert not asking.is_alive()


async def test_what_is_waiting_when_the_store_closes_is_carried_out(file: Path) -> None:
    with Store.open(str(file)) as store:
        asked = [asyncio.ensure_future(store.accept(event(f"hire-{n}"), [new(f"ins_{n}")])) for n in range(3)]
        await asyncio.sleep(0)
    assert [one.first for one in await asyncio.gather(*asked)] == [True] * 3
    with Store.open(str(file)) as store:
        assert len(await instances.listing(store)) == 3


async def test_a_commit_that_fails_is_told_to_all_and_leaves_nothing_behind(store: Store) -> None:
    backend: Any = store._writer._backend  # type: ignore[attr-defined]
    commit, failing = backend.commit, [True]

    def fails_once() -> None:
        if failing.pop() if failing else False:
            raise OperatorError("disk-full", "the disk is full; make room")
        commit()

    backend.commit = fails_once
    both = [store.accept(event(f"hire-{n}"), [new(f"ins_{n}")]) for n in range(2)]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert [getattr(answer, "code", None) for answer in answers] == ["disk-full"] * 2
    assert await store.work(_count) == 0
    assert (await store.accept(event("hire-9"), [new("ins_9")])).first
