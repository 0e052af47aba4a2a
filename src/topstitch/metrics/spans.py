"""Decides what the trace of an instance looks like: one trace, built from its journal alone.

The instance is the root span; under it stand its reads, its steps with an attempt for each
try, its approvals, its checks, and every seam as a span of its own, from the moment the work
was ready to the moment it was taken up. A span is complete with the record that closes it, so
that each is exported once. Personal values never enter a span: ids, names of the definition and
codes only. Pure; ``otlp`` sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.foundation.timetext import parse_time
from topstitch.foundation.w3c import parse_traceparent, parse_tracestate, span_id_of, trace_id_of
from topstitch.model.kinds import Kind
from topstitch.model.record import Record, Stage

Attribute = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span, with the number of the record that completed it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    parent_is_remote: bool = False
    name: str
    kind: str
    """``internal``, ``client``, ``consumer``."""
    begins: datetime
    ends: datetime
    closed_by: int
    failed: str = ""
    """The code of what went wrong; empty when nothing did."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    """Spans of the same trace that it follows from."""
    trace_state: str = ""
    """What other systems have put into the trace's ``tracestate``."""


def spans_of(records: Sequence[Record]) -> list[Span]:
    """Return the complete spans of one instance, in the order in which they were completed."""
    if not records or records[0].kind != Kind.STARTED:
        return []
    trace = _Trace(records)
    found = [*trace.instance(), *trace.reads(), *trace.steps(), *trace.attempts(), *trace.seams()]
    found += [*trace.approvals(), *trace.checks()]
    return sorted(found, key=lambda span: (span.closed_by, span.name))


_SETTLING: Final = frozenset(
    {
        Kind.STEP_DONE, Kind.STEP_DONE_BY_HAND, Kind.STEP_SKIPPED, Kind.STEP_DECLINED, Kind.STEP_GIVEN_UP,
        Kind.STEP_NOT_RUN,
    }
)  # fmt: skip
_WAITING: Final = frozenset({Kind.WAIT_BEGAN, Kind.CHILD_STARTED})
_ANSWERING: Final = frozenset({Kind.ACT_RESULT, Kind.ACT_IN_DOUBT})


