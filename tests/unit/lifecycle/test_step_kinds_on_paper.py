"""Steps that wait for an event, repeat for each item, or call another workflow; rollback when an undo fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from support.onboarding import HIRE
from support.paper import PaperEngine, ok, refused, transient, unknown
from support.small import small_plan
from topstitch import lifecycle
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, Outcome, ReportCall, StartCall, WriteCall
from topstitch.model.record import ENGINE, Draft, Stage

WAIT = """
  start:
    title: Invite
    do: chat.invite
    with: {upn: a@b.example, channel: general}
    expect: {none: a test}
    rollback: {do: chat.remove, with: {upn: = step.input.upn, channel: = step.input.channel}}
    compensate: {then: continue}
  moved:
    title: The start date moves
    needs: [start]
    wait_for:
      event: hris.start_date_changed
      match: event.employee_id == trigger.employee_id
      give_up: 2d
      otherwise: stop
  after:
    title: Invite again
    do: chat.invite
    needs: [moved]
    with: {upn: = steps.moved.output.start_date, channel: general}
    expect: {none: a test}
    rollback: {none: a test}
    compensate: {then: continue}
"""


class Inbox(PaperEngine):
    """A paper engine with an inbox of events, and workflows to call."""

    events: list[dict[str, Any]] = []  # noqa: RUF012
    started: list[StartCall] = []  # noqa: RUF012

    def answer(self, call: Call) -> Outcome:
        match call:
            case InboxCall():
                return ok({"events": [e for e in self.events if e["event"]["type"] == call.event_type]})
            case StartCall():
                self.started.append(call)
                return ok({"instance": "ins_child"})
            case ReportCall():
                return ok()
            case _:
                return super().answer(call)


def moved(number: int, employee: str) -> dict[str, Any]:
    event = {
        "id": f"e{number}",
        "source": "workday",
        "type": "workday.start_date_changed",
        "received_at": "2026-01-05T09:00:00Z",
    }
    return {"event": event, "data": {"employee_id": employee, "start_date": f"2026-03-0{number}"}}


INVITE = {
    "chat.invite": ok({"channel_id": "C1", "state": "member"}),
    "look_up chat.invite": ok(None),
    "chat.remove": ok({"removed": True}),
}


def test_T07_an_event_that_came_before_the_wait_is_consumed_when_it_waits() -> None:
    paper = Inbox(small_plan(WAIT), INVITE)
    paper.events = [moved(1, "somebody else"), moved(2, HIRE["employee_id"])]
    paper.begin(HIRE).run()
    assert paper.status() == {"start": "done", "moved": "done", "after": "done"}
    assert paper.state.steps["after"].input["upn"] == "2026-03-02"


def test_an_event_offered_while_it_waits_ends_the_wait_once() -> None:
    paper = Inbox(small_plan(WAIT), INVITE)
    paper.events = []
    paper.begin(HIRE).run_for(hours=1)
    assert paper.status()["moved"] == "running"
    offer = moved(3, HIRE["employee_id"])
    for _ in range(2):
        paper._append(
            [
                Draft(
                    kind=Kind.SIGNAL_OFFERED,
                    at=paper.clock.now(),
                    actor=ENGINE,
                    stage=Stage.EXECUTION,
                    step="moved",
                    body=offer,
                )
            ]
        )
    paper.run()
    assert paper.status()["moved"] == "done"
    assert len(paper.state.steps["moved"].signals) == 1


def test_a_wait_without_an_event_ends_as_declared() -> None:
    paper = Inbox(small_plan(WAIT), INVITE)
    paper.events = []
    paper.begin(HIRE).run()
    assert paper.state.ended == "stopped"
    assert paper.status()["moved"] == "declined"
    assert paper.clock.now() - paper.records[0].at == timedelta(days=2)


EACH = """
  invites:
    title: Invite to every channel
    do: chat.invite
    for_each: {items: '= ["a", "b", "c"]', max: 10}
    with: {upn: x@y.example, channel: = item}
    retry: {attempts: 2, first: 1s}
    expect: {none: a test}
    rollback: {do: chat.remove, with: {upn: = step.input.upn, channel: = step.input.channel}}
    compensate: {then: rollback}
