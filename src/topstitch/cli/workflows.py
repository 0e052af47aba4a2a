"""Commands on workflows: which are published, versions, what one changed in another; putting one in force, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import WAITING, Door, command_of, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, REASON
from topstitch.foundation.errors import AuthorError, NotFoundError

if TYPE_CHECKING:
    from topstitch.settings import Settings
    from topstitch.store.definitions import Definition


@click.group(cls=Group)
def workflows() -> None:
    """List workflows, versions, and what a version changed; put an earlier one in force, or none."""


@command_of(workflows, "list")
def list_workflows(door: Door) -> None:
    """List the workflows, each with the version in force and how many instances are open."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import definitions, searches

    async with desk(door.settings()) as here:
        found = [*await definitions.in_force(here.store), *(gone := await definitions.retired(here.store))]
        counted = await searches.by_version(here.store)
    old = {one.workflow for one in gone}
    going: dict[str, int] = {}
    for (name, _), counts in counted.items():
        going[name] = going.get(name, 0) + counts["open"]
    rows = [{**_plain(one), "retired": one.workflow in old, "open": going.get(one.workflow, 0)} for one in found]
    door.screen.data({"items": rows})
    table = [
        (
            one.workflow,
            "none; retired" if row["retired"] else one.version,
            at(one.published_at),
            one.published_by,
            str(row["open"]),
        )
        for one, row in zip(found, rows, strict=True)
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


@command_of(workflows, "pin")
@click.argument("name", metavar="WORKFLOW")
@click.argument("version", metavar="VERSION")
@PERSON
def pin(door: Door, name: str, version: str, person: str | None) -> None:
    """Put a published version in force again, an earlier one or one of a retired workflow, as publish would.

    A step back of high risk waits for a second person, as any change does.
    """
    settings = door.settings(person=person)
    text = door.run(_text_of(settings, name, version))
    from topstitch.cli.desk import contracts
    from topstitch.cli.publishing import publish_definition
    from topstitch.language.check import check
    from topstitch.language.load import load

    checked = check(load(text, f"{name}-{version}.yaml"), contracts(settings))
    if not checked.ok:
        message = f"{name} {version} has findings by now; correct its text, raise the version and publish that"
        raise AuthorError("definition-invalid", message)
    done = door.run(publish_definition(settings, text, checked))
    door.screen.data(done.document())
    for line in done.lines():
        door.screen.print(line)
    if done.waits:
        fail(WAITING)


async def _text_of(settings: Settings, name: str, version: str) -> str:
    from topstitch.cli.desk import desk
    from topstitch.store import definitions

    async with desk(settings) as here:
        known = {one.version: one for one in await definitions.versions(here.store, name)}
    if version not in known:
        message = f"{name} has no version {version}; topstitch workflows versions {name} lists them"
        raise NotFoundError("no-version", message)
    return known[version].text


@command_of(workflows, "retire")
@click.argument("name", metavar="WORKFLOW")
@REASON
@PERSON
def retire(door: Door, name: str, reason: str, person: str | None) -> None:
    """Let new events start nothing of a workflow; what is under way goes on, on its own version."""
    door.run(_retire(door, name, reason, person))


async def _retire(door: Door, name: str, reason: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.cli.screen import counted
    from topstitch.office import publishing
    from topstitch.store import searches

    settings = door.settings(person=person)
    async with desk(settings) as here:
        me = await speaking(settings, here.store)
        was = await publishing.retire(here.store, name, me, here.now(), because=reason)
        numbers = await searches.by_version(here.store)
    going = sum(counts["open"] for (workflow, _), counts in numbers.items() if workflow == name)
    door.screen.data({"workflow": name, "was": was.version, "digest": was.digest, "by": me.actor, "open": going})
    door.screen.print(f"{name} {was.version} is retired by {me.id}: {reason}. {counted(going, 'instance')} under way.")
    door.screen.note("Put it in force again with: " + door.typed(f"workflows pin {name} {was.version}"))


def _plain(one: Definition) -> dict[str, Any]:
    from topstitch.foundation.timetext import rfc3339

    return {
        "workflow": one.workflow,
        "version": one.version,
        "digest": one.digest,
        "published_at": rfc3339(one.published_at),
        "published_by": one.published_by,
    }
