"""Measures what the metrics cost: reading them from many finished instances, and gathering them at work.

``topstitch bench --seams`` prints what ``run_seams`` returns. Reads are judged by the figure
itself, the instrumentation by its share of the CPU that an instance costs: the workload is carried
out bare (no handoff rows, no rounds), then the rows are written, a look is made, and every span is
written for a collector.
"""

from __future__ import annotations

import asyncio
import gc
import math
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from topstitch.bench.contender import EngineContender
from topstitch.bench.measure import cpu_seconds, flood
from topstitch.bench.stub import running
from topstitch.connectors.registry import installed_contracts
from topstitch.foundation.clock import SystemClock, stopwatch
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.metrics import export, watch
from topstitch.metrics.otlp import export_new
from topstitch.metrics.seams import edges_of
from topstitch.metrics.tracer import Tracer
from topstitch.metrics.watch import Watcher
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, measures, store as store_module
from topstitch.store.journal import write_changes
from topstitch.store.project import HANDOFFS, project
from topstitch.store.projections import Change
from topstitch.store.sealing import milliseconds
from topstitch.store.seeding import Seed, SeededEdge, fill

if TYPE_CHECKING:
    from topstitch.model.record import Record
    from topstitch.store.database import Backend

FINISHED: Final = 100_000
TRIES: Final = 5
AT_ONCE: Final = 100
TURN: Final = 200
ROWS_AT_ONCE: Final = 8
SHARE_MAX: Final = 0.10
EVALUATE_SECONDS: Final = watch.EVALUATE_SECONDS
SETTLED_SECONDS: Final = 60


