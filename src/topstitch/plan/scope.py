"""Decides which names an expression sees, and what stands under them.

One place for all stages: ``trigger``, ``context``, ``steps``, ``flags``, ``process`` and
``env`` always; ``step``, ``found``, ``difference``, ``item`` and ``event`` where they mean
something (``language.md`` 2.5). There is no clock among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topstitch.foundation.timetext import rfc3339
from topstitch.language.expressions import Facts
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.plan import Plan


def facts(plan: Plan, state: InstanceState, **local: Any) -> Facts:
    """Return the facts of an instance, with ``local`` names on top."""
    return Facts({**values(plan, state), **local}, rates=state.rates)


_NO_STATE = InstanceState(id="")
_last: tuple[InstanceState, dict[str, Any]] = (_NO_STATE, {})


def values(plan: Plan, state: InstanceState) -> dict[str, Any]:
    """Return the names in scope everywhere. The answer for the state asked about last is kept; do not change it."""
    global _last  # noqa: PLW0603 -- a memo of a pure function: states are values
    known, answer = _last
    if known is not state:
        answer = _values(plan, state)
        _last = (state, answer)
    return answer


def _values(plan: Plan, state: InstanceState) -> dict[str, Any]:
    return {
        "trigger": state.trigger,
        "context": state.context,
        "steps": {name: _step(step) for name, step in state.steps.items()},
        "flags": {name: state.flags.get(name, False) for name in plan.flags},
        "process": process(plan, state),
        "env": state.environment,
    }


def process(plan: Plan, state: InstanceState) -> Mapping[str, Any]:
    """Return what is known of the instance itself."""
    return {
        "id": state.id,
        "workflow": plan.workflow,
        "version": plan.version,
        "title": state.title,
        "key": state.correlation,
        "requester": state.requester or "",
        "started_at": rfc3339(state.started_at) if state.started_at else "",
    }


def step_values(step: StepState) -> dict[str, Any]:
    """Return the ``step`` an expression of that step sees."""
    return {**_step(step), "started_at": rfc3339(step.started_at) if step.started_at else ""}


def _step(step: StepState) -> dict[str, Any]:
    known: dict[str, Any] = {"status": str(step.status)}
    if step.input is not None:
        known["input"] = step.input
    if step.output is not None:
        known["output"] = step.output
    return known


def read_values(scope: Mapping[str, Any], paths: frozenset[str]) -> dict[str, Any]:
    """Return the value under each dotted path, for the record of what a decision read."""
    found: dict[str, Any] = {}
    for path in sorted(paths):
        value: Any = scope
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[path] = value
    return found
