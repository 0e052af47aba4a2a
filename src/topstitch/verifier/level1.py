"""Decides whether every failure has a declared end, by construction (``language.md`` 6.3, R1-R6).

Always complete, whatever the size of the definition. Each finding names the path in the
definition that is not covered. ``verify`` puts it into the verdict; ``publish`` refuses a
definition that has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from topstitch.language.load import Document
from topstitch.model.finding import Finding, Span
from topstitch.model.instance import Disposition
from topstitch.plan.plan import ActPlan, Plan, StepPlan, TaskPlan
from topstitch.verifier.classes import OutcomeClass, Path
from topstitch.verifier.words import LABELS, happened

RULES: Final = {
    "unbounded-call": "R1: every call has a time limit and a bounded number of tries",
    "endless-wait": "R2: every wait has an end",
    "undeclared-ending": "R3: every outcome has a declared ending",
    "nobody-asked": "R3: what the system cannot do is given to a person, or ends the instance",
    "endless-barrier": "R4: what a step comes after has a deadline",
    "cycle": "R5: no step waits for itself",
    "unbounded-items": "R5: items have a maximum",
    "unowned-undo": "R6: an undo that fails has an owner",
    "undeclared-undo": "R6: a write says how it is taken back, or why it is not",
    "undeclared-residue": "H-03: what cannot be taken back is informational, or a pivot the author has marked",
    "undefined-output": "H-03: nothing reads an output that does not exist at that point",
    "irreversible-then-rollback": "6.4: nothing irreversible may have happened when another step rolls back",
    "stall": "level 2: every state has a way on",
    "dead-step": "level 2: every step can happen",
    "flag-too-late": "level 2: a flag is read after it could be set",
}
"""Every code of this room, and what it stands for."""
WORD: Final = "informational"


class Places:
    """Makes findings at paths of the definition, at their place in the file when it is at hand."""

    def __init__(self, document: Document | None) -> None:
        self.document = document

    def finding(self, code: str, path: Path, message: str, remedy: str, severity: str = "error") -> Finding:
        """Return a finding on what stands at ``path``."""
        span = self.document.span(path) if self.document is not None else Span(1, 1, 1, 2)
        return Finding(code=code, message=message, span=span, help=remedy, severity=severity, path=path)


def level1(plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]], places: Places) -> tuple[Finding, ...]:
    """Return what keeps the claim from following: nothing when every failure has a declared end."""
    found: list[Finding] = []
    for step in plan.steps.values():
        here: Path = ("steps", step.id)
        found += _calls(step, here, places)
        found += _waits(step, here, places)
        found += _endings(plan, step, outcomes[step.id], here, places)
        found += _undo(step, here, places)
        found += _items(step, here, places)
    found += _cycles(plan, places)
    if not plan.owner.get("team"):
        found.append(
            places.finding("unowned-undo", ("owner", "team"), "nobody owns what cannot be undone", "name a team")
        )
    return tuple(found)


def _calls(step: StepPlan, here: Path, places: Places) -> Iterator[Finding]:
    acts: list[tuple[Path, ActPlan | None]] = [(here, step.act), ((*here, "rollback"), step.undo)]
    if step.compensate is not None:
        acts += [
            ((*here, "compensate", "do", i), a) for i, a in enumerate(step.compensate.items) if isinstance(a, ActPlan)
        ]
    for path, act in acts:
        if act is None:
            continue
        if act.retry.attempts < 1:
            yield places.finding(
                "unbounded-call", (*path, "retry", "attempts"), f"{act.action.name} is never tried", "try once at least"
            )
        if act.timeout_seconds <= 0:
            said = f"{act.action.name} has no time limit: an answer that never comes would be waited for"
            yield places.finding("unbounded-call", (*path, "timeout"), said, "give it one, such as 30s")
        for index, expect in enumerate(act.expects):
            if expect.within_seconds <= 0:
                said = "a read-back that ends at once calls every write a failure"
                yield places.finding(
                    "endless-wait", (*path, "expect", index, "within"), said, "give it time, such as 5m"
                )


def _waits(step: StepPlan, here: Path, places: Places) -> Iterator[Finding]:
    waits: list[tuple[Path, str, float]] = []
    if step.approval is not None:
        waits.append(((*here, "approval", "otherwise", "give_up"), "the approval", step.approval.give_up_seconds))
    if step.wait is not None:
        waits.append(((*here, "wait_for", "give_up"), "the wait", step.wait.give_up_seconds))
    if step.call is not None:
        waits.append(((*here, "call", "give_up"), "the called workflow", step.call.give_up_seconds))
    if step.compensate is not None:
        for index, item in enumerate(step.compensate.items):
            if isinstance(item, TaskPlan):
                waits.append(((*here, "compensate", "do", index, "task", "give_up"), "the task", item.give_up_seconds))
    for path, what, seconds in waits:
        if seconds <= 0:
            said = f"{what} ends before anybody can do anything"
            yield places.finding("endless-wait", path, said, "say how long it may stay open, such as 24h")
    for other, limit in step.after.items():
        if limit <= 0:
            said = f"'{step.id}' comes after '{other}' with no time to wait for it"
            yield places.finding(
                "endless-barrier", (*here, "after", other), said, "give a deadline, such as 45m, or remove it"
            )


def _endings(
    plan: Plan, step: StepPlan, outcomes: tuple[OutcomeClass, ...], here: Path, places: Places
) -> Iterator[Finding]:
    undeclared = [one for one in outcomes if not one.declared]
    if undeclared:
        cases = " / ".join(LABELS[case] for case in dict.fromkeys(one.case for one in undeclared))
        said = f"'{step.id}' does not say what follows when: {cases}"
        yield places.finding(
            "undeclared-ending", (*here, "compensate"), said, "declare it: compensate: {do: [...], then: ...}"
        )
        return
    for one in outcomes:
        if (
            one.faults
            and not one.tasks
            and one.then is Disposition.CONTINUE
            and one.effect != "none"
            and one.status != "done"
        ):
            said = f"when {happened(one, plan)}, the instance goes on and nobody is asked to look"
            yield places.finding(
                "nobody-asked", (*here, "compensate", "do"), said, "add a task, or end with stop or rollback"
            )
            return


def _undo(step: StepPlan, here: Path, places: Places) -> Iterator[Finding]:
    if step.act is None or not step.act.action.writes or step.undo is not None:
        return
    if step.no_undo is None:
        said = f"'{step.id}' writes, and does not say how that is taken back"
        yield places.finding(
            "undeclared-undo", (*here, "rollback"), said, "name the undo, or write rollback: {none: why}"
        )
    elif WORD not in step.no_undo.lower() and not step.pivot:
        said = f"'{step.id}' cannot be taken back, and is declared neither informational nor a pivot"
        remedy = f"name an undo or a corrective message, write 'none: {WORD}; ...' if it only informs, or 'pivot: true'"
        yield places.finding("undeclared-residue", (*here, "rollback", "none"), said, remedy)


def _items(step: StepPlan, here: Path, places: Places) -> Iterator[Finding]:
    if step.items is not None and step.items_max < 1:
        yield places.finding("unbounded-items", (*here, "for_each", "max"), "the items have no maximum", "give max")


def _cycles(plan: Plan, places: Places) -> Iterator[Finding]:
    done: set[str] = set()
    for name in plan.steps:
        way = _circle(plan, name, [], done)
        if way:
            said = f"these steps wait for each other: {' -> '.join(way)}"
            yield places.finding("cycle", ("steps", way[0], "needs"), said, "remove one of the waits")
            return


def _circle(plan: Plan, name: str, way: list[str], done: set[str]) -> list[str]:
    if name in way:
        return [*way[way.index(name) :], name]
    if name in done or name not in plan.steps:
        return []
    step = plan.steps[name]
    for other in (*step.needs, *step.after):
        found = _circle(plan, other, [*way, name], done)
        if found:
            return found
    done.add(name)
    return []
