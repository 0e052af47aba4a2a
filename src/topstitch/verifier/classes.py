"""Decides in which ways each step can end: its outcome classes.

A class is one answer to *what if*: what happened, what the step ends as, what becomes of the
instance, who is asked, and after how long at the latest. ``explore`` combines them, ``table``
words them, ``level1`` asks whether each has a declared end. They follow what the execution
stage does: opening a task does not hold the rest of a compensation list back; a task that is
done makes the step done by hand; without a task the step is given up whatever was declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from topstitch.language.values import constant
from topstitch.model.action import Idempotency
from topstitch.model.instance import Disposition, StepStatus
from topstitch.plan.plan import ActPlan, CompensatePlan, EndingPlan, FlagPlan, Plan, StepPlan, TaskPlan
from topstitch.verifier import bounds

Path = tuple[str | int, ...]


class Effect(StrEnum):
    """What a step that ended may have left in its system."""

    NONE = "none"
    APPLIED = "applied"
    UNKNOWN = "unknown"
    BY_HAND = "by_hand"
    FOUND = "found"
    """It was there before us, and is never undone."""


class Case(StrEnum):
    """What happened to a step."""

    DONE = "done"
    """Done and confirmed."""
    DONE_AFTER_DOUBT = "done_after_doubt"
    """No answer came; a look-up, or sending again, settled it."""
    FOUND = "found"
    """What it was to make was there before us."""
    NOBODY_FOUND = "nobody_found"
    """The directory names nobody to ask, so the owner is asked."""
    CONDITION_FALSE = "condition_false"
    PRECONDITION = "precondition"
    REFUSED_BY_PERSON = "refused_by_person"
    UNANSWERED = "unanswered"
    EXPRESSION = "expression"
    """Its condition or payload could not be worked out."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    DISAGREES = "disagrees"
    SOME_FAILED = "some_failed"
    EXPIRED = "expired"
    """The event it waits for did not come."""
    CALLED_FAILED = "called_failed"
    CALLED_LATE = "called_late"


