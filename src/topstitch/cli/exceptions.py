"""Commands on exception cases: what a person must know of, grouped by cause, taken, retried or waived.

A case of an instance and the case of a paused connection stand in one list. Every act is recorded with
actor and reason: in the instance's journal, or the installation's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON, QUERY, REASON
from topstitch.foundation.errors import NotFoundError, RequestError

if TYPE_CHECKING:
    from topstitch.cli.desk import Desk


@click.group(cls=Group)
def exceptions() -> None:
    """List, show, take, retry or waive what needs a person."""


def _case_command(name: str, **rest: Any) -> Callable[[Callable[..., None]], click.Command]:
    def make(function: Callable[..., None]) -> click.Command:
        made = command(name, **rest)(function)
        exceptions.add_command(made)
        return made

    return make


@_case_command("list")
@click.option("--all", "every", is_flag=True, help="Closed ones too.")
@click.option("--each", is_flag=True, help="One line for each case instead of for each cause.")
@click.option("--owner", metavar="PERSON", help="Only what this person has taken, or this group owns.")
@QUERY
def list_cases(door: Door, owner: str | None, query: str, *, every: bool, each: bool) -> None:
    """List cases by cause: how many, since when, whose, and what to do."""
    from topstitch.office.cases import grouped

    found, now = door.run(_found(door, owner, query, every=every))
    groups = grouped(found)
    door.screen.data({"groups": [_group_document(name, cases, now) for name, cases in groups.items()]})
    if each:
        _print_each(door, found, now)
    else:
        _print_groups(door, groups, now)


async def _found(door: Door, owner: str | None, query: str, *, every: bool) -> tuple[list[dict[str, Any]], datetime]:
    from topstitch.cli.desk import desk
    from topstitch.model.query import parse_query
    from topstitch.office.cases import cases_of

    asked = parse_query(query)
    async with desk(door.settings()) as here:
        found, now = await cases_of(here, every=every, query=asked), here.now()
    return [c for c in found if owner is None or str(c["owner"]).endswith(owner)], now


def _group_document(name: str, cases: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    from topstitch.cli.desk import plain
    from topstitch.office.cases import problem_of

    return {
        "group": name,
        "count": len(cases),
        "first_at": plain(cases[0])["opened_at"],
        "last_at": plain(cases[-1])["opened_at"],
        "age_seconds": round((now - cases[0]["opened_at"]).total_seconds()),
        "owners": sorted({str(case["owner"]) for case in cases}),
        "remedy": cases[0]["remedy"],
        "cases": [{**plain(case), "problem": problem_of(case)} for case in cases],
    }


def _print_groups(door: Door, groups: Mapping[str, Sequence[Mapping[str, Any]]], now: datetime) -> None:
    from topstitch.cli.when import ago, at

    rows = [
        (name, str(len(cases)), at(cases[0]["opened_at"]), ago(cases[0]["opened_at"], now),
         ", ".join(sorted({str(c["owner"]) for c in cases})), cases[0]["remedy"])
        for name, cases in groups.items()
    ]  # fmt: skip
    door.screen.table(("cause", "cases", "since", "age", "whose", "what to do"), rows, "No case is open.")


def _print_each(door: Door, cases: Sequence[Mapping[str, Any]], now: datetime) -> None:
    from topstitch.cli.when import ago

    rows = [
        (c["id"], c["instance_title"], c["step"] or "", c["cause"], c["status"], str(c["owner"]),
         ago(c["opened_at"], c["closed_at"] or now), c["summary"])
        for c in cases
    ]  # fmt: skip
    columns = ("case", "for", "step", "cause", "status", "whose", "age", "what")
    door.screen.table(columns, rows, "No case is open.")


@_case_command("show")
@click.argument("name", metavar="CASE")
def show(door: Door, name: str) -> None:
    """Show a case: cause, both systems, what was asked and answered, whose it is, and the remedy."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk, plain
    from topstitch.cli.when import ago, at
    from topstitch.office.cases import case_of, problem_of

    async with desk(door.settings()) as here:
        case = await case_of(here, name)
        opened = await _opened(here, case)
        now = here.now()
    document = {
        **plain(case),
        "problem": problem_of(case),
        "request": opened.get("request"),
        "about": opened.get("about"),
    }
    document["age_seconds"] = round(((case["closed_at"] or now) - case["opened_at"]).total_seconds())
    door.screen.data(document)
    say = door.screen.print
    say(door.screen.style(str(case["summary"]), bold=True))
    say(f"{case['status']}, cause {case['cause']}, between {case['from_system']} and {case['to_system']}")
    say(f"since {at(case['opened_at'])} ({ago(case['opened_at'], case['closed_at'] or now)}), owned by {case['owner']}")
    if case["attempt"] is not None:
        say(f"after attempt {case['attempt']}")
    for label, value in (("asked", opened.get("request")), ("answered", problem_of(case))):
        for field, part in (value or {}).items() if isinstance(value, Mapping) else ():
            say(f"    {label}  {field}: {part}")
    say(f"To do: {case['remedy']}")
    if case["instance"]:
        say(f"topstitch instance show {case['instance']}")


