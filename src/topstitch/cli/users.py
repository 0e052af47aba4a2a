"""Commands on people: users and service accounts, their roles, their passwords; and the table of roles.

The first user is made here, on the machine, and must be an admin. A password is typed at a prompt or
read from a file, never given as an argument. Everything is noted in the installation's own journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import Door, command, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON
from topstitch.cli.screen import counted
from topstitch.foundation.errors import RequestError

if TYPE_CHECKING:
    from datetime import datetime

    from topstitch.governance.access import Grant
    from topstitch.model.record import Actor
    from topstitch.settings import Settings
    from topstitch.store import Store
    from topstitch.store.people import PersonRow

PASSWORD: Final = click.option(
    "--password-file", metavar="FILE", help="Read the password from a file, - for standard input. [a prompt]"
)
ROLE: Final = click.option(
    "--role", "roles", multiple=True, metavar="ROLE", help="A role, everywhere, or as ROLE:WORKFLOW or ROLE:PREFIX*."
)


@click.group("users", cls=Group)
def users() -> None:
    """List, add or disable users and service accounts; grant them roles."""


@command_of(users, "add")
@click.argument("name", metavar="NAME")
@ROLE
@click.option("--shown", metavar="TEXT", help="What people call them.")
@click.option("--email", metavar="ADDRESS", help="Their address. [the name, when it is one]")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group that they belong to.")
@click.option("--service", is_flag=True, help="A service account: it has tokens and no password, and never decides.")
@click.option("--provider", is_flag=True, help="They sign in at a provider, which vouches for them the first time.")
@PASSWORD
@PERSON
def add(door: Door, name: str, person: str | None, password_file: str | None, **about: Any) -> None:
    """Make a user. The name is their id in every record: an address, or a login name."""
    from topstitch.access.passwords import Passwords

    grants = [_grant(text) for text in about["roles"]]
    settings = door.settings(person=person)
    password = None
    if not about["service"] and not about["provider"]:
        password = Passwords().hash(_password(password_file))
    door.run(_add(door, settings, name, grants, password, about))


async def _add(
    door: Door, settings: Settings, name: str, grants: list[Grant], password: str | None, about: dict[str, Any]
) -> None:
    from topstitch.access.service import check_name
    from topstitch.store import people
    from topstitch.store.people import PersonRow

    async with _house(settings) as (store, actor, now):
        first = not await people.anybody(store)
        if first and not about["service"] and not any(g.role == "admin" and not g.where for g in grants):
            message = "the first user must be an admin, so that somebody can add the others; add --role admin"
            raise RequestError("first-admin", message)
        row = PersonRow(
            id=check_name(name),
            kind="service" if about["service"] else "human",
            name=about["shown"],
            email=about["email"] or (name if "@" in name else None),
            owner=actor.id if about["service"] else None,
            password=password,
            member_of=tuple(about["groups"]),
            made_at=now,
            made_by=str(actor),
        )
        await people.add(store, row, actor, [(grant.role, grant.where) for grant in grants])
    door.screen.data({"id": name, "kind": row.kind, "roles": [str(grant) for grant in grants]})
    door.screen.print(f"{door.screen.mark('ok')} {name} is a {'service account' if about['service'] else 'user'} here.")
    if first:
        door.screen.note(f"From now on people sign in. On this machine, act as --as {name}, or set TOPSTITCH_PERSON.")


@command_of(users, "list")
def list_users(door: Door) -> None:
    """List users and service accounts with their roles."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import people

    async with desk(door.settings()) as here:
        found, grants = await people.listing(here.store), await people.grants(here.store)
    roles = {row.id: [_shown(g.role, g.place) for g in grants if g.principal == row.id] for row in found}
    groups: dict[str, list[str]] = {}
    for grant in grants:
        if grant.principal.startswith(people.GROUP):
            groups.setdefault(grant.principal, []).append(_shown(grant.role, grant.place))
    door.screen.data({"items": [_document(row, roles[row.id]) for row in found], "groups": groups})
    rows = [
        (row.id, row.kind, " ".join(roles[row.id]), _way(row), at(row.signed_in_at) if row.signed_in_at else "never")
        for row in found
    ]
    rows += [(principal, "group", " ".join(held), "", "") for principal, held in groups.items()]
    empty = "There are no users: nobody has to sign in. The first is an admin: topstitch users add NAME --role admin"
    door.screen.table(("user", "kind", "roles", "signs in", "last"), rows, empty)


@command_of(users, "show")
@click.argument("name", metavar="NAME")
def show(door: Door, name: str) -> None:
    """Show one user: roles, groups, sessions, tokens."""
    door.run(_show(door, name))


async def _show(door: Door, name: str) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import people, sessions, tokens

    async with desk(door.settings()) as here:
        row = await people.get(here.store, name)
        standing = await people.standing(here.store, name)
        open_sessions = await sessions.of_person(here.store, name)
        their_tokens = await tokens.listing(here.store, name)
    roles = [_shown(g.role, g.place) for g in (standing.grants if standing else ())]
    door.screen.data(_document(row, roles))
    door.screen.print(f"{row.id}  {row.name or ''}  {row.kind}, {_way(row)}")
    door.screen.print(f"  roles   {' '.join(roles) or 'none'}")
    door.screen.print(f"  groups  {' '.join(row.member_of) or 'none'}")
    for session in open_sessions:
        door.screen.print(f"  session since {at(session.signed_in_at)}, last seen {at(session.seen_at)}")
    for token in their_tokens:
        door.screen.print(f"  token   {token.id} {token.name}, until {at(token.ends_at)}")


