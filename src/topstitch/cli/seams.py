"""Commands on seams: the board of all of them, one in depth, and a new baseline for a step.

The figures are those that the alerts are made of. A seam is written with its two systems as
definitions name their connectors: ``entra-id servicenow``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from topstitch.cli.command import Door, command, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.foundation.errors import NotFoundError

if TYPE_CHECKING:
    from topstitch.metrics.seams import SeamFigures

HOURS_MAX: Final = 24 * 90
WORKFLOW = click.option("--workflow", metavar="NAME", help="Only this workflow.")
HOURS = click.option(
    "--hours", type=click.IntRange(1, HOURS_MAX), default=24, show_default=True, help="How far back to look."
)
STATES: Final = {"red": "bad", "amber": "warn", "green": "ok", "idle": "idle"}


@command("seams")
@WORKFLOW
@HOURS
def seams(door: Door, workflow: str | None, hours: int) -> None:
    """List every seam, the worst first: handoff times, exceptions, trend, what is open, limit and state."""
    door.run(_seams(door, workflow, hours))


async def _seams(door: Door, workflow: str | None, hours: int) -> None:
    from topstitch.metrics import render

    figures = await _figures(door, workflow, hours)
    door.screen.data({"hours": hours, "items": render.seam_data(figures)})
    rows = [
        (*row[:-1], _state(door, one))
        for one, row in zip(figures, render.seam_rows(figures, _many(figures)), strict=True)
    ]
    door.screen.table(
        render.seam_columns(_many(figures)),
        rows,
        "There are no seams: no definition is published yet; topstitch publish.",
        spare=("trend", "limit", "count", "step"),
        wrap=True,
    )
    if figures:
        door.screen.print(render.seam_finding(figures))


async def _figures(door: Door, workflow: str | None, hours: int) -> list[SeamFigures]:
    from topstitch.cli.watching import plans_of, watching
    from topstitch.metrics import watch

    async with watching(door.settings()) as (here, watcher):
        await plans_of(watcher, workflow)
        found = await watch.board(watcher, here.now(), hours=hours)
    return [one for one in found if workflow in (None, one.workflow)]


def _many(figures: list[SeamFigures]) -> bool:
    """Whether a table has to say which workflow and version a row is of."""
    return len({(one.workflow, one.version) for one in figures}) > 1


def _state(door: Door, one: SeamFigures) -> str:
    from topstitch.metrics import render
    from topstitch.metrics.exceptions import Share

    mark = STATES[one.band.value]
    if one.exceptions.share is not Share.QUIET and mark in ("ok", "idle"):
        mark = "bad" if one.exceptions.share is Share.PAGING else "warn"
    return door.screen.mark(mark, render.seam_state(one))


@click.group(cls=Group)
def seam() -> None:
    """Show one seam in depth, or pin a new baseline for a step at its end."""


@command_of(seam, "show")
@click.argument("source", metavar="SYSTEM")
@click.argument("target", metavar="SYSTEM")
@WORKFLOW
@HOURS
def show(door: Door, source: str, target: str, workflow: str | None, hours: int) -> None:
    """Show one seam: its handoffs, what is open, the step behind it, its baseline and the way to the goal."""
    door.run(_show(door, source, target, workflow, hours))


async def _show(door: Door, source: str, target: str, workflow: str | None, hours: int) -> None:
    from topstitch.cli.watching import plans_of, watching
    from topstitch.metrics import render, watch
    from topstitch.metrics.seams import between

    async with watching(door.settings()) as (here, watcher):
        plans = await plans_of(watcher, workflow)
        board = await watch.board(watcher, here.now(), hours=hours)
        speeds = await watch.speeds(watcher, here.now())
    mine = [one for one in board if workflow in (None, one.workflow)]
    found = between(mine, source, target)
    if not found:
        known = sorted({f"{one.edge.seam.from_system} {one.edge.seam.to_system}" for one in mine})
        message = f"nothing is handed from {source} to {target}; choose one of: {', '.join(known) or 'none yet'}"
        raise NotFoundError("no-seam", message)
    by_name = {plan.workflow: plan for plan in plans}
    door.screen.data({"hours": hours, "items": render.seam_data(found), "steps": render.speed_data(found, speeds)})
    for one in found:
        if one.workflow in by_name:
            for line in render.seam_page(by_name[one.workflow], [one], speeds):
                door.screen.print(line)


@command_of(seam, "baseline")
@click.argument("workflow")
@click.argument("step")
@REASON
@PERSON
def baseline(door: Door, workflow: str, step: str, reason: str, person: str | None) -> None:
    """Pin a new baseline for a step from what is usual now; the first one stays what the goal is measured by."""
    door.run(_baseline(door, workflow, step, reason, person))


async def _baseline(door: Door, workflow: str, step: str, reason: str, person: str | None) -> None:
    from topstitch.cli.watching import watching
    from topstitch.foundation.timetext import duration_text
    from topstitch.metrics import watch
    from topstitch.model.record import parse_actor

    settings = door.settings(person=person)
    async with watching(settings) as (here, watcher):
        made = await watch.pin_anew(watcher, workflow, step, parse_actor(settings.person), here.now(), reason)
    door.screen.data(
        {
            "workflow": workflow,
            "step": step,
            "number": made.number,
            "median_ms": made.median_ms,
            "samples": made.samples,
        }
    )
    usual = duration_text(made.median_ms / 1000)
    door.screen.print(
        f"{step} is compared with {usual} from now on (the median of {made.samples}), by {made.pinned_by}."
    )
