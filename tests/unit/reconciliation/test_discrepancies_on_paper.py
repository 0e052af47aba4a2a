"""The life of a discrepancy through the pure core: healed, waived, accepted, superseded, reopened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, ok, refused, transient, unknown
from support.small import small_plan
from topstitch import lifecycle
from topstitch.foundation.errors import ConflictError, NotAllowedError, RequestError
from topstitch.model.kinds import Kind
from topstitch.model.orders import Outcome, ReadCall
from topstitch.model.record import Actor, ActorKind
from topstitch.plan.plan import Plan
from topstitch.reconciliation import desk

IVO = Actor(ActorKind.HUMAN, "ivo")
UPN = "priya.raman@corp.example"
HEAL = "heal:directory.groups"


def adding(company: Company) -> Any:
    def add(call: Any) -> Any:
        company.users[UPN]["groups"] += call.params["groups"]
        return ok({"user_id": "u1", "groups": company.users[UPN]["groups"]})

    return add


def hired(company: Company, plan: Plan | None = None, **world: Any) -> PaperEngine:
    answers = company.world(**{"directory__add_groups": adding(company), **world})
    return PaperEngine(plan or onboarding_plan(), answers).begin(HIRE).run_for(hours=1)


def drifted(**world: Any) -> tuple[Company, PaperEngine]:
    company = Company()
    paper = hired(company, **world)
    company.users[UPN]["groups"] = []
    return company, paper.run_for(hours=2)


def act(paper: PaperEngine, verb: str, **more: Any) -> PaperEngine:
    found = next(iter(paper.state.discrepancies))
    given = {"actor": IVO, "reason": "because", "now": paper.clock.now(), **more}
    paper._append(desk.act(paper.plan, paper.state, found, verb, **given))
    return paper


def status(paper: PaperEngine) -> list[str]:
    return [found.status.value for found in paper.state.discrepancies.values()]


def kinds(paper: PaperEngine, *wanted: Kind) -> list[Any]:
    return [record for record in paper.records if record.kind in wanted]


def tickets(company: Company) -> list[dict[str, Any]]:
    return list(company.tickets.values())


# --- repairs ----------------------------------------------------------------------------------------------


def test_R10_a_declared_repair_is_proposed_to_the_owner_and_nothing_is_written_until_somebody_approves() -> None:
    _, paper = drifted()
    assert status(paper) == ["healing"]
    assert "directory.add_groups" not in paper.writes()
    asked = kinds(paper, Kind.APPROVAL_ASKED)[-1]
    assert asked.step == HEAL
    proposed = kinds(paper, Kind.HEAL_PROPOSED)[0]
    assert proposed.body["payload"] == {"user_id": "u1", "groups": paper.state.context["profile"]["groups"]}
    assert proposed.body["mode"] == "propose"


def test_R10_an_approved_repair_is_an_ordinary_write_with_grant_intent_and_a_read_that_judges_it() -> None:
    company, paper = drifted()
    paper.decide(HEAL, "approve", "owner").run_for(minutes=30)
    intents = [r for r in kinds(paper, Kind.ACT_INTENT) if r.step == HEAL]
    assert len(intents) == 1
    assert intents[0].body["grant"]["by"] == "human:owner"
    assert intents[0].body["payload_digest"] == kinds(paper, Kind.HEAL_PROPOSED)[0].body["payload_digest"]
    assert status(paper) == ["resolved"]
    assert [ticket["open"] for ticket in tickets(company)] == [False]
    assert paper.run().state.ended == "completed"


@pytest.mark.parametrize("said", ["refuse", None])
def test_a_repair_that_nobody_wants_leaves_the_ticket_and_never_turns_the_instance(said: str | None) -> None:
    company, paper = drifted()
    if said:
        paper.decide(HEAL, said, "owner")
    paper.run()
    assert "directory.add_groups" not in paper.writes()
    assert status(paper) == ["ticketed"]
    assert paper.state.ended == "completed_with_exceptions"
    assert [ticket["open"] for ticket in tickets(company)] == [True]
    assert kinds(paper, Kind.HEAL_REFUSED)[0].body["because"] == "it was declined"
    assert not kinds(paper, Kind.MODE_CHANGED)


def test_a_repair_is_tried_once_by_us_and_again_only_when_a_person_asks() -> None:
    company, paper = drifted(directory__add_groups=refused())
    paper.decide(HEAL, "approve", "owner").run_for(hours=1)
    assert status(paper) == ["ticketed"]
    assert paper.writes().count("directory.add_groups") == 1
    paper.world["directory.add_groups"] = adding(company)
    act(paper, "repair").run_for(minutes=1)
    with pytest.raises(ConflictError, match="topstitch approvals approve"):
        act(paper, "repair")
    paper.decide(HEAL + "~2", "approve", "owner").run_for(hours=1)
    assert status(paper) == ["resolved"]


@pytest.mark.parametrize("answer", [transient(), unknown()], ids=["busy", "unknown"])
def test_a_repair_that_the_system_does_not_take_at_once_is_not_sent_again_and_a_read_says_what_became_of_it(
    answer: Outcome,
) -> None:
    company, paper = drifted(directory__add_groups=answer)
    paper.decide(HEAL, "approve", "owner").run_for(hours=6)
    assert paper.writes().count("directory.add_groups") == 1
    assert status(paper) == ["ticketed"]
    assert [ticket["open"] for ticket in tickets(company)] == [True]
    assert kinds(paper, Kind.HEAL_REFUSED)[-1].body["because"]


def test_a_repair_that_an_engine_did_not_survive_is_found_out_and_judged_by_a_read() -> None:
    company, paper = drifted()
    paper.decide(HEAL, "approve", "owner")
    orders = lifecycle.decide(paper.plan, paper.state, paper.clock.now())
    paper._append(list(orders.records))
    assert [call.key for call in orders.calls if "/send/" in call.key] == [f"{HEAL}/send/1"]
    paper.answer(next(call for call in orders.calls if "/send/" in call.key))  # it arrived, and nobody heard
    paper.run_for(hours=1)
    assert status(paper) == ["resolved"]
    assert len({r.body["key"] for r in kinds(paper, Kind.ACT_INTENT) if r.step == HEAL}) == 1
    assert [ticket["open"] for ticket in tickets(company)] == [False]


def test_a_repair_is_withdrawn_when_its_step_is_undone() -> None:
    _, paper = drifted()
    command = lifecycle.Command(name="cancel", reason="wrong person", choice="rollback")
    paper._append(lifecycle.operate(paper.plan, paper.state, command, IVO, paper.clock.now()))
    paper.run_for(hours=1)
    assert kinds(paper, Kind.APPROVAL_CLOSED)[-1].body["ending"] == "withdrawn"
    assert paper.state.heals[HEAL].status == "not_run"
    paper.run()
    assert paper.state.ended == "rolled_back_with_exceptions"
    assert "directory.add_groups" not in paper.writes()
    assert {r.body["verdict"] for r in kinds(paper, Kind.CHECK_READ) if r.body["check"] == "T+24h"} <= {
        "match",
        "nothing_expected",
    }


def test_in_bulk_drift_nothing_is_repaired_and_a_case_says_so() -> None:
    _, paper = drifted(drift=ok({"same": 6, "of": 100}))
    assert kinds(paper, Kind.HEAL_REFUSED)[0].body["same"] == 6
    assert not kinds(paper, Kind.HEAL_PROPOSED)
    assert kinds(paper, Kind.CASE_OPENED)[-1].body["cause"] == "bulk-drift"
    paper.run()
    assert "directory.add_groups" not in paper.writes()


def test_six_in_a_thousand_are_no_bulk() -> None:
    _, paper = drifted(drift=ok({"same": 6, "of": 1000}))
    assert kinds(paper, Kind.HEAL_PROPOSED)


def test_a_repair_that_is_needed_no_more_is_withdrawn() -> None:
    company, paper = drifted()
    company.users[UPN]["groups"] = list(paper.state.context["profile"]["groups"])
    act(paper, "recheck").run_for(minutes=10)
    assert status(paper) == ["resolved"]
    assert paper.state.heals[HEAL].status == "not_run"
    assert kinds(paper, Kind.APPROVAL_CLOSED)[-1].body["ending"] == "withdrawn"
    assert paper.run().state.ended == "completed"


# --- what people do ---------------------------------------------------------------------------------------


def test_R05_a_recheck_reads_now_and_closes_the_ticket_when_it_agrees() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run_for(hours=2)
    company.users[UPN]["enabled"] = True
    reads = len([c for _, c in paper.log if isinstance(c, ReadCall)])
    act(paper, "recheck")
    paper.activate()
    assert len([c for _, c in paper.log if isinstance(c, ReadCall)]) == reads + 1
    assert status(paper) == ["resolved"]
    assert [ticket["open"] for ticket in tickets(company)] == [False]
    said = kinds(paper, Kind.OPERATOR_COMMANDED)[0]
    assert (said.actor, said.body["command"], said.body["reason"]) == (IVO, "recheck", "because")


def test_a_recheck_carries_an_instance_on_that_has_ended() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run()
    assert paper.state.ended == "completed_with_exceptions"
    company.users[UPN]["enabled"] = True
    act(paper, "recheck").run()
    assert paper.state.ended == "completed"


def test_a_waiver_keeps_the_instance_open_until_its_end_and_then_reads_again() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run_for(hours=2)
    until = paper.clock.now() + timedelta(days=10)
    act(paper, "waive", until=until)
    updates = tickets(company)[0]["updates"]
    paper.run_for(days=9)
    assert status(paper) == ["waived"]
    assert tickets(company)[0]["updates"] == updates
    paper.run()
    assert status(paper) == ["ticketed"]
    assert paper.clock.now() - until < timedelta(hours=1)
    assert kinds(paper, Kind.DISCREPANCY_REOPENED)[0].body["times"] == 1
    assert len(tickets(company)) == 1
    assert tickets(company)[0]["updates"] == updates + 1


def test_a_waiver_whose_difference_is_gone_at_its_end_resolves() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run_for(hours=2)
    act(paper, "waive", until=paper.clock.now() + timedelta(days=3)).run_for(days=2)
    company.users[UPN]["enabled"] = True
    assert paper.run().state.ended == "completed"


def test_what_is_accepted_is_right_from_then_on_until_it_changes_again() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["department"] = "Research"
    paper.run_for(hours=2)
    act(paper, "accept").run_for(minutes=1)
    assert status(paper) == ["accepted"]
    assert [ticket["open"] for ticket in tickets(company)] == [False]
    company.users[UPN]["department"] = "Somewhere else"
    paper.run()
    assert status(paper) == ["ticketed"]
    assert len(tickets(company)) == 1


def test_what_was_accepted_agrees_at_the_next_check() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["department"] = "Research"
    paper.run_for(hours=2)
    assert act(paper, "accept").run().state.ended == "completed"
    last = [r for r in kinds(paper, Kind.CHECK_READ) if r.body["record"] == "directory"][-1]
    assert last.body["verdict"] == "match"
    assert next(f["cause"] for f in last.body["fields"] if f["field"] == "department") == "accepted"


def test_an_act_needs_a_reason_an_end_and_a_person() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run_for(hours=2)
    with pytest.raises(RequestError, match="why"):
        act(paper, "accept", reason=" ")
    with pytest.raises(RequestError, match="--until"):
        act(paper, "waive")
    with pytest.raises(RequestError, match="366 days"):
        act(paper, "waive", until=paper.clock.now() + timedelta(days=400))
    with pytest.raises(ConflictError, match="no repair is declared"):
        act(paper, "repair")
    with pytest.raises(NotAllowedError, match="a person has to"):
        act(paper, "accept", actor=Actor(ActorKind.AGENT, "bot"))
    act(paper, "accept")
    with pytest.raises(ConflictError, match="accepted already"):
        act(paper, "waive", until=paper.clock.now() + timedelta(days=1))


# --- one ticket -------------------------------------------------------------------------------------------

TWO_RECORDS = """
reconcile:
  at: [T+2h, T+24h]
  records:
    account:
      covers: identity
      read: directory.get_user
      with: {upn: priya}
      expect: [{field: enabled, equals: "= true", severity: low}]
    groups:
      covers: identity
      read: directory.get_user
      with: {upn: priya}
      expect: [{field: groups, includes: [staff], severity: high}]
  on_difference:
    do: itsm.create_exception
    with:
      process: = process.id
      summary: "${difference.system}: ${difference.field}"
      severity: = difference.severity
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {all: {steps: [FIRST], within: 30d}}
"""
ONE_STEP = """
  identity:
    title: Account
    do: directory.create_user
    with: {upn: priya, display_name: P, department: = trigger.department, groups: [staff], licenses: []}
    expect: {none: the test looks itself}
    rollback: {none: it stays}
