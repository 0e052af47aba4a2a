"""The whole engine, driven by hypothesis: any order of events, answers, faults, deaths, commands and time.

Whatever was done, nothing is broken at any moment, and once the faults stop everything
reaches a declared end. A failing example is shrunk to the few steps that matter.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.amount import SOAKS
from support.mutants import mutant
from support.virtual import ENGINES, Simulation
from support.virtual_definitions import SMALL, arena
from support.virtual_time import seeded_chance
from topstitch.model.instance import StepStatus

EXAMPLES = 3000 if SOAKS else 300
STEPS = 30
ONE = st.integers(min_value=0, max_value=9)
"""Which of what there is, counted round."""
PROCESS = st.integers(min_value=0, max_value=ENGINES - 1)
FAULTS = (
    "refused",
    "no answer, applied",
    "no answer, not applied",
    "silent for good, applied",
    "unavailable once",
    "unavailable for good",
    "ok, but the answer comes late",
    "ok, and the engine dies before it hears",
    "says done, and drops it",
    "no answer once",
    "no answer for good",
    "finds what was there before us",
    "unreadable once",
    "nobody",
)


class Engines(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ends = contextlib.ExitStack()
        self.ends.enter_context(seeded_chance(0))
        self.world = Simulation(0)
        self.world.people.idle = True
        self.world.faulty = False  # what goes wrong, the rules say
        self.world.systems.fault_rate = 0.0
        self.delivered: list[tuple[str, str, int]] = []

    def do(self, coroutine: Any) -> Any:
        return self.world.run(coroutine)

    def instance(self, number: int) -> str:
        return self.world.instances[number % len(self.world.instances)]

    @initialize()
    def begin(self) -> None:
        async def start_all() -> None:
            for process in self.world.processes:
                process.start()

        self.do(start_all())

    @rule(name=st.sampled_from(sorted(SMALL)), variant=ONE, faults=st.lists(st.sampled_from(FAULTS), max_size=3))
    def an_event_comes(self, name: str, variant: int, faults: list[str]) -> None:
        self.world.systems.scripted += faults
        key, chosen = f"W-{len(self.delivered)}", variant % len(arena(name).variants)
        self.delivered.append((name, key, chosen))
        assert self.do(self.world.start(name, key, chosen)).first

    @precondition(lambda self: self.delivered)
    @rule(number=ONE)
    def the_event_comes_again(self, number: int) -> None:
        again = self.do(self.world.start(*self.delivered[number % len(self.delivered)]))
        assert not again.first
        assert set(again.instances) <= set(self.world.instances)

    @rule(seconds=st.sampled_from((0.5, 7.0, 40.0, 400.0, 5000.0, 90_000.0)))
    def time_passes(self, seconds: float) -> None:
        self.do(self.world.pause(seconds))

    @rule(fault=st.sampled_from(FAULTS))
    def a_system_will_fail(self, fault: str) -> None:
        self.world.systems.scripted.append(fault)

    @rule(number=PROCESS)
    def an_engine_is_killed(self, number: int) -> None:
        self.do(self._call(self.world.processes[number].crash))

    @rule(number=PROCESS)
    def an_engine_is_stopped(self, number: int) -> None:
        self.do(self._call(self.world.processes[number].stop))

    @rule(number=PROCESS, seconds=st.sampled_from((3.0, 29.0, 31.0, 100.0)))
    def an_engine_hangs(self, number: int, seconds: float) -> None:
        process = self.world.processes[number]
        process.freeze()
        self.world.after(seconds, process.thaw)

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE, word=st.sampled_from(("approve", "approve", "refuse")))
    def somebody_decides(self, number: int, word: str) -> None:
        name = self.instance(number)
        _, state = self.do(self.world.state_of(name))
        for step in state.steps.values():
            asked = step.approval
            if step.status is StepStatus.ASKING and asked is not None and asked.ending is None:
                people = asked.quorum if word == "approve" else 1
                self.do(self.world.people.decide(name, step.id, asked.id, asked.payload_digest, word, people))

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE, done=st.booleans())
    def somebody_sees_to_a_task(self, number: int, done: bool) -> None:
        name = self.instance(number)
        _, state = self.do(self.world.state_of(name))
        for task in state.tasks.values():
            if task.ending is None:
                self.do(self.world.people.see_to(name, task.id, done=done))

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE)
    def what_is_waited_for_happens(self, number: int) -> None:
        self.do(self.world.people.send_event(self.instance(number), "workday.start_date_changed"))

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE, name=st.sampled_from(("pause", "resume")))
    def an_operator_pauses_or_resumes(self, number: int, name: str) -> None:
        self.do(self.world.people.command(self.instance(number), name))

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE, choice=st.sampled_from(("rollback", "stop")))
    def an_operator_cancels(self, number: int, choice: str) -> None:
        self.do(self.world.people.command(self.instance(number), "cancel", choice=choice))

    @precondition(lambda self: self.world.instances)
    @rule(number=ONE, step=ONE, skips=st.booleans())
    def an_operator_retries_or_skips(self, number: int, step: int, skips: bool) -> None:
        name = self.instance(number)
        plan, _ = self.do(self.world.state_of(name))
        steps = list(plan.plan.steps)
        chosen = steps[step % len(steps)]
        people = self.world.people
        self.do(people.command(name, "skip", step=chosen) if skips else people.retry(name, chosen))

    @invariant()
    def nothing_is_broken(self) -> None:
        self.world.look_for_orphans()
        assert not self.world.broken, self.world.broken

    def teardown(self) -> None:
        with self.ends:
            self.do(self.world.end_well())
            verdict = self.world.close()
        assert not verdict.broken, verdict.broken

    async def _call(self, act: Any) -> None:
        act()


def play(examples: int, *, shrinks: bool = True) -> None:
    """Let hypothesis drive as many worlds."""
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Engines, settings=settings(max_examples=examples, stateful_step_count=STEPS, phases=phases)
    )


def test_X01_whatever_is_done_in_whatever_order_everything_ends_as_declared() -> None:
    play(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sends again without looking", "twice"),
        ("takes its own death for no effect", "twice|is there"),
        ("takes silence for approval", "approv"),
    ],
)
def test_a_core_that_is_wrong_in_one_place_is_found(name: str, said: str) -> None:
    with mutant(name), pytest.raises(AssertionError, match=said):
        play(EXAMPLES, shrinks=False)
