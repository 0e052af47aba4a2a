"""Decides how long anything may take at the latest: a write, a step, a rollback, an instance.

Every wait in the engine has an end and every try a count, so each of these is a sum. A call
counts its whole time limit, a wait between tries its longest jitter. What is not in the sum:
an engine that stands still or dies, working hours that a policy puts between asking and giving
up, and a system that itself asks to be left alone (for an hour at most, before each try).
Called by ``classes`` and ``verify``; the torture and the simulation hold instances to it.
"""

from __future__ import annotations

from topstitch.plan.heals import GIVE_UP_SECONDS
from topstitch.plan.plan import (
    CONTEXT_RETRY,
    JITTER_SHARE,
    LOOK_UP_RETRY,
    OWNER_TASK_GIVE_UP_SECONDS,
    TICKET_RETRY,
    ActPlan,
    Plan,
    RetryPlan,
    StepPlan,
    TaskPlan,
)

READ_SECONDS = 30.0
"""The time limit of a read that names none."""
RESOLVE_TRIES = 7
"""How often approvers are looked for, the owner in their stead included."""
INBOX_SECONDS = 60.0
NOTICE_SECONDS = 4 * 600.0
"""How long a notice that cannot be sent is tried."""
UNREADABLE_SECONDS = 2 * 7200.0
MONTH_SECONDS = 32 * 86_400.0
"""How long a check asks a system that cannot be read, and one more interval."""


def waits_seconds(retry: RetryPlan) -> float:
    """Return the waits between all tries together, at their longest."""
    return sum(retry.base_seconds(tried) for tried in range(1, retry.attempts)) * (1 + JITTER_SHARE)


def doubt_seconds(act: ActPlan) -> float:
    """Return how long one attempt may be in doubt: asked too early, and again after its time limit and settle time."""
    if not act.can_look_up:
        return 0.0
    asking = LOOK_UP_RETRY.attempts * act.timeout_seconds + waits_seconds(LOOK_UP_RETRY)
    return 2 * asking + act.action.settle_seconds


def try_seconds(act: ActPlan) -> float:
    """Return how long a write may take until it is done, refused or not to be known."""
    guard = act.retry.attempts * act.timeout_seconds + waits_seconds(act.retry) if act.looks_first else 0.0
    tries = act.retry.attempts * (act.timeout_seconds + doubt_seconds(act)) + waits_seconds(act.retry)
    return guard + tries + doubt_seconds(act)


def plain_seconds(act: ActPlan) -> float:
    """Return how long a write may take of which every answer arrives: its tries, its waits, its read-backs."""
    tries = act.retry.attempts * act.timeout_seconds + waits_seconds(act.retry)
    return tries * (2 if act.looks_first else 1) + confirm_seconds(act)


def confirm_seconds(act: ActPlan) -> float:
    """Return how long its read-backs may take, one after the other."""
    return sum(expect.within_seconds + 2 * READ_SECONDS for expect in act.expects)


def act_seconds(act: ActPlan) -> float:
    """Return how long a write may take from its first look to its last read-back."""
    return try_seconds(act) + confirm_seconds(act)


def carry_seconds(step: StepPlan) -> float:
    """Return how long the step's own work may take, without people."""
    if step.wait is not None:
        return step.wait.give_up_seconds + INBOX_SECONDS
    if step.call is not None:
        return step.call.give_up_seconds + READ_SECONDS
    return act_seconds(step.act) if step.act is not None else 0.0


def approval_seconds(step: StepPlan) -> float:
    """Return how long approvals may stay open, finding the people included.

    People are asked anew when the payload changes while they are asked: once for each flag it reads.
    """
    if step.approval is None:
        return 0.0
    seeking = RESOLVE_TRIES * (READ_SECONDS + CONTEXT_RETRY.max_seconds * (1 + JITTER_SHARE))
    return (1 + len(_flags_sent(step))) * (seeking + step.approval.give_up_seconds)