class OnePlan:
    """Plans of which there is one."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def load(self, _digest: str) -> Plan:
        """Return it."""
        return self.plan

    async def in_force(self) -> Sequence[Plan]:
        """Return it."""
        return (self.plan,)


def run_seams(*, finished: int = FINISHED, carried: int = 2000) -> dict[str, Any]:
    """Measure everything once; return rows of ``{title, figure, unit, budget, met}``."""
    import uvloop  # noqa: PLC0415 -- only the benchmark chooses its loop here

    with tempfile.TemporaryDirectory(prefix="topstitch-bench-") as folder:
        rows = asyncio.run(_reads(Path(folder), finished))
        with running() as url:
            rows += uvloop.run(_shares(url, Path(folder), carried))
    return {"finished": finished, "carried": carried, "rows": rows}


# --- Reading --------------------------------------------------------------------------------------


async def _reads(folder: Path, finished: int) -> list[dict[str, Any]]:
    plan, now = shipped(), SystemClock().now()
    with Store.open(f"sqlite:///{folder}/seeded.db", threads=False) as store:
        await fill(store, seed_of(plan, finished, now))
        watcher = Watcher(store=store, plans=OnePlan(plan))
        await watch.evaluate(watcher, now)
        now_ms = milliseconds(now)
        return [
            _row("seams over 24 hours", await _best_ms(lambda: watch.board(watcher, now)), 200),
            _row("evaluation of all alerts", await _best_ms(lambda: watch.evaluate(watcher, now)), 500),
            _row("a scrape", await _best_ms(lambda: export.scrape(watcher, now)), 500),
            _row("due checks", await _best_ms(lambda: measures.overdue(store, now_ms, now_ms)), 5),
        ]


def shipped() -> Plan:
    """Return the onboarding that is shipped, compiled."""
    path = files("topstitch") / "examples" / "onboarding" / "employee-onboarding.yaml"
    checked = check(load(path.read_text(encoding="utf-8"), str(path)), installed_contracts())
    assert checked.workflow is not None
    return compile_plan(checked.workflow, installed_contracts(), "sha256:bench")


def seed_of(plan: Plan, finished: int, now: datetime) -> Seed:
    """Return so many finished instances of a definition: 24 days of them."""
    edges = [SeededEdge(e.from_step, e.to_step, e.seam.from_system, e.seam.to_system) for e in edges_of(plan)]
    return Seed(
        workflow=plan.workflow,
        version=plan.version,
        digest=plan.digest,
        edges=edges,
        instances=finished,
        until_ms=milliseconds(now),
    )


async def _best_ms(do: Callable[[], Awaitable[object]]) -> float:
    found = []
    for _ in range(TRIES):
        began = stopwatch()
        await do()
        found.append((stopwatch() - began) * 1000)
    return min(found)


# --- Gathering ------------------------------------------------------------------------------------


async def _shares(url: str, folder: Path, carried: int) -> list[dict[str, Any]]:
    """Measure the bare work, and by itself each thing that the metrics add to it.

    All are small beside the work and would drown in the difference of two measurements of it.
    """
    least, rows, looks, spans = await _costs(url, folder, carried)
    with_it, with_spans = least + rows + looks, least + rows + looks + spans
    whole = (rows + looks + spans) / with_spans
    return [
        _row("CPU per instance, bare", least, None),
        _row("CPU per instance, instrumented", with_it, None),
        _row("CPU per instance, with traces to a collector", with_spans, None),
        _row("share of the metrics, always on", (rows + looks) / with_it * 100, None, "%"),
        _row("share of the traces, for whoever sends them", spans / with_spans * 100, None, "%"),
        _row("share of the whole instrumentation, traces to a collector included", whole * 100, SHARE_MAX * 100, "%"),
    ]


async def _costs(url: str, folder: Path, carried: int) -> tuple[float, float, float, float]:
    """Return the milliseconds of CPU an instance: the bare work, its rows for the metrics, the looks, the spans.

    Each is the least of many turns: a busy moment of the machine is nobody's.
    """
    tracer = Tracer()
    least = [math.inf] * 4
    async with EngineContender(url, str(folder / "engine.db"), folder, at_once=AT_ONCE) as engine:
        for number in range(carried // TURN):
            with _bare() as left_out:
                began = stopwatch()
                work = await _cpu_ms(flood(engine.carry, f"turn{number}", TURN, AT_ONCE))
                seconds = stopwatch() - began
            rows = await _cpu_ms(_write(engine, left_out))
            looks = await _cpu_ms(_look(engine)) * seconds / EVALUATE_SECONDS
            spans = await _cpu_ms(_exports(engine, tracer))
            least = [min(pair) for pair in zip(least, (work, rows, looks, spans), strict=True)]
    return least[0], least[1], least[2], least[3]


async def _cpu_ms(work: Awaitable[object]) -> float:
    """Return the milliseconds of CPU that something costs, for each of the instances of a turn."""
    gc.collect()
    began = cpu_seconds()
    await work
    return (cpu_seconds() - began) / TURN * 1000


async def _write(engine: EngineContender, changes: Sequence[Change]) -> None:
    """Write what was left out as it would have been, a few rows a statement; the commits are there anyway."""
    pieces = [changes[at : at + ROWS_AT_ONCE] for at in range(0, len(changes), ROWS_AT_ONCE)]

    def write(backend: Backend) -> None:
        for piece in pieces:
            write_changes(backend, piece)

    await engine.store.work(write)


async def _look(engine: EngineContender) -> None:
    await watch.evaluate(Watcher(store=engine.store, plans=OnePlan(engine.plan)), engine.clock.now())


async def _exports(engine: EngineContender, tracer: Tracer) -> None:
    later = engine.clock.now() + timedelta(seconds=SETTLED_SECONDS)
    while await export_new(engine.store, Nowhere(), later, tracer) is not None:
        pass


class Nowhere:
    """Takes requests full of spans and lets them go."""

    async def send(self, raw: bytes) -> None:
        """Let it go."""


@contextmanager
def _bare() -> Iterator[Sequence[Change]]:
    """Leave out the rows that only the metrics need; give what was left out."""
    left_out: list[Change] = []

    def without(record: Record) -> list[Change]:
        kept: list[Change] = []
        for change in project(record):
            (left_out if isinstance(change, tuple) and change[0] is HANDOFFS else kept).append(change)
        return kept

    with patch.object(store_module, "project", without):
        yield left_out


def _row(title: str, figure: float, budget: float | None, unit: str = "ms") -> dict[str, Any]:
    met = budget is None or figure <= budget
    return {"title": title, "figure": figure, "unit": unit, "budget": budget, "met": met}
