"""Commands on the audit trail: an instance's records in order, and proof that none was changed.

What outsiders are handed is in ``evidence``, forgetting a person in ``erase``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli import erase, evidence
from topstitch.cli.command import BROKEN_CHAIN, Door, command_of, fail
from topstitch.cli.groups import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topstitch.audit.verify import Verdict
    from topstitch.settings import Settings

FINDINGS_SHOWN: Final = 10


@click.group(cls=Group)
def audit() -> None:
    """Show, verify, prove and export the records; forget a person."""


for _command in (*evidence.COMMANDS, *erase.COMMANDS):
    audit.add_command(_command)


@command_of(audit, "show")
@click.argument("name", metavar="INSTANCE")
@click.option("--full", is_flag=True, help="With the body of every record.")
def show(door: Door, name: str, *, full: bool) -> None:
    """Show every record of an instance: when, who, what."""
    door.run(_show(door, name, full=full))


async def _show(door: Door, name: str, *, full: bool) -> None:
    from topstitch.cli.desk import desk
    from topstitch.cli.tale import Teller
    from topstitch.cli.when import at, here as in_zone
    from topstitch.foundation.canonical import canonical_bytes
    from topstitch.foundation.timetext import rfc3339

    async with desk(door.settings()) as here:
        seen = await here.picture(await here.named(name))
    teller = Teller(seen.plan, in_zone)
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
@click.option("--key", "keys", multiple=True, metavar="KEY", help="A public key, or a file of keys, to trust instead.")
@click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    type=evidence.NOTE,
    help="A checkpoint or an evidence pack that you kept, to compare with.",
)
def verify(door: Door, name: str | None, keys: Sequence[str], kept: Sequence[Path]) -> None:
    """Verify chains, tree, signatures and anchors; of one instance, say only what concerns it.

    Exit 20 when something was changed: the first bad record is named, and what kind of tampering fits. It changes
    nothing. The answer says how far it reaches: the chain is intact; it is anchored, so that an administrator cannot
    have rewritten it either; or it is self-attested, which is this installation vouching for itself.
    """
    if not door.run(_verify(door, name, keys, kept)):
        fail(BROKEN_CHAIN)


async def _verify(door: Door, name: str | None, keys: Sequence[str], kept: Sequence[Path]) -> bool:
    from topstitch.bootstrap.auditing import verdict_of
    from topstitch.cli.desk import desk

    settings = door.settings()
    outside = {str(path): [evidence.checkpoint_of(path)] for path in kept}
    async with desk(settings) as here:
        found, silent = await verdict_of(settings, here.store, keys=evidence.keys_of(keys), outside=outside)
        if name:
            only = name if any(f.instance == name for f in found.findings) else await here.named(name)
            found = await _concerning(here, found, only)
    door.screen.data({**verdict_document(found), "silent": silent})
    for line in silent:
        door.screen.note(f"{door.screen.mark('warn')} {line}")
    if not found.whole:
        for line in _tampered(found):
            door.screen.print(f"{door.screen.mark('bad')} {line}")
        door.screen.note("Stop, copy the database, and compare it with a backup and with what the anchors hold.")
        return False
    for mark, line in _intact(found, settings):
        door.screen.print(f"{door.screen.mark(mark)} {line}")
    return True


async def _concerning(here: Any, found: Verdict, name: str) -> Verdict:
    """Return what a verdict says of one instance; what is wrong with the tree or its signatures concerns each."""
    import msgspec

    from topstitch.store.ledger_reader import open_ledger

    with open_ledger(here.store) as reader:
        records = len(reader.records(name))
        placed = [leaf for leaf in reader.leaves_of(name).values() if found.checkpoint and leaf < found.checkpoint.size]
    return msgspec.structs.replace(
        found,
        findings=tuple(f for f in found.findings if f.instance in (None, name)),
        instances=1,
        records=records,
        unsigned=max(records - len(placed), 0),
    )


def verdict_document(found: Verdict) -> dict[str, Any]:
    """Return a verdict as data."""
    from topstitch.cli.chains import chains_of

    findings = [
        {
            "fits": str(f.fits),
            "also": [str(kind) for kind in f.also],
            "instance": f.instance,
            "seq": f.seq,
            "leaf": f.leaf,
            "message": f.message,
        }
        for f in sorted(found.findings, key=lambda finding: finding is not found.first)
    ]
    signed = found.checkpoint
    checkpoint = {"origin": signed.origin, "size": signed.size, "root": signed.root.hex()} if signed else None
    return {
        "intact": found.whole,
        "trust": str(found.trust),
        "instances": found.instances,
        "records": found.records,
        "unsigned": found.unsigned,
        "anchored_size": found.anchored_size,
        "checkpoint": checkpoint,
        "key": str(found.key) if found.key else None,
        "broken": chains_of(found).broken,
        "findings": findings,
        "ms": round(found.seconds * 1000),
    }


def _tampered(found: Verdict) -> list[str]:
    """Name the first bad record and what fits, then the others."""
    first = found.first
    if first is None:
        return []
    also = f" (or {', '.join(first.also)})" if first.also else ""
    others = [f"{f.fits}: {f.message}" for f in found.findings if f is not first]
    more = [f"and {len(others) - FINDINGS_SHOWN} more"] if len(others) > FINDINGS_SHOWN else []
    return [f"TAMPERED, {first.fits}{also}: {first.message}", *others[:FINDINGS_SHOWN], *more]


def _intact(found: Verdict, settings: Settings) -> list[tuple[str, str]]:
    """Say how far the answer reaches: intact, and anchored or self-attested."""
    from topstitch.audit.verify import Trust

    instances = f"{found.instances} instance{'' if found.instances == 1 else 's'}"
    lines = [("ok", f"Chain intact: {found.records} records of {instances}, checked in {found.seconds:.1f} s.")]
    size = found.checkpoint.size if found.checkpoint else 0
    by = f"{size} leaves signed by {found.key.name}+{found.key.key_id.hex()}" if found.key else ""
    match found.trust:
        case Trust.ANCHORED:
            lines.append(("ok", f"Anchored: a checkpoint outside agrees up to leaf {found.anchored_size}; {by}."))
        case Trust.SELF_ATTESTED:
            remedy = "" if settings.anchors else "; name one in the settings: anchors"
            lines.append(
                ("warn", f"Self-attested: no checkpoint outside yet{remedy}; until then it vouches for itself; {by}.")
            )
        case Trust.UNSIGNED:
            how = "topstitch serve does it, and topstitch audit checkpoint"
            lines.append(("warn", f"Self-attested: nothing has been signed yet, only the chains speak; {how}."))
    if found.unsigned and found.trust is not Trust.UNSIGNED:
        lines.append(("idle", f"In no checkpoint yet: the newest {found.unsigned}. The next checkpoint covers them."))
    return lines
