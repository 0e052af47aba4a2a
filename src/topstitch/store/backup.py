"""Decides how a SQLite database is copied while others write to it, and what stands in a copy's way.

``bootstrap.backups`` calls it. SQLite's own backup takes one moment of the database, what its write-ahead
log holds included, and keeps nobody from writing. A copy appears under its name when it is whole, or not at
all; it is one file, without a log beside it. It reads no row and changes nothing in what it copies.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from topstitch.foundation.errors import OperatorError
from topstitch.store.database import BUSY_SECONDS, sqlite_error

BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a file that is in use; with another file it would be taken for that one's."""
_PART: Final = ".part"


def copy(source: Path, target: Path) -> int:
    """Copy the database in ``source`` to ``target``, readable by its owner alone; return its size in bytes."""
    part = target.with_name(target.name + _PART)
    _forget(part)
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copied(source, part)
        part.replace(target)
        _settle(target.parent)
    except OSError as error:
        message = f"{target} cannot be written ({error.strerror}); choose another folder, or free some space there"
        raise OperatorError("backup-unwritable", message) from error
    finally:
        _forget(part)
    return target.stat().st_size


def traces(path: Path) -> Sequence[Path]:
    """Return what is left of a database at ``path``: its file, and what SQLite keeps beside it."""
    return [file for file in (path, *(path.with_name(path.name + end) for end in BESIDE)) if file.exists()]


def forget(path: Path) -> None:
    """Delete a database that was just put at ``path``."""
    for file in traces(path):
        file.unlink()


def _copied(source: Path, part: Path) -> None:
    place = source
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            contextlib.closing(sqlite3.connect(part)) as new,
        ):
            old.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")
            old.execute("SELECT count(*) FROM alembic_version")  # of another program's database nothing is copied
            place = part
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
            (said,) = new.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise _error(error, place, source) from error
    if said != "ok":
        message = f"{source} is damaged ({said}); stop, copy the file, and restore the newest backup"
        raise OperatorError("database-damaged", message)


def _error(error: sqlite3.Error, place: Path, source: Path) -> OperatorError:
    if "no such table" in str(error):
        message = f"{source} is not a Topstitch database; name the folder of a backup, or of an installation"
        return OperatorError("database-foreign", message)
    return sqlite_error(error, str(place))


def _settle(folder: Path) -> None:
    """Make a new name outlive the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(part: Path) -> None:
    for file in (part, *(part.with_name(part.name + end) for end in (*BESIDE, "-journal"))):
        file.unlink(missing_ok=True)
