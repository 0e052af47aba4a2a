"""Webhooks going out: who wants to be told of what, and each delivery until it was taken or given up.

``feed`` walks the ledger in its order and makes one delivery for every endpoint that wants a record;
the cursor moves in the same transaction, so that nothing is told twice or left out whoever stops when.
``claim`` hands due deliveries to one sender at a time. ``bootstrap.webhooks`` sends them. Secrets lie
in the vault under the names kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from sqlalchemy import Select, and_, or_, select

from topstitch.foundation.errors import NotFoundError
from topstitch.foundation.ids import derived_id
from topstitch.store.api_tables import webhook_deliveries, webhook_endpoints
from topstitch.store.database import Backend
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

ENABLED, DISABLED = "enabled", "disabled"
WAITING, SENT, GIVEN_UP = "waiting", "sent", "given_up"
FEED_RECORDS: Final = 500
_CURSOR: Final = "webhook_cursor"
_LOCK: Final = 7_411_000_008


class Secret(msgspec.Struct, frozen=True):
    """One secret or key of an endpoint: its name in the vault, and until when an old one still signs."""

    name: str
    ends_at: datetime | None = None
    public_key: str | None = None
    """The public half of a key, for everybody to see; nothing: it is a secret that the receiver shares."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to be told."""

    id: str
    url: str
    types: tuple[str, ...]
    """Exact types, or ``topstitch.approval.*``, or ``*``."""
    description: str | None
    owner: str
    status: str
    because: str | None
    failing_since: datetime | None
    secrets: tuple[Secret, ...]
    """The newest first."""
    made_at: datetime
    changed_at: datetime

    def live(self, now: datetime) -> list[Secret]:
        """Return what signs a message now, the newest first."""
        return [one for one in self.secrets if one.ends_at is None or one.ends_at > now]

    def wants(self, type_: str) -> bool:
        """Whether it is to be told of events of a type."""
        return any(type_ == one or (one.endswith("*") and type_.startswith(one[:-1])) for one in self.types)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint."""

    id: str
    endpoint: str
    event: str
    type: str
    instance: str | None
    body: str
    made_at: datetime
    status: str
    tries: int
    next_at: datetime | None
    sent_at: datetime | None
    answered: int | None
    problem: str | None
    replay_of: str | None


class LedgerRecord(msgspec.Struct, frozen=True):
    """A record as the feed sees it: its place in the tree, and the text that was hashed."""

    leaf: int
    instance: str
    seq: int
    text: str
    workflow: str | None
    version: str | None


Word = Callable[[LedgerRecord], tuple[str, str, str] | None]
"""A record as an event: its id, its type, its body; nothing when nobody is told of such records."""

_NEW: Final = (
    "SELECT l.leaf, l.instance, l.seq, COALESCE(j.body, b.data), i.workflow, i.version FROM leaves l"
    " JOIN journal j ON j.instance = l.instance AND j.seq = l.seq LEFT JOIN blobs b ON b.digest = j.blob"
    " LEFT JOIN instances i ON i.id = l.instance WHERE l.leaf >= ? ORDER BY l.leaf LIMIT ?"
)
_INSERT: Final = (
    "INSERT INTO webhook_deliveries (id, endpoint, event, type, instance, body, made_at, status, tries, next_at,"
    " replay_of) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (id) DO NOTHING"
)
_ENDPOINT: Final = ", ".join(column.name for column in webhook_endpoints.c)
_DELIVERY: Final = tuple(webhook_deliveries.c[name] for name in Delivery.__struct_fields__)


# --- Endpoints ------------------------------------------------------------------------------------


async def add(store: Store, endpoint: Endpoint) -> None:
    """Keep a new endpoint. The first one begins at the end of the ledger: nobody is told of the past."""
    values = (
        endpoint.id, endpoint.url, orjson.dumps(endpoint.types).decode(), endpoint.description, endpoint.owner,
        endpoint.status, endpoint.because, None, _secrets_text(endpoint.secrets), milliseconds(endpoint.made_at),
        milliseconds(endpoint.changed_at),
    )  # fmt: skip

    def do(backend: Backend) -> None:
        _cursor(backend)
        marks = ", ".join("?" * len(values))
        backend.execute(f"INSERT INTO webhook_endpoints ({_ENDPOINT}) VALUES ({marks})", values)  # noqa: S608 -- constants

    await store.work(do)


async def change(
    store: Store, name: str, now: datetime, *, url: str, types: Sequence[str], description: str | None, status: str
) -> None:
    """Change an endpoint; enabling one forgets that it failed, and its waiting deliveries are due."""
    at = milliseconds(now)

    def do(backend: Backend) -> None:
        backend.execute(
            "UPDATE webhook_endpoints SET url = ?, types = ?, description = ?, status = ?, changed_at = ?,"
            " because = CASE WHEN ? = 'enabled' THEN NULL ELSE because END,"
            " failing_since = CASE WHEN ? = 'enabled' THEN NULL ELSE failing_since END WHERE id = ?",
            (url, orjson.dumps(list(types)).decode(), description, status, at, status, status, name),
        )

    await store.work(do)


async def keep_secrets(store: Store, name: str, secrets: Sequence[Secret], now: datetime) -> None:
    """Note which secrets sign from now on."""
    values = (_secrets_text(secrets), milliseconds(now), name)
    statement = "UPDATE webhook_endpoints SET secrets = ?, changed_at = ? WHERE id = ?"
    await store.work(lambda backend: backend.execute(statement, values))


async def remove(store: Store, name: str) -> None:
    """Delete an endpoint with its deliveries."""

    def do(backend: Backend) -> None:
        backend.execute("DELETE FROM webhook_deliveries WHERE endpoint = ?", (name,))
        backend.execute("DELETE FROM webhook_endpoints WHERE id = ?", (name,))

    await store.work(do)


async def endpoints(store: Store) -> list[Endpoint]:
    """Return every endpoint, oldest first."""
    return await store.work(_endpoints)


async def get(store: Store, name: str) -> Endpoint:
    """Return an endpoint; raise ``NotFoundError`` when there is none."""
    for one in await endpoints(store):
        if one.id == name:
            return one
    raise NotFoundError("no-webhook", f"there is no webhook {name}; list them and use an id from there")


def _endpoints(backend: Backend) -> list[Endpoint]:
    rows = backend.execute(f"SELECT {_ENDPOINT} FROM webhook_endpoints ORDER BY made_at, id")  # noqa: S608 -- constants
    return [
        Endpoint(
            id=name, url=url, types=tuple(orjson.loads(types)), description=description, owner=owner, status=status,
            because=because, failing_since=_maybe(failing), secrets=_secrets(secrets), made_at=moment(made),
            changed_at=moment(changed),
        )
        for name, url, types, description, owner, status, because, failing, secrets, made, changed in rows
    ]  # fmt: skip


# --- The feed -------------------------------------------------------------------------------------


async def feed(store: Store, word: Word, now: datetime) -> int:
    """Make deliveries of what was placed in the ledger since; return how many records were looked at."""
    return await store.work(lambda backend: _feed(backend, word, now))


def _feed(backend: Backend, word: Word, now: datetime) -> int:
    wanted = [one for one in _endpoints(backend) if one.status == ENABLED]
    if not wanted:
        # nobody listens: what happens meanwhile is the past when somebody does
        backend.execute("DELETE FROM meta WHERE key = ?", (_CURSOR,))
        return 0
    begin = _cursor(backend)
    rows = [LedgerRecord(*row) for row in backend.execute(_NEW, (begin, FEED_RECORDS))]
    for record in rows:
        told = word(record)
        if told is None:
            continue
        event, type_, body = told
        for endpoint in wanted:
            if endpoint.wants(type_):
                name = derived_id("dlv", event, endpoint.id)
                _insert(backend, name, endpoint.id, (event, type_, record.instance, body), now, None)
    if rows:
        _move(backend, rows[-1].leaf + 1)
    return len(rows)


def _cursor(backend: Backend) -> int:
    """Return where the feed stands, held for this transaction; at the end of the ledger when it never stood."""
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    found = backend.execute("SELECT value FROM meta WHERE key = ?", (_CURSOR,))
    if found:
        return int(found[0][0])
    end = int(backend.execute("SELECT COALESCE(MAX(leaf) + 1, 0) FROM leaves")[0][0])
    _move(backend, end)
    return end


def _move(backend: Backend, leaf: int) -> None:
    statement = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    backend.execute(statement, (_CURSOR, str(leaf)))


def _insert(
    backend: Backend,
    name: str,
    endpoint: str,
    event: tuple[str, str, str | None, str],
    now: datetime,
    replay_of: str | None,
) -> None:
    at = milliseconds(now)
    backend.execute(_INSERT, (name, endpoint, *event, at, WAITING, at, replay_of))


# --- Deliveries -----------------------------------------------------------------------------------


async def claim(store: Store, now: datetime, until: datetime, limit: int) -> list[Delivery]:
    """Take due deliveries of enabled endpoints; nobody else gets them before ``until``."""
    at = milliseconds(now)

    def do(backend: Backend) -> list[str]:
        rows = backend.execute(
            "UPDATE webhook_deliveries SET claimed_until = ? WHERE id IN (SELECT d.id FROM webhook_deliveries d"
            " JOIN webhook_endpoints e ON e.id = d.endpoint WHERE d.next_at <= ? AND e.status = 'enabled'"
            " AND (d.claimed_until IS NULL OR d.claimed_until <= ?) ORDER BY d.next_at LIMIT ?)"
            " AND (claimed_until IS NULL OR claimed_until <= ?) RETURNING id",
            (milliseconds(until), at, at, limit, at),
        )
        return [str(name) for (name,) in rows]

    names = await store.work(do)
    if not names:
        return []
    return await _deliveries(store, select(*_DELIVERY).where(webhook_deliveries.c.id.in_(names)))


async def note(store: Store, delivery: Delivery, now: datetime, *, disable: str | None = None) -> None:
    """Write down what came of a try; ``disable`` says why its endpoint is told nothing more."""

    def do(backend: Backend) -> None:
        backend.execute(
            "UPDATE webhook_deliveries SET status = ?, tries = ?, next_at = ?, claimed_until = NULL, sent_at = ?,"
            " answered = ?, problem = ? WHERE id = ?",
            (
                delivery.status, delivery.tries, _ms(delivery.next_at), _ms(delivery.sent_at), delivery.answered,
                delivery.problem, delivery.id,
            ),
        )  # fmt: skip
        if delivery.status == SENT:
            backend.execute("UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ?", (delivery.endpoint,))
        else:
            backend.execute(
                "UPDATE webhook_endpoints SET failing_since = COALESCE(failing_since, ?) WHERE id = ?",
                (milliseconds(now), delivery.endpoint),
            )
        if disable is not None:
            backend.execute(
                "UPDATE webhook_endpoints SET status = ?, because = ?, changed_at = ? WHERE id = ?",
                (DISABLED, disable, milliseconds(now), delivery.endpoint),
            )

    await store.work(do)


async def deliveries(
    store: Store, endpoint: str, *, status: str | None = None, after: tuple[int, str] | None = None, limit: int = 50
) -> list[Delivery]:
    """Return the deliveries of an endpoint, newest first."""
    d = webhook_deliveries.c
    query = select(*_DELIVERY).where(d.endpoint == endpoint).order_by(d.made_at.desc(), d.id.desc()).limit(limit)
    if status is not None:
        query = query.where(d.status == status)
    if after is not None:
        query = query.where(or_(d.made_at < after[0], and_(d.made_at == after[0], d.id < after[1])))
    return await _deliveries(store, query)


async def get_delivery(store: Store, endpoint: str, name: str) -> Delivery:
    """Return one delivery; raise ``NotFoundError`` when there is none."""
    d = webhook_deliveries.c
    found = await _deliveries(store, select(*_DELIVERY).where(d.endpoint == endpoint, d.id == name))
    if not found:
        raise NotFoundError("no-delivery", f"{endpoint} has no delivery {name}; list them and use an id from there")
    return found[0]


async def replay(store: Store, delivery: Delivery, name: str, now: datetime) -> None:
    """Make a delivery of the same event again, due at once."""
    event = (delivery.event, delivery.type, delivery.instance, delivery.body)
    await store.work(lambda backend: _insert(backend, name, delivery.endpoint, event, now, delivery.id))


async def _deliveries(store: Store, query: Select[Any]) -> list[Delivery]:
    return await store.read(lambda c: [_delivery(dict(row)) for row in c.execute(query).mappings()])


def _delivery(row: Mapping[str, Any]) -> Delivery:
    times = {name: _maybe(row[name]) for name in ("next_at", "sent_at")}
    return Delivery(**{**row, **times, "made_at": moment(row["made_at"])})


def _secrets(text: str) -> tuple[Secret, ...]:
    return tuple(Secret(one["name"], _maybe(one["ends_at"]), one.get("public_key")) for one in orjson.loads(text))


def _secrets_text(secrets: Sequence[Secret]) -> str:
    rows = [{"name": one.name, "ends_at": _ms(one.ends_at), "public_key": one.public_key} for one in secrets]
    return orjson.dumps(rows).decode()


def _maybe(ms: int | None) -> datetime | None:
    return moment(ms) if ms is not None else None


def _ms(at: datetime | None) -> int | None:
    return milliseconds(at) if at is not None else None
