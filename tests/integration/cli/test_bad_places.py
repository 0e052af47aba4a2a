"""Commands on a folder that cannot be written to, and on a full disk: a clear word with the remedy, nothing lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran, called, environment
from support.onboarding import HIRE
from topstitch.store.database import Sqlite

AS_NOBODY = """
import importlib, os, pkgutil, pwd, sys
import sqlalchemy.dialects.sqlite, topstitch
for module in pkgutil.walk_packages(topstitch.__path__, "topstitch."):
    if "migrations" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)  # nobody may not read where this interpreter lives
if os.geteuid() == 0:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
from topstitch.cli.root import topstitch as main
main(sys.argv[1:], prog_name="topstitch")
"""


@pytest.fixture
def read_only(finished: tuple[Path, Ran]) -> Iterator[Path]:
    """The finished demo's folder, which an ordinary user may read and not write."""
    with tempfile.TemporaryDirectory(prefix="ts-ro-") as name:
        outer, folder = Path(name), Path(name) / "data"
        shutil.copytree(finished[0], folder)
        places = [folder, *folder.rglob("*")]
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        outer.chmod(0o755)
        yield folder
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)


@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["tasks", "list"], ["instances"]])
def test_a_folder_that_cannot_be_written_to_is_said_with_the_remedy(read_only: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *words, "--data", str(read_only)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr or "cannot be opened" in done.stderr, done.stderr
    assert "--data" in done.stderr, "the message ends with the remedy"


def test_a_full_disk_is_said_with_the_remedy_and_the_event_can_be_sent_again(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = tmp_path / "hire.json"
    event.write_text(json.dumps({**HIRE, "employee_id": "W-77001", "first_name": "P" * 200_000}))
    words = ("trigger", "workday.hire_completed", "--file", str(event), "--id", "hire-1", "--data", str(copied))
    opened = Sqlite.__init__

    def without_room(self: Sqlite, *rest: Any, **more: Any) -> None:
        opened(self, *rest, **more)
        self.connection.execute("PRAGMA max_page_count = 1")  # SQLite takes it as: no more pages than there are

    with monkeypatch.context() as full:
        full.setattr(Sqlite, "__init__", without_room)
        refused = called(*words)
    assert refused.code == 1, refused
    assert "free some space and start again; nothing that was confirmed is lost" in refused.err
    again = called(*words)
    assert again.code == 0, "once there is room, the same event is taken"
    assert "ins_" in again.out
