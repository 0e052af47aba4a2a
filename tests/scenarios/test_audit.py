"""Stage 5: the journal alone tells what started it, what was known, done, decided and found."""

from __future__ import annotations

from support.world import World
from topstitch import lifecycle
from topstitch.bootstrap.summary import summarise
from topstitch.cli.chains import verify_chains
from topstitch.model.kinds import Kind
from topstitch.store import instances, traces


async def _whole(world: World) -> str:
    world.fault("servicenow", "503", times=1, match={"method": "POST", "path": "add_to_cart"})
    name = await world.hire(jobProfile="SAL-AE")
    await world.run_until_asked(name)
    await world.answer(name, "ruth.abend@corp.example", comment="yes")
    await world.run_to_end(name)
    return name


async def test_U01_what_started_it(world: World):
    first = (await world.records(await _whole(world)))[0]
    event = first.body["event"]
    assert event["signature"] == "standard-webhooks"
    assert event["received_at"]
    assert event["source"] == "workday:acme"


async def test_U02_what_was_known_from_where_and_when(world: World):
    reads = await world.records(await _whole(world), Kind.CONTEXT_READ)
    assert {r.body["name"] for r in reads} == {"profile", "manager", "existing", "quote"}
    for read in reads:
        assert read.body["system"]
        assert read.body["digest"].startswith("sha256:")
        assert read.body["value"] is not None
    assert next(r for r in reads if r.body["name"] == "manager").body["record"]


async def test_U03_every_attempt_with_request_answer_and_time_and_no_secret(world: World):
    name = await _whole(world)
    results = [r for r in await world.records(name, Kind.ACT_RESULT) if r.step == "equipment"]
    assert [r.body["result"] for r in results] == ["transient", "ok"]
    assert results[0].body["request"]["method"] == "POST"
    assert results[0].body["problem"]["status"] == 503
    assert results[1].body["record"]
    everything = str([r.body for r in await world.records(name)])
    for secret in (
        "workday-sim-secret",
        "entra-sim-secret",
        "servicenow-sim-password",
        "salesforce-sim-secret",
        "xoxb-sim-topstitch",
    ):
        assert secret not in everything


async def test_U04_how_it_ended_and_what_the_checks_said(world: World):
    name = await _whole(world)
    end = (await world.records(name))[-1]
    assert end.kind == Kind.ENDED
    assert end.body["end"] == "completed"
    assert len(await world.records(name, Kind.CHECK_DONE)) == 2


async def test_U05_every_decision_has_somebody_who_made_it(world: World):
    for record in await world.records(await _whole(world)):
        assert str(record.actor.kind) in {"human", "agent", "policy", "system"}
        assert record.actor.id


async def test_U06_the_state_folded_from_the_journal_is_what_the_tables_say(world: World):
    name = await _whole(world)
    state = await world.state(name)
    plan = (await world.house.plans.in_force())[0]
    row = await world.row(name)
    said = summarise(plan, state)
    assert (row["status"], row["stage"], row["waiting_on"]) == (said.status, said.stage, said.waiting_on)
    listed = {s["step"]: s["status"] for s in await traces.list_steps(world.store, name)}
    assert listed == {n: str(s.status) for n, s in state.steps.items() if n in listed}
    assert {e["act"] for e in await traces.list_effects(world.store, name)} == {
        a.id for a in state.acts.values() if a.output is not None
    }


async def test_U07_restarts_and_retries_only_add_to_it(world: World):
    name = await world.hire(jobProfile="SAL-AE")
    await world.run_until_asked(name)
    before = await world.records(name)
    await world.restart()
    await world.answer(name, "ruth.abend@corp.example")
    await world.run_to_end(name)
    after = await world.records(name)
    assert after[: len(before)] == before
    plan = (await world.house.plans.in_force())[0]
    state = lifecycle.initial(plan, name)
    for record in after:
        state = lifecycle.fold(plan, state, record)
    assert state.ended == "completed"


async def test_U08_a_changed_record_is_found(world: World):
    name = await _whole(world)
    assert not (await verify_chains(world.store)).broken
    await world.store.work(
        lambda backend: backend.execute(
            "UPDATE journal SET body = replace(body, 'completed', 'cancelled') WHERE instance = ? AND kind = 'ended'",
            (name,),
        )
    )
    broken = (await verify_chains(world.store)).broken
    assert len(broken) == 1
    assert name in broken[0]


async def test_U08_records_cut_off_at_the_end_are_missed(world: World):
    name = await _whole(world)
    await world.store.work(
        lambda backend: backend.execute("DELETE FROM journal WHERE instance = ? AND kind = 'ended'", (name,))
    )
    assert (await verify_chains(world.store)).broken[0].startswith("cut-tail: ")
    assert await instances.get(world.store, name)
