"""Keeps what a simulated system holds: records, its journal of calls, its settings.

Every simulator writes here, through its own ``Records``. State lives in SQLite (a file, or
memory) with one commit per call, so an effect that was committed is there after ``kill -9``.
A copy in memory answers reads. Each record remembers how it looked before its last change,
which is what a lagging replica shows. One process per file; nothing here knows a vendor.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from topstitch.foundation.clock import Clock
from topstitch.foundation.timetext import parse_time, rfc3339

Json: TypeAlias = Mapping[str, Any]

_SCHEMA: Final = """
create table if not exists records (
  system text not null, kind text not null, id text not null,
  body text not null, before text, changed_at text not null,
  primary key (system, kind, id));
create table if not exists journal (
  seq integer primary key autoincrement, system text not null, entry text not null);
create table if not exists numbers (
  system text not null, name text not null, value integer not null, primary key (system, name));
"""


@dataclass(slots=True)
class Entry:
    """One record as it is (nothing when deleted) and as it was before its last change."""

    body: Json | None
    before: Json | None
    changed_at: datetime


@dataclass(slots=True)
class Change:
    """What one transaction did so far: how to take it back, and whether it touched business records."""

    undo: list[Callable[[], None]] = field(default_factory=list)
    effects: int = 0


class Store:
    """One SQLite database that the simulators of one process share."""

    def __init__(self, path: Path | None = None) -> None:
        self._sql = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None, check_same_thread=False)
        if path:
            self._sql.execute("pragma journal_mode=wal")
            self._sql.execute("pragma synchronous=normal")
        self._sql.executescript(_SCHEMA)
        self._open: list[Change] = []

    def close(self) -> None:
        """Close the database."""
        self._sql.close()

    @contextmanager
    def transaction(self) -> Iterator[Change]:
        """Commit what happens inside as one; take it back if it raises. Nested ones are savepoints."""
        change = Change()
        name = f"level{len(self._open)}"
        self._sql.execute(f"savepoint {name}")
        self._open.append(change)
        try:
            yield change
        except BaseException:
            self.take_back(change)
            self._sql.execute(f"rollback to {name}")
            raise
        else:
            if len(self._open) > 1:
                self._open[-2].undo.extend(change.undo)
                self._open[-2].effects += change.effects
        finally:
            self._sql.execute(f"release {name}")
            self._open.pop()

    def take_back(self, change: Change) -> None:
        """Put the copy in memory back to what it was when ``change`` began."""
        while change.undo:
            change.undo.pop()()
        change.effects = 0

    def note(self, undo: Callable[[], None], *, effect: bool) -> None:
        """Tell the open transaction how to take one change back."""
        if self._open:
            self._open[-1].undo.append(undo)
            self._open[-1].effects += effect

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._sql.execute(statement, values)

    def append_call(self, system: str, entry: Json) -> None:
        """Add one call to the journal of ``system``."""
        self.execute("insert into journal (system, entry) values (?, ?)", (system, orjson.dumps(entry).decode()))

    def calls(self, system: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the calls that ``system`` received after number ``since``, oldest first."""
        rows = self.execute("select seq, entry from journal where system = ? and seq > ? order by seq", (system, since))
        return [{"seq": seq, **orjson.loads(entry)} for seq, entry in rows]