FAILURES: Final = frozenset(
    {
        Case.EXPRESSION,
        Case.REFUSED,
        Case.UNREACHABLE,
        Case.UNKNOWN,
        Case.DISAGREES,
        Case.SOME_FAILED,
        Case.CALLED_FAILED,
        Case.CALLED_LATE,
    }
)
"""What leads to compensation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeClass:
    """One way in which a step can end."""

    step: str
    case: Case
    status: StepStatus
    then: Disposition
    effect: Effect = Effect.NONE
    faults: int = 0
    by_hand: bool | None = None
    """Whether the task was done; nothing when there was none."""
    flags: tuple[str, ...] = ()
    tasks: tuple[TaskPlan, ...] = ()
    actions: tuple[str, ...] = ()
    """Further actions that are carried out, as ``system.action``."""
    told: tuple[str, ...] = ()
    because: str = ""
    asked: bool = False
    """Whether an approval came before."""
    machine_seconds: float = 0
    human_seconds: float = 0
    approval_seconds: float = 0
    """The share of ``human_seconds`` that the approval may take."""
    path: Path = field(default=())
    """Where the definition says what follows."""

    @property
    def seconds(self) -> float:
        """After how long at the latest the step has settled."""
        return self.machine_seconds + self.human_seconds

    @property
    def opens_case(self) -> bool:
        """Whether a case stays open that the instance ends with."""
        stopped = self.then is Disposition.STOP and self.case in FAILURES
        return self.by_hand is False or stopped or self.case is Case.NOBODY_FOUND

    @property
    def declared(self) -> bool:
        """Whether the definition says what follows; else the engine stops the instance."""
        return bool(self.path)


def classes(plan: Plan) -> dict[str, tuple[OutcomeClass, ...]]:
    """Return every outcome class of every step, the good ones first."""
    return {name: tuple(_of_step(step)) for name, step in plan.steps.items()}


def _of_step(step: StepPlan) -> Iterator[OutcomeClass]:
    here: Path = ("steps", step.id)
    condition = constant(step.when.source) if step.when is not None else True
    if condition is not False:
        yield from _done(step, here)
    if step.when is not None and condition is not True:
        yield OutcomeClass(
            step=step.id,
            case=Case.CONDITION_FALSE,
            status=StepStatus.SKIPPED,
            then=Disposition.CONTINUE,
            path=(*here, "when"),
        )
    if condition is False:
        return
    for index, check in enumerate(step.require):
        yield OutcomeClass(
            step=step.id,
            case=Case.PRECONDITION,
            status=StepStatus.DECLINED,
            then=check.otherwise,
            because=check.because,
            path=(*here, "require", index, "otherwise"),
        )
    if step.wait is None:
        yield from _declined(step, here)
        yield from _failed(step, here)


def _done(step: StepPlan, here: Path) -> Iterator[OutcomeClass]:
    effect = Effect.APPLIED if step.act is not None and step.act.action.writes else Effect.NONE
    machine, human = bounds.carry_seconds(step), bounds.approval_seconds(step)
    yield OutcomeClass(
        step=step.id,
        case=Case.DONE,
        status=StepStatus.DONE,
        then=Disposition.CONTINUE,
        effect=effect,
        told=step.tell,
        asked=step.approval is not None,
        machine_seconds=bounds.plain_seconds(step.act) if step.act else machine,
        human_seconds=human,
        approval_seconds=human,
        path=here,
    )
    if step.wait is not None:
        yield OutcomeClass(
            step=step.id,
            case=Case.EXPIRED,
            status=StepStatus.DECLINED,
            then=step.wait.otherwise,
            faults=1,
            human_seconds=step.wait.give_up_seconds,
            path=(*here, "wait_for", "otherwise"),
        )
        return
    more: list[tuple[Case, Effect]] = []
    if step.act is not None and (step.act.can_look_up or step.act.repeatable):
        more.append((Case.DONE_AFTER_DOUBT, effect))
    if effect is Effect.APPLIED and can_find(step):
        more.append((Case.FOUND, Effect.FOUND))
    if step.approval is not None:
        more.append((Case.NOBODY_FOUND, effect))
    for case, left in more:
        yield OutcomeClass(
            step=step.id,
            case=case,
            status=StepStatus.DONE,
            then=Disposition.CONTINUE,
            effect=left,
            faults=1,
            told=step.tell,
            machine_seconds=machine,
            human_seconds=human,
            approval_seconds=human,
            path=here,
        )


def can_find(step: StepPlan) -> bool:
    """Whether the step can tell that what it makes was there before it."""
    act = step.act
    return act is not None and (act.looks_first or act.action.idempotency is Idempotency.NATURAL)


def _declined(step: StepPlan, here: Path) -> Iterator[OutcomeClass]:
    if step.approval is None:
        return
    for name, case, ending, faults in (
        ("refused", Case.REFUSED_BY_PERSON, step.approval.refused, 0),
        ("unanswered", Case.UNANSWERED, step.approval.unanswered, 1),
    ):
        yield _ended(step, case, ending, faults, (*here, "approval", name, "then"))


def _ended(step: StepPlan, case: Case, ending: EndingPlan, faults: int, path: Path) -> OutcomeClass:
    return OutcomeClass(
        step=step.id,
        case=case,
        status=StepStatus.DECLINED,
        then=ending.then,
        faults=faults,
        flags=(ending.flag,) if ending.flag else (),
        told=ending.tell,
        asked=True,
        human_seconds=bounds.approval_seconds(step),
        approval_seconds=bounds.approval_seconds(step),
        path=path,
    )


def _failed(step: StepPlan, here: Path) -> Iterator[OutcomeClass]:
    tried = bounds.try_seconds(step.act) if step.act else 0
    whole = bounds.carry_seconds(step)
    yield from _compensated(step, here, Case.EXPRESSION, Effect.NONE, 0)
    if step.call is not None:
        yield from _compensated(step, here, Case.CALLED_FAILED, Effect.APPLIED, step.call.give_up_seconds)
        yield from _compensated(step, here, Case.CALLED_LATE, Effect.UNKNOWN, step.call.give_up_seconds)
        return
    yield from _compensated(step, here, Case.REFUSED, Effect.NONE, tried)
    yield from _compensated(step, here, Case.UNREACHABLE, Effect.NONE, tried)
    if step.act is not None and step.act.action.writes:
        yield from _compensated(step, here, Case.UNKNOWN, Effect.UNKNOWN, tried)
    if step.act is not None and step.act.expects:
        yield from _compensated(step, here, Case.DISAGREES, Effect.APPLIED, whole)
    if step.items is not None:
        yield from _compensated(step, here, Case.SOME_FAILED, Effect.APPLIED, whole)


NOTHING: Final = CompensatePlan(items=(), done=Disposition.STOP, not_done=Disposition.STOP)


def _compensated(step: StepPlan, here: Path, case: Case, effect: Effect, machine: float) -> Iterator[OutcomeClass]:
    declared = step.compensate or NOTHING
    tasks = tuple(item for item in declared.items if isinstance(item, TaskPlan))
    actions = tuple(item for item in declared.items if isinstance(item, ActPlan))
    both = declared.done is not declared.not_done
    then: Path = (*here, "compensate", "then") if step.compensate else ()
    shared = {
        "step": step.id,
        "case": case,
        "flags": tuple(item.flag for item in declared.items if isinstance(item, FlagPlan)),
        "tasks": tasks,
        "actions": tuple(f"{act.system}.{act.action.name}" for act in actions),
        "asked": step.approval is not None and case is not Case.EXPRESSION,
        "machine_seconds": machine + sum(bounds.act_seconds(act) for act in actions),
        "approval_seconds": bounds.approval_seconds(step),
        "human_seconds": bounds.approval_seconds(step)
        + max((bounds.task_seconds(t, step.act) for t in tasks), default=0),
    }
    good = OutcomeClass(
        status=StepStatus.DONE_BY_HAND if tasks else StepStatus.GIVEN_UP,
        effect=Effect.BY_HAND if tasks else effect,
        then=declared.done,
        faults=1,
        by_hand=True if tasks else None,
        path=(*then, "done") if then and both else then,
        **shared,  # type: ignore[arg-type]
    )
    yield good
    if tasks or actions:
        yield OutcomeClass(
            status=StepStatus.GIVEN_UP,
            effect=effect,
            then=declared.not_done,
            faults=2,
            by_hand=False if tasks else None,
            path=(*then, "not_done") if then and both else then,
            **shared,  # type: ignore[arg-type]
        )
