"""Who decides beside the rules: delegations, agents with their limits; and codes and messages of letters.

``bootstrap.law`` reads them when the installation's own journal has grown; the doors write. Every
change stands in that journal too, written in the same transaction, with its actor. A delegation
is ended and never removed, so that who stood in for whom stays known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection, Select, func, select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.foundation.ids import new_id
from topstitch.foundation.timetext import rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.deciding_tables import agents, delegations, messages
from topstitch.store.ledger import INSTALLATION, note_down_with
from topstitch.store.policy_tables import moves
from topstitch.store.sealing import milliseconds, moment
from topstitch.store.tables import approvals, journal

if TYPE_CHECKING:
    from topstitch.store.store import Store

_GRANT: Final = (
    "INSERT INTO delegations (id, grantor, delegate, of_group, starts_at, ends_at, because, granted_at, granted_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_AGENT: Final = (
    "INSERT INTO agents (id, document, changed_at, changed_by) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " document = excluded.document, changed_at = excluded.changed_at, changed_by = excluded.changed_by"
)
_CODE: Final = (
    "INSERT INTO decision_codes (approval, recipient, digest, made_at, ends_at, tries, made)"
    " VALUES (?, ?, ?, ?, ?, 0, 1)"
    " ON CONFLICT (approval, recipient) DO UPDATE SET digest = excluded.digest, made_at = excluded.made_at,"
    " ends_at = excluded.ends_at, tries = 0, made = decision_codes.made + 1"
)
_MESSAGE: Final = (
    "INSERT INTO decision_messages (approval, connection, channel, ts, posted_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)


MESSAGES_KEPT: Final = timedelta(days=30)
"""How long it is remembered where a question stood whose buttons are gone."""
_FORGET_CODES: Final = (
    "DELETE FROM decision_codes WHERE ends_at <= ? AND NOT EXISTS"
    " (SELECT 1 FROM approvals a WHERE a.id = decision_codes.approval AND a.status = 'open') RETURNING approval"
)


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """One delegation as it is kept."""

    id: str
    grantor: str
    delegate: str
    group: str | None
    starts_at: datetime
    ends_at: datetime
    because: str
    granted_at: datetime
    granted_by: str
    ended_at: datetime | None = None
    ended_by: str | None = None


class KeptAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's entry: ``document`` is its owner and limits as JSON."""

    id: str
    document: str
    changed_at: datetime
    changed_by: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message with buttons that was posted for an approval."""

    approval: str
    connection: str
    channel: str
    ts: str


async def revisions(store: Store, environment: str) -> tuple[int, int]:
    """Return two numbers that grow: with each policy put in force, and with each change of the installation."""
    policy = select(func.max(moves.c.revision)).where(moves.c.environment == environment).scalar_subquery()
    own = select(func.max(journal.c.seq)).where(journal.c.instance == INSTALLATION).scalar_subquery()
    row = await store.read(lambda c: c.execute(select(policy, own)).one())
    return int(row[0] or 0), int(row[1] or 0)


# --- Delegations -------------------------------------------------------------------------------


async def grant(store: Store, new: Granted, actor: Actor) -> Granted:
    """Keep a delegation; return it with its id."""
    made = msgspec.structs.replace(new, id=new_id("dlg", new.granted_at), granted_by=str(actor))
    await store.work(lambda backend: _grant(backend, made, actor), tells=True)
    return made


async def end(store: Store, name: str, actor: Actor, now: datetime) -> Granted:
    """End a delegation before its time."""
    return await store.work(lambda backend: _end(backend, name, actor, now), tells=True)


async def all_delegations(store: Store) -> Sequence[Granted]:
    """Return every delegation there was, newest first."""
    query = select(delegations).order_by(delegations.c.granted_at.desc(), delegations.c.id.desc())
    return await _listed(store, query, _granted)


def _grant(backend: Backend, new: Granted, actor: Actor) -> None:
    body: dict[str, Any] = {
        "delegation": new.id,
        "grantor": new.grantor,
        "delegate": new.delegate,
        "starts_at": rfc3339(new.starts_at),
        "ends_at": rfc3339(new.ends_at),
        "because": new.because,
    }
    if new.group is not None:
        body["group"] = new.group
    _note(backend, Kind.DELEGATION_GRANTED, body, actor, new.granted_at)
    times = milliseconds(new.starts_at), milliseconds(new.ends_at)
    row = (new.id, new.grantor, new.delegate, new.group, *times, new.because, milliseconds(new.granted_at), str(actor))
    backend.execute(_GRANT, row)


def _end(backend: Backend, name: str, actor: Actor, now: datetime) -> Granted:
    columns = [column.name for column in delegations.columns]
    rows = backend.execute(f"SELECT {', '.join(columns)} FROM delegations WHERE id = ?", (name,))  # noqa: S608 -- from the metadata
    if not rows:
        raise NotFoundError("no-delegation", f"there is no delegation {name}; topstitch delegations list names them")
    known = _granted(dict(zip(columns, rows[0], strict=True)))
    if known.ended_at is not None or known.ends_at <= now:
        ended = rfc3339(known.ended_at or known.ends_at)
        raise ConflictError("delegation-ended", f"{name} ended at {ended}; there is nothing to end")
    body = {"delegation": name, "grantor": known.grantor, "delegate": known.delegate}
    _note(backend, Kind.DELEGATION_ENDED, body, actor, now)
    backend.execute(
        "UPDATE delegations SET ended_at = ?, ended_by = ? WHERE id = ?", (milliseconds(now), str(actor), name)
    )
    return msgspec.structs.replace(known, ended_at=now, ended_by=str(actor))


def _granted(row: dict[str, Any]) -> Granted:
    row["group"] = row.pop("of_group")
    times = {name: moment(row[name]) for name in ("starts_at", "ends_at", "granted_at")}
    return Granted(**{**row, **times, "ended_at": moment(row["ended_at"]) if row["ended_at"] is not None else None})


# --- Agents ---------------------------------------------------------------------------------


async def set_agent(store: Store, name: str, document: dict[str, Any], actor: Actor, now: datetime) -> None:
    """Keep an agent's owner and limits."""
    text = msgspec.json.encode(document).decode()

    def work(backend: Backend) -> None:
        _note(backend, Kind.AGENT_CHANGED, {"agent": name, **document}, actor, now)
        backend.execute(_AGENT, (name, text, milliseconds(now), str(actor)))

    await store.work(work)


