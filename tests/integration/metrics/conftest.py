"""Both databases for whoever asks for ``store``; a watcher over the shipped onboarding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.metrics.kit import Paper, routes
from support.onboarding import onboarding_plan
from topstitch.metrics.watch import Watcher
from topstitch.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/topstitch.db"
    address: str = request.getfixturevalue("postgres_dsn")
    return address


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    """An open store on an empty database."""
    with Store.open(url, key_file=tmp_path / "installation.key") as opened:
        yield opened


@pytest.fixture
def watcher(store: Store) -> Watcher:
    """Watches the shipped onboarding."""
    return Watcher(store=store, plans=Paper(onboarding_plan()), routes=routes())
