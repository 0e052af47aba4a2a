"""The command that compares a workflow with how it was done by hand, and records how that was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from topstitch.cli.command import Door, command
from topstitch.cli.operate import PERSON
from topstitch.foundation.errors import RequestError

if TYPE_CHECKING:
    from topstitch.metrics.report import ManualBaseline

DAYS_MAX: Final = 90
_DAYS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:-([0-9]+(?:\.[0-9]+)?))?")


@command("report")
@click.argument("workflow")
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), default=30, show_default=True, help="Instances that began so lately."
)
@click.option("--before", metavar="DAYS", help="Record what it took by hand, in business days, such as 5-9.")
@click.option("--handoffs", type=click.IntRange(0, 1000), help="With --before: how often a person passed the work on.")
@click.option("--source", metavar="TEXT", help="With --before: where the figures are from.")
@click.option(
    "--step", "steps", multiple=True, metavar="STEP=TEXT", help="With --before: what one step took, in words."
)
@PERSON
def report(
    door: Door,
    workflow: str,
    days: int,
    before: str | None,
    handoffs: int | None,
    source: str | None,
    steps: tuple[str, ...],
    person: str | None,
) -> None:
    """Compare a workflow with how it was done by hand: total time, handoffs, promises, each step's way to its goal."""
    manual = _manual(before, handoffs, source, steps) if before is not None else None
    if manual is None and (handoffs is not None or source or steps):
        raise RequestError("report-before", "--handoffs, --source and --step say how it was; give --before with them")
    door.run(_report(door, workflow, days, manual, person))


def _manual(before: str, handoffs: int | None, source: str | None, steps: tuple[str, ...]) -> ManualBaseline:
    from topstitch.metrics.report import ManualBaseline

    match = _DAYS.fullmatch(before)
    if match is None:
        raise RequestError("report-before", f"{before!r} is no number of business days; write 5-9, or 5")
    if handoffs is None or not (source or "").strip():
        raise RequestError("report-before", "a record of how it was needs --handoffs and --source; add them")
    said = dict(one.partition("=")[::2] for one in steps)
    return ManualBaseline(
        days_low=float(match[1]),
        days_high=float(match[2] or match[1]),
        handoffs=handoffs,
        source=str(source).strip(),
        steps=said,
    )


async def _report(door: Door, workflow: str, days: int, manual: ManualBaseline | None, person: str | None) -> None:
    from topstitch.cli.watching import plans_of, watching
    from topstitch.metrics import render, report as reports
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with watching(settings) as (here, watcher):
        (plan,) = await plans_of(watcher, workflow)
        if manual is not None:
            unknown = [name for name in manual.steps if name not in plan.steps]
            if unknown:
                message = f"{workflow} has no step {unknown[0]!r}; use one of: {', '.join(plan.steps)}"
                raise RequestError("report-before", message)
            await reports.record(here.store, workflow, manual, parse_actor(settings.person), here.now())
        lines = await reports.report(watcher, plan, here.now(), days=days)
        recorded = await reports.recorded(here.store, workflow)
    door.screen.data(
        {"workflow": workflow, "days": days, "items": render.report_data(lines), "before": render.manual_data(recorded)}
    )
    door.screen.table(render.REPORT_COLUMNS, render.report_rows(lines), "There is nothing to report yet.", wrap=True)
    if recorded is None:
        door.screen.note("Record how it was with --before 5-9 --handoffs 4 --source '...'.")
    else:
        door.screen.print(f"Before: {recorded.source}. {render.COMPARED}")
