"""Decides how an alert is worded for each place that hears of it: mail, chat, webhook, ticket.

Every builder is pure and returns what a sender needs, as data. A webhook is signed as Standard
Webhooks ask when it is sent, so that a late retry carries a fresh time and an old secret may be
replaced. ``watch.deliver`` hands the payloads to a ``Sender``; this file opens no connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from urllib.parse import quote

from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.foundation.errors import OperatorError
from topstitch.foundation.timetext import duration_text, rfc3339
from topstitch.metrics.alerts import Kind, Tell
from topstitch.store.alarms import AlertRow, Message
from topstitch.store.sealing import moment

EVENT_WORDS: Final = {"opened": "", "raised": "Worse: ", "cleared": "Over: "}
SEVERITIES: Final = {"crossed": "low", "at_risk": "medium", "red": "high", "paging": "high", "breached": "high"}


class RouteKind(StrEnum):
    """What sort of place hears of alerts."""

    EMAIL = "email"
    """A mailbox."""
    SLACK = "slack"
    """A channel."""
    WEBHOOK = "webhook"
    """An address that takes signed posts."""
    TICKET = "ticket"
    """The ITSM, one ticket for each alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One place that hears of alerts."""

    name: str
    kind: RouteKind
    to: str
    """An address or ``owner``, a channel, or a URL; nothing for the ITSM."""
    through: str = ""
    """The alias of the connection that carries it; empty where only one can."""
    secret: str = ""
    """``whsec_...``, for a webhook."""
    console: str = ""
    """Where the console is, for links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a sender sends."""

    kind: RouteKind
    to: str
    alert: str
    """The alert it is about."""
    message: str
    """The message's id: the same for every try."""
    through: str = ""
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    """The exact bytes of a webhook, which are signed."""


class Sender(Protocol):
    """What carries payloads out: the doors bring one, with real connections behind it."""

    async def send(self, payload: Payload) -> None:
        """Send it, or raise ``TopstitchError``; a payload sent twice has the same message id."""


def tells(routes: Mapping[str, Route]) -> dict[str, Tell]:
    """Return how each route words its messages."""
    return {name: Tell(word=_worder(route)) for name, route in routes.items()}


def payload_of(route: Route, message: Message, now: datetime) -> Payload:
    """Return what is sent now for a message that was worded when the alert changed."""
    document: Mapping[str, Any] = parse(message.body)
    made = Payload(
        kind=route.kind,
        to=route.to,
        alert=message.alert,
        message=message.id,
        through=route.through,
        body=document,
    )
    if route.kind is not RouteKind.WEBHOOK:
        return made
    raw = canonical_bytes(document)
    return replace(made, headers=sign_webhook(route.secret, message.id, raw, now), raw=raw)


