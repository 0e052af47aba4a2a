"""What a definition may declare of repairs and of the system whose word counts."""

from __future__ import annotations

import pytest

from support.contracts import CONTRACTS
from support.definitions import onboarding_text
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.plan.compile import compile_plan

GROUPS = "heal: directory.add_groups}"


def findings(text: str) -> list[str]:
    return [finding.message for finding in check(load(text, "x.yaml"), CONTRACTS).findings]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (GROUPS, "authority: hris, heal: directory.add_groups}", "the word of hris counts for 'groups'"),
        (GROUPS, "authority: nobody, heal: directory.add_groups}", "there is no system 'nobody'"),
        (GROUPS, "heal: directory.get_user}", "directory.get_user only reads"),
    ],
)
def test_a_repair_that_could_not_be_is_refused_when_it_is_written(before: str, after: str, said: str) -> None:
    text = onboarding_text()
    assert before in text
    told = findings(text.replace(before, after, 1))
    assert any(said in message for message in told), told


def test_what_is_declared_reaches_the_plan() -> None:
    followed = "equals: = context.profile.territory, severity: low, authority: hris}"
    text = onboarding_text().replace("at: [T+2h, T+24h]", "at: [T+24h, month_end, T+2h]", 1)
    text = text.replace("equals: = trigger.department, severity: low}", followed, 1)
    document = load(text, "x.yaml")
    plan = compile_plan(Workflow.model_validate(document.data), CONTRACTS, "sha256:x")
    assert [name for name, _ in plan.reconcile.at] == ["T+2h", "T+24h"]
    assert plan.reconcile.month_end
    rule = next(f for r in plan.reconcile.records for f in r.fields if f.field == "department")
    assert (rule.authority, rule.sources) == ("hris", ("profile",))