async def all_agents(store: Store) -> Sequence[KeptAgent]:
    """Return every agent, by id."""

    def kept(row: dict[str, Any]) -> KeptAgent:
        return KeptAgent(**{**row, "changed_at": moment(row["changed_at"])})

    return await _listed(store, select(agents).order_by(agents.c.id), kept)


# --- Proposals ---------------------------------------------------------------------------------


async def proposed_since(store: Store, agent: str, since: datetime, limit: int) -> Sequence[tuple[str, int]]:
    """Return where an agent's commands may stand, oldest first: instance and number of the record."""
    mark = journal.c.body.contains(f'"agent:{agent}"', autoescape=True) | journal.c.body.is_(None)
    query = (
        select(journal.c.instance, journal.c.seq)
        .where(journal.c.kind == Kind.OPERATOR_COMMANDED, journal.c.at >= milliseconds(since), mark)
        .order_by(journal.c.position.desc())
        .limit(limit)
    )
    found = await store.read(lambda c: [(str(name), int(seq)) for name, seq in c.execute(query)])
    return found[::-1]


# --- Links, codes and messages -----------------------------------------------------------------


def recipient_mark(store: Store, approval: str, person: str) -> str:
    """Return how a link names who it was sent to: it follows from the installation's key and tells nobody else."""
    return store.installation_key.mark("decision link", approval, person)


def code_mark(store: Store, approval: str, recipient: str, code: str) -> str:
    """Return how a one-time code is kept."""
    return store.installation_key.mark("decision code", approval, recipient, code)


