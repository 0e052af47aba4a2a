"""Commands on the audit trail: an instance's records in order, and proof that none was changed."""

from __future__ import annotations

import click

from topstitch.cli.command import BROKEN_CHAIN, Door, command_of, fail


@click.group()
def audit() -> None:
    """Show an instance's records; verify the chains."""


@command_of(audit, "show")
@click.argument("name", metavar="INSTANCE")
@click.option("--full", is_flag=True, help="With the body of every record.")
def show(door: Door, name: str, *, full: bool) -> None:
    """Show every record of an instance: when, who, what."""
    door.run(_show(door, name, full=full))


async def _show(door: Door, name: str, *, full: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.tale import Teller
    from topstitch.cli.when import at
    from topstitch.foundation.canonical import canonical_bytes
    from topstitch.foundation.timetext import rfc3339

    async with desk(door.settings()) as here:
        seen = await here.picture(await here.named(name))
    teller = Teller(seen.plan)
    rows = []
    document = []
    for r in seen.records:
        text = teller.sentence(r) or ""
        document.append(
            {
                "seq": r.seq,
                "at": rfc3339(r.at),
                "kind": r.kind,
                "actor": str(r.actor),
                "stage": str(r.stage),
                "step": r.step,
                "body": dict(r.body),
                "hash": r.hash.hex(),
                "text": text,
            }
        )
        shown = canonical_bytes(dict(r.body)).decode() if full else text
        rows.append([str(r.seq), at(r.at), str(r.actor), str(r.kind), r.step or "", r.hash.hex()[:10], shown])
    door.screen.data({"instance": seen.state.id, "records": document})
    door.screen.table(("seq", "at", "actor", "kind", "step", "hash", "what"), rows, "There are no records.")


@command_of(audit, "verify")
@click.argument("name", required=False, metavar="[INSTANCE]")
def verify(door: Door, name: str | None) -> None:
    """Verify the chains of all instances, or of one. Exit 20 when one is broken."""
    if not door.run(_verify(door, name)):
        fail(BROKEN_CHAIN)


async def _verify(door: Door, name: str | None) -> bool:
    from topstitch.cli.chains import verify_chains
    from topstitch.cli.desk import desk

    async with desk(door.settings()) as here:
        done = await verify_chains(here.store, await here.named(name) if name else None)
    door.screen.data(
        {"instances": done.instances, "records": done.records, "broken": done.broken, "intact": not done.broken}
    )
    if done.broken:
        for line in done.broken:
            door.screen.print(f"{door.screen.mark('bad')} {line}")
        door.screen.note(f"{len(done.broken)} chains are broken: compare the database with a backup.")
        return False
    door.screen.print(f"{door.screen.mark('ok')} Chains intact: {done.records} records of {done.instances} instances.")
    return True
