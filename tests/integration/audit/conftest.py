"""One suite over both databases: whoever asks for ``trail`` is run on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.postgres import PostgresServer
from support.trail import Trail
from topstitch.store import Store

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def one_database(postgres: PostgresServer) -> Iterator[str]:
    """A database whose schemas the tests share, because making a database takes seconds."""
    with postgres.database() as dsn:
        yield dsn


@pytest.fixture
def postgres_schema(one_database: str) -> Iterator[str]:
    """The address of an empty schema of one's own."""
    name = f"audit_{next(_NUMBERS)}"
    with psycopg.connect(one_database, autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {name}")
        yield f"{one_database}&options=-csearch_path%3D{name}"
        server.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/topstitch.db"
    address: str = request.getfixturevalue("postgres_schema")
    return address


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    """An open store on an empty database."""
    with Store.open(url, key_file=tmp_path / "keys" / "installation.key") as opened:
        yield opened


@pytest.fixture
def trail(store: Store, tmp_path: Path) -> Trail:
    """An installation whose trail is still empty."""
    return Trail(store, tmp_path)
