"""Decides how credentials are kept when they stand neither in a file nor in the environment.

Each is encrypted under a key of its own, which the installation's key wraps: the key file, or
any ``KeyWrapper`` (a key management service). The name is bound into both, so that one
credential cannot be put in another's place. A value leaves only through ``reveal``; lists
name, never show. ``bootstrap`` hands ``reveal`` to the connections as what ``stored:NAME`` means.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

import msgspec

from topstitch.foundation.errors import NotFoundError, RequestError
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.keys import SubjectKey
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.store import Store

PLACE: Final = "credential:"
NAME_LENGTH_MAX: Final = 200

_UPSERT: Final = (
    "INSERT INTO stored_credentials (name, wrapped_key, ciphertext, stored_at, stored_by) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET wrapped_key = excluded.wrapped_key, ciphertext = excluded.ciphertext,"
    " stored_at = excluded.stored_at, stored_by = excluded.stored_by"
)


class KeyWrapper(Protocol):
    """What wraps the keys of credentials: the installation's key, or a key management service."""

    def new_subject_key(self, instance: str, subject: str) -> SubjectKey:
        """Make a key for a place."""
        ...

    def unwrap(self, instance: str, subject: str, wrapped: str) -> SubjectKey:
        """Open a key made for a place."""
        ...


class StoredCredential(msgspec.Struct, frozen=True):
    """That a credential is stored; never what it is."""

    name: str
    stored_at: datetime
    stored_by: str


class Vault:
    """The stored credentials of an installation."""

    def __init__(self, store: Store, wrapper: KeyWrapper | None = None) -> None:
        self._store = store
        self._wrapper: KeyWrapper = wrapper or store.installation_key

    async def put(self, name: str, value: str, actor: Actor, now: datetime) -> None:
        """Store a credential, or a newer value of it."""
        if not name or len(name) > NAME_LENGTH_MAX or not value:
            raise RequestError("credential-empty", "a stored credential has a name and a value; give both")
        place = PLACE + name
        key = self._wrapper.new_subject_key(place, place)
        row = (name, key.wrapped, key.encrypt(value.encode(), place), milliseconds(now), str(actor))

        def work(backend: Backend) -> None:
            _note(backend, name, "set", actor, now)
            backend.execute(_UPSERT, row)

        await self._store.work(work)

    async def reveal(self, name: str) -> str:
        """Return a credential's value."""
        select = "SELECT wrapped_key, ciphertext FROM stored_credentials WHERE name = ?"
        rows = await self._store.work(lambda backend: backend.execute(select, (name,)))
        if not rows:
            raise NotFoundError("no-such-credential", f"no credential {name!r} is stored; store it, or refer to a file")
        place = PLACE + name
        return self._wrapper.unwrap(place, place, rows[0][0]).decrypt(rows[0][1], place).decode()

    async def names(self) -> list[StoredCredential]:
        """Return which credentials are stored."""
        select = "SELECT name, stored_at, stored_by FROM stored_credentials ORDER BY name"
        rows = await self._store.work(lambda backend: backend.execute(select))
        return [StoredCredential(name, moment(at), by) for name, at, by in rows]

    async def forget(self, name: str, actor: Actor = ENGINE, now: datetime | None = None) -> None:
        """Delete a credential; harmless when it is not there. With ``now``, it is noted who did and when."""

        def work(backend: Backend) -> None:
            if now is not None:
                _note(backend, name, "removed", actor, now)
            backend.execute("DELETE FROM stored_credentials WHERE name = ?", (name,))

        await self._store.work(work)


def _note(backend: Backend, name: str, how: str, actor: Actor, now: datetime) -> None:
    body = {"name": name, "how": how}
    note_down_with(backend, Draft(kind=Kind.SECRET_CHANGED, at=now, actor=actor, stage=Stage.AUDIT, body=body))
