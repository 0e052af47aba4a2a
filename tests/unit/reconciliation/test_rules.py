"""What counts as the same: each rule, and the forms in which systems write one thing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.errors import ConflictError
from topstitch.language.expressions import compile_template
from topstitch.model.state import OVER, DiscrepancyStatus
from topstitch.plan.plan import FieldPlan
from topstitch.reconciliation.compare import cause, holds
from topstitch.reconciliation.decide import last_day_of_month
from topstitch.reconciliation.life import MOVES, Move, next_status


def rule(kind: str, **more: Any) -> FieldPlan:
    given: dict[str, Any] = {"tolerance": None, "ignore_case": False, "authority": None, "format": None, **more}
    return FieldPlan(
        field="x", rule=kind, expected=compile_template(None), severity="high", heal=None, heal_auto=False, **given
    )


@pytest.mark.parametrize(
    ("kind", "more", "expected", "observed", "same"),
    [
        ("equals", {}, "Sales", " Sales ", True),
        ("equals", {}, "Sales", "sales", False),
        ("equals", {"ignore_case": True}, "Sales", "SALES", True),
        ("equals", {}, True, True, True),
        ("equals", {}, True, None, False),
        ("equals", {}, None, None, True),
        ("equals", {}, ["a", "b"], ["b", "a"], True),
        ("equals", {}, ["a"], ["a", "b"], False),
        ("equals", {}, ["a", "a"], ["a", "b"], False),
        ("equals", {}, ["a", "b"], ["a", "a"], False),
        ("equals", {"ignore_case": True}, ["A", "b"], ["B", "a"], True),
        ("equals", {}, True, 1, False),
        ("equals", {}, 0, False, False),
        ("equals", {}, 3, 3.0, True),
        ("equals", {}, {"a": 1}, {"a": 1}, True),
        ("equals", {"format": "money"}, "100.00 USD", "100 USD", True),
        ("equals", {"format": "money"}, "100.00 USD", "100.01 USD", False),
        ("equals", {"format": "money"}, "100.00 USD", "100.00 EUR", False),
        ("equals", {"format": "money", "tolerance": "0.01 USD"}, "100.00 USD", "100.01 USD", True),
        ("equals", {"format": "money", "tolerance": "0.01 USD"}, "100.00 USD", "99.98 USD", False),
        ("equals", {"format": "money", "tolerance": "5 USD"}, "100.00 EUR", "101.00 EUR", False),
        ("equals", {"format": "money", "tolerance": "5"}, "100.00 EUR", "101.00 EUR", False),
        ("equals", {"format": "money"}, "100.00 EUR", "gone", False),
        ("equals", {"tolerance": "0.5"}, 3, 3.4, True),
        ("equals", {"tolerance": "0.5"}, 3, "n/a", False),
        ("equals", {"tolerance": "0.5"}, True, 1, False),
        ("equals", {"tolerance": "0.5"}, 3, 3.6, False),
        ("equals", {"format": "date"}, "2026-01-05", "2026-01-05T00:00:00Z", True),
        ("equals", {"format": "date"}, "2026-01-05", "2026-01-06", False),
        ("equals", {"format": "date", "tolerance": "2d"}, "2026-02-27", "2026-03-01", True),
        ("equals", {"format": "date", "tolerance": "2d"}, "2026-02-27", "2026-03-02", False),
        ("equals", {"format": "date", "tolerance": "5 USD"}, "2026-02-27", "2026-02-28", False),
        ("equals", {"format": "date"}, "2026-01-05", "soon", False),
        ("equals", {"format": "date-time"}, "2026-01-05T10:00:00Z", "2026-01-05T11:00:00+01:00", True),
        ("equals", {"format": "date-time", "tolerance": "5m"}, "2026-01-05T10:00:00Z", "2026-01-05T10:04:00Z", True),
        ("equals", {"format": "date-time", "tolerance": "5m"}, "2026-01-05T10:00:00Z", "2026-01-05T10:06:00Z", False),
        ("includes", {}, ["a"], ["b", "a"], True),
        ("includes", {}, [], ["b"], True),
        ("includes", {}, ["a"], None, False),
        ("includes", {"ignore_case": True}, ["A"], ["a"], True),
        ("includes", {}, ["a", "c"], ["b", "a"], False),
        ("includes", {}, "a", ["a"], True),
        ("one_of", {}, ["sent", "delivered"], "sent", True),
        ("one_of", {}, ["sent", "delivered"], "bounced", False),
        ("one_of", {}, ["sent"], None, False),
        ("one_of", {"format": "money"}, ["5 USD", "6.0 USD"], "6 USD", True),
        ("one_of", {"ignore_case": True}, ["Sent"], "SENT", True),
        ("matches", {}, "[a-z]+@acme", "dana@acme", True),
        ("matches", {}, "[a-z]+@acme", "Dana@acme", False),
        ("matches", {"ignore_case": True}, "[a-z]+@acme", "Dana@acme", True),
        ("matches", {}, "[a-z]+", None, False),
        ("absent", {}, True, None, True),
        ("absent", {}, True, [], True),
        ("absent", {}, True, "there", False),
        ("absent", {}, False, "there", True),
        ("absent", {}, False, "", False),
    ],
)
def test_R02_each_rule_and_each_form_of_one_value(
    kind: str, more: dict[str, Any], expected: Any, observed: Any, *, same: bool
) -> None:
    assert holds(rule(kind, **more), expected, observed) is same


@given(
    amount=st.decimals(-(10**9), 10**9, places=2),
    off=st.decimals(-10, 10, places=3),
    allowed=st.decimals(0, 10, places=3),
)
def test_R02_money_is_near_by_its_amount_and_never_by_binary_fractions(
    amount: Decimal, off: Decimal, allowed: Decimal
) -> None:
    near = rule("equals", format="money", tolerance=f"{allowed} USD")
    one, other = f"{amount} USD", f"{amount + off} USD"
    assert holds(near, one, other) is holds(near, other, one) is (abs(off) <= allowed)
    assert holds(rule("equals", format="money"), one, other) is (off == 0)
    assert holds(near, one, f"{amount} EUR") is False


@given(
    number=st.decimals(-1000, 1000, places=2),
    off=st.decimals(-2, 2, places=2),
    allowed=st.decimals(0, 2, places=2),
)
def test_R02_numbers_are_near_by_what_is_written_of_them(number: Decimal, off: Decimal, allowed: Decimal) -> None:
    near = rule("equals", tolerance=str(allowed))
    assert holds(near, float(number), float(number + off)) is (abs(off) <= allowed)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-400, 400), st.integers(0, 300))  # noqa: DTZ001 -- a zone is given to each below
def test_R02_times_are_near_in_whatever_zone_they_are_written(moment: datetime, off: int, allowed: int) -> None:
    near = rule("equals", format="date-time", tolerance=f"{allowed}s")
    one = moment.replace(tzinfo=UTC)
    other = (one + timedelta(seconds=off)).astimezone(timezone(timedelta(hours=-7)))
    assert holds(near, one.isoformat(), other.isoformat()) is (abs(off) <= allowed)


@given(st.lists(st.sampled_from(["a", "A", "b", "c"]), max_size=6), st.lists(st.sampled_from("aAbc"), max_size=6))
def test_R02_lists_are_the_same_when_each_thing_is_there_as_often(one: list[str], other: list[str]) -> None:
    assert holds(rule("equals"), one, other) is (Counter(one) == Counter(other))
    folded = Counter(map(str.casefold, one)) == Counter(map(str.casefold, other))
    assert holds(rule("equals", ignore_case=True), one, other) is folded
    assert holds(rule("includes"), one, other) is (set(one) <= set(other))


def test_the_pair_that_differs_names_the_cause() -> None:
    equals = rule("equals")
    assert cause(equals, "a", "a", "a") == "agree"
    assert cause(equals, "a", "a", "b") == "drift"
    assert cause(equals, "a", "b", "b") == "superseded"
    assert cause(equals, "a", "b", "c") == "both"


def test_every_status_is_reached_and_what_is_over_only_comes_back() -> None:
    reached = {after for (_, _), after in MOVES.items()} | {DiscrepancyStatus.SUSPECTED}
    assert reached == set(DiscrepancyStatus)
    for status in DiscrepancyStatus:
        exits = {after for (before, _), after in MOVES.items() if before is status and after is not status}
        assert exits == {DiscrepancyStatus.CONFIRMED} if status in OVER else exits & OVER
    assert {move for _, move in MOVES} == set(Move)
    with pytest.raises(ConflictError, match="cannot heal"):
        next_status(DiscrepancyStatus.RESOLVED, Move.HEAL)


@pytest.mark.parametrize(
    ("after", "due"),
    [
        (datetime(2026, 1, 5, 10, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, 0, 0, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
        (datetime(2026, 12, 31, 9, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_R09_the_run_before_the_period_ends_is_on_the_last_day_of_a_month(after: datetime, due: datetime) -> None:
    assert last_day_of_month(after) == due
