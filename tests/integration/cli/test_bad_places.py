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
from support.tree import ROOT
from topstitch.store.database import Sqlite

ONBOARDING = ROOT / "src/topstitch/examples/onboarding/employee-onboarding.yaml"
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


INTERRUPTED = """
import sys
from importlib.abc import MetaPathFinder

WHERE = sys.argv[1]


class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == WHERE:
            raise KeyboardInterrupt


sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["doctor"]
from topstitch.cli import main

main()
"""


@pytest.mark.parametrize("where", ["click", "topstitch.cli.root", "topstitch.cli.doctor", "topstitch.settings"])
def test_ctrl_c_while_the_program_is_still_loading_ends_it_without_a_word(where: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, where],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")


RAISES = """
from topstitch.cli.command import command
@command("x", data=False)
def x(door):
    raise KeyError("k")
x()
"""


def test_an_unexpected_error_prints_an_id_and_no_traceback_without_debug() -> None:
    plain, debug = (
        subprocess.run(
            [sys.executable, "-c", RAISES, *more],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for more in ((), ("--debug",))
    )
    assert plain.returncode == debug.returncode == 1
    assert plain.stderr.startswith("error[unexpected]: something unexpected happened (KeyError); report it with err_")
    assert plain.stderr.count("\n") == 1
    assert "Traceback" in debug.stderr


def test_a_folder_that_was_made_and_never_published_into_says_what_makes_its_database(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    made = called("init", "--data", str(folder))
    for words in ("simulators", "validate", "publish", "serve", "doctor"):
        assert f"topstitch {words}" in made.err
    asked = called("tasks", "--data", str(folder))
    assert (asked.code, "publish a definition" in asked.err) == (1, True)
    elsewhere = called("tasks", "--data", str(tmp_path / "none"))
    assert (elsewhere.code, "start with topstitch init" in elsewhere.err) == (1, True)


def test_what_cannot_be_read_as_a_file_is_said_with_the_remedy(tmp_path: Path) -> None:
    done = called("validate", str(tmp_path))
    assert (done.code, "is a folder; name the files in it" in done.err) == (1, True)
    (tmp_path / "w.yaml").write_text(ONBOARDING.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{bad", encoding="utf-8")
    for words in (["plan", str(tmp_path / "w.yaml"), "--event"], ["trigger", "workday.hire_completed", "--file"]):
        done = called(*words, str(tmp_path / "bad.json"), "--data", str(tmp_path))
        assert (done.code, "error[json-invalid]" in done.err) == (2, True)
