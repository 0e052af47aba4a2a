"""Looks into the journaling mailbox by IMAP: was this message sent, did it come back?

Called by the connector on a thread, because the client blocks. What a search returns is
compared again on the headers of the message itself. It only ever opens the mailbox to read.
"""

from __future__ import annotations

import email
import email.policy
import imaplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final

from topstitch.foundation.errors import CredentialError, PermanentError, TransientError

FOUND_MAX: Final = 20
_FIELDS: Final = "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID X-TOPSTITCH-KEY IN-REPLY-TO FROM)])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Where the journaling mailbox is."""

    host: str
    port: int
    tls: bool
    name: str
    username: str | None
    password: str | None = field(repr=False)
    timeout_seconds: float

    def with_header(self, header: str, value: str) -> list[Mapping[str, str]]:
        """Return the headers of the messages whose ``header`` is exactly ``value``."""
        if any(sign in value for sign in '"\\\r\n'):
            raise PermanentError("search_unsafe", "a mailbox cannot be searched for a text with quotes; correct the id")
        try:
            with self._open() as client:
                client.select(f'"{self.name}"', readonly=True)
                _, (found, *_) = client.uid("SEARCH", "HEADER", header, f'"{value}"')
                if found is None:  # not even an empty list: that is no answer, and does not mean absent
                    raise self._unreadable("SEARCH")
                uids = found.split()[-FOUND_MAX:]
                messages = [self._headers(client, uid.decode()) for uid in uids]
        except (OSError, imaplib.IMAP4.abort) as error:
            raise TransientError(
                "mailbox_unreachable",
                f"the mailbox at {self.host} cannot be read ({type(error).__name__}); check imap_host",
            ) from None
        except imaplib.IMAP4.error as error:
            raise PermanentError(
                "mailbox_refused", f"the mailbox at {self.host} refused the search; check mailbox: {error}"
            ) from None
        return [headers for headers in messages if headers.get(header.lower(), "").strip() == value]

    def _open(self) -> imaplib.IMAP4:
        client: imaplib.IMAP4
        if self.tls:
            client = imaplib.IMAP4_SSL(
                self.host, self.port, ssl_context=ssl.create_default_context(), timeout=self.timeout_seconds
            )
        else:
            client = imaplib.IMAP4(self.host, self.port, timeout=self.timeout_seconds)
        if self.username is not None:
            try:
                client.login(self.username, self.password or "")
            except imaplib.IMAP4.abort:
                client.shutdown()
                raise
            except imaplib.IMAP4.error:
                client.shutdown()
                raise CredentialError(
                    "credential_refused", f"the mailbox at {self.host} refuses username and password; renew them"
                ) from None
        return client

    def _headers(self, client: imaplib.IMAP4, uid: str) -> dict[str, str]:
        _, parts = client.uid("FETCH", uid, _FIELDS)
        raw = next((part[1] for part in parts if isinstance(part, tuple)), None)
        if raw is None:
            raise self._unreadable("FETCH")
        message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
        return {name.lower(): str(value) for name, value in message.items()}

    def _unreadable(self, command: str) -> TransientError:
        message = f"the mailbox at {self.host} answered {command} with something else; see that imap_host is IMAP"
        return TransientError("mailbox_unreadable", message)
