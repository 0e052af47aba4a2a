"""Every kind of record either has a sentence or is evidence only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.onboarding import onboarding_plan
from topstitch import lifecycle
from topstitch.cli.tale import _SENTENCES, Teller
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Record, Stage

EVIDENCE = {
    Kind.HOLD_ENDED,
    Kind.KEY_ROTATED,
    Kind.KEY_LOST,
    Kind.HOLD_PLACED,
    Kind.HOLD_LIFTED,
    Kind.DELEGATION_GRANTED,
    Kind.DELEGATION_ENDED,
    Kind.AGENT_CHANGED,
    Kind.CALENDAR_LOADED,
    Kind.SECRET_CHANGED,
    Kind.ACCESS_CHANGED,
    Kind.PUBLISH_PROPOSED,
    Kind.PUBLISH_SETTLED,
    Kind.SOURCE_READ,
    Kind.CONTEXT_READ,
    Kind.CONTEXT_SKIPPED,
    Kind.APPROVERS_SOUGHT,
    Kind.ACT_PROPOSED,
    Kind.ACT_INTENT,
    Kind.ACT_IN_DOUBT,
    Kind.ACT_READ_BACK,
    Kind.ACT_QUIESCED,
    Kind.TASK_CLOSED,
    Kind.STEP_UNDO_OPEN,
    Kind.SIGNAL_OFFERED,
    Kind.WAIT_LOOKED,
    Kind.WAIT_EXPIRED,
    Kind.CHILD_STARTED,
    Kind.CHILD_ENDED,
    Kind.REPORTED,
    Kind.CASE_CLOSED,
    Kind.DISCREPANCY_OPENED,
    Kind.DISCREPANCY_UPDATED,
    Kind.ERASED,
    Kind.PLAN_MOVED,
}


def test_no_kind_is_forgotten():
    assert set(Kind) - set(_SENTENCES) == EVIDENCE


def told(kind: Kind, step: str | None, **body: Any) -> str | None:
    at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    record = Record(
        instance="ins_1", seq=1, kind=kind, at=at, actor=ENGINE, stage=Stage.EXECUTION, step=step, body=body
    )
    return Teller(onboarding_plan()).sentence(record)


def test_a_decision_says_which_condition_is_false_and_what_it_read():
    because = [{"condition": 'context.quote.total.under("2500 USD")', "read": {"context.quote.total": "2500.00 USD"}}]
    assert told(Kind.DECISION, "equipment", outcome="approve", because=because) == (
        "Equipment request needs a person's decision: "
        'context.quote.total.under("2500 USD") is false (context.quote.total = 2500.00 USD)'
    )
    assert told(Kind.DECISION, "equipment", outcome="auto", because=because) is None


@pytest.mark.parametrize(
    ("record", "shown"), [("INC0010001", " (INC0010001)"), ("47a145b8-976d-4183-ab17-c294f3da48a6", ""), (None, "")]
)
def test_a_record_is_named_where_a_person_would_know_the_name(record: str | None, shown: str):
    assert told(Kind.STEP_DONE, "equipment", system="itsm", record=record) == (
        f"Equipment request is done and read back from ServiceNow{shown}"
    )


def test_a_notice_says_what_it_is_about():
    notice = {"ok": True, "notice": {"kind": "done"}, "people": [{"name": "Helena Novak"}], "who": ["requester"]}
    assert told(Kind.TOLD, None, about="equipment", **notice) == (
        "a notice about Equipment request goes to Helena Novak"
    )
    assert told(Kind.TOLD, None, about="@elsewhere", **notice) == "a notice goes to Helena Novak"


@pytest.mark.parametrize(
    ("waiting_on", "sentence"),
    [
        (["Mei Tanaka"], "ServiceNow is not compared yet: it waits for Mei Tanaka"),
        (["group:it-ops"], "ServiceNow is not compared yet: it waits for it-ops"),
        (["Equipment request"], None),
    ],
)
def test_a_check_names_the_people_that_it_waits_for_and_only_counts_steps_whose_turn_has_not_come(
    waiting_on: list[str], sentence: str | None
):
    assert told(Kind.CHECK_READ, "equipment", system="itsm", verdict="pending", waiting_on=waiting_on) == sentence


@pytest.mark.parametrize(("check", "said"), [("T+2h", "at T+2h"), ("executed+2h", "2h after the last step")])
def test_a_check_says_when_it_is_due(check: str, said: str):
    sentence = told(Kind.CHECK_BEGAN, None, check=check, late=False)
    assert sentence == f"the check {said} begins: every system is read again"


def test_an_end_tells_what_stays_and_what_perhaps_does():
    residue = [
        {"step": "identity", "system": "directory", "why": "cannot be undone, as declared"},
        {"step": "equipment", "system": "itsm", "why": lifecycle.LEFT["unknown"]},
    ]
    said = told(Kind.ENDED, None, end="cancelled", residue=residue)
    assert said == "ended: cancelled; what stays: identity, equipment (perhaps)"
