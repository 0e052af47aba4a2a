"""Runs the commands as people do: another process, a clean environment, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"
SECONDS_MAX = 120


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return its data."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command, without the settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TOPSTITCH_")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", **more}


def command(*words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "topstitch", *words]


def called(*words: str, **more: str) -> Ran:
    """Run a command in this process, which is quicker; everything but the interpreter is the same."""
    from click.testing import CliRunner

    from topstitch.cli.root import topstitch

    done = CliRunner().invoke(topstitch, words, env={**_CLEAN, **more}, prog_name="topstitch")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


_CLEAN = {name: None for name in os.environ if name.startswith("TOPSTITCH_")}


def ran(*words: str, cwd: Path | None = None, **more: str) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
