"""The commands as people run them: one finished demo, copied for whoever wants to change it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.commands import Ran, called, ran


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A demo that answered for itself and has ended: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    return folder, ran("demo", "--exit", "--port", "0", "--data", str(folder))


@pytest.fixture
def topstitch(finished: tuple[Path, Ran]) -> Callable[..., Ran]:
    """Run a command on the folder of the finished demo."""

    def run(*words: str, **more: str) -> Ran:
        return called(*words, "--data", str(finished[0]), **more)

    return run


@pytest.fixture
def copied(finished: tuple[Path, Ran], tmp_path: Path) -> Path:
    """The finished demo's folder, to be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    return folder


@pytest.fixture
def port_in_use() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])
