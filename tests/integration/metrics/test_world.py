"""The whole house on a simulated clock: simulated systems, the real engine, and the metrics that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from support.world import World
from topstitch.foundation.clock import SimulatedClock
from topstitch.metrics import render, report, time_split, watch
from topstitch.metrics.report import ManualBaseline
from topstitch.metrics.seams import Band
from topstitch.metrics.sla import PromiseState
from topstitch.metrics.time_split import Where
from topstitch.metrics.watch import Watcher
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind
from topstitch.simulators.host import Simulators
from topstitch.store import alarms, instances

ONBOARDING = "employee-onboarding"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A published onboarding, an engine, and systems in their first state."""
    clock = SimulatedClock()
    async with Simulators(clock=clock) as running:
        made = World(running, clock, tmp_path)
        await made.open()
        await made.publish()
        yield made
        await made.close()


def watcher_of(world: World) -> Watcher:
    return Watcher(store=world.store, plans=world.house.plans)


async def test_H02_O02_O05_O06_O07_I03_hires_fill_the_board_and_keep_the_promises(world: World) -> None:
    watcher = watcher_of(world)
    names = [await world.hire() for _ in range(3)]
    await world.run_for(hours=1, minutes=59)
    now = world.clock.now()
    board = await watch.board(watcher, now)
    assert len(board) == 5
    crossed = {one.edge.to_step: one for one in board}
    assert {crossed[step].count for step in ("identity", "equipment", "welcome_chat", "welcome_email")} == {3}
    assert all(one.within_target == 1.0 for one in board if one.count)
    assert {one.band for one in board if one.count} == {Band.GREEN}
    standings = await watch.promises(watcher, now, workflow=ONBOARDING)
    assert {one.promise for one in standings} == {"provisioned", "account", "welcomed"}
    assert {one.state for one in standings} == {PromiseState.MET}
    plan = await world.house.plans.of(ONBOARDING)
    rows = render.sla_rows(standings, {ONBOARDING: plan})
    assert {row[-1] for row in rows} == {"green"}
    for name in names:
        records = await instances.records(world.store, name)
        split = time_split.of_records(plan, records, now)
        executed = next(record.at for record in records if record.kind == Kind.EXECUTED)
        assert timedelta(milliseconds=split.total_ms()) == executed - records[0].at
        assert split.total_ms(Where.PEOPLE) == 0


async def test_O09_the_report_compares_with_what_was_recorded_of_the_work_by_hand(world: World) -> None:
    watcher = watcher_of(world)
    plan = await world.house.plans.of(ONBOARDING)
    manual = ManualBaseline(days_low=5, days_high=9, handoffs=4, source="the service desk's survey of 2025")
    actor = Actor(ActorKind.HUMAN, "dana@acme.example")
    await report.record(world.store, ONBOARDING, manual, actor, world.clock.now())
    await world.hire()
    await world.run_for(hours=1)
    lines = {line.what: line for line in await report.report(watcher, plan, world.clock.now())}
    assert lines["total time"].before == "5 to 9 business days"
    change = lines["total time"].change
    assert change.startswith("at least ")
    assert change.endswith("% less")
    assert float(change.split()[2]) > 90
    assert (lines["manual handoffs"].before, lines["manual handoffs"].now) == ("4 each", "0 each (0 in all)")
    assert lines["manual handoffs"].change == "100.0 % less"
    assert lines["untouched by people"].now == "1 of 1 (100 %)"
    assert lines["promise 'account'"].now == "1 of 1 (100 %) in 10 m"
    assert len(render.report_rows(lines.values())[0]) == len(render.REPORT_COLUMNS)


async def test_I11_I12_a_dead_worker_is_alarmed_with_healthy_systems_and_the_alert_ends_with_the_gap(
    world: World,
) -> None:
    watcher = watcher_of(world)
    await world.hire()
    await world.run_for(minutes=10)
    world.house.engine.stop()
    assert world._engine is not None
    await world._engine
    late = await world.hire()
    hired = world.clock.now()
    world.clock.advance_to(hired + timedelta(seconds=299))
    await watch.evaluate(watcher, world.clock.now())
    assert [row for row in await alarms.listing(world.store) if row.kind == "handoff"] == []
    world.clock.advance_to(hired + timedelta(seconds=301))
    await watch.evaluate(watcher, world.clock.now())
    (alert,) = [row for row in await alarms.listing(world.store) if row.kind == "handoff"]
    assert (alert.level, alert.from_system, alert.to_system) == ("red", "workday", "entra-id")
    assert alert.body["worst"] == [{"instance": late, "text": "5 m 1 s"}]
    assert alert.body["diagnosis"].startswith("orchestrator")
    assert "0 of 1 (0.0 %)" in alert.body["text"]
    await world.restart()
    await world.run_for(minutes=12)
    watcher = watcher_of(world)
    await watch.evaluate(watcher, world.clock.now())
    assert [row for row in await alarms.listing(world.store) if row.kind == "handoff"] == []