def sign_webhook(secret: str, message: str, raw: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of a post by Standard Webhooks: id, time, and HMAC-SHA256 of both and the bytes."""
    stamp = str(int(now.timestamp()))
    digest = hmac.new(_key(secret), f"{message}.{stamp}.".encode() + raw, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


# --- Wording --------------------------------------------------------------------------------------


def email_body(alert: AlertRow, event: str, console: str = "") -> dict[str, Any]:
    """Return subject and text of a mail, and whose workflow it is about."""
    return {
        "subject": f"[topstitch] {headline(alert, event)}",
        "text": "\n".join(lines(alert, event, console)),
        "owner": dict(alert.body.get("owner") or {}),
    }


def slack_body(alert: AlertRow, event: str, console: str = "") -> dict[str, Any]:
    """Return a message in blocks, with a plain text for notifications."""
    head, *rest = lines(alert, event, console)
    return {
        "text": _escaped(headline(alert, event)),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": head[:150]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(_escaped(line) for line in rest)[:2900]}},
        ],
    }


def webhook_body(alert: AlertRow, event: str, now_ms: int, console: str = "") -> dict[str, Any]:
    """Return an event for a machine, in the shape Standard Webhooks recommend."""
    return {"type": f"alert.{event}", "timestamp": rfc3339(moment(now_ms)), "data": document(alert, console)}


def ticket_body(alert: AlertRow, event: str, console: str = "") -> dict[str, Any]:
    """Return what an exception ticket says; the alert's id keeps it one ticket."""
    return {
        "process": alert.id,
        "summary": headline(alert, event),
        "severity": SEVERITIES[alert.level],
        "detail": "\n".join(lines(alert, event, console)),
        "closed": event == "cleared",
    }


def document(alert: AlertRow, console: str = "") -> dict[str, Any]:
    """Return an alert as data: for webhooks, the API and ``--json``."""
    body = alert.body
    return {
        "id": alert.id,
        "kind": alert.kind,
        "level": alert.level,
        "status": alert.status,
        "workflow": alert.workflow,
        "version": alert.version,
        "step": alert.step,
        "seam": {"from_system": alert.from_system, "to_system": alert.to_system},
        "since": rfc3339(moment(alert.since_ms)),
        "opened_at": _time(alert.opened_ms),
        "cleared_at": _time(alert.cleared_ms),
        "title": body.get("title"),
        "text": body.get("text"),
        "diagnosis": body.get("diagnosis"),
        "owner": body.get("owner"),
        "worst": body.get("worst"),
        "acknowledged_by": alert.acknowledged_by,
        "next": next_commands(alert),
        "link": _link(alert, console),
    }


def headline(alert: AlertRow, event: str) -> str:
    """Return one line for a subject."""
    return f"{EVENT_WORDS[event]}{alert.body.get('title', alert.cause)}"


def lines(alert: AlertRow, event: str, console: str = "") -> list[str]:
    """Return an alert for a person: what, where, since when, whose fault it looks like, the worst instances."""
    body, is_over = alert.body, event == "cleared"
    said = [headline(alert, event)]
    if is_over:
        said.append(f"{_ended(alert)} It stood for {_stood(alert)}; when it was last seen:")
    said.append(str(body.get("text", "")))
    said.append(f"Alert: {alert.id}, {alert.level.replace('_', ' ')}")
    said.append(f"Workflow: {alert.workflow} {alert.version or ''}".rstrip())
    if alert.from_system and alert.to_system:
        said.append(f"Seam: {alert.from_system} > {alert.to_system}" + (f", step {alert.step}" if alert.step else ""))
    said.append(f"Since: {rfc3339(moment(alert.since_ms))}")
    said.append(f"Look{'ed' if is_over else 's'} like: {body.get('diagnosis', '')}")
    said += [_worst(one, console) for one in body.get("worst") or ()]
    owner = body.get("owner") or {}
    if owner:
        team = [str(owner["team"])] if "team" in owner else []
        said.append("Owner: " + ", ".join([*team, *(f"{k} {v}" for k, v in sorted(owner.items()) if k != "team")]))
    said += [] if is_over else [f"Next: {command}" for command in next_commands(alert)]
    link = _link(alert, console)
    return said if link is None else [*said, f"Console: {link}"]


def next_commands(alert: AlertRow) -> list[str]:
    """Return what to type now: look at the worst instance, at what is behind it, then take the alert on."""
    worst = next((one.get("instance") for one in alert.body.get("worst") or ()), None)
    found = [f"topstitch instance show {worst}"] if worst else []
    match alert.kind:
        case Kind.SLA:
            found.append("topstitch sla")
        case Kind.CHECK if alert.cause.startswith("population|"):
            one = alert.cause.split("|")[2:]
            found = [f"topstitch discrepancies {f'show {one[0]}' if one else f'list --workflow {alert.workflow}'}"]
        case _ if alert.from_system and alert.to_system:
            found.append(f"topstitch seam show {alert.from_system} {alert.to_system}")
    if str(alert.body.get("diagnosis", "")).startswith("orchestrator"):
        found.append("topstitch doctor")
    return found if alert.acknowledged_by else [*found, f"topstitch alerts ack {alert.id}"]


def _ended(alert: AlertRow) -> str:
    """Say what it means that an alert is over; a promise that is over need not have been kept."""
    match Kind(alert.kind):
        case Kind.HANDOFF:
            return "No handoff at this seam is over its target any more."
        case Kind.DURATION:
            return "The step is back below its limit."
        case Kind.RUNNING:
            return "None of these executions is under way any more."
        case Kind.EXCEPTIONS:
            return "The share of exceptions is back within its limit."
        case Kind.SLA:
            return "No instance under way breaks or risks the promise any more; `topstitch sla` says which kept it."
        case Kind.CHECK:
            compared = alert.cause.startswith("population|")
            return "What differed agrees or is settled." if compared else "The checks have begun."


def _stood(alert: AlertRow) -> str:
    until = alert.cleared_ms if alert.cleared_ms is not None else alert.changed_ms
    return duration_text(max(until - alert.since_ms, 0) / 1000)


def _worst(one: Mapping[str, Any], console: str) -> str:
    said = f"Worst: {one.get('instance')} ({one.get('text')})"
    return f"{said} {console}/instances/{quote(str(one.get('instance')))}" if console else said


def _link(alert: AlertRow, console: str) -> str | None:
    """Return where the console shows what it is about: the seam, the discrepancies, or the overview."""
    if not console:
        return None
    if alert.from_system and alert.to_system:
        return f"{console}/seams/{quote(alert.from_system)}/{quote(alert.to_system)}"
    return f"{console}/discrepancies" if alert.kind == Kind.CHECK else f"{console}/"


def _worder(route: Route) -> Callable[[AlertRow, str, str, int], str]:
    def word(alert: AlertRow, event: str, _message: str, now_ms: int) -> str:
        match route.kind:
            case RouteKind.EMAIL:
                body = email_body(alert, event, route.console)
            case RouteKind.SLACK:
                body = slack_body(alert, event, route.console)
            case RouteKind.WEBHOOK:
                body = webhook_body(alert, event, now_ms, route.console)
            case RouteKind.TICKET:
                body = ticket_body(alert, event, route.console)
        return canonical_bytes(body).decode()

    return word


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise OperatorError("secret-damaged", "the secret of this webhook is no base64; write it as whsec_ and base64")
    return key


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(ms: int | None) -> str | None:
    return rfc3339(moment(ms)) if ms is not None else None
