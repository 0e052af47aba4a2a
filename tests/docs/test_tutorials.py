"""Every shell session of the tutorials is carried out as it is written, in a folder of its own."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from support.console_blocks import PORTS, DocumentError, Session, agrees, blocks
from support.tree import ROOT

TUTORIALS = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
FIRST = 21_000
"""Below what the system gives out by itself, so that nobody else gets one of these meanwhile."""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Return a session whose ports are free."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    port = next(
        p for p in range(FIRST + worker * 2_000, 32_000, len(PORTS)) if all(free(p + n) for n in (0, *range(100, 108)))
    )
    return Session(tmp_path, port, str(Path(sys.executable).parent))


def free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_command_of_a_tutorial_does_what_it_says(path: Path, session: Session) -> None:
    assert session.carry_out(path.read_text(encoding="utf-8")) > 2


def test_a_planted_answer_is_caught(session: Session) -> None:
    planted = "# A page\n\n```console\n$ echo one\none\n$ echo two\nthree\n```\n"
    with pytest.raises(DocumentError, match=r"line 6: \$ echo two"):
        session.carry_out(planted)


def test_a_planted_failure_is_caught_and_a_declared_one_is_not(session: Session) -> None:
    with pytest.raises(DocumentError, match="ended with 3, not 0"):
        session.carry_out("```console\n$ exit 3\n```\n")
    assert session.carry_out("<!-- exit 3 -->\n```console\n$ exit 3\n```\n") == 1


def test_a_file_of_the_page_is_there_for_its_commands(session: Session) -> None:
    page = "```{code-block} yaml\n:caption: a/b.yaml\n\none: 1\n```\n\n```console\n$ cd a\n$ cat b.yaml\none: 1\n```\n"
    assert session.carry_out(page) == 2


def test_what_stays_is_stopped_by_the_page_or_at_its_end(session: Session) -> None:
    page = "<!-- stays -->\n```console\n$ python3 -uc 'print(1); input()' < <(sleep 60)\n1\n```\n\n<!-- ctrl-c -->\n"
    assert session.carry_out(page) == 1
    assert not session.going


def test_an_id_of_the_page_stands_for_the_one_that_came() -> None:
    said = "apr_AAAAAAAAAAAA asks\n...\napr_AAAAAAAAAAAA again, ins_BBBBBBBBBBBB too"
    happened = "apr_CCCCCCCCCCCC asks\nwhatever\nelse\napr_CCCCCCCCCCCC again, ins_DDDDDDDDDDDD too\n"
    assert agrees(said, happened) == {"apr_AAAAAAAAAAAA": "apr_CCCCCCCCCCCC", "ins_BBBBBBBBBBBB": "ins_DDDDDDDDDDDD"}
    assert agrees(said, happened.replace("apr_CCCCCCCCCCCC again", "apr_EEEEEEEEEEEE again")) is None


@pytest.mark.parametrize(
    ("said", "happened"),
    [
        ("started 2026-11-23 11:49:47Z, took 1 h 2 m", "started 2027-01-01 00:00:00Z,   took 3 d"),
        ("Mon 11:49  Priya", "Fri 23:01     Priya"),
        ("version sha256:8d72c4198c4b", "version sha256:aaaaaaaaaaaa"),
        ("... (REQ0010004)", "ordered (REQ0010004)"),
    ],
)
def test_times_digests_and_white_space_are_loose(said: str, happened: str) -> None:
    assert agrees(said, happened) == {}


def test_a_page_without_sessions_has_none() -> None:
    assert list(blocks("# A page\n\n```yaml\na: 1\n```\n\n```text\n$ not this\n```\n")) == []
