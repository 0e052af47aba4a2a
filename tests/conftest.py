"""What every test gets: a real PostgreSQL when it asks for one, and hypothesis set up for this house.

Fixtures: ``postgres`` (one server per worker, for the session) and ``postgres_dsn`` (a fresh
database of it, gone after the test).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.postgres import PostgresServer

# A slow machine is no finding, so there is no deadline. "house" draws the same examples each time;
# `make soak` draws new ones. The example that failed is printed in a form that can be pasted.
settings.register_profile("house", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    database=None,
    print_blob=True,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One running server per test worker; ask it for databases, do not stop it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres: PostgresServer) -> Iterator[str]:
    """The address of an empty database of one's own."""
    with postgres.database() as dsn:
        yield dsn
