"""Open handoffs: their age, what does not count, and what catches a dead worker."""

from __future__ import annotations

import pytest

from support.onboarding import onboarding_plan
from topstitch.metrics.pending import Pending, candidates, pending, running
from topstitch.model.kinds import Kind
from topstitch.store.measures import AskedRow, Fact
from unit.metrics.kit import MINUTE, START, opened, step

PLANS = {"sha256:test": onboarding_plan()}
DONE = START + MINUTE
IDENTITY = step("identity", "done", START + 1000, DONE)


def ages(*given: object, now: int, facts: tuple[Fact, ...] = ()) -> dict[str, int]:
    found: list[Pending] = pending(given, PLANS, facts, now)  # type: ignore[arg-type]
    return {f"{one.from_step}>{one.to_step}": one.age_ms for one in found}


def test_I07_a_handoff_has_an_age_while_it_is_open() -> None:
    found = ages(opened(IDENTITY), now=DONE + 5 * MINUTE + 1000)
    assert found["identity>equipment"] == 5 * MINUTE + 1000
    assert found["identity>welcome_chat"] == 5 * MINUTE + 1000


def test_I05_a_declared_wait_does_not_count_until_its_deadline() -> None:
    asking = opened(
        IDENTITY,
        step("equipment", "asking"),
        step("crm_assignment", "skipped"),
        step("welcome_chat", "done", DONE, DONE),
    )
    assert "identity>welcome_email" not in ages(asking, now=DONE + 44 * MINUTE)
    assert ages(asking, now=DONE + 46 * MINUTE)["identity>welcome_email"] == MINUTE


def test_I05_a_declared_wait_ends_when_what_it_waits_for_has_settled() -> None:
    settled = opened(IDENTITY, step("equipment", "done", DONE, DONE + 10 * MINUTE), step("crm_assignment", "declined"))
    facts = (Fact("ins_1", Kind.STEP_DECLINED, "crm_assignment", DONE + 12 * MINUTE),)
    assert ages(settled, now=DONE + 15 * MINUTE, facts=facts)["identity>welcome_email"] == 3 * MINUTE


def test_I05_time_in_which_a_person_was_asked_does_not_count() -> None:
    asked = AskedRow("ins_1", "equipment", DONE + MINUTE, DONE + 61 * MINUTE)
    given = opened(IDENTITY, step("equipment", "waiting"), asked=(asked,))
    assert ages(given, now=DONE + 63 * MINUTE)["identity>equipment"] == 3 * MINUTE
    assert "identity>equipment" not in ages(opened(IDENTITY, step("equipment", "asking")), now=DONE + 99 * MINUTE)


def sought(at_ms: int) -> Fact:
    return Fact("ins_1", Kind.APPROVERS_SOUGHT, "equipment", at_ms)


@pytest.mark.parametrize("fact", [Fact("ins_1", Kind.MODE_CHANGED, None, DONE), sought(DONE + 8 * MINUTE)])
def test_what_stops_or_looks_for_people_is_no_handoff(fact: Fact) -> None:
    assert "identity>equipment" not in ages(opened(IDENTITY), now=DONE + 9 * MINUTE, facts=(fact,))


def test_a_worker_that_died_looking_for_people_is_seen() -> None:
    found = ages(opened(IDENTITY), now=DONE + 9 * MINUTE, facts=(sought(DONE + MINUTE),))
    assert found["identity>equipment"] == 9 * MINUTE


def test_I05_people_looked_for_while_others_were_asked_hide_no_handoff() -> None:
    escalation, answered = sought(DONE + 60 * MINUTE), DONE + 61 * MINUTE
    asked = AskedRow("ins_1", "equipment", DONE + MINUTE, answered)
    given = opened(IDENTITY, step("equipment", "waiting"), asked=(asked,))
    assert ages(given, now=answered + 2 * MINUTE, facts=(escalation,))["identity>equipment"] == 3 * MINUTE
    again = (escalation, sought(answered + MINUTE))  # the payload changed, so people are asked anew
    assert "identity>equipment" not in ages(given, now=answered + 2 * MINUTE, facts=again)


def test_I05_while_people_are_asked_an_escalation_opens_no_handoff() -> None:
    asked = AskedRow("ins_1", "equipment", DONE + MINUTE, None)
    given = opened(IDENTITY, step("equipment", "asking"), asked=(asked,))
    assert "identity>equipment" not in ages(given, now=DONE + 99 * MINUTE, facts=(sought(DONE + 60 * MINUTE),))


def test_a_paused_instance_waits_on_purpose() -> None:
    assert ages(opened(IDENTITY, status="paused"), now=DONE + 9 * MINUTE) == {}


def test_a_step_that_has_begun_is_handed_over() -> None:
    assert "identity>equipment" not in ages(opened(IDENTITY, step("equipment", "running", DONE)), now=DONE + 9 * MINUTE)


def test_the_first_steps_are_ready_with_the_context() -> None:
    facts = (
        Fact("ins_1", Kind.STAGE_ENTERED, None, START + 5),
        Fact("ins_1", Kind.STAGE_ENTERED, None, START + MINUTE),
    )
    assert ages(opened(), now=START + 3 * MINUTE, facts=facts) == {"context>identity": 2 * MINUTE}


def test_a_hire_that_nobody_takes_up_is_seen_at_the_first_seam() -> None:
    untouched = opened(stage="trigger", head_seq=1, wake_ms=START)
    (found,) = pending([untouched], PLANS, (), START + 6 * MINUTE)
    assert (found.from_system, found.to_system, found.age_ms) == ("workday", "entra-id", 6 * MINUTE)


def test_a_worker_that_died_holding_an_instance_is_seen_once_its_lease_is_over() -> None:
    leased = opened(stage="context", head_seq=3, lease_ms=START + 30_000)
    assert ages(leased, now=START + 20_000) == {}
    assert ages(leased, now=START + 30_000 + 6 * MINUTE) == {"context>identity": 6 * MINUTE}


def test_the_journals_of_the_oldest_are_asked_first() -> None:
    young = opened(IDENTITY, name="ins_young")
    old = opened(step("identity", "done", START, START), name="ins_old")
    assert candidates([young, old], PLANS, DONE + 5 * MINUTE, MINUTE) == ["ins_old", "ins_young"]
    assert candidates([young], PLANS, DONE + 1000, MINUTE) == []
    assert candidates([opened(IDENTITY, status="paused")], PLANS, DONE + 5 * MINUTE, MINUTE) == []


def test_a_single_execution_under_way_has_an_age() -> None:
    given = opened(IDENTITY, step("equipment", "unknown", DONE), step("welcome_chat", "compensating", DONE))
    assert [(one.step, one.age_ms) for one in running([given], DONE + MINUTE)] == [("equipment", MINUTE)]
