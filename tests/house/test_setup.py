"""``make setup`` on machines that lack something: it gets what it may and otherwise says what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.tree import ROOT


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("topstitch_setup", ROOT / "tools" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Shell:
    """Stands in for subprocess: remembers commands and answers by their first words."""

    def __init__(self, failing: tuple[str, ...] = ()) -> None:
        self.commands: list[str] = []
        self.failing = failing

    def run(self, command: list[object], **_: object) -> subprocess.CompletedProcess[str]:
        line = " ".join(map(str, command))
        self.commands.append(line)
        return subprocess.CompletedProcess(command, int(any(each in line for each in self.failing)), "", "")


def without_ensurepip(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, *, root: bool) -> Shell:
    shell = Shell(failing=("ensurepip", "sudo -n"))
    monkeypatch.setattr(setup.subprocess, "run", shell.run)
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(setup.sys.stdin, "isatty", lambda: False)
    return shell


def test_a_python_without_ensurepip_gets_its_package_when_we_are_root(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shell = without_ensurepip(setup, monkeypatch, root=True)
    setup.create(tmp_path / ".venv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install -y -q --no-install-recommends python{version}-venv" in shell.commands
    assert shell.commands[-1].endswith(f"-m venv --clear {tmp_path / '.venv'}")


def test_a_python_without_ensurepip_and_without_rights_says_what_to_give(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shell = without_ensurepip(setup, monkeypatch, root=False)
    with pytest.raises(setup.SetupError, match=r"Give: sudo apt-get install .*-venv$"):
        setup.create(tmp_path / ".venv")
    assert not any("venv --clear" in line for line in shell.commands)


def test_a_missing_part_is_named_with_its_remedy(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_ensurepip(setup, monkeypatch, root=False)
    part = setup.Part(program="no-such-program", package="postgresql", folders=f"{tmp_path}/*/bin")
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "no-such-program" else f"/usr/bin/{name}")
    assert setup.missing_parts([part]) == [part]
    with pytest.raises(setup.SetupError, match=r"missing: postgresql .*Give: sudo apt-get install .*postgresql$"):
        setup.install_packages(["postgresql"], why="the tests start it")


def test_a_part_in_its_usual_folder_is_found(setup: ModuleType, tmp_path: Path) -> None:
    program = tmp_path / "15" / "bin" / "no-such-program"
    program.parent.mkdir(parents=True)
    program.touch()
    part = setup.Part(program="no-such-program", package="postgresql", folders=f"{tmp_path}/*/bin")
    assert setup.find_program(part) == program
    assert setup.missing_parts([part]) == []


def test_a_system_without_apt_is_told_what_to_install(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda _: None)
    with pytest.raises(setup.SetupError, match="Install what your system calls postgresql"):
        setup.install_packages(["postgresql"], why="the tests start it")


def test_an_old_python_is_refused_with_the_remedy(setup: ModuleType) -> None:
    with pytest.raises(setup.SetupError, match=r"3\.9 is too old.*make setup PYTHON=python3\.11"):
        setup.require_python((3, 9))
    setup.require_python((3, 13))


def test_a_folder_that_is_no_environment_is_left_alone(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "precious").touch()
    with pytest.raises(setup.SetupError, match="Move it away"):
        setup.create(tmp_path / ".venv")
    assert (tmp_path / ".venv" / "precious").exists()


def test_an_environment_is_renewed_when_lock_place_or_project_change(setup: ModuleType, tmp_path: Path) -> None:
    for name in setup.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one", encoding="utf-8")
    prints = [setup.fingerprint(tmp_path, tmp_path / ".venv"), setup.fingerprint(tmp_path, tmp_path / "elsewhere")]
    for name in setup.INPUTS:
        (tmp_path / name).write_text("two", encoding="utf-8")
        prints.append(setup.fingerprint(tmp_path, tmp_path / ".venv"))
    assert len(set(prints)) == len(prints)


def test_setup_is_quick_and_quiet_when_nothing_changed(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup, "works", lambda _: True)
    monkeypatch.setattr(setup, "pip", lambda *_: pytest.fail("nothing changed, so nothing is installed"))
    (tmp_path / ".topstitch-stamp").write_text(setup.fingerprint(ROOT, tmp_path), encoding="utf-8")
    setup.prepare_environment(tmp_path)


def test_no_environment_works_before_it_is_made(setup: ModuleType, tmp_path: Path) -> None:
    assert not setup.works(tmp_path / ".venv")
