"""One suite over both databases: whoever asks for ``trail`` is run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.trail import Trail

from topstitch.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/topstitch.db"
    address: str = request.getfixturevalue("postgres_dsn")
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
