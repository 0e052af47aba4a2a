"""Alerts as they are kept: one row for each open cause, its mutes, and the messages that tell of it.

The metrics room decides what is alarming; here its verdicts are written and read. A whole
evaluation is one transaction and wins or loses as one against another process's. Messages
are an outbox: made in the transaction that opened the alert, sent afterwards, at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from sqlalchemy import select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.record import Draft
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.rollups import Baseline, pin_with
from topstitch.store.tables import alert_messages, alert_mutes, alerts

if TYPE_CHECKING:
    from topstitch.store.store import Store

EVALUATION_MARK: Final = "measures_evaluation"
DUE_MAX: Final = 200
_LOCK: Final = 7_411_000_004


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as it is kept. ``body`` is what is said of it."""

    id: str
    cause: str
    kind: str
    level: str
    status: str
    workflow: str
    version: str | None = None
    step: str | None = None
    from_system: str | None = None
    to_system: str | None = None
    since_ms: int
    opened_ms: int | None = None
    changed_ms: int
    cleared_ms: int | None = None
    seen: int = 1
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    acknowledged_ms: int | None = None
    acknowledged_by: str | None = None
    note: str | None = None


class Mute(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nobody is told of a cause."""

    cause: str
    ends_ms: int
    because: str
    muted_by: str
    muted_ms: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one route is told about one event of one alert."""

    id: str
    alert: str
    event: str
    """``opened``, ``raised`` or ``cleared``."""
    route: str
    body: str
    made_ms: int
    tries: int = 0
    next_ms: int | None = None
    sent_ms: int | None = None
    problem: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one evaluation changes."""

    number: int
    """The evaluation it followed; another one since then makes it void."""
    rows: Sequence[AlertRow] = ()
    gone: Sequence[str] = ()
    """Suspicions that came to nothing, by id."""
    messages: Sequence[Message] = ()
    baselines: Sequence[Baseline] = ()


_COLUMNS: Final = tuple(str(column.name) for column in alerts.columns)
_ALERT: Final = (
    f"INSERT INTO alerts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 -- from the metadata
    " ON CONFLICT (id) DO UPDATE SET level = excluded.level, status = excluded.status, since = excluded.since,"
    " opened_at = excluded.opened_at, changed_at = excluded.changed_at, cleared_at = excluded.cleared_at,"
    " seen = excluded.seen, body = excluded.body"
)
_MESSAGE: Final = (
    "INSERT INTO alert_messages (id, alert, event, route, body, made_at, tries, next_at, sent_at, problem)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)


async def standing(store: Store) -> tuple[int, list[AlertRow], list[Mute]]:
    """Return the number of the last evaluation, every alert that is not cleared, and every mute."""
    rows = await listing(store, statuses=("suspected", "open"))
    return await _number(store), rows, await mutes(store)


async def settle(store: Store, verdict: Verdict) -> bool:
    """Write an evaluation; return whether it counted: another one may have been faster."""

    def do(backend: Backend) -> bool:
        if backend.dialect == "postgresql":
            backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        found = backend.execute("SELECT value FROM meta WHERE key = ?", (EVALUATION_MARK,))
        if (int(found[0][0]) if found else 0) != verdict.number:
            return False
        _write(backend, verdict)
        return True

    return await store.work(do)


def _write(backend: Backend, verdict: Verdict) -> None:
    backend.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (EVALUATION_MARK, str(verdict.number + 1)),
    )
    for name in verdict.gone:
        backend.execute("DELETE FROM alerts WHERE id = ? AND status = 'suspected'", (name,))
    for row in sorted(verdict.rows, key=lambda row: row.status):  # cleared ones first: a cause is open once
        backend.execute(_ALERT, _values(row))
    for message in verdict.messages:
        backend.execute(_MESSAGE, msgspec.structs.astuple(message))
    for baseline in verdict.baselines:
        pin_with(backend, baseline)


def _values(row: AlertRow) -> tuple[Any, ...]:
    body = orjson.dumps(row.body, option=orjson.OPT_SORT_KEYS).decode()
    return msgspec.structs.astuple(msgspec.structs.replace(row, body=body))


async def _number(store: Store) -> int:
    def read(backend: Backend) -> int:
        found = backend.execute("SELECT value FROM meta WHERE key = ?", (EVALUATION_MARK,))
        return int(found[0][0]) if found else 0

    return await store.work(read)


# --- Lists --------------------------------------------------------------------------------------


async def listing(
    store: Store, *, statuses: Sequence[str] = ("open",), workflow: str | None = None, limit: int = 500
) -> list[AlertRow]:
    """Return alerts, those that changed last first."""
    query = (
        select(alerts)
        .where(alerts.c.status.in_(statuses))
        .order_by(alerts.c.changed_at.desc(), alerts.c.id)
        .limit(limit)
    )
    if workflow is not None:
        query = query.where(alerts.c.workflow == workflow)
    return await store.read(lambda c: [_row(tuple(row)) for row in c.execute(query)])


async def get(store: Store, alert: str) -> AlertRow:
    """Return one alert; raise ``NotFoundError`` when there is none."""
    rows = await store.read(lambda c: [_row(tuple(r)) for r in c.execute(select(alerts).where(alerts.c.id == alert))])
    if not rows:
        raise NotFoundError("no-alert", f"there is no alert {alert}; `topstitch alerts list` shows them")
    return rows[0]


def _row(row: tuple[Any, ...]) -> AlertRow:
    given = dict(zip(AlertRow.__struct_fields__, row, strict=True))
    return AlertRow(**{**given, "body": orjson.loads(given["body"])})


async def mutes(store: Store) -> list[Mute]:
    """Return every mute."""
    names = Mute.__struct_fields__
    return await store.read(
        lambda c: [Mute(**dict(zip(names, row, strict=True))) for row in c.execute(select(*alert_mutes.c))]
    )


# --- What people do -----------------------------------------------------------------------------


async def acknowledge(store: Store, alert: str, at_ms: int, by: str, note: str | None, record: Draft) -> AlertRow:
    """Note that somebody has taken an alert on; an alert that is not open is a ``ConflictError``."""

    def do(backend: Backend) -> None:
        found = backend.execute("SELECT status FROM alerts WHERE id = ?", (alert,))
        if not found:
            raise NotFoundError("no-alert", f"there is no alert {alert}; `topstitch alerts list` shows them")
        if found[0][0] != "open":
            raise ConflictError(
                "alert-over", f"{alert} is {found[0][0]} already; `topstitch alerts list` shows what is open"
            )
        backend.execute(
            "UPDATE alerts SET acknowledged_at = ?, acknowledged_by = ?, note = ? WHERE id = ?",
            (at_ms, by, note, alert),
        )
        note_down_with(backend, record)

    await store.work(do)
    return await get(store, alert)


async def mute(store: Store, mute_: Mute, record: Draft) -> None:
    """Tell nobody of a cause for a time; a later mute of the same cause replaces the earlier one."""

    def do(backend: Backend) -> None:
        backend.execute(
            "INSERT INTO alert_mutes (cause, ends_at, because, muted_by, muted_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (cause) DO UPDATE SET ends_at = excluded.ends_at, because = excluded.because,"
            " muted_by = excluded.muted_by, muted_at = excluded.muted_at",
            msgspec.structs.astuple(mute_),
        )
        note_down_with(backend, record)

    await store.work(do)


async def repin(store: Store, baseline: Baseline, record: Draft) -> None:
    """Pin a new baseline and note in the installation's journal who did and why."""

    def do(backend: Backend) -> None:
        pin_with(backend, baseline)
        note_down_with(backend, record)

    await store.work(do)


# --- The outbox ---------------------------------------------------------------------------------


CLAIM: Final = (
    "UPDATE alert_messages SET next_at = ? WHERE next_at <= ? AND id IN ("
    "SELECT id FROM alert_messages WHERE next_at <= ? ORDER BY next_at, id LIMIT ?)"
    " RETURNING id, alert, event, route, body, made_at, tries, next_at, sent_at, problem"
)


async def claim_messages(store: Store, now_ms: int, until_ms: int) -> list[Message]:
    """Return the messages that are to be sent now, oldest first; nobody else gets them before ``until_ms``.

    Whoever takes them and dies has told nobody: they are due again at that time.
    """
    names = Message.__struct_fields__

    def do(backend: Backend) -> list[Message]:
        rows = backend.execute(CLAIM, (until_ms, now_ms, now_ms, DUE_MAX))
        return [Message(**dict(zip(names, row, strict=True))) for row in rows]

    return sorted(await store.work(do), key=lambda one: (one.made_ms, one.id))


async def messages_of(store: Store, alert: str) -> list[Message]:
    """Return everything that was or will be sent about one alert."""
    query = (
        select(*alert_messages.c)
        .where(alert_messages.c.alert == alert)
        .order_by(alert_messages.c.made_at, alert_messages.c.id)
    )
    names = Message.__struct_fields__
    return await store.read(lambda c: [Message(**dict(zip(names, row, strict=True))) for row in c.execute(query)])


async def note_sending(store: Store, message: Message) -> None:
    """Note what came of sending a message."""
    await store.work(
        lambda backend: backend.execute(
            "UPDATE alert_messages SET tries = ?, next_at = ?, sent_at = ?, problem = ? WHERE id = ?",
            (message.tries, message.next_ms, message.sent_ms, message.problem, message.id),
        )
    )
