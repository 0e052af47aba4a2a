"""Decides what belongs to a backup of an installation, where it goes, and what keeps one from being put back.

``server backup`` and ``server restore`` call it. A backup is a folder: the database as of one moment, the keys
that belong to it, and the settings, connections and definitions of the data folder. It is whole once the
database lies in it, which comes last. Nothing that is there is ever written over. For a PostgreSQL server
its own programs do better; they are named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from topstitch.bootstrap import auditing, database
from topstitch.foundation.errors import ConflictError, NotFoundError, OperatorError
from topstitch.settings import DATABASE_FILE, Settings
from topstitch.store import attendance, backup
from topstitch.store.database import sqlite_path

SETTINGS_FILES: Final = ("*.toml", "*.yaml", "*.yml")
INSTALLATION_KEY: Final = database.KEY_FILE
CHECKPOINT_FILES: Final = (".key", ".pub", ".next")
"""The key that signs, its public half, and the next one while a rotation is not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied, and where it lies now."""

    database: Path
    size_bytes: int
    keys: tuple[Path, ...]
    files: tuple[Path, ...]


def make(settings: Settings, folder: Path, keys: Path | None = None) -> Copied:
    """Copy an installation into ``folder``, its keys into ``keys`` if that is another one, whoever is at work on it."""
    source = _file(settings)
    if not source.exists():
        raise NotFoundError("no-data", f"there is no database {source}; name another folder with --data")
    target = folder / DATABASE_FILE
    if target.exists():
        raise ConflictError("backup-there", f"{folder} holds a backup already; name a new folder")
    with auditing.signing(settings):  # no key is rotated meanwhile
        kept = _bring(_keys(settings), keys or folder)
        files = _bring({file.name: file for file in _texts(settings.data)}, folder)
        size = backup.copy(source, _made(folder) / DATABASE_FILE)
    return Copied(database=target, size_bytes=size, keys=kept, files=files)


def require_room(settings: Settings) -> None:
    """Raise ``ConflictError`` when a database, or an engine at work on one, is where a backup would be put back."""
    target = _file(settings)
    if attendance.attended(target):
        message = f"an engine is at work on {target}; stop every topstitch serve there first"
        raise ConflictError("engine-there", message)
    if there := backup.traces(target):
        names = ", ".join(map(str, there))
        message = f"{names}: a backup is never put over a database; move it away, or name another folder with --data"
        raise ConflictError("database-there", message)


def put_texts(folder: Path, data: Path) -> tuple[Path, ...]:
    """Put settings, connections and definitions back, those that are not there; they say where the rest goes."""
    _require_whole(folder)
    return _bring({file.name: file for file in _texts(folder)}, data)


def put_back(settings: Settings, folder: Path, keys: Path | None = None) -> Copied:
    """Put keys and database back; raise before anything is written when something stands in the way."""
    require_room(settings)
    source, target = _require_whole(folder), _file(settings)
    places = _keys(settings)
    found = {name: (keys or folder) / name for name in places if ((keys or folder) / name).exists()}
    for name, file in found.items():
        if places[name].exists() and places[name].read_bytes() != file.read_bytes():
            message = f"{places[name]} is there and is another key; move it away, or name another folder with --data"
            raise ConflictError("key-there", message)
    own = places.get(INSTALLATION_KEY)
    if own is not None and INSTALLATION_KEY not in found and not own.exists():
        message = f"{keys or folder} holds no {INSTALLATION_KEY}; name the folder that has it with --keys"
        raise OperatorError("key-missing", message)
    put = tuple(_put(file, places[name]) for name, file in found.items() if not places[name].exists())
    size = backup.copy(source, _made(target.parent) / target.name)
    return Copied(database=target, size_bytes=size, keys=put, files=())


def take_out(copied: Copied) -> None:
    """Take away what was put back, because it does not belong together."""
    backup.forget(copied.database)
    for file in copied.keys:
        file.unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    if settings.is_sqlite:
        return sqlite_path(settings.database)
    message = (
        "the database is a PostgreSQL server: copy it with pg_dump --format=custom, put it back with pg_restore, "
        f"and keep the keys in {settings.data} in another place"
    )
    raise OperatorError("backup-by-server", message)


def _require_whole(folder: Path) -> Path:
    source = folder / DATABASE_FILE
    if not source.exists():
        message = f"{folder} holds no {DATABASE_FILE}, so it is no whole backup; name a folder that topstitch server "
        raise NotFoundError("no-backup", message + "backup made")
    return source


def _keys(settings: Settings) -> Mapping[str, Path]:
    """Return where each key lies in an installation, by its name in a backup; one that a command tells has no place."""
    signs = auditing.key_path(settings)
    found = {signs.with_suffix(end).name: signs.with_suffix(end) for end in CHECKPOINT_FILES}
    if settings.key_command:
        return found
    return {INSTALLATION_KEY: settings.key_file or _file(settings).parent / INSTALLATION_KEY, **found}


def _texts(folder: Path) -> Iterator[Path]:
    for pattern in SETTINGS_FILES:
        yield from sorted(folder.glob(pattern))


def _bring(found: Mapping[str, Path], folder: Path) -> tuple[Path, ...]:
    """Copy the files that are there and not in ``folder`` yet."""
    names: Iterable[str] = [name for name, file in found.items() if file.exists() and not (folder / name).exists()]
    return tuple(_put(found[name], folder / name) for name in names)


def _put(file: Path, target: Path) -> Path:
    """Copy one file, readable by its owner alone, whole or not at all."""
    part = _made(target.parent) / f"{target.name}.part"
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            copy.write(file.read_bytes())
            copy.flush()
            os.fsync(copy.fileno())
        part.replace(target)
    except OSError as error:
        message = f"{file} cannot be copied to {target} ({error.strerror}); correct the permissions, or free some space"
        raise OperatorError("backup-unwritable", message) from error
    return target


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        message = f"the folder {folder} cannot be made ({error.strerror}); name another one"
        raise OperatorError("backup-unwritable", message) from error
    return folder
