"""The verdict on the onboarding, on what is wrong with a definition, and on what was cut."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import topstitch
from support.contracts import CONTRACTS
from support.generated import TASK, Generated, built, definition, definitions
from topstitch.language.check import check
from topstitch.language.load import Document, load
from topstitch.language.schema import Workflow
from topstitch.model.instance import Disposition, InstanceEnd
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan, StepPlan
from topstitch.verifier.level1 import RULES
from topstitch.verifier.table import difference
from topstitch.verifier.verify import Verdict, verify

FILE = Path(topstitch.__file__).parent / "examples" / "onboarding" / "employee-onboarding.yaml"


def read(text: str) -> tuple[Document, Workflow, Plan]:
    document = load(text, "employee-onboarding.yaml")
    result = check(document, CONTRACTS)
    assert result.workflow is not None, [finding.message for finding in result.findings]
    return document, result.workflow, compile_plan(result.workflow, CONTRACTS, "sha256:x")


@pytest.fixture(scope="module")
def onboarding() -> tuple[Document, Workflow, Plan]:
    return read(FILE.read_text())


@pytest.fixture(scope="module")
def verdict(onboarding: tuple[Document, Workflow, Plan]) -> Verdict:
    document, workflow, plan = onboarding
    return verify(plan, workflow, budget_seconds=30, document=document)


def write(name: str, then: str = "continue", **rest: Any) -> dict[str, Any]:
    return {
        "title": name,
        "do": "lab.make_native_key",
        "with": {"name": name},
        "expect": [{"read": "lab.see", "with": {"name": name}, "that": "found.state == 'there'", "within": "2m"}],
        "rollback": {"do": "lab.unmake", "with": {"id": "= step.output.id"}},
        "compensate": {"do": [TASK], "then": {"done": "continue", "not_done": then}},
        **rest,
    }


def verdict_on(one: Generated, **given: Any) -> Verdict:
    return verify(one.plan, one.workflow, document=one.document, **given)


def codes(found: Verdict) -> set[str]:
    return {finding.code for finding in found.findings}


# --- the onboarding -------------------------------------------------------------------------------------------------


def test_E09_the_onboarding_is_proved_with_any_number_of_faults(verdict: Verdict):
    assert verdict.ok
    assert verdict.findings == ()
    assert verdict.complete
    assert verdict.faults is None
    assert verdict.proved.startswith("every reachable failure has a declared end; explored with any number of faults")
    # every way back begins with a task that nobody did, and its case stays open
    assert set(verdict.ends) == set(InstanceEnd) - {InstanceEnd.CANCELLED, InstanceEnd.ROLLED_BACK}


def test_E07_what_cannot_be_undone_is_accepted_and_listed(verdict: Verdict):
    assert verdict.residue == (("welcome_email", "informational; a sent message cannot be unsent"),)


def test_H03_each_failure_point_says_what_is_unwound_by_whom_and_what_stays(verdict: Verdict):
    assert len(verdict.scenarios) > 8
    backs = [s for s in verdict.scenarios if s.unwinding is not None]
    assert {s.by.step for s in backs} == {"identity"}
    assert {s.by.then for s in backs} == {Disposition.ROLLBACK}
    applied = next(s for s in backs if s.by.effect == "applied")
    assert [(u.step, u.system, u.action) for u in applied.unwinding.undone] == [
        ("identity", "directory", "disable_user")
    ]
    goes_on = next(s for s in verdict.scenarios if s.by.step == "equipment" and s.by.case == "refused")
    assert "identity" in goes_on.stays


def test_H03_eight_steps_give_at_least_eight_scenarios():
    """In how many seconds, ``topstitch bench --proof`` prints; here it is how far the search went."""
    steps = {f"s{i}": write(f"s{i}", "rollback", **({"needs": [f"s{i - 1}"]} if i else {})) for i in range(8)}
    one = built(definition(steps))
    found = verdict_on(one, budget_seconds=60)
    assert found.complete
    assert found.transitions < 200_000, "it was 89,546; the two seconds of the row are a million or so"
    assert {scenario.by.step for scenario in found.scenarios} == set(steps)
    last = [s for s in found.scenarios if s.by.step == "s7" and s.unwinding is not None][-1]
    assert [undoing.step for undoing in last.unwinding.undone][-2:] == ["s1", "s0"]


def test_a_chain_of_twenty_steps_stays_within_its_budget_and_says_what_was_cut():
    steps = {f"s{i}": write(f"s{i}", "rollback", **({"needs": [f"s{i - 1}"]} if i else {})) for i in range(20)}
    one = built(definition(steps))
    found = verdict_on(one)
    assert not found.complete
    assert found.faults in (1, 3)
    assert "did not fit the budget, so combinations are proved for up to" in found.proved
    assert "pairs checked" in found.proved


def test_with_no_budget_at_all_nothing_is_claimed_of_combinations():
    steps = {f"s{i}": write(f"s{i}", "rollback") for i in range(14)}
    found = verdict_on(built(definition(steps)), budget_seconds=0.0)
    assert "so combinations of outcomes are not proved" in found.proved
    assert not found.complete


def test_the_number_of_faults_may_be_asked_for():
    found = verdict_on(built(definition({"a": write("a"), "b": write("b")})), faults=2)
    assert found.complete
    assert "explored for up to 2 faults" in found.proved


def test_who_can_be_asked_and_how_often(verdict: Verdict):
    asked = {(who, role): times for who, role, times in verdict.people}
    assert asked["manager_of(subject)", "approver"] == 2
    assert asked["manager_of(subject)", "task"] == 2
    assert asked["group:it-ops", "task"] == 2


def test_the_table_says_what_happens_to_the_laptop(verdict: Verdict):
    rows = {row.when: row for row in verdict.table if row.step == "equipment"}
    assert rows["manager_of(subject) refuses"].then == "tell requester; flag equipment_declined"
    assert rows["manager_of(subject) refuses"].ends == "declined"
    assert rows["ServiceNow refuses"].then == "task to it-ops (due 1 d, it-ops-leads after 1 d); flag equipment_delayed"
    assert rows["ServiceNow refuses"].ends == "by hand, or given up"
    assert "who first looks whether it is there" in rows["ServiceNow is silent and cannot be asked"].then
    assert rows["ServiceNow does not answer, and it is open whether it was done"].then.startswith("look it up, go on")


def test_the_difference_of_two_tables_is_what_changed(onboarding: tuple[Document, Workflow, Plan], verdict: Verdict):
    _, workflow, plan = read(
        FILE.read_text().replace(
            "refused: {then: continue, flag: equipment_declined", "refused: {then: stop, flag: equipment_declined"
        )
    )
    changed = difference(verdict.table, verify(plan, workflow).table)
    assert [(c.step, c.what, c.when) for c in changed] == [("equipment", "changed", "manager_of(subject) refuses")]
    assert "nothing new is started" in changed[0].new.then
    without = tuple(row for row in verdict.table if row.step != "welcome_chat")
    assert {change.what for change in difference(verdict.table, without)} == {"removed"}
    assert {change.what for change in difference(without, verdict.table)} == {"added"}
    assert difference(verdict.table, verdict.table) == ()


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_H03_one_word_that_rolls_back_after_a_sent_message_is_refused_with_the_shortest_way():
    text = FILE.read_text()
    place = text.index("flag: equipment_delayed\n      then: {done: continue, not_done: continue}")
    changed = text[:place] + text[place:].replace("not_done: continue}", "not_done: rollback}", 1)
    document, workflow, plan = read(changed)
    found = verify(plan, workflow, document=document)
    finding = next(f for f in found.errors if f.code == "irreversible-then-rollback")
    assert finding.path == ("steps", "equipment", "compensate", "then", "not_done")
    assert document.lines[finding.span.line - 1].strip() == "then: {done: continue, not_done: rollback}"
    assert (
        "'welcome_email' cannot be undone and may already have happened when 'equipment' rolls the instance back"
        in finding.message
    )
    assert "shortest way: 1 identity: done" in finding.message
    assert "2 welcome_email: done" in finding.message


def test_a_pivot_is_accepted_and_stays_as_residue():
    told = {
        "title": "Tell", "do": "lab.tell_all", "with": {"name": "n"}, "expect": {"none": "cannot be seen"},
        "rollback": {"none": "informational"}, "compensate": {"do": [TASK], "then": "continue"},
    }  # fmt: skip
    steps = {"told": told, "turns": write("turns", "rollback")}
    assert "irreversible-then-rollback" in codes(verdict_on(built(definition(steps))))
    found = verdict_on(built(definition({**steps, "told": {**told, "pivot": True}})))
    assert found.ok
    assert found.residue == (("told", "informational"),)


def test_pairs_are_found_whatever_the_budget():
    told = {
        "title": "Tell", "do": "lab.tell_all", "with": {"name": "n"}, "expect": {"none": "cannot be seen"},
        "rollback": {"none": "informational"}, "compensate": {"do": [TASK], "then": "continue"},
    }  # fmt: skip
    steps = {"told": told, **{f"s{i}": write(f"s{i}", "rollback") for i in range(14)}}
    found = verdict_on(built(definition(steps)), budget_seconds=0.0)
    assert len([f for f in found.errors if f.code == "irreversible-then-rollback"]) == 14


# --- level 1: what a plan that got past the checker would be refused for ----------------------------------------------


def broken(**changes: Any) -> Verdict:
    one = built(definition({"a": write("a"), "b": write("b", after={"a": "10m"})}))
    step = one.plan.steps["b"]
    changed = replace(step, **{name: change(step) if callable(change) else change for name, change in changes.items()})
    return verify(replace(one.plan, steps={**one.plan.steps, "b": changed}), one.workflow)


def _with_task(step: StepPlan, **changes: Any) -> Any:
    assert step.compensate is not None
    return replace(step.compensate, items=(replace(step.compensate.items[0], **changes),))


LEVEL1 = [
    ("undeclared-ending", ("steps", "b", "compensate"), {"compensate": None}),
    ("undeclared-undo", ("steps", "b", "rollback"), {"undo": None, "no_undo": None}),
    ("undeclared-residue", ("steps", "b", "rollback", "none"), {"undo": None, "no_undo": "too much work"}),
    (
        "endless-wait",
        ("steps", "b", "compensate", "do", 0, "task", "give_up"),
        {"compensate": lambda s: _with_task(s, give_up_seconds=0)},
    ),
    ("endless-barrier", ("steps", "b", "after", "a"), {"after": {"a": 0}}),
    ("unbounded-call", ("steps", "b", "timeout"), {"act": lambda s: replace(s.act, timeout_seconds=0)}),
    (
        "unbounded-call",
        ("steps", "b", "retry", "attempts"),
        {"act": lambda s: replace(s.act, retry=replace(s.act.retry, attempts=0))},
    ),
    ("unbounded-items", ("steps", "b", "for_each", "max"), {"items": lambda s: s.act.expects[0].that, "items_max": 0}),
    ("nobody-asked", ("steps", "b", "compensate", "do"), {"compensate": lambda s: replace(s.compensate, items=())}),
    ("cycle", ("steps", "b", "needs"), {"needs": ("b",)}),
]


@pytest.mark.parametrize(("code", "path", "changes"), LEVEL1, ids=[f"{code}-{path[-1]}" for code, path, _ in LEVEL1])
def test_what_has_no_declared_end_is_refused_at_its_path(
    code: str, path: tuple[str | int, ...], changes: dict[str, Any]
):
    found = broken(**changes)
    assert (code, path) in {(f.code, f.path) for f in found.errors}
    assert not found.ok
    assert found.proved.startswith("NOT proved") or code == "cycle"
    assert all(finding.help for finding in found.findings)


def test_nobody_owning_what_cannot_be_undone_is_refused():
    one = built(definition({"a": write("a")}))
    found = verify(replace(one.plan, owner={}), one.workflow)
    assert [(f.code, f.path) for f in found.errors] == [("unowned-undo", ("owner", "team"))]


def test_every_code_is_explained():
    assert all(RULES.values())


def test_H03_a_compensation_that_reads_an_output_that_would_not_exist_is_refused():
    step = write("a")
    instead = {"do": "lab.make_natural", "with": {"name": "= step.output.name"}}
    document = load(
        json.dumps(definition({"a": {**step, "compensate": {"do": [instead, TASK], "then": "stop"}}})), "x.yaml"
    )
    refused_by = refusals(document.text)
    assert any(path[:5] == ("steps", "a", "compensate", "do", 0) for _, path in refused_by), refused_by


def test_a_flag_that_may_be_read_too_early_is_noted():
    sets = write("sets", compensate={"do": [{"flag": "late"}, TASK], "then": "continue"})
    reads = write("reads", when="!flags.late")
    found = verdict_on(built(definition({"sets": sets, "reads": reads})))
    assert [(f.code, f.severity) for f in found.findings] == [("flag-too-late", "warning")]
    waits = verdict_on(built(definition({"sets": sets, "reads": {**reads, "after": {"sets": "1h"}}})))
    assert "flag-too-late" not in codes(waits)


# --- removal: whatever is taken out of the shipped file is missed ---------------------------------------------------

REMOVED = {
    "compensate",
    "rollback",
    "then",
    "refused",
    "unanswered",
    "give_up",
    "due",
    "done",
    "not_done",
    "otherwise",
    "expect",
    "task",
    "at",
    "on_difference",
    "if_that_fails",
}
"""Keys that declare an end: a compensation, a deadline, a disposition, what shows that it is done."""
HAS_DEFAULT = {"within", "max"}
"""Deadlines that hold when they are not written down."""


def refusals(text: str) -> list[tuple[str, tuple[str | int, ...]]]:
    """Return what refuses a definition: the checker's errors, or else the verifier's."""
    from support.generated import LAB_CONTRACTS

    contracts = {**CONTRACTS, **LAB_CONTRACTS}
    document = load(text, "x.yaml")
    result = check(document, contracts)
    if result.errors or result.workflow is None:
        return [(finding.code, finding.path) for finding in result.errors]
    plan = compile_plan(result.workflow, contracts, "sha256:x")
    return [(f.code, f.path) for f in verify(plan, result.workflow, budget_seconds=0.2, document=document).errors]


def declared(data: Any, keys: set[str], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where one of ``keys`` stands in the steps and checks; an undo is read back only if its author wants it."""
    if isinstance(data, dict):
        for key, value in data.items():
            here = (*path, key)
            if key in keys and here[0] in ("steps", "reconcile") and here[-2:] != ("rollback", "expect"):
                yield here
            yield from declared(value, keys, here)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from declared(value, keys, (*path, index))


