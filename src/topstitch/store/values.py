"""What goes into the store and comes out of it: leases, new instances, guards, summaries.

Plain values; the engine, the trigger and the doors hold them. They touch nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from topstitch.foundation.errors import ConflictError
from topstitch.model.record import Draft, Record
from topstitch.store.keys import SubjectKey


class Summary(msgspec.Struct, frozen=True):
    """What the instance list shows: derived from the records by whoever can fold them.

    ``status`` is ``running``, ``waiting``, or how the instance ended; ``waiting_on`` says for
    whom or what, in a person's words.
    """

    stage: str
    status: str
    waiting_on: str | None = None


class Park(msgspec.Struct, frozen=True):
    """Give the lease back with the last records, and come back at ``wake_at`` (never, when nothing)."""

    wake_at: datetime | None


class End(msgspec.Struct, frozen=True):
    """The instance has ended: give the lease back for good."""

    at: datetime


class NewInstance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance to be: its row and its first record.

    ``subject`` is the person whose data it carries: what an erasure names.
    """

    id: str
    workflow: str
    version: str
    digest: str
    first: Draft
    correlation: str | None = None
    title: str | None = None
    subject: str | None = None
    parent: str | None = None
    parent_step: str | None = None
    status: str = "running"


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery. A repeated one has ``first=False`` and the first one's outcome."""

    first: bool
    instances: tuple[str, ...]
    outcome: Mapping[str, Any]
    offered: tuple[str, ...] = ()
    """Instances that wait for an event of this type and were given it."""
    same_body: bool = True
    """Whether a repeated delivery had the bytes of the first."""


class Still(msgspec.Struct, frozen=True):
    """A guard: the row ``id`` of ``table`` still has this ``status``; else nothing is appended.

    ``table`` is ``approvals``, ``tasks``, ``cases``, ``discrepancies`` or ``instances``. The
    ``ConflictError`` carries the row as it is in ``detail``.
    """

    table: str
    id: str
    status: str = "open"


class NotYet(msgspec.Struct, frozen=True):
    """A guard: the instance has no record of this ``kind`` for this ``step`` (and this actor, if named)."""

    kind: str
    step: str | None = None
    actor: str | None = None


class HeadIs(msgspec.Struct, frozen=True):
    """A guard: nothing was appended since the caller looked."""

    seq: int


Guard = Still | NotYet | HeadIs


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One claimed instance: its lease, and its journal so far."""

    lease: Lease
    records: Sequence[Record]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim brought.

    ``knocked`` are instances of this owner to which somebody else has appended; ``broken``
    are those whose journal does not verify, with the reason: they stay leased by nobody and
    are not carried on. ``next_wake`` is when the next one falls due.
    """

    due: Sequence[Due] = ()
    knocked: Sequence[str] = ()
    broken: Mapping[str, str] = {}
    next_wake: datetime | None = None


class Lease:
    """The right to append to one instance, and where its chain stands.

    Whoever claimed it hands it to ``append``; nobody but the store changes it.
    """

    __slots__ = (
        "digest", "epoch", "hash", "instance", "key", "owner", "pending", "seq",
        "summary", "until", "version", "workflow", "written_hash", "written_seq",
    )  # fmt: skip

    def __init__(
        self,
        *,
        instance: str,
        owner: str,
        epoch: int,
        seq: int,
        hash: bytes,  # noqa: A002 -- the column's name
        workflow: str,
        version: str,
        digest: str,
        until: datetime,
    ) -> None:
        self.instance, self.owner, self.epoch = instance, owner, epoch
        self.seq, self.hash = seq, hash
        self.written_seq, self.written_hash = seq, hash
        self.workflow, self.version, self.digest = workflow, version, digest
        self.until = until
        self.key: SubjectKey | None = None
        self.pending: list[Any] = []
        self.summary: Summary | None = None

    def forget(self) -> None:
        """Drop what was added and not appended."""
        self.seq, self.hash, self.pending = self.written_seq, self.written_hash, []


class FencedError(ConflictError):
    """Another engine has taken this instance over: stop, and make no further call for it."""


class BehindError(ConflictError):
    """Somebody else appended first. ``records`` are what is new; fold them and decide again."""

    def __init__(self, instance: str, records: Sequence[Record]) -> None:
        super().__init__(
            "instance-moved-on",
            f"{instance} has {len(records)} newer records; fold them and decide again",
            detail={"records": records},
        )
        self.instance = instance
        self.records = records
