"""Promises: met, at risk before broken, excluding approvals, in business hours (V-11, O-02, O-05, O-06)."""

from __future__ import annotations

from datetime import date, time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from support.onboarding import onboarding_plan
from topstitch.governance.calendar import Calendar
from topstitch.metrics.sla import Progress, PromiseState, Standing, passed_ms, standings, summary, without
from topstitch.store.measures import AskedRow, StepRow
from unit.metrics.kit import MINUTE, START, row, step

PLAN = onboarding_plan()
USUAL = {
    "identity": 4000.0,
    "equipment": 5000.0,
    "crm_assignment": 5000.0,
    "welcome_email": 2000.0,
    "welcome_chat": 2000.0,
}
HOUR = 60 * MINUTE


def stand(name: str, *steps: StepRow, now: int, **rest: Any) -> Standing:
    progress = Progress(
        row=row(), steps={one.step: one for one in steps}, asked=rest.pop("asked", ()), ended_ms=rest.pop("ended", None)
    )
    usual = rest.pop("usual", USUAL)
    return next(one for one in standings(PLAN, progress, usual, now, **rest) if one.promise == name)


def test_O02_the_account_within_ten_minutes() -> None:
    assert PLAN.sla[1].within_seconds == 600
    met = stand("account", step("identity", "done", START, START + 9 * MINUTE), now=START + HOUR)
    assert (met.state, met.used_ms) == (PromiseState.MET, 9 * MINUTE)
    late = stand("account", step("identity", "done", START, START + 11 * MINUTE), now=START + HOUR)
    assert late.state is PromiseState.BREACHED


def test_O06_it_turns_at_risk_before_it_is_broken() -> None:
    usual = {**USUAL, "identity": 3.0 * MINUTE}
    states = [stand("account", now=START + minutes * MINUTE, usual=usual).state for minutes in (1, 6, 8, 10, 11)]
    assert states == [
        PromiseState.ON_TRACK, PromiseState.ON_TRACK, PromiseState.AT_RISK, PromiseState.AT_RISK, PromiseState.BREACHED
    ]  # fmt: skip


def test_what_is_left_is_the_longest_way_and_counts_what_is_under_way() -> None:
    usual = {**USUAL, "identity": 30.0 * MINUTE, "equipment": 20.0 * MINUTE}
    nothing = stand("provisioned", now=START + MINUTE, usual=usual)
    assert nothing.expected_ms == 50 * MINUTE
    begun = stand("provisioned", step("identity", "running", START), now=START + 10 * MINUTE, usual=usual)
    assert begun.expected_ms == 40 * MINUTE
    over = stand("provisioned", step("identity", "running", START), now=START + 40 * MINUTE, usual=usual)
    assert over.expected_ms == 20 * MINUTE


def test_O06_approval_waits_are_left_out_where_the_promise_says_so() -> None:
    asked = (AskedRow("ins_1", "identity", START + MINUTE, START + 3 * HOUR),)
    done = step("identity", "done", START + 3 * HOUR, START + 3 * HOUR + MINUTE)
    assert stand("account", done, asked=asked, now=START + 4 * HOUR).used_ms == 2 * MINUTE
    chat, mail = (step(n, "done", START, START + 3 * HOUR + 2 * MINUTE) for n in ("welcome_chat", "welcome_email"))
    welcomed = stand("welcomed", done, chat, mail, asked=asked, now=START + 4 * HOUR)
    assert welcomed.state is PromiseState.BREACHED  # O-05: within the hour, whoever is asked


def test_an_open_approval_is_left_out_until_now_and_named() -> None:
    asked = (AskedRow("ins_1", "identity", START + MINUTE, None),)
    waiting = stand("account", step("identity", "asking"), asked=asked, now=START + 9 * HOUR)
    assert (waiting.state, waiting.used_ms) == (PromiseState.ON_TRACK, MINUTE)
    assert waiting.holds_up == "people: Identity provisioning waits for a decision"


def test_overlapping_approvals_are_left_out_once() -> None:
    asked = tuple(AskedRow("ins_1", name, START, START + HOUR) for name in ("equipment", "crm_assignment"))
    steps = [step(n, "done", START, START + HOUR + MINUTE) for n in ("identity", "equipment", "crm_assignment")]
    assert stand("provisioned", *steps, asked=asked, now=START + 2 * HOUR).used_ms == MINUTE


def test_nothing_is_promised_of_what_was_not_wanted() -> None:
    steps = [
        step("identity", "done", START, START + MINUTE),
        step("equipment", "declined"),
        step("crm_assignment", "skipped"),
    ]
    assert stand("provisioned", *steps, now=START + 9 * HOUR).state is PromiseState.MET
    none = stand("account", step("identity", "declined"), now=START + 9 * HOUR)
    assert none.state is PromiseState.EXCUSED


def test_what_was_given_up_is_broken_at_once() -> None:
    assert (
        stand("account", step("identity", "given_up", START, None, START), now=START + MINUTE).state
        is PromiseState.BREACHED
    )


def test_O06_business_hours() -> None:
    days = ("mon", "tue", "wed", "thu", "fri")
    office = Calendar(hours=dict.fromkeys(days, ((time(9), time(17)),)), holidays={"": {date(2026, 1, 6): "Epiphany"}})
    calendars = {"account": office}
    # Monday 2026-01-05 08:00 UTC: an hour before the office opens
    assert stand("account", now=START + HOUR, calendars=calendars).used_ms == 0
    assert stand("account", now=START + HOUR + 9 * MINUTE, calendars=calendars).used_ms == 9 * MINUTE
    assert stand("account", now=START + 48 * HOUR, calendars=calendars).used_ms == 8 * HOUR  # Tuesday is a holiday


def test_V11_a_sum_for_each_promise() -> None:
    found = [
        stand("account", step("identity", "done", START, START + m * MINUTE), now=START + HOUR) for m in (1, 2, 11)
    ]
    states = summary(found)["employee-onboarding", "account"]
    assert (states[PromiseState.MET], states[PromiseState.BREACHED]) == (2, 1)


SPANS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted).map(tuple), max_size=8)


@given(span=SPANS.filter(bool).map(lambda s: s[0]), excluded=SPANS)
def test_what_is_left_and_what_is_excluded_make_the_whole(
    span: tuple[int, int], excluded: list[tuple[int, int]]
) -> None:
    cut = {t for a, b in excluded for t in range(a, b)}
    assert passed_ms(span, excluded) == sum(t not in cut for t in range(*span))
    left = without(span, excluded)
    assert all(a < b for a, b in left)
    assert all(one[1] <= other[0] for one, other in pairwise(left))


@pytest.mark.parametrize("promise", ["provisioned", "account", "welcomed"])
def test_every_promise_of_the_onboarding_has_an_owner(promise: str) -> None:
    assert promise in {sla.name for sla in PLAN.sla}
    assert PLAN.owner["team"]