def without(data: Any, path: tuple[str | int, ...]) -> Any:
    changed = copy.deepcopy(data)
    place = changed
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return changed


def test_E06_H03_removing_any_compensation_deadline_or_disposition_is_refused_at_its_path(verdict: Verdict):
    data = load(FILE.read_text(), "x.yaml").data
    paths = list(declared(data, REMOVED))
    assert {path[-1] for path in paths} == REMOVED, "each of them is declared somewhere in the shipped file"
    assert len(paths) > 60
    defaults: list[str | int] = []
    for path in paths:
        found = refusals(json.dumps(without(data, path)))
        if not found:
            same = read(json.dumps(without(data, path)))
            assert verify(same[2], same[1]).table == verdict.table, f"nobody missed {path}"
            defaults.append(path[-1])
            continue
        near = [where for _, where in found if where[: len(path) - 1] == path[:-1] or path[: len(where)] == where]
        assert near, f"{path} was taken out, and the findings are about {found}"
    assert set(defaults) <= {"otherwise"}, "a precondition stops unless it says otherwise; nothing else has a default"


def test_removing_a_deadline_that_has_a_default_leaves_one():
    data = load(FILE.read_text(), "x.yaml").data
    paths = list(declared(data, HAS_DEFAULT))
    assert {path[-1] for path in paths} == HAS_DEFAULT
    for path in paths:
        text = json.dumps(without(data, path))
        if not (found := refusals(text)):
            plan = read(text)[2]
            acts = [act for step in plan.steps.values() for act in (step.act, step.undo) if act]
            assert all(expect.within_seconds > 0 for act in acts for expect in act.expects), path
            assert all(act.retry.max_seconds > 0 for act in acts), path
        assert {code for code, _ in found} <= {"sla"}, path


def test_generated_definitions_are_proved():
    for one in definitions(100, 5000, steps_max=3):
        found = verdict_on(one, budget_seconds=5)
        assert not [f for f in found.errors if f.code != "irreversible-then-rollback"], (one.seed, found.errors)
        assert found.complete
