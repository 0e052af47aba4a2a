"""Decides whether the engine that holds a lease is still there.

A lease runs out by itself, but after a crash on the same database nobody should wait for
that. An engine therefore *attends*: it holds a lock that the operating system (SQLite: a
locked file beside the database) or the server (PostgreSQL: an advisory lock of the session)
lets go when the process dies, however it dies. Whoever attends next frees the leases of
those whose lock is free. It never frees a lease of a living engine: that takes its expiry.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from topstitch.store.database import Backend
from topstitch.store.sealing import milliseconds

FOLDER: Final = "engines"
_OWNERS: Final = "SELECT DISTINCT lease_owner FROM instances WHERE lease_owner IS NOT NULL"
_FREE: Final = (
    "UPDATE instances SET wake_at = ?, lease_until = ? WHERE lease_owner = ? AND lease_until > ? RETURNING id"
)
_KEY: Final = "hashtextextended(?, 0)"


class Attendance:
    """The locks of the engines of one store."""

    def __init__(self, path: Path | None) -> None:
        self._folder = path.parent / FOLDER if path else None
        self._held: dict[str, int] = {}

    def attend(self, backend: Backend, owner: str, now: datetime) -> int:
        """Hold the lock of ``owner`` and free the leases of the dead; return how many there were."""
        self._hold(backend, owner)
        ms, freed = milliseconds(now), 0
        for (other,) in backend.execute(_OWNERS):
            if other != owner and other not in self._held and self._is_dead(backend, other):
                freed += len(backend.execute(_FREE, (ms, ms, other, ms)))
        self._tidy()
        return freed

    def _tidy(self) -> None:
        """Remove the files that nobody locks any more; called inside the write transaction, so by one at a time."""
        for file in self._folder.glob("*.lock") if self._folder else ():
            if file.stem not in self._held and _is_free(file):
                with contextlib.suppress(OSError):
                    file.unlink()

    def leave(self) -> None:
        """Let go of every lock; the files stay, so that the next one sees who is gone."""
        for handle in self._held.values():
            os.close(handle)
        self._held = {}

    def _hold(self, backend: Backend, owner: str) -> None:
        if backend.dialect == "postgresql":
            backend.execute(f"SELECT pg_advisory_lock({_KEY})", (_name(owner),))
        elif self._folder is not None and owner not in self._held:
            self._folder.mkdir(exist_ok=True)
            handle = os.open(self._file(owner), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._held[owner] = handle

    def _is_dead(self, backend: Backend, owner: str) -> bool:
        if backend.dialect == "postgresql":
            return self._let_go_on_server(backend, owner)
        return self._folder is not None and _is_free(self._file(owner))

    def _let_go_on_server(self, backend: Backend, owner: str) -> bool:
        query = f"SELECT pg_try_advisory_xact_lock({_KEY})"
        return bool(backend.execute(query, (_name(owner),))[0][0])

    def _file(self, owner: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{owner.replace('/', '_')}.lock"


def attended(path: Path) -> bool:
    """Whether an engine of this machine is at work on the SQLite file at ``path``, even if that has been moved away."""
    return any(_is_held(file) for file in (path.parent / FOLDER).glob("*.lock"))


def _is_held(file: Path) -> bool:
    return file.exists() and not _is_free(file)


def _is_free(file: Path) -> bool:
    """Whether a lock file is there and nobody holds it; without one, only a lease's expiry tells."""
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _name(owner: str) -> str:
    return f"topstitch engine {owner}"
