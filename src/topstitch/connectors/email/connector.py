"""The e-mail connector: messages from templates, notices to people, and what became of them.

SMTP knows no idempotency: the same message sent twice arrives twice. So each message has
the Message-ID that follows from our key and carries the key in a header, and the mailbox is
searched for it before anything is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Any, Final, TypeVar

from topstitch.connectors.contract import CallContext, Connector, Done, Given, Sent as SentRequest, notify, read
from topstitch.connectors.email.letters import KEY_HEADER, Letters, compose, message_id
from topstitch.connectors.email.mailbox import Mailbox
from topstitch.connectors.email.models import Delivery, Message, MessageRef, Notice, Sent
from topstitch.connectors.email.smtp import Server
from topstitch.foundation.errors import CredentialError, OperatorError, PermanentError
from topstitch.model.action import Idempotency

ResultT = TypeVar("ResultT")
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
TLS_CHOICES: Final = ("implicit", "starttls", "none")
WHY_NOT_UNDONE: Final = "informational; a sent message cannot be unsent"


class Email(Connector):
    """E-mail by SMTP and IMAP."""

    name = "email"
    major = 1
    title = "E-mail"
    kind = "Messaging"
    option_names = (
        "smtp_host",
        "smtp_port",
        "smtp_tls",
        "imap_host",
        "imap_port",
        "imap_tls",
        "mailbox",
        "from",
        "domain",
        "templates",
    )

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._sender = self._needed("from", '"Topstitch <topstitch@example.com>"')
        self._domain = given.option("domain") or parseaddr(self._sender)[1].rpartition("@")[2]
        self._smtp_host = self._needed("smtp_host", '"smtp.example.com"')
        self._imap_host = self._needed("imap_host", '"imap.example.com"')
        self._smtp_tls = self._tls("smtp_tls", self._smtp_host, "starttls")
        self._imap_tls = self._tls("imap_tls", self._imap_host, "implicit")
        folder = given.option("templates")
        self._letters = Letters(self._folder(folder) if folder else None)

    @notify(
        idempotency=Idempotency.FIND_FIRST, lookup="find_sent", irreversible=WHY_NOT_UNDONE, risk_floor=1, timeout="60s"
    )
    async def send(self, new: Message, call: CallContext) -> Done[Sent]:
        """Send a message from a template."""
        subject, text, html = self._letters.render(new.template, new.data)
        return await self._send(to=new.to, cc=new.cc, subject=subject, text=text, html=html, call=call)

    @read()
    async def find_sent(self, new: Message, call: CallContext) -> Done[Sent] | None:  # noqa: ARG002 -- the key says it
        """The message that carries our key."""
        return await self._find(call)

    @read()
    async def get_delivery(self, ref: MessageRef, call: CallContext) -> Delivery:  # noqa: ARG002 -- the form of a read
        """Whether the mail system has a message, and whether it came back."""
        bounces = await self._looked_up(lambda mailbox: mailbox.with_header("In-Reply-To", ref.message_id))
        if any("mailer-daemon" in bounce.get("from", "").lower() for bounce in bounces):
            return Delivery(message_id=ref.message_id, state="bounced")
        copies = await self._looked_up(lambda mailbox: mailbox.with_header("Message-ID", ref.message_id))
        return Delivery(message_id=ref.message_id, state="sent" if copies else "unknown")

    @notify(
        idempotency=Idempotency.FIND_FIRST,
        lookup="find_notice",
        irreversible=WHY_NOT_UNDONE,
        risk_floor=1,
        timeout="60s",
    )
    async def send_notice(self, new: Notice, call: CallContext) -> Done[Sent]:
        """Tell a person something in plain text."""
        return await self._send(to=new.to, cc=None, subject=new.subject, text=new.text, html=None, call=call)

    @read()
    async def find_notice(self, new: Notice, call: CallContext) -> Done[Sent] | None:  # noqa: ARG002 -- the key says it
        """The notice that carries our key."""
        return await self._find(call)

    async def health(self) -> Mapping[str, Any]:
        """Look into the mailbox."""
        await self._looked_up(lambda mailbox: mailbox.with_header(KEY_HEADER, "health"))
        return {"ok": True}

    async def _send(
        self, *, to: str, cc: str | None, subject: str, text: str, html: str | None, call: CallContext
    ) -> Done[Sent]:
        recipients = [address for _, address in getaddresses([to, cc or ""]) if "@" in address]
        if not recipients:
            raise PermanentError("address_invalid", "there is no e-mail address to send to; correct the step's with:")
        message = compose(
            sender=self._sender,
            to=to,
            cc=cc,
            subject=subject,
            text=text,
            html=html,
            key=call.key,
            domain=self._domain,
            now=self.given.clock.now(),
        )
        call.sent = SentRequest(
            "SMTP", f"smtp://{self._smtp_host}/{','.join(recipients)}", {KEY_HEADER: call.key}, None
        )
        username, password = self._login()
        server = Server(
            host=self._smtp_host,
            port=self._port("smtp_port", 465 if self._smtp_tls == "implicit" else 587),
            tls=self._smtp_tls,
            username=username,
            password=password,
            timeout_seconds=call.timeout_seconds,
        )
        await self.given.limits.enter(call.timeout_seconds)
        try:
            await server.send(message, parseaddr(self._sender)[1], recipients)
        except CredentialError:
            self.given.credentials.read_again()
            raise
        finally:
            self.given.limits.leave()
        identity = message_id(call.key, self._domain)
        return Done(Sent(message_id=identity), record=identity)

    async def _find(self, call: CallContext) -> Done[Sent] | None:
        found = await self._looked_up(lambda mailbox: mailbox.with_header(KEY_HEADER, call.key))
        if not found:
            return None
        identity = message_id(call.key, self._domain)
        return Done(Sent(message_id=identity), record=identity)

    async def _looked_up(self, search: Callable[[Mailbox], ResultT]) -> ResultT:
        username, password = self._login()
        mailbox = Mailbox(
            host=self._imap_host,
            port=self._port("imap_port", 993 if self._imap_tls == "implicit" else 143),
            tls=self._imap_tls == "implicit",
            name=self.given.option("mailbox", "INBOX"),
            username=username,
            password=password,
            timeout_seconds=self.given.timeout_seconds,
        )
        await self.given.limits.enter(self.given.timeout_seconds)
        try:
            return await asyncio.to_thread(search, mailbox)
        finally:
            self.given.limits.leave()

    def _login(self) -> tuple[str | None, str | None]:
        username = self.given.credentials.optional("username")
        return username, None if username is None else self.given.credentials.get("password")

    def _needed(self, name: str, example: str) -> str:
        value = self.given.option(name)
        if not value:
            raise self._error(f"has no {name}; add {name} = {example}")
        return value

    def _port(self, name: str, default: int) -> int:
        value = self.given.options.get(name, default)
        if not isinstance(value, int) or not 0 < value < 65536:
            raise self._error(f"cannot use {name} = {value!r}; write a port such as {default}")
        return value

    def _tls(self, name: str, host: str, default: str) -> str:
        """Return how a connection is protected; only the loopback address is spoken to in the clear untold."""
        value = self.given.option(name, "none" if host in LOOPBACK else default)
        if value not in TLS_CHOICES:
            raise self._error(f"cannot use {name} = {value!r}; write one of {', '.join(TLS_CHOICES)}")
        return value

    def _folder(self, folder: str) -> Path:
        path = self.given.folder / Path(folder).expanduser()
        if not path.is_dir():
            raise self._error(f"names templates = {folder!r}, which is no folder; create it or correct the path")
        return path

    def _error(self, what: str) -> OperatorError:
        return OperatorError("setting_invalid", f"connection {self.given.alias!r} {what}")