"""


def small(company: Company, tail: str, **world: Any) -> PaperEngine:
    plan = small_plan(ONE_STEP, tail=tail)
    return PaperEngine(plan, company.world(**world)).begin(HIRE).run_for(hours=1)


def test_R05_two_records_of_one_system_share_one_ticket_that_is_closed_after_the_last() -> None:
    company = Company()
    paper = small(company, TWO_RECORDS)
    user = company.users["priya"]
    user |= {"enabled": False, "groups": []}
    paper.run_for(hours=2)
    assert len(tickets(company)) == 1
    payloads = [r.body["payload"] for r in kinds(paper, Kind.ACT_PROPOSED) if r.body["purpose"] == "ticket"]
    assert payloads[-1]["summary"].endswith("groups, enabled")
    assert {p["severity"] for p in payloads[1:]} == {"high"}
    user["enabled"] = True
    act(paper, "recheck").run_for(minutes=10)
    assert sorted(status(paper)) == ["resolved", "ticketed"]
    assert tickets(company)[0]["open"]
    user["groups"] = ["staff"]
    assert paper.run().state.ended == "completed"
    assert not tickets(company)[0]["open"]


def test_R05_a_difference_that_comes_back_reopens_the_one_it_had_been() -> None:
    company = Company()
    paper = hired(company)
    company.users[UPN]["enabled"] = False
    paper.run_for(hours=2)
    company.users[UPN]["enabled"] = True
    act(paper, "recheck").run_for(minutes=10)
    company.users[UPN]["enabled"] = False
    paper.run()
    assert len(paper.state.discrepancies) == 1
    assert len(tickets(company)) == 1
    assert next(iter(paper.state.discrepancies.values())).times == 1


def test_R09_an_amount_that_is_off_by_a_cent_is_found_at_the_first_check() -> None:
    tail = TWO_RECORDS.replace(
        "      read: directory.get_user\n      with: {upn: priya}",
        "      read: crm.get_assignment\n      with: {user_id: u1}",
    )
    tail = tail.replace(
        '{field: enabled, equals: "= true", severity: low}', '{field: quota, equals: "100.00 USD", severity: high}'
    )
    tail = tail.replace(
        "{field: groups, includes: [staff], severity: high}",
        '{field: quota, equals: "100.00 USD", within: "0.01 USD", severity: high}',
    )
    company = Company()
    paper = small(company, tail, crm__get_assignment=ok({"user_id": "u1", "quota": "100.01 USD", "found": True}))
    start = paper.state.started_at
    paper.run_for(hours=2)
    opened = kinds(paper, Kind.DISCREPANCY_OPENED)
    assert [r.body["record"] for r in opened] == ["account"]
    assert start is not None
    assert opened[0].at - start == timedelta(hours=2, minutes=5)


def test_R09_the_third_run_is_before_the_period_ends() -> None:
    company = Company()
    paper = small(company, TWO_RECORDS.replace("T+24h]", "T+24h, month_end]"))
    paper.run()
    began = [(r.body["check"], r.at) for r in kinds(paper, Kind.CHECK_BEGAN)]
    assert [name for name, _ in began] == ["T+2h", "T+24h", "month_end"]
    assert (began[-1][1] + timedelta(days=1)).day == 1


# --- whose word counts ------------------------------------------------------------------------------------

AUTHORITY = """
context:
  worker: {read: hris.get_worker, with: {worker_id: = trigger.employee_id}}
