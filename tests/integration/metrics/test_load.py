"""Under load: what a fresh installation hands over while a hundred instances are in flight, on the real clock."""

from __future__ import annotations

from pathlib import Path

from topstitch.bench.contender import EngineContender
from topstitch.bench.measure import flood
from topstitch.bench.stub import running

INSTANCES, AT_ONCE = 150, 100
TARGET_MS, OWN_BAR_MS = 60_000, 1000


async def test_I06_a_hundred_in_flight_are_handed_over_far_within_the_target(tmp_path: Path) -> None:
    with running() as url:
        async with EngineContender(url, str(tmp_path / "engine.db"), tmp_path, at_once=AT_ONCE) as engine:
            await flood(engine.carry, "load", INSTANCES, AT_ONCE)
            latencies = sorted(await engine.handoffs())
    assert len(latencies) >= INSTANCES
    p99 = latencies[int(len(latencies) * 0.99)]
    assert sum(one <= TARGET_MS for one in latencies) == len(latencies)
    assert p99 < OWN_BAR_MS, f"{p99:.0f} ms"
