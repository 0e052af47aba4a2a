"""What ``decide`` may ask for, and what comes back.

Orders hold records to append and calls to make once they are committed. A call's ``key``
names it within its instance: the engine never has two calls of one key under way, so a
pure function may ask for an open call again and again. Every call ends in an outcome; an
outcome is a value, never an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from topstitch.model.record import Draft


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What releases a write: which decision, by whom, for exactly which payload."""

    decision: str
    """``auto``, an approval's id, or ``declared`` (an undo or compensation written down before launch)."""
    by: str
    payload_digest: str


class ReadCall(msgspec.Struct, frozen=True, kw_only=True, tag="read"):
    """Read a system. Carried out on a handle that has no write methods."""

    key: str
    system: str
    action: str
    params: Mapping[str, Any]
    timeout_seconds: float = 30


class LookUpCall(msgspec.Struct, frozen=True, kw_only=True, tag="look_up"):
    """Ask whether a write happened: ``value`` of the outcome is the write's output, or null."""

    key: str
    system: str
    action: str
    """The write action whose declared look-up is to be used."""
    params: Mapping[str, Any]
    idempotency_key: str
    timeout_seconds: float = 30


class WriteCall(msgspec.Struct, frozen=True, kw_only=True, tag="write"):
    """Change a system. Its intent is in the journal before it is sent."""

    key: str
    system: str
    action: str
    params: Mapping[str, Any]
    idempotency_key: str
    attempt: int
    grant: Grant
    instance: str
    provable: bool = False
    """Whether the system can be asked if it happened, or does no harm when sent again: then its answer may be
    recorded together with what follows from it, for it could be found out anew."""
    timeout_seconds: float = 30


class ResolveCall(msgspec.Struct, frozen=True, kw_only=True, tag="resolve"):
    """Turn ``manager_of(subject)``, ``group:x``, ``role:x``, ``owner``, ``requester`` into people.

    The outcome's value is ``{"people": [{"id", "name", "email", "for": <who>}], "excluded": [{"person", "why"}]}``.
    """

    key: str
    who: tuple[str, ...]
    subject: str | None
    requester: str | None
    owner: Mapping[str, Any]
    exclude: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    """Who is not there, and has nobody who stands in."""


class TellCall(msgspec.Struct, frozen=True, kw_only=True, tag="tell"):
    """Send a person a notice. ``who`` as in ``ResolveCall``; people are found when it is sent."""

    key: str
    who: tuple[str, ...]
    subject: str | None
    requester: str | None
    owner: Mapping[str, Any]
    people: tuple[Mapping[str, Any], ...] = ()
    """Already resolved people, when there are any; then ``who`` is only for the record."""
    notice: Mapping[str, Any] = {}
    """``{"kind", "title", "text", "link"}``."""


class StartCall(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Start an instance of another workflow; the outcome's value is ``{"instance": id}``."""

    key: str
    workflow: str
    data: Mapping[str, Any]
    parent: str
    parent_step: str
    idempotency_key: str


class InboxCall(msgspec.Struct, frozen=True, kw_only=True, tag="inbox"):
    """Search the events already received for one of a kind; the value is ``{"events": [{"event", "data"}]}``."""

    key: str
    event_type: str
    since: datetime


class ReportCall(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """Tell the instance that called this one how it ended."""

    key: str
    parent: str
    parent_step: str
    body: Mapping[str, Any]


class DriftCall(msgspec.Struct, frozen=True, kw_only=True, tag="drift"):
    """Count the instances that show the same difference; the value is ``{"same": n, "of": n}``."""

    key: str
    workflow: str
    record: str
    field: str
    since: datetime


Call = ReadCall | LookUpCall | WriteCall | ResolveCall | TellCall | StartCall | InboxCall | ReportCall | DriftCall


class Result(StrEnum):
    """How a call ended."""

    OK = "ok"
    """Done; ``value`` holds the output."""
    REFUSED = "refused"
    """The system says it did nothing, and never will as it stands."""
    TRANSIENT = "transient"
    """Nothing was done; try again."""
    CHANGED = "changed"
    """The key is taken or the record moved on: look, then decide."""
    UNKNOWN = "unknown"
    """Sent, and no answer that tells."""
    CREDENTIAL = "credential"
    """The connection itself is refused."""
    HELD = "held"
    """Not sent: the connection or the seam is paused. It counts as no attempt."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What a system said of a failure, redacted."""

    code: str
    message: str
    status: int | None = None
    request_id: str | None = None
    body: str | None = None
    retry_after_seconds: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call.

    ``found`` is true when a write found its thing already there before our first try: what
    was only found is never undone. ``record`` is the system's own id of the thing, ``request``
    the request as sent, redacted. Durations are milliseconds on the machine's own clock.
    """

    result: Result
    value: Any = None
    found: bool = False
    record: str | None = None
    url: str | None = None
    problem: Problem | None = None
    request: Mapping[str, Any] | None = None
    duration_ms: int = 0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What one activation asks for: append these, then make these calls; else come back at ``wake_at``."""

    records: tuple[Draft, ...] = ()
    calls: tuple[Call, ...] = ()
    wake_at: datetime | None = None
    ended: bool = False
    state: Any = None
    """The state after ``records``, for a caller that would otherwise fold them again."""
