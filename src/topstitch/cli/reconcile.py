"""The command that compares now: a workflow's whole populations, or the records of its open discrepancies."""

from __future__ import annotations

from typing import Any

import click

from topstitch.cli.command import FINDINGS, Door, command, fail
from topstitch.cli.operate import PERSON

ROWS_MAX = 1000


@command("reconcile")
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--population", "whole", is_flag=True, help="Compare the two whole sets that the definition names.")
@click.option("-m", "--reason", default="compared on request", metavar="TEXT", help="Why; kept in the journals.")
@PERSON
def reconcile(door: Door, workflow: str, reason: str, person: str | None, *, whole: bool) -> None:
    """Have what differs read again now, or compare whole populations; 3 when those differ."""
    if whole:
        door.run(_population(door, workflow))
    else:
        door.run(_recheck(door, workflow, reason, person))


async def _recheck(door: Door, workflow: str, reason: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.foundation.errors import ConflictError
    from topstitch.model.record import parse_actor
    from topstitch.office import discrepancies as office
    from topstitch.store import discrepancies as kept

    settings = door.settings(person=person)
    actor = parse_actor(settings.person)
    done: list[str] = []
    async with desk(settings) as here:
        rows = await kept.list_discrepancies(here.store, "open", None, workflow, None, ROWS_MAX)
        for row in rows:
            try:
                await office.act(here, str(row["id"]), "recheck", actor, reason)
            except ConflictError as error:
                door.screen.note(f"{row['id']}: {error.message}")
            else:
                done.append(str(row["id"]))
    door.screen.data({"workflow": workflow, "rechecked": done})
    door.screen.print(f"{len(done)} of {len(rows)} open discrepancies of {workflow} are read again now.")


async def _population(door: Door, workflow: str) -> None:
    from topstitch.bootstrap.installation import open_installation
    from topstitch.bootstrap.populations import Populations, counts_of
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import plain

    settings = door.settings()
    async with open_installation(settings, clock=clock_of(settings), threads=False) as house:
        plan = await house.plans.of(workflow)
        compared, standing = await Populations(house).compare(plan)
        now = house.clock.now()
    counts = counts_of(compared)
    door.screen.data({"workflow": workflow, "counts": counts, "differences": [plain(row) for row in standing]})
    sides = f"{compared.left} on the left, {compared.right} on the right"
    door.screen.print(f"{sides}: {compared.matched} match, {compared.pending} are under way, {len(standing)} differ")
    door.screen.table(("difference", "what", "system", "key", "state", "since"), [_line(r, now) for r in standing], "")
    if standing:
        fail(FINDINGS)


def _line(row: Any, now: Any) -> tuple[Any, ...]:
    from topstitch.cli.when import ago

    what = str(row["what"]).replace("_", " ")
    return (row["id"], what, row["system"], row["subject"], row["state"], ago(row["seen_at"], now))
