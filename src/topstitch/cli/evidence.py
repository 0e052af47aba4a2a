"""Commands that make what outsiders check: bundles, evidence packs, checkpoints, exports; and the key that signs.

Each reads the ledger as it is stored. Personal values stay commitments unless they are disclosed by name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import Door, command
from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from topstitch.audit.check_bundle import VerifyKey

FAR_MS: Final = 1 << 50
FORMATS: Final = ("jsonl", "ocsf", "csv")
PERSON: Final = click.option(
    "--as", "person", metavar="PERSON", help="Who does it. [the person setting, or your user name]"
)
DISCLOSE: Final = click.option(
    "--disclose", "fields", multiple=True, metavar="FIELD", help="A personal field to open, such as email; * is all."
)
NOTE: Final = click.Path(exists=True, path_type=Path)
"""A checkpoint that somebody kept: a file of its own, or an evidence pack that holds one."""


@command("prove")
@click.argument("name", metavar="INSTANCE")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the bundle goes.")
@DISCLOSE
def prove(door: Door, name: str, output: str, fields: Sequence[str]) -> None:
    """Write the proof of one instance: its records, and that they are in the signed tree."""
    door.run(_prove(door, name, Path(output), fields))


async def _prove(door: Door, name: str, output: Path, fields: Sequence[str]) -> None:
    from topstitch.audit.prove import bundle_text

    bundle = await _bundle(door, name, fields)
    _write(output, bundle_text(bundle))
    _said(door, bundle, output)


@command("evidence")
@click.argument("name", metavar="INSTANCE")
@click.option("-o", "--output", required=True, metavar="FOLDER", help="A new folder for the evidence.")
@DISCLOSE
def evidence(door: Door, name: str, output: str, fields: Sequence[str]) -> None:
    """Write an evidence pack: the proof, readable files made from it, and a checker that needs only Python."""
    door.run(_evidence(door, name, Path(output), fields))


async def _evidence(door: Door, name: str, output: Path, fields: Sequence[str]) -> None:
    from topstitch.audit.prove import evidence_pack, write_pack

    bundle = await _bundle(door, name, fields)
    write_pack(output, evidence_pack(bundle))
    _said(door, bundle, output)
    door.screen.note(f"To check it anywhere: python3 {output / 'check_bundle.py'} {output} --key KEY --last")


async def _bundle(door: Door, name: str, fields: Sequence[str]) -> dict[str, Any]:
    from topstitch.audit.prove import discloses_fields, prove as bundle_of
    from topstitch.bootstrap.auditing import trusted_keys, vouching
    from topstitch.cli.desk import desk
    from topstitch.store.ledger_reader import open_ledger

    settings = door.settings()
    async with desk(settings) as here, vouching(settings, here.store) as signer:
        full = await here.named(name)
        discloses = discloses_fields(fields) if fields else None
        with open_ledger(here.store) as reader:
            opener, keys = here.store.installation_key, trusted_keys(settings)
            return bundle_of(reader, full, keys, signer=signer, opener=opener, discloses=discloses)


def _said(door: Door, bundle: dict[str, Any], output: Path) -> None:
    size = int(bundle["checkpoint"].split("\n", 2)[1])
    count, opened = len(bundle["records"]), len(bundle["disclosed"])
    door.screen.data(
        {"instance": bundle["instance"], "records": count, "disclosed": opened, "size": size, "output": str(output)}
    )
    door.screen.print(
        f"{door.screen.mark('ok')} {output}: {count} records of {bundle['instance']} in the tree of {size} leaves, "
        f"{opened} personal values disclosed"
    )
    if "last" not in bundle:
        door.screen.note(
            f"{door.screen.mark('warn')} The key that signs cannot be read here, so nothing in it shows "
            "that its end is whole; make it where topstitch serve runs."
        )


@command("consistency")
@click.argument("old", metavar="OLD", type=NOTE)
@click.argument("new", metavar="[NEW]", type=NOTE, required=False)
@click.option("--key", "keys", multiple=True, metavar="KEY", help="A public key, or a file of keys, to trust instead.")
def consistency(door: Door, old: Path, new: Path | None, keys: Sequence[str]) -> None:
    """Prove that a checkpoint, the newest here unless named, continues an older one that you kept."""
    door.run(_consistency(door, old, new, keys))


async def _consistency(door: Door, old: Path, new: Path | None, keys: Sequence[str]) -> None:
    from topstitch.audit.checkpoint import KEY_ROTATED, ring_of
    from topstitch.audit.consistency import consistency as continuation_of
    from topstitch.bootstrap.auditing import trusted_keys
    from topstitch.cli.desk import desk
    from topstitch.store.ledger_reader import open_ledger

    settings = door.settings()
    async with desk(settings) as here:
        with open_ledger(here.store) as reader:
            notes = [str(body.get("note")) for body in reader.installation_bodies(KEY_ROTATED)]
            ring = ring_of(keys_of(keys) or trusted_keys(settings), notes)
            found = continuation_of(reader, checkpoint_of(old), checkpoint_of(new) if new else None, ring)
    door.screen.data(found.document())
    door.screen.print(
        f"{door.screen.mark('ok')} The tree of {found.new.size} leaves continues the one of {found.old.size}: "
        "nothing before was changed, removed or moved."
    )


@command("checkpoint")
@click.option("-o", "--output", metavar="FILE", help="Write it there as well, for somebody who keeps it.")
def checkpoint(door: Door, output: str | None) -> None:
    """Sign the tree as it is now, take it to the anchors, and print the checkpoint."""
    door.run(_checkpoint(door, output))


async def _checkpoint(door: Door, output: str | None) -> None:
    from topstitch.bootstrap.auditing import seal_now
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk
    from topstitch.store import ledger

    settings = door.settings()
    async with desk(settings) as here:
        done = await seal_now(settings, here.store, clock_of(settings))
        newest = await ledger.newest_checkpoint(here.store)
    if newest is None:
        raise OperatorError(
            "nothing-to-sign", "there is no record yet, so there is nothing to sign; send an event first"
        )
    if output:
        _write(Path(output), newest.note)
    anchored = [{"anchor": a.anchor, "receipt": a.receipt, "problem": a.problem} for a in done.anchored]
    door.screen.data({"size": newest.size, "root": newest.root, "note": newest.note, "anchored": anchored})
    door.screen.print(newest.note.rstrip("\n"))
    for one in done.anchored:
        door.screen.note(
            f"{door.screen.mark('bad' if one.problem else 'ok')} {one.anchor}: {one.problem or one.receipt}"
        )
    if not done.anchored:
        door.screen.note("No anchor is named in the settings, so this is self-attested: hand it to somebody outside.")


@command("rotate-key")
@click.option("--lost", is_flag=True, help="The key is lost: begin a new one that the old one does not vouch for.")
@PERSON
def rotate_key(door: Door, person: str | None, *, lost: bool) -> None:
    """Sign with a new key from now on; the old one vouches for it in the trail. Stop topstitch serve before."""
    door.run(_rotate(door, person, lost=lost))


async def _rotate(door: Door, person: str | None, *, lost: bool) -> None:
    from topstitch.bootstrap.auditing import begin_anew, rotate
    from topstitch.cli.clocks import clock_of
    from topstitch.cli.desk import desk

    settings = door.settings()
    who = actor_of(door, person)
    async with desk(settings) as here:
        if lost:
            old, new = None, await begin_anew(settings, here.store, clock_of(settings), who)
        else:
            old, new = await rotate(settings, here.store, clock_of(settings), who)
    door.screen.data({"old": str(old) if old else None, "new": str(new)})
    door.screen.print(f"{door.screen.mark('ok')} New key: {new}")
    said = "Publish the new key; whoever trusts the old one can follow to it."
    if lost:
        said = "Tell your auditors: nothing but your word links this key to the lost one."
    door.screen.note(said)


@command("export")
@click.option("--format", "form", type=click.Choice(FORMATS), default="jsonl", show_default=True, help="What to write.")
@click.option("--since", metavar="TIME", help="Records from this time on, such as 2026-01-05T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Records before this time.")
@click.option("-o", "--output", metavar="FILE", help="Where it goes. [standard output]")
def export(door: Door, form: str, since: str | None, until: str | None, output: str | None) -> None:
    """Write the records for other programs, in the order in which they were written."""
    door.run(_export(door, form, (_ms(since, 0), _ms(until, FAR_MS)), output))


async def _export(door: Door, form: str, span: tuple[int, int], output: str | None) -> None:
    from topstitch.audit.export import Format, export as lines_of
    from topstitch.cli.desk import desk
    from topstitch.store.ledger_reader import open_ledger

    async with desk(door.settings()) as here:
        with open_ledger(here.store) as reader:
            lines = lines_of(reader.in_order(*span), Format(form))
            if output is None:
                sys.stdout.writelines(lines)
                sys.stdout.flush()
                return
            count = 0
            with _opened(Path(output)) as file:
                for line in lines:
                    file.write(line)
                    count += 1
    door.screen.data({"output": output, "lines": count})
    door.screen.note(f"{output}: {count} lines")


# --- What these commands, and those beside them, share ------------------------------------------


def actor_of(door: Door, person: str | None) -> Any:
    """Return who acts."""
    from topstitch.model.record import Actor, ActorKind

    return Actor(ActorKind.HUMAN, person or door.settings().person)


def keys_of(given: Sequence[str]) -> list[VerifyKey]:
    """Read public keys as they were given: each itself, or a file of them."""
    from topstitch.audit.check_bundle import Problem, parse_key

    found = []
    for text in given:
        lines = [text] if "+" in text else text_of(Path(text)).splitlines()
        try:
            found += [parse_key(line) for line in lines if line.strip()]
        except (Problem, ValueError) as error:
            raise RequestError("no-key", f"{text} is no public key ({error}); it looks like name+id+base64") from None
    return found


def checkpoint_of(path: Path) -> str:
    """Read a checkpoint that somebody kept, by itself or in an evidence pack."""
    from topstitch.audit.checkpoint import note_of

    file = path / "checkpoint.txt" if path.is_dir() else path
    return note_of(text_of(file), str(path))


def text_of(path: Path) -> str:
    """Read a small file that somebody kept."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError("file-unreadable", f"{path} cannot be read ({error}); name another file") from None


def _ms(text: str | None, otherwise: int) -> int:
    from topstitch.foundation.timetext import parse_time
    from topstitch.store.sealing import milliseconds

    if text is None:
        return otherwise
    try:
        moment: datetime = parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        raise RequestError("time-unclear", f"{text!r} is no time; write 2026-01-05 or 2026-01-05T09:00:00Z") from None
    return milliseconds(moment)


def _opened(path: Path) -> Any:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OperatorError("output-unwritable", f"{path} cannot be written ({error.strerror}); name another") from None


def _write(path: Path, text: str) -> None:
    with _opened(path) as file:
        file.write(text)


COMMANDS: Final[tuple[click.Command, ...]] = (prove, evidence, consistency, checkpoint, rotate_key, export)
