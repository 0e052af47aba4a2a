"""Reads the repository for the house tests: its files, its Python, and the exceptions it grants.

Works in a git checkout and in a plain copy without git. A guard is a function that takes paths or
sources and returns ``Finding``s, so that its self-test can hand it a planted fault.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import os
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "src" / "topstitch"
EXCEPTIONS: Final = ROOT / "tests" / "house" / "exceptions.toml"
# Others' work that is carried along as it is.
VENDORED: Final = "vendor"
LEFT_BEHIND: Final = ("__pycache__", "*.py[co]", "*.egg-info", ".*_cache", ".hypothesis", ".venv*", ".git", "*.db*")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What a guard saw, where: ``path`` from the root, ``name`` as an exception would give it."""

    path: str
    name: str
    line: int
    remark: str

    def __str__(self) -> str:
        """Return the finding as editors link it."""
        return f"{self.path}:{self.line}: {self.name}: {self.remark}"


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file, read and parsed."""

    path: str
    text: str
    tree: ast.Module


@functools.cache
def files() -> tuple[Path, ...]:
    """Return every file of the project, vendored folders left out."""
    found = _from_git() or _from_folder()
    return tuple(sorted(path for path in found if path.is_file() and VENDORED not in path.relative_to(ROOT).parts))


def _from_git() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / name for name in done.stdout.split("\0") if name]


def _from_folder() -> list[Path]:
    """Walk the tree, leaving out what .gitignore names at the root and what tools leave behind."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    at_root = {line.strip("/") for line in lines if line.startswith("/")}
    found = []
    for folder, folders, names in os.walk(ROOT):
        top = Path(folder) == ROOT
        folders[:] = [each for each in folders if not _left_behind(each) and not (top and each in at_root)]
        found += [Path(folder, name) for name in names if not _left_behind(name)]
    return found


def _left_behind(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_BEHIND)


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that is text."""
    for path in files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@functools.cache
def sources(under: str = "") -> tuple[Source, ...]:
    """Return the Python files of the project under a folder, such as ``src``."""
    return tuple(source(path, text) for path, text in texts() if path.endswith(".py") and path.startswith(under))


def source(path: str, text: str) -> Source:
    """Parse a file; guards' self-tests hand planted ones to it."""
    return Source(path, text, ast.parse(text, path))


def qualified(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield every class and function with its dotted name inside the module."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    return walk(tree, "")


def pieced(*words: str) -> str:
    """Join words written in pieces, and several by ``|``, so that a guard does not find its own pattern."""
    return "|".join(word.replace("-", "") for word in words)


# -- exceptions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exemption:
    """One entry of exceptions.toml: a guard does not apply at a place, for a reason."""

    guard: str
    path: str
    name: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Tell whether the finding is at this place."""
        return fnmatch.fnmatch(finding.path, self.path) and fnmatch.fnmatch(finding.name, self.name)


def exemptions(guard: str) -> list[Exemption]:
    """Return the exceptions that the repository grants from a guard."""
    entries = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8")).get(guard, [])
    return [Exemption(guard, entry["path"], entry.get("name", "*"), entry["reason"]) for entry in entries]


def judge(findings: Iterable[Finding], granted: Sequence[Exemption]) -> list[str]:
    """Return what is wrong: findings that nothing excuses, and exceptions that excuse nothing."""
    found = sorted(findings)
    wrong = [str(each) for each in found if not any(grant.covers(each) for grant in granted)]
    stale = [grant for grant in granted if not any(grant.covers(each) for each in found)]
    return wrong + [
        f"tests/house/exceptions.toml: [{each.guard}] {each.path} {each.name}: excuses nothing; remove it"
        for each in stale
    ]


def verdict(guard: str, findings: Iterable[Finding]) -> str:
    """Return one line per thing that is wrong under a guard; empty when the house stands."""
    return "\n".join(judge(findings, exemptions(guard)))
