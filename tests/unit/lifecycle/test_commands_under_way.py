"""Commands, cancellations and odd answers at bad moments: nothing is sent twice, forgotten, or said to be done."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from support.generated import TASK, making
from support.lab import THING, LabPaper
from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, ok, refused, transient, unknown
from topstitch import lifecycle
from topstitch.execution.operate import Command
from topstitch.foundation.errors import ConflictError, RequestError
from topstitch.model.orders import Outcome, ResolveCall, WriteCall
from topstitch.model.record import ENGINE

GATE: dict[str, Any] = {
    "otherwise": {"from": "group:heads", "give_up": "20h"},
    "refused": {"then": "continue"},
    "unanswered": {"then": "stop"},
}
SETTLE_SECONDS = 60
"""How long after a write ``make_unique`` may be asked in vain."""
INSTEAD = {"do": [{"do": "lab.make_none", "with": {"name": "x"}}, TASK], "then": "continue"}


def calling(**rest: Any) -> dict[str, Any]:
    call = {"workflow": "another", "with": {"key": "k"}, "give_up": "3h"}
    return {"title": "Call", "call": call, "compensate": {"do": [TASK], "then": "continue"}, **rest}


def silent(**rest: Any) -> LabPaper:
    """Return an instance whose system did not answer, and then could not be asked whether it was done."""
    world = {"lab.make_unique": unknown(), "look_up lab.make_unique": [ok(None), transient()]}
    paper = LabPaper({"a": making("make_unique", **rest)}, world)
    paper.run_for(minutes=1)
    if "approval" in rest:
        paper.decide("a", "approve")
    paper.run_for(minutes=59)
    assert paper.state.steps["a"].effect == "unknown"
    return paper


# --- a person's word, and the system's ------------------------------------------------------------------------------


def test_work_by_hand_that_the_system_denies_is_not_done_when_the_instance_is_stopped_meanwhile():
    paper = LabPaper({"a": making("make_natural")}, {"lab.make_natural": refused(), "lab.see": ok(None)})
    paper.run_for(minutes=10)
    paper.task("a", output=THING).activate()
    paper.command("cancel", choice="stop").run()
    assert paper.state.ended == "cancelled"
    assert paper.status() == {"a": "given_up"}
    assert paper.state.steps["a"].effect == "unknown"


# --- retry and skip while a compensation is under way ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["retry", "skip"])
def test_a_step_is_neither_retried_nor_skipped_while_its_compensation_is_under_way(name: str):
    paper = LabPaper({"a": making("make_natural", compensate=INSTEAD)}, {"lab.make_natural": refused()})

    def meanwhile(call: WriteCall) -> Outcome:
        with pytest.raises(ConflictError, match="is being carried out"):
            paper.command(name, step="a")
        return ok(THING)

    paper.world["lab.make_none"] = meanwhile
    paper.run_for(minutes=10)
    assert paper.state.acts["a/compensate/0"].status == "done"
    assert paper.status() == {"a": "compensating"}


@pytest.mark.parametrize("answer", [ok(THING), unknown()], ids=["done", "nobody knows"])
def test_what_a_compensation_has_done_is_not_done_again_when_a_retry_fails_too(answer: Outcome):
    steps = {"a": making("make_natural", compensate=INSTEAD)}
    paper = LabPaper(steps, {"lab.make_natural": refused(), "lab.make_none": answer})
    paper.run_for(minutes=10)
    paper.command("retry", step="a").run()
    assert paper.writes().count("lab.make_natural") == 2
    assert paper.writes().count("lab.make_none") == 1
    assert [r.kind for r in paper.records].count("task.opened") == 2
    assert paper.status() == {"a": "given_up"}


def test_a_compensation_that_left_nothing_is_tried_again_when_a_retry_fails_too():
    steps = {"a": making("make_natural", compensate=INSTEAD)}
    paper = LabPaper(steps, {"lab.make_natural": refused(), "lab.make_none": refused()})
    paper.run_for(minutes=10)
    paper.command("retry", step="a").run()
    assert paper.writes().count("lab.make_none") == 2


# --- retry with something else to send ------------------------------------------------------------------------------


def test_items_have_no_one_input_to_change():
    step = making("make_natural", for_each={"items": "= trigger.names", "max": 5}) | {"with": {"name": "= item"}}
    paper = LabPaper({"a": step}, {"lab.make_natural": refused()})
    paper.run_for(minutes=5)
    with pytest.raises(RequestError, match="edit the data it reads"):
        paper.command("retry", step="a", input={"name": "z"})
    paper.command("edit", path="trigger.names", value=["c"]).command("retry", step="a").run_for(minutes=5)
    assert next(act.payload for act in paper.state.acts.values() if act.purpose == "step") == {"name": "c"}


def test_nothing_else_is_sent_while_it_is_not_known_whether_the_first_is_there():
    paper = silent()
    with pytest.raises(ConflictError, match="would now send something else"):
        paper.command("retry", step="a", input={"name": "other"})
    paper.world |= {"look_up lab.make_unique": ok(THING)}
    paper.command("retry", step="a", input={"name": "n"}).run_for(minutes=5)
    assert paper.status() == {"a": "done"}
    assert len(paper.writes()) == 1


def test_items_of_which_some_are_there_are_not_retried_with_others_in_their_place():
    def make(call: WriteCall) -> Outcome:
        return refused() if call.params["name"] == "b" else ok(THING)

    step = making("make_unique", for_each={"items": "= trigger.names", "max": 5}) | {"with": {"name": "= item"}}
    paper = LabPaper({"a": step}, {"lab.make_unique": make})
    paper.run_for(minutes=5)
    assert paper.state.steps["a"].effect == "applied"
    paper.command("edit", path="trigger.names", value=["c"])
    with pytest.raises(ConflictError, match="would now send something else"):
        paper.command("retry", step="a")
    paper.command("cancel", choice="rollback").run()
    assert paper.writes().count("lab.unmake") == 1


def test_a_step_that_was_never_begun_is_not_retried_past_a_context_that_is_missing():
    paper = PaperEngine(onboarding_plan(), Company().world(hris__get_job_profile=transient())).begin(HIRE).run()
    assert paper.state.ended == "stopped"
    wish = Command(name="retry", reason="again", step="identity")
    with pytest.raises(ConflictError, match="without naming a step"):
        lifecycle.operate(paper.plan, paper.state, wish, ENGINE, paper.clock.now())


# --- what a retried step may have left before -----------------------------------------------------------------------


def test_a_retry_that_is_refused_by_a_person_forgets_nothing_and_is_taken_back():
    paper = silent(approval=GATE | {"refused": {"then": "rollback"}})
    paper.world |= {"look_up lab.make_unique": ok(THING)}
    paper.command("retry", step="a").activate()
    paper.decide("a", "refuse").run()
    assert paper.writes() == ["lab.make_unique", "lab.unmake"]
    assert paper.status() == {"a": "undone"}


def test_a_step_whose_condition_turned_false_before_its_retry_does_not_end_in_order():
    paper = silent(when="trigger.key != 'x'")
    paper.command("edit", path="trigger.key", value="x").command("retry", step="a").run()
    assert paper.status() == {"a": "skipped"}
    assert paper.state.outcome == "completed_with_exceptions"
    assert [case.cause for case in paper.state.cases.values() if case.how is None] == ["left-behind"]


def test_a_payload_that_cannot_be_worked_out_any_more_forgets_nothing():
    paper = silent(when="trigger.names[1] != 'x'")
    paper.command("retry", step="a").command("edit", path="trigger.names", value=[])
    paper.run_for(minutes=1)
    assert paper.state.steps["a"].failure == "expression"
    assert paper.state.steps["a"].effect == "unknown"


# --- called workflows -----------------------------------------------------------------------------------------------


def test_a_called_workflow_has_its_whole_time_however_long_the_approval_took():
    paper = LabPaper({"c": calling(approval=GATE)}, {})
    paper.run_for(hours=10)
    paper.decide("c", "approve").run_for(hours=2)
    assert paper.status() == {"c": "running"}
    assert len(paper.started) == 1
    paper.run_for(hours=2)
    assert paper.status() == {"c": "compensating"}


@pytest.mark.parametrize("choice", ["rollback", "stop"])
@pytest.mark.parametrize("start", [ok({"instance": "ins_child"}), unknown()], ids=["started", "perhaps started"])
def test_a_workflow_that_goes_on_after_its_caller_turned_is_a_case(choice: str, start: Outcome):
    paper = LabPaper({"c": calling()}, {"start": start})
    paper.run_for(minutes=1)
    paper.command("cancel", choice=choice).run()
    assert paper.status() == {"c": "given_up"}
    assert [case.cause for case in paper.state.cases.values() if case.how is None] == ["called-goes-on"]
    assert paper.state.ended == {"rollback": "rolled_back_with_exceptions", "stop": "cancelled"}[choice]


def test_a_workflow_that_is_started_after_its_caller_turned_is_a_case_too():
    paper = LabPaper({"a": making("make_natural"), "c": calling(needs=["a"])}, {})
    paper.world["start"] = lambda: paper.command("cancel", choice="rollback").take_up()
    paper.run()
    assert paper.status() == {"a": "undone", "c": "not_run"}
    assert [case.cause for case in paper.state.cases.values() if case.how is None] == ["called-goes-on"]
    assert paper.state.ended == "rolled_back_with_exceptions"


def test_a_called_workflow_that_ended_while_its_caller_turned_is_no_case():
    paper = LabPaper({"c": calling()}, {})
    paper.run_for(minutes=1)
    paper.command("cancel", choice="stop")
    paper.child_ends("c", "completed").run()
    assert paper.status() == {"c": "done"}
    assert not paper.state.open_cases


def test_a_retried_call_starts_another_instance_only_after_the_first_came_to_a_bad_end():
    paper = LabPaper({"c": calling()}, {})
    paper.run_for(hours=4)
    assert paper.status() == {"c": "compensating"}
    paper.command("retry", step="c").run_for(minutes=1)
    assert len(paper.started) == 1, "the first may still come to its end"
    paper.child_ends("c", "stopped").run_for(minutes=1)
    assert paper.state.steps["c"].effect == "applied"
    paper.command("retry", step="c").run_for(minutes=1)
    assert [call.idempotency_key for call in paper.started] == ["ins_1:c", "ins_1:c:1"]
    paper.child_ends("c", "completed", child="ins_child1").run_for(minutes=1)
    assert paper.status() == {"c": "running"}, "the first is not what is waited for any more"
    paper.child_ends("c", "completed").run()
    assert paper.status() == {"c": "done"}


# --- what is not there yet ------------------------------------------------------------------------------------------


def sends(paper: LabPaper) -> list[tuple[datetime, WriteCall]]:
    return [(at, call) for at, call in paper.log if isinstance(call, WriteCall)]


def test_what_is_not_there_is_sent_again_only_once_its_time_limit_is_over():
    """The connection broke at once, or we were gone for a moment: the system may still be at work on it."""
    paper = LabPaper({"a": making("make_unique")}, {"lab.make_unique": [unknown(), ok(THING)]})
    paper.run()
    (first, call), (second, _) = sends(paper)
    assert second - first >= timedelta(seconds=call.timeout_seconds + SETTLE_SECONDS)
    assert paper.status() == {"a": "done"}


def test_an_answer_that_was_long_under_way_does_not_say_what_is_there_now():
    asked: list[datetime] = []

    def slow(_: Any) -> Outcome:
        asked.append(paper.clock.now())
        if len(asked) == 2:  # after the one before the first try
            paper.clock.advance(100)
        return ok(None)

    world = {"lab.make_unique": [unknown(), ok(THING)], "look_up lab.make_unique": slow}
    paper = LabPaper({"a": making("make_unique")}, world)
    paper.run()
    (first, call), (second, _) = sends(paper)
    shown = first + timedelta(seconds=call.timeout_seconds + SETTLE_SECONDS)
    assert asked[1] < shown <= asked[2] < second
    assert paper.status() == {"a": "done"}


# --- what nobody could find out -------------------------------------------------------------------------------------


def test_what_nobody_knows_of_when_an_instance_is_stopped_is_a_case_and_named_at_the_end():
    paper = silent()
    paper.command("cancel", choice="stop").run()
    assert paper.status() == {"a": "given_up"}
    [case] = [record for record in paper.records if record.kind == "case.opened"]
    assert (case.body["cause"], case.step) == ("left-behind", "a")
    assert "nobody knows whether it was done" in case.body["summary"]
    why = "was given up, and nobody could find out whether it was done"
    ended = paper.records[-1].body
    assert ended["residue"] == [{"step": "a", "system": "lab", "why": why}]
    assert ended["open_cases"] == [case.body["case"]]


def test_what_was_given_up_without_an_effect_leaves_nothing_to_look_for():
    paper = LabPaper({"a": making("make_unique")}, {"lab.make_unique": refused()})
    paper.run_for(minutes=30)
    paper.command("cancel", choice="stop").run()
    assert paper.status() == {"a": "given_up"}
    assert paper.records[-1].body["residue"] == paper.records[-1].body["open_cases"] == []


# --- an answer to who decides that nobody waits for any more --------------------------------------------------------


def test_whom_to_ask_is_not_heard_once_the_step_was_skipped():
    paper = LabPaper({"a": making("make_natural", approval=GATE)}, {})

    def directory(call: ResolveCall) -> Outcome:
        paper.command("skip", step="a").take_up()
        return ok({"people": [{"id": "hugo", "name": "Hugo", "for": call.who[0]}]})

    paper.world["resolve"] = directory
    paper.run()
    assert "approval.asked" not in [record.kind for record in paper.records]
    assert paper.records[-1].kind == "ended"


def test_who_was_found_for_another_question_is_not_asked():
    """The people of one gate must not answer for another that took its place while they were looked for."""
    paper = LabPaper({"a": making("make_natural", approval=GATE)}, {})
    heard: list[Any] = []

    def directory(call: ResolveCall) -> Outcome:
        found = ok({"people": [{"id": "hugo", "name": "Hugo", "for": call.who[0]}]})
        before = replace(call, who=("group:interns",))
        heard.extend(lifecycle.settle(paper.plan, paper.state, before, found, paper.clock.now()))
        return found

    paper.world["resolve"] = directory
    paper.run_for(minutes=1)
    assert heard == []
    assert paper.state.steps["a"].approval is not None


# --- a directory that does not answer -------------------------------------------------------------------------------


def test_an_escalation_is_not_lost_because_the_directory_was_down_when_it_was_due():
    gate = {**GATE["otherwise"], "escalate": [{"after": "1h", "to": "group:chiefs"}]}
    paper = LabPaper({"a": making("make_natural", approval={**GATE, "otherwise": gate})}, {})
    paper.run_for(minutes=1)
    down = [transient()] * 3

    def directory(call: Any) -> Outcome:
        return down.pop() if down else ok({"people": [{"id": "carla", "name": "Carla", "for": call.who[0]}]})

    paper.world["resolve"] = directory
    paper.run_for(hours=2)
    approval = paper.state.steps["a"].approval
    assert approval is not None
    assert [person["id"] for person in approval.people] == ["group:heads", "carla"]
    assert [r.kind for r in paper.records].count("approval.escalated") == 1


def test_an_escalation_that_finds_nobody_for_long_goes_on_to_the_end_of_the_approval():
    gate = {**GATE["otherwise"], "escalate": [{"after": "1h", "to": "group:chiefs"}]}
    paper = LabPaper({"a": making("make_natural", approval={**GATE, "otherwise": gate})}, {})
    paper.run_for(minutes=1)
    paper.world["resolve"] = lambda call: transient()
    paper.run()
    kinds = [r.kind for r in paper.records]
    assert (kinds.count("approvers.sought"), kinds.count("approval.escalated")) == (5, 1)
    assert paper.state.ended == "stopped"


# --- systems that ask to be left alone, and clocks ------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [86_400.0 * 365, inf])
def test_a_system_that_asks_to_be_left_alone_for_too_long_counts_as_unreachable(seconds: float):
    paper = LabPaper({"a": making("make_natural")}, {"lab.make_natural": transient(retry_after=seconds)})
    paper.run_for(minutes=5)
    assert paper.status() == {"a": "compensating"}
    assert paper.state.steps["a"].failure == "unreachable"
    assert len(paper.writes()) == 1


def test_a_system_that_asks_to_be_left_alone_for_a_while_is():
    paper = LabPaper({"a": making("make_natural")}, {"lab.make_natural": [transient(retry_after=1800), ok(THING)]})
    began = paper.clock.now()
    paper.run_for(minutes=31)
    assert paper.status() == {"a": "done"}
    assert [when - began for when, call in paper.log if isinstance(call, WriteCall)] == [
        timedelta(0),
        timedelta(minutes=30),
    ]


def test_an_author_who_waits_for_longer_lets_a_system_ask_for_longer():
    patient = {"attempts": 2, "first": "10s", "max": "5h"}
    answers = [transient(retry_after=4 * 3600), ok(THING)]
    paper = LabPaper({"a": making("make_natural", retry=patient)}, {"lab.make_natural": answers})
    paper.run_for(hours=5)
    assert paper.status() == {"a": "done"}


def test_a_clock_that_is_set_back_makes_no_duration_negative():
    paper = LabPaper({"a": making("make_natural"), "b": making("make_natural", needs=["a"])}, {})
    now = [paper.clock.now()]

    def set_back(call: WriteCall) -> Outcome:
        now[0] -= timedelta(hours=2)
        return ok(THING)

    paper.world["lab.make_natural"] = set_back
    paper.clock.now = lambda: now[0]  # type: ignore[method-assign]
    paper.activate()
    assert paper.status() == {"a": "done", "b": "done"}
    bodies = [record.body for record in paper.records]
    durations = [body[name] for body in bodies for name in ("duration_ms", "waited_ms") if body.get(name) is not None]
    durations += [handoff["gross_ms"] for body in bodies for handoff in body.get("handoffs", ())]
    assert durations
    assert min(durations) >= 0
