"""API tokens: found by the digest of their text, bound to a person or service account, and always with an end.

The room of access and the command ``tokens`` ask here. The text of a token is shown once, when it is
made, and kept nowhere. Making and revoking are noted in the installation's own journal.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from sqlalchemy import Connection, select

from topstitch.foundation.errors import NotFoundError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.record import Actor
from topstitch.store.database import Backend
from topstitch.store.identity_tables import tokens
from topstitch.store.people import Standing, note, read_standing
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token, without its text."""

    id: str
    name: str
    person: str
    maker: str
    scopes: tuple[str, ...]
    made_at: datetime
    ends_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    used_at: datetime | None = None


async def make(store: Store, secret: str, new: Token, actor: Actor) -> None:
    """Keep a token under the digest of its text."""
    await store.work(lambda backend: _make(backend, secret, new, actor))


async def find(store: Store, secret: str) -> tuple[Token, Standing, Standing | None] | None:
    """Return a token by its text's digest, with whom it is bound to and who made it."""
    return await store.read(lambda c: _find(c, secret))


async def listing(store: Store, person: str | None = None) -> list[Token]:
    """Return tokens, newest first: somebody's (bound to them or made by them), or all."""
    query = select(tokens).order_by(tokens.c.made_at.desc(), tokens.c.id)
    if person is not None:
        query = query.where((tokens.c.person == person) | (tokens.c.maker == person))
    return await store.read(lambda c: [_token(dict(row)) for row in c.execute(query).mappings()])


async def revoke(store: Store, name: str, actor: Actor, now: datetime) -> None:
    """End a token at once; a revoked one stays so."""
    await store.work(lambda backend: _revoke(backend, name, actor, now))


async def used(store: Store, name: str, now: datetime) -> None:
    """Keep when a token was used last."""
    await store.work(
        lambda backend: backend.execute("UPDATE tokens SET used_at = ? WHERE id = ?", (milliseconds(now), name))
    )


def _make(backend: Backend, secret: str, new: Token, actor: Actor) -> None:
    values = {**msgspec.structs.asdict(new), "scopes": orjson.dumps(list(new.scopes)).decode()}
    columns = ["secret", *values]
    backend.execute(
        f"INSERT INTO tokens ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608 -- constants
        [secret, *(milliseconds(v) if isinstance(v, datetime) else v for v in values.values())],
    )
    ends = rfc3339(new.ends_at)
    note(backend, actor, new.made_at, "token", new.person, token=new.id, scopes=list(new.scopes), ends_at=ends)


def _find(connection: Connection, secret: str) -> tuple[Token, Standing, Standing | None] | None:
    row = connection.execute(select(tokens).where(tokens.c.secret == secret)).mappings().first()
    if row is None:
        return None
    token = _token(dict(row))
    bound = read_standing(connection, token.person)
    if bound is None:
        return None
    maker = bound if token.maker == token.person else read_standing(connection, token.maker)
    return token, bound, maker


def _revoke(backend: Backend, name: str, actor: Actor, now: datetime) -> None:
    rows = backend.execute("SELECT person, revoked_at FROM tokens WHERE id = ?", (name,))
    if not rows:
        raise NotFoundError("no-token", f"there is no token {name}; topstitch tokens list shows them")
    if rows[0][1] is None:
        backend.execute(
            "UPDATE tokens SET revoked_at = ?, revoked_by = ? WHERE id = ?", (milliseconds(now), str(actor), name)
        )
        note(backend, actor, now, "token_revoke", rows[0][0], token=name)


def _token(row: dict[str, Any]) -> Token:
    del row["secret"]
    times = {n: moment(row[n]) if row[n] is not None else None for n in ("made_at", "ends_at", "revoked_at", "used_at")}
    return Token(**{**row, **times, "scopes": tuple(orjson.loads(row["scopes"]))})
