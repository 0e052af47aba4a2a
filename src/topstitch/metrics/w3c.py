"""Decides the trace of an instance and the ids of its spans, and reads and writes W3C trace context.

Ids follow from what they name: every process, and every repetition of an export, gives the same
ones. An instance joins the trace of its trigger when that carried a ``traceparent``, and begins
one of its own otherwise; every call to a system carries one that names the attempt. Pure.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_SHAPE: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Which trace, under which span, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def header(self) -> str:
        """Write it as a ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: str | None) -> TraceContext | None:
    """Read a ``traceparent``; nothing when it is none, as the recommendation asks: a bad one is ignored."""
    match = _SHAPE.fullmatch((text or "").strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if set(match[2]) == {"0"} or set(match[3]) == {"0"}:
        return None
    return TraceContext(trace_id=match[2], span_id=match[3], sampled=bool(int(match[4], 16) & 1))


def trace_id_of(instance: str, incoming: str | None = None) -> str:
    """Return the trace of an instance: its trigger's, or the one that follows from its name."""
    context = parse_traceparent(incoming)
    return context.trace_id if context else _digest("trace", instance)[:32]


def span_id_of(instance: str, *names: str) -> str:
    """Return the id of one span of an instance."""
    return _digest("span", instance, *names)[:16]


def outgoing(instance: str, key: str, attempt: int, incoming: str | None = None) -> TraceContext:
    """Return what a call to a system carries: its attempt's span in the instance's trace."""
    context = parse_traceparent(incoming)
    return TraceContext(
        trace_id=trace_id_of(instance, incoming),
        span_id=span_id_of(instance, "attempt", key, str(attempt)),
        sampled=context.sampled if context else True,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
