"""Decides whether the promises of a definition can be kept by the machine.

Adds up, along the longest way, every attempt, pause and read-back that the file allows. The
time people take is not in it: a promise about people is no arithmetic. ``check`` calls it;
``verify`` and ``table`` show the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topstitch.foundation.timetext import duration_text, parse_duration
from topstitch.language.graph import Graph
from topstitch.language.report import Report
from topstitch.language.schema import Retry, Step, Workflow


def retry_seconds(retry: Retry, timeout_seconds: int) -> int:
    """Return the longest that all attempts and the pauses between them take."""
    first, longest = parse_duration(retry.first), parse_duration(retry.max)
    pauses = (
        min(longest, first * 2**number if retry.backoff == "exponential" else first)
        for number in range(retry.attempts - 1)
    )
    return retry.attempts * timeout_seconds + sum(pauses)


def step_seconds(step: Step) -> int:
    """Return the longest that one step takes from its start to its confirmed end, without people."""
    if step.do is None and step.wait_for is not None:
        return parse_duration(step.wait_for.give_up)
    if step.do is None and step.call is not None:
        return parse_duration(step.call.give_up)
    reads = step.expect if isinstance(step.expect, list) else []
    once = retry_seconds(step.retry, parse_duration(step.timeout)) + sum(parse_duration(each.within) for each in reads)
    return once * (step.for_each.max if step.for_each else 1)


def worst_case(workflow: Workflow) -> Mapping[str, int]:
    """Return, by step, the latest time after the trigger at which the machine has completed it.

    A step begins when what it needs is done and each step it waits for is over or its
    deadline has passed. Steps in a circle are left out.
    """
    ends: dict[str, int] = {}
    starts: dict[str, int] = {}
    waiting = dict(workflow.steps)
    while waiting:
        ready = [
            name
            for name, step in waiting.items()
            if all(other in ends or other not in workflow.steps for other in _before(step))
        ]
        if not ready:
            break
        for name in ready:
            step = waiting.pop(name)
            needed = max((ends.get(other, 0) for other in step.needs), default=0)
            barriers = [needed + parse_duration(deadline) for deadline in step.after.values()]
            starts[name] = max([needed, *barriers])
            ends[name] = starts[name] + step_seconds(step)
    return ends


def _before(step: Step) -> Iterable[str]:
    return (*step.needs, *step.after)


def check_promises(workflow: Workflow, graph: Graph, report: Report) -> None:
    """Report each promise that the file's own retries and deadlines can break."""
    ends = worst_case(workflow)
    for name, sla in workflow.sla.items():
        if report.touched(("sla", name)) or report.touched(("sla",)):
            continue
        for index, step in enumerate(sla.steps):
            graph.step_exists(step, ("sla", name, "steps", index))
        late = [(ends[step], step) for step in sla.steps if step in ends]
        if not late or max(late)[0] <= parse_duration(sla.within):
            continue
        seconds, step = max(late)
        report.add(
            "sla",
            ("sla", name, "within"),
            f"'{step}' may take {duration_text(seconds)} by its own retries and deadlines; the promise is {sla.within}",
            "promise more time, or allow fewer attempts, shorter pauses and deadlines",
        )
