"""Commands on discrepancies: where a system holds something else than it should, and what is done about it.

Discrepancies of instances and differences of whole populations stand in one list. Every act is recorded
with actor and reason: in the instance's journal, or the installation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, QUERY, REASON

STATES = ("open", "suspected", "confirmed", "ticketed", "healing", "waived", "accepted", "superseded", "resolved")


@click.group(cls=Group)
def discrepancies() -> None:
    """List, show, recheck, repair, accept or waive what differs from what it should be."""


@command_of(discrepancies, "list")
@click.option("--state", type=click.Choice([*STATES, "all"]), default="open", help="In which state. [open]")
@click.option("--system", metavar="ALIAS", help="Only of this system, as the definition calls it.")
@click.option("--workflow", metavar="WORKFLOW", help="Only of this workflow.")
@QUERY
@click.option("--after", metavar="ID", help="Only what comes after this one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="How many at most. [50]")
def list_discrepancies(
    door: Door, state: str, system: str | None, workflow: str | None, query: str, after: str | None, limit: int
) -> None:
    """List discrepancies, oldest first, and, without a search, what whole populations lack."""
    door.run(_list(door, state, system, workflow, query, after, limit))


async def _list(
    door: Door, state: str, system: str | None, workflow: str | None, query: str, after: str | None, limit: int
) -> None:
    from topstitch.cli.desk import desk, plain
    from topstitch.model.query import parse_query
    from topstitch.store import discrepancies as kept, populations, searches

    asked = parse_query(query)
    async with desk(door.settings()) as here:
        wanted = None if state == "all" else state
        matching = searches.matching(here.store, asked, here.now())
        rows = await kept.list_discrepancies(here.store, wanted, system, workflow, after, limit, matching=matching)
        found = (
            []
            if after or asked.text
            else await populations.listing(here.store, workflow=workflow, every=state == "all")
        )
        now = here.now()
    found = [f for f in found if (wanted in (None, f["state"])) and system in (None, f["system"])]
    door.screen.data({"items": [plain(row) for row in rows], "differences": [plain(row) for row in found]})
    table = [_line(row, now) for row in rows] + [_difference_line(row, now) for row in found]
    columns = ("discrepancy", "system", "differs", "state", "severity", "since", "ticket", "for")
    door.screen.table(columns, table, "Nothing differs.")


def _line(row: Mapping[str, Any], now: datetime) -> tuple[Any, ...]:
    from topstitch.cli.when import ago

    return (
        row["id"],
        row["system"],
        ", ".join(str(f["field"]) for f in row["fields"] or ()),
        row["state"],
        row["severity"] or "",
        ago(row["since_at"], row["resolved_at"] or now),
        ticket_name(row["ticket"]),
        row["instance_title"],
    )


def _difference_line(row: Mapping[str, Any], now: datetime) -> tuple[Any, ...]:
    from topstitch.cli.when import ago

    what = str(row["what"]).replace("_", " ")
    return (row["id"], row["system"], what, row["state"], "high", ago(row["seen_at"], now), "", row["subject"])


def ticket_name(ticket: Any) -> str:
    """Return what people call a ticket."""
    from topstitch.foundation.canonical import parse

    if isinstance(ticket, str) and ticket.startswith("{"):
        ticket = parse(ticket)
    if isinstance(ticket, Mapping):
        return str(ticket.get("number") or ticket.get("exception_id") or "")
    return str(ticket or "")


@command_of(discrepancies, "show")
@click.argument("name", metavar="DISCREPANCY")
def show(door: Door, name: str) -> None:
    """Show one: what was intended, committed and observed, and what became of it."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk, plain
    from topstitch.store import discrepancies as kept

    async with desk(door.settings()) as here:
        row = await kept.discrepancy(here.store, name)
        seen = await here.picture(str(row["instance"]))
        now = here.now()
    about = [r for r in seen.records if r.body.get("discrepancy") == row["id"]]
    story = [{"at": r.at, "kind": r.kind, "actor": str(r.actor), **_said(r.body)} for r in about]
    approval = next((s.approval for s in seen.state.heals.values() if s.approval and s.approval.ending is None), None)
    asked = approval.id if approval else None
    door.screen.data({**plain(row), "story": [plain(one) for one in story], "repair_approval": asked})
    for line in _page(row, story, asked, now):
        door.screen.print(line)


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("check", "how", "because", "reason", "until", "command", "action", "mode")
    return {name: body[name] for name in names if body.get(name) is not None}


