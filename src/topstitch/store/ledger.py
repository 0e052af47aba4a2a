"""Decides how the order of all records, the tree over them and its signed roots are kept.

``sequence`` gives committed records their places in the tree, in batches; on PostgreSQL only
records of transactions that no running one can precede, so that nothing ever appears behind
a place already given; on SQLite commits are serial and the position suffices. ``seal_tree``
keeps a signed root. ``note_down`` appends to the installation's own journal (key rotations,
legal holds), a chain like that of an instance, without a row in ``instances``. The audit
room hands in what hashes and signs; here is only SQL. Reads for verification are in
``ledger_reader``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from topstitch.foundation.canonical import GENESIS
from topstitch.foundation.errors import ConflictError, TamperError
from topstitch.model.record import Draft
from topstitch.store import sql
from topstitch.store.database import Backend
from topstitch.store.sealing import SealedRow, blob_of, milliseconds, moment, seal
from topstitch.store.statements import RowsStatement
from topstitch.store.store import Store

INSTALLATION: Final = "installation"
"""The journal of the installation itself stands under this name."""
CURSOR: Final = "sequencer"
_LOCK: Final = 7_411_000_002
_JOURNAL_LOCK: Final = 7_411_000_003

Place = tuple[int, int]
Grow = Callable[[int, Mapping[Place, bytes], Sequence[bytes]], Mapping[Place, bytes]]
"""Size, unfinished tiles, chain hashes of new records: the tiles that change."""
ReadTile = Callable[[int, int], bytes]
Sign = Callable[[int, ReadTile], tuple[str, str]]
"""Size and a way to read tiles: the root in base64, and the signed note."""


class Cursor(msgspec.Struct, frozen=True):
    """How far the sequencer has come."""

    size: int = 0
    xid: str = "0"
    position: int = 0
    floor: int = 0
    """On PostgreSQL: positions up to here came from another cluster, before a restore, and are all placed."""


class Sequenced(msgspec.Struct, frozen=True):
    """What a turn of the sequencer did."""

    placed: int
    size: int


class Signed(msgspec.Struct, frozen=True):
    """A checkpoint as it is kept."""

    number: int
    size: int
    root: str
    note: str
    made_at: datetime


class Anchoring(msgspec.Struct, frozen=True):
    """One attempt to put a checkpoint where this installation cannot reach; the last one of its pair counts."""

    checkpoint: int
    anchor: str
    at: datetime
    receipt: str | None
    problem: str | None


_LEAF_INSERT: Final = RowsStatement(
    "INSERT INTO leaves (leaf, instance, seq) {rows}", ("leaf:bigint", "instance", "seq:bigint")
)
_TILE_UPSERT: Final = RowsStatement(
    "INSERT INTO tiles (level, number, data) {rows} ON CONFLICT (level, number) DO UPDATE SET data = excluded.data",
    ("level:bigint", "number:bigint", "data"),
)
_NEW_SQLITE: Final = (
    "SELECT instance, seq, hash, '0', position FROM journal WHERE position > ? ORDER BY position LIMIT ?"
)
_NEW_POSTGRES: Final = (
    "SELECT instance, seq, hash, CAST(xid AS text), position FROM journal"
    " WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) AND (xid, position) > (CAST(? AS xid8), CAST(? AS bigint))"
    " AND position > ? ORDER BY journal.xid, position LIMIT ?"
)
# "journal.xid", because a bare "xid" would be the text that the first line selects, and '1000' comes before '999'.
_RESTORED: Final = "SELECT CAST(? AS xid8) >= pg_snapshot_xmin(pg_current_snapshot())"
_UNPLACED: Final = (
    "SELECT j.instance, j.seq, j.hash, '0', j.position FROM journal j"
    " WHERE NOT EXISTS (SELECT 1 FROM leaves l WHERE l.instance = j.instance AND l.seq = j.seq) ORDER BY j.position"
)
_CURSOR_READ: Final = "SELECT value FROM meta WHERE key = 'sequencer'"
_CURSOR_WRITE: Final = (
    "INSERT INTO meta (key, value) VALUES ('sequencer', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_TILE_READ: Final = "SELECT data FROM tiles WHERE level = ? AND number = ?"
_NEWEST: Final = "SELECT number, size, root, note, made_at FROM checkpoints ORDER BY number DESC LIMIT 1"
_CHECKPOINT_INSERT: Final = "INSERT INTO checkpoints (number, size, root, note, made_at) VALUES (?, ?, ?, ?, ?)"
_ANCHORING_UPSERT: Final = (
    "INSERT INTO anchorings (checkpoint, anchor, at, receipt, problem) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (checkpoint, anchor) DO UPDATE SET at = excluded.at, receipt = excluded.receipt, problem = "
    "excluded.problem"
)
_LAST_OWN: Final = "SELECT seq, hash FROM journal WHERE instance = ? ORDER BY seq DESC LIMIT 1"


async def sequence(store: Store, limit: int, grow: Grow) -> Sequenced:
    """Give up to ``limit`` committed records their places in the tree."""
    return await store.work(lambda backend: _sequence(backend, limit, grow))


async def seal_tree(
    store: Store, sign: Callable[[int, ReadTile], tuple[str, str]], now: datetime, *, anew: bool = False
) -> Signed | None:
    """Keep a checkpoint of the tree as it is, if it has grown since the newest; ``sign`` returns root and note.

    ``anew`` makes one of the same size, for a new key.
    """
    return await store.work(lambda backend: _seal_tree(backend, sign, now, anew=anew))


async def newest_checkpoint(store: Store) -> Signed | None:
    """Return the checkpoint made last."""
    return await store.work(_newest)


async def keep_anchoring(store: Store, anchoring: Anchoring) -> None:
    """Keep what an anchor answered."""
    values = (anchoring.checkpoint, anchoring.anchor, milliseconds(anchoring.at), anchoring.receipt, anchoring.problem)
    await store.work(lambda backend: backend.execute(_ANCHORING_UPSERT, values))


async def tree_size(store: Store) -> int:
    """Return how many records have their place."""
    return await store.work(lambda backend: _cursor(backend).size)


async def note_down(store: Store, draft: Draft) -> None:
    """Append to the installation's own journal. Such a draft holds nothing personal."""
    await store.work(lambda backend: note_down_with(backend, draft))


