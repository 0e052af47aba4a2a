"""With 100,000 finished instances in SQLite: the board, the alerts, and the plans by which they are read.

Budgets are counts of work: statements, and thousands of steps of SQLite's machine, which are the same on every
machine, however busy. ``topstitch bench --seams`` prints what they take in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from integration.metrics.kit import Paper
from support.onboarding import onboarding_plan
from topstitch.metrics import export, watch
from topstitch.metrics.seams import Band, edges_of
from topstitch.metrics.watch import Watcher
from topstitch.store import Store, alarms, measures, rollups, sql
from topstitch.store.seeding import Seed, SeededEdge, fill
from topstitch.store.writer import at_once

PLAN = onboarding_plan()
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
INSTANCES = 100_000
THOUSAND = 1000


class Work(msgspec.Struct):
    """What was asked of the database."""

    statements: int = 0
    thousands: int = 0
    """Of steps of SQLite's machine."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A database with 100,000 finished instances: 24 days of them, some 4,200 of the last day."""
    folder: Path = tmp_path_factory.mktemp("seeded")
    edges = [SeededEdge(e.from_step, e.to_step, e.seam.from_system, e.seam.to_system) for e in edges_of(PLAN)]
    with Store.open(f"sqlite:///{folder}/topstitch.db", threads=False) as opened:
        seed = Seed(
            workflow=PLAN.workflow, version=PLAN.version, digest=PLAN.digest, edges=edges, instances=INSTANCES,
            until_ms=round(NOW.timestamp() * 1000),
        )  # fmt: skip
        assert at_once(fill(opened, seed)) == INSTANCES * (1 + 2 * len(edges))
        yield opened


@pytest.fixture
def watcher(store: Store) -> Watcher:
    return Watcher(store=store, plans=Paper(PLAN))


@contextmanager
def counted() -> Iterator[Work]:
    """Count what is read for the time of the block."""
    work = Work()

    def tick() -> int:
        work.thousands += 1
        return 0

    def begins(_connection: Any, cursor: Any, *_: Any) -> None:
        work.statements += 1
        cursor.connection.set_progress_handler(tick, THOUSAND)

    def ends(_connection: Any, cursor: Any, *_: Any) -> None:
        cursor.connection.set_progress_handler(None, 0)

    listeners = (("before_cursor_execute", begins), ("after_cursor_execute", ends))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    yield work
    for name, listener in listeners:
        event.remove(Engine, name, listener)


async def test_the_board_of_a_day_reads_the_day_in_a_few_statements(watcher: Watcher) -> None:
    with counted() as work:
        figures = await watch.board(watcher, NOW)
    assert sum(one.count for one in figures) > 20_000
    assert {one.band for one in figures} == {Band.GREEN}
    assert all(one.p95_ms and one.exceptions.count.tried > 4000 for one in figures)
    assert work.statements < 35, work
    assert 0 < work.thousands < 1_100, work  # 759 when this was written: 36 steps for each crossing


async def test_all_alerts_are_evaluated_in_a_few_statements_that_read_what_is_recent(watcher: Watcher) -> None:
    first = await watch.evaluate(watcher, NOW)
    assert first.counted
    assert {one.samples for one in await rollups.baselines_of(watcher.store)} == {200}
    with counted() as work:
        await watch.evaluate(watcher, NOW + timedelta(seconds=30))
    assert work.statements < 60, work
    assert 0 < work.thousands < 700, work  # 471 when this was written
    assert await alarms.listing(watcher.store) == []


async def test_a_scrape_reads_little_more_than_the_board(watcher: Watcher) -> None:
    with counted() as work:
        await export.scrape(watcher, NOW)
    assert work.statements < 60, work
    assert 0 < work.thousands < 1_800, work  # 1,283 when this was written


PLANS = [
    (measures.TRIED, ["ix_handoffs_seam"]),
    (text(measures.CROSSINGS), ["ix_handoffs_seam"]),
    (measures.LONG_CROSSINGS, ["ix_handoffs_seam"]),
    (text(measures.DURATIONS), ["ix_steps_measured"]),
    (measures.RECENT, ["ix_steps_measured"]),
    (measures.FAILED_STEPS, ["ix_steps_failed"]),
    (measures.OPENED_DISCREPANCIES, ["ix_discrepancies_opened"]),
    (measures.FAILED_UNDOS, ["ix_journal_undo_failed"]),
    (measures.CROSSED, ["PRIMARY KEY (instance=?)"]),
    (measures.OPEN_INSTANCES, ["ix_instances_status"]),
    (measures.OPEN_STEPS, ["ix_instances_status", "PRIMARY KEY (instance=?)"]),
    (measures.OPEN_APPROVALS, ["ix_instances_status", "ix_approvals_instance"]),
    (measures.BEGUN, ["ix_instances_workflow"]),
    (measures.BEGUN_STEPS, ["ix_instances_workflow", "PRIMARY KEY (instance=?)"]),
    (measures.BEGUN_APPROVALS, ["ix_instances_workflow", "ix_approvals_instance"]),
    (measures.BEGUN_TASKS, ["ix_instances_workflow", "ix_tasks_instance"]),
    (measures.OVERDUE, ["ix_instances_due"]),
    (measures.FACTS, ["(instance=?)"]),
    (measures._NEXT_FROM, ["COVERING INDEX ix_handoffs_seam"]),
    (measures._NEXT_TO, ["COVERING INDEX ix_handoffs_seam"]),
    (measures._NEXT_STEP, ["COVERING INDEX ix_steps_measured"]),
]
GIVEN = {
    "from_system": "entra-id", "to_system": "servicenow", "since": 1, "until": 2, "slot_ms": 3_600_000, "over_ms": 5,
    "limit": 20, "before": 1, "now": 2,
    "step": "identity", "digests": ["d"], "instances": ["i"], "kinds": ["k"], "workflow": "w",
}  # fmt: skip


@pytest.mark.parametrize(("query", "indexes"), PLANS, ids=[str(number) for number in range(len(PLANS))])
async def test_every_read_is_answered_from_an_index(store: Store, query: Any, indexes: list[str]) -> None:
    names = set(query.compile().params) | set(query._bindparams)
    given = {name: value for name, value in GIVEN.items() if name in names}
    explain = text("EXPLAIN QUERY PLAN " + query.text).bindparams(*query._bindparams.values())
    plan = await store.read(lambda c: [str(row[3]) for row in c.execute(explain, given)])
    assert not [line for line in plan if line.startswith("SCAN") and "CONSTANT" not in line], plan
    for index in indexes:
        assert any(index in line for line in plan), plan


PLAIN = [
    (sql.CLAIM_SELECT.format(skip_locked=""), (1, 1, "me", 10), "ix_instances_due"),
    (alarms.CLAIM, (2, 1, 1, 10), "ix_alert_messages_due"),
]


@pytest.mark.parametrize(("query", "given", "index"), PLAIN, ids=["due checks are taken up", "due messages are taken"])
async def test_R04_what_is_due_is_picked_up_without_a_scan(
    store: Store, query: str, given: tuple[Any, ...], index: str
) -> None:
    plan = await store.work(
        lambda backend: [str(row[3]) for row in backend.execute(f"EXPLAIN QUERY PLAN {query}", given)]
    )
    assert not [line for line in plan if line.startswith("SCAN")], plan
    assert any(index in line for line in plan), plan
