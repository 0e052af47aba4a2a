"""``serve`` measures: a real scrape, a real collector, a signed webhook, the trigger's trace, a log with both ids."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from support.commands import command, environment, ran
from support.world import ONBOARDING
from topstitch.bootstrap.installation import open_installation
from topstitch.cli.simulated import write_connections
from topstitch.foundation.clock import SimulatedClock, SystemClock, stopwatch
from topstitch.foundation.w3c import trace_id_of
from topstitch.metrics.export import CONTENT_TYPE, NAMES
from topstitch.settings import load
from topstitch.simulators.host import Simulators
from topstitch.trigger.accept import accept_made
from topstitch.trigger.cloudevents import CloudEvent
from topstitch.trigger.signatures import verify

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HIRE = {
    "employee_id": "W-100900", "first_name": "Ada", "last_name": "Byron", "department": "IT", "location": "LOC-BER",
    "start_date": "2027-02-01", "manager_id": "W-100010", "cost_center": "CC-1", "job_profile": "IT-OPS",
    "initiated_by": "W-100030",
}  # fmt: skip
SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
SECONDS_MAX = 25.0


class Receiver(HTTPServer):
    """Takes spans and alerts, and keeps both as they came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.alerts: list[tuple[dict[str, str], bytes]] = []
        self.keys: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer, kind = b"", "application/json"
        if self.path == "/v1/traces":
            kind = "application/x-protobuf"
            self.server.keys.add(self.headers.get("x-key"))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
            answer = ExportTraceServiceResponse().SerializeToString()
        else:
            self.server.alerts.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def set_up(folder: Path, receiver: Receiver) -> None:
    (folder / "topstitch.toml").write_text(
        f'watch_seconds = 1\nalert_routes = ["webhook:{receiver.address}/alerts"]\nalert_secret = "file:alert.secret"\n'
        f'otlp_endpoint = "{receiver.address}/v1/traces"\notlp_headers = ["x-key=file:otlp.key"]\n'
        'console_url = "https://topstitch.example"\n'
    )
    (folder / "alert.secret").write_text(SECRET)
    (folder / "otlp.key").write_text("k-1")
    done = ran("publish", str(ONBOARDING), "--data", str(folder))
    assert done.code == 0, done.err


def signed(sims: Simulators) -> tuple[bytes, dict[str, str]]:
    document = sims["workday"].hires.hire({}, notify=False)
    body = json.dumps(document).encode()
    headers = sims["workday"].hires._sign({"id": document["id"]}, body)
    return body, {**headers, "Content-Type": "application/json", "traceparent": PARENT}


async def left_lying(folder: Path, *, minutes: int) -> str:
    """Accept a hire some minutes ago, that no engine has taken up; return its instance."""
    clock = SimulatedClock(SystemClock().now() - timedelta(minutes=minutes))
    event = CloudEvent(id="late", source="/hr", type="workday.hire_completed", data=HIRE)
    async with open_installation(load({"data": str(folder)}, {}), clock=clock) as house:
        return (await accept_made(house.intake, event)).instances[0]


def traces_of(receiver: Receiver) -> set[str]:
    return {span.trace_id.hex() for span in receiver.spans}


async def asked(address: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[Any, bytes]:
    def ask() -> tuple[Any, bytes]:
        request = urllib.request.Request(address, body, headers or {})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.headers, answer.read()

    return await asyncio.to_thread(ask)


async def until(true: Callable[[], bool], process: asyncio.subprocess.Process, what: str) -> None:
    began = stopwatch()
    while not true():
        assert process.returncode is None, f"it ended before {what}"
        assert stopwatch() - began < SECONDS_MAX, f"no {what} within {SECONDS_MAX:.0f} seconds"
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(threading.Event().wait, 0.02))})


async def test_I13_serve_is_scraped_sends_traces_and_tells_alerts_beside_the_engine(tmp_path: Path, receiver: Receiver):
    async with Simulators(clock=SystemClock()) as sims:
        write_connections(tmp_path, sims.facts())
        await asyncio.to_thread(set_up, tmp_path, receiver)
        late = await left_lying(tmp_path, minutes=6)
        process = await asyncio.create_subprocess_exec(
            *command("serve", "--port", "0", "--data", str(tmp_path), "--json", "--log-level", "info"),
            env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        address = json.loads(await process.stdout.readline())["address"]
        _, answer = await asked(f"{address}/hooks/workday", *signed(sims))
        (name,) = json.loads(answer)["instances"]
        await until(lambda: bool(receiver.alerts), process, "alert")
        await until(lambda: {TRACE, trace_id_of(late)} <= traces_of(receiver), process, "trace")
        scraped, text = await asked(f"{address}/metrics")
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, err.decode()
        carried = {
            call["trace"].split("-")[1] for call in sims["entra-id"].records.store.calls("entra-id") if call["trace"]
        }
    assert TRACE in carried
    assert traces_of(receiver) == {TRACE, trace_id_of(late)}
    assert {a.value.string_value for s in receiver.spans for a in s.attributes if a.key == "topstitch.instance"} == {
        late,
        name,
    }
    assert receiver.keys == {"k-1"}
    assert scraped["content-type"] == CONTENT_TYPE
    samples = {s.name: s.labels for f in text_string_to_metric_families(text.decode()) for s in f.samples}
    assert set(samples) <= set(NAMES)
    assert {"workflow", "version", "step", "seam"} <= set(samples["topstitch_handoff_executions"])
    alert_headers, raw = receiver.alerts[0]
    assert verify("standard-webhooks", alert_headers, raw, datetime.now(UTC), SECRET) == "standard-webhooks"
    said = json.loads(raw)
    assert (said["type"], said["data"]["kind"]) == ("alert.opened", "handoff")
    assert said["data"]["link"].startswith("https://topstitch.example/seams/")
    lines = [json.loads(line) for line in err.decode().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] == "error"], lines
    listed = ran("alerts", "list", "--all", "--data", str(tmp_path), "--json").json()["items"]
    assert said["data"]["id"] in {item["id"] for item in listed}


async def test_a_webhook_without_a_secret_is_said_before_anything_starts(tmp_path: Path):
    (tmp_path / "connections.toml").write_text("")
    (tmp_path / "topstitch.toml").write_text('alert_routes = ["webhook:https://hooks.example/x"]\n')
    done = await asyncio.to_thread(ran, "serve", "--port", "0", "--data", str(tmp_path))
    assert done.code == 1
    assert "alert_secret" in done.err
    assert "Traceback" not in done.err
