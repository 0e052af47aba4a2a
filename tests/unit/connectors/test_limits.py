"""A connection's limits are shared, fair, and never hang, whatever the clock does."""

from __future__ import annotations

import asyncio

import pytest

from topstitch.connectors.limits import Limits, Rate, parse_rate
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import TransientError

LONG = 1000.0
TURNS = 10
"""How often the loop turns before the clock moves on: everybody who was woken has noted the time."""


async def drive(clock: SimulatedClock, work: asyncio.Future[list[float]]) -> list[float]:
    """Move the clock to each next sleeper until the work is done."""
    while not work.done():
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if (when := clock.next_sleeper()) is not None:
            clock.advance_to(when)
    return work.result()


async def crowd(limits: Limits, clock: SimulatedClock, size: int) -> list[float]:
    start = clock.now()

    async def one() -> float:
        await limits.enter(LONG)
        try:
            return (clock.now() - start).total_seconds()
        finally:
            limits.leave()

    return await drive(clock, asyncio.gather(*(one() for _ in range(size))))


async def test_C04_a_crowd_leaves_no_faster_than_the_rate() -> None:
    clock = SimulatedClock()
    times = await crowd(Limits(clock, rate=parse_rate("10/s"), concurrency=200), clock, 50)
    assert times == sorted(times)
    assert all(later >= earlier + 0.999 for earlier, later in zip(times, times[10:], strict=False))
    assert times[-1] < 6


async def test_C04_a_burst_leaves_at_once_and_is_paid_back() -> None:
    clock = SimulatedClock()
    times = await crowd(Limits(clock, rate=Rate(per_second=1, burst=3)), clock, 6)
    assert times[0] == times[1] == 0
    assert times[2] < 1
    assert times[5] >= 3


async def test_C04_what_would_wait_too_long_is_told_at_once_and_takes_no_turn() -> None:
    clock = SimulatedClock()
    limits = Limits(clock, rate=parse_rate("1/m"))
    await limits.enter(1)
    limits.leave()
    with pytest.raises(TransientError) as caught:
        await limits.enter(5)
    assert caught.value.retry_after_seconds is not None
    assert caught.value.retry_after_seconds > 50
    clock.advance(64)
    await limits.enter(1)
    limits.leave()


async def test_a_system_that_asks_for_time_holds_everybody_back() -> None:
    clock = SimulatedClock()
    limits = Limits(clock)
    limits.close_for(30)
    with pytest.raises(TransientError) as caught:
        await limits.enter(10)
    assert caught.value.retry_after_seconds == 30
    clock.advance(30)
    await limits.enter(10)
    limits.leave()


async def test_no_place_becomes_a_transient_error_and_a_place_comes_back() -> None:
    limits = Limits(SimulatedClock(), concurrency=1)
    await limits.enter(1)
    with pytest.raises(TransientError, match="every place"):
        await limits.enter(0.01)
    limits.leave()
    await limits.enter(1)
    limits.leave()


async def test_a_clock_that_stands_still_does_not_hang_a_waiter() -> None:
    clock = SimulatedClock()
    limits = Limits(clock, rate=parse_rate("100/s"))
    for _ in range(3):
        await asyncio.wait_for(limits.enter(1), 1)
        limits.leave()


async def test_a_waiter_that_gives_up_gives_its_place_back() -> None:
    clock = SimulatedClock()
    limits = Limits(clock, rate=parse_rate("1/h"), concurrency=1)
    await limits.enter(LONG)
    limits.leave()
    waiter = asyncio.ensure_future(limits.enter(10_000))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    clock.advance(20_000)
    await asyncio.wait_for(limits.enter(LONG), 1)
    limits.leave()


@pytest.mark.parametrize(("text", "per_second"), [("10/s", 10), ("600/m", 10), ("3600/h", 1), ("0.5/s", 0.5)])
def test_rates_are_read(text: str, per_second: float) -> None:
    assert parse_rate(text).per_second == per_second


@pytest.mark.parametrize("text", ["10", "0/s", "-1/s", "10/d", "fast"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="10/s"):
        parse_rate(text)
