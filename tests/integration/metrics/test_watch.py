"""Board and alerts over real rows of both databases, on times that are set."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from integration.metrics.kit import NOW, Case, Paper, Told, after, case, finished, routes
from support.onboarding import onboarding_plan
from topstitch.foundation.errors import ConflictError, NotFoundError, RequestError
from topstitch.metrics import outbox, render, watch
from topstitch.metrics.baselines import Pace
from topstitch.metrics.limits import Limits
from topstitch.metrics.seams import Band
from topstitch.metrics.watch import Watcher
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind
from topstitch.store import Store, alarms, instances, ledger, rollups

PLAN = onboarding_plan()
DANA = Actor(ActorKind.HUMAN, "dana@acme.example")
FEW = Limits(established=5, pinned=8, crossings_least=5)


async def levels(store: Store) -> list[str]:
    return sorted(f"{row.kind} {row.level} {row.to_system}" for row in await alarms.listing(store))


async def test_H02_a_published_definition_has_its_board_and_work_fills_it(watcher: Watcher) -> None:
    empty = await watch.board(watcher, NOW)
    assert {one.band for one in empty} == {Band.IDLE}
    assert len(empty) == 5
    for n in range(5):
        await finished(watcher.store, f"ins_{n}", after(60 * n), PLAN)
    board = {one.edge.to_step: one for one in await watch.board(watcher, after(3600))}
    assert len(board) == 5
    assert (board["equipment"].count, board["equipment"].p50_ms, board["equipment"].p95_ms) == (5, 40, 40)
    assert board["equipment"].exceptions.text == "0 of 5 (0.0 %)"
    assert board["equipment"].band is Band.GREEN
    assert board["welcome_chat"].count == 0
    assert [row[0] for row in render.seam_rows(board.values())] == [PLAN.workflow] * 5


async def test_I05_a_handoff_outside_the_window_is_not_counted(watcher: Watcher) -> None:
    await finished(watcher.store, "ins_1", after(-25 * 3600), PLAN)
    await finished(watcher.store, "ins_2", after(-23 * 3600), PLAN)
    board = {one.edge.to_step: one for one in await watch.board(watcher, NOW)}
    assert board["equipment"].count == 1


async def test_I07_I11_a_stalled_worker_is_alarmed_while_the_gap_is_open_and_over_when_it_closes(
    watcher: Watcher,
) -> None:
    store = watcher.store
    one = await case(store, "ins_1", NOW, PLAN)
    await one.intent("identity", after(0.4), after(0.5), "context")
    await one.done("identity", after(0.5), after(4))
    await watch.evaluate(watcher, after(4 + 299))
    assert await levels(store) == []
    board = await watch.board(watcher, after(4 + 299))
    assert board[0].band is Band.AMBER
    await watch.evaluate(watcher, after(4 + 301))
    assert "handoff red servicenow" in await levels(store)
    (alert,) = [row for row in await alarms.listing(store) if row.to_system == "servicenow"]
    assert alert.since_ms == round(after(4).timestamp() * 1000)
    assert alert.body["worst"] == [{"instance": "ins_1", "text": "5 m 1 s"}]
    assert alert.body["diagnosis"].startswith("orchestrator")
    assert "0 of 0" in alert.body["text"]
    for step in ("equipment", "crm_assignment", "welcome_chat"):
        await one.intent(step, after(4), after(400))
    await one.add(Kind.STEP_SKIPPED, "welcome_email", after(400), because="x")
    await watch.evaluate(watcher, after(430))
    assert "handoff red servicenow" in await levels(store)  # it has only just closed
    await watch.evaluate(watcher, after(400 + 301))
    assert [row for row in await levels(store) if row.startswith("handoff")] == []
    told = [message.event for message in await alarms.messages_of(store, alert.id) if message.route == "mail"]
    assert told == ["opened", "cleared"]


async def test_I11_a_hire_that_no_worker_takes_up_is_alarmed(watcher: Watcher) -> None:
    await Case(watcher.store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(299))
    assert await levels(watcher.store) == []
    await watch.evaluate(watcher, after(301))
    assert await levels(watcher.store) == ["handoff red entra-id"]


async def test_I05_an_approval_is_no_gap(watcher: Watcher) -> None:
    store = watcher.store
    one = await case(store, "ins_1", NOW, PLAN)
    await one.intent("identity", after(0.4), after(0.5), "context")
    await one.done("identity", after(0.5), after(4))
    for step in ("crm_assignment", "welcome_chat", "welcome_email"):
        await one.add(Kind.STEP_SKIPPED, step, after(4), because="x")
    await one.add(
        Kind.APPROVAL_ASKED,
        "equipment",
        after(4),
        approval="apr_1",
        people=[],
        quorum=1,
        give_up_at=None,
        escalations=[],
    )
    await watch.evaluate(watcher, after(3600))
    assert [row for row in await levels(store) if row.startswith("handoff")] == []
    await one.add(
        Kind.APPROVAL_CLOSED, "equipment", after(7200), approval="apr_1", ending="approved", by=[], waited_ms=1
    )
    await watch.evaluate(watcher, after(7200 + 299))
    assert [row for row in await levels(store) if row.startswith("handoff")] == []
    await watch.evaluate(watcher, after(7200 + 301))
    assert "handoff red servicenow" in await levels(store)


async def test_I10_H02_four_of_a_hundred_alarm_at_that_seam_alone(watcher: Watcher) -> None:
    store = watcher.store
    for n in range(100):
        await finished(store, f"ins_{n:03}", after(30 * n), PLAN, fails="equipment" if n in (10, 40, 70) else "")
    await watch.evaluate(watcher, after(3600))
    assert await levels(store) == []
    await finished(store, "ins_x", after(2985), PLAN, fails="equipment")
    await watch.evaluate(watcher, after(3600))
    assert await levels(store) == ["exceptions crossed servicenow"]
    (alert,) = await alarms.listing(store)
    assert alert.body["text"].startswith("4 of 101 (4.0 %), not yet significant")
    assert await alarms.messages_of(store, alert.id) == []
    board = {one.edge.to_step: one for one in await watch.board(watcher, after(3600))}
    assert board["equipment"].exceptions.count.failed == 4
    assert board["identity"].exceptions.count.failed == 0


async def test_two_identical_failures_in_a_row_page_within_two_instances(watcher: Watcher) -> None:
    store = watcher.store
    await finished(store, "ins_0", after(0), PLAN)
    await finished(store, "ins_1", after(60), PLAN, fails="equipment")
    await watch.evaluate(watcher, after(100))
    assert await levels(store) == []
    await finished(store, "ins_2", after(120), PLAN, fails="equipment")
    await watch.evaluate(watcher, after(160))
    assert await levels(store) == ["exceptions paging servicenow"]


async def test_I08_a_discrepancy_and_a_failed_undo_are_exceptions_of_their_seam(watcher: Watcher) -> None:
    store = watcher.store
    one = await finished(store, "ins_1", NOW, PLAN)
    await one.add(
        Kind.DISCREPANCY_OPENED, None, after(60), discrepancy="dis_1", record="itsm", system="itsm", check="T+2h",
        severity="high", fields=[],
    )  # fmt: skip
    await one.add(Kind.STEP_UNDO_FAILED, "identity", after(60), failure="refused")
    board = {row.edge.to_step: row for row in await watch.board(watcher, after(120))}
    assert board["equipment"].exceptions.count.failed == 1
    assert board["identity"].exceptions.count.failed == 1
    assert board["welcome_chat"].exceptions.count.failed == 0


async def test_I02_I04_a_baseline_is_pinned_once_and_a_slow_step_alarms_after_two_evaluations(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=FEW, routes=routes())
    for n in range(7):
        await finished(store, f"ins_{n}", after(60 * n), PLAN)
    await watch.evaluate(watcher, after(500))
    assert await rollups.baselines_of(store) == []
    speeds = await watch.speeds(watcher, after(500))
    assert speeds[PLAN.workflow, "equipment"].text == "learning (7 of 8); so far 5 s"
    await finished(store, "ins_7", after(420), PLAN)
    await watch.evaluate(watcher, after(500))
    pinned = {one.step: one for one in await rollups.baselines_of(store)}
    assert (pinned["equipment"].median_ms, pinned["equipment"].number) == (5000, 1)
    later = 2 * 86_400
    for n in range(6):
        await finished(store, f"ins_slow_{n}", after(later + 60 * n), PLAN, seconds={"equipment": 10.5})
    await watch.evaluate(watcher, after(later + 400))
    assert await levels(store) == []
    await watch.evaluate(watcher, after(later + 430))
    assert await levels(store) == ["duration red servicenow"]
    (alert,) = await alarms.listing(store)
    assert "2.1x the baseline of 5 s" in alert.body["text"]
    assert len(await rollups.baselines_of(store)) == 2  # pinned baselines do not move
    for n in range(20):
        await finished(store, f"ins_fast_{n}", after(later + 600 + n), PLAN, seconds={"equipment": 6.0})
    await watch.evaluate(watcher, after(later + 700))
    assert await levels(store) == []


async def test_I04_a_step_that_is_still_running_alarms_by_its_age(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=FEW)
    one = await case(store, "ins_1", NOW, PLAN)
    await one.intent("identity", after(0.4), after(1), "context")
    await watch.evaluate(watcher, after(1 + 599))
    assert "running red entra-id" not in await levels(store)
    await watch.evaluate(watcher, after(1 + 601))  # the promise "account within ten minutes" is its share
    assert "running red entra-id" in await levels(store)


async def test_I03_pinning_anew_keeps_the_first_and_is_in_the_installation_s_journal(store: Store) -> None:
    watcher = Watcher(store=store, plans=Paper(PLAN), limits=FEW)
    for n in range(8):
        await finished(store, f"ins_{n}", after(60 * n), PLAN)
    await watch.evaluate(watcher, after(600))
    for n in range(20):
        await finished(store, f"ins_b{n}", after(1000 + n), PLAN, seconds={"equipment": 3.0})
    made = await watch.pin_anew(watcher, PLAN.workflow, "equipment", DANA, after(2000), "a faster catalogue")
    assert (made.number, made.pinned_by, made.because) == (2, str(DANA), "a faster catalogue")
    speed = (await watch.speeds(watcher, after(2000)))[PLAN.workflow, "equipment"]
    assert speed.first is not None
    assert (speed.first.median_ms, speed.goal_ms(), speed.pace) == (5000, 3000, Pace.USUAL)
    assert speed.progress() == pytest.approx(1.0)
    noted = await instances.stored_records(store, instance=ledger.INSTALLATION)
    assert [record.kind for record in noted] == ["baseline.pinned"]
    with pytest.raises(RequestError, match="wait for more"):
        await watch.pin_anew(watcher, PLAN.workflow, "welcome_chat", DANA, after(2000), "x")
    with pytest.raises(NotFoundError):
        await watch.pin_anew(watcher, PLAN.workflow, "nothing", DANA, after(2000), "x")


async def test_versions_share_a_baseline_as_long_as_the_action_is_the_same(store: Store) -> None:
    newer = replace(PLAN, version="1.1.0", digest="sha256:newer")
    watcher = Watcher(store=store, plans=Paper(newer, PLAN), limits=FEW)
    one = await case(store, "ins_open", NOW, PLAN)  # an open instance of the older version: its plan is known
    await one.add(Kind.STEP_DECLINED, "identity", after(1), ending="refused", because="x", then="continue")
    for n in range(4):
        await finished(store, f"ins_a{n}", after(60 * n), PLAN)
        await finished(store, f"ins_b{n}", after(60 * n), newer)
    await watch.evaluate(watcher, after(600))
    assert {one.step: one.samples for one in await rollups.baselines_of(store)} == {"identity": 8, "equipment": 8}
    board = await watch.board(watcher, after(600))
    assert {(row.version, row.count) for row in board if row.edge.to_step == "equipment"} == {
        ("1.0.0", 4),
        ("1.1.0", 4),
    }


async def test_O06_a_promise_is_at_risk_before_it_is_broken_and_the_owner_is_told(watcher: Watcher) -> None:
    store, told = watcher.store, Told()
    for n in range(60):
        await finished(store, f"ins_{n:02}", after(-3600 + n), PLAN, seconds={"identity": 240.0})
    one = await case(store, "ins_late", NOW, PLAN)
    await watch.evaluate(watcher, after(100))
    assert await levels(store) == []
    await one.intent("identity", after(0.4), after(470), "context")
    await watch.evaluate(watcher, after(480))
    (risk,) = [row for row in await alarms.listing(store) if row.kind == "sla"]
    assert (risk.level, risk.body["title"]) == ("at_risk", "Employee onboarding: the promise 'account' is at risk")
    await watch.evaluate(watcher, after(601))
    (broken,) = [row for row in await alarms.listing(store) if row.kind == "sla" and "account" in row.cause]
    assert (broken.id, broken.level) == (risk.id, "breached")
    await outbox.deliver(watcher, told, after(602))
    mails = [payload.body for payload in told.sent if payload.to == "ops@acme.example"]
    assert any("Worse: " in mail["subject"] for mail in mails)
    assert all("people-ops-oncall" in mail["text"] for mail in mails)
    found = {
        (s.promise, s.state.value)
        for s in await watch.promises(watcher, after(700), workflow=PLAN.workflow)
        if s.instance == "ins_late"
    }
    assert ("account", "breached") in found


async def test_messages_are_sent_once_and_tried_again_when_they_fail(watcher: Watcher) -> None:
    store = watcher.store
    await Case(store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    flaky = Told(failures=1)
    assert await outbox.deliver(watcher, flaky, after(302)) == 1
    assert await outbox.deliver(watcher, flaky, after(303)) == 0
    assert await outbox.deliver(watcher, flaky, after(313)) == 1
    assert await outbox.deliver(watcher, flaky, after(9999)) == 0
    assert len({payload.message for payload in flaky.sent}) == 2
    (alert,) = await alarms.listing(store)
    assert [message.tries for message in await alarms.messages_of(store, alert.id)] in ([1, 2], [2, 1])


async def test_a_message_is_given_up_after_its_tries_and_says_why(watcher: Watcher) -> None:
    store = watcher.store
    await Case(store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    broken = Told(failures=1000)
    for n in range(20):
        await outbox.deliver(watcher, broken, after(400 + 7200 * n))
    (alert,) = await alarms.listing(store)
    messages = await alarms.messages_of(store, alert.id)
    assert [(message.tries, message.next_ms, message.sent_ms) for message in messages] == [
        (outbox.MESSAGE_TRIES, None, None)
    ] * 2
    assert all(message.problem and "mail server" in message.problem for message in messages)
    gone = replace(watcher, routes={})
    await watch.evaluate(gone, after(302))


async def test_an_alert_is_acknowledged_and_muted_with_reason_and_end(watcher: Watcher) -> None:
    store = watcher.store
    await Case(store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    (alert,) = await alarms.listing(store)
    taken = await watch.acknowledge(watcher, alert.id, DANA, after(310), "restarting the engine")
    assert (taken.acknowledged_by, taken.note) == (str(DANA), "restarting the engine")
    with pytest.raises(RequestError, match="reason"):
        await watch.mute(watcher, alert.id, DANA, after(311), until=after(3600), because=" ")
    with pytest.raises(RequestError, match="still to come"):
        await watch.mute(watcher, alert.id, DANA, after(311), until=after(311), because="upgrade")
    await watch.mute(watcher, alert.id, DANA, after(311), until=after(3600), because="upgrade")
    row = render.alert_rows(
        await alarms.listing(store), await alarms.mutes(store), round(after(320).timestamp() * 1000)
    )
    assert (
        row[0][-1]
        == "taken by human:dana@acme.example: restarting the engine; muted until 2026-01-05T10:00:00.000Z: upgrade"
    )
    noted = await instances.stored_records(store, instance=ledger.INSTALLATION)
    assert [record.kind for record in noted] == ["alert.acknowledged", "alert.muted"]
    with pytest.raises(NotFoundError):
        await watch.acknowledge(watcher, "alr_none", DANA, after(320))


async def test_an_alert_that_is_over_cannot_be_taken_on(watcher: Watcher) -> None:
    store = watcher.store
    one = await Case(store, "ins_1", NOW, PLAN).begin()
    await watch.evaluate(watcher, after(301))
    (alert,) = await alarms.listing(store)
    await one.stand("audit", "cancelled", after(302))
    await watch.evaluate(watcher, after(330))
    with pytest.raises(ConflictError, match="cleared"):
        await watch.acknowledge(watcher, alert.id, DANA, after(340))


async def test_two_processes_that_look_at_the_same_time_count_once(watcher: Watcher) -> None:
    store = watcher.store
    await Case(store, "ins_1", NOW, PLAN).begin()
    first = await watch.evaluate(watcher, after(301))
    assert first.counted
    assert not await alarms.settle(store, first.verdict)  # as the other process would, from the same picture
    assert len(await alarms.listing(store)) == 1


async def test_H02_the_alert_comes_within_one_evaluation_of_the_mark(watcher: Watcher) -> None:
    await Case(watcher.store, "ins_1", NOW, PLAN).begin()
    opened = []
    for seconds in range(0, 400, watch.EVALUATE_SECONDS):
        await watch.evaluate(watcher, NOW + timedelta(seconds=seconds))
        opened += [seconds] if await alarms.listing(watcher.store) else []
    assert opened[0] - 300 <= watch.EVALUATE_SECONDS


async def test_R06_a_check_that_is_due_and_does_not_begin_is_an_alert(watcher: Watcher) -> None:
    store = watcher.store
    one = await finished(store, "ins_1", NOW, PLAN)
    await one.stand("reconciliation", "waiting")
    await store.wake(["ins_1"], after(7200))
    await watch.evaluate(watcher, after(7200 + 299))
    assert await levels(store) == []
    await watch.evaluate(watcher, after(7200 + 301))
    (alert,) = await alarms.listing(store)
    assert (alert.kind, alert.body["worst"]) == ("check", [{"instance": "ins_1", "text": "5 m 1 s"}])
    assert alert.body["diagnosis"].startswith("orchestrator")
    await store.wake(["ins_1"], after(2 * 86_400))
    await watch.evaluate(watcher, after(7200 + 330))
    assert await levels(store) == []
