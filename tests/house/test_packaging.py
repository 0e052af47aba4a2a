"""What is shipped is whole: the wheel carries every file of the package, the lock every dependency by hash."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.tree import PACKAGE, ROOT, files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINNED = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)?",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=ROOT, check=True, timeout=120)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in files() if path.is_relative_to(PACKAGE)}
    packed = set(wheel.namelist())
    assert wanted <= packed, sorted(wanted - packed)
    strangers = {name for name in packed if ".dist-info/" not in name and not name.startswith("topstitch/")}
    assert not strangers


def test_the_wheel_brings_the_command_the_licence_and_the_version(wheel: zipfile.ZipFile) -> None:
    told = {name.split("/", 1)[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(told["entry_points.txt"]).decode())
    assert dict(scripts["console_scripts"]) == {"topstitch": "topstitch.cli:main"}
    assert b"Apache License" in wheel.read(told["licenses/LICENSE"])
    version = re.search(r'__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert version
    assert f"Version: {version[1]}\n".encode() in wheel.read(told["METADATA"])


def test_the_lock_pins_every_dependency_within_its_bounds() -> None:
    pins = {match["name"]: Version(match["version"]) for match in PINNED.finditer(LOCK)}
    for line in declared():
        requirement = Requirement(line)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{line} is not locked. Give: make lock"
        assert version in requirement.specifier, f"{line} is locked at {version}. Give: make lock"


def test_every_pin_has_hashes() -> None:
    assert unhashed(LOCK) == []


def test_a_planted_pin_without_a_hash_is_caught() -> None:
    good = "six==1.17.0 ; python_version < '4' \\\n    --hash=sha256:" + "0" * 64 + "\n"
    assert unhashed(good + "attrs==26.1.0\n") == ["attrs"]
    assert unhashed(good + "attrs==26.1.0 \\\n    # via six\n") == ["attrs"]


def declared() -> list[str]:
    """Return every requirement that pyproject.toml states."""
    groups = [line for group in PROJECT["dependency-groups"].values() for line in group if isinstance(line, str)]
    return [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], *groups]


def unhashed(lock: str) -> list[str]:
    """Return the pins without a hash, and lines that pin nothing."""
    starts = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    hashed = {match["name"] for match in PINNED.finditer(lock) if match["rest"]}
    return [name for line in starts if (name := line.split("==")[0]) not in hashed]
