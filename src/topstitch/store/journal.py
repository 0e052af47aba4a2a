"""Decides how records get into the database: the transactions behind every request.

``Journal.carry_out`` takes what the writer collected and writes everything in one
transaction with one statement per table. The statement that moves a head holds its fence;
only when it moved fewer than it should is the transaction begun again and each request
checked against the locked rows. A lease whose epoch moved is fenced; one whose head moved
is behind and is told what is new. Nothing here decides what a record says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from topstitch.foundation.canonical import GENESIS
from topstitch.foundation.errors import ConflictError, NotFoundError, OperatorError, TamperError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Record, Stage
from topstitch.store import sql
from topstitch.store.database import Backend, RetryBatch, RowRefused
from topstitch.store.keys import InstallationKey, SubjectKey
from topstitch.store.loading import load_rows, require_head
from topstitch.store.project import project
from topstitch.store.projections import Change, merged
from topstitch.store.requests import Accept, Append, AppendOutside, CatchUp, Claim, Release, Renew, Request, Wake, Work
from topstitch.store.sealing import SealedRow, blob_of, milliseconds, moment, open_rows, seal
from topstitch.store.values import (
    Accepted,
    BehindError,
    Claims,
    Due,
    End,
    FencedError,
    Guard,
    HeadIs,
    Lease,
    NotYet,
    Park,
    Still,
)

RETRIES_MAX: Final = 5
BRIEF_RECORDS_MAX: Final = 32  # opened in the time of a turn
LEASES: Final = (Claim, Renew)
"""What only says who works on what; whoever acts on it writes an intent first, and that lasts."""
BROKEN_RETRY_MS: Final = 3_600_000
"""When an instance whose journal does not verify is looked at again: a backup may be back by then."""

REOPENING: Final = frozenset({"retry", "recheck", "repair", "accept", "waive"})
"""The commands that carry an instance on that had ended."""

STATUS_AFTER: Final = {"pause": "paused", "resume": "running"}

Answer = Any
"""What a request asked for, or the ``TopstitchError`` that tells why not."""


class Started(NamedTuple):
    """A transaction that is written but not committed.

    ``tells`` says whether it makes something due, ``brief`` whether little is to be opened after the commit.
    """

    answers: list[Answer]
    tells: bool
    brief: bool


class Journal:
    """The transactions on one backend. Used by one thread at a time."""

    def __init__(self, backend: Backend, key: InstallationKey, name: str) -> None:
        self._backend = backend
        self._key = key
        self._name = name
        self.told = False
        """Whether the last batch made something due."""

    def carry_out(self, batch: Sequence[Request]) -> list[Answer]:
        """Carry a batch out in one commit; a failure of the database itself is raised."""
        for _ in range(RETRIES_MAX):
            try:
                return self.finish(self.start(batch))
            except RetryBatch:
                self._backend.rollback()
            except OperatorError:
                self._backend.rollback()
                raise
            except Exception as defect:  # noqa: BLE001 -- one request's defect must not take the others with it
                self._backend.rollback()
                return self._one_by_one(batch, defect)
        raise OperatorError(
            "database-contended",
            "the database kept breaking this transaction off; try again, and look for long transactions on the server",
        )

    def start(self, batch: Sequence[Request], *, patient: bool = True) -> Started:
        """Write a batch into a transaction that ``finish`` commits; whatever is raised, it was rolled back.

        Unless ``patient``, raise ``Contended`` at once when another process is writing.
        """
        lasting = any(not isinstance(request, LEASES) for request in batch)
        self._backend.begin(lasting=lasting, patient=patient)
        try:
            turn = _Turn(self._backend, self._key, careful=False)
            try:
                answers = turn.take(batch)
            except _Overtaken:
                self._backend.rollback()
                self._backend.begin(lasting=lasting, patient=patient)
                turn = _Turn(self._backend, self._key, careful=True)
                answers = turn.take(batch)
            turn.tells |= turn.unclaimed
            if turn.tells and self._backend.dialect == "postgresql":
                self._backend.execute("SELECT pg_notify('topstitch', ?)", (self._name,))
        except BaseException:
            self._backend.rollback()
            raise
        return Started(answers, turn.tells, turn.brief)

    def finish(self, started: Started) -> list[Answer]:
        """Commit what was started, and answer."""
        self.told = started.tells
        try:
            self._backend.commit()
        except BaseException:
            self._backend.rollback()
            raise
        return [answer() if isinstance(answer, _Later) else answer for answer in started.answers]

    def _one_by_one(self, batch: Sequence[Request], defect: Exception) -> list[Answer]:
        """Find the request that cannot be carried out, so that the others are."""
        if len(batch) == 1:
            self.told = False
            return [_refusal(defect)]
        answers, told = [], False
        for request in batch:
            answers += self.carry_out([request])
            told |= self.told
        self.told = told
        return answers


def _refusal(defect: Exception) -> Exception:
    if not isinstance(defect, RowRefused):
        return defect
    why = f"the database refused a row ({defect}); this is a defect: please report it with the log"
    return OperatorError("row-refused", why)


class _Later:
    """An answer that is put together after the commit, when the lock is gone."""

    def __init__(self, make: Callable[[], Answer]) -> None:
        self._make = make

    def __call__(self) -> Answer:
        return self._make()


class _Overtaken(Exception):  # noqa: N818 -- a signal inside this module
    """Somebody else has written to an instance that was taken for one's own: nothing of the transaction is kept."""


