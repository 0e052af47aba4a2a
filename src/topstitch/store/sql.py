"""The constant statements: claim, append, accept, load. One shape for both databases.

``journal`` carries them out. The reads of doors and reports are SQLAlchemy Core, one file
per noun; what is here runs thousands of times a second or inside the writer's transaction.
"""

from __future__ import annotations

from typing import Final

import orjson

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.store.database import Backend
from topstitch.store.statements import RowsStatement
from topstitch.store.values import Still

EVENT_INSERT: Final = RowsStatement(
    "INSERT INTO events (source, id, receipt, type, data, raw, headers, digest, time, received_at, signature, trace, "
    "outcome)"
    " {rows} ON CONFLICT (source, id) DO NOTHING",
    (
        "source",
        "id",
        "receipt",
        "type",
        "data",
        "raw",
        "headers",
        "digest",
        "time:bigint",
        "received_at:bigint",
        "signature",
        "trace",
        "outcome",
    ),
)
EVENT_READ: Final = RowsStatement(
    "WITH r(source, id) AS ({rows}) SELECT e.source AS c0, e.id AS c1, e.receipt AS c2, e.digest AS c3, e.outcome AS c4"
    " FROM r CROSS JOIN events e WHERE e.source = r.source AND e.id = r.id",
    ("source", "id"),
    fetches=5,
)
DELIVERY_INSERT: Final = RowsStatement(
    "INSERT INTO deliveries (receipt, source, event, received_at, digest) {rows}",
    ("receipt", "source", "event", "received_at:bigint", "digest"),
)
OPEN_WAITS: Final = RowsStatement(
    "WITH r(event) AS ({rows}) SELECT w.event AS c0, w.instance AS c1, w.step AS c2 FROM r CROSS JOIN waits w CROSS "
    "JOIN instances n"
    " WHERE w.event = r.event AND w.status = 'open' AND n.id = w.instance AND n.ended_at IS NULL ORDER BY w.instance",
    ("event",),
    fetches=3,
)
INSTANCE_INSERT: Final = RowsStatement(
    "INSERT INTO instances (id, workflow, version, digest, correlation, parent, parent_step, started_at, changed_at, "
    "head_seq, head_hash,"
    " wake_at, epoch, title, stage, status) {rows}",
    (
        "id", "workflow", "version", "digest", "correlation", "parent", "parent_step", "started_at:bigint",
        "changed_at:bigint",
        "head_seq:bigint", "head_hash", "wake_at:bigint", "epoch:bigint", "title", "stage", "status",
    ),
)  # fmt: skip
JOURNAL_INSERT: Final = RowsStatement(
    "INSERT INTO journal (instance, seq, kind, at, stage, step, body, blob, hash) {rows}",
    ("instance", "seq:bigint", "kind", "at:bigint", "stage", "step", "body", "blob", "hash"),
)
BLOB_INSERT: Final = RowsStatement(
    "INSERT INTO blobs (digest, data) {rows} ON CONFLICT (digest) DO NOTHING", ("digest", "data")
)
KEY_INSERT: Final = RowsStatement(
    "INSERT INTO subject_keys (instance, subject, wrapped_key) {rows} ON CONFLICT (instance) DO NOTHING",
    ("instance", "subject", "wrapped_key"),
)
PERSONAL_INSERT: Final = RowsStatement(
    "INSERT INTO personal (instance, seq, ciphertext) {rows}", ("instance", "seq:bigint", "ciphertext")
)

