"""People and service accounts, and the roles they were granted: who exists, whether they may sign in, and as what.

The rooms of access and the commands ``users`` and ``roles`` ask here. Each change is noted in the
installation's own journal in the same transaction. Disabling somebody ends their sessions and
revokes their tokens there too, so that nothing of theirs outlives it. Passwords come hashed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from sqlalchemy import Connection, select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.identity_tables import people, role_grants
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

GROUP: Final = "group:"
"""How a principal that is a group begins."""


ADMIN: Final = ("admin", "")
"""The role, and where, that lets somebody change who may do what."""


class PersonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One person or service account."""

    id: str
    kind: str = "human"
    name: str | None = None
    email: str | None = None
    owner: str | None = None
    password: str | None = None
    provider: str | None = None
    provider_subject: str | None = None
    member_of: tuple[str, ...] = ()
    made_at: datetime
    made_by: str
    signed_in_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_by: str | None = None


class GrantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a person or of a ``group:NAME``, everywhere or for a part of the workflows."""

    principal: str
    role: str
    place: str
    granted_at: datetime
    granted_by: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A person with what was granted to them and to their groups."""

    person: PersonRow
    grants: tuple[GrantRow, ...]


_COLUMNS: Final = tuple(column.name for column in people.c)
_INSERT: Final = f"INSERT INTO people ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 -- constants


async def add(store: Store, new: PersonRow, actor: Actor, grants: Sequence[tuple[str, str]] = ()) -> None:
    """Make a person with roles; raise ``ConflictError`` when there is one of that id."""
    await store.work(lambda backend: _add(backend, new, actor, grants))


async def get(store: Store, name: str) -> PersonRow:
    """Return a person; raise ``NotFoundError`` when there is none."""
    found = await standing(store, name)
    if found is None:
        raise NotFoundError("no-person", f"there is no person {name}; topstitch users list shows everybody")
    return found.person


async def listing(store: Store) -> list[PersonRow]:
    """Return everybody, by id."""
    return await store.read(
        lambda c: [_row(dict(row)) for row in c.execute(select(people).order_by(people.c.id)).mappings()]
    )


async def anybody(store: Store) -> bool:
    """Whether there is any person: from then on people sign in."""
    query = select(people.c.id).where(people.c.kind == "human").limit(1)
    return await store.read(lambda c: c.execute(query).first() is not None)


async def standing(store: Store, name: str) -> Standing | None:
    """Return a person and what they were granted, themselves and through groups."""
    return await store.read(lambda c: read_standing(c, name))


async def vouched(store: Store, provider: str, subject: str) -> PersonRow | None:
    """Return whom a provider knows under ``subject``."""
    query = select(people).where(people.c.provider == provider, people.c.provider_subject == subject)

    def read(connection: Connection) -> PersonRow | None:
        found = connection.execute(query).mappings().first()
        return _row(dict(found)) if found else None

    return await store.read(read)


async def link(store: Store, name: str, provider: str, subject: str, actor: Actor, now: datetime) -> None:
    """Let a provider vouch for a person whom nobody vouched for yet."""
    await store.work(lambda backend: _link(backend, name, provider, subject, actor, now))


async def signed_in(
    store: Store, name: str, now: datetime, *, member_of: Sequence[str] | None = None, shown: str | None = None
) -> None:
    """Keep when somebody signed in last, and what their provider said of them then."""
    sets = "signed_in_at = ?, member_of = coalesce(?, member_of), name = coalesce(?, name)"
    groups = None if member_of is None else orjson.dumps(list(member_of)).decode()
    await store.work(
        lambda backend: backend.execute(
            f"UPDATE people SET {sets} WHERE id = ?",  # noqa: S608 -- a constant
            (milliseconds(now), groups, shown, name),
        )
    )


async def set_password(store: Store, name: str, password: str, actor: Actor, now: datetime) -> None:
    """Replace a password's hash; every session of theirs ends."""
    await store.work(lambda backend: _set_password(backend, name, password, actor, now))


async def rehash(store: Store, name: str, password: str) -> None:
    """Keep a stronger hash of the same password."""
    await store.work(lambda backend: backend.execute("UPDATE people SET password = ? WHERE id = ?", (password, name)))


async def disable(store: Store, name: str, actor: Actor, now: datetime) -> tuple[int, int]:
    """Shut somebody out at once; return how many sessions and tokens ended."""
    return await store.work(lambda backend: _disable(backend, name, actor, now))


async def enable(store: Store, name: str, actor: Actor, now: datetime) -> None:
    """Let somebody in again; tokens stay revoked."""
    await store.work(lambda backend: _enable(backend, name, actor, now))


async def grant(store: Store, principal: str, role: str, place: str, actor: Actor, now: datetime) -> bool:
    """Grant a role; return whether it is new."""
    return await store.work(lambda backend: _grant(backend, principal, role, place, actor, now))


async def revoke(store: Store, principal: str, role: str, place: str, actor: Actor, now: datetime) -> bool:
    """Take a role back; return whether it was there."""
    return await store.work(lambda backend: _revoke(backend, principal, role, place, actor, now))


async def grants(store: Store) -> list[GrantRow]:
    """Return every grant."""
    query = select(role_grants).order_by(role_grants.c.principal, role_grants.c.role, role_grants.c.place)
    return await store.read(lambda c: [_granted(dict(row)) for row in c.execute(query).mappings()])


def read_standing(connection: Connection, name: str) -> Standing | None:
    """Read a person with their grants, inside a read of this room."""
    found = connection.execute(select(people).where(people.c.id == name)).mappings().first()
    if found is None:
        return None
    person = _row(dict(found))
    principals = [person.id, *(GROUP + group for group in person.member_of)]
    rows = connection.execute(select(role_grants).where(role_grants.c.principal.in_(principals))).mappings()
    return Standing(person=person, grants=tuple(_granted(dict(row)) for row in rows))


