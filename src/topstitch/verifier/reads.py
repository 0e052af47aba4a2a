"""Decides whether anything reads what would not be there: an output, or a flag that is set too late.

A step's output exists once it has succeeded. A compensation stands in for a step that has
not, so it may not read that step's output; others may read it only when they need the step.
A flag is false until it is set: a reader that does not wait for every step that can set it
may look too early. Called by ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from topstitch.language.expressions import Expression, Template
from topstitch.model.finding import Finding
from topstitch.model.instance import StepStatus
from topstitch.plan.plan import ActPlan, Plan, StepPlan, TaskPlan
from topstitch.plan.rollback_order import transitive_needs
from topstitch.verifier.classes import OutcomeClass, Path
from topstitch.verifier.level1 import Places

Read = tuple[Path, frozenset[str]]


def undefined_outputs(
    plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]], places: Places
) -> Iterator[Finding]:
    """Yield what reads an output that is not there on some way."""
    needs = {name: step.needs for name, step in plan.steps.items()}
    formless = {name for name, step in plan.steps.items() if step.act is None or step.items is not None}
    by_hand = {name for name, ones in outcomes.items() if any(o.status is StepStatus.DONE_BY_HAND for o in ones)}
    for name, step in plan.steps.items():
        before = transitive_needs(needs, name)
        for path, paths in (*_reads(step), *_compensations(step), *_undo(step)):
            for other in sorted(_outputs(paths) - {name}):
                if other not in before:
                    said = f"'{name}' reads the output of '{other}', which may not have happened by then"
                    yield places.finding("undefined-output", path, said, f"add 'needs: [{other}]', or do not read it")
                elif other in formless & by_hand:
                    said = f"'{name}' reads the output of '{other}'; done by hand, that has none"
                    yield places.finding("undefined-output", path, said, "read it with .? and a default", "warning")
        for path, paths in _compensations(step):
            if any(p == "step.output" or p.startswith("step.output.") for p in paths) or name in _outputs(paths):
                said = f"what compensates '{name}' reads its output, and there is none: the step was not completed"
                yield places.finding("undefined-output", path, said, "read step.input or the context instead")


def late_flags(plan: Plan, outcomes: Mapping[str, tuple[OutcomeClass, ...]], places: Places) -> Iterator[Finding]:
    """Yield what reads a flag that a step may set only afterwards; a deadline that runs out is what was declared."""
    setters: dict[str, set[str]] = {}
    for name, ones in outcomes.items():
        for flag in (flag for one in ones for flag in one.flags):
            setters.setdefault(flag, set()).add(name)
    waits = {name: (*step.needs, *step.after) for name, step in plan.steps.items()}
    for name, step in plan.steps.items():
        for path, paths in _reads(step):
            for flag in sorted({p.split(".")[1] for p in paths if p.startswith("flags.")}):
                for setter in sorted(setters.get(flag, set()) - {name} - transitive_needs(waits, name)):
                    said = f"'{name}' may read the flag '{flag}' before '{setter}' can set it: it does not wait for it"
                    yield places.finding("flag-too-late", path, said, f"add 'after: {{{setter}: 45m}}'", "warning")
                if flag not in setters:
                    said = f"'{name}' reads the flag '{flag}', which nothing ever sets"
                    yield places.finding(
                        "flag-too-late", path, said, "set it in a compensation or an approval's ending", "warning"
                    )


def _reads(step: StepPlan) -> list[Read]:
    here: Path = ("steps", step.id)
    found: list[Read] = []
    _add(found, (*here, "when"), step.when)
    for index, check in enumerate(step.require):
        _add(found, (*here, "require", index, "check"), check.check)
    if step.approval is not None:
        _add(found, (*here, "approval", "auto_when"), step.approval.auto_when)
    _add(found, (*here, "for_each", "items"), step.items)
    if step.act is not None:
        _add(found, (*here, "with"), step.act.params)
        for index, expect in enumerate(step.act.expects):
            _add(found, (*here, "expect", index, "with"), expect.params)
            _add(found, (*here, "expect", index, "that"), expect.that)
    if step.wait is not None:
        _add(found, (*here, "wait_for", "match"), step.wait.match)
    if step.call is not None:
        _add(found, (*here, "call", "with"), step.call.params)
    return found


def _compensations(step: StepPlan) -> list[Read]:
    found: list[Read] = []
    for index, item in enumerate(step.compensate.items if step.compensate else ()):
        path: Path = ("steps", step.id, "compensate", "do", index)
        match item:
            case TaskPlan():
                _add(found, (*path, "task", "title"), item.title)
            case ActPlan():
                _add(found, (*path, "with"), item.params)
            case _:
                pass
    return found


def _undo(step: StepPlan) -> list[Read]:
    found: list[Read] = []
    if step.undo is not None:
        _add(found, ("steps", step.id, "rollback", "with"), step.undo.params)
    return found


def _add(found: list[Read], path: Path, reads: Expression | Template | None) -> None:
    if reads is not None:
        found.append((path, reads.paths))


def _outputs(paths: frozenset[str]) -> set[str]:
    parts = [path.split(".") for path in paths]
    return {part[1] for part in parts if len(part) > 2 and part[0] == "steps" and part[2] == "output"}
