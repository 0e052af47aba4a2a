"""The whole engine on virtual time, thousands of times: whatever goes wrong, everything reaches a declared end."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.amount import seeds
from support.virtual import simulate

SEEDS = 2000
CHUNKS = 8
KILLS = 1000
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("some", seeds(SEEDS, CHUNKS), ids=lambda some: f"{some.start}-{some.stop - 1}")
def test_X01_nothing_stalls_nothing_happens_twice_whatever_the_seed(some: range) -> None:
    counts, ends = Counter[str](), Counter[str]()
    for seed in some:
        verdict = simulate(seed)
        assert not verdict.broken, str(verdict)
        counts += verdict.counts
        ends += verdict.ends
    print(f"seeds {some.start}-{some.stop - 1}: {dict(counts)} {dict(ends)}")
    kills = sum(number for name, number in counts.items() if name.startswith("crash"))
    assert kills * CHUNKS >= KILLS, "so many engines die at places that chance has chosen"
    assert_much_went_wrong(counts, ends)


def assert_much_went_wrong(counts: Counter[str], ends: Counter[str]) -> None:
    """A simulation in which nothing happens proves nothing."""
    for what in (
        "crash",
        "freeze",
        "stop",
        "stopped by its database",
        "crash after an append",
        "stall after an append",
    ):
        assert counts[what] > 0, what
    seen = {end.partition(" ")[2] for end in ends}
    assert {"completed", "completed_with_exceptions", "rolled_back", "stopped", "cancelled"} <= seen


def test_the_same_seed_gives_the_same_journals_here_and_in_another_process() -> None:
    mine = simulate(7)
    assert mine.digest == simulate(7).digest
    assert mine.digest != simulate(8).digest
    code = "from support.virtual import simulate; print(simulate(7).digest)"
    for hashes in ("1", "2"):
        paths = f"{ROOT / 'src'}:{ROOT / 'tests'}"
        other = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": paths, "PYTHONHASHSEED": hashes, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert other.stdout.strip() == mine.digest
