"""Commands on an installation as a whole: a copy of it while it runs, and putting one back.

Both act on files before there is a database to ask, so whoever may read or make the folder may call them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topstitch.cli.command import BROKEN_CHAIN, Door, command_of, fail
from topstitch.cli.groups import Group
from topstitch.foundation.errors import OperatorError

if TYPE_CHECKING:
    from topstitch.bootstrap.backups import Copied
    from topstitch.cli.chains import Chains
    from topstitch.settings import Settings

KEYS = click.option("--keys", metavar="FOLDER", help="Where the keys lie, if not in the same folder.")


@click.group(cls=Group)
def server() -> None:
    """Back an installation up while it runs, and restore it."""


@command_of(server, "backup")
@click.argument("folder", metavar="FOLDER")
@KEYS
def backup(door: Door, folder: str, keys: str | None) -> None:
    """Copy database, keys, settings and definitions into a new folder, as of one moment, while the server runs."""
    from topstitch.bootstrap import backups

    made = backups.make(door.settings(), Path(folder), Path(keys) if keys else None)
    door.screen.data({"folder": folder, **_document(made)})
    door.screen.print(f"Copied into {folder}: {made.size_bytes // 1024} KB of database, {_listed(made)}.")
    if not keys and made.keys:
        door.screen.note("Its keys open it: keep them in another place (--keys FOLDER).")
    door.screen.note(f"Try it: topstitch server restore {folder} --data NEW-FOLDER")


@command_of(server, "restore")
@click.argument("folder", metavar="BACKUP")
@KEYS
def restore(door: Door, folder: str, keys: str | None) -> None:
    """Put a backup back where no database is, then verify its chains. Exit 20 when one is broken."""
    from topstitch.bootstrap import backups

    backups.require_room(door.settings())
    texts = backups.put_texts(Path(folder), door.settings().data)
    settings = door.settings()  # anew: what was put back may name another place for the database or a key
    put = backups.put_back(settings, Path(folder), Path(keys) if keys else None)
    try:
        chains = door.run(_verified(settings))
    except OperatorError:
        backups.take_out(put)
        raise
    document = _document(put) | {"files": [str(file) for file in texts]}
    verified = {"records": chains.records, "trust": chains.trust, "broken": chains.broken}
    door.screen.data({"data": str(settings.data), **document, "chains": verified})
    _say(door, put, chains)
    if chains.broken:
        fail(BROKEN_CHAIN)


async def _verified(settings: Settings) -> Chains:
    from topstitch.cli.chains import verify_chains
    from topstitch.cli.desk import desk

    async with desk(settings) as here:
        return await verify_chains(here.store, settings)


def _say(door: Door, put: Copied, chains: Chains) -> None:
    from topstitch.cli.screen import counted

    screen = door.screen
    screen.print(f"Restored {put.database} ({put.size_bytes // 1024} KB).")
    for problem in chains.broken:
        screen.print(f"{screen.mark('bad')} {problem}")
    if not chains.broken:
        screen.print(f"{screen.mark('ok')} {counted(chains.records, 'record')} intact, {chains.trust}")
    screen.note("What was written after the backup is unknown here. Look before you start it: " + door.typed("doctor"))


def _document(copied: Copied) -> dict[str, object]:
    return {
        "database": str(copied.database),
        "bytes": copied.size_bytes,
        "keys": [str(file) for file in copied.keys],
        "files": [str(file) for file in copied.files],
    }


def _listed(made: Copied) -> str:
    keys, files = (", ".join(file.name for file in each) for each in (made.keys, made.files))
    return f"keys ({keys or 'none'}), files ({files or 'none'})"