def note_down_with(backend: Backend, draft: Draft) -> None:
    """Append to the installation's own journal inside the present transaction."""
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(?)", (_JOURNAL_LOCK,))
    last = backend.execute(_LAST_OWN, (INSTALLATION,))
    seq, prev = (last[0][0], bytes.fromhex(last[0][1])) if last else (0, GENESIS)
    write_rows(backend, [seal(draft, INSTALLATION, seq + 1, prev, None)])


def write_rows(backend: Backend, rows: Sequence[SealedRow]) -> None:
    """Insert sealed records, and the long ones' texts, inside the present transaction."""
    blobs = [(blob_of(row.text), row.text) for row in rows if blob_of(row.text)]
    if blobs:
        backend.apply(sql.BLOB_INSERT, blobs)
    backend.apply(sql.JOURNAL_INSERT, [_journal_row(row) for row in rows])


def _journal_row(row: SealedRow) -> tuple[Any, ...]:
    record, blob = row.record, blob_of(row.text)
    text = None if blob else row.text
    return record.instance, record.seq, record.kind, row.at_ms, str(record.stage), record.step, text, blob, row.hash_hex


def _sequence(backend: Backend, limit: int, grow: Grow) -> Sequenced:
    lock_tree(backend)
    cursor = _cursor(backend)
    rows, floor = _new_rows(backend, cursor, limit)
    if not rows:
        return Sequenced(0, cursor.size)
    backend.apply(_LEAF_INSERT, [(cursor.size + n, row[0], row[1]) for n, row in enumerate(rows)])
    edge = {place: _read_tile(backend, *place) for place in _edge(cursor.size)}
    changed = grow(cursor.size, edge, [bytes.fromhex(row[2]) for row in rows])
    backend.apply(
        _TILE_UPSERT, [(level, number, base64.b64encode(data).decode()) for (level, number), data in changed.items()]
    )
    _, _, _, xid, position = rows[-1]
    moved = Cursor(size=cursor.size + len(rows), xid=xid, position=position, floor=floor)
    backend.execute(_CURSOR_WRITE, (msgspec.json.encode(moved).decode(),))
    return Sequenced(len(rows), moved.size)


def _new_rows(backend: Backend, cursor: Cursor, limit: int) -> tuple[list[tuple[Any, ...]], int]:
    """Return the next records in order, and the floor from now on."""
    if backend.dialect == "sqlite":
        return backend.execute(_NEW_SQLITE, (cursor.position, limit)), 0
    if backend.execute(_RESTORED, (cursor.xid,))[0][0]:
        # A dump was read into another cluster, which counts transactions from lower on: place what lacks, start anew.
        rows = backend.execute(_UNPLACED)
        floor = backend.execute("SELECT coalesce(max(position), 0) FROM journal")[0][0]
        if not rows:
            backend.execute(_CURSOR_WRITE, (msgspec.json.encode(Cursor(size=cursor.size, floor=floor)).decode(),))
        return rows, floor
    return backend.execute(_NEW_POSTGRES, (cursor.xid, cursor.position, cursor.floor, limit)), cursor.floor


def _seal_tree(backend: Backend, sign: Sign, now: datetime, *, anew: bool) -> Signed | None:
    lock_tree(backend)
    size, newest = _cursor(backend).size, _newest(backend)
    known = newest.size if newest else 0
    if size < known:
        raise ConflictError(
            "tree-behind",
            f"the tree has {size} leaves and the newest checkpoint {known}: the ledger was put back; run `topstitch "
            "audit verify`",
        )
    if size == 0 or (size == known and not anew):
        return None
    root, note = sign(size, lambda level, number: _read_tile(backend, level, number))
    made = Signed(newest.number + 1 if newest else 1, size, root, note, now)
    backend.execute(_CHECKPOINT_INSERT, (made.number, size, root, note, milliseconds(now)))
    return made


def lock_tree(backend: Backend) -> None:
    """Keep other sequencers on the same PostgreSQL out until the commit."""
    if backend.dialect == "postgresql":
        backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))


def _cursor(backend: Backend) -> Cursor:
    found = backend.execute(_CURSOR_READ)
    return msgspec.convert(orjson.loads(found[0][0]), Cursor) if found else Cursor()


def _newest(backend: Backend) -> Signed | None:
    found = backend.execute(_NEWEST)
    return signed_of(found[0]) if found else None


def signed_of(row: Sequence[Any]) -> Signed:
    """Return the checkpoint that a row of five columns is."""
    number, size, root, note, made_ms = row
    return Signed(number, size, root, note, moment(made_ms))


def _read_tile(backend: Backend, level: int, number: int) -> bytes:
    found = backend.execute(_TILE_READ, (level, number))
    if not found:
        raise TamperError(
            "tile-missing", f"tile {number} of level {level} of the tree is missing; run `topstitch audit verify`"
        )
    return base64.b64decode(found[0][0])


def _edge(size: int) -> list[Place]:
    places, level = [], 0
    while count := size >> (8 * level):
        if count % 256:
            places.append((level, count // 256))
        level += 1
    return places
