"""Several processes on one database tell each alert once, export in turn, and file nothing that is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from integration.metrics.kit import NOW, Case, Told, after, finished
from support.onboarding import onboarding_plan
from topstitch.metrics import outbox, rounds, watch
from topstitch.metrics.otlp import TRACED_MARK
from topstitch.metrics.rounds import TURN_SECONDS, Round
from topstitch.metrics.routes import Payload, Route, RouteKind
from topstitch.metrics.watch import Watcher
from topstitch.store import alarms, rollups, turns

PLAN = onboarding_plan()


class Slow(Told):
    """A sender that lets others in while it sends."""

    async def send(self, payload: Payload) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await super().send(payload)


class Kept:
    """A collector that remembers."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def send(self, raw: bytes) -> None:
        self.requests.append(raw)


def raised(_part: str, error: BaseException) -> None:
    """Let nothing that goes wrong in a round pass unseen."""
    raise error


async def test_two_processes_that_deliver_at_the_same_time_tell_once(watcher: Watcher) -> None:
    await Case(watcher.store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    one, other = Slow(), Slow()
    await asyncio.gather(outbox.deliver(watcher, one, after(302)), outbox.deliver(watcher, other, after(302)))
    assert len(one.sent) + len(other.sent) == 2
    assert len({payload.message for payload in (*one.sent, *other.sent)}) == 2


async def test_what_a_process_took_and_never_sent_is_sent_by_another_later(watcher: Watcher) -> None:
    await Case(watcher.store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    held = round(after(301 + outbox.MESSAGE_HELD_SECONDS).timestamp() * 1000)
    assert len(await alarms.claim_messages(watcher.store, round(after(301).timestamp() * 1000), held)) == 2  # it dies
    assert await outbox.deliver(watcher, Told(), after(400)) == 0
    assert await outbox.deliver(watcher, Told(), after(302 + outbox.MESSAGE_HELD_SECONDS)) == 2


async def test_a_ticket_is_not_opened_for_an_alert_that_is_over(watcher: Watcher) -> None:
    itsm = {"itsm": Route(name="itsm", kind=RouteKind.TICKET, to="itsm")}
    filing = replace(watcher, routes=itsm)
    one = await Case(watcher.store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(filing, after(301))
    told = Told(failures=1)
    assert await outbox.deliver(filing, told, after(302)) == 0
    await one.stand("audit", "cancelled", after(305))
    await watch.evaluate(filing, after(331))
    await outbox.deliver(filing, told, after(332))
    assert [payload.body["closed"] for payload in told.sent] == [True]
    (alert,) = await alarms.listing(watcher.store, statuses=("cleared",))
    opened, _ = sorted(await alarms.messages_of(watcher.store, alert.id), key=lambda m: m.event, reverse=True)
    assert (opened.event, opened.problem, opened.next_ms) == ("opened", "over before it could be filed", None)


async def test_one_process_at_a_time_exports_and_another_takes_over_when_it_is_gone(watcher: Watcher) -> None:
    store, first, second = watcher.store, Kept(), Kept()
    await finished(store, "ins_1", NOW, PLAN)

    def by(owner: str, sink: Kept) -> Round:
        return Round(watcher=watcher, on_trouble=raised, sink=sink, owner=owner)

    await rounds.one_round(by("a", first), after(100))
    await finished(store, "ins_2", after(110), PLAN)
    await rounds.one_round(by("b", second), after(160))
    assert first.requests
    assert not second.requests
    mark = await rollups.mark(store, TRACED_MARK)
    await rounds.one_round(by("b", second), after(100 + TURN_SECONDS + 60))
    assert second.requests
    assert await rollups.mark(store, TRACED_MARK) > mark


async def test_a_turn_is_kept_by_who_holds_it_and_taken_when_it_has_run_out(watcher: Watcher) -> None:
    store = watcher.store
    assert await turns.take(store, "x", "a", 0, 10)
    assert not await turns.take(store, "x", "b", 5, 15)
    assert await turns.take(store, "x", "a", 8, 18)
    assert not await turns.take(store, "x", "b", 12, 22)
    assert await turns.take(store, "x", "b", 18, 28)
    assert await turns.take(store, "y", "a", 18, 28)