class _Turn:
    """One transaction: collects rows of all requests, then writes them table by table."""

    def __init__(self, backend: Backend, key: InstallationKey, *, careful: bool) -> None:
        self._backend = backend
        self._key = key
        self._careful = careful
        self.tells = False
        self.brief, self.unclaimed = True, False
        self._heads: dict[str, _Head] = {}
        self._advances: list[tuple[Any, ...]] = []
        self._settles: list[tuple[Any, ...]] = []
        self._instances: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._blobs: dict[str, tuple[str, str]] = {}
        self._keys: list[tuple[str, str, str]] = []
        self._personal: list[tuple[Any, ...]] = []
        self._changes: list[Change] = []

    def take(self, batch: Sequence[Request]) -> list[Answer]:
        """Carry all out: events, then leased appends, then the rest in the order they came."""
        answers: dict[int, Answer] = {}
        accepts = [(i, r) for i, r in enumerate(batch) if isinstance(r, Accept)]
        appends = [(i, r) for i, r in enumerate(batch) if isinstance(r, Append)]
        if self._backend.dialect == "postgresql":
            self._lock_event_types(accepts, appends)
        if accepts:
            answers |= self._accept(accepts)
        if appends:
            answers |= self._append(appends)
        self._flush()
        return [answers[i] if i in answers else self._single(request) for i, request in enumerate(batch)]

    def _single(self, request: Request) -> Answer:
        try:
            match request:
                case AppendOutside():
                    return self._outside(request)
                case Claim():
                    return self._claim(request)
                case Renew():
                    return self._renew(request)
                case Release():
                    return self._release(request)
                case Wake():
                    return self._wake(request)
                case CatchUp():
                    return self._news(request.lease.instance, request.lease)
                case Work():
                    self.tells |= request.tells
                    return request.do(self._backend)
                case _:
                    raise TypeError(request)
        except OperatorError:
            raise
        except TopstitchError as error:
            return error

    # --- events -------------------------------------------------------------------------------

    def _lock_event_types(self, accepts: Sequence[tuple[int, Accept]], appends: Sequence[tuple[int, Append]]) -> None:
        """On PostgreSQL, keep a wait from beginning unseen while its event is being accepted."""
        types = {request.event.type for _, request in accepts}
        types |= {
            str(s.record.body["event"])
            for _, request in appends
            for s in request.rows
            if s.record.kind == Kind.WAIT_BEGAN
        }
        for name in sorted(types):
            self._backend.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (name,))

    def _accept(self, accepts: Sequence[tuple[int, Accept]]) -> dict[int, Answer]:
        self._backend.apply(sql.EVENT_INSERT, [request.row for _, request in accepts])
        identities = list({(request.event.source, request.event.id): None for _, request in accepts})
        kept = {(source, name): rest for source, name, *rest in self._backend.fetch(sql.EVENT_READ, identities)}
        answers: dict[int, Answer] = {}
        repeated = []
        for index, request in accepts:
            receipt, digest, outcome = kept[request.event.source, request.event.id]
            first = receipt == request.receipt
            if first:
                self._start(request)
            else:
                repeated.append(
                    (
                        request.receipt,
                        request.event.source,
                        request.event.id,
                        milliseconds(request.event.received_at),
                        request.digest,
                    )
                )
            value = orjson.loads(outcome)
            answers[index] = Accepted(
                first=first, instances=tuple(value["instances"]), outcome=value, same_body=digest == request.digest
            )
        if repeated:
            self._backend.apply(sql.DELIVERY_INSERT, repeated)
        return answers | self._offer([(i, r) for i, r in accepts if answers[i].first], answers)

    def _start(self, request: Accept) -> None:
        self.unclaimed = True
        for start in request.starts:
            new, row = start.new, start.row
            self._instances.append(
                (
                    new.id, new.workflow, new.version, new.digest, new.correlation, new.parent, new.parent_step,
                    row.at_ms, row.at_ms, 1, row.hash_hex, row.at_ms, 0, new.title, str(new.first.stage), new.status,
                )
            )  # fmt: skip
            self._add_row(row)
            self._changes += project(row.record)
            if start.key:
                self._keys.append(start.key)

    def _offer(self, firsts: Sequence[tuple[int, Accept]], answers: dict[int, Answer]) -> dict[int, Answer]:
        """Give an event to those who wait for its type; whether it is theirs, their plan decides."""
        if not firsts:
            return {}
        waiting = self._backend.fetch(
            sql.OPEN_WAITS, [(name,) for name in {request.event.type for _, request in firsts}]
        )
        if not waiting:
            return {}
        self._flush()
        offered: dict[int, Answer] = {}
        for index, request in firsts:
            mine = [(instance, step) for event, instance, step in waiting if event == request.event.type]
            for instance, step in mine:
                self._outside(
                    AppendOutside(instance, [offer_draft(request.event, step)], (), request.event.received_at)
                )
            if mine:
                accepted: Accepted = answers[index]
                given = tuple(instance for instance, _ in mine)
                offered[index] = Accepted(
                    first=True, instances=accepted.instances, outcome=accepted.outcome, offered=given
                )
        return offered

    # --- appends ------------------------------------------------------------------------------

    def _append(self, appends: Sequence[tuple[int, Append]]) -> dict[int, Answer]:
        """Take appends as if everybody still held their lease; ``_flush`` finds out, and the next turn looks first."""
        if self._careful:
            self._look(request.lease.instance for _, request in appends)
        answers: dict[int, Answer] = {}
        for index, request in appends:
            try:
                self._append_one(request)
                answers[index] = None
            except ConflictError as error:
                answers[index] = error
        return answers

    def _append_one(self, request: Append) -> None:
        lease = request.lease
        if self._careful or lease.instance in self._heads:
            self._require_held(lease)
        for row in request.rows:
            self._add_row(row)
        self._changes += request.changes
        if lease.key is not None and lease.key.fresh and request.rows:
            self._keys.append((lease.instance, lease.key.subject, lease.key.wrapped))
        self._move_head(request)

    def _require_held(self, lease: Lease) -> None:
        head = self._head(lease.instance)
        if head.owner != lease.owner or head.epoch != lease.epoch:
            raise fenced(lease.instance)
        if head.seq != lease.written_seq:
            raise BehindError(lease.instance, self._news(lease.instance, lease))

    def _move_head(self, request: Append) -> None:
        lease, summary, then = request.lease, request.summary, request.then
        if request.rows:
            last = request.rows[-1]
            seq, hash_hex, changed_ms = last.record.seq, last.hash_hex, last.at_ms
        else:
            seq, hash_hex, changed_ms = lease.written_seq, lease.written_hash.hex(), None
        held = (lease.written_seq, lease.epoch, lease.owner)
        self._heads[lease.instance] = _Head(lease.epoch, seq, hash_hex, lease.owner if then is None else None)
        if summary is None and then is None:
            self._advances.append((lease.instance, seq, hash_hex, changed_ms, *held))
            return
        wake_ms = milliseconds(then.wake_at) if isinstance(then, Park) and then.wake_at else None
        ended_ms = milliseconds(then.at) if isinstance(then, End) else None
        stage, status, waiting_on = (
            (summary.stage, summary.status, summary.waiting_on) if summary else (None, None, None)
        )
        self._settles.append(
            (
                lease.instance, seq, hash_hex, changed_ms, *held, stage, status, waiting_on,
                int(then is not None), wake_ms, ended_ms,
            )
        )  # fmt: skip
        if wake_ms is not None:  # given up while due: others may go on
            self.tells |= changed_ms is None or wake_ms <= changed_ms

    def _outside(self, request: AppendOutside) -> list[Record]:
        self._look([request.instance])
        head = self._head(request.instance)
        for guard in request.guards:
            self._check(guard, request.instance, head)
        key = self._subject_key(request.instance)
        if key is None and any(draft.personal for draft in request.drafts):
            key = self._key.new_subject_key(request.instance, request.instance)
            self._keys.append((request.instance, key.subject, key.wrapped))
        records = []
        for draft in request.drafts:
            row = seal(draft, request.instance, head.seq + 1, bytes.fromhex(head.hash_hex), key)
            head.seq, head.hash_hex = row.record.seq, row.hash_hex
            self._add_row(row)
            self._changes += project(row.record)
            records.append(row.record)
        now = milliseconds(request.now)
        self._flush()
        if any(_reopens(draft) for draft in request.drafts):
            self._backend.execute(sql.OUTSIDE_REOPEN, (head.seq, head.hash_hex, now, now, request.instance))
        else:
            status = next((told for draft in request.drafts if (told := _status_told(draft))), None)
            self._backend.execute(sql.OUTSIDE_HEAD, (head.seq, head.hash_hex, now, now, status, request.instance))
        self.tells = True
        return records

    def _check(self, guard: Guard, instance: str, head: _Head) -> None:
        match guard:
            case HeadIs(seq=seq):
                if head.seq != seq:
                    raise ConflictError(
                        "stale",
                        f"{instance} has moved on since you looked; look again, then decide",
                        detail={"head": head.seq},
                    )
            case NotYet(kind=kind, step=step, actor=actor):
                sql.refuse_if_recorded(self._backend, instance, kind, step, actor)
            case Still():
                sql.refuse_if_settled(self._backend, guard)

    # --- leases -------------------------------------------------------------------------------

    def _claim(self, request: Claim) -> Answer:
        now, until = milliseconds(request.now), milliseconds(request.until)
        due = (
            self._backend.select(sql.CLAIM_SELECT, (now, now, request.owner, request.limit), sql.CLAIM_FETCHES)
            if request.limit > 0
            else []
        )
        self.unclaimed &= len(due) >= request.limit
        self.brief &= sum(seq for *_, seq, _ in due) <= BRIEF_RECORDS_MAX
        if due:
            self._backend.apply(sql.CLAIM_UPDATE, [(row[0], request.owner, until) for row in due])
        knocked = [name for (name,) in self._backend.execute(sql.KNOCKED, (request.owner, now))]
        if knocked:
            self._backend.execute(sql.KNOCKS_HEARD, (request.owner, now))
        next_ms = self._backend.execute(sql.NEXT_WAKE, (now, request.owner, now, now, request.owner))[0][0]
        return _Later(lambda: self._claims(due, knocked, next_ms, request))

    def _claims(
        self, due: Sequence[Sequence[Any]], knocked: Sequence[str], next_ms: int | None, request: Claim
    ) -> Claims:
        names = [row[0] for row in due]
        stored, keys = load_rows(self._backend, names), self._stored_keys(names)
        opened, broken = [], {}
        for name, workflow, version, digest, epoch, seq, hash_hex in due:
            lease = Lease(
                instance=name, owner=request.owner, epoch=epoch + 1, seq=seq, hash=bytes.fromhex(hash_hex),
                workflow=workflow, version=version, digest=digest, until=request.until,
            )  # fmt: skip
            try:
                lease.key = self._key.unwrap(name, *keys[name]) if name in keys else None
                records = open_rows(name, stored.get(name, ()), lease.key, prev=GENESIS)
                require_head(lease, records)
                opened.append(Due(lease=lease, records=records))
            except TamperError as error:
                broken[name] = error.message
                self._set_aside(lease, milliseconds(request.now))
        return Claims(
            due=opened, knocked=knocked, broken=broken, next_wake=moment(next_ms) if next_ms is not None else None
        )

    def _set_aside(self, lease: Lease, now: int) -> None:
        self._backend.execute(sql.RELEASE, (now + BROKEN_RETRY_MS, lease.instance, lease.owner, lease.epoch))

    def _renew(self, request: Renew) -> list[str]:
        now, until = milliseconds(request.now), milliseconds(request.until)
        self._look(lease.instance for lease in request.leases)
        kept, lost = [], []
        for lease in request.leases:
            head = self._heads.get(lease.instance)
            if head and head.owner == lease.owner and head.epoch == lease.epoch:
                kept.append((lease.instance, until, now))
            else:
                lost.append(lease.instance)
        if kept:
            self._backend.apply(sql.RENEW, kept)
        return lost

    def _release(self, request: Release) -> None:
        wake = milliseconds(request.wake_at) if request.wake_at else None
        self._backend.execute(sql.RELEASE, (wake, request.lease.instance, request.lease.owner, request.lease.epoch))
        self.tells = True

    def _wake(self, request: Wake) -> int:
        self.tells = True
        at = milliseconds(request.at)
        return sum(len(self._backend.execute(sql.WAKE, (at, name))) for name in request.instances)

    # --- rows ---------------------------------------------------------------------------------

    def _look(self, instances: Iterable[str]) -> None:
        """Lock the rows of instances, in one order, and remember their heads."""
        unknown = sorted({name for name in instances if name not in self._heads})
        if unknown:
            for name, epoch, seq, hash_hex, owner in self._backend.fetch(sql.HEADS, [(name,) for name in unknown]):
                self._heads[name] = _Head(epoch, seq, hash_hex, owner)

    def _head(self, instance: str) -> _Head:
        if instance not in self._heads:
            raise NotFoundError("no-instance", f"there is no instance {instance}; `topstitch instances` lists them")
        return self._heads[instance]

    def _news(self, instance: str, lease: Lease) -> list[Record]:
        """Read what stands behind the lease's written head."""
        if lease.key is None:
            lease.key = self._subject_key(instance)
        rows = load_rows(self._backend, [instance], after=lease.written_seq).get(instance, [])
        return open_rows(instance, rows, lease.key, prev=lease.written_hash, after=lease.written_seq)

    def _subject_key(self, instance: str) -> SubjectKey | None:
        stored = self._stored_keys([instance]).get(instance)
        return self._key.unwrap(instance, *stored) if stored else None

    def _stored_keys(self, instances: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Read the wrapped keys of instances: subject and wrapped key."""
        if not instances:
            return {}
        return {
            name: (subject, wrapped)
            for name, subject, wrapped in self._backend.fetch(sql.SUBJECT_KEYS, [(name,) for name in instances])
        }

    def _add_row(self, sealed: SealedRow) -> None:
        record = sealed.record
        blob = blob_of(sealed.text)
        if blob:
            self._blobs[blob] = (blob, sealed.text)
        self._rows.append(
            (
                record.instance, record.seq, record.kind, sealed.at_ms, str(record.stage), record.step,
                None if blob else sealed.text, blob, sealed.hash_hex,
            )
        )  # fmt: skip
        if sealed.ciphertext is not None:
            self._personal.append((record.instance, record.seq, sealed.ciphertext))

    def _flush(self) -> None:
        """Write what was collected, one statement per table."""
        moves = [move for move in ((sql.ADVANCE, self._advances), (sql.SETTLE, self._settles)) if move[1]]
        if moves and self._backend.change(moves) != len(self._advances) + len(self._settles):
            raise _Overtaken
        plain = (
            (sql.INSTANCE_INSERT, self._instances),
            (sql.BLOB_INSERT, list(self._blobs.values())),
            (sql.JOURNAL_INSERT, self._rows),
            (sql.KEY_INSERT, self._keys),
            (sql.PERSONAL_INSERT, self._personal),
        )
        with self._backend.together():
            for statement, rows in plain:
                if rows:
                    self._backend.apply(statement, rows)
            write_changes(self._backend, self._changes)
        self._instances, self._rows, self._keys, self._personal = [], [], [], []
        self._advances, self._settles, self._changes, self._blobs = [], [], [], {}


class _Head:
    """A locked instance row, moved along as the turn writes to it."""

    __slots__ = ("epoch", "hash_hex", "owner", "seq")

    def __init__(self, epoch: int, seq: int, hash_hex: str, owner: str | None) -> None:
        self.epoch, self.seq, self.hash_hex, self.owner = epoch, seq, hash_hex, owner


def write_changes(backend: Backend, changes: Sequence[Change]) -> None:
    """Write projected changes, in order where order matters."""
    if not changes:
        return
    for piece in merged(changes):
        if isinstance(piece, tuple):
            projection, rows = piece
            backend.apply(projection.upsert, rows)
        else:
            backend.execute(piece.sql, piece.parameters)


def fenced(instance: str) -> FencedError:
    """Tell a lease holder that it is none any more."""
    return FencedError("instance-fenced", f"another engine has taken {instance} over; make no further call for it")


def offer_draft(event: TriggerEvent, step: str | None) -> Draft:
    """Return the record that gives an event to an instance that waits for its type."""
    head = {"id": event.id, "source": event.source, "type": event.type, "received_at": rfc3339(event.received_at)}
    body = {"event": head, "data": event.data}
    return Draft(
        kind=Kind.SIGNAL_OFFERED,
        at=event.received_at,
        actor=ENGINE,
        stage=Stage.EXECUTION,
        step=step,
        body=body,
        personal=(("data",),),
    )


def _status_told(draft: Draft) -> str | None:
    """Return what the list says from now on: who pauses or resumes need not wait for the engine's next record."""
    if draft.kind != Kind.OPERATOR_COMMANDED:
        return None
    return STATUS_AFTER.get(str(draft.body.get("command")))


def _reopens(draft: Draft) -> bool:
    """Whether the record carries an instance on that had ended: a retry, or an act on one of its discrepancies."""
    return draft.kind == Kind.OPERATOR_COMMANDED and draft.body.get("command") in REOPENING