def _add(backend: Backend, new: PersonRow, actor: Actor, roles: Collection[tuple[str, str]]) -> None:
    if backend.execute("SELECT id FROM people WHERE id = ?", (new.id,)):
        raise ConflictError("person-known", f"there is a person {new.id} already; choose another id, or change theirs")
    values = {**msgspec.structs.asdict(new), "member_of": orjson.dumps(list(new.member_of)).decode()}
    backend.execute(
        _INSERT, [milliseconds(v) if isinstance(v, datetime) else v for v in (values[name] for name in _COLUMNS)]
    )
    more = {"owner": new.owner} if new.owner else {}
    note(backend, actor, new.made_at, "add", new.id, kind=new.kind, **more)
    for role, place in roles:
        _grant(backend, new.id, role, place, actor, new.made_at)


def _link(backend: Backend, name: str, provider: str, subject: str, actor: Actor, now: datetime) -> None:
    rows = backend.execute(
        "UPDATE people SET provider = ?, provider_subject = ? WHERE id = ? AND provider IS NULL RETURNING id",
        (provider, subject, name),
    )
    if not rows:
        raise ConflictError("person-linked", f"{name} is vouched for already, or unknown; ask an admin to look")
    note(backend, actor, now, "link", name, provider=provider)


def _set_password(backend: Backend, name: str, password: str, actor: Actor, now: datetime) -> None:
    _must_be_there(backend.execute("UPDATE people SET password = ? WHERE id = ? RETURNING id", (password, name)), name)
    backend.execute("DELETE FROM sessions WHERE person = ?", (name,))
    note(backend, actor, now, "password", name)


def _disable(backend: Backend, name: str, actor: Actor, now: datetime) -> tuple[int, int]:
    _not_the_last_admin(backend, name)
    rows = backend.execute(
        "UPDATE people SET disabled_at = coalesce(disabled_at, ?), disabled_by = coalesce(disabled_by, ?)"
        " WHERE id = ? RETURNING id",
        (milliseconds(now), str(actor), name),
    )
    _must_be_there(rows, name)
    ended = backend.execute("DELETE FROM sessions WHERE person = ? RETURNING id", (name,))
    revoked = backend.execute(
        "UPDATE tokens SET revoked_at = ?, revoked_by = ? WHERE person = ? AND revoked_at IS NULL RETURNING id",
        (milliseconds(now), str(actor), name),
    )
    note(backend, actor, now, "disable", name)
    return len(ended), len(revoked)


def _enable(backend: Backend, name: str, actor: Actor, now: datetime) -> None:
    rows = backend.execute(
        "UPDATE people SET disabled_at = NULL, disabled_by = NULL WHERE id = ? RETURNING id", (name,)
    )
    _must_be_there(rows, name)
    note(backend, actor, now, "enable", name)


def _grant(backend: Backend, principal: str, role: str, place: str, actor: Actor, now: datetime) -> bool:
    if not principal.startswith(GROUP):
        _must_be_there(backend.execute("SELECT id FROM people WHERE id = ?", (principal,)), principal)
    rows = backend.execute(
        "INSERT INTO role_grants (principal, role, place, granted_at, granted_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (principal, role, place) DO NOTHING RETURNING role",
        (principal, role, place, milliseconds(now), str(actor)),
    )
    if rows:
        note(backend, actor, now, "grant", principal, role=role, where=place)
    return bool(rows)


def _revoke(backend: Backend, principal: str, role: str, place: str, actor: Actor, now: datetime) -> bool:
    if (role, place) == ADMIN:
        _not_the_last_admin(backend, principal)
    rows = backend.execute(
        "DELETE FROM role_grants WHERE principal = ? AND role = ? AND place = ? RETURNING role",
        (principal, role, place),
    )
    if rows:
        note(backend, actor, now, "revoke", principal, role=role, where=place)
    return bool(rows)


def _not_the_last_admin(backend: Backend, principal: str) -> None:
    """Raise when nobody else could let anybody in again; a group's admins are in its provider's hands."""
    found = backend.execute(
        "SELECT g.principal FROM role_grants g LEFT JOIN people p ON p.id = g.principal"
        " WHERE g.role = ? AND g.place = ? AND (p.id IS NULL OR (p.disabled_at IS NULL AND p.kind = 'human'))",
        ADMIN,
    )
    admins = {str(row[0]) for row in found}
    if admins == {principal}:
        message = f"{principal} is the last admin; make somebody else one first: topstitch users grant PERSON admin"
        raise ConflictError("last-admin", message)


def _must_be_there(rows: Sequence[Any], name: str) -> None:
    if not rows:
        raise NotFoundError("no-person", f"there is no person {name}; topstitch users list shows everybody")


def note(backend: Backend, actor: Actor, at: datetime, what: str, about: str, **more: Any) -> None:
    """Note a change of who may do what in the installation's own journal, inside the present transaction."""
    body = {"command": what, "about": about, **more}
    note_down_with(backend, Draft(kind=Kind.ACCESS_CHANGED, at=at, actor=actor, stage=Stage.AUDIT, body=body))


def _row(row: dict[str, Any]) -> PersonRow:
    times = {n: moment(row[n]) if row[n] is not None else None for n in ("made_at", "signed_in_at", "disabled_at")}
    return PersonRow(**{**row, **times, "member_of": tuple(orjson.loads(row["member_of"]))})


def _granted(row: dict[str, Any]) -> GrantRow:
    return GrantRow(**{**row, "granted_at": moment(row["granted_at"])})
