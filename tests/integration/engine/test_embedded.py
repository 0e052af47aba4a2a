"""The embedded engine: nothing sent before it is written, nothing done twice, nothing left lying."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from integration.engine.kit import Rules, once
from integration.store.kit import DANA, draft, event, later, new, query, start
from topstitch.engine import embedded
from topstitch.engine.embedded import BEGIN_MAX, CROWD_MIN, Embedded
from topstitch.foundation.clock import Clock, SimulatedClock
from topstitch.foundation.errors import OperatorError
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, LookUpCall, Outcome, WriteCall
from topstitch.model.record import Draft
from topstitch.store import Claims, Store, instances

PATIENCE = 30
"""Seconds of the machine's time after which a test gives up."""


@contextlib.asynccontextmanager
async def running(store: Store, rules: Rules, clock: Clock, **options: object) -> AsyncIterator[Embedded]:
    """Run an engine, and stop it cleanly."""
    engine = Embedded(store, rules, clock, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        engine.stop()
        await asyncio.wait_for(task, PATIENCE)


async def idle(engine: Embedded) -> object:
    """Wait until there is nothing to do."""
    return await asyncio.wait_for(engine.idle(), PATIENCE)


async def kinds(store: Store, instance: str) -> list[str]:
    """Return the kinds of an instance's records."""
    return [record.kind for record in await instances.records(store, instance)]


async def test_an_instance_is_carried_from_its_event_to_its_end(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=2)
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        assert await idle(engine) is None
    assert await kinds(store, "ins_1") == [
        "started", "act.intent", "step.done", "act.intent", "step.done", "ended"
    ]  # fmt: skip
    row = await instances.get(store, "ins_1")
    assert (row["status"], row["ended_at"], row["wake_at"], row["lease_owner"]) == ("completed", later(0), None, None)
    assert rules.world == once(rules, ["ins_1"])


async def test_no_write_is_sent_before_its_intent_is_durable(url: str, key_file, store: Store, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules = Rules(steps=3)
    with Store.open(url, key_file=key_file) as other:

        async def look(call: Call) -> None:
            rows = await query(other, "SELECT kind, step FROM journal ORDER BY seq DESC LIMIT 1")
            assert rows == [(Kind.ACT_INTENT, call.key)]

        rules.before = look
        async with running(store, rules, clock) as engine:
            await start(store, "ins_1")
            await idle(engine)
    assert rules.world == once(rules, ["ins_1"])


async def test_an_outcome_and_the_intent_that_follows_share_a_commit(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=3)
    appended: list[list[str]] = []
    append = store.append

    async def watched(lease, drafts=(), **options) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003
        appended.append([each.kind for each in drafts])
        await append(lease, drafts, **options)

    store.append = watched  # type: ignore[method-assign]
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await idle(engine)
    assert appended == [
        ["act.intent"], ["step.done", "act.intent"], ["step.done", "act.intent"], ["step.done", "ended"]
    ]  # fmt: skip


async def test_many_are_carried_on_at_once_within_the_bound(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=2)
    names = [f"ins_{number:03}" for number in range(40)]
    async with running(store, rules, clock, activations_max=7) as engine:
        await asyncio.gather(*(start(store, name) for name in names))
        await idle(engine)
    assert rules.world == once(rules, names)
    assert 1 < rules.most_under_way <= 7
    assert await instances.counts(store) == {"completed": 40}


async def test_what_is_under_way_is_carried_on_before_more_is_begun(store: Store, clock: SimulatedClock) -> None:
    """With a loop that has always too much to do; what is left must not wait for anybody's end."""
    rules = Rules(steps=2)
    names = [f"ins_{number:03}" for number in range(60)]
    async with running(store, rules, clock, pass_seconds_max=0.0) as engine:
        await asyncio.gather(*(start(store, name) for name in names))
        await idle(engine)
    assert rules.world == once(rules, names)
    assert rules.most_under_way < CROWD_MIN + BEGIN_MAX
    assert await instances.counts(store) == {"completed": 60}


async def test_who_was_held_off_long_is_begun_though_those_under_way_never_answer(
    store: Store, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "HELD_OFF_SECONDS_MAX", 0.0)
    rules, answering, all_asked = Rules(steps=1), asyncio.Event(), asyncio.Event()
    names = [f"ins_{number:03}" for number in range(40)]
    asked: set[str] = set()

    async def wait(call: Call) -> None:
        assert isinstance(call, WriteCall)
        asked.add(call.instance)
        if len(asked) == len(names):
            all_asked.set()
        await answering.wait()

    rules.before = wait
    async with running(store, rules, clock, pass_seconds_max=0.0) as engine:
        await asyncio.gather(*(start(store, name) for name in names))
        await asyncio.wait_for(all_asked.wait(), PATIENCE)
        answering.set()
        await idle(engine)
    assert rules.world == once(rules, names)


async def test_a_wait_is_a_row_and_days_pass_in_no_time(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=2, wait_seconds=7200)
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        assert await idle(engine) == later(7200)
        assert engine.active == 0
        row = await instances.get(store, "ins_1")
        assert (row["wake_at"], row["lease_owner"]) == (later(7200), None)
        clock.advance_to(later(7199))
        assert await idle(engine) == later(7200)
        clock.advance_to(later(7200))
        assert await idle(engine) is None
    assert rules.world == once(rules, ["ins_1"])
    assert (await instances.get(store, "ins_1"))["ended_at"] == later(7200)


async def test_X03_after_400_days_a_parked_instance_can_still_be_decided(url: str, key_file, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules = Rules(steps=2, wait_seconds=500 * 86_400)
    with Store.open(url, key_file=key_file) as store:
        async with running(store, rules, clock) as engine:
            await start(store, "ins_1")
            await idle(engine)
    clock.advance_to(later(400 * 86_400))
    with Store.open(url, key_file=key_file) as store:
        async with running(store, rules, clock) as engine:
            await store.append_outside("ins_1", [draft(Kind.OPERATOR_COMMANDED, actor=DANA)], clock.now())
            await idle(engine)
        assert (await instances.get(store, "ins_1"))["ended_at"] == later(400 * 86_400)


async def test_a_short_wait_is_sat_out_with_the_lease(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=2, wait_seconds=0.3)
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        assert await idle(engine) == clock.now() + timedelta(seconds=0.3)
        assert engine.active == 1
        clock.advance(0.3)
        assert await idle(engine) is None
    assert rules.world == once(rules, ["ins_1"])


async def test_what_others_append_during_a_call_is_folded_before_anything_else(
    store: Store, clock: SimulatedClock
) -> None:
    rules = Rules(steps=3)

    async def command(call: Call) -> None:
        if call.key == "step0":
            await store.append_outside("ins_1", [draft(Kind.OPERATOR_COMMANDED, actor=DANA)], clock.now())

    rules.after = command
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await idle(engine)
    assert await kinds(store, "ins_1") == ["started", "act.intent", "operator.commanded", "step.done", "ended"]
    assert rules.world == {"ins_1:step0": 1}


async def test_a_knock_during_a_long_call_is_answered_at_once(url: str, key_file, store: Store, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """A command by another process is folded and decided upon while the call is still under way."""
    rules = Rules(steps=1)
    sent, land, decided = asyncio.Event(), asyncio.Event(), asyncio.Event()
    decide = rules.decide

    def watched(plan, state, now):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if state.stopped:
            decided.set()
        return decide(plan, state, now)

    async def hold(_: Call) -> None:
        sent.set()
        await land.wait()

    rules.decide, rules.before = watched, hold  # type: ignore[method-assign]
    with Store.open(url, key_file=key_file) as other:
        async with running(store, rules, clock) as engine:
            await start(store, "ins_1")
            await asyncio.wait_for(sent.wait(), PATIENCE)
            await other.append_outside("ins_1", [draft(Kind.OPERATOR_COMMANDED, actor=DANA)], clock.now())
            await asyncio.wait_for(decided.wait(), PATIENCE)
            land.set()
            await idle(engine)
    assert rules.calls == ["step0"]
    assert await kinds(store, "ins_1") == ["started", "act.intent", "operator.commanded", "step.done", "ended"]


async def test_an_instance_that_is_begun_again_before_it_was_left_is_still_heard_of(
    store: Store, clock: SimulatedClock
) -> None:
    """Woken in the moment it is given back: the activation that leaves must not take the next one's place along."""
    rules = Rules(steps=2, wait_seconds=60)
    given_back, taken, leave, sent, land, decided = (asyncio.Event() for _ in range(6))
    append, claim, decide = store.append, store.claim, rules.decide

    async def late(lease, drafts=(), **options) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003
        await append(lease, drafts, **options)
        if options.get("park") and not given_back.is_set():
            given_back.set()
            await leave.wait()

    async def again(*given) -> Claims:  # type: ignore[no-untyped-def] # noqa: ANN002
        claims = await claim(*given)
        if given_back.is_set() and claims.due:
            taken.set()
        return claims

    def watched(plan, state, now):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if state.stopped:
            decided.set()
        return decide(plan, state, now)

    async def hold(call: Call) -> None:
        if call.key == "step1":
            sent.set()
            await land.wait()

    store.append, store.claim = late, again  # type: ignore[method-assign, assignment]
    rules.decide, rules.before = watched, hold  # type: ignore[method-assign]
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await asyncio.wait_for(given_back.wait(), PATIENCE)
        clock.advance(60)
        await store.wake(["ins_1"], clock.now())
        await asyncio.wait_for(taken.wait(), PATIENCE)
        leave.set()
        await asyncio.wait_for(sent.wait(), PATIENCE)
        assert engine.active == 1
        await store.append_outside("ins_1", [draft(Kind.OPERATOR_COMMANDED, actor=DANA)], clock.now())
        await asyncio.wait_for(decided.wait(), PATIENCE)
        land.set()
        assert await idle(engine) is None
        assert engine.active == 0
    assert rules.world == once(rules, ["ins_1"])


async def test_an_engine_that_was_held_up_past_its_leases_goes_on_when_nobody_has_taken_over(
    store: Store, clock: SimulatedClock
) -> None:
    """As after a suspended machine: the write that was about to leave does not, but nor is it forgotten."""
    rules = Rules(steps=2)

    async def stand_still(call: Call) -> None:
        if call.key == "step0":
            clock.advance(60)

    rules.after = stand_still
    async with running(store, rules, clock, lease_seconds=30) as engine:
        await start(store, "ins_1")
        assert await idle(engine) is None
    assert (await instances.get(store, "ins_1"))["ended_at"] == later(60)
    assert rules.world == once(rules, ["ins_1"])


async def test_what_an_engine_holds_and_does_not_carry_on_is_begun_again(
    store: Store, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease of one's own never runs out for oneself."""
    rules = Rules(steps=2, wait_seconds=7200)
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await idle(engine)
        clock.advance(7200)
        held = "UPDATE instances SET lease_owner = ?, lease_until = wake_at WHERE id = 'ins_1'"
        await store.work(lambda backend: backend.execute(held, (engine.owner,)), tells=True)
        assert await idle(engine) is None
    assert rules.world == once(rules, ["ins_1"])
    assert "held up past the leases of ins_1" in caplog.text


async def test_an_engine_whose_lease_was_taken_makes_no_further_call(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=3)
    sent, land = asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if call.key == "step1":
            sent.set()
            await land.wait()

    rules.before = hold
    async with running(store, rules, clock, lease_seconds=30) as engine:
        await start(store, "ins_1")
        await asyncio.wait_for(sent.wait(), PATIENCE)
        taken = await store.claim("another engine", later(31), 30, 10)
        assert [due.lease.instance for due in taken.due] == ["ins_1"]
        land.set()
        await idle(engine)
        assert engine.active == 0
    assert rules.calls == ["step0", "step1"]
    assert await kinds(store, "ins_1") == ["started", "act.intent", "step.done", "act.intent"]


async def test_leases_of_long_calls_are_renewed(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=1)
    renewed, renew = asyncio.Event(), store.renew

    async def watched(leases, now, seconds):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        lost = await renew(leases, now, seconds)
        renewed.set()
        return lost

    store.renew = watched  # type: ignore[method-assign]
    sent, land = asyncio.Event(), asyncio.Event()

    async def hold(_: Call) -> None:
        sent.set()
        await land.wait()

    rules.before = hold
    async with running(store, rules, clock, lease_seconds=30) as engine:
        await start(store, "ins_1")
        await asyncio.wait_for(sent.wait(), PATIENCE)
        for _ in range(6):
            renewed.clear()
            clock.advance(10)
            await asyncio.wait_for(renewed.wait(), PATIENCE)
        assert (await store.claim("another engine", clock.now(), 30, 10)).due == []
        land.set()
        await idle(engine)
    assert rules.world == once(rules, ["ins_1"])


async def test_stop_lets_calls_land_and_the_next_engine_goes_on(url: str, key_file, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules = Rules(steps=3)
    sent, land = asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if call.key == "step1":
            sent.set()
            await land.wait()

    rules.before = hold
    with Store.open(url, key_file=key_file) as store:
        engine = Embedded(store, rules, clock)
        task = asyncio.create_task(engine.run())
        await start(store, "ins_1")
        await asyncio.wait_for(sent.wait(), PATIENCE)
        engine.stop()
        land.set()
        await asyncio.wait_for(task, PATIENCE)
        assert (await kinds(store, "ins_1"))[-1] == "step.done"
        row = await instances.get(store, "ins_1")
        assert (row["lease_owner"], row["wake_at"]) == (None, clock.now())
    with Store.open(url, key_file=key_file) as store:
        async with running(store, rules, clock) as engine:
            await idle(engine)
        assert Kind.ACT_IN_DOUBT not in await kinds(store, "ins_1")
    assert rules.world == once(rules, ["ins_1"])
    assert rules.calls == ["step0", "step1", "step2"]


async def test_a_call_that_does_not_land_in_time_is_in_doubt_for_the_next_engine(store: Store, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules = Rules(steps=2)
    sent = asyncio.Event()

    async def hold(call: Call) -> None:
        if call.key == "step0" and not sent.is_set():
            sent.set()
            await asyncio.Event().wait()

    rules.after = hold  # done, and the answer never comes
    async with running(store, rules, clock, drain_seconds=0.05):
        await start(store, "ins_1")
        await asyncio.wait_for(sent.wait(), PATIENCE)
    async with running(store, rules, clock) as engine:
        await idle(engine)
    assert rules.calls == ["step0", "step0/look", "step1"]
    assert rules.world == once(rules, ["ins_1"])


async def test_a_call_that_never_ends_is_cut_and_looked_up(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=1)
    sent = asyncio.Event()

    async def hold(call: Call) -> None:
        if call.key == "step0":
            sent.set()
            await asyncio.Event().wait()

    rules.after = hold
    async with running(store, rules, clock, lease_seconds=30, call_seconds_max=0) as engine:
        await start(store, "ins_1")
        await asyncio.wait_for(sent.wait(), PATIENCE)
        clock.advance(10)
        await idle(engine)
    assert rules.calls == ["step0", "step0/look"]
    assert rules.world == once(rules, ["ins_1"])


async def test_a_call_that_raises_counts_as_one_without_an_answer(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=1)

    async def fail(call: Call) -> None:
        if call.key == "step0":
            raise ZeroDivisionError

    rules.after = fail
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await idle(engine)
    assert rules.calls == ["step0", "step0/look"]
    assert rules.world == once(rules, ["ins_1"])


class Deaf(Rules):
    """Rules with a defect: what a look-up answers leaves no record, so it is ordered again."""

    def settle(self, plan: str, state: Any, call: Call, outcome: Outcome, now: datetime) -> Sequence[Draft]:
        return [] if isinstance(call, LookUpCall) else super().settle(plan, state, call, outcome, now)


async def test_a_call_whose_answer_leaves_no_record_is_not_made_again_at_once(
    store: Store, clock: SimulatedClock
) -> None:
    rules = Deaf(steps=1)

    async def fail(call: Call) -> None:
        if call.key == "step0":
            raise ZeroDivisionError

    rules.after = fail
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        for looked in range(1, 4):
            assert await idle(engine) == later(looked)
            assert rules.calls == ["step0", *["step0/look"] * looked]
            clock.advance(1)


async def test_a_defect_sets_one_instance_aside_and_the_others_go_on(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=1)
    rules.defect = "ins_1"
    troubles: list[tuple[str, BaseException]] = []

    def on_trouble(instance: str, error: BaseException) -> None:
        troubles.append((instance, error))

    async with running(store, rules, clock, on_trouble=on_trouble) as engine:
        await start(store, "ins_1")
        await start(store, "ins_2")
        assert await idle(engine) == later(5)
        assert [name for name, _ in troubles] == ["ins_1"]
        clock.advance_to(later(5))
        assert await idle(engine) == later(15)  # longer each time
        rules.defect = None
        clock.advance_to(later(15))
        assert await idle(engine) is None
    assert rules.world == once(rules, ["ins_1", "ins_2"])


async def test_a_failing_database_stops_the_engine_and_nothing_more_is_sent(
    store: Store, clock: SimulatedClock
) -> None:
    rules = Rules(steps=3)
    engine = Embedded(store, rules, clock)
    backend = store._writer._backend  # type: ignore[attr-defined]
    commit = backend.commit

    def fail() -> None:
        raise OperatorError("disk-full", "the disk is full; free some space")

    async def spoil(call: Call) -> None:
        if call.key == "step1":
            backend.commit = fail

    rules.after = spoil
    task = asyncio.create_task(engine.run())
    await start(store, "ins_1")
    with pytest.raises(OperatorError) as failed:
        await asyncio.wait_for(task, PATIENCE)
    assert failed.value.code == "disk-full"
    assert rules.calls == ["step0", "step1"]
    backend.commit = commit
    assert await kinds(store, "ins_1") == ["started", "act.intent", "step.done", "act.intent"]
    rules.after = None
    clock.advance(31)  # the lease of the stopped engine runs out
    async with running(store, rules, clock) as again:
        await idle(again)
    assert rules.calls == ["step0", "step1", "step1/look", "step2"]
    assert rules.world == once(rules, ["ins_1"])


async def test_edge14_two_engines_on_one_database_do_nothing_twice(url: str, key_file, store: Store, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules = Rules(steps=3)
    names = [f"ins_{number:02}" for number in range(30)]
    with Store.open(url, key_file=key_file) as other:
        async with (
            running(store, rules, clock, activations_max=5) as one,
            running(other, rules, clock, activations_max=5) as two,
            asyncio.timeout(PATIENCE),
        ):
            await asyncio.gather(*(start((store, other)[n % 2], name) for n, name in enumerate(names)))
            while await instances.counts(store) != {"completed": len(names)}:
                await idle(one)
                await idle(two)
    assert rules.world == once(rules, names)


async def test_an_event_accepted_by_another_process_wakes_the_engine(url: str, key_file, store: Store, clock) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    rules, done = Rules(steps=1), asyncio.Event()

    async def tell(_: Call) -> None:
        done.set()

    rules.after = tell
    with Store.open(url, key_file=key_file) as other:
        async with running(store, rules, clock) as engine:
            await idle(engine)
            await other.accept(event("hire-1"), [new("ins_1")])
            await asyncio.wait_for(done.wait(), PATIENCE)
            await idle(engine)
    assert rules.world == once(rules, ["ins_1"])


async def test_wake_and_wake_at_activate_an_instance(store: Store, clock: SimulatedClock) -> None:
    rules = Rules(steps=2, wait_seconds=7200)
    async with running(store, rules, clock) as engine:
        await start(store, "ins_1")
        await idle(engine)
        await engine.wake_at("ins_1", later(100))
        assert await idle(engine) == later(100)
        await engine.wake("ins_1")
        assert await idle(engine) == later(7200)  # nothing to do yet: it goes back to its own time
    assert rules.world == {"ins_1:step0": 1}
