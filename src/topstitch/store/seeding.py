"""Fills a SQLite database with finished instances that never were, for budgets and benches.

Rows of ``instances``, ``steps`` and ``handoffs`` only, as an engine would have left them; no
journal stands behind them, so such a database is for measuring reads and nothing else. The
figures follow from the numbers of the rows: two fillings are equal. Nothing in the product calls it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from topstitch.foundation.ids import derived_id

if TYPE_CHECKING:
    from topstitch.store.database import Backend
    from topstitch.store.store import Store

HOUR_MS: Final = 3_600_000
BATCH: Final = 5000
_INSTANCE: Final = (
    "INSERT INTO instances (id, workflow, version, digest, started_at, changed_at, ended_at, head_seq, head_hash,"
    " epoch, title, stage, status)"
)
_STEP: Final = (
    "INSERT INTO steps (instance, step, system, status, attempts, started_at, done_at, duration_ms, failure, failed_at,"
    " from_system, to_system)"
)
_HANDOFF: Final = (
    "INSERT INTO handoffs (instance, from_step, to_step, from_system, to_system, ready_at, started_at, net_ms,"
    " gross_ms)"
)
Row = tuple[Any, ...]


class SeededEdge(msgspec.Struct, frozen=True):
    """One edge of the definition whose instances are made up."""

    from_step: str
    to_step: str
    from_system: str
    to_system: str


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What is made up."""

    workflow: str
    version: str
    digest: str
    edges: Sequence[SeededEdge]
    instances: int
    until_ms: int
    days: int = 24
    median_ms: int = 4000
    spread: float = 0.5
    """Sigma of the log-normal durations."""
    exceptions: float = 0.005


async def fill(store: Store, seed: Seed) -> int:
    """Write finished instances, evenly spread over the days before ``until_ms``; return how many rows there are."""
    written = 0
    for begin in range(0, seed.instances, BATCH):
        numbers = range(begin, min(begin + BATCH, seed.instances))
        written += await store.work(lambda backend, numbers=numbers: _fill(backend, seed, numbers))  # type: ignore[misc]
    return written


def _fill(backend: Backend, seed: Seed, numbers: range) -> int:
    instances: list[Row] = []
    steps: list[Row] = []
    handoffs: list[Row] = []
    for number in numbers:
        _one(seed, number, instances, steps, handoffs)
    for head, rows in ((_INSTANCE, instances), (_STEP, steps), (_HANDOFF, handoffs)):
        _insert(backend, head, rows)
    return len(instances) + len(steps) + len(handoffs)


def _one(seed: Seed, number: int, instances: list[Row], steps: list[Row], handoffs: list[Row]) -> None:
    chance = _chances(number)
    began = seed.until_ms - seed.days * 24 * HOUR_MS + number * seed.days * 24 * HOUR_MS // seed.instances
    name = f"ins_{began:014d}{number:08d}"
    done = {"context": began + 400}
    seen: set[str] = set()
    for edge in seed.edges:
        ready = done.get(edge.from_step, began)
        net = max(1, round(40 * math.exp(0.6 * _normal(chance))))
        handoffs.append(
            (name, edge.from_step, edge.to_step, edge.from_system, edge.to_system, ready, ready + net, net, net)
        )
        if edge.to_step in seen:
            continue
        seen.add(edge.to_step)
        took = max(1, round(seed.median_ms * math.exp(seed.spread * _normal(chance))))
        failed = next(chance) < seed.exceptions
        done[edge.to_step] = ready + net + took
        ending = ("given_up", None, None, "unreachable", ready + net + took) if failed else (
            "done", ready + net + took, took, None, None
        )  # fmt: skip
        seam = (edge.from_system, edge.to_system) if failed else (None, None)
        steps.append((name, edge.to_step, edge.to_system, ending[0], 1, ready + net, *ending[1:], *seam))
    end = max(done.values())
    instances.append(
        (name, seed.workflow, seed.version, seed.digest, began, end, end, 40, "00" * 32, 1, None, "audit", "completed")
    )


def _insert(backend: Backend, head: str, rows: Sequence[Row]) -> None:
    width = len(rows[0]) if rows else 0
    size = max(1, 30_000 // max(width, 1))
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        marks = ",".join(["(" + ",".join("?" * width) + ")"] * len(part))
        backend.execute(f"{head} VALUES {marks}", [value for row in part for value in row])


def _chances(number: int) -> Iterator[float]:
    """Yield numbers in (0, 1) that follow from ``number``: a linear congruential generator, good enough for filling."""
    state = int.from_bytes(derived_id("s", str(number)).encode()[-8:], "big")
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        yield ((state >> 11) + 0.5) / (1 << 53)


def _normal(chance: Iterator[float]) -> float:
    return math.sqrt(-2 * math.log(next(chance))) * math.cos(2 * math.pi * next(chance))
