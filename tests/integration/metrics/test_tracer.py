"""Following journals from memory: whatever memory lacks comes from the database, and every span is sent once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration.metrics.kit import after, keep
from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine
from topstitch.foundation.errors import OperatorError
from topstitch.metrics import otlp
from topstitch.metrics.otlp import export_new
from topstitch.metrics.spans import spans_of
from topstitch.metrics.tracer import Tracer
from topstitch.store import Store, instances, traces
from topstitch.store.database import Backend

NAMES = ("ins_1", "ins_2", "ins_3")
LATER = after(3 * 86_400)


class Taken:
    """A collector in memory, which refuses while it is told to."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.refusing = False

    async def send(self, raw: bytes) -> None:
        self.raw.append(raw)
        if self.refusing:
            raise OperatorError("collector-unreachable", "the collector is away; see that it is up")

    @property
    def spans(self) -> list[str]:
        requests = [ExportTraceServiceRequest.FromString(raw) for raw in self.raw]
        scopes = [scope for request in requests for one in request.resource_spans for scope in one.scope_spans]
        return [span.span_id.hex() for scope in scopes for span in scope.spans]


@pytest.fixture
def read_whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small batches, and the names of the journals that are read whole."""
    read: list[str] = []
    list_journals = traces.list_journals

    async def noted(store: Store, names: Sequence[str], until: int) -> Any:
        read.extend(names)
        return await list_journals(store, names, until)

    monkeypatch.setattr(otlp, "BATCH", 7)
    monkeypatch.setattr(traces, "list_journals", noted)
    return read


async def begin(store: Store) -> set[str]:
    """Write three instances, and return the ids of their spans."""
    engine = PaperEngine(onboarding_plan(), Company().world(), after(0)).begin(HIRE).run()
    for name in NAMES:
        await keep(store, name, engine)
    return {span.span_id for name in NAMES for span in spans_of(await instances.records(store, name))}


async def export_all(store: Store, sink: Taken, *tracers: Tracer | None) -> None:
    """Export until nothing is left, the tracers taking turns as processes do."""
    turn = 0
    while await export_new(store, sink, LATER, tracers[turn % len(tracers)]) is not None:
        turn += 1


async def test_what_is_known_is_not_read_again(store: Store, read_whole: list[str]) -> None:
    expected, sink = await begin(store), Taken()
    await export_all(store, sink, Tracer())
    assert sorted(sink.spans) == sorted(expected)
    assert read_whole == []


async def test_a_process_that_has_just_begun_reads_what_came_before_it(store: Store, read_whole: list[str]) -> None:
    expected, sink = await begin(store), Taken()
    await export_all(store, sink, None)
    assert sorted(sink.spans) == sorted(expected)
    assert set(read_whole) == set(NAMES)


async def test_I13_processes_that_take_turns_send_each_span_once(store: Store, read_whole: list[str]) -> None:
    expected, sink = await begin(store), Taken()
    await export_all(store, sink, Tracer(), Tracer())
    assert sorted(sink.spans) == sorted(expected)
    assert set(read_whole) == set(NAMES)


async def test_a_batch_that_was_refused_is_sent_again_byte_for_byte(store: Store, read_whole: list[str]) -> None:
    expected, sink, tracer = await begin(store), Taken(), Tracer()
    assert await export_new(store, sink, LATER, tracer) is not None
    sink.refusing = True
    for _ in range(2):
        with pytest.raises(OperatorError):
            await export_all(store, sink, tracer)
    assert sink.raw[-1] == sink.raw[-2]
    sink.refusing = False
    del sink.raw[-2:]
    await export_all(store, sink, tracer)
    assert sorted(sink.spans) == sorted(expected)
    assert read_whole


async def test_memory_has_a_bound_and_forgetting_costs_a_read_only(store: Store, read_whole: list[str]) -> None:
    expected, sink, tracer = await begin(store), Taken(), Tracer(traces_max=0)
    await export_all(store, sink, tracer)
    assert sorted(sink.spans) == sorted(expected)
    assert set(read_whole) == set(NAMES)


async def test_a_record_that_was_changed_ends_what_is_sent_of_its_instance(store: Store, read_whole: list[str]) -> None:
    await begin(store)
    sink, tracer = Taken(), Tracer()
    await export_new(store, sink, LATER, tracer)
    before = len(sink.spans)

    def tamper(backend: Backend) -> None:
        backend.execute("UPDATE journal SET body = replace(body, '\"seq\":9,', '\"seq\":9 ,') WHERE instance = 'ins_1'")

    await store.work(tamper)
    await export_all(store, sink, tracer)
    others = {span.span_id for name in NAMES[1:] for span in spans_of(await instances.records(store, name))}
    assert sorted(sink.spans[before:]) == sorted(others)


async def test_a_record_that_comes_late_is_found_with_the_next_one(store: Store, read_whole: list[str]) -> None:
    """On PostgreSQL a record may become visible after the mark has passed it."""
    await begin(store)
    rows = [row for row in await traces.list_written(store, 0, limit=1000) if row[1] == "ins_1"]
    tracer = Tracer()
    tracer.take(rows[:5])
    found, lacking = tracer.take(rows[6:])
    assert (found, lacking) == ([], {"ins_1": set(range(7, len(rows) + 1))})
    late = spans_of(await instances.records(store, "ins_1"))
    assert len(tracer.take_whole(rows, lacking)) == sum(span.closed_by > 6 for span in late)
