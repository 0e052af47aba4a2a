"""Measures one contender: a way of carrying an instance out, alone and a hundred at a time.

A contender is an async function that carries one instance from its event to its last
confirmed step. The same code times the bare script, the bare script with a group commit for
each step, and the engine.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from topstitch.foundation.clock import stopwatch

Carry = Callable[[str], Awaitable[None]]
Handoffs = Callable[[], Awaitable[list[float]]]


@dataclass(slots=True, kw_only=True)
class Figures:
    """What one contender cost. Times are milliseconds, unless the name says otherwise."""

    name: str
    cpu_ms: float = 0
    per_second: float = 0
    alone_p50: float = 0
    handoff_p50: float = 0
    handoff_p99: float = 0
    handoff_alone_p50: float = 0
    extra: dict[str, float] = field(default_factory=dict)


async def warm_up(name: str, carry: Carry, handoffs: Handoffs, *, at_once: int) -> None:
    """Let a contender open its connections and compile what it compiles once."""
    await flood(carry, f"{name}-warm", 200, at_once)
    await handoffs()


async def measure(
    name: str, carry: Carry, handoffs: Handoffs, *, turn: int, many: int, at_once: int, alone: int
) -> Figures:
    """Return the figures of one contender's turn."""
    figures = Figures(name=name)
    gc.collect()
    cpu, wall = cpu_seconds(), stopwatch()
    await flood(carry, f"{name}-{turn}-many", many, at_once)
    figures.cpu_ms = (cpu_seconds() - cpu) / many * 1000
    figures.per_second = many / (stopwatch() - wall)
    figures.handoff_p50, figures.handoff_p99 = _percentiles(await handoffs())
    times = []
    for number in range(alone):
        start = stopwatch()
        await carry(f"{name}-{turn}-alone-{number}")
        times.append((stopwatch() - start) * 1000)
    figures.alone_p50 = _percentiles(times)[0]
    figures.handoff_alone_p50 = _percentiles(await handoffs())[0]
    return figures


async def flood(carry: Carry, prefix: str, many: int, at_once: int) -> None:
    """Carry many instances out, so many at a time."""
    numbers = iter(range(many))

    async def lane() -> None:
        for number in numbers:
            await carry(f"{prefix}-{number}")

    await asyncio.gather(*(lane() for _ in range(at_once)))


def cpu_seconds() -> float:
    """Return the CPU time of this process and its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _percentiles(values: list[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
