"""Commands on webhooks: who is told of which events, what each was told, and telling again.

A secret is printed once, when it is made. What is sent by ``test`` goes out from here, at once, and is no event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command_of, fail
from topstitch.cli.groups import Group
from topstitch.cli.operate import PERSON

if TYPE_CHECKING:
    from topstitch.office.webhooks import Proof
    from topstitch.store.webhooks import Delivery, Endpoint

LAST: Final = 50
"""How many deliveries are listed unless told otherwise."""
LAST_MAX: Final = 1000
OVERLAP_HOURS: Final = 24
OVERLAP_HOURS_MAX: Final = 24 * 30
SIGNED_WITH: Final = click.Choice(["v1", "v1a"])
SIGNED_HELP: Final = "How messages are signed: v1 with a shared secret, v1a with a key; may be repeated."


@click.group(cls=Group)
def webhooks() -> None:
    """List, add, test or remove who is told of events; rotate what signs; list what they were told, tell it again."""


@command_of(webhooks, "list")
def list_webhooks(door: Door) -> None:
    """List who is told of what, and why one is disabled; public keys, and never a secret."""
    door.run(_list(door))


async def _list(door: Door) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at
    from topstitch.store import webhooks as kept

    async with desk(door.settings()) as here:
        found = await kept.endpoints(here.store)
    door.screen.data({"items": [_document(one) for one in found]})
    enabled, disabled = door.screen.mark("ok", kept.ENABLED), door.screen.mark("bad", kept.DISABLED)
    rows = [
        (
            one.id,
            one.url,
            " ".join(one.types),
            enabled if one.status == kept.ENABLED else disabled,
            one.because or (f"failing since {at(one.failing_since)}" if one.failing_since else ""),
            one.owner,
            _signs(one),
        )
        for one in found
    ]
    columns = ("webhook", "address", "is told of", "is", "why", "owner", "signed with")
    door.screen.table(columns, rows, "Nobody is told of anything; topstitch webhooks add begins.", wrap=True)


@command_of(webhooks, "add")
@click.argument("url", metavar="URL")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Of what: a type, or a beginning with *. [all]")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--signature", "signatures", type=SIGNED_WITH, multiple=True, help=f"{SIGNED_HELP} [v1]")
@PERSON
def add(
    door: Door, url: str, types: Sequence[str], description: str | None, signatures: Sequence[str], person: str | None
) -> None:
    """Tell an address of events from now on. Prints the secret that signs, this once, or the public key.

    With v1a messages are signed by an Ed25519 key: the receiver checks them with the public half, and could forge none.
    """
    more = {"description": description, "signatures": signatures or ("v1",)}
    door.run(_add(door, url, types or ("*",), more, person))


async def _add(door: Door, url: str, types: Sequence[str], more: Mapping[str, Any], person: str | None) -> None:
    from msgspec import to_builtins

    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.connectors.outgoing import read_networks
    from topstitch.office import webhooks as office

    settings = door.settings(person=person)
    async with desk(settings) as here:
        me = await speaking(settings, here.store)
        networks = read_networks(settings.webhook_networks)
        made, proof = await office.add(here.store, url, types, me, here.now(), networks=networks, **more)
    door.screen.data({**_document(made), **to_builtins(proof)})
    _print(door, proof)
    door.screen.note(f"{made.id} is told of {', '.join(made.types)}. {_said(proof)}")
    door.screen.note("Try it with: " + door.typed(f"webhooks test {made.id}"))


@command_of(webhooks, "rotate")
@click.argument("name", metavar="WEBHOOK")
@click.option(
    "--overlap",
    type=click.IntRange(0, OVERLAP_HOURS_MAX),
    default=OVERLAP_HOURS,
    show_default=True,
    metavar="HOURS",
    help="How long the old one signs beside the new one.",
)
@click.option("--signature", "signatures", type=SIGNED_WITH, multiple=True, help=f"{SIGNED_HELP} [as before]")
@PERSON
def rotate(door: Door, name: str, overlap: int, signatures: Sequence[str], person: str | None) -> None:
    """Make a new secret or key. For a day old and new both sign, so that the receiver changes over in peace."""
    door.run(_rotate(door, name, overlap, signatures, person))


async def _rotate(door: Door, name: str, overlap: int, signatures: Sequence[str], person: str | None) -> None:
    from datetime import timedelta

    from msgspec import to_builtins

    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.cli.when import at
    from topstitch.office import webhooks as office

    settings = door.settings(person=person)
    async with desk(settings) as here:
        me = await speaking(settings, here.store)
        changed, proof, ends_at = await office.rotate(
            here.store, name, me, here.now(), overlap=timedelta(hours=overlap), signatures=signatures
        )
    door.screen.data({**_document(changed), **to_builtins(proof), "old_ends_at": to_builtins(ends_at)})
    _print(door, proof)
    until = f"Until {at(ends_at)} the old one signs every message too." if overlap else "The old one signs no more."
    door.screen.note(f"{_said(proof)} {until}")


@command_of(webhooks, "remove")
@click.argument("name", metavar="WEBHOOK")
@PERSON
def remove(door: Door, name: str, person: str | None) -> None:
    """Tell an address nothing more; its secret and its deliveries are forgotten."""
    door.run(_remove(door, name, person))


async def _remove(door: Door, name: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.rights import speaking
    from topstitch.office import webhooks as office

    settings = door.settings(person=person)
    async with desk(settings) as here:
        gone = await office.remove(here.store, name, await speaking(settings, here.store), here.now())
    door.screen.data({"webhook": name, "removed": True})
    door.screen.print(f"{gone.url} is told nothing more.")


@command_of(webhooks, "test")
@click.argument("name", metavar="WEBHOOK")
@PERSON
def test(door: Door, name: str, person: str | None) -> None:
    """Send one signed message about nothing, now. Exit 1 when the receiver does not take it."""
    if not door.run(_test(door, name, person)):
        fail(FAILED)


async def _test(door: Door, name: str, person: str | None) -> bool:
    from topstitch.cli.desk import desk
    from topstitch.connectors.outgoing import Outgoing, read_networks
    from topstitch.office import webhooks as office

    settings = door.settings(person=person)
    sender = Outgoing(read_networks(settings.webhook_networks))
    try:
        async with desk(settings) as here:
            answer = await office.test(here.store, name, sender, here.now())
    finally:
        await sender.close()
    document = {"webhook": name, "taken": answer.taken, "answered": answer.status, "problem": answer.problem}
    door.screen.data(document)
    said = str(answer.status) if answer.status is not None else "nothing"
    why = f": {answer.problem}" if answer.problem else ""
    word = "It took the message and" if answer.taken else "It did not take the message; it"
    door.screen.print(f"{door.screen.mark('ok' if answer.taken else 'bad')} {word} answered {said}{why}")
    return answer.taken


@command_of(webhooks, "deliveries")
@click.argument("name", metavar="WEBHOOK")
@click.option("--status", type=click.Choice(["waiting", "sent", "given_up"]), help="Only of this status.")
@click.option(
    "--last", type=click.IntRange(1, LAST_MAX), default=LAST, show_default=True, metavar="N", help="At most so many."
)
def deliveries(door: Door, name: str, status: str | None, last: int) -> None:
    """List what an address was told or is to be told, newest first."""
    door.run(_deliveries(door, name, status, last))


async def _deliveries(door: Door, name: str, status: str | None, last: int) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.when import at, until
    from topstitch.store import webhooks as kept

    async with desk(door.settings()) as here:
        await kept.get(here.store, name)
        found, now = await kept.deliveries(here.store, name, status=status, limit=last), here.now()
    door.screen.data({"items": [_delivery(one) for one in found]})
    rows = [
        (
            one.id,
            one.type,
            one.instance or "",
            one.status.replace("_", " "),
            str(one.tries),
            at(one.sent_at) if one.sent_at else until(one.next_at, now),
            one.problem or (str(one.answered) if one.answered is not None else ""),
        )
        for one in found
    ]
    columns = ("delivery", "event", "instance", "is", "tries", "sent or next", "answered")
    door.screen.table(columns, rows, "It was told nothing yet.", spare=("tries", "instance"))


@command_of(webhooks, "replay")
@click.argument("name", metavar="WEBHOOK")
@click.argument("delivery", metavar="DELIVERY")
@PERSON
def replay(door: Door, name: str, delivery: str, person: str | None) -> None:
    """Tell the same event again; topstitch serve sends it within moments."""
    door.run(_replay(door, name, delivery, person))


async def _replay(door: Door, name: str, delivery: str, person: str | None) -> None:
    from topstitch.cli.desk import desk
    from topstitch.office import webhooks as office

    async with desk(door.settings(person=person)) as here:
        made = await office.replay(here.store, name, delivery, here.now())
    door.screen.data(_delivery(made))
    door.screen.print(f"{made.id} tells {made.event} again.")
    door.screen.note("See what came of it: " + door.typed(f"webhooks deliveries {name}"))


def _document(one: Endpoint) -> dict[str, Any]:
    from msgspec import to_builtins

    from topstitch.office.webhooks import shown_secrets

    document: dict[str, Any] = to_builtins(one)
    return {**document, "secrets": to_builtins(shown_secrets(one))}


def _print(door: Door, proof: Proof) -> None:
    for value in (proof.secret, proof.public_key):
        if value:
            door.screen.print(value)


def _said(proof: Proof) -> str:
    said = []
    if proof.secret:
        said.append("The secret above signs, and is shown this once.")
    if proof.public_key:
        said.append("The public key above proves our signature v1a; webhooks list shows it again.")
    return " ".join(said)


def _signs(one: Endpoint) -> str:
    return " ".join(each.public_key or "v1" for each in one.secrets if each.ends_at is None)


def _delivery(one: Delivery) -> dict[str, Any]:
    from msgspec import to_builtins

    document: dict[str, Any] = to_builtins(one)
    del document["body"]
    return document
