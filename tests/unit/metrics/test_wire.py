"""Spans as a collector reads them: what our few bytes mean is what the SDK's own encoder writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from topstitch.metrics.spans import Common, Sort, Span
from topstitch.metrics.wire import KINDS, encode, written

NAMES = {"service.name": "topstitch"}
BEGINS_MS = 1_767_603_600_250
SDK_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}

_texts = st.text(max_size=300)
_ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
_values = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), _texts)


def _attributes(prefix: str) -> st.SearchStrategy[dict[str, Any]]:
    """A key stands once in a span, so that each of the three places has names of its own."""
    return st.dictionaries(st.text(max_size=20).map(lambda name: prefix + name), _values, max_size=3)


@st.composite
def span(draw: st.DrawFn) -> Span:
    return Span(
        common=Common(
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
            trace_state=draw(st.sampled_from(["", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"])),
            attributes=draw(_attributes("c")),
        ),
        sort=Sort(name=draw(_texts), kind=draw(st.sampled_from(sorted(KINDS))), attributes=draw(_attributes("s"))),
        span_id=draw(_ids),
        parent_id=draw(st.none() | _ids),
        begins_ms=BEGINS_MS,
        ends_ms=BEGINS_MS + draw(st.integers(0, 10**9)),
        closed_by=1,
        failed=draw(_texts),
        own=draw(_attributes("o")),
        links=tuple(draw(st.lists(_ids, max_size=2))),
    )


@given(st.lists(span(), min_size=1, max_size=4))
def test_I13_every_span_means_what_the_sdk_s_own_encoder_writes(spans: list[Span]) -> None:
    ours = ExportTraceServiceRequest.FromString(encode(map(written, spans), NAMES))
    theirs = encode_spans([as_sdk(one) for one in spans])
    assert [without_flags(one) for one in spans_of(ours)] == [without_flags(one) for one in spans_of(theirs)]
    assert ours.resource_spans[0].resource == theirs.resource_spans[0].resource


def test_a_remote_parent_and_a_sampled_trace_are_said_in_the_flags() -> None:
    common, sort = Common(trace_id="4bf92f3577b34da6a3ce929d0e0e4736"), Sort(name="x")
    known: dict[str, Any] = {"common": common, "sort": sort, "span_id": "00f067aa0ba902b7", "parent_id": "0" * 16}
    known |= {"begins_ms": BEGINS_MS, "ends_ms": BEGINS_MS, "closed_by": 1}
    near, far = Span(**known), Span(**known, parent_is_remote=True)
    found = spans_of(ExportTraceServiceRequest.FromString(encode([written(near), written(far)], NAMES)))
    assert [one.flags for one in found] == [0x101, 0x301]


def spans_of(request: Any) -> list[Any]:
    return [one for scope in request.resource_spans[0].scope_spans for one in scope.spans]


def without_flags(one: Any) -> Any:
    """The SDK leaves the sampled bit out, which the protocol asks for."""
    one.ClearField("flags")
    for link in one.links:
        link.ClearField("flags")
    return one


def as_sdk(one: Span) -> ReadableSpan:
    state = TraceState.from_header([one.trace_state]) if one.trace_state else None

    def context(name: str) -> SpanContext:
        return SpanContext(int(one.trace_id, 16), int(name, 16), False, TraceFlags(TraceFlags.SAMPLED), state)

    def plain(name: str) -> SpanContext:
        return SpanContext(int(one.trace_id, 16), int(name, 16), False, TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        name=one.name,
        context=context(one.span_id),
        parent=plain(one.parent_id) if one.parent_id else None,
        resource=Resource(NAMES),
        attributes=dict(one.attributes),
        links=[Link(plain(other)) for other in one.links],
        kind=SDK_KINDS[one.sort.kind],
        status=Status(StatusCode.ERROR, one.failed) if one.failed else Status(StatusCode.OK),
        start_time=one.begins_ms * 1_000_000,
        end_time=one.ends_ms * 1_000_000,
    )
