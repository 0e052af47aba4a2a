"""Operator commands through the pure core: retry, skip, pause, cancel, edit, reassign, and held calls."""

from __future__ import annotations

from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, ok, refused, transient, unknown
from topstitch import lifecycle
from topstitch.execution.operate import Command
from topstitch.foundation.errors import ConflictError, RequestError
from topstitch.model.orders import Outcome, Problem, Result, WriteCall
from topstitch.model.record import Actor, ActorKind

IVO = Actor(ActorKind.HUMAN, "ivo")


def command(paper: PaperEngine, name: str, **rest: Any) -> PaperEngine:
    drafts = lifecycle.operate(
        paper.plan,
        paper.state,
        Command(name=name, reason=rest.pop("reason", "because"), **rest),
        IVO,
        paper.clock.now(),
    )
    paper._append(drafts)
    return paper


def test_X05_retry_from_a_step_with_edited_input_goes_on_and_keeps_the_difference() -> None:
    company = Company()
    paper = (
        PaperEngine(onboarding_plan(), company.world(itsm__create_catalog_request=refused()))
        .begin(HIRE)
        .run_for(hours=1)
    )
    assert paper.status()["equipment"] == "compensating"
    paper.world = company.world()
    command(paper, "retry", step="equipment", input={"department": "Sales"}).run_for(minutes=5)
    assert paper.status()["equipment"] == "done"
    kept = next(r for r in paper.records if r.kind == "operator.commanded")
    assert kept.body["before"] == {"department": "Engineering"}
    assert kept.actor == IVO
    assert paper.state.steps["equipment"].input["department"] == "Sales"


def test_retry_of_a_context_that_failed_reopens_an_instance_that_stopped() -> None:
    company = Company()
    paper = PaperEngine(onboarding_plan(), company.world(hris__get_job_profile=transient())).begin(HIRE).run()
    assert paper.state.ended == "stopped"
    paper.world = company.world()
    command(paper, "retry").run()
    assert paper.state.ended == "completed"


def test_skip_needs_a_step_that_left_nothing() -> None:
    company = Company()
    paper = (
        PaperEngine(onboarding_plan(), company.world(itsm__create_catalog_request=refused()))
        .begin(HIRE)
        .run_for(hours=1)
    )
    with pytest.raises(ConflictError, match="identity is done"):
        command(paper, "skip", step="identity")
    command(paper, "skip", step="equipment").run_for(minutes=1)
    assert paper.status()["equipment"] == "skipped"
    assert all(t.ending == "withdrawn" for t in paper.state.tasks.values())


def test_X06_a_paused_instance_makes_no_call_and_resumes_where_it_was() -> None:
    company = Company()
    paper = PaperEngine(onboarding_plan(), company.world()).begin(HIRE)
    command(paper, "pause")
    paper.activate()
    assert paper.log == []
    command(paper, "resume").run()
    assert paper.state.ended == "completed"


def test_a_held_call_counts_as_no_attempt_and_goes_out_once_the_pause_is_over() -> None:
    company = Company()
    held = Outcome(result=Result.HELD, problem=Problem(code="paused", message="the connection is paused"))
    paper = (
        PaperEngine(onboarding_plan(), company.world(itsm__create_catalog_request=held)).begin(HIRE).run_for(hours=5)
    )
    assert paper.status()["equipment"] == "running"
    assert paper.state.acts["equipment"].attempt == 0
    paper.world = company.world()
    paper.run_for(minutes=5)
    assert paper.status()["equipment"] == "done"


def test_cancel_takes_everything_back_or_keeps_it() -> None:
    company = Company()
    paper = PaperEngine(onboarding_plan(), company.world()).begin(HIRE).run_for(minutes=10)
    command(paper, "cancel", choice="rollback").run()
    assert paper.state.ended == "rolled_back_with_exceptions"
    assert company.users["priya.raman@corp.example"]["enabled"] is False
    company = Company(elevated=True)
    paper = PaperEngine(onboarding_plan(), company.world()).begin(HIRE).run_for(minutes=10)
    command(paper, "cancel", choice="stop").run()
    assert paper.state.ended == "cancelled"
    assert paper.writes() == []
    with pytest.raises(ConflictError, match="has ended"):
        command(paper, "cancel", choice="stop")


def test_an_edit_of_process_data_voids_an_approval_of_the_old_payload() -> None:
    company = Company()
    company.quote = "3000.00 USD"
    paper = PaperEngine(onboarding_plan(), company.world()).begin(HIRE).run_for(minutes=10)
    command(paper, "edit", path="trigger.location", value="Berlin")
    paper.decide("equipment", "approve").run_for(minutes=5)
    assert paper.status()["equipment"] == "asking"
    assert paper.state.steps["equipment"].input["location"] == "Berlin"


def test_a_command_without_a_reason_is_refused() -> None:
    paper = PaperEngine(onboarding_plan(), Company().world()).begin(HIRE)
    with pytest.raises(RequestError, match="say why"):
        command(paper, "pause", reason=" ")


def vanishing(company: Company) -> PaperEngine:
    """An order that arrives although no answer does, in a system that then cannot be asked."""

    def order_then_vanish(call: WriteCall) -> Outcome:
        company._order(call)
        return unknown()

    world = company.world(itsm__create_catalog_request=order_then_vanish)
    world["look_up itsm.create_catalog_request"] = [ok(None), transient()]
    return PaperEngine(onboarding_plan(), world).begin(HIRE).run_for(hours=1)


def test_a_retried_step_does_not_forget_what_may_be_there() -> None:
    company = Company()
    paper = vanishing(company)
    assert paper.state.steps["equipment"].effect == "unknown"
    paper.world = company.world()
    command(paper, "retry", step="equipment").run_for(minutes=10)
    assert paper.status()["equipment"] == "done"
    assert len(company.requests) == 1
    assert paper.state.steps["equipment"].found is False


def test_a_retried_step_that_is_cancelled_first_is_looked_up_and_taken_back() -> None:
    company = Company()
    paper = vanishing(company)
    paper.world = company.world()
    command(paper, "retry", step="equipment")
    command(paper, "cancel", choice="rollback").run()
    assert [r["state"] for r in company.requests.values()] == ["cancelled"]
    assert paper.status()["equipment"] == "undone"


def test_skip_withdraws_the_task_in_a_record_of_its_own() -> None:
    company = Company()
    world = company.world(itsm__create_catalog_request=refused())
    paper = PaperEngine(onboarding_plan(), world).begin(HIRE).run_for(hours=1)
    command(paper, "skip", step="equipment")
    assert [r.body["ending"] for r in paper.records if r.kind == "task.closed"] == ["withdrawn"]