@command_of(users, "set-password")
@click.argument("name", metavar="NAME")
@PASSWORD
@PERSON
def set_password(door: Door, name: str, password_file: str | None, person: str | None) -> None:
    """Give a user a new password; their sessions end."""
    from topstitch.access.passwords import Passwords

    hashed = Passwords().hash(_password(password_file))
    door.run(_set_password(door, door.settings(person=person), name, hashed))


async def _set_password(door: Door, settings: Settings, name: str, hashed: str) -> None:
    from topstitch.store import people

    async with _house(settings) as (store, actor, now):
        if (await people.get(store, name)).kind != "human":
            raise RequestError("service-password", f"{name} is a service account; make it a token instead")
        await people.set_password(store, name, hashed, actor, now)
    door.screen.print(f"{door.screen.mark('ok')} {name} has a new password; their sessions have ended.")


@command_of(users, "grant")
@click.argument("principal", metavar="NAME-OR-group:NAME")
@click.argument("roles", metavar="ROLE", nargs=-1, required=True)
@PERSON
def grant(door: Door, principal: str, roles: tuple[str, ...], person: str | None) -> None:
    """Grant roles: ROLE everywhere, ROLE:WORKFLOW, or ROLE:PREFIX* for all workflows that begin so."""
    door.run(_change(door, door.settings(person=person), principal, roles, granting=True))


@command_of(users, "revoke")
@click.argument("principal", metavar="NAME-OR-group:NAME")
@click.argument("roles", metavar="ROLE", nargs=-1, required=True)
@PERSON
def revoke(door: Door, principal: str, roles: tuple[str, ...], person: str | None) -> None:
    """Take roles back; it counts at once."""
    door.run(_change(door, door.settings(person=person), principal, roles, granting=False))


async def _change(door: Door, settings: Settings, principal: str, roles: Sequence[str], *, granting: bool) -> None:
    from topstitch.store import people

    change = people.grant if granting else people.revoke
    async with _house(settings) as (store, actor, now):
        for text in roles:
            one = _grant(text)
            done = await change(store, principal, one.role, one.where, actor, now)
            said = ("has" if granting else "no longer has") if done else ("had" if granting else "never had")
            before = " before" if granting and not done else ""
            door.screen.print(f"{door.screen.mark('ok')} {principal} {said} the role {one}{before}.")


@command_of(users, "disable")
@click.argument("name", metavar="NAME")
@PERSON
def disable(door: Door, name: str, person: str | None) -> None:
    """Shut a user out at once: their sessions end and their tokens are revoked."""
    door.run(_disable(door, door.settings(person=person), name))


async def _disable(door: Door, settings: Settings, name: str) -> None:
    from topstitch.store import people

    async with _house(settings) as (store, actor, now):
        ended, revoked = await people.disable(store, name, actor, now)
    door.screen.data({"id": name, "sessions_ended": ended, "tokens_revoked": revoked})
    door.screen.print(
        f"{door.screen.mark('ok')} {name} is disabled; ended: {counted(ended, 'session')}, {counted(revoked, 'token')}."
    )


@command_of(users, "enable")
@click.argument("name", metavar="NAME")
@PERSON
def enable(door: Door, name: str, person: str | None) -> None:
    """Let a user in again; their tokens stay revoked."""
    door.run(_enable(door, door.settings(person=person), name))


async def _enable(door: Door, settings: Settings, name: str) -> None:
    from topstitch.store import people

    async with _house(settings) as (store, actor, now):
        await people.enable(store, name, actor, now)
    door.screen.print(f"{door.screen.mark('ok')} {name} may sign in again.")


@command("roles", data=False)
def roles(door: Door) -> None:
    """Print which role gives which right."""
    from topstitch.governance.access import RIGHTS, ROLES

    door.screen.data({right: sorted(held) for right, held in RIGHTS.items()})
    rows = [(right, *("x" if role in held else "" for role in ROLES)) for right, held in RIGHTS.items()]
    door.screen.table(("right", *ROLES), rows, "")


@asynccontextmanager
async def _house(settings: Settings) -> AsyncIterator[tuple[Store, Actor, datetime]]:
    """Open a data folder, made by ``init`` or used before, with who acts and the time."""
    from topstitch.bootstrap.database import open_store
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor

    actor, now = parse_actor(settings.person), clock_of(settings).now()
    if settings.is_sqlite and not settings.data.is_dir():
        async with desk(settings) as here:
            yield here.store, actor, now
        return
    with open_store(settings, threads=False) as store:
        yield store, actor, now


def _password(file: str | None) -> str:
    if file is None:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        with click.open_file(file, encoding="utf-8") as opened:
            return str(opened.readline()).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError("password-file", f"{file} cannot be read ({error}); name another file") from None


def _grant(text: str) -> Grant:
    from topstitch.governance.access import parse_grant

    try:
        return parse_grant(text)
    except ValueError as error:
        raise RequestError("role-unknown", f"{text!r} is no role; write {error}") from None


def _shown(role: str, place: str) -> str:
    return f"{role}:{place}" if place else role


def _way(row: PersonRow) -> str:
    if row.disabled_at is not None:
        return "disabled"
    if row.kind == "service":
        return "by token"
    return f"at {row.provider}" if row.provider else "by password" if row.password else "at a provider, not yet"


def _document(row: PersonRow, roles: Sequence[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "email": row.email,
        "owner": row.owner,
        "groups": list(row.member_of),
        "roles": list(roles),
        "provider": row.provider,
        "signed_in_at": row.signed_in_at,
        "disabled_at": row.disabled_at,
    }
