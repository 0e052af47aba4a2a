"""The rounds: alerts come and are told by the clock alone, and one part that fails holds nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from integration.metrics.kit import NOW, Case, Told, after, finished
from support.onboarding import onboarding_plan
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import OperatorError
from topstitch.metrics import rounds
from topstitch.metrics.rounds import Round
from topstitch.metrics.routes import Payload
from topstitch.metrics.spans import Span
from topstitch.metrics.watch import EVALUATE_SECONDS, Watcher
from topstitch.store import alarms, rollups

PLAN = onboarding_plan()


class Away:
    """A collector that is never there."""

    def send(self, spans: Sequence[Span]) -> None:
        raise OperatorError("collector-unreachable", f"{len(spans)} spans wait; see that it is up")


async def settled(clock: SimulatedClock, task: asyncio.Task[None], until: float) -> None:
    """Let the rounds go on until the clock stands at a time and they sleep."""
    while clock.now() < after(until):
        for _ in range(2000):
            if task.done() or (due := clock.next_sleeper()) is not None:
                break
            await asyncio.sleep(0)
        else:
            await asyncio.wait({task}, timeout=0.05)
            continue
        assert not task.done(), task.exception()
        assert due is not None
        clock.advance_to(min(due, after(until)))


async def test_H02_an_alert_opens_and_is_told_by_the_clock_alone(watcher: Watcher) -> None:
    store, clock, told = watcher.store, SimulatedClock(NOW), Told()
    troubles: list[tuple[str, BaseException]] = []
    await finished(store, "ins_0", after(-7200), PLAN)
    await Case(store, "ins_1", NOW, PLAN).begin()
    one = Round(
        watcher=watcher, on_trouble=lambda name, error: troubles.append((name, error)), sender=told, sink=Away()
    )
    task = asyncio.create_task(rounds.go_round(one, clock))
    await settled(clock, task, 300)
    assert told.sent == []
    await settled(clock, task, 300 + 2 * EVALUATE_SECONDS)
    for _ in range(100):
        if len(told.sent) == 2 and troubles:
            break
        await asyncio.wait({task}, timeout=0.05)
    task.cancel()
    await asyncio.wait({task})
    assert {payload.to for payload in told.sent} == {"ops@acme.example", "https://hooks.example/x"}
    assert [row.kind for row in await alarms.listing(store)] == ["handoff"]
    assert await rollups.mark(store, rollups.ROLLED_MARK) > 0
    assert {name for name, _ in troubles} == {"export"}  # and nothing else stood still for it


async def test_a_round_without_routes_or_collector_is_a_round(watcher: Watcher) -> None:
    troubles: list[str] = []
    one = Round(watcher=watcher, on_trouble=lambda name, _: troubles.append(name))
    await rounds.one_round(one, after(301), keeping=True)
    assert troubles == []


class Stuck(Told):
    """A mail server that takes the line and never answers."""

    async def send(self, payload: Payload) -> None:
        self.sent.append(payload)
        await asyncio.Event().wait()


async def test_H02_a_mail_server_that_never_answers_delays_no_other_alert(watcher: Watcher) -> None:
    store, clock, stuck = watcher.store, SimulatedClock(NOW), Stuck()
    await Case(store, "ins_1", NOW, PLAN).begin()
    one = Round(watcher=watcher, on_trouble=lambda *_: None, sender=stuck)
    task = asyncio.create_task(rounds.go_round(one, clock))
    await settled(clock, task, 300 + EVALUATE_SECONDS)
    for _ in range(100):
        if stuck.sent:
            break
        await asyncio.wait({task}, timeout=0.05)
    await settled(clock, task, 660)
    assert {row.kind for row in await alarms.listing(store)} == {"handoff", "sla"}  # ten minutes: a promise is broken
    assert len(stuck.sent) == 1
    task.cancel()
    await asyncio.wait({task})
