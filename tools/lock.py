"""Writes ``requirements.lock``: every package of the project and its tools, by version and hash.

``make lock`` calls it. The file holds for all supported Pythons, names no index and no address, so
that it installs from any mirror. uv does the work; where it is not at hand it comes into a
throw-away environment. What is pinned already stays unless ``--upgrade`` is given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = "requirements.lock"
HEADER: Final = "# Written by `make lock` from pyproject.toml; not edited by hand.\n"
COMPILE: Final = (
    "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--quiet",
    "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--group", "dev", "pyproject.toml",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Compile the lock; return uv's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(find_uv(Path(folder))), *COMPILE, "--output-file", LOCK, *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code == 0:
        text = (ROOT / LOCK).read_text(encoding="utf-8").removeprefix(HEADER)
        (ROOT / LOCK).write_text(HEADER + text, encoding="utf-8")
    return code


def find_uv(folder: Path) -> Path:
    """Return a uv: beside this interpreter, in PATH, or freshly installed under ``folder``."""
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return beside
    if found := shutil.which("uv"):
        return Path(found)
    venv.create(folder, with_pip=True)
    subprocess.run([Path(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "uv"], check=True)
    return Path(folder, "bin", "uv")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
