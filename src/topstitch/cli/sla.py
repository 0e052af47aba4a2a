"""The command that says how the promises of workflows are kept."""

from __future__ import annotations

from typing import Final

import click

from topstitch.cli.command import Door, command

DAYS_MAX: Final = 90
LATE_MAX: Final = 20
"""How many instances are named; --json names all."""
STATES: Final = {"red: broken": "bad", "amber: at risk": "warn", "green": "ok"}


@command("sla")
@click.option("--workflow", metavar="NAME", help="Only this workflow.")
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), default=7, show_default=True, help="Instances that began so lately."
)
def sla(door: Door, workflow: str | None, days: int) -> None:
    """Say of every promise how many instances met it, are on track, at risk or broken, and who owns it."""
    door.run(_sla(door, workflow, days))


async def _sla(door: Door, workflow: str | None, days: int) -> None:
    from topstitch.cli.watching import plans_of, watching
    from topstitch.metrics import render, watch
    from topstitch.metrics.sla import PromiseState

    async with watching(door.settings()) as (here, watcher):
        plans = {plan.workflow: plan for plan in await plans_of(watcher, workflow)}
        found = [one for name in plans for one in await watch.promises(watcher, here.now(), workflow=name, days=days)]
    door.screen.data({"days": days, "promises": render.promise_data(found, plans), "items": render.sla_data(found)})
    rows = [(*row[:-1], door.screen.mark(STATES[row[-1]], row[-1])) for row in render.sla_rows(found, plans)]
    empty = f"No instance began in the last {days} days, so no promise was tried."
    door.screen.table(render.SLA_COLUMNS, rows, empty, spare=("workflow",) if len(plans) == 1 else ())
    for line in render.owner_lines(plans[name] for name in {row[0]: None for row in rows}):
        door.screen.print(line)
    late = [one for one in found if one.state in (PromiseState.AT_RISK, PromiseState.BREACHED) and one.open]
    for one in sorted(late, key=lambda one: one.left_ms)[:LATE_MAX]:
        door.screen.print(f"{one.instance}  {one.promise}: {one.state.replace('_', ' ')}, {one.text}; {one.holds_up}")
