"""Sends spans to an OpenTelemetry collector, each once, as soon as its last record is in the journal.

``export_new`` follows the journal by a mark of its own; a collector that is away holds it up and
loses nothing. Ids follow from the records, so that a batch that is sent twice is the same batch.
OTLP over HTTP, by the SDK's own exporter, in a thread. It reads journals and writes only its mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import OperatorError
from topstitch.foundation.timetext import parse_time
from topstitch.metrics.spans import Span, spans_of
from topstitch.store import Store, instances, rollups, traces
from topstitch.store.database import is_postgres
from topstitch.store.instances import StoredRecord
from topstitch.store.ledger import INSTALLATION
from topstitch.store.sealing import milliseconds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

TRACED_MARK: Final = "measures_traced_position"
BATCH: Final = 5000
"""How many records one turn follows."""
SETTLE_SECONDS: Final = 5
"""On PostgreSQL, where a later position may commit before an earlier one, records are followed once they are so old."""
TIMEOUT_SECONDS: Final = 10.0


class SpanSink(Protocol):
    """Where spans go."""

    def send(self, spans: Sequence[Span]) -> None:
        """Send them, or raise ``OperatorError``."""


class Otlp:
    """A collector that takes OTLP over HTTP."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str] | None = None, resource: str = "topstitch") -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 -- 200 ms
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

        self.endpoint = endpoint
        self._resource = Resource({"service.name": resource})
        self._exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers or {}), timeout=TIMEOUT_SECONDS)

    def send(self, spans: Sequence[Span]) -> None:
        """Send spans and wait for the collector's answer."""
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

        result = self._exporter.export([readable(span, self._resource) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise OperatorError(
                "collector-unreachable",
                f"the collector at {self.endpoint} did not take {len(spans)} spans; see that it is up and the "
                "address is right; nothing is lost meanwhile",
            )

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


async def export_new(store: Store, sink: SpanSink, now: datetime) -> int:
    """Send the spans that were completed since the last time; return how many. Call until it returns 0."""
    mark = await rollups.mark(store, TRACED_MARK)
    stored = await instances.stored_records(store, after_position=mark, limit=BATCH)
    records = _settled(stored, now - timedelta(seconds=SETTLE_SECONDS if is_postgres(store.url) else 0))
    if not records:
        return 0
    seqs: dict[str, set[int]] = {}
    for record in records:
        if record.instance != INSTALLATION:
            seqs.setdefault(record.instance, set()).add(record.seq)
    journals = await traces.list_journals(store, sorted(seqs))
    spans = [span for name, those in journals.items() for span in spans_of(those) if span.closed_by in seqs[name]]
    if spans:
        await asyncio.to_thread(sink.send, spans)
    await rollups.set_mark(store, TRACED_MARK, records[-1].position)
    return len(spans)


def _settled(records: Sequence[StoredRecord], until: datetime) -> Sequence[StoredRecord]:
    for number, record in enumerate(records):
        if parse_time(str(parse(record.body)["at"])) > until:
            return records[:number]
    return records


def readable(span: Span, resource: Any) -> ReadableSpan:
    """Return a span as the SDK's exporter takes it."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode  # noqa: PLC0415

    kinds = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, remote=False),
        parent=_context(span.trace_id, span.parent_id, remote=span.parent_is_remote) if span.parent_id else None,
        resource=resource,
        attributes=dict(span.attributes),
        links=[Link(_context(span.trace_id, other, remote=False)) for other in span.links],
        kind=kinds[span.kind],
        status=Status(StatusCode.ERROR, span.failed) if span.failed else Status(StatusCode.OK),
        start_time=milliseconds(span.begins) * 1_000_000,
        end_time=milliseconds(span.ends) * 1_000_000,
    )


def _context(trace_id: str, span_id: str, *, remote: bool) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
