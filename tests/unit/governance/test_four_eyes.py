"""Four eyes: what takes control away or writes at high risk needs a second person; words and patience do not."""

from __future__ import annotations

import pytest

from support.contracts import CONTRACTS
from support.definitions import spoiled, workflow
from topstitch.governance.bundle import Bundle
from topstitch.governance.bundle_files import read_bundle
from topstitch.governance.four_eyes import why_two, why_two_for_policy
from topstitch.language.diff import diff
from topstitch.plan.compile import compile_plan

AUTO = 'auto_when: context.quote.total.under("2500 USD")'
REST = '        remind: 4h\n        escalate: [{after: 24h, to: "group:people-operations"}]'
LATER = ("version: 1.0.0", "version: 2.0.0")


def why(*changes: tuple[str, str], environment: str = "test") -> tuple[str, ...]:
    new = workflow(spoiled(LATER, *changes))
    return why_two(diff(workflow(), new), compile_plan(new, CONTRACTS, "sha256:new"), environment)


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
    assert why_two(None, plan, "test") == ("'CRM team assignment' writes with risk 3",)


def test_G05_in_production_every_definition_is_put_in_force_by_two() -> None:
    words = why(("title: CRM team assignment", "title: Team in the CRM"), environment="prod")
    assert words == ("putting a definition in force in prod is an act of risk 3 itself",)
    assert why(("title: CRM team assignment", "title: Team in the CRM"), environment="staging") == ()


# --- Policies --------------------------------------------------------------------------------------

POLICY = """policy: people
version: 1.0.0
owner: {team: controls}
hard:
  - id: freeze
    when: calendar.freeze
    deny: "Change freeze"
soft:
  - id: costly
    when: step.risk >= 2
    approve: {from: "group:finance", quorum: 2, evidence: ticket}
  - id: told
    when: step.risk == 1
    notify: owner
asking: {refused: stop, unanswered: stop}
defaults: {tier_1: auto, tier_2: auto, tier_3: approve(owner), tier_4: "approve(group:controls, 2)"}
tests: [{given: {step: {risk: 4}}, then: "approve(group:controls, 2)"}]
"""


def bundle(*changes: tuple[str, str]) -> Bundle:
    text = POLICY.replace("1.0.0", "1.1.0") if changes else POLICY
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    made, findings = read_bundle({"policy.yaml": text})
    assert made is not None, findings
    return made


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('  - id: freeze\n    when: calendar.freeze\n    deny: "Change freeze"\n', "", "the hard rule freeze is gone"),
        ("when: calendar.freeze", "when: calendar.freeze && step.risk > 3", "freeze fired when"),
        ("when: step.risk >= 2", "when: step.risk >= 3", "costly fired when"),
        ("quorum: 2, evidence", "quorum: 1, evidence", "costly asked for"),
        (", evidence: ticket", "", "costly asked for"),
        ('"group:finance"', "owner", "costly asked for"),
        ('approve: {from: "group:finance", quorum: 2, evidence: ticket}', "notify: owner", "costly asked for"),
        ("tier_3: approve(owner)", "tier_3: auto", "tier 3 asked for approve(owner) and would ask for auto"),
        ("unanswered: stop", "unanswered: continue", "what is unanswered led to 'stop' and would lead to 'continue'"),
    ],
)
def test_G05_a_policy_that_may_demand_less_needs_a_second_person(before: str, after: str, said: str) -> None:
    assert any(said in reason for reason in why_two_for_policy(bundle(), bundle((before, after))))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Change freeze", "No changes until the year has ended"),
        ("tier_1: auto", "tier_1: approve(owner)"),
        ("quorum: 2, evidence", "quorum: 3, evidence"),
        ("    notify: owner", "    notify: [owner, requester]"),
        ("soft:\n", "soft:\n  - {id: more, when: step.risk == 3, approve: {from: owner}}\n"),
    ],
)
def test_a_policy_that_only_tightens_needs_one(before: str, after: str) -> None:
    assert why_two_for_policy(bundle(), bundle((before, after))) == ()


def test_a_first_policy_needs_one_because_it_can_only_add() -> None:
    assert why_two_for_policy(None, bundle()) == ()


def test_a_rule_that_denied_and_now_asks_needs_a_second_person() -> None:
    rule = '  - id: freeze\n    when: calendar.freeze\n    deny: "Change freeze"\n'
    soft = "soft:\n  - id: freeze\n    when: calendar.freeze\n    approve: {from: owner}\n"
    assert any(
        "deny no longer" in one
        for one in why_two_for_policy(bundle(), bundle((f"hard:\n{rule}", ""), ("soft:\n", soft)))
    )
