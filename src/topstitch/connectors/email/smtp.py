"""Hands a message to the mail server, and says of every way that can fail whether it may have been taken.

Until the message itself is sent, nothing is done. From then on only the server's own answer
tells; a connection that breaks first is an unknown outcome, looked up in the mailbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final

from topstitch.foundation.errors import (
    ConnectorError,
    CredentialError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)
from topstitch.foundation.later import Later

if TYPE_CHECKING:
    import aiosmtplib
    import aiosmtplib.email
else:
    aiosmtplib = Later("aiosmtplib")

FIRST_CODE: Final = 200
"""Below it the answer is none that a mail server gives: whether the message was taken cannot be read from it."""
FIRST_PERMANENT: Final = 500
AUTH_REFUSED: Final = (534, 535, 538)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the mail server is. ``tls``: ``implicit``, ``starttls`` or ``none``."""

    host: str
    port: int
    tls: str
    username: str | None
    password: str | None = field(repr=False)
    timeout_seconds: float

    async def send(self, message: EmailMessage, sender: str, recipients: Sequence[str]) -> None:
        """Hand over one message; raise a ``ConnectorError`` if it was not taken, or may have been."""
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            timeout=self.timeout_seconds,
            use_tls=self.tls == "implicit",
            start_tls=self.tls == "starttls",
        )
        handed_over = False
        try:
            await client.connect()
            if self.username is not None:
                await client.login(self.username, self.password or "")
            await client.mail(sender)
            for recipient in recipients:
                await client.rcpt(recipient)
            handed_over = True
            await client.data(aiosmtplib.email.flatten_message(message))
        except aiosmtplib.SMTPResponseException as error:
            if error.code < FIRST_CODE:
                raise self._broken(error, handed_over=handed_over) from None
            raise self._answered(error) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._broken(error, handed_over=handed_over) from None
        finally:
            client.close()

    def _answered(self, error: aiosmtplib.SMTPResponseException) -> ConnectorError:
        """Return what the server's own refusal means: nothing was done."""
        said = f"the mail server at {self.host} answered {error.code}: {error.message}"
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) or error.code in AUTH_REFUSED:
            return CredentialError("credential_refused", f"{said}; renew username and password", status=error.code)
        if error.code >= FIRST_PERMANENT:
            return PermanentError(
                "refused", f"{said}; correct the address or the message", status=error.code, body=error.message
            )
        return TransientError("not_now", f"{said}; it is tried again", status=error.code, body=error.message)

    def _broken(self, error: Exception, *, handed_over: bool) -> ConnectorError:
        what = type(error).__name__
        if handed_over:
            return UnknownOutcomeError(
                "no_answer",
                f"the mail server at {self.host} took a message and did not answer ({what}); it is looked up",
            )
        return TransientError(
            "unreachable",
            f"the mail server at {self.host}:{self.port} cannot be used ({what}), nothing was sent; check smtp_host",
        )