"""


def test_for_each_gives_every_item_its_own_key() -> None:
    paper = PaperEngine(small_plan(EACH), INVITE).begin(HIRE).run()
    writes = [c for _, c in paper.log if isinstance(c, WriteCall)]
    assert [c.idempotency_key for c in writes] == ["ins_1:invites:0", "ins_1:invites:1", "ins_1:invites:2"]
    assert [c.params["channel"] for c in writes] == ["a", "b", "c"]
    assert len(paper.state.steps["invites"].output["items"]) == 3
    assert paper.state.ended == "completed"


def test_some_failed_items_roll_back_only_what_was_done_in_reverse() -> None:
    def invite(call: WriteCall) -> Outcome:
        return (
            refused()
            if call.params["channel"] == "b"
            else ok({"channel_id": call.params["channel"], "state": "member"})
        )

    paper = PaperEngine(small_plan(EACH), {**INVITE, "chat.invite": invite}).begin(HIRE).run()
    failed = next(r for r in paper.records if r.kind == Kind.STEP_FAILED)
    assert (failed.body["failure"], failed.body["items"]) == ("some_failed", [1])
    removed = [c.params["channel"] for _, c in paper.log if isinstance(c, WriteCall) and c.action == "remove"]
    assert removed == ["c", "a"]
    assert paper.status() == {"invites": "undone"}
    assert paper.state.ended == "rolled_back"


CALL = """
  provision:
    title: Provision elsewhere
    call: {workflow: other, with: {employee_id: = trigger.employee_id}, give_up: 1d}
    compensate: {then: continue}
"""


def test_a_called_workflow_is_started_once_and_its_end_decides() -> None:
    for end, status in (("completed", "done"), ("rolled_back", "given_up")):
        paper = Inbox(small_plan(CALL), {})
        paper.started = []
        paper.begin(HIRE).run_for(hours=1)
        assert [(c.workflow, c.data, c.parent) for c in paper.started] == [
            ("other", {"employee_id": "W-104233"}, "ins_1")
        ]
        assert paper.state.steps["provision"].child == "ins_child"
        body = {"instance": "ins_child", "end": end}
        paper._append(
            [
                Draft(
                    kind=Kind.CHILD_ENDED,
                    at=paper.clock.now(),
                    actor=ENGINE,
                    stage=Stage.EXECUTION,
                    step="provision",
                    body=body,
                )
            ]
        )
        paper.run()
        assert paper.status()["provision"] == status


def test_a_called_workflow_that_never_ends_is_given_up() -> None:
    paper = Inbox(small_plan(CALL), {})
    paper.begin(HIRE).run()
    assert paper.status()["provision"] == "given_up"
    assert paper.clock.now() - paper.records[0].at >= timedelta(days=1)


UNDO = """
  one:
    title: First
    do: chat.invite
    with: {upn: x@y.example, channel: one}
    expect: {none: a test}
    rollback:
      do: chat.remove
      with: {upn: = step.input.upn, channel: = step.input.channel}
      retry: {attempts: 2, first: 1s}
    compensate: {then: continue}
  two:
    title: Second
    do: chat.invite
    needs: [one]
    with: {upn: x@y.example, channel: two}
    expect: {none: a test}
    rollback:
      do: chat.remove
      with: {upn: = step.input.upn, channel: = step.input.channel}
      retry: {attempts: 2, first: 1s}
    compensate: {then: continue}
  three:
    title: Third
    do: crm.assign_team
    needs: [two]
    with: {user_id: u, territory: t, role: r, reports_to: m}
    expect: {none: a test}
    rollback: {none: a test}
    compensate: {then: rollback}
