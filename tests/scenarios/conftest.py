"""The scenarios share one set of running simulators and one clock; each gets a fresh installation.

All of them run in one event loop, where the simulators' sockets live. Between two scenarios
the systems forget everything and the clock goes on.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.world import World
from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.host import Simulators

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every scenario in the loop of the session."""
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sims(clock: SimulatedClock) -> AsyncIterator[Simulators]:
    async with Simulators(clock=clock) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def world(sims: Simulators, clock: SimulatedClock, tmp_path: Path) -> AsyncIterator[World]:
    """A published onboarding, an engine, and systems in their first state."""
    for name in sims:
        sims[name].reset()
    clock.advance(3600)
    made = World(sims, clock, tmp_path)
    await made.open()
    await made.publish()
    yield made
    troubles = made.troubles
    await made.close()
    assert not troubles, troubles