async def keep_code(
    store: Store, approval: str, recipient: str, digest: str, *, now: datetime, ends_at: datetime, made_max: int
) -> None:
    """Keep the digest of a code in the place of the one before; raise when too many were made."""
    times = milliseconds(now), milliseconds(ends_at)

    def work(backend: Backend) -> None:
        found = backend.execute(
            "SELECT made FROM decision_codes WHERE approval = ? AND recipient = ?", (approval, recipient)
        )
        if found and found[0][0] >= made_max:
            raise ConflictError(
                "codes-many", f"{made_max} codes were sent for this decision already; sign in, or ask an operator"
            )
        backend.execute(_CODE, (approval, recipient, digest, *times))

    await store.work(work)


async def try_code(store: Store, approval: str, recipient: str, digest: str, *, now: datetime, tries_max: int) -> bool:
    """Whether a code is the one that was sent and is still good; every wrong try counts."""

    def work(backend: Backend) -> bool:
        found = backend.execute(
            "SELECT digest, ends_at, tries FROM decision_codes WHERE approval = ? AND recipient = ?",
            (approval, recipient),
        )
        if not found:
            return False
        wanted, ends_ms, tries = found[0]
        good = bool(wanted == digest and milliseconds(now) < ends_ms and tries < tries_max)
        if not good:
            backend.execute(
                "UPDATE decision_codes SET tries = tries + 1 WHERE approval = ? AND recipient = ?",
                (approval, recipient),
            )
        return good

    return await store.work(work)


async def spend_code(store: Store, approval: str, recipient: str, *, tries_max: int) -> None:
    """Use up the code of a recipient."""
    sql = "UPDATE decision_codes SET tries = ? WHERE approval = ? AND recipient = ?"
    await store.work(lambda backend: backend.execute(sql, (tries_max, approval, recipient)))


async def keep_message(store: Store, message: Message, now: datetime) -> None:
    """Remember a message with buttons, so that they can be taken away."""
    row = (message.approval, message.connection, message.channel, message.ts, milliseconds(now))
    await store.work(lambda backend: backend.execute(_MESSAGE, row))


async def messages_to_settle(store: Store, connection: str, limit: int) -> Sequence[Message]:
    """Return messages of a connection whose approval is decided and whose buttons are still there."""
    query = (
        select(messages.c.approval, messages.c.connection, messages.c.channel, messages.c.ts)
        .join(approvals, approvals.c.id == messages.c.approval)
        .where(messages.c.settled_at.is_(None), messages.c.connection == connection, approvals.c.status != "open")
        .order_by(messages.c.posted_at)
        .limit(limit)
    )
    return await _listed(store, query, lambda row: Message(**row))


async def messages_of(store: Store, approval: str) -> Sequence[Message]:
    """Return the messages that were posted for an approval."""
    query = select(messages.c.approval, messages.c.connection, messages.c.channel, messages.c.ts).where(
        messages.c.approval == approval
    )
    return await _listed(store, query, lambda row: Message(**row))


async def message_settled(store: Store, message: Message, now: datetime) -> None:
    """Note that a message's buttons are gone."""
    key = (milliseconds(now), message.approval, message.connection, message.channel, message.ts)
    sql = "UPDATE decision_messages SET settled_at = ? WHERE approval = ? AND connection = ? AND channel = ? AND ts = ?"
    await store.work(lambda backend: backend.execute(sql, key))


async def forget_decided(store: Store, now: datetime) -> int:
    """Delete codes that ended and whose question is decided, and messages long settled; return how many codes went.

    While a question is open its row stays, however old: it counts how many codes were sent and how often one was tried.
    """

    def work(backend: Backend) -> int:
        gone = backend.execute(_FORGET_CODES, (milliseconds(now),))
        backend.execute("DELETE FROM decision_messages WHERE settled_at < ?", (milliseconds(now - MESSAGES_KEPT),))
        return len(gone)

    return await store.work(work)


def _note(backend: Backend, kind: Kind, body: dict[str, Any], actor: Actor, at: datetime) -> None:
    note_down_with(backend, Draft(kind=kind, at=at, actor=actor, stage=Stage.AUDIT, body=body))


async def _listed(store: Store, query: Select[Any], read: Any) -> list[Any]:
    def rows(connection: Connection) -> list[Any]:
        return [read(dict(row)) for row in connection.execute(query).mappings()]

    return await store.read(rows)
