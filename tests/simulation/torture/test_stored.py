"""Schedules through the real journal in a database: what a new engine reads is what was written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.generated import LAB, definitions
from topstitch.store import Store
from topstitch.torture.explore import explore, ready
from topstitch.torture.journal import PaperJournal
from topstitch.torture.stored import schedules, through_store
from topstitch.torture.walk import FAULT_KINDS, Walker

SCHEMA = LAB.events["started"].data


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("sqlite::memory:") as opened:
        yield opened


async def test_every_fault_of_generated_definitions_survives_in_a_real_journal(store: Store):
    walked = restarts = 0
    for one in definitions(20, 7000, steps_max=2):
        arena = ready(one.plan, schema=SCHEMA, reconcile=False)
        walker = Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=FAULT_KINDS)
        for schedule in schedules(walker, 1):
            store.reset()
            restarts += await through_store(walker, schedule, store)
            walked += 1
    assert walked > 400
    assert restarts > 200


def test_the_schedules_are_those_that_explore_counts():
    for one in definitions(10, 7100, steps_max=2):
        arena = ready(one.plan, schema=SCHEMA, reconcile=False)
        walker = Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=FAULT_KINDS)
        assert sum(1 for _ in schedules(walker, 1)) == explore(one.plan, 1, schema=SCHEMA, reconcile=False).schedules
