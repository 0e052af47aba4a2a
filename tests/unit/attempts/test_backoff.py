"""No call is repeated at once: every wait between two tries is longer than nothing, grows, and is bounded."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from support.onboarding import onboarding_plan
from topstitch.governance.notify import TELL_RETRY
from topstitch.language.schema import Retry
from topstitch.plan import plan as plans
from topstitch.plan.compile import HEAL_RETRY
from topstitch.plan.plan import JITTER_SHARE, RetryPlan

DEFAULTS = {
    "a step": RetryPlan(attempts=3),
    "a context read": plans.CONTEXT_RETRY,
    "a look-up": plans.LOOK_UP_RETRY,
    "an undo": plans.UNDO_RETRY,
    "a ticket": plans.TICKET_RETRY,
    "a heal": HEAL_RETRY,
    "a notice": TELL_RETRY,
}


@pytest.mark.parametrize("name", DEFAULTS)
@given(key=st.text(max_size=20))
def test_C05_no_default_policy_retries_without_a_wait(name: str, key: str) -> None:
    policy = DEFAULTS[name]
    waits = [policy.wait_seconds(tried, key) for tried in range(1, policy.attempts + 1)]
    bases = [policy.base_seconds(tried) for tried in range(1, policy.attempts + 1)]
    assert all(wait >= base >= 1 for wait, base in zip(waits, bases, strict=True))
    assert all(earlier <= later for earlier, later in itertools.pairwise(bases))
    assert max(waits) <= policy.max_seconds * (1 + JITTER_SHARE)


def test_C05_what_a_definition_leaves_out_is_no_retry_without_a_wait() -> None:
    said = Retry(attempts=3)
    assert (said.first, said.max, said.backoff) == ("10s", "5m", "exponential")
    plan = onboarding_plan()
    acts = [act for step in plan.steps.values() for act in (step.act, step.undo) if act is not None]
    assert all(act.retry.wait_seconds(1, "k") > 0 for act in acts)


@given(keys=st.lists(st.text(min_size=1, max_size=12), min_size=20, max_size=20, unique=True))
def test_C05_many_that_fail_together_do_not_come_back_together(keys: list[str]) -> None:
    waits = {round(plans.UNDO_RETRY.wait_seconds(3, key), 6) for key in keys}
    assert len(waits) == len(keys)
