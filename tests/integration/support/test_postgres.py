"""The PostgreSQL that tests get is real: isolated databases, durable commits, a crash that is a crash."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from support.postgres import PostgresError, PostgresServer


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer(tcp=True) as server:
        yield server


def test_each_test_gets_an_empty_database_of_its_own(postgres: PostgresServer) -> None:
    with postgres.database() as one, postgres.database() as other:
        with psycopg.connect(one) as connection:
            connection.execute("CREATE TABLE mine (id int)")
        with psycopg.connect(other) as connection:
            row = connection.execute("SELECT to_regclass('mine')").fetchone()
    assert one != other
    assert row == (None,)


def test_a_template_is_copied_with_its_tables(postgres: PostgresServer) -> None:
    template = postgres.create_database()
    with psycopg.connect(postgres.dsn(template)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 7 AS id")
    with postgres.database(template=template) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT id FROM mine").fetchone() == (7,)
    postgres.drop_database(template)


def test_what_was_committed_outlives_a_crash_and_what_was_not_does_not(own_server: PostgresServer) -> None:
    dsn = own_server.dsn(own_server.create_database())
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
    open_connection = psycopg.connect(dsn)
    open_connection.execute("INSERT INTO kept VALUES (2)")
    own_server.restart("immediate")
    with pytest.raises(psycopg.OperationalError):
        open_connection.commit()
    open_connection.close()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(1,)]
    assert "database system was not properly shut down" in own_server.log


def test_durability_is_on_and_the_loopback_port_answers(own_server: PostgresServer) -> None:
    with psycopg.connect(own_server.dsn(tcp=True)) as connection:
        settings = [connection.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")]
    assert settings == [("on",), ("on",)]


def test_nothing_is_left_behind() -> None:
    with PostgresServer() as server:
        folder = server.folder
        assert server.running
    assert not server.running
    assert not folder.exists()


def test_a_server_that_cannot_start_shows_its_log() -> None:
    server = PostgresServer(settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match="shared_buffers"):
        server.start()
    server.destroy()


def test_tcp_is_off_unless_asked_for(postgres: PostgresServer) -> None:
    with pytest.raises(PostgresError, match=r"PostgresServer\(tcp=True\)"):
        postgres.dsn(tcp=True)
