"""The engine's tests run on SQLite and on PostgreSQL, on a clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.store.kit import NOW
from topstitch.foundation.clock import SimulatedClock
from topstitch.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/topstitch.db"
    address: str = request.getfixturevalue("postgres_dsn")
    return address


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where the installation key lies."""
    return tmp_path / "installation.key"


@pytest.fixture
def store(url: str, key_file: Path) -> Iterator[Store]:
    """An open store on an empty database."""
    with Store.open(url, key_file=key_file) as opened:
        yield opened


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that stands at nine in the morning."""
    return SimulatedClock(NOW)
