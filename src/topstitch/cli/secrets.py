"""Commands on stored credentials: what connections refer to as ``stored:NAME``. A value is never an argument."""

from __future__ import annotations

import sys

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON
from topstitch.foundation.errors import NotFoundError, RequestError

VALUE_LENGTH_MAX = 65_536


@click.group(cls=Group)
def secrets() -> None:
    """List, set or remove stored credentials; connections refer to one as stored:NAME."""


@command_of(secrets, "list")
def list_secrets(door: Door) -> None:
    """List which credentials are stored, since when and by whom; never what they are."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.foundation.timetext import rfc3339
    from topstitch.store.vault import Vault

    async with desk(door.settings()) as here:
        known = await Vault(here.store).names()
    door.screen.data(
        {"items": [{"name": o.name, "stored_at": rfc3339(o.stored_at), "stored_by": o.stored_by} for o in known]}
    )
    rows = [(o.name, at(o.stored_at), o.stored_by.removeprefix("human:")) for o in known]
    door.screen.table(("name", "since", "by"), rows, "No credential is stored; topstitch secrets set stores one.")


@command_of(secrets, "set")
@click.argument("name", metavar="NAME")
@PERSON
def set_secret(door: Door, name: str, person: str | None) -> None:
    """Store a credential, or a newer value of it: typed at a prompt, or read from standard input."""
    door.run(_set(door, name, _value(), person))


async def _set(door: Door, name: str, value: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.store.vault import Vault

    settings = door.settings(person=person)
    async with desk(settings) as here:
        await Vault(here.store).put(name, value, parse_actor(settings.person), here.now())
    door.screen.data({"name": name})
    door.screen.print(f"{name} is stored, encrypted. Refer to it in connections.toml as stored:{name}.")


@command_of(secrets, "remove")
@click.argument("name", metavar="NAME")
@PERSON
def remove(door: Door, name: str, person: str | None) -> None:
    """Remove a stored credential: whatever refers to it stops working."""
    door.run(_remove(door, name, person))


async def _remove(door: Door, name: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.model.record import parse_actor
    from topstitch.store.vault import Vault

    settings = door.settings(person=person)
    async with desk(settings) as here:
        vault = Vault(here.store)
        if name not in {one.name for one in await vault.names()}:
            raise NotFoundError(
                "no-such-credential", f"no credential {name} is stored; topstitch secrets list names them"
            )
        await vault.forget(name, parse_actor(settings.person), here.now())
    door.screen.data({"name": name})
    door.screen.print(f"{name} is removed.")


def _value() -> str:
    """Return the value: from a prompt that shows nothing, or from what is piped in."""
    if sys.stdin.isatty():
        return str(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
    value = sys.stdin.read(VALUE_LENGTH_MAX + 1).strip("\r\n")
    if not value or len(value) > VALUE_LENGTH_MAX:
        raise RequestError("credential-empty", "standard input holds no value, or too long a one; pipe the value in")
    return value
