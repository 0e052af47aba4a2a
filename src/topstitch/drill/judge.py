"""Decides what became of each step under a fault: completed, compensated, degraded as declared, waiting, or stuck.

``stage`` hands in the instance as it ended, or did not. Pure. A status that no outcome class of the
definition declares is *stuck* too: what nobody declared nobody expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from topstitch.model.instance import StepStatus
from topstitch.model.state import InstanceState, TaskState
from topstitch.plan.plan import Plan
from topstitch.verifier.classes import classes

NAMES_MAX: Final = 2


class Fate(StrEnum):
    """What became of a step."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    DEGRADED = "degraded as declared"
    WAITING = "waiting on a named person"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One step under one fault."""

    step: str
    fate: Fate
    why: str
    """On whom it waits, or what it ended as."""


TAKEN_BACK: Final = frozenset({StepStatus.UNDONE, StepStatus.UNDONE_BY_HAND, StepStatus.KEPT, StepStatus.DONE_BY_HAND})
LEFT_OUT: Final = frozenset({StepStatus.SKIPPED, StepStatus.DECLINED, StepStatus.NOT_RUN, StepStatus.GIVEN_UP})


def judge(
    plan: Plan, state: InstanceState, *, trouble: str | None = None, held: frozenset[str] = frozenset()
) -> tuple[Cell, ...]:
    """Return what became of each step.

    ``trouble`` says why the instance did not come to its end; ``held`` names the connections that are paused
    with a case of their own, on which an instance may wait.
    """
    declared = {name: {one.status for one in ones} for name, ones in classes(plan).items()}
    return tuple(_cell(plan, state, name, declared[name], trouble, held) for name in plan.steps)


def _cell(
    plan: Plan,
    state: InstanceState,
    name: str,
    declared: Iterable[StepStatus],
    trouble: str | None,
    held: frozenset[str],
) -> Cell:
    status = state.steps[name].status
    tasks = [t for t in state.tasks.values() if t.step == name and t.ending != "withdrawn"]
    if status is StepStatus.DONE:
        return Cell(step=name, fate=Fate.COMPLETED, why="done")
    if trouble is None and state.ended is None and held:
        return Cell(step=name, fate=Fate.WAITING, why=f"{_team(plan)}, to renew {', '.join(sorted(held))}")
    if trouble is not None or state.ended is None:
        return Cell(step=name, fate=Fate.STUCK, why=trouble or f"{status}, and nothing follows")
    if status is StepStatus.UNDO_OPEN or (status is StepStatus.GIVEN_UP and tasks):
        return Cell(step=name, fate=Fate.WAITING, why=_whom(plan, tasks))
    if status in TAKEN_BACK:
        return Cell(step=name, fate=Fate.COMPENSATED, why=_word(status))
    if any(read.failed for read in state.context_reads.values()):
        return Cell(step=name, fate=Fate.WAITING, why=f"{_team(plan)}, with nothing written")
    if status in LEFT_OUT and (status in {*declared, StepStatus.NOT_RUN} or _is_stopped(state)):
        return Cell(step=name, fate=Fate.DEGRADED, why=_word(status))
    return Cell(step=name, fate=Fate.STUCK, why=f"{_word(status)}, which the definition does not declare")


def _is_stopped(state: InstanceState) -> bool:
    return state.ended in ("stopped", "cancelled")


def _whom(plan: Plan, tasks: Iterable[TaskState]) -> str:
    """Name who has the last task; the group, when the directory could not say who is in it."""
    for task in reversed(list(tasks)):
        names = [str(p.get("name") or p.get("id")) for p in task.people]
        if names:
            more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
            return ", ".join(names[:NAMES_MAX]) + more
        return task.to.removeprefix("group:")
    return _team(plan)


def _team(plan: Plan) -> str:
    return str(plan.owner.get("team", "the owner"))


def _word(status: StepStatus) -> str:
    return str(status).replace("_", " ")


def worst(cells: Iterable[Cell]) -> Mapping[Fate, int]:
    """Count the fates."""
    counts = dict.fromkeys(Fate, 0)
    for cell in cells:
        counts[cell.fate] += 1
    return counts
