"""Four eyes: what takes control away or writes at high risk needs a second person; words and patience do not."""

from __future__ import annotations

import pytest

from support.contracts import CONTRACTS
from support.definitions import spoiled, workflow
from topstitch.governance.four_eyes import why_two
from topstitch.language.diff import diff
from topstitch.plan.compile import compile_plan

AUTO = 'auto_when: context.quote.total.under("2500 USD")'
REST = '        remind: 4h\n        escalate: [{after: 24h, to: "group:people-operations"}]'
LATER = ("version: 1.0.0", "version: 2.0.0")


def why(*changes: tuple[str, str]) -> tuple[str, ...]:
    new = workflow(spoiled(LATER, *changes))
    return why_two(diff(workflow(), new), compile_plan(new, CONTRACTS, "sha256:new"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (AUTO, AUTO.replace("2500", "9000"), "9000"),
        (f"from: manager_of(subject)\n{REST}", f"from: group:anybody\n{REST}", "asks"),
        ("role: = context.profile.crm_role", "role: = context.profile.territory", "writes with risk 3"),
        ("    needs: [identity]\n    risk: 2", "    needs: [identity]\n    risk: 1", "has risk 1"),
    ],
)
def test_G05_less_control_and_high_risk_writes_need_a_second_person(before: str, after: str, said: str) -> None:
    assert any(said in reason for reason in why((before, after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("title: CRM team assignment", "title: Team in the CRM"),
        ("location: = trigger.location", "location: = trigger.department"),
    ],
)
def test_words_and_small_risks_do_not(before: str, after: str) -> None:
    assert why((before, after)) == ()


def test_a_first_version_that_writes_at_high_risk_does() -> None:
    plan = compile_plan(workflow(), CONTRACTS, "sha256:first")
    assert why_two(None, plan) == ("'CRM team assignment' writes with risk 3",)