class Records:
    """The records of one system. Kinds that start with ``_`` are the simulator's own book-keeping."""

    def __init__(self, store: Store, system: str, clock: Clock) -> None:
        self.store = store
        self.system = system
        self._clock = clock
        self._kinds: dict[str, dict[str, Entry]] = {}
        self._as_of: datetime | None = None
        for kind, id_, body, before, changed in store.execute(
            "select kind, id, body, before, changed_at from records where system = ? order by rowid", (system,)
        ):
            entry = Entry(orjson.loads(body), orjson.loads(before) if before else None, parse_time(changed))
            self._kinds.setdefault(kind, {})[id_] = entry

    def get(self, kind: str, id_: str) -> Json | None:
        """Return one record, or nothing."""
        entry = self._kinds.get(kind, {}).get(id_)
        return None if entry is None else self._seen(entry)

    def all(self, kind: str) -> list[Json]:
        """Return every record of a kind, in order of creation."""
        entries = self._kinds.get(kind, {}).values()
        return [body for body in map(self._seen, entries) if body is not None]

    def find(self, kind: str, **equals: object) -> list[Json]:
        """Return the records whose fields equal what is given."""
        return [body for body in self.all(kind) if all(body.get(name) == value for name, value in equals.items())]

    def first(self, kind: str, **equals: object) -> Json | None:
        """Return the first record whose fields equal what is given, or nothing."""
        return next(iter(self.find(kind, **equals)), None)

    def kinds(self) -> list[str]:
        """Return the kinds that hold business records."""
        return [kind for kind in self._kinds if not kind.startswith("_")]

    def put(self, kind: str, id_: str, body: Json) -> Json:
        """Store a record, whole, in place of what was there."""
        text = orjson.dumps(body)
        kept: Json = orjson.loads(text)
        entries = self._kinds.setdefault(kind, {})
        old = entries.get(id_)
        before, now = (old.body if old else None), self._clock.now()
        with self.store.transaction():
            self._remember(kind, id_, old)
            entries[id_] = Entry(kept, before, now)
            self.store.execute(
                "insert into records (system, kind, id, body, before, changed_at) values (?, ?, ?, ?, ?, ?)"
                " on conflict (system, kind, id) do update"
                " set body = excluded.body, before = excluded.before, changed_at = excluded.changed_at",
                (
                    self.system,
                    kind,
                    id_,
                    text.decode(),
                    orjson.dumps(before).decode() if before else None,
                    rfc3339(now),
                ),
            )
        return kept

    def change(self, kind: str, id_: str, fields: Json) -> Json:
        """Merge fields into a record that exists."""
        old = self._kinds[kind][id_].body
        return self.put(kind, id_, {**(old or {}), **fields})

    def delete(self, kind: str, id_: str) -> None:
        """Remove a record; a lagging read still sees it."""
        entries = self._kinds.get(kind, {})
        old = entries.get(id_)
        if old is None or old.body is None:
            return
        with self.store.transaction():
            self._remember(kind, id_, old)
            entries[id_] = Entry(None, old.body, self._clock.now())
            self.store.execute("delete from records where system = ? and kind = ? and id = ?", (self.system, kind, id_))

    def number(self, name: str, start: int = 1) -> int:
        """Return the next number of a series, as record numbers and paging cursors need it."""
        row = self.store.execute(
            "insert into numbers (system, name, value) values (?, ?, ?)"
            " on conflict (system, name) do update set value = value + 1 returning value",
            (self.system, name, start),
        ).fetchone()
        return int(row[0])

    def clear(self) -> None:
        """Forget everything: records, numbers and the journal."""
        self._kinds.clear()
        with self.store.transaction():
            for table in ("records", "numbers", "journal"):
                self.store.execute(f"delete from {table} where system = ?", (self.system,))  # noqa: S608 (three literals)

    @contextmanager
    def lagging(self, as_of: datetime | None) -> Iterator[None]:
        """Show, inside, every record that changed after ``as_of`` as it was before that change."""
        self._as_of = as_of
        try:
            yield
        finally:
            self._as_of = None

    def _seen(self, entry: Entry) -> Json | None:
        if self._as_of is not None and entry.changed_at > self._as_of:
            return entry.before
        return entry.body

    def _remember(self, kind: str, id_: str, old: Entry | None) -> None:
        entries = self._kinds[kind]

        def undo() -> None:
            if old is None:
                entries.pop(id_, None)
            else:
                entries[id_] = old

        self.store.note(undo, effect=not kind.startswith("_"))