HEADS: Final = RowsStatement(
    "WITH r(id) AS ({rows}) SELECT i.id AS c0, i.epoch AS c1, i.head_seq AS c2, i.head_hash AS c3, i.lease_owner AS c4"
    " FROM r CROSS JOIN instances i WHERE i.id = r.id ORDER BY i.id {lock_i}",
    ("id",),
    fetches=5,
)
ADVANCE: Final = RowsStatement(
    "WITH r(id, head_seq, head_hash, changed_at, was, epoch, owner) AS ({rows}) UPDATE instances"
    " SET head_seq = r.head_seq, head_hash = r.head_hash, changed_at = r.changed_at FROM r"
    " WHERE instances.id = r.id AND instances.head_seq = r.was AND instances.epoch = r.epoch"
    " AND instances.lease_owner = r.owner",
    ("id", "head_seq:bigint", "head_hash", "changed_at:bigint", "was:bigint", "epoch:bigint", "owner"),
)
"""Moves a head whose lease is still held, and behind which nobody has appended: what it does not change is fenced."""
SETTLE: Final = RowsStatement(
    "WITH r(id, head_seq, head_hash, changed_at, was, epoch, owner, stage, status, waiting_on, released, wake_at,"
    " ended_at) AS ({rows}) UPDATE instances"
    " SET head_seq = r.head_seq, head_hash = r.head_hash, changed_at = coalesce(r.changed_at, instances.changed_at),"
    " stage = coalesce(r.stage, instances.stage), status = coalesce(r.status, instances.status),"
    " waiting_on = CASE WHEN r.status IS NULL THEN instances.waiting_on ELSE r.waiting_on END,"
    " lease_owner = CASE WHEN r.released = 1 THEN NULL ELSE instances.lease_owner END,"
    " lease_until = CASE WHEN r.released = 1 THEN NULL ELSE instances.lease_until END,"
    " wake_at = CASE WHEN r.released = 1 THEN r.wake_at ELSE instances.wake_at END,"
    " ended_at = coalesce(r.ended_at, instances.ended_at) FROM r"
    " WHERE instances.id = r.id AND instances.head_seq = r.was AND instances.epoch = r.epoch"
    " AND instances.lease_owner = r.owner",
    (
        "id", "head_seq:bigint", "head_hash", "changed_at:bigint", "was:bigint", "epoch:bigint", "owner", "stage",
        "status", "waiting_on", "released:bigint", "wake_at:bigint", "ended_at:bigint",
    ),
)  # fmt: skip
HEAD: Final = "UPDATE instances SET head_seq = ?, head_hash = ?, changed_at = ? WHERE id = ?"
OUTSIDE_HEAD: Final = (
    "UPDATE instances SET head_seq = ?, head_hash = ?, changed_at = ?,"
    " wake_at = CASE WHEN ended_at IS NULL THEN ? ELSE NULL END, status = coalesce(CAST(? AS text), status)"
    " WHERE id = ?"
)
OUTSIDE_REOPEN: Final = (
    "UPDATE instances SET head_seq = ?, head_hash = ?, changed_at = ?, wake_at = ?, ended_at = NULL,"
    " status = 'running' WHERE id = ?"
)
"""For a retry: an instance that had ended is carried on again."""
SUBJECT_KEYS: Final = RowsStatement(
    "WITH r(id) AS ({rows}) SELECT k.instance AS c0, k.subject AS c1, k.wrapped_key AS c2 FROM r CROSS JOIN "
    "subject_keys k WHERE k.instance = r.id",
    ("id",),
    fetches=3,
)

LOAD: Final = RowsStatement(
    "WITH r(id, seq) AS ({rows}) SELECT j.instance AS c0, j.seq AS c1, j.hash AS c2, coalesce(j.body, b.data) AS c3, "
    "p.ciphertext AS c4"
    " FROM r CROSS JOIN journal j LEFT JOIN blobs b ON b.digest = j.blob LEFT JOIN personal p ON p.instance = "
    "j.instance AND p.seq = j.seq"
    " WHERE j.instance = r.id AND j.seq > r.seq",
    ("id", "seq:bigint"),
    fetches=5,
)

