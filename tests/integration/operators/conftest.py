"""Definitions to be bent: the shipped one, and what is left of it without something."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import topstitch
from support.commands import Ran, called

SHIPPED = Path(topstitch.__file__).parent / "examples" / "onboarding" / "employee-onboarding.yaml"


@pytest.fixture
def shipped() -> Path:
    return SHIPPED


@pytest.fixture
def bent(tmp_path: Path) -> Callable[..., Path]:
    """Write the shipped definition with something replaced; every replacement must hit."""

    def write(*changes: tuple[str, str], name: str = "bent.yaml") -> Path:
        text = SHIPPED.read_text(encoding="utf-8")
        for pattern, instead in changes:
            text, hits = re.subn(pattern, instead, text, count=1, flags=re.DOTALL)
            assert hits == 1, pattern
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def topstitch_in(tmp_path: Path) -> Callable[..., Ran]:
    """Run a command on a data folder of its own."""

    def run(*words: str, **more: str) -> Ran:
        return called(*words, "--data", str(tmp_path / "data"), **more)

    return run
