"""Runs the contenders in turns and lays their figures side by side.

``topstitch bench`` prints what ``run`` returns. Budgets are those of the architecture,
section 6: absolute figures on the machine they were set on, so that here the ratio to the
bare script of the same round is what is judged; of all rounds, the one in the middle. So
what else the machine does falls on all contenders alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from topstitch.bench.bare import Commits, Script
from topstitch.bench.contender import EngineContender
from topstitch.bench.measure import Figures, measure, warm_up
from topstitch.bench.stub import running

AT_ONCE: Final = 100
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of all contenders. ``budget`` is what the ratio to the bare script may be (or the figure itself)."""

    title: str
    value: Callable[[Figures], float]
    unit: str
    budget: float | None
    ratio: bool
    """Whether the budget is on the ratio to the bare script rather than on the figure."""
    higher_is_better: bool = False


ROWS: Final = (
    Row(title="CPU per instance", value=lambda f: f.cpu_ms, unit="ms", budget=3.0 / 1.1, ratio=True),
    Row(
        title=f"throughput at {AT_ONCE} in flight",
        value=lambda f: f.per_second,
        unit="/s",
        budget=350 / 865,
        ratio=True,
        higher_is_better=True,
    ),
    Row(title="end to end, one at a time, p50", value=lambda f: f.alone_p50, unit="ms", budget=1.4, ratio=True),
    Row(title=f"handoff at {AT_ONCE} in flight, p50", value=lambda f: f.handoff_p50, unit="ms", budget=2.5, ratio=True),
    Row(
        title=f"handoff at {AT_ONCE} in flight, p99",
        value=lambda f: f.handoff_p99,
        unit="ms",
        budget=60 / 23,
        ratio=True,
    ),
    Row(
        title="handoff, one at a time, p50",
        value=lambda f: f.handoff_alone_p50,
        unit="ms",
        budget=1.0 / 0.23,
        ratio=True,
    ),
)
COLD: Final = {
    "first_seconds": ("start to first finished instance", "s", 1.0),
    "resident_mb": ("resident memory, engine", "MB", 100.0),
}


def run(*, many: int = 2000, alone: int = 100) -> dict[str, Any]:
    """Measure everything once; return rows of ``{title, unit, bare, commit, engine, ratio, budget, met}``."""
    import uvloop  # noqa: PLC0415 -- only the benchmark chooses its loop here

    with tempfile.TemporaryDirectory(prefix="topstitch-bench-") as folder, running() as url:
        figures = uvloop.run(_contend(url, Path(folder), many, alone))
        cold = _cold(url, Path(folder))
    return {
        "instances": many,
        "rows": [_row(row, figures) for row in ROWS] + [_cold_row(name, cold[name]) for name in COLD],
    }


async def _contend(url: str, folder: Path, many: int, alone: int) -> dict[str, list[Figures]]:
    commits = Commits(folder / "notes.db")
    figures: dict[str, list[Figures]] = {"bare": [], "commit": [], "engine": []}
    async with (
        Script(url) as bare,
        Script(url, commits.note) as commit,
        EngineContender(url, str(folder / "engine.db"), folder, at_once=AT_ONCE) as engine,
    ):
        contenders: dict[str, Script | EngineContender] = {"bare": bare, "commit": commit, "engine": engine}
        for name, one in contenders.items():
            await warm_up(name, one.carry, one.handoffs, at_once=AT_ONCE)
        for turn in range(ROUNDS):
            for name, one in contenders.items():
                figures[name].append(
                    await measure(
                        name,
                        one.carry,
                        one.handoffs,
                        turn=turn,
                        many=many // ROUNDS,
                        at_once=AT_ONCE,
                        alone=alone // ROUNDS,
                    )
                )
    commits.close()
    await asyncio.sleep(0)
    return figures


def _row(row: Row, figures: dict[str, list[Figures]]) -> dict[str, Any]:
    values = {name: [row.value(each) for each in rounds] for name, rounds in figures.items()}
    bare, commit, engine = (median(values[name]) for name in ("bare", "commit", "engine"))
    ratio = median(
        ours / theirs if theirs else 0.0 for ours, theirs in zip(values["engine"], values["bare"], strict=True)
    )
    judged = ratio if row.ratio else engine
    met = row.budget is None or (judged >= row.budget if row.higher_is_better else judged <= row.budget)
    return {
        "title": row.title,
        "unit": row.unit,
        "bare": bare,
        "commit": commit,
        "engine": engine,
        "ratio": ratio,
        "budget": row.budget,
        "met": met,
    }


def _cold(url: str, folder: Path) -> dict[str, float]:
    """Start twice: an installed package has its bytecode, so the second start is what a user sees."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    figures: dict[str, float] = {}
    for _ in range(2):
        answer = subprocess.run(  # noqa: S603 -- our own interpreter and module
            [sys.executable, "-m", "topstitch.bench.cold", url, str(folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=environment,
        )
        figures = json.loads(answer.stdout)
    return figures


def _cold_row(name: str, value: float) -> dict[str, Any]:
    title, unit, budget = COLD[name]
    row: dict[str, Any] = {"title": title, "unit": unit, "bare": None, "commit": None, "engine": value, "ratio": None}
    return {**row, "budget": budget, "met": value <= budget}
