"""The bound that ``verify`` prints, against instances in which everything takes its whole time and goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from support.generated import TASK, Generated, built, definition, making, written
from support.lab import THING, LabPaper
from support.paper import PaperEngine, ok, refused, transient, unknown
from topstitch.model.instance import StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, InboxCall, LookUpCall, Outcome, ReadCall, ResolveCall, StartCall, WriteCall
from topstitch.verifier import bounds

GATE = {"otherwise": {"from": "group:heads", "give_up": "4h"}, "refused": {"then": "stop"}}
ASKED = GATE | {"unanswered": {"then": "continue"}}


class Sluggish(PaperEngine):
    """A world in which calls last for their whole time limit, and people speak up at the last moment, if at all."""

    def __init__(self, one: Generated, chance: random.Random) -> None:
        super().__init__(one.plan, {})
        self.chance, self.badness = chance, chance.choice((0.3, 0.6, 0.9))
        self.begin({"key": chance.choice(("k", "k", "k", "x")), "names": []})

    def answer(self, call: Call) -> Outcome:
        if self.chance.random() < 0.8:
            seconds = 30 if isinstance(call, ResolveCall) else getattr(call, "timeout_seconds", 0)
            self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))
        bad = self.chance.random() < self.badness
        match call:
            case WriteCall():
                silent = (unknown(),) * 3
                return self.chance.choice((transient(), *silent, refused())) if bad else ok(THING)
            case LookUpCall():
                asked = (transient(), transient(), ok(None)) if bad else (ok(None), ok(THING))
                return self.chance.choice(asked)
            case ReadCall():
                seen = (transient(), ok(None)) if bad else tuple(ok({**THING, "state": s}) for s in ("there", "gone"))
                return self.chance.choice(seen)
            case StartCall():
                return self.chance.choice((transient(), unknown())) if bad else ok({"instance": "ins_child"})
            case InboxCall():
                return transient() if bad else ok({"events": []})
            case ResolveCall() if bad:
                return transient()
            case _:
                return super().answer(call)

    def seconds_until_executed(self) -> float:
        """Return after how long every step had settled."""
        for _ in range(3000):
            self.activate()
            if self.state.executed_at is not None:
                assert self.state.started_at is not None
                return (self.state.executed_at - self.state.started_at).total_seconds()
            assert self.wake_at is not None, "a silent stall"
            early = timedelta(seconds=self.chance.choice((0, 1)))
            self.clock.advance_to(max(self.wake_at - early, self.clock.now()))
            self._people_speak_up()
        raise AssertionError("does not end")

    def _people_speak_up(self) -> None:
        for step in self.state.steps.values():
            open_ = step.status is StepStatus.ASKING and step.approval is not None and step.approval.ending is None
            if open_ and self.chance.random() < 0.2:
                self.decide(step.id, self.chance.choice(("approve", "approve", "refuse")), self.chance.choice("abc"))
        for task in list(self.state.tasks.values()):
            if task.ending is None and task.said is None and self.chance.random() < 0.2:
                kind = self.chance.choice((Kind.TASK_DONE, Kind.TASK_DONE, Kind.TASK_FAILED))
                output = THING if task.purpose == "step" else {}
                self._append([self._said(kind, task.step or "", {"task": task.id, "output": output}, "ivo")])


def chains(count: int) -> Iterator[tuple[Generated, int]]:
    """Yield definitions of two steps, one after the other: the paper engine makes one call at a time."""
    for seed in range(count):
        text = written(random.Random(seed), steps_max=2)
        first, second = text["steps"]
        text["steps"][second]["needs"] = [first]
        text["steps"][second].pop("after", None)
        if not any("for_each" in step for step in text["steps"].values()):
            yield built(text, seed), seed


def test_no_instance_takes_longer_than_the_bound_and_some_take_nearly_as_long():
    shares = []
    for one, seed in chains(130):
        bound = bounds.executed_seconds(one.plan)
        for walk in range(3):
            took = Sluggish(one, random.Random(seed * 10 + walk)).seconds_until_executed()
            assert took <= bound, (seed, walk, took, bound, one.text)
            shares.append(took / bound)
    assert max(shares) > 0.9, "these instances would not notice a bound that is too small"


@pytest.mark.parametrize("flags", [0, 1])
def test_an_approval_that_is_asked_anew_because_a_flag_was_set_is_in_the_bound(flags: int):
    late = {"do": [{"flag": "late"}, TASK], "then": "continue"}
    name = "= flags.late ? 'x' : 'y'" if flags else "y"
    slow = making("make_natural", retry={"attempts": 2, "first": "180m", "max": "180m"}, compensate=late)
    steps = {"a": slow, "b": making("make_natural", approval=ASKED) | {"with": {"name": name}}}

    def make(call: WriteCall) -> Outcome:
        return transient() if call.key.startswith("a/") else ok(THING)

    paper = LabPaper(steps, {"lab.make_natural": make})
    paper.run_for(minutes=239)
    paper.decide("b", "approve").run_for(hours=30)
    assert (paper.status()["b"] == "declined") is bool(flags)
    settled, started = paper.state.steps["b"].settled_at, paper.state.started_at
    assert settled is not None
    assert started is not None
    took = (settled - started).total_seconds()
    assert took <= bounds.step_seconds(paper.plan.steps["b"])
    plain = built(definition({"b": making("make_natural", approval=ASKED)})).plan.steps["b"]
    assert (took > bounds.step_seconds(plain)) is bool(flags), "without the second asking the bound would be too small"
