"""What may be asked of the journal's one writer.

Each request is carried out wholly or not at all; many of them share one commit. ``Store``
makes them, ``journal`` carries them out, ``writer`` brings the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from topstitch.model.event import TriggerEvent
from topstitch.model.record import Draft
from topstitch.store.database import Backend
from topstitch.store.projections import Change
from topstitch.store.sealing import SealedRow, milliseconds
from topstitch.store.values import End, Guard, Lease, NewInstance, Park, Summary


@dataclass(slots=True, frozen=True)
class Append:
    """Write what was added to a lease. Answers nothing."""

    lease: Lease
    rows: Sequence[SealedRow]
    changes: Sequence[Change]
    summary: Summary | None
    then: Park | End | None


@dataclass(slots=True, frozen=True)
class AppendOutside:
    """Append to an instance that somebody else may hold, and wake it. Answers its new records."""

    instance: str
    drafts: Sequence[Draft]
    guards: Sequence[Guard]
    now: datetime


@dataclass(slots=True, frozen=True)
class StartRow:
    """A new instance, sealed."""

    new: NewInstance
    row: SealedRow
    key: tuple[str, str, str] | None
    """``subject_keys`` row, when the first record has personal values."""


@dataclass(slots=True, frozen=True)
class Accept:
    """Keep an event and start what it starts. Answers ``Accepted``."""

    event: TriggerEvent
    receipt: str
    digest: str
    raw: str
    headers: str
    starts: Sequence[StartRow]
    outcome: str

    @property
    def row(self) -> tuple[Any, ...]:
        """The row of ``events``."""
        event = self.event
        return (
            event.source, event.id, self.receipt, event.type, orjson.dumps(event.data).decode(), self.raw,
            self.headers, self.digest, milliseconds(event.time) if event.time else None,
            milliseconds(event.received_at), event.signature, event.trace, self.outcome,
        )  # fmt: skip


@dataclass(slots=True, frozen=True)
class Claim:
    """Take due instances. Answers ``Claims``."""

    owner: str
    now: datetime
    until: datetime
    limit: int


@dataclass(slots=True, frozen=True)
class Renew:
    """Keep leases. Answers the instances that are lost."""

    leases: Sequence[Lease]
    now: datetime
    until: datetime


@dataclass(slots=True, frozen=True)
class Release:
    """Give a lease back without a record. Answers nothing."""

    lease: Lease
    wake_at: datetime | None


@dataclass(slots=True, frozen=True)
class Wake:
    """Make instances due. Answers how many there were."""

    instances: Sequence[str]
    at: datetime


@dataclass(slots=True, frozen=True)
class CatchUp:
    """Read what others appended behind a lease's head. Answers the new records."""

    lease: Lease


@dataclass(slots=True, frozen=True)
class Work:
    """Anything rare, in a transaction of its own. Answers what ``do`` returns."""

    do: Callable[[Backend], Any]
    tells: bool = False
    """Whether engines should look again afterwards."""


Request = Append | AppendOutside | Accept | Claim | Renew | Release | Wake | CatchUp | Work
Stored = Mapping[str, Any]
