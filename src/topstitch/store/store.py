"""The database hand: what the engine, the trigger and the doors ask of the store.

``Store.open`` connects, brings the schema up to date, checks the installation key and
starts the writer. Everything hot (accept, claim, append, renew) goes to the one writer;
everything else is a read on a connection of its own, or rare work in a transaction of its
own, and stands in the file of its noun. A store is used from any number of event loops and
threads of one process; other processes open their own on the same database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import orjson

from topstitch.foundation.canonical import GENESIS, digest_bytes
from topstitch.foundation.errors import OperatorError
from topstitch.foundation.ids import new_id, random_bytes
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Draft, Record
from topstitch.store import schema, sql
from topstitch.store.attendance import Attendance
from topstitch.store.database import MEMORY_URL, Backend, is_postgres, open_backend, sqlite_path
from topstitch.store.journal import Journal
from topstitch.store.keys import KEY_FILE, InstallationKey, given_key, read_or_make_key
from topstitch.store.project import project
from topstitch.store.reader import Reader
from topstitch.store.requests import Accept, Append, AppendOutside, CatchUp, Claim, Release, Renew, StartRow, Wake, Work
from topstitch.store.sealing import milliseconds, seal
from topstitch.store.text import bytes_text
from topstitch.store.values import Accepted, BehindError, Claims, End, Guard, Lease, NewInstance, Park, Summary
from topstitch.store.watch import Watch
from topstitch.store.writer import GroupCommit, Inline, Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
READERS_MAX: Final = 4
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Store:
    """One open database."""

    def __init__(self, url: str, writer: Writer, reader: Reader, key: InstallationKey, watch_as: str | None) -> None:
        self.url = url
        self._writer = writer
        self._reader = reader
        self._key = key
        self._watch_as = watch_as
        self._watch: Watch | None = None
        self._attendance = Attendance(sqlite_path(url) if url != MEMORY_URL and not is_postgres(url) else None)
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def open(cls, url: str, *, key_file: Path | None = None, key: str | None = None, threads: bool = True) -> Store:
        """Open ``sqlite::memory:``, ``sqlite:///path``, a path, or ``postgresql://...``.

        The installation key lies beside a SQLite file unless ``key_file`` says otherwise; a
        PostgreSQL database needs ``key_file`` (without one, personal values cannot be opened
        by another process). ``key`` is the key itself, when no file holds it.
        ``threads=False`` carries everything out in the caller's thread.
        """
        backend = open_backend(url)
        try:
            schema.bring_up_to_date(backend)
            known = schema.known_key_check(backend)
            if key is not None:
                own = given_key(key, known_check=known)
            else:
                own = read_or_make_key(key_file or _key_beside(url), known_check=known)
            if known is None:
                schema.remember_key_check(backend, own.check)
        except BaseException:
            backend.close()
            raise
        return cls._with(url, backend, own, threads=threads and url != MEMORY_URL)

    @classmethod
    def _with(cls, url: str, backend: Backend, key: InstallationKey, *, threads: bool) -> Store:
        name = random_bytes(6).hex()
        journal = Journal(backend, key, name)
        writer: Writer = GroupCommit(backend, journal) if threads else Inline(backend, journal)
        reader = Reader(url, backend)
        watches = threads and is_postgres(url)
        return cls(url, writer, reader, key, name if watches else None)

    def close(self) -> None:
        """Write what is queued, then let go of every connection."""
        if self._watch:
            self._watch.stop()
        self._writer.close()
        self._attendance.leave()
        if self._threads:
            self._threads.shutdown()
        self._reader.close()

    def reset(self) -> None:
        """Forget everything at once: for a database in memory, thousands of times a second."""
        if self.url != MEMORY_URL:
            raise OperatorError("reset-refused", "only a database in memory can be reset; delete the file yourself")
        self._writer.submit_and_wait(Work(schema.empty))

    def __enter__(self) -> Self:
        """Close at the end of a ``with``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # --- events -------------------------------------------------------------------------------

    async def accept(
        self,
        event: TriggerEvent,
        starts: Sequence[NewInstance] = (),
        *,
        raw: bytes = b"",
        headers: Mapping[str, str] = _NO_HEADERS,
        note: Mapping[str, Any] | None = None,
    ) -> Accepted:
        """Keep an event for ever and start what it starts, in one transaction; return once it is durable.

        A repeated delivery (same source and id) starts nothing, is counted, and gives the
        first outcome. Whoever waits for an event of this type is given it. ``note`` goes
        into the outcome beside ``instances``.
        """
        accepted: Accepted = await self._writer.submit(self._accept_request(event, starts, raw, headers, note))
        return accepted

    def _accept_request(
        self,
        event: TriggerEvent,
        starts: Sequence[NewInstance],
        raw: bytes,
        headers: Mapping[str, str],
        note: Mapping[str, Any] | None,
    ) -> Accept:
        outcome = {**(note or {}), "instances": [new.id for new in starts]}
        digest = digest_bytes(raw) if raw else digest_bytes(orjson.dumps(event.data, option=orjson.OPT_SORT_KEYS))
        return Accept(
            event=event,
            receipt=new_id("rcp", event.received_at),
            digest=digest,
            raw=bytes_text(raw),
            headers=orjson.dumps(dict(headers)).decode(),
            starts=[self._start_row(new) for new in starts],
            outcome=orjson.dumps(outcome).decode(),
        )

    def _start_row(self, new: NewInstance) -> StartRow:
        key = self._key.new_subject_key(new.id, new.subject or new.id) if new.first.personal else None
        row = seal(new.first, new.id, 1, GENESIS, key)
        return StartRow(new, row, (new.id, key.subject, key.wrapped) if key else None)

    # --- leases and appends -------------------------------------------------------------------

    async def attend(self, owner: str, now: datetime) -> int:
        """Say that ``owner`` is here as long as this store is open; free the leases of engines that have died."""
        return await self.work(lambda backend: self._attendance.attend(backend, owner, now), tells=True)

    async def claim(self, owner: str, now: datetime, lease_seconds: float, limit: int) -> Claims:
        """Take up to ``limit`` due instances, with their journals; hear who knocked; learn what is due next."""
        claims: Claims = await self._writer.submit(Claim(owner, now, now + timedelta(seconds=lease_seconds), limit))
        return claims

    async def append(
        self,
        lease: Lease,
        drafts: Sequence[Draft] = (),
        *,
        summary: Summary | None = None,
        park: bool = False,
        wake_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Write ``drafts`` behind the lease's head; return once they are durable.

        ``park`` gives the lease back in the same commit, to come back at ``wake_at`` (never,
        when nothing); ``ended_at`` gives it back for good. Raises ``FencedError`` when another
        engine has taken over, and ``BehindError`` with the new records when somebody else
        appended first: the lease then stands at the new head and nothing of this was written.
        One append of a lease at a time.
        """
        for draft in drafts:
            self._add(lease, draft)
        rows = lease.pending
        changed = summary if summary != lease.summary else None
        then = End(ended_at) if ended_at else Park(wake_at) if park else None
        if not rows and changed is None and then is None:
            return
        request = Append(lease, rows, [change for row in rows for change in project(row.record)], changed, then)
        try:
            await self._writer.submit(request)
        except BehindError as behind:
            self._catch_up(lease, behind.records)
            raise
        except BaseException:
            lease.forget()
            raise
        lease.pending = []
        lease.written_seq, lease.written_hash = lease.seq, lease.hash
        if lease.key is not None:
            lease.key.fresh = lease.key.fresh and not rows
        if summary is not None:
            lease.summary = summary

    def _add(self, lease: Lease, draft: Draft) -> None:
        """Seal a draft behind the lease's head, in memory."""
        if draft.personal and lease.key is None:
            lease.key = self._key.new_subject_key(lease.instance, lease.instance)
        row = seal(draft, lease.instance, lease.seq + 1, lease.hash, lease.key)
        lease.seq, lease.hash = row.record.seq, row.record.hash
        lease.pending.append(row)

    async def catch_up(self, lease: Lease) -> Sequence[Record]:
        """Return what others have appended since, and move the lease behind it; forgets what was added."""
        records: Sequence[Record] = await self._writer.submit(CatchUp(lease))
        self._catch_up(lease, records)
        return records

    def _catch_up(self, lease: Lease, records: Sequence[Record]) -> None:
        if records:
            lease.written_seq, lease.written_hash = records[-1].seq, records[-1].hash
        lease.forget()

    async def renew(self, leases: Sequence[Lease], now: datetime, lease_seconds: float) -> Sequence[str]:
        """Keep leases; return the instances that another engine has taken over."""
        if not leases:
            return ()
        until = now + timedelta(seconds=lease_seconds)
        lost: Sequence[str] = await self._writer.submit(Renew(list(leases), now, until))
        for lease in leases:
            if lease.instance not in lost:
                lease.until = until
        return lost

    async def release(self, lease: Lease, wake_at: datetime | None) -> None:
        """Give a lease back without a record; harmless when it is lost already."""
        await self._writer.submit(Release(lease, wake_at))

    async def free(self, owner: str, instances: Sequence[str], at: datetime) -> None:
        """Give leases of ``owner`` back by name, whatever their epoch; the instances are due at ``at``."""
        rows = [(milliseconds(at), name, owner) for name in instances]
        await self.work(lambda backend: [backend.execute(sql.FREE, row) for row in rows], tells=True)

    async def append_outside(
        self, instance: str, drafts: Sequence[Draft], now: datetime, *, guards: Sequence[Guard] = ()
    ) -> Sequence[Record]:
        """Append to an instance whoever holds it, and wake it: a decision, a task, a command, a signal.

        All guards hold in the same transaction, or ``ConflictError`` says what is instead.
        """
        records: Sequence[Record] = await self._writer.submit(AppendOutside(instance, list(drafts), list(guards), now))
        return records

    async def wake(self, instances: Sequence[str], at: datetime) -> int:
        """Make open instances due at a time; return how many of them there are."""
        count: int = await self._writer.submit(Wake(list(instances), at))
        return count

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` in this event loop when something may have fallen due, here or in another process."""
        deaf = self._writer.listen(listener)
        if self._watch is None and self._watch_as is not None:
            self._watch = Watch(self.url, self._watch_as, self._writer.changed)
        return deaf

    # --- rare work and reads ------------------------------------------------------------------

    async def work(self, do: Callable[[Backend], T], *, tells: bool = False) -> T:
        """Carry out rare work in the writer's transaction; for the files of this room."""
        value: T = await self._writer.submit(Work(do, tells))
        return value

    async def read(self, do: Callable[[Connection], T]) -> T:
        """Carry out a read on a connection of its own; for the files of this room."""
        if self._reader.inline:
            return self._reader.read(do)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="topstitch-reader")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._reader.read, do)

    @property
    def installation_key(self) -> InstallationKey:
        """What opens the keys of instances; for the files of this room."""
        return self._key


def _key_beside(url: str) -> Path | None:
    if url == MEMORY_URL or is_postgres(url):
        return None
    return sqlite_path(url).parent / KEY_FILE
