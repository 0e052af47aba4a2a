"""How long each workflow takes from end to end, against what it promises, and where that time goes.

The overview shows it. Systems, seams and people add up to the elapsed time exactly: ``metrics.time_split``
divides the critical path. Of a busy range only the newest instances are divided; the page says of how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from topstitch.console.hands import Hands
from topstitch.console.sparks import percentile
from topstitch.governance.access import covered
from topstitch.metrics.time_split import Where, of_progress
from topstitch.metrics.watch import progress_of
from topstitch.model.record import Stage
from topstitch.store import definitions, measures
from topstitch.store.sealing import milliseconds
from topstitch.store.searches import busiest_since

DIVIDED_MAX: Final = 400
"""Of how many instances of a workflow the time is divided."""
UNDER_WAY: Final = (Stage.TRIGGER, Stage.CONTEXT, Stage.EXECUTION)


async def ends(hands: Hands, hours: int, part: tuple[str, ...] | None) -> Sequence[dict[str, Any]]:
    """Return each workflow in force with its times, those that began in the last hours; ``part`` may be seen."""
    now = hands.clock.now()
    now_ms, found = milliseconds(now), []
    for definition in await definitions.in_force(hands.store):
        if not covered(part, definition.workflow):
            continue
        plan = await hands.load(definition.digest)
        begin = milliseconds(now - timedelta(hours=hours))
        since = await busiest_since(hands.store, plan.workflow, begin, DIVIDED_MAX)
        begun = await measures.begun(hands.store, plan.workflow, since, now_ms)
        tasks: dict[str, list[Any]] = {}
        for task in begun.tasks:
            tasks.setdefault(task.instance, []).append(task)
        known = await progress_of(hands.store, plan.workflow, since, now_ms)
        over = [one for one in known if one.ended_ms is not None or one.row.stage not in UNDER_WAY]
        splits = [of_progress(plan, one, tasks.get(one.row.instance, ()), now_ms) for one in over]
        took = sorted(split.total_ms() for split in splits)
        shares = {where.value: sum(split.total_ms(where) for split in splits) for where in Where}
        touched = {task.instance for task in begun.tasks} | {one.instance for one in begun.asked}
        target = max((sla.within_seconds for sla in plan.sla), default=None)
        found.append(
            {
                "workflow": plan.workflow,
                "title": plan.title,
                "begun": len(known),
                "finished": len(over),
                "sampled": since > begin,
                "p50_ms": percentile(took, 0.5),
                "p95_ms": percentile(took, 0.95),
                "target_ms": target * 1000 if target else None,
                "late": sum(1 for ms in took if target and ms > target * 1000),
                "untouched": sum(1 for one in over if one.row.instance not in touched),
                "shares_ms": shares,
                "tone": "breach" if target and percentile(took, 0.95) > target * 1000 else "ok",
            }
        )
    return found
