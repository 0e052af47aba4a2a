"""Every fault schedule of what is shipped and of what can be generated: nothing lost, twice, or left behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import topstitch
from support.contracts import CONTRACTS
from support.generated import LAB, TASK, built, definition, definitions, healing, making
from topstitch.foundation.errors import RequestError
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.torture.arrange import kinds_of
from topstitch.torture.explore import Merge, Torture, explore
from topstitch.torture.replay import replay
from topstitch.torture.walk import EVERY_KIND, FAULT_KINDS
from topstitch.verifier import bounds
from topstitch.verifier.classes import classes
from topstitch.verifier.explore import Explorer

SCHEMA = LAB.events["started"].data
HIRE = CONTRACTS["workday@1"].events["hire_completed"].data
CHUNKS = 8
EACH = 25
"""200 generated definitions, in parts that can be walked side by side."""


EXAMPLES = Path(topstitch.__file__).parent / "examples"
SHIPPED = sorted(path for path in EXAMPLES.rglob("*.yaml") if re.search(r"(?m)^workflow:", path.read_text()))
"""Every definition that is shipped, whichever are."""


def compiled(path: Path) -> Plan:
    result = check(load(path.read_text(), path.name), CONTRACTS)
    assert result.workflow is not None, f"{path.name} needs a contract that tests/support/contracts.py lacks"
    return compile_plan(result.workflow, CONTRACTS, f"sha256:{path.stem}")


def event_of(plan: Plan) -> Any:
    return CONTRACTS[plan.systems[plan.trigger.system].connector].events[plan.trigger.event].data


def onboarding() -> Plan:
    return compiled(EXAMPLES / "onboarding" / "employee-onboarding.yaml")


def said(found: Torture) -> list[str]:
    return [f"{bad.oracle}: {bad.said} [{bad.choices}]" for bad in found.first]


def test_what_is_shipped_is_found():
    assert "employee-onboarding" in {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_definition_survives_every_two_faults(path: Path):
    plan = compiled(path)
    found = explore(plan, 2, schema=event_of(plan), reconcile=False)
    assert found.clean, said(found)
    assert found.schedules > 1_000
    assert found.simplified == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_definition_with_its_checks_survives_every_fault(path: Path):
    plan = compiled(path)
    found = explore(plan, 1, schema=event_of(plan))
    assert found.clean, said(found)


REPAIRED = frozenset({"drift", "crash", "system", "silent", "look", "people", "reconcile"})


@pytest.mark.parametrize("heal", [{}, {"mode": "auto"}], ids=["proposed", "auto"])
def test_what_somebody_changes_is_repaired_or_told_whatever_two_faults_come_between(heal: dict[str, Any]):
    plan = built(healing(heal)).plan
    found = explore(plan, 3, schema=SCHEMA, kinds=REPAIRED, bound_seconds=bounds.ended_seconds(plan))
    assert found.clean, said(found)
    without = explore(plan, 3, schema=SCHEMA, kinds=REPAIRED - {"drift"})
    assert found.schedules > without.schedules * 1.2


def test_the_onboarding_with_its_checks_and_its_repair_survives_every_two_faults_of_systems_and_people():
    plan = onboarding()
    found = explore(
        plan, 2, schema=event_of(plan), kinds=REPAIRED - {"crash", "look"}, bound_seconds=bounds.ended_seconds(plan)
    )
    assert found.clean, said(found)


def kinds_of_the_onboarding() -> Plan:
    """Its kinds of steps: refuses duplicates, found by its mark, takes our key, tells somebody."""
    four = {"attempts": 4, "first": "10s", "max": "1m"}
    turns = {"do": [TASK], "then": {"done": "continue", "not_done": "rollback"}}
    steps = {
        "identity": making("make_unique", retry=four, compensate=turns),
        "equipment": making("make_find_first", retry=four, needs=["identity"]),
        "crm": making("make_native_key", retry=four, needs=["identity"]),
        "welcome": making(
            "tell_all",
            retry=four,
            needs=["identity"],
            after={"equipment": "45m", "crm": "45m"},
            expect={"none": "cannot be seen"},
            rollback={"none": "informational"},
        ),
    }
    return built(definition(steps)).plan


def test_the_shipped_steps_as_bare_kinds_survive_every_two_faults():
    found = explore(kinds_of(onboarding(), 4), 2, reconcile=False)
    assert found.clean, said(found)
    assert found.simplified == ()


def test_the_kinds_of_the_onboarding_survive_every_three_faults():
    found = explore(kinds_of_the_onboarding(), 3, schema=SCHEMA, reconcile=False)
    assert found.clean, said(found)
    assert found.schedules > 50_000


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_generated_definitions_survive_every_two_faults(chunk: int):
    for one in definitions(EACH, chunk * EACH, steps_max=2):
        within = bounds.executed_seconds(one.plan) + bounds.NOTICE_SECONDS  # its checks, at T+30d, are left out
        found = explore(one.plan, 2, schema=SCHEMA, reconcile=False, bound_seconds=within)
        assert found.clean, (one.seed, said(found), one.text)


def test_larger_ones_survive_every_fault_a_cancellation_and_a_lost_notice():
    for one in definitions(60, 1000, steps_max=4):
        found = explore(one.plan, 1, schema=SCHEMA, reconcile=False, kinds=EVERY_KIND)
        assert found.clean, (one.seed, said(found), one.text)


GATE = {"from": "group:heads", "give_up": "4h"}
RETRIED: dict[str, dict[str, Any]] = {
    "by our key": {"a": making("make_native_key", "rollback")},
    "not to be asked": {"a": making("make_none", "rollback", retry={"attempts": 1})},
    "with an approval": {
        "a": making(
            "make_unique",
            approval={"otherwise": GATE, "refused": {"then": "rollback"}, "unanswered": {"then": "continue"}},
        )
    },
    "with something instead": {
        "a": making(
            "make_find_first",
            compensate={"do": [{"do": "lab.make_natural", "with": {"name": "x"}}, TASK], "then": "rollback"},
        )
    },
    "a called workflow": {
        "a": making("make_unique", "rollback"),
        "c": {
            "title": "Call",
            "call": {"workflow": "another", "with": {"key": "k"}, "give_up": "3h"},
            "compensate": {"do": [TASK], "then": "rollback"},
        },
    },
}


@pytest.mark.parametrize("steps", RETRIED.values(), ids=RETRIED)
def test_retries_and_skips_between_the_faults_survive_every_three(steps: dict[str, Any]):
    found = explore(built(definition(steps)).plan, 3, schema=SCHEMA, reconcile=False, kinds=FAULT_KINDS | {"operate"})
    assert found.clean, said(found)


def test_with_reconciliation_generated_definitions_survive_every_fault():
    for one in definitions(20, 2000, steps_max=3):
        found = explore(one.plan, 1, schema=SCHEMA, kinds=EVERY_KIND)
        assert found.clean, (one.seed, said(found), one.text)


def test_schedules_that_meet_are_counted_as_if_each_were_walked():
    for one in definitions(25, 3000, steps_max=2):
        told: dict[Merge, Torture] = {
            merge: explore(one.plan, 1, schema=SCHEMA, reconcile=False, merge=merge, kinds=EVERY_KIND)
            for merge in ("never", "exact", "alike")
        }
        counted = {(found.schedules, found.bad, found.finals) for found in told.values()}
        assert len(counted) == 1, (one.seed, {merge: (f.schedules, f.bad, len(f.finals)) for merge, f in told.items()})


def test_schedules_of_two_faults_that_meet_are_counted_too():
    for one in definitions(4, 3100, steps_max=2, simple=True):
        walked = explore(one.plan, 2, schema=SCHEMA, reconcile=False, merge="never")
        merged = explore(one.plan, 2, schema=SCHEMA, reconcile=False)
        assert (walked.schedules, walked.bad, walked.finals) == (merged.schedules, merged.bad, merged.finals)
        assert merged.points < walked.points


def test_every_end_that_the_core_comes_to_was_foretold_by_the_verifier():
    """What the real core does under faults is among what the classes of the verifier combine to."""
    for one in definitions(40, 4000, steps_max=3):
        found = explore(one.plan, 1, schema=SCHEMA, reconcile=False)
        foretold = Explorer(one.plan, classes(one.plan)).explore(None, seconds_max=20)
        assert foretold.complete
        ends = {(finish.end.value, tuple(status.value for status in finish.statuses)) for finish in foretold.finals}
        assert found.finals <= ends, (one.seed, sorted(found.finals - ends), one.text)


def test_a_good_schedule_is_told_from_its_first_record_to_its_end():
    told = replay(kinds_of_the_onboarding(), "0/", schema=SCHEMA, reconcile=False)
    assert told.broken is None
    assert told.end == "completed"
    assert "started" in told.lines[1]
    assert any("act.intent identity" in line for line in told.lines)
    assert "ended" in told.lines[-1]


def test_a_schedule_with_faults_marks_them():
    told = replay(kinds_of_the_onboarding(), "1/3:1", schema=SCHEMA, reconcile=False)
    assert told.broken is None
    assert sum(" ! " in line for line in told.lines) == 1


@pytest.mark.parametrize("choices", ["two/3:1", "1/3", "1/3:99"])
def test_choices_that_no_schedule_has_are_refused(choices: str):
    with pytest.raises(RequestError, match="torture"):
        replay(kinds_of_the_onboarding(), choices, schema=SCHEMA, reconcile=False)


def test_a_budget_that_is_too_small_is_said():
    found = explore(onboarding(), 2, schema=HIRE, budget_seconds=0.05)
    assert found.cut
    assert not found.clean
