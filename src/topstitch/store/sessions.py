"""Sessions, attempts to sign in, and sign-ins under way at a provider: the short-lived side of identity.

The room of access asks here. A session is found by the digest of what its cookie holds; what the
cookie holds is nowhere. An attempt is counted before the password is looked at, in one transaction
with the count, so that many attempts at once are not more than many in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection, select

from topstitch.store.database import Backend
from topstitch.store.identity_tables import sessions
from topstitch.store.people import Standing, read_standing
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

ATTEMPTS_KEPT: Final = timedelta(days=1)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One browser that is signed in."""

    id: str
    person: str
    began_at: datetime
    signed_in_at: datetime
    seen_at: datetime
    ends_at: datetime
    provider: str | None = None
    provider_session: str | None = None
    provider_subject: str | None = None


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that is under way at a provider."""

    provider: str
    nonce: str
    verifier: str
    target: str
    ends_at: datetime


class Failures(msgspec.Struct, frozen=True):
    """Attempts of the last while, and when the last one was."""

    count: int
    last: datetime | None


Judge = Callable[[Failures, Failures, Failures], float]
"""The attempts on this account from this address, on this account, from this address: how many seconds to wait."""


async def begin(store: Store, secret: str, new: Session, *, instead_of: str | None = None) -> None:
    """Begin a session under the digest of its secret; ``instead_of`` is the digest of the one that it replaces."""
    await store.work(lambda backend: _begin(backend, secret, new, instead_of))


async def find(store: Store, secret: str) -> tuple[Session, Standing] | None:
    """Return the session of a secret's digest with its person and their grants."""
    return await store.read(lambda c: _find(c, secret))


async def seen(store: Store, secret: str, now: datetime) -> None:
    """Keep that a session is in use."""
    await store.work(
        lambda backend: backend.execute("UPDATE sessions SET seen_at = ? WHERE secret = ?", (milliseconds(now), secret))
    )


async def end(store: Store, secret: str) -> None:
    """End a session."""
    await store.work(lambda backend: backend.execute("DELETE FROM sessions WHERE secret = ?", (secret,)))


async def end_by_provider(store: Store, provider: str, *, session: str | None, subject: str | None) -> int:
    """End the sessions that a provider began: one of its sessions, or all of a subject; return how many."""
    if session is not None:
        where, values = "provider = ? AND provider_session = ?", (provider, session)
    else:
        where, values = "provider = ? AND provider_subject = ?", (provider, str(subject))
    rows = await store.work(
        lambda backend: backend.execute(f"DELETE FROM sessions WHERE {where} RETURNING id", values)  # noqa: S608 -- constants
    )
    return len(rows)


async def of_person(store: Store, person: str) -> list[Session]:
    """Return somebody's sessions, newest first."""
    query = select(sessions).where(sessions.c.person == person).order_by(sessions.c.signed_in_at.desc())
    return await store.read(lambda c: [_session(dict(row)) for row in c.execute(query).mappings()])


async def attempt(store: Store, account: str, address: str, now: datetime, within: timedelta, judge: Judge) -> float:
    """Count an attempt to sign in, unless it comes too soon; return how many seconds it has to wait."""
    return await store.work(lambda backend: _attempt(backend, account, address, now, within, judge))


async def forget_attempts(store: Store, account: str) -> None:
    """Forget what was tried on an account: its owner has signed in."""
    await store.work(lambda backend: backend.execute("DELETE FROM sign_in_attempts WHERE account = ?", (account,)))


async def keep_trip(store: Store, state: str, trip: RoundTrip, now: datetime) -> None:
    """Keep a sign-in that goes to a provider, under the digest of its state."""
    await store.work(lambda backend: _keep_trip(backend, state, trip, now))


async def take_trip(store: Store, state: str, now: datetime) -> RoundTrip | None:
    """Return a sign-in that comes back, once; nothing when it is unknown, used up or too old."""
    rows = await store.work(
        lambda backend: backend.execute(
            "DELETE FROM sign_in_flows WHERE state = ? RETURNING provider, nonce, verifier, target, ends_at", (state,)
        )
    )
    if not rows or moment(rows[0][4]) <= now:
        return None
    provider, nonce, verifier, target, ends_at = rows[0]
    return RoundTrip(provider=provider, nonce=nonce, verifier=verifier, target=target, ends_at=moment(ends_at))


def _begin(backend: Backend, secret: str, new: Session, instead_of: str | None) -> None:
    if instead_of is not None:
        backend.execute("DELETE FROM sessions WHERE secret = ?", (instead_of,))
    backend.execute("DELETE FROM sessions WHERE ends_at <= ?", (milliseconds(new.began_at),))
    values = msgspec.structs.asdict(new)
    columns = ["secret", *values]
    backend.execute(
        f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608 -- constants
        [secret, *(milliseconds(v) if isinstance(v, datetime) else v for v in values.values())],
    )


def _find(connection: Connection, secret: str) -> tuple[Session, Standing] | None:
    row = connection.execute(select(sessions).where(sessions.c.secret == secret)).mappings().first()
    if row is None:
        return None
    session = _session(dict(row))
    standing = read_standing(connection, session.person)
    return (session, standing) if standing else None


def _session(row: dict[str, Any]) -> Session:
    del row["secret"]
    values: dict[str, Any] = {name: moment(value) if name.endswith("_at") else value for name, value in row.items()}
    return Session(**values)


def _attempt(backend: Backend, account: str, address: str, now: datetime, within: timedelta, judge: Judge) -> float:
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(hashtext(?))", ("sign-in " + account,))
    since = milliseconds(now - within)
    wait = judge(
        _failures(backend, "account = ? AND address = ? AND at > ?", (account, address, since)),
        _failures(backend, "account = ? AND at > ?", (account, since)),
        _failures(backend, "address = ? AND at > ?", (address, since)),
    )
    if wait <= 0:
        at = milliseconds(now)
        backend.execute("DELETE FROM sign_in_attempts WHERE at <= ?", (milliseconds(now - ATTEMPTS_KEPT),))
        backend.execute("INSERT INTO sign_in_attempts (account, address, at) VALUES (?, ?, ?)", (account, address, at))
    return wait


def _failures(backend: Backend, where: str, values: Sequence[Any]) -> Failures:
    count, last = backend.execute(f"SELECT count(*), max(at) FROM sign_in_attempts WHERE {where}", values)[0]  # noqa: S608 -- constants
    return Failures(int(count), moment(last) if last is not None else None)


def _keep_trip(backend: Backend, state: str, trip: RoundTrip, now: datetime) -> None:
    backend.execute("DELETE FROM sign_in_flows WHERE ends_at <= ?", (milliseconds(now),))
    backend.execute(
        "INSERT INTO sign_in_flows (state, provider, nonce, verifier, target, ends_at) VALUES (?, ?, ?, ?, ?, ?)",
        (state, trip.provider, trip.nonce, trip.verifier, trip.target, milliseconds(trip.ends_at)),
    )
