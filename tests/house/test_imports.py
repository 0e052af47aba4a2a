"""The floor plan holds: import-linter's contracts pass on the tree, and each catches a planted fault.

The contracts stand in pyproject.toml. Rooms that are not built yet are in brackets there, or left
out; the tests here ask for them as soon as they exist.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.tree import PACKAGE, ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
LAYERS, _, CONNECTORS, PAPER, TORTURE = SETTINGS["contracts"]
FLOORS = [[room.strip() for room in floor.split("|")] for floor in LAYERS["layers"]]
ROOMS = [room for floor in FLOORS for room in floor]
# Every room of STYLE that decides and never does.
PAPER_ROOMS = {
    "foundation", "model", "language", "plan", "verifier", "ports", "audit", "governance", "attempts", "trigger",
    "context", "execution", "reconciliation", "lifecycle", "metrics",
}  # fmt: skip


def exists(room: str) -> bool:
    return (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()


def test_imports_go_down() -> None:
    code, report = lint(ROOT)
    assert code == 0, report


def test_only_rooms_not_built_yet_are_in_brackets() -> None:
    built = [room for room in ROOMS if room.startswith("(") and exists(room.strip("()"))]
    assert not built, f"built now, so take the brackets off in pyproject.toml: {built}"


def test_every_room_of_paper_that_exists_is_kept_from_the_world() -> None:
    kept = {module.removeprefix("topstitch.") for module in PAPER["source_modules"]}
    assert {room for room in PAPER_ROOMS if exists(room)} <= kept


def test_nothing_but_the_doors_of_the_proof_may_know_the_torture() -> None:
    known = {path.name if path.is_dir() else path.stem for path in PACKAGE.iterdir() if path.name[0] != "_"}
    rooms = {name for name in known if exists(name)} - {"cli", "bench", "torture", "examples"}
    kept = {module.removeprefix("topstitch.") for module in TORTURE["source_modules"]}
    assert rooms - kept == set(), "add it to the contract on torture in pyproject.toml"


def test_every_connector_is_kept_from_the_others() -> None:
    folders = {f"topstitch.connectors.{path.parent.name}" for path in PACKAGE.glob("connectors/*/__init__.py")}
    assert folders <= set(CONNECTORS["modules"])


@pytest.mark.parametrize(
    ("place", "planted", "contract"),
    [
        ("foundation/x.py", "import topstitch.store", LAYERS["name"]),
        ("execution/x.py", "import topstitch.trigger", LAYERS["name"]),
        ("plan/x.py", "def f():\n    import topstitch.lifecycle", LAYERS["name"]),
        ("attic/__init__.py", "", LAYERS["name"]),
        ("engine/x.py", "import topstitch.engine.y", "No circles at any depth"),
        ("connectors/slack/x.py", "import topstitch.connectors.workday", CONNECTORS["name"]),
        ("execution/x.py", "import sqlalchemy", PAPER["name"]),
        ("reconciliation/x.py", "from aiohttp import ClientSession", PAPER["name"]),
        ("bootstrap/x.py", "def f():\n    import topstitch.torture", TORTURE["name"]),
        ("drill/x.py", "from topstitch import torture", TORTURE["name"]),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, place: str, planted: str, contract: str) -> None:
    build_house(tmp_path, {"engine/y.py": "import topstitch.engine.x", place: planted})
    code, report = lint(tmp_path)
    assert code == 1
    assert f"{contract} BROKEN" in " ".join(report.split()), report


def test_a_house_without_faults_passes(tmp_path: Path) -> None:
    build_house(tmp_path, {"engine/x.py": "import topstitch.plan\nimport sqlalchemy"})
    code, report = lint(tmp_path)
    assert code == 0, report


def build_house(folder: Path, modules: dict[str, str]) -> None:
    """Make a package with every room and connector empty, and the given modules."""
    rooms = [f"topstitch/{room.strip('()')}" for room in ROOMS]
    connectors = [module.replace(".", "/") for module in CONNECTORS["modules"]]
    beside = [f"topstitch/{room}" for room in ("simulators", "torture", "drill", "bench")]
    for name in ("topstitch", *rooms, *beside, *connectors):
        write(folder / name / "__init__.py", "")
    for name, text in modules.items():
        write(folder / "topstitch" / name, text)
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lint(folder: Path) -> tuple[int, str]:
    """Run import-linter in a process of its own: it finds the house there, and sets up logging for itself."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src" if (folder / "src").is_dir() else folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr
