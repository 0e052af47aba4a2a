"""What the light commands load, and what they do without: this, and not a time, is what keeps them quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from support.commands import Ran, called
from topstitch.store import Store

RUN: Final = """
import sys
from topstitch.cli import main
sys.argv = ["topstitch", *sys.argv[1:]]
try:
    main()
finally:
    print(*sorted({name for name in sys.modules if not name.startswith("_")}), file=sys.stderr)
"""
HEAVY: Final = ("aiohttp", "authlib", "cel_expr_python", "fastapi", "google", "jinja2", "jq", "pydantic", "rich",
                "starlette", "uvicorn", "yaml", "topstitch.lifecycle", "topstitch.plan.plan",
                "topstitch.language.cel")  # fmt: skip
"""What costs a tenth of a second or more, or leads to it: an HTTP client and server, expressions, models, plans."""
DATABASE: Final = ("sqlalchemy", "sqlite3", "topstitch.store")


def loaded(*words: str) -> set[str]:
    """Return the modules that a command has loaded when it ends."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=False, timeout=60)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_help_and_version_load_neither_database_nor_rooms(words: list[str]) -> None:
    found = loaded(*words)
    assert not found & {*HEAVY, *DATABASE, "asyncio", "msgspec"}
    assert "topstitch.cli" in found


@pytest.mark.parametrize(
    "words",
    [
        ["approvals", "list"],
        ["tasks", "list"],
        ["instances"],
        ["instances", "-q", "state:open"],
        ["exceptions", "list"],
        ["discrepancies", "list"],
        ["webhooks", "list"],
        ["workflows", "list"],
        ["policy", "list"],
    ],
    ids=" ".join,
)
def test_a_list_loads_the_database_and_no_rules(words: list[str], tmp_path: Path) -> None:
    Store.open(str(tmp_path / "topstitch.db"), key_file=tmp_path / "installation.key").close()
    found = loaded(*words, "--data", str(tmp_path))
    assert not found & set(HEAVY)
    assert {"sqlalchemy", "topstitch.store"} <= found


def test_tab_loads_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TOPSTITCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "topstitch app")
    monkeypatch.setenv("COMP_CWORD", "1")
    found = loaded()
    assert not found & {*HEAVY, *DATABASE, "asyncio", "topstitch.cli.approvals", "topstitch.cli.command"}
    assert "click.shell_completion" in found


@pytest.mark.parametrize("words", [["approvals", "refuse", "apr_none"], ["tasks", "fail", "tsk_none", "-m", "no"]])
def test_who_may_is_asked_without_what_speaks_to_a_provider(words: list[str], tmp_path: Path) -> None:
    Store.open(str(tmp_path / "topstitch.db"), key_file=tmp_path / "installation.key").close()
    found = loaded(*words, "--data", str(tmp_path))
    assert "topstitch.store.people" in found
    assert not found & {"aiohttp", "argon2", "authlib", "fastapi", "topstitch.access"}


def test_an_answer_compiles_the_plan_without_what_would_send(finished: tuple[Path, Ran]) -> None:
    rows = called("approvals", "list", "--all", "--data", str(finished[0]), "--json").json()["items"]
    found = loaded("approvals", "refuse", rows[0]["id"], "--data", str(finished[0]))
    assert "topstitch.plan.compile" in found
    assert not found & {"aiohttp", "aiosmtplib", "jinja2", "yarl"}
