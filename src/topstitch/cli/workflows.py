"""Commands on workflows: which are published, which versions of one, and what one changed in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.foundation.errors import NotFoundError

if TYPE_CHECKING:
    from topstitch.store.definitions import Definition


@click.group()
def workflows() -> None:
    """List the workflows that are published, their versions, and what a version changed."""


@command_of(workflows, "list")
def list_workflows(door: Door) -> None:
    """List the workflows, each with the version in force and how many instances are open."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import definitions, searches

    async with desk(door.settings()) as here:
        found = await definitions.in_force(here.store)
        counted = await searches.by_version(here.store)
    going: dict[str, int] = {}
    for (name, _), counts in counted.items():
        going[name] = going.get(name, 0) + counts["open"]
    rows = [{**_plain(one), "open": going.get(one.workflow, 0)} for one in found]
    door.screen.data({"items": rows})
    table = [
        (one.workflow, one.version, at(one.published_at), one.published_by, str(going.get(one.workflow, 0)))
        for one in found
    ]
    columns = ("workflow", "in force", "published", "by", "open instances")
    door.screen.table(columns, table, "No workflow is published. Publish one: topstitch publish FILE")


@command_of(workflows, "versions")
@click.argument("name", metavar="WORKFLOW")
def versions(door: Door, name: str) -> None:
    """List the versions of a workflow, newest first, and how many instances of each are open."""
    door.run(_versions(door, name))


async def _versions(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import definitions, searches

    async with desk(door.settings()) as here:
        found = await definitions.versions(here.store, name)
        force = await definitions.in_force_of(here.store, name)
        counted = await searches.by_version(here.store)
    if not found:
        raise NotFoundError("no-workflow", f"no workflow {name!r} is published; topstitch workflows list names them")
    rows = []
    for one in found:
        counts = counted.get((name, one.version), {"all": 0, "open": 0})
        status = "in_force" if force is not None and one.digest == force.digest else "published"
        rows.append({**_plain(one), "status": status, "open": counts["open"], "all": counts["all"]})
    door.screen.data({"items": rows})
    table = [
        (row["version"], row["status"].replace("_", " "), at(one.published_at), row["published_by"], str(row["open"]),
         str(row["all"]), row["digest"][:19])
        for row, one in zip(rows, found, strict=True)
    ]  # fmt: skip
    door.screen.table(("version", "status", "published", "by", "open", "in all", "digest"), table, "")


@command_of(workflows, "diff")
@click.argument("name", metavar="WORKFLOW")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
def diff(door: Door, name: str, old: str, new: str) -> None:
    """Say what a version changed in another, in sentences."""
    door.run(_diff(door, name, old, new))


async def _diff(door: Door, name: str, old: str, new: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.foundation.canonical import parse
    from topstitch.language.diff import diff as compare
    from topstitch.language.normal import workflow_from_normal
    from topstitch.store import definitions

    async with desk(door.settings()) as here:
        known = {one.version: one for one in await definitions.versions(here.store, name)}
    for version in (old, new):
        if version not in known:
            message = f"{name} has no version {version}; topstitch workflows versions {name} lists them"
            raise NotFoundError("no-version", message)
    before, after = (workflow_from_normal(parse(known[version].normal)) for version in (old, new))
    changes = [change.sentence for change in compare(before, after).changes]
    door.screen.data({"workflow": name, "old": old, "new": new, "changes": changes})
    for sentence in changes or ["Nothing differs but the version."]:
        door.screen.print(sentence)


def _plain(one: Definition) -> dict[str, Any]:
    from topstitch.foundation.timetext import rfc3339

    return {
        "workflow": one.workflow,
        "version": one.version,
        "digest": one.digest,
        "published_at": rfc3339(one.published_at),
        "published_by": one.published_by,
    }
