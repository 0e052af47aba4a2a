"""Walks every order of every outcome of a plan, and says what can be reached and how.

Each step is one of its outcome classes; a state is where every step stands. Breadth first,
so that the first way to anything is the shortest. While nothing that is still to come can
turn the instance round, the order of steps changes nothing, and one order is walked for all.
The undo of one step neither waits for nor changes the outcome of another's, so they are
walked in one order too. ``verify`` chooses the budget and says what was cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from topstitch.foundation.clock import stopwatch
from topstitch.model.instance import IN_ORDER, SUCCEEDED, Disposition, InstanceEnd, StepStatus
from topstitch.plan.plan import Plan
from topstitch.verifier.classes import Effect, OutcomeClass, can_find
from topstitch.verifier.words import label

State = tuple[int, int, tuple[int, ...]]
"""The mode, the faults so far, and the place of each step, as a number."""
FORWARD, TURNING_BACK, STOPPING, UNDOING, COMPLETED, ROLLED_BACK, STOPPED = range(7)
RESTS: Final = {TURNING_BACK: UNDOING, STOPPING: STOPPED}
"""Modes in which nothing new begins, and what follows once everything has come to rest."""
ENDS: Final = frozenset({COMPLETED, ROLLED_BACK, STOPPED})
MODES: Final = {Disposition.CONTINUE: FORWARD, Disposition.ROLLBACK: TURNING_BACK, Disposition.STOP: STOPPING}
END: Final = "end"
KEPT: Final = "cannot be undone"
STATES_MAX: Final = 2_000_000
Place = tuple[StepStatus, Effect, bool]
"""Where a step stands: its status, what it may have left, and whether a case about it is open."""
WAITING: Final[Place] = (StepStatus.WAITING, Effect.NONE, False)
NOT_RUN: Final[Place] = (StepStatus.NOT_RUN, Effect.NONE, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """One way an instance can end: its end, and the status of every step."""

    end: InstanceEnd
    statuses: tuple[StepStatus, ...]


@dataclass(slots=True, kw_only=True)
class Explored:
    """What was reached."""

    faults: int | None
    states: int = 0
    transitions: int = 0
    complete: bool = True
    seconds: float = 0.0
    ends: dict[InstanceEnd, tuple[str, ...]] = field(default_factory=dict)
    """Each end that can be reached, and the shortest way there."""
    stalls: list[tuple[str, ...]] = field(default_factory=list)
    kept: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """``(step that rolls back, irreversible step that had happened)`` and the shortest way there."""
    succeeded: set[str] = field(default_factory=set)
    finals: set[Finish] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Move:
    place: int
    then: Disposition
    faults: int
    what: OutcomeClass


class Explorer:
    """Explores one plan."""

    def __init__(self, plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]], *, reduce: bool = True) -> None:
        self.plan, self.reduce = plan, reduce
        self.ids = list(plan.steps)
        self.index = {name: number for number, name in enumerate(self.ids)}
        self.places: list[Place] = [WAITING, NOT_RUN]
        self.numbers: dict[Place, int] = {WAITING: 0, NOT_RUN: 1}
        self.moves = [self._moves(outcomes[name]) for name in self.ids]
        self.needs = [[self.index[n] for n in plan.steps[name].needs] for name in self.ids]
        self.order = [self.index[name] for name in plan.undo_order]
        self.in_flight = [self._in_flight(name, outcomes[name]) for name in self.ids]
        self.turns = [any(m.then is not Disposition.CONTINUE for m in moves) for moves in self.moves]
        self._loose: set[tuple[str, str]] = set()
        """Pairs whose way so far ends in a step that was only on its way: a plainer one may follow."""
        self._cost_of_turning = [
            min((m.faults for m in moves if m.then is not Disposition.CONTINUE), default=99) for moves in self.moves
        ]

    def explore(self, faults: int | None, *, seconds_max: float, states_max: int = STATES_MAX) -> Explored:
        """Return what can be reached with at most ``faults`` faults; nothing for any number."""
        began = stopwatch()
        self._loose.clear()
        found = Explored(faults=faults)
        start: State = (FORWARD, 0, (0,) * len(self.ids))
        came: dict[State, tuple[State, object] | None] = {start: None}
        queue: deque[State] = deque([start])
        for looked in count():
            if not queue:
                break
            state = queue.popleft()
            if len(came) > states_max or (looked % 64 == 0 and stopwatch() - began > seconds_max):
                found.complete = False
                break
            if state[0] in ENDS:
                self._note_end(state, came, found)
                continue
            stuck = True
            for what, after in self._successors(state, faults):
                stuck = False
                found.transitions += 1
                if after not in came:
                    came[after] = (state, what)
                    queue.append(after)
                if isinstance(what, tuple) and what[1] == KEPT:
                    self._note_kept(state, what, came, found)
            if stuck:
                found.stalls.append(self._way(state, came))
        found.states, found.seconds = len(came), stopwatch() - began
        return found

    # --- what may follow -----------------------------------------------------------------------

    def _successors(self, state: State, faults: int | None) -> Iterator[tuple[object, State]]:
        mode, used, steps = state
        if mode == UNDOING:
            yield from self._undos(used, steps, faults)
            return
        waiting = [i for i, place in enumerate(steps) if place == 0]
        if mode in RESTS:
            yield from self._rests(mode, used, steps, waiting, faults)
            return
        if not waiting:
            yield END, (COMPLETED, 0, steps)
            return
        ready = [i for i in waiting if all(steps[n] != 0 for n in self.needs[i])]
        if self.reduce and not any(
            faults is None or used + self._cost_of_turning[i] <= faults for i in waiting if self.turns[i]
        ):
            ready = ready[:1]
        for i in ready:
            if not self._may_run(i, steps):
                yield (i, "not run: a step it needs did not happen"), (FORWARD, used, _with(steps, i, 1))
                continue
            for move in self.moves[i]:
                cost = used + move.faults if faults is not None else 0
                if faults is None or cost <= faults:
                    yield move.what, (MODES[move.then], cost, _with(steps, i, move.place))

    def _may_run(self, step: int, steps: tuple[int, ...]) -> bool:
        return all(self.places[steps[n]][0] in SUCCEEDED for n in self.needs[step])

    def _rests(
        self, mode: int, used: int, steps: tuple[int, ...], waiting: list[int], faults: int | None
    ) -> Iterator[tuple[object, State]]:
        """Come to rest: what was not on its way is not run; what was, in file order, may be left as it is."""
        rest = tuple(place or 1 for place in steps)
        yield END, (RESTS[mode], used if mode == TURNING_BACK else 0, rest)
        for i in waiting:
            if not self._may_run(i, steps):
                continue
            settled = rest[:i] + steps[i:]
            for number, cost in self.in_flight[i]:
                if faults is None or used + cost <= faults:
                    spent = used + cost if faults is not None else 0
                    yield (i, "was on its way, and is given up"), (mode, spent, _with(settled, i, number))

    def _undos(self, used: int, steps: tuple[int, ...], faults: int | None) -> Iterator[tuple[object, State]]:
        live = next((i for i in self.order if self._is_there(i, steps[i])), None)
        if live is None:
            yield END, (ROLLED_BACK, 0, steps)
            return
        _, effect, case = self.places[steps[live]]
        for cost, status, left, said in self._ways_back(live, effect):
            if faults is None or used + cost <= faults:
                place = self._number((status, left, case or status is StepStatus.UNDO_OPEN))
                yield (live, said), (UNDOING, used + cost if faults is not None else 0, _with(steps, live, place))

    def _ways_back(self, step: int, effect: Effect) -> Iterator[tuple[int, StepStatus, Effect, str]]:
        plan = self.plan.steps[self.ids[step]]
        if effect is Effect.FOUND:
            yield 0, StepStatus.KEPT, Effect.FOUND, "was there before us, and is left alone"
            return
        if plan.undo is None:
            yield 0, StepStatus.KEPT, Effect.APPLIED, KEPT
            return
        yield 0, StepStatus.UNDONE, Effect.NONE, "undone"
        yield 1, StepStatus.UNDONE_BY_HAND, Effect.NONE, "the undo fails; its owner takes it back by hand"
        yield 2, StepStatus.UNDO_OPEN, Effect.APPLIED, "the undo fails, and nobody takes it back: an open case"
        if effect is not Effect.APPLIED or not can_find(plan):
            return
        yield 1, StepStatus.KEPT, Effect.FOUND, "was there before us, and is left alone"

    def _is_there(self, step: int, place: int) -> bool:
        status, effect, _ = self.places[place]
        plan = self.plan.steps[self.ids[step]]
        if plan.act is None or not plan.act.action.writes:
            return False
        return status in SUCCEEDED or (status is StepStatus.GIVEN_UP and effect is not Effect.NONE)

    # --- what is noted -------------------------------------------------------------------------

    def _note_end(self, state: State, came: Mapping[State, tuple[State, object] | None], found: Explored) -> None:
        statuses = tuple(self.places[place][0] for place in state[2])
        end = _end_of(state[0], [self.places[place] for place in state[2]])
        found.finals.add(Finish(end=end, statuses=statuses))
        found.succeeded.update(name for name, status in zip(self.ids, statuses, strict=True) if status in SUCCEEDED)
        if end not in found.ends:
            found.ends[end] = self._way(state, came)

    def _note_kept(
        self,
        state: State,
        what: tuple[int, str],
        came: Mapping[State, tuple[State, object] | None],
        found: Explored,
    ) -> None:
        turner = self._turner(state, came)
        pair = (turner, self.ids[what[0]])
        happened = self.places[state[2][what[0]]][0] in SUCCEEDED
        if not turner or turner == pair[1] or (pair in found.kept and not (happened and pair in self._loose)):
            return
        found.kept[pair] = (*self._way(state, came), self._told(what))
        (self._loose.discard if happened else self._loose.add)(pair)

    def _turner(self, state: State, came: Mapping[State, tuple[State, object] | None]) -> str:
        at: State | None = state
        while at is not None and (step := came[at]) is not None:
            before, what = step
            if before[0] == FORWARD:
                return what.step if isinstance(what, OutcomeClass) else ""
            at = before
        return ""

    def _way(self, state: State, came: Mapping[State, tuple[State, object] | None]) -> tuple[str, ...]:
        way: list[str] = []
        at = state
        while (step := came[at]) is not None:
            before, what = step
            if what != END:
                way.append(self._told(what))
            at = before
        return tuple(reversed(way))

    def _told(self, what: object) -> str:
        if isinstance(what, OutcomeClass):
            return f"{what.step}: {label(what)}"
        assert isinstance(what, tuple)
        number: int = what[0]
        said: str = what[1]
        verb = "undo " if said == "undone" or "undo" in said else ""
        return f"{verb}{self.ids[number]}: {said}"

    # --- numbers -------------------------------------------------------------------------------

    def _number(self, place: Place) -> int:
        if place not in self.numbers:
            self.numbers[place] = len(self.places)
            self.places.append(place)
        return self.numbers[place]

    def _moves(self, outcomes: tuple[OutcomeClass, ...]) -> list[_Move]:
        """Return one move for each place and disposition: the cheapest class that leads there."""
        best: dict[tuple[int, Disposition], _Move] = {}
        for one in outcomes:
            move = _Move(self._number((one.status, one.effect, one.opens_case)), one.then, one.faults, one)
            known = best.get((move.place, move.then))
            if known is None or move.faults < known.faults:
                best[move.place, move.then] = move
        return list(best.values())

    def _in_flight(self, name: str, outcomes: tuple[OutcomeClass, ...]) -> list[tuple[int, int]]:
        """Return where a step may be left that was on its way when the instance turned, and at what cost."""
        step = self.plan.steps[name]
        left = {
            (StepStatus.GIVEN_UP, one.effect, case)
            for one in outcomes
            if one.status is StepStatus.GIVEN_UP
            for case in (False, one.opens_case)
        }
        if step.act is not None:
            left.add((StepStatus.GIVEN_UP, Effect.NONE, False))
        if step.call is not None:
            left.add((StepStatus.GIVEN_UP, Effect.UNKNOWN, True))  # what was called goes on, and a case says so
        return [(self._number(place), 1) for place in sorted(left)]


def _end_of(mode: int, places: list[Place]) -> InstanceEnd:
    case = any(open_ for _, _, open_ in places)
    if mode == STOPPED:
        return InstanceEnd.STOPPED
    if mode == ROLLED_BACK:
        kept = any(status is StepStatus.KEPT and effect is not Effect.FOUND for status, effect, _ in places)
        return InstanceEnd.ROLLED_BACK_WITH_EXCEPTIONS if case or kept else InstanceEnd.ROLLED_BACK
    clean = not case and all(status in IN_ORDER for status, _, _ in places)
    return InstanceEnd.COMPLETED if clean else InstanceEnd.COMPLETED_WITH_EXCEPTIONS


def _with(steps: tuple[int, ...], index: int, place: int) -> tuple[int, ...]:
    return (*steps[:index], place, *steps[index + 1 :])
