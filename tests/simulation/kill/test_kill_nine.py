"""Real engines, real sockets, real SIGKILL: nothing is lost, doubled, orphaned or stalled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from support.amount import ROUND, SOAKS
from support.kill.harness import Report, torment
from support.postgres import PostgresServer, StopMode

INSTANCES = 500
TURNS = range(ROUND * 1000, ROUND * 1000 + (10 if SOAKS else 1))
SQLITE = "sqlite:///FOLDER/topstitch.db"
FORGETFUL = {
    # a commit is acknowledged before it is written, and nothing else has it written early
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "1GB",
    "wal_buffers": "64MB",
    "bgwriter_lru_maxpages": "0",
}


class Forgetful(PostgresServer):
    """A server whose log writer stands still: what it acknowledges is in memory, and a hard stop takes it away."""

    writer: int | None = None

    def start(self) -> None:
        super().start()
        with psycopg.connect(self.dsn()) as connection:
            found = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").fetchone()
        assert found is not None
        self.writer = int(found[0])
        os.kill(self.writer, signal.SIGSTOP)

    def drop_database(self, name: str) -> None:
        if self.writer is not None:
            os.kill(self.writer, signal.SIGCONT)  # the server waits until every process of its has heard of it
        super().drop_database(name)

    def stop(self, mode: StopMode = "fast") -> None:
        if self.writer is not None:
            os.kill(self.writer, signal.SIGKILL)
            self.writer = None
        super().stop(mode)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


def stands(report: Report) -> None:
    print(report)
    assert report.clean, str(report)
    assert sum(report.ends.values()) == report.instances
    assert report.ends["completed"] > report.instances * 0.9


@pytest.mark.parametrize("seed", TURNS)
def test_X04_kill_nine_on_sqlite(seed: int) -> None:
    report = torment(SQLITE, seed=seed, count=INSTANCES)
    stands(report)
    assert report.kills >= INSTANCES / 10


@pytest.mark.parametrize("seed", TURNS)
def test_X04_kill_nine_on_postgres(seed: int, server: PostgresServer) -> None:
    report = torment(server, seed=seed, count=INSTANCES)
    stands(report)
    assert report.kills >= INSTANCES / 10


@pytest.mark.parametrize("seed", TURNS)
def test_a_server_that_is_stopped_hard_every_few_seconds_loses_nothing(seed: int, server: PostgresServer) -> None:
    report = torment(server, seed=seed, count=240, open_max=60, kill_seconds=(0.2, 1.0), restart_seconds=(2.0, 4.0))
    stands(report)
    assert report.restarts >= 3
    assert report.failed >= 3


def test_H08_the_mutant_without_look_up_is_caught() -> None:
    report = torment(SQLITE, seed=ROUND, count=60, mutant=True)
    print(report)
    assert len(report.duplicated) >= 5
    assert all(":order" in key or ":deliver" in key for key in report.duplicated), (
        "only find-first writes can be doubled"
    )


def test_a_database_that_forgets_what_it_acknowledged_is_caught() -> None:
    """The test of the test: with ``synchronous_commit=off`` and a hard stop the harness sees the loss."""
    with Forgetful(settings=FORGETFUL) as server:
        report = torment(
            server,
            seed=ROUND,
            count=5000,
            open_max=5000,
            kill_seconds=None,
            restart_seconds=(2.0, 3.0),
            seconds_max=15.0,
        )
    print(report)
    assert report.lost
    assert not report.clean
