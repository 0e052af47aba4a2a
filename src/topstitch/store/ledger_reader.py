"""Decides how the ledger is read for verification, evidence and export: much, in order, as stored.

A ``LedgerReader`` is one read-only connection with one picture of the database, used by one
thread; ``open_ledger`` makes one from a store or from its URL, so that several processes can
verify at once. Records come as the exact text that was hashed. It never writes, and it opens
no personal value but in ``personal_of``, which needs the installation's key.
"""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec
import orjson

from topstitch.foundation.errors import NotFoundError, OperatorError
from topstitch.store.database import MEMORY_URL, is_postgres, plain_url, sqlite_error, sqlite_path
from topstitch.store.keys import InstallationKey
from topstitch.store.ledger import INSTALLATION, Anchoring, Cursor, Signed, signed_of
from topstitch.store.sealing import moment
from topstitch.store.statements import for_dialect
from topstitch.store.writer import at_once

if TYPE_CHECKING:
    from topstitch.store.store import Store

FETCH_ROWS: Final = 2_000
SPAN_RECORDS: Final = 20_000

Span = tuple[str, str | None]
"""Instances after the first name up to and including the second; to the end without one."""


class StoredRecord(NamedTuple):
    """A row of the journal as it stands there."""

    instance: str
    seq: int
    text: str
    hash: str
    kind: str
    at_ms: int
    stage: str
    step: str | None


class Personal(msgspec.Struct, frozen=True):
    """One personal value of a record, opened: where it stands, its salt, and itself."""

    seq: int
    path: tuple[str | int, ...]
    salt: str
    value: Any


_COLUMNS: Final = "j.instance, j.seq, coalesce(j.body, b.data), j.hash, j.kind, j.at, j.stage, j.step"
_FROM: Final = " FROM journal j LEFT JOIN blobs b ON b.digest = j.blob"
_JOURNAL: Final = f"SELECT {_COLUMNS}{_FROM} WHERE j.instance > ? AND j.instance <= ? ORDER BY j.instance, j.seq"
_JOURNAL_END: Final = f"SELECT {_COLUMNS}{_FROM} WHERE j.instance > ? ORDER BY j.instance, j.seq"
_ONE: Final = f"SELECT {_COLUMNS}{_FROM} WHERE j.instance = ? ORDER BY j.seq"
_IN_ORDER: Final = (
    f"SELECT {_COLUMNS}, l.leaf{_FROM} LEFT JOIN leaves l ON l.instance = j.instance AND l.seq = j.seq"
    " WHERE j.at >= ? AND j.at < ? ORDER BY j.position"
)
_BOUNDARY: Final = "SELECT instance FROM journal WHERE instance > ? ORDER BY instance LIMIT 1 OFFSET ?"
_LEAVES: Final = "SELECT instance, seq, leaf FROM leaves WHERE instance > ? AND instance <= ?"
_LEAVES_END: Final = "SELECT instance, seq, leaf FROM leaves WHERE instance > ?"
_HEADS: Final = "SELECT id, head_seq, head_hash FROM instances WHERE id > ? AND id <= ?"
_HEADS_END: Final = "SELECT id, head_seq, head_hash FROM instances WHERE id > ?"
_CHECKPOINTS: Final = (
    "SELECT number, size, root, note, made_at FROM checkpoints"
    " WHERE number >= ? OR number / ? * ? = number ORDER BY number"
)
_GAPS: Final = (
    "SELECT l.leaf + 1, (SELECT min(n.leaf) FROM leaves n WHERE n.leaf > l.leaf) FROM leaves l"
    " WHERE l.leaf + 1 < ? AND NOT EXISTS (SELECT 1 FROM leaves n WHERE n.leaf = l.leaf + 1) ORDER BY l.leaf LIMIT ?"
)


def open_ledger(store: Store | str) -> LedgerReader:
    """Return a reader of a store's ledger, or of the database at a URL."""
    if isinstance(store, str):
        return LedgerReader(store)
    if store.url == MEMORY_URL:
        raw = at_once(store.read(lambda connection: connection.connection.driver_connection))
        return LedgerReader(MEMORY_URL, raw)
    return LedgerReader(store.url)


