"""Commands on approvals: what waits for a decision, what it is about, and the decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, QUERY, REASON


@click.group(cls=Group)
def approvals() -> None:
    """List, show, approve, refuse or reassign what waits for a decision."""


@command_of(approvals, "list")
@click.option("--all", "every", is_flag=True, help="Decided ones too.")
@click.option("--as", "person", metavar="PERSON", help="Only those that this person is asked for.")
@QUERY
def list_approvals(door: Door, person: str | None, query: str, *, every: bool) -> None:
    """List what waits for a decision, oldest first."""
    door.run(_list(door, person, query, every=every))


async def _list(door: Door, person: str | None, query: str, *, every: bool) -> None:
    from topstitch.cli.desk import desk, matching, plain
    from topstitch.cli.when import ago, until
    from topstitch.store import items

    async with desk(door.settings()) as here:
        rows = await items.list_approvals(here.store, status=None if every else "open", person=person)
        rows = await matching(here, query, rows)
        now = here.now()
    door.screen.data({"items": [plain(r) for r in rows]})
    table = [
        (
            r["id"],
            r["title"],
            r["status"],
            names(r["people"]),
            ago(r["asked_at"], r["closed_at"] or now),
            until(r["give_up_at"], now),
        )
        for r in rows
    ]
    door.screen.table(
        ("approval", "decide on", "status", "asked of", "since", "ends"), table, "Nothing waits for a decision."
    )


def names(people: Any) -> str:
    """Name those who were asked."""
    return ", ".join(str(p.get("id")) for p in people) if isinstance(people, list) else "nobody was found"


@command_of(approvals, "show")
@click.argument("name", metavar="APPROVAL")
def show(door: Door, name: str) -> None:
    """Show what a decision is about: the payload, why it is asked, and what each answer leads to."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk, plain
    from topstitch.model.kinds import Kind
    from topstitch.store import instances, items

    async with desk(door.settings()) as here:
        row = await items.get_approval(here.store, name)
        records = await instances.records(here.store, row["instance"])
    decision = next((r.body for r in reversed(records) if r.kind == Kind.DECISION and r.step == row["step"]), {})
    row = {**row, "answers": [plain(a) for a in row["answers"]]}
    row["asked_people"] = [plain(a) for a in row["asked_people"]]
    why = {name: decision.get(name) for name in ("payload", "because", "risk")}
    door.screen.data({**plain(row), **why})
    for line in _page(row, decision):
        door.screen.print(line)


def _page(row: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[str]:
    """Return what a person needs to decide, most important first."""
    from topstitch.cli.screen import plain
    from topstitch.cli.when import at

    yield f"{row['title']}   {row['id']}   {row['status']}"
    people = ", ".join(p["person"] for p in row["asked_people"]) or "nobody"
    yield f"asked of {people} at {at(row['asked_at'])}; ends {at(row['give_up_at'])}"
    for rule in decision.get("because", []):
        read = ", ".join(f"{k} = {plain(v)}" for k, v in rule.get("read", {}).items())
        alone = f"it goes ahead alone only when {rule.get('condition')}"
        why = alone if "condition" in rule else f"of the rule {rule['rule']}"
        yield f"asked because {why}" + (f"   ({read})" if read else "")
    yield f"instance {row['instance']}, risk {decision.get('risk')}, payload {str(row['payload_digest'])[:19]}"
    yield from (f"    {field}: {plain(value)}" for field, value in _fields(decision.get("payload")))
    yield f"if approved:   {row['if_approved']}"
    yield f"if refused:    {row['if_refused']}"
    yield f"if unanswered: {row['if_unanswered']}"
    for answer in row["answers"]:
        said = f": {answer['comment']}" if answer["comment"] else ""
        yield f"{answer['actor']} said {answer['answer']} at {at(answer['at'])}{said}"


def _fields(payload: Any) -> list[tuple[str, Any]]:
    return list(payload.items()) if isinstance(payload, Mapping) else [("payload", payload)]


@command_of(approvals, "approve")
@click.argument("name", metavar="APPROVAL")
@click.option("--as", "person", metavar="PERSON", help="Who decides. [the person setting, or your user name]")
@click.option("-m", "--comment", metavar="TEXT", help="Why.")
@click.option("--digest", metavar="DIGEST", help="Refuse unless this payload is what is asked about.")
def approve(door: Door, name: str, person: str | None, comment: str | None, digest: str | None) -> None:
    """Approve: the write goes out with exactly the payload that is shown."""
    door.run(_answer(door, name, person, "approve", comment, digest))


@command_of(approvals, "refuse")
@click.argument("name", metavar="APPROVAL")
@click.option("--as", "person", metavar="PERSON", help="Who decides. [the person setting, or your user name]")
@click.option("-m", "--comment", metavar="TEXT", help="Why.")
@click.option("--digest", metavar="DIGEST", help="Refuse unless this payload is what is asked about.")
def refuse(door: Door, name: str, person: str | None, comment: str | None, digest: str | None) -> None:
    """Refuse: what the definition says of a refusal follows."""
    door.run(_answer(door, name, person, "refuse", comment, digest))


@command_of(approvals, "reassign")
@click.argument("name", metavar="APPROVAL")
@click.option("--to", required=True, metavar="PERSON", help="Whose it is from now on: an address.")
@REASON
@PERSON
def reassign(door: Door, name: str, to: str, reason: str, person: str | None) -> None:
    """Give a decision to somebody else, who is told; for all of somebody's, see topstitch delegations add."""
    door.run(_reassign(door, name, to, reason, person))


async def _reassign(door: Door, name: str, to: str, reason: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.operate import given_to
    from topstitch.store import items

    async with desk(door.settings()) as here:
        instance = str((await items.get_approval(here.store, name))["instance"])
    await given_to(door, instance, name, to, reason, person)


async def _answer(
    door: Door, name: str, person: str | None, said: str, comment: str | None, digest: str | None
) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.store import items

    settings = door.settings(person=person)
    async with desk(settings) as here:
        row = await items.get_approval(here.store, name)
        me = await speaking(settings, here.store)
        record = await here.answer(name, me, said, comment=comment, digest=digest, via="cli")
    word = "Approved" if said == "approve" else "Refused"
    actor = record.actor
    door.screen.data(
        {"approval": name, "answer": said, "actor": str(actor), "instance": row["instance"], "seq": record.seq}
    )
    follows = row["if_approved"] if said == "approve" else row["if_refused"]
    door.screen.print(f"{word} by {actor.id}. {follows}.")
    door.screen.note("Follow it with: " + door.typed(f"instance watch {row['instance']}"))