async def _opened(here: Desk, case: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was recorded when a case was opened."""
    from topstitch.model.kinds import Kind
    from topstitch.store import instances

    if not case["instance"]:
        return {}
    records = await instances.records(here.store, case["instance"])
    return next((r.body for r in records if r.kind == Kind.CASE_OPENED and r.body["case"] == case["id"]), {})


# --- acting on them -----------------------------------------------------------------------------------

GROUP = click.option("--group", metavar="CAUSE", help="All open cases of this cause instead, as the list names it.")


@_case_command("take")
@click.argument("names", nargs=-1, metavar="CASE...")
@GROUP
@REASON
@PERSON
def take(door: Door, names: Sequence[str], group: str | None, reason: str, person: str | None) -> None:
    """Make cases your own matter."""
    _each(door, names, group, person, reason, "take")


@_case_command("retry")
@click.argument("names", nargs=-1, metavar="CASE...")
@GROUP
@REASON
@PERSON
def retry(door: Door, names: Sequence[str], group: str | None, reason: str, person: str | None) -> None:
    """Try again what the case is about, and close it; a paused connection is resumed."""
    _each(door, names, group, person, reason, "retry")


@_case_command("waive")
@click.argument("names", nargs=-1, metavar="CASE...")
@GROUP
@REASON
@PERSON
def waive(door: Door, names: Sequence[str], group: str | None, reason: str, person: str | None) -> None:
    """Close cases as they are, with a reason."""
    _each(door, names, group, person, reason, "waive")


def _each(door: Door, names: Sequence[str], group: str | None, person: str | None, reason: str, verb: str) -> None:
    if not reason.strip():
        raise RequestError("no-reason", "an act on a case is kept with its reason; say why with --reason")
    results = door.run(_act(door, names, group, person, reason, verb))
    door.screen.data({"verb": verb, "items": [one.document() for one in results]})
    for one in results:
        door.screen.print(f"{door.screen.mark('ok' if one.ok else 'bad')} {one.item}: {one.message or DONE[verb]}")
    if not all(one.ok for one in results):
        fail(FAILED)


DONE = {"take": "taken", "retry": "tried again", "waive": "waived"}


async def _act(door: Door, names: Sequence[str], group: str | None, person: str | None, reason: str, verb: str) -> Any:
    from topstitch.cli.desk import desk
    from topstitch.foundation.clock import SystemClock
    from topstitch.model.record import parse_actor
    from topstitch.office.cases import on_case
    from topstitch.office.selections import one_by_one

    settings = door.settings(person=person)
    async with desk(settings) as here:
        chosen = await _chosen(here, names, group)
        actor = parse_actor(settings.person)

        async def do(name: str) -> int | None:
            return await on_case(here, chosen[name], actor, reason, verb)

        return await one_by_one(list(chosen), do, SystemClock())


async def _chosen(here: Desk, names: Sequence[str], group: str | None) -> dict[str, dict[str, Any]]:
    from topstitch.office.cases import case_of, cases_of, group_of

    if bool(names) == (group is not None):
        raise RequestError("no-case-named", "name the cases, or their cause with --group")
    if group is None:
        found = [await case_of(here, name) for name in names]
    else:
        found = [case for case in await cases_of(here) if group_of(case) == group]
        if not found:
            raise NotFoundError(
                "no-group", f"no open case has the cause {group}; topstitch exceptions list names the causes"
            )
    return {str(case["id"]): case for case in found}
