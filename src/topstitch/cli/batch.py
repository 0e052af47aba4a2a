"""Commands that act on many instances at once: a frozen, counted selection, previewed, then carried out.

``preview`` chooses, freezes and shows; ``start`` carries out exactly what was previewed, a few a second, by the
rules of the single command; ``show`` says how each item went. All three stand in the installation's
journal with actor and reason, and each item in its own instance's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.office.selections import RATE_DEFAULT

if TYPE_CHECKING:
    from topstitch.office.selections import Done

VERBS: Final = ("retry", "skip", "pause", "resume", "cancel", "edit")
PREVIEWED, STARTED, ENDED = "batch.preview", "batch.start", "batch.end"


@click.group(cls=Group)
def batch() -> None:
    """Act on many instances at once: preview, start, show."""


def _batch_command(name: str, **rest: Any) -> Callable[[Callable[..., None]], click.Command]:
    def make(function: Callable[..., None]) -> click.Command:
        made = command(name, **rest)(function)
        batch.add_command(made)
        return made

    return make


@_batch_command("preview")
@click.argument("verb", type=click.Choice(VERBS))
@click.argument("names", nargs=-1, metavar="INSTANCE...")
@click.option("-q", "--query", metavar="QUERY", help="Choose by a search, such as 'state:waiting older:2h'.")
@click.option("--workflow", metavar="NAME", help="Choose instances of this workflow.")
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Choose by status; may be repeated.")
@click.option(
    "--group", metavar="CAUSE", help="Choose the instances of these open cases, as exceptions list names them."
)
@click.option("--step", metavar="STEP", help="The step to retry or skip.")
@click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="PATH=VALUE",
    help="Process data to change first; '= expr' is worked out for each.",
)
@click.option("--rollback", "choice", flag_value="rollback", help="For cancel: take back what is done.")
@click.option("--stop", "choice", flag_value="stop", help="For cancel: keep what is done.")
@REASON
@PERSON
def preview(
    door: Door,
    verb: str,
    names: Sequence[str],
    query: str | None,
    workflow: str | None,
    statuses: Sequence[str],
    group: str | None,
    step: str | None,
    edits: Sequence[str],
    choice: str | None,
    reason: str,
    person: str | None,
) -> None:
    """Choose instances, freeze the choice, and show what would become of each. Nothing is done yet."""
    wish = {"name": verb, "step": step, "choice": choice, "reason": reason, "edits": list(edits)}
    chosen = {"names": list(names), "workflow": workflow, "statuses": list(statuses), "group": group, "q": query}
    done = door.run(_preview(door, wish, chosen, person))
    door.screen.data(done)
    for item in done["items"]:
        mark = "ok" if item["ok"] else "bad"
        door.screen.print(f"{door.screen.mark(mark)} {item['instance']}  {item['title']}")
        for line in item["says"]:
            door.screen.print(f"      {line}")
    able = sum(item["ok"] for item in done["items"])
    door.screen.print(
        f"{done['batch']}: {len(done['items'])} chosen, {able} can be done, {len(done['items']) - able} cannot"
    )
    door.screen.note("Carry it out with: " + door.typed(f"batch start {done['batch']}"))


async def _preview(
    door: Door, wish: Mapping[str, Any], chosen: Mapping[str, Any], person: str | None
) -> dict[str, Any]:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.office import batches

    settings = door.settings(person=person)
    async with desk(settings) as here:
        return await batches.preview(here, wish, chosen, parse_actor(settings.person))


@_batch_command("start")
@click.argument("name", metavar="BATCH")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100),
    default=RATE_DEFAULT,
    show_default=True,
    metavar="N",
    help="At most so many a second.",
)
@PERSON
def start(door: Door, name: str, rate: float, person: str | None) -> None:
    """Carry out what was previewed, on exactly those instances. Exit 1 when an item could not be done.

    Cut off in the middle, it is started again by the same command and goes on with what is left.
    """
    results = door.run(_start(door, name, rate, person))
    door.screen.data({"batch": name, "items": [one.document() for one in results]})
    failed = [one for one in results if not one.ok]
    for one in failed:
        door.screen.print(f"{door.screen.mark('bad')} {one.item}: {one.message}")
    door.screen.print(f"{name}: {len(results) - len(failed)} of {len(results)} done")
    if failed:
        fail(FAILED)


async def _start(door: Door, name: str, rate: float, person: str | None) -> list[Done]:
    from topstitch.cli.desk import desk
    from topstitch.foundation.clock import SystemClock
    from topstitch.model.record import parse_actor
    from topstitch.office import batches

    settings = door.settings(person=person)
    async with desk(settings) as here:
        actor = parse_actor(settings.person)
        asked = await batches.begin(here, name, actor)
        return await batches.carry_out(here, name, asked, actor, SystemClock(), per_second=rate)


@_batch_command("show")
@click.argument("name", metavar="BATCH")
def show(door: Door, name: str) -> None:
    """Show a batch: who wished what of how many, and how each went."""
    kept, results = door.run(_show(door, name))
    asked = kept[PREVIEWED]
    state = "done" if ENDED in kept else "started" if STARTED in kept else "previewed"
    door.screen.data(
        {
            "batch": name,
            "state": state,
            "wish": asked["wish"],
            "count": len(asked["items"]),
            "by": asked["actor"],
            "results": results,
        }
    )
    count, wish = len(asked["items"]), asked["wish"]
    if state == "started":
        state = f"{len(results)} of {count} so far"
        door.screen.note("If it was cut off, it goes on with: " + door.typed(f"batch start {name}"))
    door.screen.print(f"{name}  {wish['name']} of {count} instances, by {asked['actor']}: {wish['reason']}   {state}")
    for one in results:
        door.screen.print(
            f"{door.screen.mark('ok' if one['ok'] else 'bad')} {one['item']}  {one.get('message', 'done')}"
        )


async def _show(door: Door, name: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    from topstitch.cli.desk import desk
    from topstitch.office import batches

    async with desk(door.settings()) as here:
        results = await batches.results_so_far(here, name)
        return await batches.kept(here, name), [one.document() for one in results.values()]
