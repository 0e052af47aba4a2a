"""Does what a person wants done about a discrepancy: the same at every door.

``act`` finds it, has ``reconciliation.desk`` judge the wish by the instance as it stands, and
appends what follows behind the head that was looked at. Differences of a whole population have no
instance of ours behind them: they are waived and accepted where they are kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from topstitch.foundation.errors import ConflictError
from topstitch.model.record import Actor, Record
from topstitch.office.desk import Desk
from topstitch.reconciliation import desk as judging
from topstitch.store import discrepancies, populations

DIFFERENCE: Final = "pop_"
"""How the ids of a population's differences begin."""


async def act(
    desk: Desk, name: str, verb: str, actor: Actor, reason: str, *, until: datetime | None = None
) -> Record | None:
    """Recheck, repair, accept or waive; return the first record, or nothing for a difference, which has no journal."""
    if name.startswith(DIFFERENCE):
        await _on_difference(desk, name, verb, actor, reason, until)
        return None
    row = await discrepancies.discrepancy(desk.store, name)
    plan = (await desk.picture(str(row["instance"]))).plan
    records = await desk.say(
        str(row["instance"]),
        lambda state, now: judging.act(plan, state, str(row["id"]), verb, actor, reason, now, until=until),
    )
    return records[0]


async def _on_difference(desk: Desk, name: str, verb: str, actor: Actor, reason: str, until: datetime | None) -> None:
    if verb not in ("accept", "waive"):
        message = f"{name} is no record of an instance of ours; correct it in its system, then compare again with: "
        raise ConflictError("no-instance-behind", message + "topstitch reconcile WORKFLOW --population")
    now = desk.now()
    judging.require_reason(reason)
    ends = judging.require_end(now, until) if verb == "waive" else None
    await populations.settle(desk.store, name, actor, reason.strip(), now, until=ends)
