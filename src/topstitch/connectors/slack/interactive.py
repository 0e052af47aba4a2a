"""Speaks with Slack about what people press: who somebody is, the form for a reason, an answer to one person alone.

The clicks of a workspace come in by signed posts (``verify``) or over a socket that we open (``socket``). Whoever
handles them calls the methods of ``Interactive``. It decides nothing, and trusts a click no further than to
say which Slack user pressed what.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from topstitch.connectors.contract import CallContext
from topstitch.connectors.slack.connector import APP_TOKEN, Slack
from topstitch.foundation.errors import NotAllowedError, PermanentError

TOLERANCE_SECONDS: Final = 300
"""How far the time of a signed post may be from ours."""
SIGNING_SECRET: Final = "signing_secret"  # noqa: S105 -- the name of a credential


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise unless Slack signed this raw body within the last five minutes; names of headers are lower-case."""
    stamp = headers.get("x-slack-request-timestamp", "")
    if not stamp.isdigit() or len(stamp) > 12:
        raise _refused("signature-missing", "carries no time of its signature")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        raise _refused("signature-old", f"was signed over {TOLERANCE_SECONDS} seconds from our clock")
    wanted = "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), headers.get("x-slack-signature", "").encode()):
        raise _refused("signature-wrong", "is not signed with this app's secret")


def _refused(code: str, why: str) -> NotAllowedError:
    message = f"the post to Slack's address {why}; set signing_secret of the connection to the app's signing secret"
    return NotAllowedError(code, message)


class Interactive:
    """The interactive side of one workspace."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack

    async def person(self, user: str) -> dict[str, str]:
        """Return ``{"id", "email", "name"}`` of a Slack user; raise unless that is a person of this workspace."""
        found = await self._slack.user(user, self._call())
        profile = found.get("profile") or {}
        email = str(profile.get("email") or "")
        outside = found.get("is_stranger") or found.get("deleted") or found.get("is_bot")
        if outside or "@" not in email:
            raise NotAllowedError(
                "slack-user-unknown",
                "this Slack account belongs to nobody who is known here; decide in the console, or have its address "
                "shown to the app (scope users:read.email)",
            )
        return {"id": email, "email": email, "name": str(found.get("real_name") or profile.get("real_name") or email)}

    async def is_ours(self, team: str) -> bool:
        """Whether a click comes from the workspace that the connection is for."""
        return team == await self._slack.team(self._call())

    async def open(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Open a form for whoever has just pressed; good for three seconds."""
        await self._slack.call("views.open", self._call(), {"trigger_id": trigger, "view": dict(view)})

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something in a channel that nobody else sees; harmless when Slack will not."""
        try:
            body = {"channel": channel, "user": user, "text": text}
            await self._slack.call("chat.postEphemeral", self._call(), body)
        except PermanentError:
            return

    def signing_secret(self) -> str | None:
        """Return what posts are signed with; nothing when the connection names none."""
        return self._slack.given.credentials.optional(SIGNING_SECRET)

    def wants_socket(self) -> bool:
        """Whether clicks come over a socket that we open."""
        return self._slack.given.credentials.names(APP_TOKEN)

    async def socket_address(self) -> str:
        """Ask for the address of a socket."""
        return await self._slack.socket_address(self._call())

    def _call(self) -> CallContext:
        return CallContext(timeout_seconds=self._slack.given.timeout_seconds)
