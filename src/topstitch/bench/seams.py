"""Measures what the metrics cost: reading them from many finished instances, and gathering them at work.

``topstitch bench --seams`` prints what ``run_seams`` returns. Reads are judged by the figure
itself, the instrumentation by its share of the CPU that an instance costs: the same workload is
carried out bare (no handoff rows, no rounds), as it is shipped, and with every span encoded for
a collector.
"""

from __future__ import annotations

import asyncio
import gc
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
from topstitch.metrics.watch import Watcher
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, measures, store as store_module
from topstitch.store.project import HANDOFFS, project
from topstitch.store.sealing import milliseconds
from topstitch.store.seeding import Seed, SeededEdge, fill

if TYPE_CHECKING:
    from topstitch.model.record import Record

FINISHED: Final = 100_000
TRIES: Final = 5
PASSES: Final = 3
AT_ONCE: Final = 100
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


def run_seams(*, finished: int = FINISHED, carried: int = 500) -> dict[str, Any]:
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
    bare, shipped_ms, exported = [], [], []
    for number in range(PASSES):  # in turn, so that a busy moment of the machine is nobody's
        with _bare():
            bare.append(await _carried(url, folder / f"bare{number}", carried))
        shipped_ms.append(await _carried(url, folder / f"shipped{number}", carried, _looks))
        exported.append(await _carried(url, folder / f"exported{number}", carried, _exports))
    least, with_it, with_spans = min(bare), min(shipped_ms), min(exported)
    share, spans = max(with_it - least, 0.0) / with_it, max(with_spans - with_it, 0.0) / with_spans
    return [
        _row("CPU per instance, bare", least, None),
        _row("CPU per instance, instrumented", with_it, None),
        _row("share of the instrumentation", share * 100, SHARE_MAX * 100, "%"),
        _row("CPU per instance, with traces to a collector", with_spans, None),
        _row("share of the traces, for whoever sends them", spans * 100, None, "%"),
    ]


Then = Callable[[EngineContender, float], Awaitable[None]]


async def _carried(url: str, folder: Path, many: int, then: Then | None = None) -> float:
    """Return the milliseconds of CPU that an instance costs, with what is done about all of them afterwards."""
    await asyncio.to_thread(folder.mkdir)
    async with EngineContender(url, str(folder / "engine.db"), folder, at_once=AT_ONCE) as engine:
        await flood(engine.carry, f"{folder.name}-warm", many // 4, AT_ONCE)
        gc.collect()
        cpu, began = cpu_seconds(), stopwatch()
        await flood(engine.carry, folder.name, many, AT_ONCE)
        if then is not None:
            await then(engine, stopwatch() - began)
        return (cpu_seconds() - cpu) / many * 1000


async def _looks(engine: EngineContender, seconds: float) -> None:
    """Make as many looks as fall into the time that the work has taken, one at least."""
    watcher = Watcher(store=engine.store, plans=OnePlan(engine.plan))
    for _ in range(max(1, round(seconds / EVALUATE_SECONDS))):
        await watch.evaluate(watcher, engine.clock.now())


async def _exports(engine: EngineContender, seconds: float) -> None:
    await _looks(engine, seconds)
    later = engine.clock.now() + timedelta(seconds=SETTLED_SECONDS)
    while await export_new(engine.store, Nowhere(), later) is not None:
        pass


class Nowhere:
    """Takes requests full of spans and lets them go."""

    async def send(self, raw: bytes) -> None:
        """Let it go."""


@contextmanager
def _bare() -> Iterator[None]:
    """Leave out the rows that only the metrics need."""

    def without(record: Record) -> list[Any]:
        return [change for change in project(record) if not (isinstance(change, tuple) and change[0] is HANDOFFS)]

    with patch.object(store_module, "project", without):
        yield


def _row(title: str, figure: float, budget: float | None, unit: str = "ms") -> dict[str, Any]:
    met = budget is None or figure <= budget
    return {"title": title, "figure": figure, "unit": unit, "budget": budget, "met": met}
