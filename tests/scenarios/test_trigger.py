"""Stage 1 as its sender sees it: started once, kept for ever, refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from support.world import World
from topstitch.foundation.errors import RequestError
from topstitch.model.kinds import Kind
from topstitch.store import events, instances, items
from topstitch.trigger.accept import accept_hook
from topstitch.trigger.cloudevents import CloudEvent


async def test_T01_a_hire_in_workday_starts_one_instance_that_knows_why(world: World):
    document = world.hired()
    verdict = await world.deliver(document)
    assert verdict.first
    first = (await world.records(verdict.instances[0]))[0]
    assert first.kind == Kind.STARTED
    assert first.body["event"]["source"] == "workday:acme"
    assert first.body["event"]["id"] == document["id"]
    assert first.body["event"]["type"] == "workday.hire_completed"
    assert len(await instances.listing(world.store)) == 1


async def test_T04_the_same_hire_delivered_again_starts_nothing_even_after_a_restart_and_400_days(world: World):
    document = world.hired()
    first = await world.deliver(document)
    again = [await world.deliver(document), await world.deliver(document)]
    await world.run_to_end(first.instances[0])
    await world.restart()
    again.append(await world.deliver(document))
    world.clock.advance(timedelta(days=400).total_seconds())
    again.append(await world.deliver(document))
    assert [v.first for v in again] == [False] * 4
    assert {tuple(v.instances) for v in again} == {tuple(first.instances)}
    assert again[-1].document()["duplicate"] is True
    kept = await events.get(world.store, "workday:acme", document["id"])
    assert kept is not None
    assert len(kept["deliveries"]) == 4
    assert len(await instances.listing(world.store)) == 1


async def test_T05_two_hires_that_differ_only_in_their_id_are_two(world: World):
    document = world.hired()
    one = await world.deliver(document)
    other = await world.deliver({**document, "id": "wd-ntf-another"})
    assert one.instances[0] != other.instances[0]
    assert len(await instances.listing(world.store)) == 2


async def test_T06_what_was_acknowledged_while_the_engine_stood_still_is_carried_on(world: World):
    world.house.engine.stop()
    assert world._engine is not None
    await world._engine
    verdict = await world.deliver(world.hired())
    assert (await world.row(verdict.instances[0]))["head_seq"] == 1
    await world.restart()
    await world.run_to_end(verdict.instances[0])
    assert (await world.row(verdict.instances[0]))["status"] == "completed"


async def test_T08_a_hire_without_manager_is_refused_by_name_and_nothing_is_written(world: World):
    document = world.hired(omit=["managerId"])
    before = {system: len(world.calls(system)) for system in world.sims}
    with pytest.raises(RequestError) as refused:
        await world.deliver(document)
    assert refused.value.detail["errors"][0]["pointer"] == "/worker/managerId"
    assert not await instances.listing(world.store)
    await world.rest()
    assert {system: len(world.calls(system)) for system in world.sims} == before
    kept = await events.rejected(world.store)
    assert kept[0]["id"] == refused.value.detail["rejected"]
    assert document["id"] in kept[0]["raw"]


async def test_T08_a_forged_hire_is_refused_and_kept_for_an_operator(world: World):
    delivery = world.signed(world.hired())
    forged = type(delivery)(door=delivery.door, body=delivery.body + b" ", headers=delivery.headers)
    with pytest.raises(RequestError) as refused:
        await accept_hook(world.house.intake, "workday", forged)
    assert refused.value.code == "signature-wrong"
    assert not await instances.listing(world.store)
    assert len(await events.rejected(world.store)) == 1


async def test_T09_the_trigger_asks_nobody(world: World):
    name = await world.hire()
    await world.run_for(minutes=5)
    assert not await items.list_approvals(world.store, status=None, instance=name)


WAITING = """
workflow: hire-then-rescinded
version: 1.0.0
title: A hire that may be taken back
purpose: Waits for the event that takes a hire back.
owner: {team: people-operations}
systems: {hris: workday@1, directory: entra-id@1, itsm: servicenow@1}
trigger: {on: hris.hire_completed, one_per: = trigger.employee_id}
steps:
  taken_back:
    title: Taken back
    wait_for:
      event: hris.hire_rescinded
      match: event.employee_id == trigger.employee_id
      give_up: 30d
      otherwise: stop
  closed:
    title: Account closed
    do: directory.disable_user
    needs: [taken_back]
    risk: 2
    with: {user_id: = trigger.employee_id, remove_groups: true}
    expect: {none: the account may never have been made}
    rollback: {do: directory.enable_user, with: {user_id: = step.output.user_id}}
    compensate:
      do: [{task: {to: owner, title: Close the account by hand, due: 1d, give_up: 3d}}]
      then: continue
reconcile:
  at: [T+2h]
  T: trigger
  settle: 5m
  records:
    directory:
      covers: closed
      read: directory.find_user
      with: {employee_id: = trigger.employee_id}
      expect: [{field: found, one_of: [true, false], severity: low}]
  on_difference:
    do: itsm.create_exception
    with: {process: = process.id, summary: it differs, severity: = difference.severity}
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {done: {steps: [closed], within: 40d, of: trigger}}
"""


async def _that_waits(world: World, names: Sequence[str]) -> str:
    assert len(names) == 2
    found = [name for name in names if (await world.row(name))["workflow"] == "hire-then-rescinded"]
    return found[0]


def _rescinded(employee: str, name: str) -> CloudEvent:
    data = {"employee_id": employee, "transaction_id": "tx-1"}
    return CloudEvent(id=name, source="workday:acme", type="workday.hire_rescinded", data=data)


async def test_T07_an_event_that_comes_before_it_is_waited_for_is_consumed_when_the_wait_begins(world: World):
    from topstitch.trigger.accept import accept_made

    await world.publish(WAITING)
    world.house.engine.stop()
    assert world._engine is not None
    await world._engine
    document = world.hired(workerId="W-300001")
    started = await world.deliver(document)
    name = await _that_waits(world, started.instances)
    await accept_made(world.house.intake, _rescinded("W-999999", "other"))
    await accept_made(world.house.intake, _rescinded("W-300001", "mine"))
    await world.restart()
    await world.run_for(minutes=30)
    assert (await world.statuses(name))["taken_back"] == "done"


async def test_T07_an_event_that_comes_later_is_given_to_the_instance_that_waits(world: World):
    from topstitch.trigger.accept import accept_made

    await world.publish(WAITING)
    started = await world.deliver(world.hired(workerId="W-300002"))
    name = await _that_waits(world, started.instances)
    await world.run_for(minutes=5)
    assert (await world.statuses(name))["taken_back"] == "running"
    await accept_made(world.house.intake, _rescinded("W-999998", "other-2"))
    await world.run_for(minutes=5)
    assert (await world.statuses(name))["taken_back"] == "running"
    await accept_made(world.house.intake, _rescinded("W-300002", "mine-2"))
    await world.run_for(minutes=5)
    assert (await world.statuses(name))["taken_back"] == "done"
