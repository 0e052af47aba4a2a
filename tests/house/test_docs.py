"""Every command is documented, as it is: the page is written from the commands themselves."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))


def test_the_command_line_page_says_what_the_commands_are() -> None:
    import cli_reference

    said = cli_reference.PAGE.read_text(encoding="utf-8")
    assert said == cli_reference.page(), "run: .venv/bin/python tools/cli_reference.py"


def test_every_command_says_what_it_does() -> None:
    import cli_reference

    sections = cli_reference.page().split("\n## ")[1:]
    assert len(sections) > 25
    silent = [section.splitlines()[0] for section in sections if len(section.split("\n\n")) < 3]
    assert silent == []
