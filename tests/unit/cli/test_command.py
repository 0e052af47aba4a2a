"""What is printed to be typed works where it is typed: the program's name and the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.cli.command import Door, program
from topstitch.cli.screen import Screen


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in an environment beside the folder where somebody is, not in the shell's path."""
    path = tmp_path / ".venv" / "bin" / "topstitch"
    path.parent.mkdir(parents=True)
    path.write_text("", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [".venv/bin/topstitch", "demo"])
    return path


def test_a_program_that_the_shell_does_not_find_is_shown_by_its_path(installed: Path, monkeypatch: pytest.MonkeyPatch):
    assert program() == ".venv/bin/topstitch"
    monkeypatch.chdir(installed.parent)
    monkeypatch.setattr("sys.argv", ["./topstitch"])
    assert program() == "./topstitch"
    elsewhere = installed.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("sys.argv", [str(installed)])
    assert program() == str(installed)


def test_a_program_that_the_shell_finds_is_shown_by_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program() == "topstitch"
    monkeypatch.setattr("sys.argv", ["/usr/lib/python3/site-packages/topstitch/__main__.py"])
    assert program() == "topstitch"


def test_what_is_to_be_typed_goes_on_in_the_same_folder(installed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(installed.parent))
    assert Door(Screen(), None).typed("instances") == "topstitch instances"
    assert Door(Screen(), "my process").typed("instances") == "topstitch instances --data 'my process'"