def _page(row: Mapping[str, Any], story: list[dict[str, Any]], asked: str | None, now: datetime) -> Iterator[str]:
    from topstitch.cli.when import ago, at

    ticket = ticket_name(row["ticket"])
    yield f"{row['system']} differs for {row['instance_title']}   {row['id']}   {row['state']}"
    yield f"severity {row['severity']}, since {at(row['since_at'])} ({ago(row['since_at'], now)}), owner {row['owner']}"
    if ticket:
        yield f"ticket {ticket} {row['ticket_url'] or ''}".rstrip()
    for field in row["fields"] or ():
        yield f"  {field['field']}: {str(field.get('cause', '')).replace('_', ' ')}"
        yield from (f"    {name:<9} {field.get(name)}" for name in ("intended", "committed", "observed"))
        heal = field.get("heal") or {}
        if heal.get("payload"):
            yield f"    repair    {heal['action']} {heal['payload']}"
        elif heal.get("why_not"):
            yield f"    repair    none: {heal['why_not']}"
    if asked:
        yield f"A repair waits for a decision: topstitch approvals show {asked}"
    for one in story:
        said = ", ".join(f"{k} {v}" for k, v in one.items() if k not in ("at", "kind", "actor"))
        yield f"{at(one['at'])}  {one['kind']} by {one['actor']}{': ' + said if said else ''}"
    yield f"topstitch instance show {row['instance']}"


# --- acting on them -----------------------------------------------------------------------------------


@command_of(discrepancies, "recheck")
@click.argument("name", metavar="DISCREPANCY")
@REASON
@PERSON
def recheck(door: Door, name: str, reason: str, person: str | None) -> None:
    """Read the record again now; when it agrees, the ticket is closed."""
    door.run(_act(door, name, "recheck", reason, person))


@command_of(discrepancies, "repair")
@click.argument("name", metavar="DISCREPANCY")
@REASON
@PERSON
def repair(door: Door, name: str, reason: str, person: str | None) -> None:
    """Have the declared repair carried out, under policy and approval."""
    door.run(_act(door, name, "repair", reason, person))


@command_of(discrepancies, "accept")
@click.argument("name", metavar="DISCREPANCY")
@REASON
@PERSON
def accept(door: Door, name: str, reason: str, person: str | None) -> None:
    """Say that what is there is right; from then on it is what should be there."""
    door.run(_act(door, name, "accept", reason, person))


@command_of(discrepancies, "waive")
@click.argument("name", metavar="DISCREPANCY")
@click.option("--until", "end", required=True, metavar="TIME", help="The end of the waiver: a day or a time.")
@REASON
@PERSON
def waive(door: Door, name: str, end: str, reason: str, person: str | None) -> None:
    """Let it stand until a day; then the record is read again."""
    from topstitch.cli.when import moment

    door.run(_act(door, name, "waive", reason, person, until=moment(end, "--until", to_its_end=True)))


async def _act(
    door: Door, name: str, verb: str, reason: str, person: str | None, *, until: datetime | None = None
) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.office import discrepancies as office

    settings = door.settings(person=person)
    actor = parse_actor(settings.person)
    async with desk(settings) as here:
        record = await office.act(here, name, verb, actor, reason, until=until)
    instance, seq = (record.instance, record.seq) if record else (None, None)
    door.screen.data({"discrepancy": name, "verb": verb, "actor": str(actor), "instance": instance, "seq": seq})
    door.screen.print(f"{verb.capitalize()} recorded for {name}, by {actor.id}: {reason}")
    if instance:
        door.screen.note("Follow it with: " + door.typed(f"instance watch {instance}"))
