"""The shipped onboarding through the pure core: endings, order, retries, compensation, rollback, checks."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, ok, refused, transient, unknown
from topstitch import lifecycle
from topstitch.model.kinds import Kind
from topstitch.model.orders import ReadCall, WriteCall

SALES: dict[str, Any] = {**HIRE, "department": "Sales"}


def engine(company: Company, **overrides: Any) -> PaperEngine:
    return PaperEngine(onboarding_plan(), company.world(**overrides))


def of_kind(paper: PaperEngine, kind: Kind) -> list[Any]:
    return [record for record in paper.records if record.kind == kind]


def test_O07_standard_hire_needs_no_person_and_ends_after_the_last_check() -> None:
    paper = engine(Company()).begin(HIRE).run()
    assert paper.state.ended == "completed"
    assert paper.status() == {
        "identity": "done",
        "equipment": "done",
        "crm_assignment": "skipped",
        "welcome_email": "done",
        "welcome_chat": "done",
    }
    assert not of_kind(paper, Kind.TASK_OPENED)
    assert not of_kind(paper, Kind.APPROVAL_ASKED)
    assert paper.clock.now() - paper.records[0].at == timedelta(hours=24)


def test_CX01_every_read_of_the_context_precedes_the_first_write() -> None:
    paper = engine(Company()).begin(HIRE).run()
    calls = [call for _, call in paper.log]
    first_write = next(i for i, call in enumerate(calls) if isinstance(call, WriteCall))
    context = [i for i, call in enumerate(calls) if call.key.startswith("@context/")]
    assert len(context) == 4
    assert max(context) < first_write
    assert all(isinstance(calls[i], ReadCall) for i in context)


def test_CX04_required_context_that_cannot_be_read_stops_with_zero_writes() -> None:
    paper = engine(Company(), hris__get_job_profile=transient()).begin(HIRE).run()
    assert paper.state.ended == "stopped"
    assert paper.writes() == []
    assert len([c for _, c in paper.log if c.key.startswith("@context/profile/")]) == 4
    assert set(paper.status().values()) == {"not_run"}
    assert len(of_kind(paper, Kind.CASE_OPENED)) == 1


def test_state_folded_from_the_journal_is_the_state_in_memory() -> None:
    company = Company(elevated=True)
    paper = engine(company, itsm__create_catalog_request=transient()).begin(HIRE).run_for(minutes=1)
    paper.decide("identity", "approve").run_for(hours=3)
    folded = lifecycle.initial(paper.plan, "ins_1")
    for record in paper.records:
        folded = lifecycle.fold(paper.plan, folded, record)
    assert folded == paper.state


def test_E02_an_account_that_exists_already_stops_before_any_write() -> None:
    company = Company()
    company.existing = True
    paper = engine(company).begin(HIRE).run()
    assert paper.writes() == []
    assert paper.status()["identity"] == "declined"
    assert paper.state.ended == "stopped"


def test_E03_created_but_not_there_fails_on_the_read_back() -> None:
    paper = engine(Company(), directory__create_user=ok({"user_id": "u1", "upn": "x", "enrolment_link": "l"}))
    paper.begin(HIRE).run_for(minutes=30)
    failed = of_kind(paper, Kind.STEP_FAILED)
    assert [f.body["failure"] for f in failed] == ["disagrees"]
    assert paper.status()["identity"] == "compensating"


def test_E10_three_retries_after_the_first_attempt_then_the_ladder() -> None:
    company = Company()
    paper = engine(company, itsm__create_catalog_request=transient()).begin(HIRE).run_for(minutes=40)
    assert paper.writes().count("itsm.create_catalog_request") == 4
    opened = of_kind(paper, Kind.TASK_OPENED)
    assert [t.body["to"] for t in opened] == ["group:it-ops"]


def test_E11_waits_double_with_bounded_jitter_and_honour_retry_after() -> None:
    paper = engine(Company(), itsm__create_catalog_request=transient()).begin(HIRE).run_for(minutes=40)
    sent = [at for at, c in paper.log if isinstance(c, WriteCall) and c.action == "create_catalog_request"]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(sent)]
    for gap, base in zip(gaps, (30, 60, 120), strict=True):
        assert base <= gap <= base * 1.25 + 0.001
    slow = engine(Company(), itsm__create_catalog_request=transient(retry_after=400)).begin(HIRE).run_for(hours=1)
    sent = [at for at, c in slow.log if isinstance(c, WriteCall) and c.action == "create_catalog_request"]
    assert all((b - a).total_seconds() >= 400 for a, b in itertools.pairwise(sent))


def test_E11_a_refusal_is_not_retried() -> None:
    paper = engine(Company(), itsm__create_catalog_request=refused()).begin(HIRE).run_for(minutes=40)
    assert paper.writes().count("itsm.create_catalog_request") == 1


def test_E12_the_by_hand_task_returns_the_output_and_the_flow_goes_on() -> None:
    company = Company()
    paper = engine(company, itsm__create_catalog_request=transient()).begin(HIRE).run_for(hours=1)
    company.requests["by hand"] = {"request_id": "REQ9", "number": "REQ9", "state": "requested", "items": []}
    paper.task("equipment", output={"request_id": "REQ9", "number": "REQ9"}).run()
    assert paper.status()["equipment"] == "done_by_hand"
    assert paper.state.steps["equipment"].output == {"request_id": "REQ9", "number": "REQ9"}
    assert paper.state.ended == "completed_with_exceptions"


def test_work_by_hand_that_cannot_be_read_back_reopens_the_task() -> None:
    company = Company()
    paper = engine(company, itsm__create_catalog_request=transient()).begin(HIRE).run_for(hours=1)
    paper.task("equipment", output={"request_id": "REQ404", "number": "REQ404"}).run_for(hours=1)
    assert len(of_kind(paper, Kind.TASK_REOPENED)) == 1
    assert paper.status()["equipment"] == "compensating"
    company.requests["by hand"] = {"request_id": "REQ9", "number": "REQ9", "state": "requested", "items": []}
    paper.task("equipment", output={"request_id": "REQ9", "number": "REQ9"}).run()
    assert paper.status()["equipment"] == "done_by_hand"


def test_E13_O05_the_modified_welcome_goes_out_within_the_hour_while_the_task_is_open() -> None:
    company = Company()
    paper = engine(company, itsm__create_catalog_request=transient()).begin(HIRE).run_for(hours=1)
    assert [m["template"] for m in company.mails.values()] == ["welcome-equipment-delayed"]
    assert paper.status()["equipment"] == "compensating"
    assert paper.state.steps["welcome_email"].settled_at - paper.records[0].at <= timedelta(hours=1)


def test_A02_elevated_access_waits_for_a_person_and_a_refusal_stops() -> None:
    paper = engine(Company(elevated=True)).begin(HIRE).run_for(minutes=5)
    assert paper.status()["identity"] == "asking"
    assert paper.writes() == []
    paper.decide("identity", "refuse").run()
    assert paper.status()["identity"] == "declined"
    assert paper.state.ended == "stopped"
    assert paper.writes() == []


@pytest.mark.parametrize(("total", "asks"), [("2499.99 USD", False), ("2500.00 USD", True), ("2500.01 USD", True)])
def test_A03_under_2500_is_automatic_and_2500_asks(total: str, asks: bool) -> None:
    company = Company()
    company.quote = total
    paper = engine(company).begin(HIRE).run_for(minutes=5)
    assert (paper.status()["equipment"] == "asking") is asks


def test_A03_another_currency_is_converted_with_the_recorded_rate() -> None:
    company = Company()
    company.quote = "2400.00 EUR"
    paper = engine(company).begin(HIRE, rates={"EUR/USD": "1.08"}).run_for(minutes=5)
    assert paper.status()["equipment"] == "asking"
    decision = next(r for r in of_kind(paper, Kind.DECISION) if r.step == "equipment")
    assert decision.body["because"][0]["rates"] == {"EUR/USD": "1.08"}
    assert decision.body["because"][0]["read"] == {"context.quote.total": "2400.00 EUR"}


def test_A05_silence_never_approves() -> None:
    company = Company()
    company.quote = "9000.00 USD"
    paper = engine(company).begin(HIRE).run()
    assert paper.status()["equipment"] == "declined"
    assert "itsm.create_catalog_request" not in paper.writes()
    assert paper.state.flags["equipment_delayed"]


def test_A06_a_changed_payload_voids_the_approval_and_asks_again() -> None:
    company = Company()
    company.quote = "3000.00 USD"
    paper = engine(company).begin(HIRE).run_for(minutes=5)
    context = {**paper.state.context, "quote": {"total": "3000.00 USD", "items": ["workstation"], "currency": "USD"}}
    paper.state = lifecycle.replace(paper.state, context=context)
    paper.decide("equipment", "approve").run_for(minutes=5)
    assert [r.body["ending"] for r in of_kind(paper, Kind.APPROVAL_CLOSED)] == ["void"]
    assert len(of_kind(paper, Kind.APPROVAL_ASKED)) == 2
    assert "itsm.create_catalog_request" not in paper.writes()
    paper.decide("equipment", "approve").run_for(minutes=5)
    assert paper.status()["equipment"] == "done"


def test_A11_a_notice_for_review_is_no_gate() -> None:
    paper = engine(Company(crm_role="SDR", territory="US-South")).begin(SALES).run_for(minutes=5)
    assert paper.status()["crm_assignment"] == "done"
    tells = [t.body for t in of_kind(paper, Kind.TOLD) if t.body["about"] == "crm_assignment"]
    assert [t["who"] for t in tells] == [["group:sales-ops"]]
    assert paper.status()["welcome_email"] == "done"


def test_H08_a_timeout_after_the_commit_is_looked_up_and_nothing_is_sent_twice() -> None:
    company = Company()

    def commit_then_vanish(call: WriteCall) -> Any:
        company._order(call)
        return unknown()

    paper = engine(company, itsm__create_catalog_request=commit_then_vanish).begin(HIRE).run()
    assert paper.writes().count("itsm.create_catalog_request") == 1
    assert len(company.requests) == 1
    assert paper.status()["equipment"] == "done"
    looked = [r for r in of_kind(paper, Kind.ACT_LOOKED_UP) if r.step == "equipment"]
    assert [r.body["answer"] for r in looked] == ["absent", "found"]
    assert paper.state.steps["equipment"].found is False


def test_an_unanswerable_doubt_becomes_a_task_that_says_look_first() -> None:
    company = Company()
    world = {"itsm.create_catalog_request": unknown(), "look_up itsm.create_catalog_request": [ok(None), transient()]}
    paper = PaperEngine(onboarding_plan(), company.world() | world).begin(HIRE).run_for(hours=1)
    failed = [r for r in of_kind(paper, Kind.STEP_FAILED) if r.step == "equipment"]
    assert [f.body["failure"] for f in failed] == ["unknown"]
    opened = of_kind(paper, Kind.TASK_OPENED)
    assert [t.body["check_first"] for t in opened] == [True]


def test_624_a_later_refusal_does_not_clear_an_earlier_doubt() -> None:
    """Attempt 1 applied, nobody can say so; attempt 2 is refused: a look-up decides, not the refusal."""
    company = Company(crm_role="SDR", territory="US-South")

    def send(call: WriteCall) -> Any:
        if call.attempt == 1:
            company._assign(call)
            return unknown()
        return refused()

    silent = [transient()] * 5
    world = {"crm.assign_team": send, "look_up crm.assign_team": [*silent, ok({"assignment_id": "a1"})]}
    paper = PaperEngine(onboarding_plan(), company.world() | world).begin(SALES).run_for(hours=2)
    assert paper.writes().count("crm.assign_team") == 2
    assert paper.status()["crm_assignment"] == "done"
    silent_for_ever = {"crm.assign_team": send, "look_up crm.assign_team": transient()}
    paper = PaperEngine(onboarding_plan(), company.world() | silent_for_ever).begin(SALES).run_for(hours=2)
    assert paper.state.steps["crm_assignment"].effect == "unknown"


def test_E15_E16_abort_undoes_in_reverse_order_each_once() -> None:
    company = Company(crm_role="AE", territory="US-South")
    paper = engine(company).begin(SALES).run_for(minutes=10)
    paper.state = lifecycle.fold(
        paper.plan,
        lifecycle.replace(paper.state, executed_at=None, outcome=None),
        lifecycle.Draft(
            kind=Kind.MODE_CHANGED,
            at=paper.clock.now(),
            actor=lifecycle.ENGINE,
            stage=lifecycle.Stage.EXECUTION,
            body={"mode": "rolling_back", "because": "test"},
        ),
    )
    before = len(paper.writes())
    paper.run_for(minutes=30)
    undos = paper.writes()[before:]
    assert sorted(undos) == ["chat.remove", "crm.remove_assignment", "directory.disable_user", "itsm.cancel_request"]
    assert undos[-1] == "directory.disable_user"
    assert company.users["priya.raman@corp.example"]["enabled"] is False
    assert [r["state"] for r in company.requests.values()] == ["cancelled"]
    assert paper.status() == {
        "identity": "undone",
        "equipment": "undone",
        "crm_assignment": "undone",
        "welcome_email": "kept",
        "welcome_chat": "undone",
    }


def test_identity_that_nobody_can_create_rolls_back_and_leaves_nothing() -> None:
    paper = engine(Company(), directory__create_user=transient()).begin(HIRE).run()
    assert paper.status()["identity"] == "given_up"
    assert paper.status()["equipment"] == "not_run"
    assert paper.state.ended == "rolled_back", "the disposition was declared, and nothing is left"
    assert [r.body["how"] for r in of_kind(paper, Kind.CASE_CLOSED)] == ["rolled back"]
    assert "directory.disable_user" not in paper.writes()


def test_what_was_only_found_is_never_undone() -> None:
    company = Company()
    company.users["priya.raman@corp.example"] = {
        "user_id": "old",
        "upn": "priya.raman@corp.example",
        "enabled": True,
        "department": "Engineering",
        "groups": ["all-staff", "engineering"],
    }
    paper = engine(company).begin(HIRE).run_for(minutes=10)
    assert paper.state.steps["identity"].found is True
    assert "directory.create_user" not in paper.writes()


def test_a_dead_engine_leaves_a_doubt_that_the_next_activation_looks_up() -> None:
    company = Company()
    paper = engine(company).begin(HIRE)

    def dies(call: WriteCall) -> Any:
        company._order(call)
        raise KeyboardInterrupt

    paper.world["itsm.create_catalog_request"] = dies
    with pytest.raises(KeyboardInterrupt):
        paper.run_for(minutes=5)
    folded = lifecycle.initial(paper.plan, "ins_1")
    for record in paper.records:
        folded = lifecycle.fold(paper.plan, folded, record)
    paper.state = folded
    paper.world = company.world()
    paper.run()
    assert len(of_kind(paper, Kind.ACT_IN_DOUBT)) == 1
    assert len(company.requests) == 1
    assert paper.state.ended == "completed"


def test_H01_R05_one_ticket_updated_at_the_next_check_and_closed_when_it_agrees() -> None:
    company = Company()
    paper = engine(company).begin(HIRE).run_for(hours=1)
    company.users["priya.raman@corp.example"]["enabled"] = False
    paper.run_for(hours=2)
    assert len(company.tickets) == 1
    opened = of_kind(paper, Kind.DISCREPANCY_OPENED)
    assert [[f["field"] for f in d.body["fields"]] for d in opened] == [["enabled"]]
    row = opened[0].body["fields"][0]
    assert (row["intended"], row["committed"], row["observed"], row["cause"]) == (True, True, False, "drift")
    company.users["priya.raman@corp.example"]["enabled"] = True
    paper.run()
    assert [(t["open"], t["updates"]) for t in company.tickets.values()] == [(False, 1)]
    assert paper.state.ended == "completed"


def test_R05_a_discrepancy_that_stays_is_one_ticket_with_raised_severity() -> None:
    company = Company()
    paper = engine(company).begin(HIRE).run_for(hours=1)
    company.users["priya.raman@corp.example"]["department"] = "Sales"
    paper.run()
    assert [t["updates"] for t in company.tickets.values()] == [2]
    assert [r.body["severity"] for r in of_kind(paper, Kind.DISCREPANCY_UPDATED)] == ["medium"]
    assert paper.state.ended == "completed_with_exceptions"


def test_R04_a_difference_must_outlive_its_settle_time() -> None:
    company = Company()
    paper = engine(company).begin(HIRE).run_for(hours=1)
    user = company.users["priya.raman@corp.example"]
    user["enabled"] = False
    paper.run(until=paper.records[0].at + timedelta(hours=2, minutes=1))
    user["enabled"] = True
    paper.run()
    assert company.tickets == {}
    assert paper.state.ended == "completed"


def test_R06_an_unreadable_system_is_unverified_never_a_match() -> None:
    company = Company()
    paper = engine(company).begin(HIRE).run_for(hours=1)
    paper.world["directory.get_user"] = transient()
    paper.run_for(hours=4)
    verdicts = [r.body["verdict"] for r in of_kind(paper, Kind.CHECK_READ) if r.body["record"] == "directory"]
    assert set(verdicts) == {"unverified"}
    assert len(of_kind(paper, Kind.CASE_OPENED)) == 1


def test_pending_approval_is_reported_as_pending_with_the_person() -> None:
    company = Company()
    company.quote = "3000.00 USD"
    paper = engine(company).begin(HIRE).run_for(hours=3)
    row = next(r for r in of_kind(paper, Kind.CHECK_READ) if r.body["record"] == "itsm")
    assert row.body["verdict"] == "pending"
    assert row.body["waiting_on"] == ["manager_of(subject)"]


def test_I01_a_steps_duration_ends_when_it_is_confirmed_not_when_the_system_answers() -> None:
    company = Company()
    hidden = iter([None] * 4)

    def late(call: ReadCall) -> Any:
        return ok(next(hidden, company.users.get(call.params["upn"])))

    paper = engine(company, directory__get_user=late).begin(HIRE).run_for(minutes=10)
    answered = next(r.at for r in of_kind(paper, Kind.ACT_RESULT) if r.step == "identity")
    done = next(r for r in of_kind(paper, Kind.STEP_DONE) if r.step == "identity")
    assert (done.at - answered).total_seconds() >= 7
    assert done.body["duration_ms"] >= 7000


def test_R10_a_field_that_could_be_healed_is_ticketed_and_nothing_is_repaired() -> None:
    company = Company()
    paper = engine(company).begin(HIRE).run_for(hours=1)
    company.users["priya.raman@corp.example"]["groups"] = []
    before = len(paper.writes())
    paper.run()
    assert set(paper.writes()[before:]) == {"itsm.create_exception"}
    assert company.users["priya.raman@corp.example"]["groups"] == []
