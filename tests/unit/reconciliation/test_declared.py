"""What a definition may declare of repairs and of the system whose word counts."""

from __future__ import annotations

import pytest

from support.contracts import CONTRACTS
from support.definitions import onboarding_text
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.action import ActionContract, Effect, SystemContract
from topstitch.plan.compile import compile_plan

GROUPS = "heal: directory.add_groups}"


ORDERS = {
    "total": {"type": "string", "format": "money"},
    "due": {"type": "string", "format": "date"},
    "sent_at": {"type": "string", "format": "date-time"},
    "lines": {"type": "integer"},
    "state": {"type": "string"},
}
GET_ORDER = ActionContract(
    name="get_order",
    effect=Effect.READ,
    input={"type": "object", "properties": {"order_no": {"type": "string"}}},
    output={"type": "object", "properties": ORDERS},
)
ORDERING = SystemContract(name="orders", major=1, title="Orders", actions={"get_order": GET_ORDER})


def findings(text: str) -> list[str]:
    return [finding.message for finding in check(load(text, "x.yaml"), CONTRACTS).findings]


def compared_with(rule: str) -> list[str]:
    """Return what is said of the onboarding when it also compares an order by this rule."""
    record = f"    orders: {{covers: identity, read: orders.get_order, with: {{order_no: O-1}}, expect: [{rule}]}}\n"
    text = onboarding_text().replace("  records:\n", "  records:\n" + record, 1)
    text = text.replace("  chat:      slack@1\n", "  chat:      slack@1\n  orders: orders@1\n", 1)
    return [found.message for found in check(load(text, "x.yaml"), {**CONTRACTS, "orders@1": ORDERING}).findings]


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


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{field: total, equals: 5 USD, severity: low, within: 0.01 USD}", None),
        ('{field: total, equals: 5 USD, severity: low, within: "0.01"}', "'within' wants money here"),
        ('{field: due, equals: "2026-01-05", severity: low, within: 2d}', None),
        ('{field: due, equals: "2026-01-05", severity: low, within: 5m}', "'within' wants whole days here"),
        ('{field: sent_at, equals: "2026-01-05T09:00:00Z", severity: low, within: 5m}', None),
        ('{field: sent_at, equals: "2026-01-05T09:00:00Z", severity: low, within: "5"}', "wants a duration here"),
        ('{field: lines, equals: 3, severity: low, within: "1"}', None),
        ("{field: lines, equals: 3, severity: low, within: 1d}", "'within' wants a number here"),
        ("{field: state, equals: open, severity: low, within: 1d}", "nothing is nearly equal to text"),
    ],
)
def test_R02_a_tolerance_fits_the_field_that_it_is_for(rule: str, said: str | None) -> None:
    told = compared_with(rule)
    assert told == [] if said is None else any(said in message for message in told), told


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
