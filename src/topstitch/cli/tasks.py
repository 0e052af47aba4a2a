"""Commands on tasks: what is to be done by hand, handing it in, or saying that it cannot be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import QUERY
from topstitch.cli.typed import handed_in


@click.group(cls=Group)
def tasks() -> None:
    """List, show, finish or fail work that is done by hand."""


@command_of(tasks, "list")
@click.option("--all", "every", is_flag=True, help="Closed ones too.")
@click.option("--group", metavar="GROUP", help="Only of this group, such as it-ops.")
@QUERY
def list_tasks(door: Door, group: str | None, query: str, *, every: bool) -> None:
    """List open tasks, oldest first."""
    door.run(_list(door, group, query, every=every))


async def _list(door: Door, group: str | None, query: str, *, every: bool) -> None:
    from topstitch.cli.desk import desk, matching, plain
    from topstitch.cli.when import ago, until
    from topstitch.store import items

    assignee = f"group:{group}" if group and ":" not in group else group
    async with desk(door.settings()) as here:
        rows = await items.list_tasks(here.store, status=None if every else "open", assignee=assignee)
        rows = await matching(here, query, rows)
        now = here.now()
    door.screen.data({"items": [plain(r) for r in rows]})
    table = [
        (
            r["id"],
            r["title"],
            r["status"],
            r["assignee"],
            ago(r["opened_at"], r["closed_at"] or now),
            until(r["due_at"], now),
            r["instance_title"],
        )
        for r in rows
    ]
    columns = ("task", "do", "status", "whose", "since", "due", "for")
    door.screen.table(columns, table, "No task is open.")


@command_of(tasks, "show")
@click.argument("name", metavar="TASK")
def show(door: Door, name: str) -> None:
    """Show a task: what is to be done, why, and what is to be handed in."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.instance_view import view
    from topstitch.cli.when import at
    from topstitch.store import items

    async with desk(door.settings()) as here:
        row = await items.get_task(here.store, name)
        seen = await here.picture(row["instance"])
        picture = view(seen.plan, seen.state, seen.records, here.now())
    task = next(t for t in picture["tasks"] if t["id"] == name)
    step = next((s for s in picture["steps"] if s["id"] == row["step"]), None)
    problem = step["problem"] if step else None
    door.screen.data({**task, "instance": row["instance"], "problem": problem, "effects": picture["effects"]})
    say = door.screen.print
    say(door.screen.style(task["title"], bold=True) + f"   {name}   {task['status']}")
    say(f"for {task['to']} ({', '.join(task['people']) or 'being told'}), due {at(task['due_at'])}")
    if problem:
        say(f"because {picture['title']}: {step['title'] if step else ''} failed: {problem.get('message')}")
    if task["check_first"]:
        say("First look whether it is there already: the system went silent after the request.")
    for field, value in (task["facts"] or {}).items():
        say(f"    {field}: {value}")
    if task["form"]:
        say("Hand in:")
        for field, shape in (task["form"].get("properties") or {}).items():
            need = "" if field in task["form"].get("required", ()) else " (optional)"
            say(f"    --output {field}=<{_kind(shape)}>{need}")
    say(f"topstitch tasks done {name} --as <you>   or: topstitch tasks fail {name} --as <you> -m <why>")


@command_of(tasks, "done")
@click.argument("name", metavar="TASK")
@click.option("--as", "person", metavar="PERSON", help="Who did it. [the person setting, or your user name]")
@click.option("--output", "outputs", multiple=True, metavar="NAME=VALUE", help="What is handed in; may be repeated.")
@click.option("--output-json", metavar="JSON", help="What is handed in, as one JSON object.")
@click.option("-m", "--comment", metavar="TEXT", help="What you want to say of it.")
def done(
    door: Door, name: str, person: str | None, outputs: Sequence[str], output_json: str | None, comment: str | None
) -> None:
    """Hand a task in: it is checked against the form, then read back from the system."""
    door.run(_done(door, name, person, outputs, output_json, comment))


async def _done(
    door: Door, name: str, person: str | None, outputs: Sequence[str], output_json: str | None, comment: str | None
) -> None:
    from topstitch.cli.desk import desk
    from topstitch.store import items

    settings = door.settings(person=person)
    async with desk(settings) as here:
        row = await items.get_task(here.store, name)
        form = row["form"] or {}
        output = handed_in(outputs, output_json, form)
        record = await here.finish_task(name, settings.person, output, comment)
    door.screen.data({"task": name, "actor": str(record.actor), "instance": row["instance"], "seq": record.seq})
    door.screen.print(f"Handed in by {record.actor.id}. What was done is read back from the system now.")
    door.screen.note("Follow it with: " + door.typed(f"instance watch {row['instance']}"))


@command_of(tasks, "fail")
@click.argument("name", metavar="TASK")
@click.option("--as", "person", metavar="PERSON", help="Who says so. [the person setting, or your user name]")
@click.option("-m", "--reason", "--because", "because", required=True, metavar="TEXT", help="Why it cannot be done.")
def fail(door: Door, name: str, person: str | None, because: str) -> None:
    """Say that a task cannot be done; what the definition declares for that follows."""
    door.run(_fail(door, name, person, because))


async def _fail(door: Door, name: str, person: str | None, because: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.store import items

    settings = door.settings(person=person)
    async with desk(settings) as here:
        row = await items.get_task(here.store, name)
        record = await here.fail_task(name, settings.person, because)
    door.screen.data({"task": name, "actor": str(record.actor), "instance": row["instance"], "seq": record.seq})
    door.screen.print(f"Noted by {record.actor.id}: {name} cannot be done.")


def _kind(shape: Mapping[str, Any]) -> str:
    if shape.get("enum"):
        return "|".join(map(str, shape["enum"]))
    return str(
        shape.get("format")
        or {"string": "text", "array": "a,b,c", "boolean": "true|false"}.get(shape.get("type", ""), "text")
    )
