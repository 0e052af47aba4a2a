"""How long an instance may take at most once nothing goes wrong any more: the sum of everything that has an end.

Rough and from above: every wait of every step, one after another. Called by ``virtual``.
"""

from __future__ import annotations

from typing import Final

from topstitch.plan.heals import GIVE_UP_SECONDS
from topstitch.plan.plan import (
    LOOK_UP_RETRY,
    OWNER_TASK_GIVE_UP_SECONDS,
    ActPlan,
    Plan,
    RetryPlan,
    StepPlan,
    TaskPlan,
)

ASKS_MAX: Final = 3
"""Times that people may be asked about one step: a retry asks anew."""
SLACK_SECONDS: Final = 3600.0


def bound_seconds(plan: Plan) -> float:
    """Return the seconds after which every instance of ``plan`` has ended."""
    reads = sum(_tries(read.retry, 30) for read in plan.context.values())
    steps = sum(_step(step) for step in plan.steps.values())
    checks = max((seconds for _, seconds in plan.reconcile.at), default=0)
    checks += sum(record.settle_seconds for record in plan.reconcile.records)
    tickets = _act(plan.reconcile.ticket) + plan.reconcile.ticket_task.give_up_seconds
    return reads + steps + checks + tickets * 2 + _repairs(plan) + SLACK_SECONDS


def _repairs(plan: Plan) -> float:
    """Each repair is proposed once, and judged by a read."""
    rules = [(record, rule.heal) for record in plan.reconcile.records for rule in record.fields]
    return sum(GIVE_UP_SECONDS + _act(heal) + record.settle_seconds for record, heal in rules if heal is not None)


def _step(step: StepPlan) -> float:
    found = float(sum(step.after.values()))
    if step.approval is not None:
        found += step.approval.give_up_seconds * ASKS_MAX
    if step.wait is not None:
        found += step.wait.give_up_seconds
    if step.call is not None:
        found += step.call.give_up_seconds
    if step.act is not None:
        found += _act(step.act) * max(step.items_max, 1)
    if step.undo is not None:
        found += _act(step.undo) * max(step.items_max, 1) + OWNER_TASK_GIVE_UP_SECONDS
    for item in step.compensate.items if step.compensate else ():
        match item:
            case TaskPlan():
                found += item.give_up_seconds
            case ActPlan():
                found += _act(item)
            case _:
                pass
    return found


def _act(act: ActPlan) -> float:
    look = _tries(LOOK_UP_RETRY, act.timeout_seconds) + act.action.settle_seconds
    back = sum(expect.within_seconds + act.timeout_seconds for expect in act.expects)
    return _tries(act.retry, act.timeout_seconds) + look * (act.retry.attempts + 1) + back * (act.retry.attempts + 1)


def _tries(retry: RetryPlan, timeout: float) -> float:
    return sum(timeout + 1.25 * retry.base_seconds(tried) for tried in range(1, retry.attempts + 1))