def _flags_sent(step: StepPlan) -> set[str]:
    """Return the flags the payload depends on: nothing else that it reads can change once the step's needs are met."""
    given = (step.act.params if step.act else None, step.call.params if step.call else None, step.items)
    return {path for one in given if one is not None for path in one.paths if path.partition(".")[0] == "flags"}


def task_seconds(task: TaskPlan, check: ActPlan | None) -> float:
    """Return how long a task may stay open: its own end, and a read-back begun just before it."""
    return task.give_up_seconds + (confirm_seconds(check) if check else 0.0)


def step_seconds(step: StepPlan) -> float:
    """Return how long a step may take from its needs being met until it has settled."""
    compensating = 0.0
    if step.compensate is not None:
        items = step.compensate.items
        compensating += sum(act_seconds(item) for item in items if isinstance(item, ActPlan))
        compensating += max((task_seconds(item, step.act) for item in items if isinstance(item, TaskPlan)), default=0.0)
    return approval_seconds(step) + carry_seconds(step) + compensating


def undo_seconds(step: StepPlan) -> float:
    """Return how long taking a step's effect back may take, the look for it first.

    Of a step of many, what a person did is taken back first, then each item in turn.
    """
    if step.act is None or step.undo is None:
        return 0.0
    one = doubt_seconds(step.act) + confirm_seconds(step.act) + act_seconds(step.undo)
    return one * (step.items_max + 1 if step.items is not None else 1)


def settled_seconds(plan: Plan) -> dict[str, float]:
    """Return for each step when it has settled at the latest, counted from the trigger, going forward."""
    start = context_seconds(plan)
    settled: dict[str, float] = {}

    def when(name: str) -> float:
        if name not in settled:
            step = plan.steps[name]
            ready = max((when(other) for other in step.needs), default=start)
            begin = max((min(when(other), ready + limit) for other, limit in step.after.items()), default=ready)
            settled[name] = max(ready, begin) + step_seconds(step)
        return settled[name]

    for name in plan.steps:
        when(name)
    return settled


def context_seconds(plan: Plan) -> float:
    """Return how long reading the context may take, each read after the other."""
    return sum(
        read.retry.attempts * read.action.timeout_seconds + waits_seconds(read.retry) for read in plan.context.values()
    )


def rollback_seconds(plan: Plan) -> float:
    """Return how long a rollback may take: coming to rest, the longest chain of undos, the owner's last task."""
    longest: dict[str, float] = {}
    for name in plan.undo_order:
        step = plan.steps[name]
        longest[name] = undo_seconds(step) + max(
            (longest[other] for other in step.dependents if other in longest), default=0.0
        )
    undoing = max(longest.values(), default=0.0)
    return undoing + (OWNER_TASK_GIVE_UP_SECONDS if any(step.undo for step in plan.steps.values()) else 0.0)


def executed_seconds(plan: Plan) -> float:
    """Return when every step has settled at the latest, whichever way the instance goes."""
    forward = max(settled_seconds(plan).values(), default=0.0)
    rest = max((carry_seconds(step) for step in plan.steps.values()), default=0.0)
    return forward + rest + rollback_seconds(plan)


def ended_seconds(plan: Plan) -> float:
    """Return when the instance has ended at the latest: its checks, its tickets and notices included."""
    executed = executed_seconds(plan)
    checks = plan.reconcile.at
    last = max((seconds for _, seconds in checks), default=0)
    extra = checks[0][1] if checks else 0
    settle = max((record.settle_seconds for record in plan.reconcile.records), default=0)
    reading = (len(checks) + 1) * (settle + UNREADABLE_SECONDS) if checks else 0.0
    ticket = 2 * (TICKET_RETRY.attempts * 30 + waits_seconds(TICKET_RETRY)) + plan.reconcile.ticket_task.give_up_seconds
    if plan.reconcile.month_end:
        last += int(MONTH_SECONDS)
    if any(rule.heal for record in plan.reconcile.records for rule in record.fields):
        reading += GIVE_UP_SECONDS + settle + UNREADABLE_SECONDS
    return max(executed + extra, last) + reading + (ticket if checks else 0.0) + NOTICE_SECONDS
