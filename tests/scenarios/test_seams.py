"""The seams on the virtual clock: promises and their owners, alerts to real places, checks that find what differs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.world import World
from topstitch.bootstrap.calls import Calls
from topstitch.bootstrap.measuring import RealSender, routes_of, watcher_of
from topstitch.foundation.w3c import follow, parse_traceparent, span_id_of, trace_id_of
from topstitch.metrics import rounds, watch
from topstitch.metrics.rounds import Round
from topstitch.metrics.seams import Band
from topstitch.metrics.sla import PromiseState
from topstitch.metrics.spans import spans_of
from topstitch.model.kinds import Kind
from topstitch.model.orders import StartCall
from topstitch.model.record import Actor, ActorKind
from topstitch.office import calendars
from topstitch.store import alarms, instances, items
from topstitch.trigger.accept import accept_hook

ONBOARDING = "employee-onboarding"
DANA = Actor(ActorKind.HUMAN, "dana@acme.example")
OWNERS = 3
"""How many people the owning team has."""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
MINE = "4bf92f3577b34da6a3ce929d0e0e4736"


@asynccontextmanager
async def watching(world: World, *routes: str) -> AsyncIterator[Round]:
    """Make rounds by hand, with the senders and routes that ``serve`` would have."""
    settings = replace(world.settings, alert_routes=routes or world.settings.alert_routes)
    troubles: list[Any] = []
    sender = RealSender(world.registry, world.clock)
    watcher = watcher_of(settings, world.store, world.house.plans)
    watcher = replace(watcher, routes=routes_of(settings))
    try:
        yield Round(watcher=watcher, on_trouble=lambda *trouble: troubles.append(trouble), sender=sender)
    finally:
        await sender.close()
    assert not troubles, troubles


async def look(world: World, one: Round) -> None:
    await rounds.one_round(one, world.clock.now())


async def seen_until(world: World, one: Round, **delta: float) -> None:
    """Let time pass and look every half minute."""
    end = world.clock.now() + timedelta(**delta)
    while world.clock.now() < end:
        await world.run_until(min(world.clock.now() + timedelta(seconds=watch.EVALUATE_SECONDS), end))
        await look(world, one)


async def test_O05_O06_the_owner_is_told_at_risk_first_and_then_that_a_promise_is_broken(world: World):
    world.fault("entra-id", "503", match={"method": "POST", "path": "users"})
    async with watching(world) as one:
        late = await world.hire()
        await seen_until(world, one, minutes=11)
        broken = [row for row in await alarms.listing(world.store) if row.kind == "sla"]
        assert [(row.level, "account" in row.cause) for row in broken] == [("breached", True)]
        told = [mail for mail in world.mails() if "[topstitch]" in mail["subject"] and "'account'" in mail["subject"]]
        assert len(told) == len({str(mail["to"]) for mail in told}) == OWNERS  # the shipped owner: people-operations
        standings = await watch.promises(one.watcher, world.clock.now(), workflow=ONBOARDING)
        states = {s.promise: s.state for s in standings if s.instance == late}
        assert (states["account"], states["provisioned"]) == (PromiseState.BREACHED, PromiseState.ON_TRACK)
        before = len(world.mails())
        await seen_until(world, one, minutes=2)
        assert len([m for m in world.mails()[before:] if "'account'" in m["subject"]]) == 0  # told once


async def test_O06_a_promise_in_business_hours_waits_while_nobody_works(world: World):
    world.fault("entra-id", "503", match={"method": "POST", "path": "users"})
    far = (world.clock.now() + timedelta(days=3)).strftime("%a").lower()
    text = f"zone: UTC\nhours: {{{far}: '09:00-17:00'}}\n"
    await calendars.load(world.store, text, "calendar.yaml", environment="test", by=DANA, at=world.clock.now())
    world.settings = replace(world.settings, business_promises=(f"{ONBOARDING}/account",))
    async with watching(world) as one:
        late = await world.hire()
        await seen_until(world, one, minutes=11)
        assert [row.cause for row in await alarms.listing(world.store) if row.kind == "sla"] == []
        standings = await watch.promises(one.watcher, world.clock.now(), workflow=ONBOARDING)
        (account,) = [s for s in standings if (s.instance, s.promise) == (late, "account")]
        assert (account.state, account.used_ms) == (PromiseState.ON_TRACK, 0)


async def test_V11_O06_the_workflow_has_an_owner_and_its_promises_are_green(world: World):
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(hours=2)
    async with watching(world) as one:
        plan = await world.house.plans.of(ONBOARDING)
        assert plan.owner["team"] == "people-operations"
        standings = await watch.promises(one.watcher, world.clock.now(), workflow=ONBOARDING)
        assert {(s.promise, s.state) for s in standings if s.instance == name} == {
            (promise, PromiseState.MET) for promise in ("account", "provisioned", "welcomed")
        }
        await look(world, one)
        assert [row.cause for row in await alarms.listing(world.store) if row.kind == "sla"] == []


async def test_H02_a_stalled_worker_is_told_to_mail_channel_and_itsm_while_the_gap_is_open_and_closed_with_it(
    world: World,
):
    await world.hire()
    await world.run_for(minutes=10)
    async with watching(world, "email:ops@corp.example", "slack:general", "ticket:itsm") as one:
        await look(world, one)
        world.house.engine.stop()
        assert world._engine is not None
        await world._engine
        late = await world.hire()
        world.clock.advance(299)
        await look(world, one)
        assert [row for row in await alarms.listing(world.store) if row.kind == "handoff"] == []
        world.clock.advance(2)
        await look(world, one)
        (alert,) = [row for row in await alarms.listing(world.store) if row.kind == "handoff"]
        (mail,) = [m for m in world.mails("ops@corp.example") if "workday and entra-id" in m["subject"]]
        assert mail["subject"].strip().startswith("[topstitch]")
        posts = [m for m in world.everything("slack", "messages") if "work lies between" in str(m)]
        assert len(posts) == 1
        assert late in str(posts[0])
        tickets = [row for row in world.everything("servicenow", "incident") if row["correlation_id"] == alert.id]
        assert [row["state"] for row in tickets] == ["1"]
        await look(world, one)
        assert (
            len([row for row in world.everything("servicenow", "incident") if row["correlation_id"] == alert.id]) == 1
        )
        world.house.engine.stopping = False
        world.start()
        await world.run_for(minutes=12)
        await look(world, one)
        assert [row for row in await alarms.listing(world.store) if row.kind == "handoff"] == []
        (ticket,) = [row for row in world.everything("servicenow", "incident") if row["correlation_id"] == alert.id]
        assert ticket["state"] == "7"
        assert [m["subject"].strip()[:17] for m in world.mails("ops@corp.example")][-1] == "[topstitch] Over:"
        told = await alarms.messages_of(world.store, alert.id)
        assert all(one.sent_ms is not None and one.problem is None for one in told)


async def test_I06_I09_many_hires_at_once_are_handed_over_within_the_second_and_without_an_exception(world: World):
    letters = [a + b for a in "abcde" for b in "klmno"]
    names = [await world.hire(first="Robin", last=f"Ve{pair}a") for pair in letters]
    await world.run_for(minutes=30)
    async with watching(world) as one:
        board = await watch.board(one.watcher, world.clock.now())
        figures = [figure for figure in board if figure.count]
        assert {figure.count for figure in figures} == {len(names)}
        assert all(figure.band is Band.GREEN and figure.within_target == 1.0 for figure in figures)
        assert all(figure.target_ms == 60_000 for figure in figures)
        slow = [value for figure in figures for value in (figure.p95_ms,) if value is not None and value > 1000]
        assert not slow
        assert all((f.exceptions.count.failed, f.exceptions.count.share) == (0, 0.0) for f in figures)
        assert all(f.exceptions.count.tried == len(names) for f in figures)


async def test_I13_the_trace_of_the_trigger_goes_on_to_every_system_and_names_the_attempt(world: World):
    delivery = world.signed(world.hired())
    delivery = replace(delivery, headers={**delivery.headers, "traceparent": PARENT, "tracestate": STATE})
    verdict = await accept_hook(world.house.intake, "workday", delivery)
    (name,) = verdict.instances
    plain = await world.hire()
    seen = {system: len(world.calls(system)) for system in world.sims}
    await world.run_for(hours=1)
    spans = spans_of(await instances.records(world.store, name))
    assert {span.trace_id for span in spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    sent = [
        context
        for system in ("entra-id", "servicenow", "slack")
        for call in world.calls(system)[seen[system] :]
        if (context := parse_traceparent(call["trace"])) is not None
    ]
    assert {context.trace_id for context in sent} == {"4bf92f3577b34da6a3ce929d0e0e4736", trace_id_of(plain)}
    attempts = {span.span_id for span in spans if "topstitch.attempt" in span.attributes}
    mine = {context.span_id for context in sent if context.trace_id == spans[0].trace_id}
    assert len(attempts & mine) >= 3  # every write over HTTP: account, request, invitation
    beside = {
        call["state"]
        for s in ("entra-id", "slack")
        for call in world.calls(s)[seen[s] :]
        if MINE in (call["trace"] or "")
    }
    assert beside == {STATE}
    assert {span.trace_state for span in spans} == {STATE}


async def test_I13_a_workflow_that_another_starts_goes_on_in_its_trace_under_the_step(world: World):
    calls = Calls(world.store, world.registry, world.house.plans, world.clock, "test")
    follow("ins_parent", PARENT, STATE)
    event = world.registry.normalise_event("hris", "", world.hired())
    started = StartCall(
        key="hire/start",
        workflow="employee-onboarding",
        data=event.data,
        parent="ins_parent",
        parent_step="hire",
        idempotency_key="ins_parent:hire",
    )
    outcome = await calls.perform(await world.house.plans.of("employee-onboarding"), "ins_parent", started)
    first = (await instances.records(world.store, outcome.value["instance"]))[0]
    assert first.body["event"]["trace"] == f"00-{MINE}-{span_id_of('ins_parent', 'step', 'hire', '')}-01"
    assert first.body["event"]["trace_state"] == STATE


async def test_H01_what_differs_is_found_at_the_next_check_with_one_ticket_that_closes_when_it_agrees(world: World):
    name = await world.hire(jobProfile="SAL-SDR")
    await world.run_for(hours=2, minutes=10)
    first = (await world.records(name, Kind.CHECK_DONE))[0]
    assert (first.body["matched"], first.body.get("differing") or 0) == (5, 0)  # four systems, five records
    account = next(u for u in reversed(world.everything("entra-id", "users")) if u.get("onPremisesExtensionAttributes"))
    users = world.sims["entra-id"].records
    users.change("users", account["id"], {"accountEnabled": False})
    await world.run_for(hours=22)
    (found,) = await items.list_discrepancies(world.store, instance=name, status=None)
    assert (found["system"], [field["field"] for field in found["fields"]]) == ("directory", ["enabled"])
    (differs,) = found["fields"]
    assert (differs["intended"], differs["observed"]) == (True, False)
    assert found["url"]
    (ticket,) = world.everything("servicenow", "incident")
    assert ticket["state"] not in ("6", "7")
    users.change("users", account["id"], {"accountEnabled": True})
    await world.run_to_end(name)
    (ticket,) = world.everything("servicenow", "incident")
    assert len(await items.list_discrepancies(world.store, instance=name, status=None)) == 1