class LedgerReader:
    """One connection, one picture of the database."""

    def __init__(self, url: str, connection: Any = None) -> None:
        self.url = url
        self.shareable = connection is None
        """Whether another process can open the same database."""
        self._postgres = is_postgres(url)
        self._own = connection is None
        self._connection = connection if connection is not None else self._connect()

    def __enter__(self) -> Self:
        """Close at the end of a ``with``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._own:
            self._connection.close()

    # --- records ------------------------------------------------------------------------------

    def spans(self, records: int = SPAN_RECORDS) -> list[Span]:
        """Divide all instances into spans of about so many records."""
        found: list[Span] = []
        low = ""
        while rows := self._all(_BOUNDARY, (low, records)):
            found.append((low, rows[0][0]))
            low = rows[0][0]
        return [*found, (low, None)]

    def journal(self, span: Span) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the records of a span by instance and number, some thousand at a time, as plain tuples."""
        low, high = span
        yield from self._many(*((_JOURNAL_END, (low,)) if high is None else (_JOURNAL, (low, high))))

    def leaves(self, span: Span) -> dict[str, dict[int, int]]:
        """Return which leaf each record of a span has: instance, number, leaf."""
        low, high = span
        found: dict[str, dict[int, int]] = {}
        for rows in self._many(*((_LEAVES_END, (low,)) if high is None else (_LEAVES, (low, high)))):
            for instance, seq, leaf in rows:
                found.setdefault(instance, {})[seq] = leaf
        return found

    def heads(self, span: Span) -> dict[str, tuple[int, str]]:
        """Return where the rows of instances say that their chains end."""
        low, high = span
        rows = self._all(*((_HEADS_END, (low,)) if high is None else (_HEADS, (low, high))))
        return {name: (seq, hash_hex) for name, seq, hash_hex in rows}

    def records(self, instance: str) -> list[StoredRecord]:
        """Return the records of one instance."""
        return [StoredRecord(*row) for row in self._all(_ONE, (instance,))]

    def in_order(self, since_ms: int, until_ms: int) -> Iterator[tuple[StoredRecord, int | None]]:
        """Yield every record of a time in the order in which they were written, with its leaf."""
        for rows in self._many(_IN_ORDER, (since_ms, until_ms)):
            for row in rows:
                yield StoredRecord(*row[:8]), row[8]

    def leaves_of(self, instance: str) -> dict[int, int]:
        """Return which leaf each record of one instance has."""
        return dict(self._all("SELECT seq, leaf FROM leaves WHERE instance = ?", (instance,)))

    def instance_at(self, leaf: int) -> tuple[str, int] | None:
        """Return which record has a leaf."""
        rows = self._all("SELECT instance, seq FROM leaves WHERE leaf = ?", (leaf,))
        return (rows[0][0], rows[0][1]) if rows else None

    def installation_bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of one kind in the installation's own journal, oldest first."""
        return [orjson.loads(record.text)["body"] for record in self.records(INSTALLATION) if record.kind == kind]

    def personal_of(self, instance: str, key: InstallationKey) -> list[Personal]:
        """Open the personal values of an instance; none when they were erased."""
        rows = self._all("SELECT subject, wrapped_key FROM subject_keys WHERE instance = ?", (instance,))
        if not rows:
            return []
        subject_key = key.unwrap(instance, rows[0][0], rows[0][1])
        sealed = self._all("SELECT seq, ciphertext FROM personal WHERE instance = ? ORDER BY seq", (instance,))
        return [
            Personal(seq, tuple(path), salt, value)
            for seq, text in sealed
            for path, salt, value in orjson.loads(subject_key.decrypt(text, f"{instance}:{seq}"))
        ]

    # --- the tree -----------------------------------------------------------------------------

    def size(self) -> int:
        """Return how many records have been given a place."""
        rows = self._all("SELECT value FROM meta WHERE key = 'sequencer'", ())
        return msgspec.convert(orjson.loads(rows[0][0]), Cursor).size if rows else 0

    def counts(self, size: int) -> tuple[int, int, int]:
        """Return how many records there are, how many leaves, and how many of these below ``size``."""
        records = self._all("SELECT count(*) FROM journal", ())[0][0]
        leaves = self._all("SELECT count(*) FROM leaves", ())[0][0]
        below = self._all("SELECT count(*) FROM leaves WHERE leaf < ?", (size,))[0][0]
        return records, leaves, below

    def gaps(self, size: int, limit: int) -> list[tuple[int, int]]:
        """Return the runs of leaves below ``size`` that no record has: first, and the one after the last."""
        bounds = self._all("SELECT min(leaf), max(leaf) FROM leaves WHERE leaf < ?", (size,))[0]
        if bounds[0] is None:
            return [(0, size)] if size else []
        found = [(0, bounds[0])] if bounds[0] > 0 else []
        found += [(first, min(after or size, size)) for first, after in self._all(_GAPS, (size, limit))]
        return found[:limit] if bounds[1] + 1 >= size else _with_end(found, bounds[1] + 1, size)[:limit]

    def tile(self, level: int, number: int) -> bytes:
        """Return a tile; raise ``LookupError`` when it is missing or damaged."""
        rows = self._all("SELECT data FROM tiles WHERE level = ? AND number = ?", (level, number))
        if not rows:
            raise LookupError(f"tile {number} of level {level} is missing")
        return _tile_bytes(rows[0][0])

    def tiles(self, level: int, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield the tiles of a level from ``first`` up to ``end``; damaged ones as no bytes."""
        select = "SELECT number, data FROM tiles WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
        for rows in self._many(select, (level, first, end)):
            for number, data in rows:
                try:
                    yield number, _tile_bytes(data)
                except LookupError:
                    yield number, b""

    def checkpoints(self, newest: int = 1_000, older: int = 0) -> list[Signed]:
        """Return the newest checkpoints, and an even choice of about so many older ones; oldest first."""
        _, last = self.checkpoint_count()
        first = max(last - newest, 0) + 1
        step = max(first // older, 1) if older else first + last
        rows = self._all(_CHECKPOINTS, (first, step, step))
        return [signed_of(row) for row in rows]

    def checkpoint_count(self) -> tuple[int, int]:
        """Return how many checkpoints there are, and the number of the newest: the same, unless one is missing."""
        rows = self._all("SELECT count(*), coalesce(max(number), 0) FROM checkpoints", ())
        return rows[0][0], rows[0][1]

    def newest_checkpoint(self) -> Signed | None:
        """Return the checkpoint made last."""
        rows = self._all("SELECT number, size, root, note, made_at FROM checkpoints ORDER BY number DESC LIMIT 1", ())
        return signed_of(rows[0]) if rows else None

    def anchorings(self) -> list[Anchoring]:
        """Return what anchors have answered, oldest first."""
        rows = self._all(
            "SELECT checkpoint, anchor, at, receipt, problem FROM anchorings ORDER BY checkpoint, anchor", ()
        )
        return [Anchoring(row[0], row[1], moment(row[2]), row[3], row[4]) for row in rows]

    # --- the connection -----------------------------------------------------------------------

    def _connect(self) -> Any:
        if self._postgres:
            import psycopg  # noqa: PLC0415 -- SQLite installations do without

            try:
                connection = psycopg.connect(plain_url(self.url), application_name="topstitch-audit")
            except psycopg.Error as error:
                said = " ".join(str(error).split())
                raise OperatorError(
                    "database-unreachable",
                    f"the database does not answer ({said}); see that the server is up, then try again",
                ) from error
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return connection
        path = sqlite_path(self.url)
        if not path.exists():
            raise NotFoundError("no-database", f"there is no database {path}; name the data folder with --data")
        with self._errors():
            opened = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            opened.execute("BEGIN")
        return opened

    def _all(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._errors():
            text = for_dialect(sql, "postgresql" if self._postgres else "sqlite")
            rows: list[tuple[Any, ...]] = self._connection.execute(text, parameters).fetchall()
        return rows

    def _many(self, sql: str, parameters: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        with self._errors():
            if self._postgres:
                with self._connection.cursor("topstitch_audit", withhold=False) as cursor:
                    cursor.execute(for_dialect(sql, "postgresql"), parameters)
                    while rows := cursor.fetchmany(FETCH_ROWS):
                        yield rows
            else:
                cursor = self._connection.execute(sql, parameters)
                while rows := cursor.fetchmany(FETCH_ROWS):
                    yield rows

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise sqlite_error(error, str(sqlite_path(self.url))) from error


def _with_end(gaps: list[tuple[int, int]], first: int, end: int) -> list[tuple[int, int]]:
    return [gap for gap in gaps if gap[0] < first] + [(first, end)]


def _tile_bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise LookupError("a tile is damaged") from error
    if len(data) % 32:
        raise LookupError("a tile is damaged")
    return data