CLAIM_SELECT: Final = (
    "SELECT id AS c0, workflow AS c1, version AS c2, digest AS c3, epoch AS c4, head_seq AS c5, head_hash AS c6 FROM "
    "instances"
    " WHERE wake_at <= ? AND (lease_owner IS NULL OR (lease_until <= ? AND lease_owner <> ?)) ORDER BY wake_at LIMIT "
    "? {skip_locked}"
)
CLAIM_FETCHES: Final = 7
CLAIM_UPDATE: Final = RowsStatement(
    "WITH r(id, owner, until) AS ({rows}) UPDATE instances"
    " SET lease_owner = r.owner, lease_until = r.until, wake_at = r.until, epoch = epoch + 1 FROM r WHERE "
    "instances.id = r.id",
    ("id", "owner", "until:bigint"),
)
KNOCKED: Final = "SELECT id FROM instances WHERE lease_owner = ? AND wake_at <= ?"
KNOCKS_HEARD: Final = "UPDATE instances SET wake_at = lease_until WHERE lease_owner = ? AND wake_at <= ?"
NEXT_WAKE: Final = (
    "SELECT min(soonest) FROM (SELECT * FROM (SELECT wake_at AS soonest FROM instances"
    " WHERE wake_at > ? AND (lease_owner IS NULL OR lease_owner <> ?) ORDER BY wake_at LIMIT 1) AS waiting"
    " UNION ALL SELECT min(lease_until) AS soonest FROM instances WHERE wake_at <= ? AND lease_until > ? AND "
    "lease_owner <> ?) AS either"
)
RENEW: Final = RowsStatement(
    "WITH r(id, until, now) AS ({rows}) UPDATE instances"
    " SET lease_until = r.until, wake_at = CASE WHEN wake_at > r.now THEN r.until ELSE wake_at END FROM r WHERE "
    "instances.id = r.id",
    ("id", "until:bigint", "now:bigint"),
)
RELEASE: Final = (
    "UPDATE instances SET lease_owner = NULL, lease_until = NULL, wake_at = ?"
    " WHERE id = ? AND lease_owner = ? AND epoch = ?"
)
FREE: Final = (
    "UPDATE instances SET lease_owner = NULL, lease_until = NULL, wake_at = ? WHERE id = ? AND lease_owner = ?"
)
WAKE: Final = "UPDATE instances SET wake_at = ? WHERE id = ? AND ended_at IS NULL RETURNING id"
WAKE_ALL: Final = (
    "UPDATE instances SET wake_at = ? WHERE id IN ("
    "SELECT id FROM instances WHERE ended_at IS NULL AND wake_at > ? AND wake_at <= ? ORDER BY id {lock})"
)

_RECORDED: Final = (
    "SELECT j.seq, coalesce(j.body, b.data) FROM journal j LEFT JOIN blobs b ON b.digest = j.blob"
    " WHERE j.instance = ? AND j.kind = ? AND (CAST(? AS text) IS NULL OR j.step = ?)"
)
_GUARDED: Final = {
    "approvals": ("status", "an approval"),
    "tasks": ("status", "a task"),
    "cases": ("status", "an exception case"),
    "discrepancies": ("status", "a discrepancy"),
    "instances": ("status", "an instance"),
}


def refuse_if_recorded(backend: Backend, instance: str, kind: str, step: str | None, actor: str | None) -> None:
    """Raise ``ConflictError`` when the instance already has such a record."""
    mark = f'{{"actor":{orjson.dumps(actor).decode()},' if actor else ""
    for seq, body in backend.execute(_RECORDED, (instance, kind, step, step)):
        if body.startswith(mark):
            raise ConflictError(
                "already-recorded",
                f"{instance} already has a record of this ({kind}, number {seq}); nothing was added",
                detail={"seq": seq},
            )


def refuse_if_settled(backend: Backend, guard: Still) -> None:
    """Raise when the guarded row is missing or has another status; its columns are in ``detail``."""
    column, noun = _GUARDED[guard.table]
    row = row_of(backend, guard.table, guard.id)
    if row is None:
        raise NotFoundError(
            "unknown-id", f"there is no {noun.partition(' ')[2]} {guard.id}; list what is open and use an id from there"
        )
    if row[column] != guard.status:
        raise ConflictError(
            "already-decided",
            f"{guard.id} is no longer {guard.status}: it is {row[column]}; nothing was changed",
            detail=row,
        )


def row_of(backend: Backend, table: str, name: str) -> dict[str, object] | None:
    """Read one row by its id, inside the present transaction."""
    from topstitch.store import tables  # noqa: PLC0415 -- the hot statements do without SQLAlchemy

    names = [column.name for column in tables.metadata.tables[table].columns]
    found = backend.execute(f"SELECT {', '.join(names)} FROM {table} WHERE id = ?", (name,))  # noqa: S608 -- names from the metadata
    return dict(zip(names, found[0], strict=True)) if found else None
