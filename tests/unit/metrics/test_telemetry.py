"""Trace context, spans from a journal, and what a log line never says."""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, transient
from topstitch.cli.logs import formatter
from topstitch.connectors.contract import CallContext
from topstitch.foundation.w3c import (
    follow,
    outgoing,
    parse_traceparent,
    parse_tracestate,
    span_id_of,
    trace_id_of,
)
from topstitch.metrics import logs
from topstitch.metrics.export import NAMES
from topstitch.metrics.spans import Span, spans_of
from unit.metrics.test_time_split import records_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_I13_w3c_context_is_accepted_and_handed_on() -> None:
    found = parse_traceparent(PARENT)
    assert found is not None
    assert found.header() == PARENT
    assert trace_id_of("ins_1", PARENT) == found.trace_id
    out = outgoing("ins_1", "identity", 2, PARENT)
    assert (out.trace_id, out.span_id) == (found.trace_id, span_id_of("ins_1", "attempt", "identity", "2"))
    assert parse_traceparent(out.header()) == out


@pytest.mark.parametrize(
    "bad",
    [
        None, "", "nonsense", PARENT[:-1], PARENT.upper(), "ff" + PARENT[2:], PARENT + "-more",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_a_bad_traceparent_is_ignored(bad: str | None) -> None:
    assert parse_traceparent(bad) is None
    assert trace_id_of("ins_1", bad) == trace_id_of("ins_1")


def test_a_later_version_of_the_header_may_say_more() -> None:
    assert parse_traceparent("01" + PARENT[2:] + "-more") is not None


def test_an_unsampled_trigger_stays_unsampled() -> None:
    assert outgoing("ins_1", "identity", 1, PARENT[:-1] + "0").header().endswith("-00")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" rojo=1 ,, fw529a3039@dt=FfF w ,", "rojo=1,fw529a3039@dt=FfF w"),
        (None, None), ("", None), ("rojo", None), ("Rojo=1", None), ("rojo=1,rojo=2", None), ("rojo=a=b", None),
        (",".join(f"v{n}=1" for n in range(33)), None), ("v=" + "x" * 511, None),
    ],
)  # fmt: skip
def test_I13_a_tracestate_is_kept_as_it_came_or_not_at_all(text: str | None, kept: str | None) -> None:
    assert parse_tracestate(text, PARENT) == kept
    assert parse_tracestate(text, "nonsense") is None


def test_I13_a_tracestate_goes_out_with_the_traceparent_and_only_for_its_instance() -> None:
    def sent(instance: str) -> tuple[str | None, str | None]:
        follow("ins_1", PARENT, "rojo=1")
        call = CallContext(key="identity", instance=instance)
        return call.traceparent, call.tracestate

    mine, state = contextvars.copy_context().run(sent, "ins_1")
    assert (state, mine and mine.split("-")[1]) == ("rojo=1", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert contextvars.copy_context().run(sent, "ins_2")[1] is None


def onboarding(**world: Any) -> list[Span]:
    engine = PaperEngine(onboarding_plan(), Company().world(**world)).begin(HIRE).run()
    return spans_of(records_of(engine))


def test_I13_one_trace_with_a_span_for_each_step_attempt_and_seam() -> None:
    spans = onboarding(itsm__create_catalog_request=[transient(), transient(), Company()._order])
    assert len({span.trace_id for span in spans}) == 1
    assert len({span.span_id for span in spans}) == len(spans)
    (root,) = [span for span in spans if span.parent_id is None]
    assert root.name == "employee-onboarding"
    by_id = {span.span_id for span in spans}
    assert all(span.parent_id in by_id for span in spans if span is not root)
    names = [span.name for span in spans]
    assert {"seam workday > entra-id", "seam entra-id > servicenow", "step identity", "step equipment"} <= set(names)
    tries = [span for span in spans if span.attributes.get("topstitch.act") == "equipment"]
    assert [(span.attributes["topstitch.attempt"], span.failed) for span in tries] == [
        (1, "http-503"),
        (2, "http-503"),
        (3, ""),
    ]
    step = next(span for span in spans if span.name == "step equipment")
    assert {span.parent_id for span in tries} == {step.span_id}
    assert all(span.begins_ms <= span.ends_ms for span in spans)


def test_I13_the_seam_is_a_span_of_its_own_that_follows_from_the_step_before() -> None:
    spans = onboarding()
    seam = next(span for span in spans if span.name == "seam entra-id > slack")
    before = next(span for span in spans if span.name == "step identity")
    assert seam.links == (before.span_id,)
    assert seam.begins_ms == before.ends_ms
    assert seam.attributes["topstitch.handoff.net_ms"] == 0


def test_G04_no_personal_value_enters_a_span() -> None:
    said = repr([(span.name, span.attributes, span.failed) for span in onboarding()])
    for value in ("Priya", "Raman", "omar@acme.example", "W-104233", "enrol.example"):
        assert value not in said


def test_each_span_is_closed_by_one_record() -> None:
    spans = onboarding()
    assert all(span.closed_by > 0 for span in spans)
    assert [span.closed_by for span in spans] == sorted(span.closed_by for span in spans)


def test_nothing_comes_of_an_empty_journal() -> None:
    assert spans_of([]) == []


def test_I13_log_lines_carry_instance_and_trace_while_an_instance_is_worked_on() -> None:
    def at_work() -> tuple[MutableMapping[str, Any], MutableMapping[str, Any]]:
        follow("ins_1", PARENT)
        first = logs.named(None, "info", {"event": "x"})
        follow("ins_2")
        return first, logs.named(None, "info", {"event": "x"})

    joined, own = contextvars.copy_context().run(at_work)
    assert (joined["instance"], joined["trace_id"]) == ("ins_1", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert (own["instance"], own["trace_id"]) == ("ins_2", trace_id_of("ins_2"))
    assert "instance" not in logs.named(None, "info", {"event": "x"})


def test_I13_a_line_of_the_log_is_json_with_the_trace_and_without_secrets() -> None:
    def at_work() -> str:
        follow("ins_1", PARENT)
        words = ("sent %s", ("Bearer hunter2hunter2",))
        record = logging.LogRecord("topstitch.x", logging.WARNING, "x.py", 1, *words, None)
        return formatter(terminal=False).format(record)

    line = json.loads(contextvars.copy_context().run(at_work))
    assert (line["level"], line["logger"], line["instance"]) == ("warning", "topstitch.x", "ins_1")
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["event"] == "sent [redacted]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"), ("headers", {"Authorization": "Bearer abcdefghijk"}), ("api_key", "k"),
        ("url", "postgresql://ada:hunter2@db/x"), ("said", "token=hunter2 given"), ("list", [{"secret": "hunter2"}]),
        ("event", "sent Bearer hunter2hunter2 there"), ("email", "hunter2@x"), ("first_name", "hunter2"),
        ("jwt", "eyJhunter2x.eyJhunter2y.sig"), ("slack", "xoxb-hunter2hunter2"), ("payload", {"a": "hunter2"}),
    ],
)  # fmt: skip
def test_G04_secrets_and_personal_data_never_reach_the_log(name: str, value: object) -> None:
    found = repr(logs.redact(None, "info", {name: value}))
    assert "hunter2" not in found
    assert "abcdefghijk" not in found


def test_what_is_no_secret_stays() -> None:
    entry = {"event": "step done", "instance": "ins_1", "step": "identity", "attempt": 2, "ok": True, "nothing": None}
    assert logs.redact(None, "info", dict(entry)) == entry


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/metrics.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `topstitch_")}
    assert set(documented) == set(NAMES)
    assert all(meaning in documented[name] for name, meaning in NAMES.items())
