"""Keeps the first answer to a keyed request, so that the same request again gets it and does nothing twice.

The API asks ``begin`` before it carries a request out, then ``finish`` with the answer, or
``release`` when nothing was done. A key is its caller's own; the fingerprint of method, path and body
tells the same request from another. What a process did not live to answer may be begun anew after a
while. It knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from topstitch.store.database import Backend
from topstitch.store.sealing import milliseconds

if TYPE_CHECKING:
    from topstitch.store.store import Store

KEPT: Final = timedelta(hours=24)
RUNNING_MAX: Final = timedelta(minutes=5)
"""After this a request that was begun and never answered is taken for lost with its process."""
SWEPT_MAX: Final = 500


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key: whose request it was, and the answer unless it is still being made."""

    fingerprint: str
    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""


async def begin(store: Store, caller: str, key: str, fingerprint: str, now: datetime) -> Kept | None:
    """Take a key; return what is known when it was taken before."""
    return await store.work(lambda backend: _begin(backend, caller, key, fingerprint, now))


async def finish(store: Store, caller: str, key: str, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Keep the answer."""
    values = (status, orjson.dumps(dict(headers)).decode(), body.decode(), caller, key)
    await store.work(
        lambda backend: backend.execute(
            "UPDATE idempotency_keys SET status = ?, headers = ?, body = ? WHERE caller = ? AND key = ?", values
        )
    )


async def release(store: Store, caller: str, key: str) -> None:
    """Forget a key whose request did nothing."""
    await store.work(
        lambda backend: backend.execute(
            "DELETE FROM idempotency_keys WHERE caller = ? AND key = ? AND status IS NULL", (caller, key)
        )
    )


def _begin(backend: Backend, caller: str, key: str, fingerprint: str, now: datetime) -> Kept | None:
    at = milliseconds(now)
    _sweep(backend, at)
    lost = milliseconds(now - RUNNING_MAX)
    taken = backend.execute(
        "INSERT INTO idempotency_keys (caller, key, fingerprint, started_at, ends_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (caller, key) DO UPDATE SET fingerprint = excluded.fingerprint,"
        " started_at = excluded.started_at, ends_at = excluded.ends_at, status = NULL, headers = NULL, body = NULL"
        " WHERE idempotency_keys.ends_at <= excluded.started_at"
        " OR (idempotency_keys.status IS NULL AND idempotency_keys.started_at <= ?) RETURNING key",
        (caller, key, fingerprint, at, milliseconds(now + KEPT), lost),
    )
    if taken:
        return None
    rows = backend.execute(
        "SELECT fingerprint, status, headers, body FROM idempotency_keys WHERE caller = ? AND key = ?", (caller, key)
    )
    known, status, headers, body = rows[0]
    if status is None:
        return Kept(fingerprint=known)
    return Kept(fingerprint=known, status=int(status), headers=orjson.loads(headers), body=str(body).encode())


def _sweep(backend: Backend, at: int) -> None:
    """Forget answers that were kept long enough, some at a time."""
    backend.execute(
        "DELETE FROM idempotency_keys WHERE ends_at <= ? AND caller || '/' || key IN"
        " (SELECT caller || '/' || key FROM idempotency_keys WHERE ends_at <= ? ORDER BY ends_at LIMIT ?)",
        (at, at, SWEPT_MAX),
    )
