"""Runs the randomised tests again and again with fresh seeds until the time is up or one fails.

``make soak`` calls it. Each round is a whole pytest session over the simulation tests with the
hypothesis profile ``soak``, which draws new examples and prints the one that failed. It never
runs on past its minutes by more than one round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Repeat rounds for the given minutes; return the exit code of the round that failed, or 0."""
    parser = argparse.ArgumentParser(description="Run the randomised tests with fresh seeds.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("paths", nargs="*", default=["tests/simulation"])
    options = parser.parse_args(arguments)
    end, round_number = time.monotonic() + options.minutes * 60, 0
    while time.monotonic() < end:
        round_number += 1
        print(f"soak: round {round_number}", flush=True)
        if code := play(options.paths):
            return code
    return 0


def play(paths: Sequence[str]) -> int:
    """Run one round and return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n", "2", "--hypothesis-profile=soak"]
    return subprocess.run([*command, *paths], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