class _Trace:
    """One journal, read for its spans."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        first = records[0]
        self.name = first.instance
        event = first.body.get("event")
        given = event.get("trace") if isinstance(event, Mapping) else None
        incoming = given if isinstance(given, str) else None
        self.context = parse_traceparent(incoming)
        beside = event.get("trace_state") if isinstance(event, Mapping) else None
        self.trace_state = parse_tracestate(beside if isinstance(beside, str) else None, incoming) or ""
        self.trace_id = trace_id_of(self.name, incoming)
        self.root_id = span_id_of(self.name, "instance")
        self.common: dict[str, Attribute] = {
            "topstitch.instance": self.name,
            "topstitch.workflow": str(first.body.get("workflow", "")),
            "topstitch.version": str(first.body.get("version", "")),
        }

    def instance(self) -> Iterator[Span]:
        ended = next((r for r in self.records if r.kind == Kind.ENDED), None)
        if ended is None:
            return
        end = str(ended.body.get("end", ""))
        yield Span(
            trace_id=self.trace_id,
            span_id=self.root_id,
            parent_id=self.context.span_id if self.context else None,
            parent_is_remote=self.context is not None,
            name=str(self.common["topstitch.workflow"]),
            kind="consumer",
            begins=self.records[0].at,
            ends=ended.at,
            closed_by=ended.seq,
            failed="" if end.startswith("completed") else end,
            attributes={**self.common, "topstitch.end": end},
            trace_state=self.trace_state,
        )

    def reads(self) -> Iterator[Span]:
        for record in self._of(Kind.CONTEXT_READ, Kind.CONTEXT_FAILED):
            body = record.body
            took = int(body.get("duration_ms") or 0)
            yield self._span(
                record,
                f"read {body.get('system')}.{body.get('action')}",
                ("attempt", f"@context/{body['name']}/{body.get('attempt')}", "1"),
                begins=_before(record.at, took),
                kind="client",
                failed=_code(body),
                attributes={"topstitch.stage": Stage.CONTEXT.value, "topstitch.system": str(body.get("system"))},
            )

    def steps(self) -> Iterator[Span]:
        begun: dict[str, Record] = {}
        for record in self.records:
            step = record.step
            if step is None:
                continue
            if record.kind in _WAITING or (record.kind == Kind.ACT_INTENT and _is_own(step, record.body["act"])):
                begun.setdefault(step, record)
            elif record.kind in _SETTLING and step in begun:
                start = begun.pop(step)
                done = record.kind in (Kind.STEP_DONE, Kind.STEP_DONE_BY_HAND)
                yield self._span(
                    record,
                    f"step {step}",
                    ("step", step, str(start.seq) if start.seq != self._first_intent(step) else ""),
                    begins=start.at,
                    failed="" if done else record.kind,
                    attributes={
                        "topstitch.stage": record.stage.value,
                        "topstitch.step": step,
                        "topstitch.system": str(start.body.get("system", "topstitch")),
                        "topstitch.outcome": record.kind,
                    },
                )

    def attempts(self) -> Iterator[Span]:
        sent: dict[tuple[str, int], Record] = {}
        for record in self.records:
            body = record.body
            if record.kind == Kind.ACT_INTENT:
                sent[str(body["act"]), int(body["attempt"])] = record
            elif record.kind in _ANSWERING and not body.get("held"):
                act, attempt = str(body["act"]), int(body["attempt"])
                intent = sent.pop((act, attempt), None)
                if intent is not None:
                    yield self._attempt(record, intent, act, attempt)

    def _attempt(self, record: Record, intent: Record, act: str, attempt: int) -> Span:
        body, step = intent.body, record.step
        result = str(record.body.get("result", "unknown"))
        return self._span(
            record,
            f"{body.get('system')}.{body.get('action')}",
            ("attempt", str(body.get("key") or act), str(attempt)),
            begins=intent.at,
            kind="client",
            parent=span_id_of(self.name, "step", step, "") if step else None,
            failed="" if result == "ok" else _code(record.body) or result,
            attributes={
                "topstitch.stage": record.stage.value,
                "topstitch.step": step or "",
                "topstitch.act": act,
                "topstitch.attempt": attempt,
                "topstitch.system": str(body.get("system")),
                "topstitch.action": str(body.get("action")),
                "topstitch.idempotency_key": str(body.get("key")),
                "topstitch.result": result,
            },
        )

    def seams(self) -> Iterator[Span]:
        for record in self._of(Kind.ACT_INTENT):
            for crossing in record.body.get("handoffs") or ():
                name = f"{crossing['from_system']} > {crossing['to_system']}"
                source, step = str(crossing["from"]), record.step or ""
                yield self._span(
                    record,
                    f"seam {name}",
                    ("seam", source, step),
                    begins=parse_time(crossing["ready_at"]),
                    attributes={
                        "topstitch.seam": name,
                        "topstitch.from_step": source,
                        "topstitch.to_step": step,
                        "topstitch.handoff.net_ms": int(crossing["net_ms"]),
                        "topstitch.handoff.gross_ms": int(crossing["gross_ms"]),
                    },
                    links=() if source == "context" else (span_id_of(self.name, "step", source, ""),),
                )

    def approvals(self) -> Iterator[Span]:
        asked: dict[str, Record] = {}
        for record in self.records:
            item = str(record.body.get("approval", ""))
            if record.kind == Kind.APPROVAL_ASKED:
                asked[item] = record
            elif record.kind == Kind.APPROVAL_CLOSED and item in asked:
                attributes: dict[str, Attribute] = {"topstitch.step": record.step or "", "topstitch.approval": item}
                attributes["topstitch.ending"] = str(record.body.get("ending", ""))
                begins = asked.pop(item).at
                yield self._span(record, f"approval {record.step}", ("approval", item), begins, attributes=attributes)

    def checks(self) -> Iterator[Span]:
        began: dict[str, Record] = {}
        for record in self.records:
            check = str(record.body.get("check", ""))
            if record.kind == Kind.CHECK_BEGAN:
                began[check] = record
            elif record.kind == Kind.CHECK_DONE and check in began:
                differing = int(record.body.get("differing") or 0)
                yield self._span(
                    record,
                    f"check {check}",
                    ("check", check),
                    began.pop(check).at,
                    failed="differs" if differing else "",
                    attributes={"topstitch.stage": Stage.RECONCILIATION.value, "topstitch.differing": differing},
                )

    def _span(
        self,
        record: Record,
        name: str,
        key: tuple[str, ...],
        begins: datetime,
        kind: str = "internal",
        parent: str | None = None,
        failed: str = "",
        attributes: Mapping[str, Attribute] | None = None,
        links: tuple[str, ...] = (),
    ) -> Span:
        return Span(
            trace_id=self.trace_id,
            span_id=span_id_of(self.name, *key),
            parent_id=parent or self.root_id,
            name=name,
            kind=kind,
            begins=min(begins, record.at),
            ends=record.at,
            closed_by=record.seq,
            failed=failed,
            attributes={**self.common, **(attributes or {})},
            links=links,
            trace_state=self.trace_state,
        )

    def _of(self, *kinds: str) -> Iterable[Record]:
        return (record for record in self.records if record.kind in kinds)

    def _first_intent(self, step: str) -> int:
        return next(
            r.seq
            for r in self.records
            if r.step == step and (r.kind in _WAITING or (r.kind == Kind.ACT_INTENT and _is_own(step, r.body["act"])))
        )


def _is_own(step: str, act: Any) -> bool:
    """Tell a step's own act, or one item's of it, from its undo and its compensation."""
    return act == step or (str(act).startswith(step + "[") and "/" not in str(act))


def _code(body: Mapping[str, Any]) -> str:
    problem = body.get("problem")
    return str(problem.get("code", "")) if isinstance(problem, Mapping) else ""


def _before(moment: datetime, ms: int) -> datetime:
    return moment - timedelta(milliseconds=ms)