steps:
""" + ONE_STEP.replace("= trigger.department", "= context.worker.department")
FOLLOWING = """
reconcile:
  at: [T+2h, T+24h]
  records:
    account:
      covers: identity
      read: directory.get_user
      with: {upn: priya}
      expect:
        - field: department
          equals: = context.worker.department
          severity: low
          authority: hris
          heal: directory.add_groups
          heal_with: {user_id: u1, groups: [staff]}
  on_difference:
    do: itsm.create_exception
    with: {process: = process.id, summary: differs, severity: = difference.severity}
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {all: {steps: [identity], within: 30d}}
"""


def following(company: Company, source: dict[str, Any]) -> PaperEngine:
    from support.contracts import CONTRACTS
    from support.small import HEAD
    from topstitch.language.load import load
    from topstitch.language.schema import Workflow
    from topstitch.plan.compile import compile_plan

    document = load(HEAD + AUTHORITY + FOLLOWING, "small.yaml")
    plan = compile_plan(Workflow.model_validate(document.data), CONTRACTS, "sha256:following")
    worker = {
        "worker_id": "W",
        "name": "P",
        "first_name": "P",
        "last_name": "R",
        "email": "p@x.example",
        "active": True,
    }
    source |= worker
    world = company.world(hris__get_worker=lambda _c: ok(source))
    return PaperEngine(plan, world).begin(HIRE).run_for(hours=1)


def test_a_source_that_moved_on_is_superseded_and_no_alarm() -> None:
    company, source = Company(), {"department": "Sales"}
    paper = following(company, source)
    source["department"] = "Research"
    paper.run()
    assert status(paper) == ["superseded"]
    assert tickets(company) == []
    assert paper.state.ended == "completed"
    said = kinds(paper, Kind.DISCREPANCY_SUPERSEDED)[0].body["tell"][0]
    assert said["who"] == ["owner"]


def test_a_system_that_followed_its_source_agrees() -> None:
    company, source = Company(), {"department": "Sales"}
    paper = following(company, source)
    source["department"] = "Research"
    company.users["priya"]["department"] = "Research"
    assert paper.run().state.ended == "completed"
    read = kinds(paper, Kind.CHECK_READ)[0].body
    assert read["fields"][0]["cause"] == "followed"


def test_both_moved_is_the_highest_severity_and_never_repaired_against_the_one_whose_word_counts() -> None:
    company, source = Company(), {"department": "Sales"}
    paper = following(company, source)
    source["department"] = "Research"
    company.users["priya"]["department"] = "Elsewhere"
    paper.run()
    assert kinds(paper, Kind.DISCREPANCY_OPENED)[0].body["severity"] == "high"
    assert "the word of hris counts" in kinds(paper, Kind.HEAL_REFUSED)[0].body["because"]


def test_a_source_that_cannot_be_asked_leaves_what_it_said_before() -> None:
    company, source = Company(), {"department": "Sales"}
    paper = following(company, source)
    paper.world["hris.get_worker"] = transient()
    company.users["priya"]["department"] = "Elsewhere"
    paper.run()
    assert kinds(paper, Kind.SOURCE_READ)[0].body["problem"]
    assert kinds(paper, Kind.DISCREPANCY_OPENED)[0].body["fields"][0]["cause"] == "drift"


def test_the_state_folded_from_the_journal_is_the_state_that_was_decided_on() -> None:
    _, paper = drifted()
    paper.decide(HEAL, "approve", "owner").run()
    state = lifecycle.initial(paper.plan, "ins_1")
    for record in paper.records:
        state = lifecycle.fold(paper.plan, state, record)
    assert state == paper.state