"""


def test_an_undo_that_fails_becomes_an_owned_task_and_never_blocks_the_others() -> None:
    def remove(call: WriteCall) -> Outcome:
        return transient() if call.params["channel"] == "two" else ok({"removed": True})

    world = {**INVITE, "chat.remove": remove, "crm.assign_team": refused()}
    paper = PaperEngine(small_plan(UNDO), world).begin(HIRE).run_for(hours=1)
    assert paper.status() == {"one": "undone", "two": "undoing", "three": "given_up"}
    task = next(t for t in paper.state.tasks.values() if t.purpose == "undo")
    assert task.to == "owner"
    paper.task("two").run()
    assert paper.status()["two"] == "undone_by_hand"
    assert paper.state.ended == "rolled_back"
    assert not paper.state.open_cases

    paper = PaperEngine(small_plan(UNDO), world).begin(HIRE).run()
    assert paper.status()["two"] == "undo_open"
    assert paper.state.ended == "rolled_back_with_exceptions"


def test_retrying_starts_again_only_what_came_to_nothing() -> None:
    world = {**INVITE, "crm.assign_team": refused()}
    steps = UNDO.replace("compensate: {then: rollback}", "compensate: {then: stop}")
    paper = PaperEngine(small_plan(steps), world).begin(HIRE).run()
    assert paper.state.ended == "stopped"
    paper.world["crm.assign_team"] = ok({"assignment_id": "a"})
    command = lifecycle.Command(name="retry", reason="mended", step="three")
    paper._append(lifecycle.operate(paper.plan, paper.state, command, ENGINE, paper.clock.now()))
    paper.run()
    assert paper.writes() == ["chat.invite", "chat.invite", "crm.assign_team", "crm.assign_team"]
    assert paper.state.ended == "completed"


def test_what_a_person_did_in_a_steps_stead_is_undone_like_the_systems_work() -> None:
    steps = UNDO.replace(
        "compensate: {then: continue}",
        "compensate: {do: [{task: {to: owner, title: By hand, due: 1d, give_up: 2d}}], then: continue}",
    )
    world = {
        **INVITE,
        "chat.invite": [refused(), ok({"channel_id": "C1", "state": "member"})],
        "crm.assign_team": refused(),
    }
    paper = PaperEngine(small_plan(steps), world).begin(HIRE).run_for(minutes=1)
    paper.task("one", output={"channel_id": "C9", "state": "member"}).run()
    assert [c.params["channel"] for _, c in paper.log if isinstance(c, WriteCall) and c.action == "remove"] == [
        "two",
        "one",
    ]
    assert paper.status() == {"one": "undone", "two": "undone", "three": "given_up"}


def test_a_called_start_that_fails_once_is_made_again_and_does_not_spin() -> None:
    answers = iter([transient(), ok({"instance": "ins_child"})])

    class Flaky(Inbox):
        def answer(self, call: Call) -> Outcome:
            return next(answers) if isinstance(call, StartCall) else super().answer(call)

    paper = Flaky(small_plan(CALL), {}).begin(HIRE).run_for(hours=1)
    assert paper.state.steps["provision"].child == "ins_child"
    assert paper.wake_at is not None
    assert paper.wake_at - paper.clock.now() >= timedelta(hours=1)


def test_an_inbox_that_cannot_be_read_once_does_not_end_the_wait() -> None:
    class Flaky(Inbox):
        failed = False

        def answer(self, call: Call) -> Outcome:
            if isinstance(call, InboxCall) and not self.failed:
                self.failed = True
                return transient()
            return super().answer(call)

    paper = Flaky(small_plan(WAIT), INVITE)
    paper.events = [moved(2, HIRE["employee_id"])]
    paper.begin(HIRE).run()
    assert paper.status()["moved"] == "done"


def test_what_was_found_and_does_not_agree_is_never_undone() -> None:
    steps = UNDO.replace(
        "    do: chat.invite\n    with: {upn: x@y.example, channel: one}\n    expect: {none: a test}",
        "    do: itsm.create_catalog_request\n"
        "    with: {employee_id: e, location: l, department: d, tier: t, items: [x]}\n"
        "    expect:\n"
        "      - read: itsm.get_request\n"
        "        with: {request_id: = step.output.request_id}\n"
        "        that: found.state == 'x'\n"
        "        within: 1m",
    ).replace(
        "      do: chat.remove\n      with: {upn: = step.input.upn, channel: = step.input.channel}\n",
        "      do: itsm.cancel_request\n      with: {request_id: = step.output.request_id}\n",
        1,
    )
    there = {"request_id": "REQ1", "number": "1"}
    world = {
        **INVITE,
        "look_up itsm.create_catalog_request": ok(there),
        "itsm.get_request": ok({"request_id": "REQ1", "number": "1", "state": "requested", "items": []}),
        "itsm.cancel_request": ok({"request_id": "REQ1", "state": "cancelled"}),
        "crm.assign_team": refused(),
    }
    steps = steps.replace("compensate: {then: continue}", "compensate: {then: rollback}", 1)
    paper = PaperEngine(small_plan(steps), world).begin(HIRE).run()
    assert paper.status()["one"] == "given_up"
    assert "itsm.cancel_request" not in paper.writes()
    assert not [t for t in paper.state.tasks.values() if t.purpose == "undo"]


def test_the_worst_of_several_failed_items_decides_what_may_be_there() -> None:
    steps = EACH.replace(
        "compensate: {then: rollback}",
        "compensate: {do: [{task: {to: owner, title: By hand, due: 1d, give_up: 2d}}], then: continue}",
    )

    def invite(call: WriteCall) -> Outcome:
        return refused() if call.params["channel"] == "a" else unknown()

    world = {**INVITE, "chat.invite": invite, "look_up chat.invite": transient()}
    paper = PaperEngine(small_plan(steps), world).begin(HIRE).run_for(hours=3)
    failed = next(r for r in paper.records if r.kind == Kind.STEP_FAILED)
    assert failed.body["effect"] == "unknown"
    assert next(r for r in paper.records if r.kind == Kind.TASK_OPENED).body["check_first"] is True
