"""A simulated mail system: an SMTP server that takes messages, an IMAP server and HTTP to read them.

Both servers are real, on their own loopback ports, over one journaling mailbox. Faults reach
them too: ``match.method`` is the SMTP verb (``CONNECT``, ``AUTH``, ``MAIL``, ``RCPT``, ``DATA``) or
``IMAP`` and ``match.path`` the address or the IMAP command. ``imap`` speaks the protocol.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from functools import cached_property
from typing import Any, ClassVar, Final

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from topstitch.foundation.timetext import rfc3339
from topstitch.simulators import company, control
from topstitch.simulators.faults import Fault, FaultKind
from topstitch.simulators.imap import ImapSession, Mailbox
from topstitch.simulators.simulator import HOLD_SECONDS_MAX, Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer

_REPLIES: Final = {
    421: "421 4.3.2 Service not available, closing transmission channel",
    450: "450 4.2.1 Requested mail action not taken: mailbox unavailable",
    451: "451 4.3.0 Requested action aborted: local error in processing",
    452: "452 4.5.3 Too many recipients",
    535: "535 5.7.8 Authentication credentials invalid",
    550: "550 5.1.1 Requested action not taken: mailbox unavailable",
    552: "552 5.3.4 Message size exceeds fixed limit",
    554: "554 5.7.1 Transaction failed",
}
_USUAL_STATUS: Final = {
    FaultKind.REFUSE: 550,
    FaultKind.TOO_MANY: 450,
    FaultKind.INTERNAL: 451,
    FaultKind.UNAVAILABLE: 421,
    FaultKind.TOKEN_EXPIRED: 535,
}
SIZE_MAX: Final = 10_000_000


class MailSimulator(Simulator):
    """The company's mail system."""

    system: ClassVar[str] = "email"
    defaults: ClassVar[Json] = {
        "username": "topstitch",
        "password": "mail-sim-password",
        "from": f"topstitch@{company.DOMAIN}",
        "delivery_seconds": 0,
        "unknown_recipients": [],
    }
    published: ClassVar[tuple[str, ...]] = ("username", "password", "from")

    smtp_port = 0
    imap_port = 0

    def listen_on(self, address: str, *, smtp: int, imap: int) -> None:
        """Say where the two servers listen; port 0 means any free one."""
        self._address, self._asked_ports = address, (smtp, imap)

    def __init__(self, **keywords: Any) -> None:
        self._address, self._asked_ports = "127.0.0.1", (0, 0)
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.BaseTransport] = set()
        super().__init__(**keywords)

    def pages(self) -> list[BaseRoute]:
        """Return the readable mailbox."""
        return [
            Route("/_sim/mailbox", self._list_messages, methods=["GET"]),
            Route("/_sim/mailbox/{uid:int}", self._show_message, methods=["GET"]),
            Route("/_sim/mailbox/{uid:int}/html", self._show_html, methods=["GET"]),
        ]

    def facts(self) -> dict[str, Any]:
        """Return URL, credentials, and where the two servers listen."""
        smtp = {"smtp_host": self._address, "smtp_port": self.smtp_port}
        return {**super().facts(), **smtp, "imap_host": self._address, "imap_port": self.imap_port}

    async def start(self) -> None:
        """Start both servers."""
        loop = asyncio.get_running_loop()
        smtp, imap = self.smtp_port or self._asked_ports[0], self.imap_port or self._asked_ports[1]
        first = await loop.create_server(lambda: _Smtp(self), self._address, smtp)
        second = await asyncio.start_server(self._imap, self._address, imap)
        self._servers = [first, second]
        self.smtp_port, self.imap_port = (server.sockets[0].getsockname()[1] for server in self._servers)

    async def stop(self) -> None:
        """Stop both and close what is open."""
        for server in self._servers:
            server.close()
        for transport in list(self._open):
            transport.close()
        self._servers.clear()
        await asyncio.sleep(0)

    @cached_property
    def mailbox(self) -> Mailbox:
        """The mailbox that IMAP shows."""
        return Mailbox(self.records, self.visible)

    def visible(self) -> list[Json]:
        """Return the messages that have arrived by now."""
        limit = rfc3339(self.clock.now() - timedelta(seconds=float(self.settings["delivery_seconds"])))
        return [message for message in self.records.all("messages") if message["at"] <= limit]

    def store(self, sender: str, recipients: list[str], content: bytes) -> Json:
        """Keep a message."""
        uid = self.records.number("uid")
        parsed = parse(content)
        return self.records.put(
            "messages",
            str(uid),
            {
                "uid": uid,
                "at": self.now_text(),
                "from": sender,
                "to": recipients,
                "subject": str(parsed["Subject"] or ""),
                "message_id": str(parsed["Message-ID"] or ""),
                "key": str(parsed["X-Topstitch-Key"] or ""),
                "flags": [],
                "raw": content.decode("latin-1"),
            },
        )

    def note(
        self,
        verb: str,
        address: str,
        status: int,
        *,
        committed: bool = False,
        fault: Fault | None = None,
        key: str = "",
    ) -> None:
        """Write one SMTP or IMAP command into the journal."""
        self.records.store.append_call(
            self.system,
            {
                "at": self.now_text(),
                "method": verb,
                "path": address,
                "query": "",
                "status": status,
                "key": key,
                "write": verb == "DATA",
                "committed": committed,
                "fault": fault.kind.value if fault else None,
                "body": "",
            },
        )

    async def meet(
        self, verb: str, address: str, transport: asyncio.BaseTransport | None, content: bytes = b""
    ) -> tuple[str, Fault | None]:
        """Return the refusal that a fault puts in place of a command, or an empty text and what is to happen later."""
        fault = self.faults.take(verb, address, content, is_write=verb == "DATA")
        match fault.kind if fault else None:
            case FaultKind.DOWN:
                self.note(verb, address, 0, fault=fault)
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()
                return "421 4.3.2 closing", fault
            case FaultKind.TIMEOUT_BEFORE:
                self.note(verb, address, 0, fault=fault)
                await self.hold()
                return "421 4.4.2 timeout", fault
            case FaultKind.SLOW if fault:
                await self.clock.sleep_until(self.clock.now() + timedelta(seconds=fault.number("seconds", 1)))
            case kind if fault and kind in _USUAL_STATUS:
                status = int(fault.number("status", _USUAL_STATUS[kind]))
                self.note(verb, address, status, fault=fault)
                return str(fault.with_.get("message") or _REPLIES.get(status, f"{status} Refused")), fault
        return "", fault

    async def hold(self) -> None:
        """Keep a caller waiting until it gives up, the simulator stops, or the bound is reached."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), HOLD_SECONDS_MAX)

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Remember a connection, so that stopping closes it."""
        self._open = {one for one in self._open if not one.is_closing()} | {transport}

    async def _imap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened(writer.transport)
        session = ImapSession(self, reader, writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await session.talk()
        writer.close()

    # HTTP

    async def _list_messages(self, request: Request) -> Response:
        wanted = {name: value.lower() for name, value in request.query_params.items()}
        shown = [summary(message) for message in self.visible()]
        return control.reply(
            [one for one in shown if all(value in str(one.get(name, "")).lower() for name, value in wanted.items())]
        )

    async def _show_message(self, request: Request) -> Response:
        message = self.records.get("messages", str(request.path_params["uid"]))
        if message is None:
            return control.reply({"error": "there is no such message; GET /_sim/mailbox lists them"}, 404)
        return control.reply({**summary(message), **parts(message)})

    async def _show_html(self, request: Request) -> Response:
        message = self.records.get("messages", str(request.path_params["uid"]))
        if message is None:
            return control.reply({"error": "there is no such message; GET /_sim/mailbox lists them"}, 404)
        both = parts(message)
        if both["html"]:
            return Response(both["html"], media_type="text/html")
        return Response(both["text"], media_type="text/plain")

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return a plain error; this system has no HTTP interface of its own."""
        return Answer(
            status, {"error": code or "this is a mail server; use SMTP, IMAP, or GET /_sim/mailbox", "message": message}
        )


def parse(content: bytes) -> EmailMessage:
    """Read a message."""
    return email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)


def summary(message: Json) -> dict[str, Any]:
    """Return what a list of messages shows."""
    return {name: message[name] for name in ("uid", "at", "from", "to", "subject", "message_id", "key", "flags")}


def parts(message: Json) -> dict[str, Any]:
    """Return headers, text and HTML of a message."""
    parsed = parse(message["raw"].encode("latin-1"))
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    return {
        "headers": {name: str(value) for name, value in parsed.items()},
        "text": text.get_content() if text else "",
        "html": html.get_content() if html else "",
        "raw": message["raw"],
    }


class _Smtp(SMTP):
    """One SMTP connection."""

    def __init__(self, simulator: MailSimulator) -> None:
        self.simulator = simulator
        super().__init__(
            _Handler(simulator),
            hostname="mail.simulated",
            ident="ESMTP simulated",
            authenticator=_Authenticator(simulator),
            auth_require_tls=False,
            data_size_limit=SIZE_MAX,
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        fault = self.simulator.faults.take("CONNECT", "", is_write=False)
        if fault and fault.kind is FaultKind.DOWN and isinstance(transport, asyncio.WriteTransport):
            self.simulator.note("CONNECT", "", 0, fault=fault)
            transport.abort()
            return
        self.simulator.opened(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.session is not None:
            super().connection_lost(error)


class _Authenticator:
    """Checks user name and password."""

    def __init__(self, simulator: MailSimulator) -> None:
        self._simulator = simulator

    def __call__(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
    ) -> AuthResult:
        settings = self._simulator.settings
        wanted = (settings["username"].encode(), settings["password"].encode())
        refused = self._simulator.faults.take("AUTH", "", is_write=False)
        good = isinstance(data, LoginPassword) and (data.login, data.password) == wanted and refused is None
        self._simulator.note("AUTH", "", 235 if good else 535, fault=refused)
        return AuthResult(success=good, handled=False)


class _Handler:
    """Decides on senders, recipients and messages."""

    def __init__(self, simulator: MailSimulator) -> None:
        self._simulator = simulator

    async def handle_MAIL(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        refusal, _ = await self._simulator.meet("MAIL", address, server.transport)
        if refusal:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal, _ = await self._simulator.meet("RCPT", address, server.transport)
        if refusal:
            return refusal
        if address.lower() in self._simulator.settings["unknown_recipients"]:
            self._simulator.note("RCPT", address, 550)
            return _REPLIES[550]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        to = ",".join(envelope.rcpt_tos)
        refusal, fault = await self._simulator.meet("DATA", to, server.transport, content)
        if refusal:
            return refusal
        kind = fault.kind if fault else None
        if kind is not FaultKind.ACCEPT_STORE_NOTHING:
            with self._simulator.records.store.transaction():
                self._simulator.store(envelope.mail_from or "", list(envelope.rcpt_tos), content)
        key = str(parse(content)["X-Topstitch-Key"] or "")
        self._simulator.note(
            "DATA", to, 250, committed=kind is not FaultKind.ACCEPT_STORE_NOTHING, fault=fault, key=key
        )
        if kind is FaultKind.DROP_AFTER_COMMIT and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        if kind is FaultKind.TIMEOUT_AFTER_COMMIT:
            await self._simulator.hold()
        if kind is FaultKind.WRONG_SCHEMA:
            return "OK queued, thank you"
        return "250 2.0.0 OK: queued"
