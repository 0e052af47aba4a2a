"""Commands on API tokens: make one for oneself or for a service account, list them, revoke one.

The text of a token is printed once, on standard output alone, so that it can be piped to where
secrets are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command_of
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON
from topstitch.foundation.errors import NotAllowedError

if TYPE_CHECKING:
    from topstitch.governance.access import Identity
    from topstitch.settings import Settings
    from topstitch.store import Store
    from topstitch.store.tokens import Token


@click.group("tokens", cls=Group)
def tokens() -> None:
    """List, make or revoke API tokens."""


@command_of(tokens, "create")
@click.argument("name", metavar="NAME")
@click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="RIGHT", help="What it is for: instances.read, *.read."
)
@click.option("--days", type=int, default=90, show_default=True, metavar="N", help="Good for so long, 366 at most.")
@click.option("--for", "bound_to", metavar="SERVICE", help="A service account. [yourself]")
@PERSON
def create(door: Door, name: str, scopes: tuple[str, ...], days: int, bound_to: str | None, person: str | None) -> None:
    """Make a token; NAME says what it is for. It never does more than you may."""
    door.run(_create(door, door.settings(person=person), name, scopes, days, bound_to))


async def _create(
    door: Door, settings: Settings, name: str, scopes: tuple[str, ...], days: int, bound_to: str | None
) -> None:
    from topstitch.access.making import make_token
    from topstitch.bootstrap.entrance import entrance
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at

    async with desk(settings) as here:
        maker = await _me(settings, here.store)
        known = entrance(settings, here.store, clock_of(settings))
        owner = maker if bound_to is None else await known.find(bound_to)
        if owner is None:
            raise NotAllowedError("token-other", f"{bound_to} is no service account here; topstitch users list")
        text, token = await make_token(
            here.store, maker=maker, bound_to=owner, name=name, scopes=scopes, days=days, now=here.now()
        )
    door.screen.data({**_document(token), "token": text})
    door.screen.print(text)
    door.screen.note(f"{token.id} for {token.person}, until {at(token.ends_at)}. It is shown this once.")


@command_of(tokens, "list")
@click.option("--of", "owner", metavar="PERSON", help="Only somebody's.")
def list_tokens(door: Door, owner: str | None) -> None:
    """List tokens, newest first; never their texts."""
    door.run(_list(door, owner))


async def _list(door: Door, owner: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import tokens as kept

    async with desk(door.settings()) as here:
        found, now = await kept.listing(here.store, owner), here.now()
    door.screen.data({"items": [_document(token) for token in found]})
    rows = [
        (
            token.id,
            token.name,
            token.person,
            " ".join(token.scopes),
            "revoked" if token.revoked_at else "ended" if token.ends_at <= now else at(token.ends_at),
            at(token.used_at) if token.used_at else "never",
        )
        for token in found
    ]
    door.screen.table(
        ("token", "name", "of", "scopes", "until", "last used"),
        rows,
        "There are no tokens; topstitch tokens create makes one.",
    )


@command_of(tokens, "revoke")
@click.argument("name", metavar="TOKEN")
@PERSON
def revoke(door: Door, name: str, person: str | None) -> None:
    """End a token at once."""
    door.run(_revoke(door, door.settings(person=person), name))


async def _revoke(door: Door, settings: Settings, name: str) -> None:
    from topstitch.access.making import revoke_token
    from topstitch.cli.desk import desk

    async with desk(settings) as here:
        await revoke_token(here.store, name, await _me(settings, here.store), here.now())
    door.screen.print(f"{door.screen.mark('ok')} {name} is revoked")


async def _me(settings: Settings, store: Store) -> Identity:
    from topstitch.cli.rights import acting

    me = await acting(settings, store)
    if me is None:
        raise NotAllowedError(
            "no-users", "tokens belong to users, and there are none yet; start with topstitch users add"
        )
    return me


def _document(token: Token) -> dict[str, Any]:
    from msgspec import to_builtins

    found: dict[str, Any] = to_builtins(token)
    return found
