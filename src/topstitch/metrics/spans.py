"""Decides what the trace of an instance looks like: one trace, built from its journal alone.

The instance is the root span; under it stand its reads, its steps with an attempt for each
try, its approvals, its checks, and every seam as a span of its own, from the moment the work
was ready to the moment it was taken up. A span is complete with the record that closes it, so
that each is exported once. ``Trace`` follows a journal record by record and keeps what is open;
records that no span needs are not even decoded. Personal values never enter a span: ids, names
of the definition and codes only. Pure; ``otlp`` sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson

from topstitch.foundation.w3c import TraceContext, parse_traceparent, parse_tracestate, span_id_of, trace_id_of
from topstitch.model.kinds import Kind
from topstitch.model.record import Record, Stage
from topstitch.store.sealing import milliseconds

Attribute = str | int | bool
SORTS_MAX: Final = 4096
_NONE: Final[Mapping[str, Attribute]] = {}


class Common(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What all spans of one trace have in common."""

    trace_id: str
    trace_state: str = ""
    """What other systems have put into the trace's ``tracestate``."""
    attributes: Mapping[str, Attribute] = _NONE


class Sort(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What the spans of one step, call or seam say alike in every instance; made once and shared."""

    name: str
    kind: str = "internal"
    """``internal``, ``client``, ``consumer``."""
    attributes: Mapping[str, Attribute] = _NONE


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span, with the number of the record that completed it."""

    common: Common
    sort: Sort
    span_id: str
    parent_id: str | None
    parent_is_remote: bool = False
    begins_ms: int
    ends_ms: int
    closed_by: int
    failed: str = ""
    """The code of what went wrong; empty when nothing did."""
    own: Mapping[str, Attribute] = _NONE
    """The attributes that are its alone."""
    links: tuple[str, ...] = ()
    """Spans of the same trace that it follows from."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.sort.name

    @property
    def trace_id(self) -> str:
        """The trace it belongs to."""
        return self.common.trace_id

    @property
    def trace_state(self) -> str:
        """The ``tracestate`` of its trace."""
        return self.common.trace_state

    @property
    def attributes(self) -> Mapping[str, Attribute]:
        """All its attributes, those that others share included."""
        return {**self.common.attributes, **self.sort.attributes, **self.own}


def spans_of(records: Sequence[Record]) -> list[Span]:
    """Return the complete spans of one instance, in the order in which they were completed."""
    trace = Trace(records[0].instance if records else "")
    return [span for record in records for span in trace.take(record.kind, milliseconds(record.at), _json(record))]


def _json(record: Record) -> bytes:
    names = ("seq", "kind", "stage", "step", "body")
    return orjson.dumps({name: getattr(record, name) for name in names})


# --- What is read of a record ---------------------------------------------------------------------


class _Crossing(msgspec.Struct, frozen=True):
    source: str = msgspec.field(name="from")
    from_system: str
    to_system: str
    ready_at: datetime
    net_ms: int
    gross_ms: int


class _Body(msgspec.Struct, frozen=True):
    """What spans say of a record's body, of whichever kind it is; ``Kind`` says what stands where."""

    act: str = ""
    action: str | None = None
    approval: str = ""
    attempt: int | None = None
    check: str = ""
    differing: int | None = None
    duration_ms: int | None = None
    end: str = ""
    ending: str = ""
    event: Any = None
    handoffs: tuple[_Crossing, ...] = ()
    held: bool = False
    key: str | None = None
    name: str = ""
    problem: Any = None
    result: str = "unknown"
    system: str | None = None
    version: str = ""
    workflow: str = ""

    @property
    def code(self) -> str:
        """The code of its problem, if it has one."""
        return str(self.problem.get("code", "")) if isinstance(self.problem, Mapping) else ""


class _Entry(msgspec.Struct, frozen=True):
    seq: int
    kind: str
    stage: str
    step: str | None
    body: _Body


_decode: Final = msgspec.json.Decoder(_Entry).decode


# --- Following a journal --------------------------------------------------------------------------


class Trace:
    """One journal, followed from its first record on."""

    __slots__ = ("_begun", "_common", "_parent", "_root_id", "_steps", "ended", "instance")

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.ended = False
        """Whether the root span is complete; what may still come is rare."""
        self._common = Common(trace_id="")
        self._root_id = ""
        self._parent: TraceContext | None = None
        self._begun: dict[tuple[str, str, int], tuple[_Entry, int]] = {}
        """What has begun and is not over, with its record and the time of that."""
        self._steps: dict[str, tuple[int, str]] = {}
        """The record with which each step began first, and the id of the span that it began."""

    def take(self, kind: str, at_ms: int, text: str | bytes) -> Sequence[Span]:
        """Take the next record, as JSON, and return the spans that it completes."""
        rule = _RULES.get(kind)
        if rule is None or not (self._root_id or kind == Kind.STARTED):
            return ()
        return rule(self, _decode(text), at_ms)

    # --- the instance

    def start(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Join the trigger's trace, or begin one."""
        event = r.body.event if isinstance(r.body.event, Mapping) else {}
        incoming, state = _text(event.get("trace")), _text(event.get("trace_state"))
        self._parent = parse_traceparent(incoming)
        self._root_id = span_id_of(self.instance, "instance")
        self._common = Common(
            trace_id=trace_id_of(self.instance, incoming),
            trace_state=parse_tracestate(state, incoming) or "",
            attributes={
                "topstitch.instance": self.instance,
                "topstitch.workflow": r.body.workflow,
                "topstitch.version": r.body.version,
            },
        )
        return self._begin(("instance", "", 0), r, at_ms)

    def end(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Close the root; an instance that was carried on and ends once more has closed it already."""
        if (begun := self._begun.pop(("instance", "", 0), None)) is None:
            return ()
        self.ended = True
        start, begins_ms = begun
        root = Span(
            common=self._common,
            sort=_instance(start.body.workflow, r.body.end),
            span_id=self._root_id,
            parent_id=self._parent.span_id if self._parent else None,
            parent_is_remote=self._parent is not None,
            begins_ms=begins_ms,
            ends_ms=at_ms,
            closed_by=r.seq,
            failed="" if r.body.end.startswith("completed") else r.body.end,
        )
        return (root,)

    # --- reads, steps, attempts and seams

    def read(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Tell of one read for the context, which is a record when it is over."""
        body = r.body
        key = ("attempt", f"@context/{body.name}/{body.attempt}", "1")
        begins_ms = at_ms - (body.duration_ms or 0)
        return (self._span(r, at_ms, _read(str(body.system), str(body.action)), key, begins_ms, failed=body.code),)

    def begin_step(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Begin a step, unless it has begun."""
        if r.step is None:
            return ()
        if r.step not in self._steps:
            self._steps[r.step] = r.seq, span_id_of(self.instance, "step", r.step, "")
        return self._begin(("step", r.step, 0), r, at_ms)

    def intend(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Begin an attempt, and with a step's own its step; the handoffs into it are over."""
        body, step = r.body, r.step
        if step is not None and _is_own(step, body.act):
            self.begin_step(r, at_ms)
        self._begun["attempt", body.act, body.attempt or 0] = r, at_ms
        return [self._seam(r, at_ms, crossing, step or "") for crossing in body.handoffs]

    def _seam(self, r: _Entry, at_ms: int, crossing: _Crossing, step: str) -> Span:
        source = crossing.source
        return self._span(
            r,
            at_ms,
            _seam(crossing.from_system, crossing.to_system, source, step),
            ("seam", source, step),
            milliseconds(crossing.ready_at),
            own={"topstitch.handoff.net_ms": crossing.net_ms, "topstitch.handoff.gross_ms": crossing.gross_ms},
            links=() if source == "context" else (self._step_id(source),),
        )

    def answer(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Close an attempt; one that a pause has held back was none."""
        act, attempt = r.body.act, r.body.attempt or 0
        if r.body.held or (begun := self._begun.pop(("attempt", act, attempt), None)) is None:
            return ()
        intent, begins_ms = begun
        said, result = intent.body, r.body.result
        span = self._span(
            r,
            at_ms,
            _attempt(r.stage, r.step or "", act, attempt, str(said.system), str(said.action), result),
            ("attempt", said.key or act, str(attempt)),
            begins_ms,
            parent=self._step_id(r.step) if r.step else None,
            failed="" if result == "ok" else r.body.code or result,
            own={"topstitch.idempotency_key": str(said.key)},
        )
        return (span,)

    def settle(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Close a step, if it had begun."""
        step = r.step or ""
        if (begun := self._begun.pop(("step", step, 0), None)) is None:
            return ()
        start, begins_ms = begun
        again = "" if start.seq == self._steps[step][0] else str(start.seq)
        sort = _step(r.stage, step, start.body.system or "topstitch", r.kind)
        failed = "" if r.kind in _DONE else r.kind
        return (self._span(r, at_ms, sort, ("step", step, again), begins_ms, failed=failed),)

    # --- approvals and checks

    def ask(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Begin an approval."""
        return self._begin(("approval", r.body.approval, 0), r, at_ms)

    def decide(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Close an approval."""
        item = r.body.approval
        if (begun := self._begun.pop(("approval", item, 0), None)) is None:
            return ()
        own: dict[str, Attribute] = {"topstitch.approval": item}
        return (self._span(r, at_ms, _approval(r.step, r.body.ending), ("approval", item), begun[1], own=own),)

    def check(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Begin a check."""
        return self._begin(("check", r.body.check, 0), r, at_ms)

    def end_check(self, r: _Entry, at_ms: int) -> Sequence[Span]:
        """Close a check."""
        check, differing = r.body.check, r.body.differing or 0
        if (begun := self._begun.pop(("check", check, 0), None)) is None:
            return ()
        failed = "differs" if differing else ""
        return (self._span(r, at_ms, _check(check, differing), ("check", check), begun[1], failed=failed),)

    # --- what they share

    def _begin(self, what: tuple[str, str, int], r: _Entry, at_ms: int) -> Sequence[Span]:
        self._begun.setdefault(what, (r, at_ms))
        return ()

    def _step_id(self, step: str) -> str:
        """Return the id of the first span of a step, which its attempts stand under and seams follow from."""
        known = self._steps.get(step)
        return known[1] if known else span_id_of(self.instance, "step", step, "")

    def _span(
        self,
        r: _Entry,
        at_ms: int,
        sort: Sort,
        key: tuple[str, ...],
        begins_ms: int,
        parent: str | None = None,
        failed: str = "",
        own: Mapping[str, Attribute] = _NONE,
        links: tuple[str, ...] = (),
    ) -> Span:
        return Span(
            common=self._common,
            sort=sort,
            span_id=span_id_of(self.instance, *key),
            parent_id=parent or self._root_id,
            begins_ms=min(begins_ms, at_ms),
            ends_ms=at_ms,
            closed_by=r.seq,
            failed=failed,
            own=own,
            links=links,
        )


_DONE: Final = frozenset({Kind.STEP_DONE, Kind.STEP_DONE_BY_HAND})
_BY_KIND: Final[Mapping[Kind, Callable[[Trace, _Entry, int], Sequence[Span]]]] = {
    Kind.STARTED: Trace.start,
    Kind.CONTEXT_READ: Trace.read,
    Kind.CONTEXT_FAILED: Trace.read,
    Kind.WAIT_BEGAN: Trace.begin_step,
    Kind.CHILD_STARTED: Trace.begin_step,
    Kind.ACT_INTENT: Trace.intend,
    Kind.ACT_RESULT: Trace.answer,
    Kind.ACT_IN_DOUBT: Trace.answer,
    Kind.STEP_DONE: Trace.settle,
    Kind.STEP_DONE_BY_HAND: Trace.settle,
    Kind.STEP_SKIPPED: Trace.settle,
    Kind.STEP_DECLINED: Trace.settle,
    Kind.STEP_GIVEN_UP: Trace.settle,
    Kind.STEP_NOT_RUN: Trace.settle,
    Kind.APPROVAL_ASKED: Trace.ask,
    Kind.APPROVAL_CLOSED: Trace.decide,
    Kind.CHECK_BEGAN: Trace.check,
    Kind.CHECK_DONE: Trace.end_check,
    Kind.ENDED: Trace.end,
}
_RULES: Final = {kind.value: rule for kind, rule in _BY_KIND.items()}
"""By plain text, which is found faster than a member of an enumeration."""


def _is_own(step: str, act: str) -> bool:
    """Tell a step's own act, or one item's of it, from its undo and its compensation."""
    return act == step or (act.startswith(step + "[") and "/" not in act)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


# --- The sorts of span ----------------------------------------------------------------------------


@lru_cache(SORTS_MAX)
def _instance(workflow: str, end: str) -> Sort:
    return Sort(name=workflow, kind="consumer", attributes={"topstitch.end": end})


@lru_cache(SORTS_MAX)
def _read(system: str, action: str) -> Sort:
    attributes = {"topstitch.stage": Stage.CONTEXT.value, "topstitch.system": system}
    return Sort(name=f"read {system}.{action}", kind="client", attributes=attributes)


@lru_cache(SORTS_MAX)
def _step(stage: str, step: str, system: str, outcome: str) -> Sort:
    about = {"topstitch.stage": stage, "topstitch.step": step}
    about |= {"topstitch.system": system, "topstitch.outcome": outcome}
    return Sort(name=f"step {step}", attributes=about)


@lru_cache(SORTS_MAX)
def _attempt(stage: str, step: str, act: str, attempt: int, system: str, action: str, result: str) -> Sort:
    attributes: dict[str, Attribute] = {
        "topstitch.stage": stage,
        "topstitch.step": step,
        "topstitch.act": act,
        "topstitch.attempt": attempt,
        "topstitch.system": system,
        "topstitch.action": action,
        "topstitch.result": result,
    }
    return Sort(name=f"{system}.{action}", kind="client", attributes=attributes)


@lru_cache(SORTS_MAX)
def _seam(from_system: str, to_system: str, from_step: str, to_step: str) -> Sort:
    seam = f"{from_system} > {to_system}"
    attributes = {"topstitch.seam": seam, "topstitch.from_step": from_step, "topstitch.to_step": to_step}
    return Sort(name=f"seam {seam}", attributes=attributes)


@lru_cache(SORTS_MAX)
def _approval(step: str | None, ending: str) -> Sort:
    return Sort(name=f"approval {step}", attributes={"topstitch.step": step or "", "topstitch.ending": ending})


@lru_cache(SORTS_MAX)
def _check(check: str, differing: int) -> Sort:
    attributes: dict[str, Attribute] = {
        "topstitch.stage": Stage.RECONCILIATION.value,
        "topstitch.differing": differing,
    }
    return Sort(name=f"check {check}", attributes=attributes)
