"""The exploration against brute force, and the prediction of a rollback against the real core."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from support.generated import LAB, Generated, definitions
from topstitch import lifecycle
from topstitch.model.instance import SUCCEEDED, Disposition, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState
from topstitch.plan.rollback_order import transitive_needs
from topstitch.torture.explore import payable, ready
from topstitch.torture.journal import PaperJournal
from topstitch.torture.walk import FAULT_KINDS, INSTANCE, Walker
from topstitch.verifier.classes import Effect, OutcomeClass, classes
from topstitch.verifier.explore import Explorer
from topstitch.verifier.scenarios import unwinding

Where = tuple[StepStatus, str]


class Brute:
    """Every order of every class of every step, walked one by one: no hashing, no reduction, no sharing."""

    def __init__(self, one: Generated) -> None:
        self.plan = one.plan
        self.classes = classes(one.plan)
        self.ends: set[tuple[str, tuple[StepStatus, ...]]] = set()
        self.seen: set[tuple[str, tuple[tuple[str, str, str], ...]]] = set()

    def walk(self) -> set[tuple[str, tuple[StepStatus, ...]]]:
        self._forward({})
        return self.ends

    def _forward(self, settled: dict[str, OutcomeClass | None]) -> None:
        left = [name for name in self.plan.steps if name not in settled]
        if not left:
            self._end("completed", settled)
        for name in left:
            needs = self.plan.steps[name].needs
            if any(need not in settled for need in needs):
                continue
            if any(not self._happened(settled[need]) for need in needs):
                self._forward({**settled, name: None})
                continue
            for one in self.classes[name]:
                after = {**settled, name: one}
                if one.then is Disposition.CONTINUE:
                    self._forward(after)
                else:
                    self._turn(after, one.then)

    def _turn(self, settled: dict[str, OutcomeClass | None], then: Disposition) -> None:
        for rest in self._rests(settled, [name for name in self.plan.steps if name not in settled]):
            self._end("stopped" if then is Disposition.STOP else "rolled_back", rest)

    def _rests(
        self, settled: dict[str, OutcomeClass | None], left: list[str]
    ) -> Iterator[dict[str, OutcomeClass | None]]:
        """Each step that could be on its way may be left given up, whatever its effect; the others are not run."""
        if not left:
            yield settled
            return
        name, *others = left
        yield from self._rests({**settled, name: None}, others)
        if all(self._happened(settled.get(need)) for need in self.plan.steps[name].needs):
            for one in self.classes[name]:
                if one.status is StepStatus.GIVEN_UP:
                    yield from self._rests({**settled, name: one}, others)

    def _happened(self, one: OutcomeClass | None) -> bool:
        return one is not None and one.status in SUCCEEDED

    def _end(self, how: str, settled: dict[str, OutcomeClass | None]) -> None:
        order = [settled[name] for name in self.plan.steps]
        if how != "rolled_back":
            self.ends.add((how, tuple(one.status if one else StepStatus.NOT_RUN for one in order)))
            return
        ways: list[tuple[StepStatus, ...]] = [()]
        for name, one in zip(self.plan.steps, order, strict=True):
            ways = [(*way, status) for way in ways for status in self._back(name, one)]
        self.ends |= {(how, way) for way in ways}

    def _back(self, name: str, one: OutcomeClass | None) -> list[StepStatus]:
        step = self.plan.steps[name]
        if one is None:
            return [StepStatus.NOT_RUN]
        leaves = step.act is not None and step.act.action.writes
        there = self._happened(one) or (one.status is StepStatus.GIVEN_UP and one.effect is not Effect.NONE)
        if not leaves or not there:
            return [one.status]
        if one.effect is Effect.FOUND or step.undo is None:
            return [StepStatus.KEPT]
        tried = [StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND, StepStatus.UNDO_OPEN]
        finds = any(other.effect is Effect.FOUND for other in self.classes[name])
        return [*tried, StepStatus.KEPT] if one.effect is Effect.APPLIED and finds else tried


CHUNKS = 5


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_exploration_reaches_what_brute_force_reaches(chunk: int):
    for one in definitions(100, 10_000 + 100 * chunk, steps_max=2):
        found = Explorer(one.plan, classes(one.plan)).explore(None, seconds_max=20)
        assert found.complete
        assert not found.stalls
        explored = {(_how(finish.end.value), finish.statuses) for finish in found.finals}
        brute = Brute(one).walk()
        missed = {end for end in brute if end not in explored and not _rested_without_effect(one, end)}
        assert not missed, (one.seed, missed)
        assert {end for end in explored if end not in brute and not _rested_without_effect(one, end)} == set(), one.seed


def _how(end: str) -> str:
    return end.removesuffix("_with_exceptions")


def _rested_without_effect(one: Generated, end: tuple[str, tuple[StepStatus, ...]]) -> bool:
    """Whether a write on its way was given up without effect, which no class says: only the explorer knows."""
    return end[0] != "completed" and any(
        status is StepStatus.GIVEN_UP
        and not any(c.status is StepStatus.GIVEN_UP and c.effect is Effect.NONE for c in classes(one.plan)[name])
        for name, status in zip(one.plan.steps, end[1], strict=True)
    )


def test_the_reduction_loses_no_end():
    for one in definitions(60, 12_000, steps_max=3):
        outcomes = classes(one.plan)
        for faults in (1, None):
            whole = Explorer(one.plan, outcomes, reduce=False).explore(faults, seconds_max=30)
            reduced = Explorer(one.plan, outcomes).explore(faults, seconds_max=30)
            assert whole.finals == reduced.finals, one.seed
            assert reduced.states <= whole.states


def test_H03_what_is_unwound_is_what_was_predicted():
    """Random failure points of random definitions, carried out by the real core: order, actions and residue agree."""
    rolled = 0
    for one in definitions(150, 13_000, steps_max=4):
        for walk in range(6):
            records = _schedule(one, seed=one.seed * 7 + walk)
            at = next((i for i, (draft, _) in enumerate(records) if _turns_back(draft)), None)
            if at is not None:
                rolled += 1
                _agree(one, records[at:])
    assert rolled > 60


Folded = tuple[Draft, InstanceState]
"""A record, and the state before it."""


def _schedule(one: Generated, seed: int) -> list[Folded]:
    """Walk one schedule with two faults at random places."""
    chance = random.Random(seed)
    arena = ready(one.plan, schema=LAB.events["started"].data, reconcile=False)
    walker = Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=FAULT_KINDS - {"crash"})
    point, left = walker.top(2), 2
    state = lifecycle.initial(arena.plan, INSTANCE)
    records: list[Folded] = []
    for _ in range(2000):
        options = payable(point, left)
        choice = chance.choice(options[1:]) if len(options) > 1 and chance.random() < 0.15 else options[0]
        node = point.take(choice)
        for draft in node.wrote:
            records.append((draft, state))
            state = lifecycle.fold(arena.plan, state, draft)
        if node.ended:
            return [*records, (records[-1][0], state)]
        point, left = walker.expand(node), node.left
    raise AssertionError("does not end")


def _turns_back(draft: Draft) -> bool:
    return draft.kind == Kind.MODE_CHANGED and draft.body["mode"] == "rolling_back"


UNWINDS = {Kind.STEP_KEPT, Kind.STEP_UNDONE, Kind.EXECUTED}
TAKEN_BACK = {StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND, StepStatus.UNDO_OPEN}


def _unwinds(draft: Draft) -> bool:
    return draft.kind in UNWINDS or (draft.kind == Kind.ACT_PROPOSED and draft.body["purpose"] in ("undo", "find"))


def _agree(one: Generated, records: list[Folded]) -> None:
    """Predict from the state at rest, before the first undo; compare with what is recorded from then on."""
    at = next(i for i, (draft, _) in enumerate(records) if _unwinds(draft))
    rest, ended = records[at][1], records[-1][1]
    there = {
        s.id
        for s in rest.steps.values()
        if s.status in SUCCEEDED or (s.status is StepStatus.GIVEN_UP and s.effect != "none")
    }
    theirs = {s.id for s in rest.steps.values() if s.found}
    predicted = unwinding(one.plan, there, theirs)
    expected = [undoing.step for undoing in predicted.undone]

    kept = {s.id for s in ended.steps.values() if s.status is StepStatus.KEPT}
    taken_back = {s.id for s in ended.steps.values() if s.status in TAKEN_BACK}
    only_found = {
        s.id
        for s in ended.steps.values()
        if s.id in expected and s.id in kept and any(ended.acts[a].found for a in s.acts)
    }
    assert taken_back | only_found == set(expected), one.seed
    assert kept - theirs - only_found == {name for name, _ in predicted.residue}, one.seed

    first: dict[str, Draft] = {}
    for draft, _ in records[at:]:
        if draft.kind == Kind.ACT_PROPOSED and draft.body["purpose"] == "undo":
            first.setdefault(draft.step or "", draft)
    actions = {undoing.step: (undoing.system, undoing.action) for undoing in predicted.undone}
    assert {
        name: (draft.body["system"], draft.body["action"]) for name, draft in first.items()
    }.items() <= actions.items(), one.seed
    waits = {name: (*step.needs, *step.after) for name, step in one.plan.steps.items()}
    for earlier, later in itertools.combinations(first, 2):
        if earlier in transitive_needs(waits, later) or later in transitive_needs(waits, earlier):
            assert expected.index(earlier) < expected.index(later), one.seed
