"""Decides the trace of an instance and the ids of its spans, and reads and writes W3C trace context.

Ids follow from what they name: every process, and every repetition of an export, gives the same
ones. An instance joins the trace of its trigger when that carried a ``traceparent``, and begins
one of its own otherwise; every call to a system carries one that names the attempt. ``follow``
says which instance the present task works on; the connectors' transport and the log ask ``followed``.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

STATE_LENGTH_MAX: Final = 512
STATE_MEMBERS_MAX: Final = 32
_SHAPE: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CHARACTER: Final = r"[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER: Final = re.compile(rf"[a-z0-9][a-z0-9_\-*/@]{{0,255}}=(?:{_CHARACTER}| ){{0,255}}{_CHARACTER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Which trace, under which span, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def header(self) -> str:
        """Write it as a ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


@dataclass(frozen=True, slots=True)
class Followed:
    """The instance that the present task works on, and the trace context that its trigger carried."""

    instance: str
    incoming: str | None = None
    state: str | None = None


_FOLLOWED: ContextVar[Followed | None] = ContextVar("topstitch_followed", default=None)


def follow(instance: str, incoming: object = None, state: object = None) -> None:
    """Say whom this task, and the tasks it starts from now on, work on."""
    current = _FOLLOWED.get()
    if current is None or current.instance != instance:
        trace = incoming if isinstance(incoming, str) else None
        _FOLLOWED.set(Followed(instance, trace, parse_tracestate(state if isinstance(state, str) else None, trace)))


def followed() -> Followed | None:
    """Return whom this task works on; nothing when it is about no instance."""
    return _FOLLOWED.get()


def parse_traceparent(text: str | None) -> TraceContext | None:
    """Read a ``traceparent``; nothing when it is none, as the recommendation asks: a bad one is ignored."""
    if not text:
        return None
    match = _SHAPE.fullmatch(text.strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if set(match[2]) == {"0"} or set(match[3]) == {"0"}:
        return None
    return TraceContext(trace_id=match[2], span_id=match[3], sampled=bool(int(match[4], 16) & 1))


def parse_tracestate(text: str | None, traceparent: str | None) -> str | None:
    """Read the ``tracestate`` beside a ``traceparent``; nothing when either is none, as the recommendation asks."""
    if not text or len(text) > STATE_LENGTH_MAX or parse_traceparent(traceparent) is None:
        return None
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    names = {member.partition("=")[0] for member in members}
    if not members or len(members) > STATE_MEMBERS_MAX or len(names) < len(members):
        return None
    return ",".join(members) if all(_MEMBER.fullmatch(member) for member in members) else None


@lru_cache(maxsize=4096)
def trace_id_of(instance: str, incoming: str | None = None) -> str:
    """Return the trace of an instance: its trigger's, or the one that follows from its name."""
    context = parse_traceparent(incoming)
    return context.trace_id if context else hashlib.sha256(f"trace\x1f{instance}".encode()).hexdigest()[:32]


def span_id_of(instance: str, *names: str) -> str:
    """Return the id of one span of an instance."""
    return hashlib.sha256("\x1f".join(("span", instance, *names)).encode()).hexdigest()[:16]


def handed_down(instance: str, step: str, incoming: str | None = None) -> TraceContext:
    """Return what an instance that a step starts carries on: the step's span in the instance's trace."""
    context = parse_traceparent(incoming)
    return TraceContext(
        trace_id=trace_id_of(instance, incoming),
        span_id=span_id_of(instance, "step", step, ""),
        sampled=context.sampled if context else True,
    )


def outgoing(instance: str, key: str, attempt: int, incoming: str | None = None) -> TraceContext:
    """Return what a call to a system carries: its attempt's span in the instance's trace. ``key`` is the call's."""
    context = parse_traceparent(incoming)
    return TraceContext(
        trace_id=trace_id_of(instance, incoming),
        span_id=span_id_of(instance, "attempt", key, str(attempt)),
        sampled=context.sampled if context else True,
    )


def header_of(instance: str, key: str, attempt: int, incoming: str | None = None) -> str:
    """Return the ``traceparent`` that a call to a system carries: what ``outgoing`` says, written."""
    begin, end = _around(instance, incoming)
    return f"{begin}{span_id_of(instance, 'attempt', key, str(attempt))}{end}"


@lru_cache(maxsize=4096)
def _around(instance: str, incoming: str | None) -> tuple[str, str]:
    """Return what stands before and behind the span of every header of an instance."""
    begin, _, end = outgoing(instance, "", 0, incoming).header().rpartition(span_id_of(instance, "attempt", "", "0"))
    return begin, end
