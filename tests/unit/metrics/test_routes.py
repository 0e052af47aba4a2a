"""Alerts as they are worded for mail, chat, webhooks and tickets."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import NotAllowedError, OperatorError
from topstitch.metrics.routes import Payload, Route, RouteKind, document, lines, payload_of, tells
from topstitch.store.alarms import AlertRow, Message
from topstitch.trigger.signatures import verify

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()
ALERT = AlertRow(
    id="alr_1", cause="handoff|w|a > b", kind="handoff", level="red", status="open", workflow="employee-onboarding",
    version="1.0.0", step="equipment", from_system="entra-id", to_system="servicenow", since_ms=1_767_600_000_000,
    opened_ms=1_767_600_300_000, changed_ms=1_767_600_300_000,
    body={
        "title": "Work lies <here>", "text": "3 handoffs", "diagnosis": "orchestrator: see that an engine is up",
        "owner": {"team": "people-operations", "page": "people-ops-oncall"},
        "worst": [{"instance": "ins_1", "text": "6 m"}],
    },
)  # fmt: skip


def made(kind: RouteKind, event: str = "opened") -> Payload:
    route = Route(name="r", kind=kind, to="there", secret=SECRET, console="https://console.example")
    body = tells({"r": route})["r"].text(ALERT, event, "msg_1", 1_767_600_300_000)
    return payload_of(route, message(body), NOW)


def message(body: str) -> Message:
    return Message(id="msg_1", alert="alr_1", event="opened", route="r", body=body, made_ms=0)


def test_an_alert_says_what_where_since_when_and_whose_fault_it_looks_like() -> None:
    said = "\n".join(lines(ALERT, "opened"))
    for part in (
        "Workflow: employee-onboarding 1.0.0", "Seam: entra-id > servicenow, step equipment",
        "Since: 2026-01-05T08:00:00.000Z", "Looks like: orchestrator", "Worst: ins_1 (6 m)", "people-ops-oncall",
    ):  # fmt: skip
        assert part in said


def test_a_mail() -> None:
    mail = made(RouteKind.EMAIL).body
    assert mail["subject"] == "[topstitch] Work lies <here>"
    assert "https://console.example/seams/entra-id/servicenow" in mail["text"]
    assert made(RouteKind.EMAIL, "cleared").body["subject"] == "[topstitch] Over: Work lies <here>"


def test_a_chat_message_escapes_what_it_quotes() -> None:
    chat = made(RouteKind.SLACK).body
    assert chat["blocks"][0]["text"]["text"] == "Work lies <here>"
    assert "Seam: entra-id &gt; servicenow" in chat["blocks"][1]["text"]["text"]


def test_a_webhook_is_signed_as_standard_webhooks_ask() -> None:
    payload = made(RouteKind.WEBHOOK)
    headers = {name.lower(): value for name, value in payload.headers.items()}
    assert verify("standard-webhooks", headers, payload.raw, NOW, SECRET) == "standard-webhooks"
    with pytest.raises(NotAllowedError):
        verify("standard-webhooks", headers, payload.raw + b" ", NOW, SECRET)
    sent = parse(payload.raw)
    assert (sent["type"], sent["timestamp"], sent["data"]["id"]) == (
        "alert.opened",
        "2026-01-05T08:05:00.000Z",
        "alr_1",
    )
    assert sent["data"]["seam"] == {"from_system": "entra-id", "to_system": "servicenow"}


def test_a_secret_that_is_none_is_an_operator_s_error() -> None:
    with pytest.raises(OperatorError, match="whsec_"):
        payload_of(Route(name="r", kind=RouteKind.WEBHOOK, to="x", secret="?"), message("{}"), NOW)


def test_a_ticket_carries_the_alert_s_id_so_that_it_stays_one() -> None:
    ticket = made(RouteKind.TICKET).body
    assert (ticket["process"], ticket["severity"], ticket["closed"]) == ("alr_1", "high", False)
    assert made(RouteKind.TICKET, "cleared").body["closed"] is True


def test_an_alert_as_data_has_times_as_text() -> None:
    found = document(ALERT)
    assert (found["since"], found["cleared_at"]) == ("2026-01-05T08:00:00.000Z", None)
