"""A business event as it was received and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class TriggerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``source`` and ``id`` are its identity, for ever (CloudEvents 1.0, 3.1).

    ``type`` is ``<connector>.<event>`` such as ``workday.hire_completed``; ``data`` has the
    shape of that event's contract.
    """

    id: str
    source: str
    type: str
    data: Mapping[str, Any]
    time: datetime | None = None
    received_at: datetime
    signature: str = "none"
    """How it was verified: ``standard-webhooks``, ``basic``, ``token`` or ``none``."""
    trace: str | None = None
    """The sender's W3C traceparent, when it sent one."""
    trace_state: str | None = None
    """What it sent beside that as tracestate; it goes on to every system unchanged."""
