"""Runs the randomised tests again and again with fresh seeds until the time is up or one fails.

``make soak`` calls it. Each round is a whole pytest session over the simulation tests with the
hypothesis profile ``soak``, which draws new examples and prints the one that failed, and with
``TOPSTITCH_SOAK`` set to the number of the round: then the simulations take seeds that nobody
has tried, and a round kills engines over 10,000 instances. It never runs on past its minutes
by more than one round. ``--first`` numbers the first round, so that a later soak goes on
where the last one ended, and a failing round can be played again.
"""

from __future__ import annotations

import argparse
import os
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
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("paths", nargs="*", default=["tests/simulation"])
    options = parser.parse_args(arguments)
    end, round_number = time.monotonic() + options.minutes * 60, options.first
    while time.monotonic() < end:
        print(f"soak: round {round_number}", flush=True)
        if code := play(options.paths, round_number):
            print(f"soak: round {round_number} failed; again: make soak ARGS='--first {round_number}'", flush=True)
            return code
        round_number += 1
    return 0


def play(paths: Sequence[str], round_number: int) -> int:
    """Run one round and return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n", "2", "--hypothesis-profile=soak"]
    environment = {**os.environ, "TOPSTITCH_SOAK": str(round_number)}
    return subprocess.run([*command, *paths], cwd=ROOT, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
