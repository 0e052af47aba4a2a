"""Each mistake in the core is caught by torture: the test of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.generated import LAB, Generated, built, definition, generate, healing, making
from support.mutants import MUTANTS, mutant
from topstitch.torture.explore import BadSchedule, explore
from topstitch.torture.oracles import ORACLES
from topstitch.torture.replay import replay

SCHEMA = LAB.events["started"].data
GATE = {"from": "group:heads", "give_up": "4h"}
ASKED = {"otherwise": GATE, "refused": {"then": "stop"}, "unanswered": {"then": "stop"}}


TURNS = {"do": [{"flag": "late"}], "then": "rollback"}
SMALL = [
    {"first": making("make_find_first")},
    {"first": making("make_slow", approval=ASKED)},
    {"first": making("make_find_first"), "last": making("make_native_key", needs=["first"], compensate=TURNS)},
    {"first": making("make_unique"), "last": making("make_native_key", "rollback", needs=["first"])},
    {
        "first": making("make_natural"),
        "next": making("make_natural", needs=["first"]),
        "last": making("make_none", "rollback", needs=["next"], retry={"attempts": 1}),
    },
]


def corpus() -> Iterator[Generated]:
    for steps in SMALL:
        yield built(definition(steps))
    for seed in range(4):
        yield generate(seed, steps_max=2)


DRIFTS = "takes a proposed repair for a made one"
"""What only a check after the last step can show."""


def first_bad(faults: int, *, reconcile: bool) -> tuple[Generated, BadSchedule] | None:
    for one in [built(healing({}))] if reconcile else corpus():
        found = explore(one.plan, faults, schema=SCHEMA, reconcile=reconcile, stop_at_first=True, budget_seconds=30)
        if found.first:
            return one, found.first[0]
    return None


CAUGHT_BY = {
    "sends again without looking": "twice",
    "writes no intent": "intent",
    "journals the result before it sends": "there",
    "puts the attempt into the key": "twice",
    "undoes in forward order": "order",
    "takes absent for an answer before the settle time": "twice",
    "takes absent for an answer before the time limit": "twice",
    "lets a refusal clear an earlier doubt": "twice",
    "undoes what it only found": "theirs",
    "takes silence for approval": "grant",
    "skips the compensation": "carried",
    "is done without a read-back": "there",
    "never says look first": "twice",
    "counts the settle time from the first try": "twice",
    "forgets what it had sent": "twice",
    "takes its own death for no effect": "twice",
    "never ends a task": "stall",
    "ends a task at once": "patience",
    "forgets what a person did": "orphan",
    "keeps what no record says": "refolded",
    "sends what nobody released": "grant",
    "says completed of whatever happened": "declared",
    "records no silence": "unheard",
    "stumbles over a refusal": "raised",
    DRIFTS: "drift",
}
"""Which oracle catches each mutant first: were it taken out, the test of that mutant would fail."""


def test_every_oracle_earns_its_place_and_every_mutant_has_its_own():
    assert CAUGHT_BY.keys() == MUTANTS.keys()
    assert set(CAUGHT_BY.values()) == ORACLES.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_for_its_own_reason_and_its_schedule_replays(name: str):
    with mutant(name):
        reconcile = name == DRIFTS
        caught = next((found for faults in (0, 1, 2, 3) if (found := first_bad(faults, reconcile=reconcile))), None)
        assert caught is not None, f"nobody noticed a core that {name}"
        one, bad = caught
        assert bad.oracle == CAUGHT_BY[name], bad
        again = replay(one.plan, bad.choices, schema=SCHEMA, reconcile=reconcile)
    assert again.broken is not None
    assert (again.broken.oracle, again.broken.said) == (bad.oracle, bad.said)


def test_the_right_core_walks_the_same_schedules_without_a_word():
    for steps in SMALL:
        found = explore(built(definition(steps)).plan, 2, schema=SCHEMA, reconcile=False)
        assert found.clean, found.first
