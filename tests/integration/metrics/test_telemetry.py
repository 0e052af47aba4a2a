"""Telemetry out: a real collector on a socket that decodes OTLP, and a real scrape."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from integration.metrics.kit import Case, after, finished, keep
from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine
from topstitch.connectors import telling
from topstitch.connectors.connections import Connections
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import OperatorError
from topstitch.metrics import export, watch
from topstitch.metrics.otlp import Otlp, export_new
from topstitch.metrics.spans import spans_of
from topstitch.metrics.watch import Watcher
from topstitch.store import Store, instances
from topstitch.store.database import Backend

PLAN = onboarding_plan()


class Collector(HTTPServer):
    """Takes OTLP over HTTP, and refuses while it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.refusing = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = 400, b""
        if not self.server.refusing:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                self.server.resources.append({a.key: a.value.string_value for a in resource.resource.attributes})
                self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
            status, answer = 200, ExportTraceServiceResponse().SerializeToString()
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest_asyncio.fixture
async def sink(collector: Collector) -> AsyncIterator[Otlp]:
    clock = SimulatedClock()
    posts = telling.Posts(Registry(Connections(), clock), clock, setting="otlp_endpoint", title="the collector")
    yield Otlp(collector.endpoint, posts.post)
    await posts.close()


def onboarded() -> PaperEngine:
    return PaperEngine(PLAN, Company().world(), after(0)).begin(HIRE).run()


async def test_I13_one_trace_for_an_instance_arrives_at_a_collector(
    store: Store, collector: Collector, sink: Otlp
) -> None:
    engine = onboarded()
    await keep(store, "ins_1", engine)
    sent = 0
    while (count := await export_new(store, sink, after(3 * 86_400))) is not None:
        sent += count
    expected = spans_of(await instances.records(store, "ins_1"))
    assert sent == len(expected) == len(collector.spans)
    assert {span.trace_id.hex() for span in collector.spans} == {expected[0].trace_id}
    assert {span.span_id.hex() for span in collector.spans} == {span.span_id for span in expected}
    names = {span.name for span in collector.spans}
    assert {
        "employee-onboarding",
        "step identity",
        "seam entra-id > servicenow",
        "directory.create_user",
        "check T+24h",
    } <= names
    seam = next(span for span in collector.spans if span.name == "seam entra-id > servicenow")
    assert len(seam.links) == 1
    assert collector.resources[0]["service.name"] == "topstitch"
    assert not any(b"Priya" in span.SerializeToString() for span in collector.spans)


async def test_I13_spans_are_sent_as_they_are_completed_and_each_once(
    store: Store, collector: Collector, sink: Otlp
) -> None:
    engine = onboarded()
    await keep(store, "ins_1", engine)
    await keep(store, "ins_2", engine)
    before_the_checks = after(3600)
    assert await export_new(store, sink, before_the_checks)
    assert "employee-onboarding" not in {span.name for span in collector.spans}
    while await export_new(store, sink, after(3 * 86_400)) is not None:
        pass
    ids = [span.span_id for span in collector.spans]
    assert len(ids) == len(set(ids)) == 2 * len(spans_of(await instances.records(store, "ins_1")))


async def test_a_collector_that_is_away_holds_spans_up_and_loses_none(
    store: Store, collector: Collector, sink: Otlp
) -> None:
    await keep(store, "ins_1", onboarded())
    collector.refusing = True
    with pytest.raises(OperatorError, match="nothing is lost"):
        await export_new(store, sink, after(3 * 86_400))
    collector.refusing = False
    assert await export_new(store, sink, after(3 * 86_400)) == len(collector.spans) > 15


async def test_a_journal_that_does_not_verify_does_not_hold_the_others_up(
    store: Store, collector: Collector, sink: Otlp
) -> None:
    await keep(store, "ins_1", onboarded())
    await keep(store, "ins_2", onboarded())

    def tamper(backend: Backend) -> None:
        backend.execute("UPDATE journal SET body = replace(body, 'identity', 'identitY') WHERE instance = 'ins_1'")

    await store.work(tamper)
    assert (await export_new(store, sink, after(3 * 86_400)) or 0) > 15
    instances_seen = {
        a.value.string_value for s in collector.spans for a in s.attributes if a.key == "topstitch.instance"
    }
    assert instances_seen == {"ins_2"}


class _Scraped(BaseHTTPRequestHandler):
    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", export.CONTENT_TYPE)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


async def test_I13_a_scrape_has_the_three_metrics_by_workflow_version_step_and_seam(watcher: Watcher) -> None:
    for n in range(10):
        await finished(watcher.store, f"ins_{n}", after(60 * n), PLAN, fails="equipment" if n == 4 else "")
    await Case(watcher.store, "ins_open", after(700), PLAN).begin()
    await watch.evaluate(watcher, after(700 + 301))
    found = scraped(await export.scrape(watcher, after(700 + 301)))
    labels = {"workflow": "employee-onboarding", "version": "1.0.0"}
    seam = {**labels, "seam": "entra-id > servicenow"}
    step = {**seam, "step": "equipment"}
    assert found["topstitch_step_duration_seconds", frozenset({**step, "quantile": "0.5"}.items())] == 5.0
    assert found["topstitch_step_executions", frozenset(step.items())] == 9
    edge = {**step, "from_step": "identity"}
    assert found["topstitch_handoff_latency_seconds", frozenset({**edge, "quantile": "0.95"}.items())] == 0.04
    assert found["topstitch_seam_exception_ratio", frozenset(seam.items())] == pytest.approx(0.1)
    first = {**labels, "seam": "workday > entra-id", "step": "identity", "from_step": "context"}
    assert found["topstitch_handoff_oldest_pending_seconds", frozenset(first.items())] == 301
    alert = {"workflow": "employee-onboarding", "kind": "handoff", "level": "red"}
    assert found["topstitch_alerts_open", frozenset(alert.items())] == 1
    assert {name for name, _ in found} <= set(export.NAMES)


def scraped(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Serve a text, scrape it over a socket, and read it as Prometheus' own parser does."""
    handler = type("Handler", (_Scraped,), {"text": text.encode()})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/metrics", timeout=10) as answer:
            body = answer.read().decode()
        thread.join()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
