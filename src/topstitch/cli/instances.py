"""Commands on instances: the list, one on one screen, one as it moves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from topstitch.cli import operate
from topstitch.cli.command import FAILED, WAITING, Door, command, command_of, fail
from topstitch.cli.groups import Group
from topstitch.cli.screen import status_of
from topstitch.foundation.errors import RequestError

GOOD_ENDS: Final = frozenset({"completed"})


@command("instances")
@click.option("-q", "--query", metavar="QUERY", help="A search, such as 'state:waiting older:2h priya'; see the docs.")
@click.option("--workflow", metavar="NAME", help="Only of this workflow.")
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Only with this status; may be repeated.")
@click.option("--key", metavar="KEY", help="Only for this business key, such as an employee number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
def instances(
    door: Door, query: str | None, workflow: str | None, statuses: Sequence[str], key: str | None, limit: int
) -> None:
    """List instances, newest first."""
    if query is not None and (workflow or statuses or key):
        message = "say it all in the search: workflow:NAME, state:STATE and key:KEY can stand in -q"
        raise RequestError("query-and-options", message)
    door.run(_list(door, query, workflow, statuses, key, limit))


async def _list(
    door: Door, query: str | None, workflow: str | None, statuses: Sequence[str], key: str | None, limit: int
) -> None:
    from topstitch.cli.desk import desk, plain
    from topstitch.cli.when import ago, at, retold
    from topstitch.model.query import parse_query
    from topstitch.store import instances as stored, searches

    async with desk(door.settings()) as here:
        now = here.now()
        if query is not None:
            found = await searches.search(here.store, parse_query(query), now, limit=limit, counted=False)
            rows = list(found.rows)
        else:
            rows = await stored.listing(here.store, workflow=workflow, statuses=statuses, correlation=key, limit=limit)
    hidden = {"head_hash", "head_seq", "epoch", "lease_owner", "lease_until", "wake_at", "what"}
    door.screen.data({"items": [{k: v for k, v in plain(r).items() if k not in hidden} for r in rows]})
    table = [
        (
            r["id"],
            r["title"] or "",
            r["workflow"],
            status_of(door.screen, r["status"]),
            retold(r["waiting_on"] or ""),
            at(r["started_at"]),
            ago(r["started_at"], r["ended_at"] or now),
        )
        for r in rows
    ]
    columns = ("instance", "for", "workflow", "status", "waiting on", "started", "took")
    door.screen.table(columns, table, "No instances yet. Send an event: topstitch trigger --help")


@click.group(cls=Group)
def instance() -> None:
    """Show one instance, watch it, or act on it."""


operate.add_to(instance)


@command_of(instance, "show")
@click.argument("name", metavar="INSTANCE")
@click.option("--full", is_flag=True, help="With payloads, tries and every value read.")
def show(door: Door, name: str, *, full: bool) -> None:
    """Show where an instance is, what waits on whom, and all that was done."""
    door.run(_show(door, name, full=full))


async def _show(door: Door, name: str, *, full: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.instance_page import lines
    from topstitch.cli.instance_view import view

    async with desk(door.settings()) as here:
        seen = await here.picture(await here.named(name))
        now = here.now()
    picture = view(seen.plan, seen.state, seen.records, now)
    door.screen.data(picture)
    every = door.typed(f"audit show {picture['id']}")
    for line in lines(door.screen, seen.plan, picture, now, full=full, more=every):
        door.screen.print(line)


@command_of(instance, "watch")
@click.argument("name", metavar="INSTANCE")
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="Stop watching after so long; exit 8.")
@click.option("--no-wait", is_flag=True, help="Print what has happened and stop; exit 8 when it has not ended.")
def watch(door: Door, name: str, timeout: int | None, *, no_wait: bool) -> None:
    """Follow an instance as it moves. Exit 0 when it completes, 1 when it ends otherwise."""
    end = door.run(_watch(door, name, timeout, no_wait=no_wait))
    if end is None:
        fail(WAITING)
    if end not in GOOD_ENDS:
        fail(FAILED)


async def _watch(door: Door, name: str, timeout: int | None, *, no_wait: bool) -> str | None:
    """Print each new record as a sentence until the instance has ended; return how."""
    import asyncio

    from topstitch.cli.desk import desk
    from topstitch.cli.tale import Teller
    from topstitch.cli.when import here as in_zone
    from topstitch.foundation.timetext import rfc3339

    loop = asyncio.get_running_loop()
    ends_at = None if timeout is None else loop.time() + timeout
    async with desk(door.settings()) as here:
        identity = await here.named(name)
        told = 0
        while True:
            seen = await here.picture(identity)
            teller = Teller(seen.plan, in_zone)
            for record in seen.records[told:]:
                sentence = teller.sentence(record)
                door.screen.data(
                    {
                        "seq": record.seq,
                        "at": rfc3339(record.at),
                        "kind": record.kind,
                        "step": record.step,
                        "text": sentence,
                    }
                )
                if sentence:
                    door.screen.print(f"{_clock(in_zone(record.at))}  {sentence}")
            told = len(seen.records)
            if seen.state.ended is not None:
                return seen.state.ended
            if no_wait or (ends_at is not None and loop.time() >= ends_at):
                return None
            await asyncio.sleep(WATCH_SECONDS)


WATCH_SECONDS: Final = 0.2


def _clock(moment: datetime) -> str:
    return moment.strftime("%d %b %H:%M:%S")
