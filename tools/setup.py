"""Puts the environment into ``.venv``: the locked packages by their hashes, then the project itself.

``make setup`` calls it with any Python from 3.11 on; it needs nothing but the standard library.
``--test-parts`` also sees to the programs that the tests start (PostgreSQL). It installs system
packages only where it may (as root, or through sudo) and only those that are missing; otherwise
it ends with the command to give. It never touches a ``.venv`` that is not a virtual environment.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON_OLDEST: Final = (3, 11)
# What decides whether an environment is still the right one.
INPUTS: Final = ("requirements.lock", "pyproject.toml", "tools/setup.py")
POSTGRES_FOLDERS: Final = "/usr/lib/postgresql/*/bin"


class SetupError(Exception):
    """The environment cannot be made; the message ends with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A program that the tests start, and the system package that brings it."""

    program: str
    package: str
    folders: str


TEST_PARTS: Final = (
    Part(program="initdb", package="postgresql", folders=POSTGRES_FOLDERS),
    Part(program="chromium", package="chromium", folders=""),
)


def main(arguments: Sequence[str]) -> int:
    """Make or renew the environment; return the exit code."""
    parser = argparse.ArgumentParser(description="Put the environment of Topstitch into .venv.")
    parser.add_argument("--test-parts", action="store_true", help="also install the programs that the tests start")
    options = parser.parse_args(arguments)
    try:
        require_python(sys.version_info[:2])
        prepare_environment(VENV)
        if options.test_parts:
            install_packages(sorted({part.package for part in missing_parts(TEST_PARTS)}), why="the tests start them")
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def require_python(version: tuple[int, ...]) -> None:
    """Refuse an interpreter that is too old."""
    if version < PYTHON_OLDEST:
        found, oldest = (".".join(map(str, each)) for each in (version, PYTHON_OLDEST))
        raise SetupError(
            f"Python {found} is too old. Install Python {oldest} or newer and give: make setup PYTHON=python{oldest}"
        )


def prepare_environment(venv: Path) -> None:
    """Bring ``venv`` to what the lock says; do nothing when it is there already."""
    stamp, wanted = venv / ".topstitch-stamp", fingerprint(ROOT, venv)
    if works(venv) and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    if not works(venv):
        create(venv)
    say("installing the locked packages (a minute or two, once)")
    pip(venv, "install", "--require-hashes", "--requirement", str(ROOT / "requirements.lock"))
    say("installing topstitch")
    pip(venv, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    stamp.write_text(wanted, encoding="utf-8")
    say(f"ready: {os.path.relpath(venv)}/bin/topstitch")


def fingerprint(root: Path, venv: Path) -> str:
    """Return a digest of everything the environment depends on, its own place included."""
    digest = hashlib.sha256(f"{venv}\n{sys.version_info[:2]}\n".encode())
    for name in INPUTS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def works(venv: Path) -> bool:
    """Tell whether ``venv`` is a virtual environment that starts, has pip and was made in this place."""
    probe = "import sys, pip; print(sys.prefix)"
    try:
        answer = subprocess.run(
            [venv / "bin" / "python", "-c", probe], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError:
        return False
    launcher = venv / "bin" / "pip"
    return (
        answer.returncode == 0
        and Path(answer.stdout.strip()) == venv
        and launcher.is_file()
        and str(venv) in launcher.read_text(encoding="utf-8", errors="replace")
    )


def create(venv: Path) -> None:
    """Make an empty virtual environment, replacing a broken one."""
    if venv.exists() and not (venv / "pyvenv.cfg").is_file():
        raise SetupError(f"{venv} exists and is no virtual environment. Move it away and try again")
    if not has_ensurepip():
        version = ".".join(map(str, sys.version_info[:2]))
        install_packages([f"python{version}-venv"], why="this Python comes without ensurepip")
    say(f"making {os.path.relpath(venv)}")
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=False)
    if done.returncode:
        raise SetupError(f"{sys.executable} -m venv failed. Read its message above; `make setup` goes on from there")


def has_ensurepip() -> bool:
    """Ask a fresh interpreter, because a package may have brought it since this one started."""
    probe = [sys.executable, "-c", "import ensurepip; ensurepip.version()"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def pip(venv: Path, *arguments: str) -> None:
    """Run the environment's own pip; it finds its index where the machine says."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-qq", *arguments]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, check=False, env=environment).returncode:
        raise SetupError("pip failed. Read its message above; when the index was out of reach, give `make setup` again")


def missing_parts(parts: Sequence[Part]) -> list[Part]:
    """Return the parts that are neither in PATH nor in their usual folders."""
    return [part for part in parts if find_program(part) is None]


def find_program(part: Part) -> Path | None:
    """Return where the program is, or None."""
    if found := shutil.which(part.program):
        return Path(found)
    usual = Path("/").glob(f"{part.folders.lstrip('/')}/{part.program}")
    return max(usual, default=None)


def install_packages(packages: Sequence[str], *, why: str) -> None:
    """Install system packages; where that is not allowed, say how."""
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise SetupError(
            f"missing: {names} ({why}). Install what your system calls {names}, then give the command again"
        )
    prefix = root_prefix()
    if prefix is None:
        raise SetupError(f"missing: {names} ({why}). Give: sudo apt-get install -y --no-install-recommends {names}")
    say(f"installing {names} ({why})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run([*prefix, "apt-get", *step], check=False, env=environment, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SetupError(f"apt-get {' '.join(step)} failed. Read its message above, then give the command again")


def root_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root, or None when we may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and (
        sys.stdin.isatty() or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo"]
    return None


def say(text: str) -> None:
    """Tell the person at the terminal what takes the time."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
