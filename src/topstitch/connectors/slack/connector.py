"""The Slack connector: who is in a channel, messages to channels, and questions with buttons.

Slack answers 200 with ``ok: false``; the word in ``error`` is what counts. Messages carry our
key in their metadata, where the look-up finds it, because Slack itself knows no idempotency.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

from topstitch.connectors.auth import bearer
from topstitch.connectors.contract import CallContext, Connector, Done, Given, notify, read, unreadable, write
from topstitch.connectors.http import Answer, HttpClient
from topstitch.connectors.slack import blocks
from topstitch.connectors.slack.models import Asking, Invited, Membership, Place, Post, Posted, Removed, Settling
from topstitch.foundation.errors import (
    ChangedError,
    ConnectorError,
    CredentialError,
    PermanentError,
    TransientError,
    UnknownOutcomeError,
)
from topstitch.model.action import Idempotency

TITLE: Final = "Slack"
BASE_URL: Final = "https://slack.com"
PAGES_MAX: Final = 100
HISTORY_PAGES_MAX: Final = 20
APP_TOKEN: Final = "app_token"  # noqa: S105 -- the name of a credential
EVENT_TYPE: Final = "topstitch_message"
REFUSED_TOKEN: Final = frozenset(
    {"invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive", "two_factor_setup_required"}
)
NOTHING_DONE: Final = frozenset({"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"})
UNCLEAR: Final = frozenset({"internal_error", "fatal_error", "request_timeout"})


class Slack(Connector):
    """Slack."""

    name = "slack"
    major = 1
    title = TITLE
    kind = "Messaging"
    credential_names = ("token",)
    option_names = ("team_id",)

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        based = replace(given, base_url=given.base_url or BASE_URL)
        self._http = HttpClient(
            based,
            title=TITLE,
            auth=bearer(given, "token"),
            classify=self._classify,
            expired=lambda a: _error(a) in REFUSED_TOKEN,
        )
        self._sockets = HttpClient(based, title=TITLE, auth=bearer(given, APP_TOKEN), classify=self._classify)
        self._channels: dict[str, str] = {}
        self._team = ""

    @write(idempotency=Idempotency.NATURAL, lookup="find_member", undo="remove", risk_floor=1)
    async def invite(self, place: Place, call: CallContext) -> Done[Invited]:
        """Bring a person into a channel; somebody new to Slack is invited to it. Being there already is as good."""
        channel = await self._channel(place.channel, call)
        user = await self._user(place.upn, call)
        if user is None:
            return await self._invite_newcomer(place, channel, call)
        try:
            await self._write("conversations.invite", call, {"channel": channel, "users": user["id"]})
        except ChangedError as error:
            if error.code != "already_in_channel":
                raise
            return Done(
                Invited(channel_id=channel, state=_state(user)), found=call.first, record=f"{channel}/{user['id']}"
            )
        return Done(Invited(channel_id=channel, state=_state(user)), record=f"{channel}/{user['id']}")

    @read()
    async def find_member(self, place: Place, call: CallContext) -> Done[Invited] | None:
        """The membership, if the person is in the channel."""
        channel = await self._channel(place.channel, call)
        user = await self._user(place.upn, call)
        if user is None or not await self._is_in(channel, user["id"], call):
            return None
        return Done(Invited(channel_id=channel, state=_state(user)), record=f"{channel}/{user['id']}")

    @write(idempotency=Idempotency.NATURAL, irreversible="a person who was removed is invited again", risk_floor=1)
    async def remove(self, place: Place, call: CallContext) -> Done[Removed]:
        """Take a person out of a channel; not being there is as good."""
        channel = await self._channel(place.channel, call)
        user = await self._user(place.upn, call)
        if user is None:
            return Done(Removed(removed=False), found=call.first)
        try:
            await self._write("conversations.kick", call, {"channel": channel, "user": user["id"]})
        except PermanentError as error:
            if error.code not in ("not_in_channel", "user_not_found"):
                raise
            return Done(Removed(removed=False), found=call.first)
        return Done(Removed(removed=True), record=f"{channel}/{user['id']}")

    @read()
    async def is_member(self, place: Place, call: CallContext) -> Membership:
        """Whether a person is in a channel."""
        channel = await self._channel(place.channel, call)
        user = await self._user(place.upn, call)
        if user is None or not await self._is_in(channel, user["id"], call):
            return Membership(member=False, state="absent")
        return Membership(member=True, state=_state(user))

    @notify(
        idempotency=Idempotency.FIND_FIRST,
        lookup="find_message",
        irreversible="a message that was posted has been read",
    )
    async def post_message(self, post: Post, call: CallContext) -> Done[Posted]:
        """Post a message to a channel."""
        channel = await self._channel(post.channel, call)
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"topstitch_key": call.key}}
        body = {"channel": channel, "text": post.text, "metadata": metadata, "unfurl_links": False}
        said = await self._write("chat.postMessage", call, body)
        return self._posted(said["channel"], said["ts"])

    @read()
    async def find_message(self, post: Post, call: CallContext) -> Done[Posted] | None:
        """The message that carries our key, among the channel's latest."""
        return await self._find(await self._channel(post.channel, call), call)

    @notify(
        idempotency=Idempotency.FIND_FIRST,
        lookup="find_decision",
        irreversible="a question that was posted has been read; once decided it is shown without buttons",
    )
    async def send_decision(self, asking: Asking, call: CallContext) -> Done[Posted]:
        """Ask for a decision, with buttons: in a channel, or one person alone."""
        channel = await self._place(asking, call)
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"topstitch_key": call.key}}
        body = {
            "channel": channel,
            "text": asking.title,
            "blocks": blocks.asking(asking),
            "metadata": metadata,
            "unfurl_links": False,
        }
        said = await self._write("chat.postMessage", call, body)
        return self._posted(said["channel"], said["ts"])

    @read()
    async def find_decision(self, asking: Asking, call: CallContext) -> Done[Posted] | None:
        """The question that carries our key."""
        return await self._find(await self._place(asking, call), call)

    @write(idempotency=Idempotency.NATURAL, irreversible="how a question ended is shown for good", risk_floor=1)
    async def settle_decision(self, decided: Settling, call: CallContext) -> Done[Posted]:
        """Show how a question ended, without buttons. Doing it again changes nothing."""
        shown = blocks.settled(decided.title, decided.said)
        body = {"channel": decided.channel_id, "ts": decided.ts, "text": decided.said, "blocks": shown}
        await self._write("chat.update", call, body)
        return self._posted(decided.channel_id, decided.ts)

    async def _find(self, channel: str, call: CallContext) -> Done[Posted] | None:
        pages = self._pages(
            "conversations.history",
            call,
            {"channel": channel, "include_all_metadata": "true", "limit": "200"},
            HISTORY_PAGES_MAX,
        )
        async for page in pages:
            for message in page["messages"]:
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("topstitch_key") == call.key:
                    return self._posted(channel, message["ts"])
        return None

    async def _place(self, asking: Asking, call: CallContext) -> str:
        """Return the channel, or the conversation with one person."""
        if asking.channel:
            return await self._channel(asking.channel, call)
        user = await self._user(asking.to or "", call)
        if user is None:
            raise PermanentError(
                "users_not_found", f"nobody in {TITLE} has this address; invite them, or name a channel"
            )
        opened = await self._write("conversations.open", call, {"users": user["id"]})
        return str(opened["channel"]["id"])

    # What ``interactive`` asks for: no writes of an instance, but the other half of a conversation.

    async def user(self, user: str, call: CallContext) -> dict[str, Any]:
        """Return a user by Slack's own id."""
        found: dict[str, Any] = (await self._read("users.info", call, {"user": user}))["user"]
        return found

    async def team(self, call: CallContext) -> str:
        """Return the id of the workspace."""
        if not self._team:
            self._team = str((await self._read("auth.test", call))["team_id"])
        return self._team

    async def call(self, method: str, call: CallContext, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method that answers a person's click."""
        return await self._write(method, call, body)

    async def socket_address(self, call: CallContext) -> str:
        """Ask for the address of a socket, with the token of the app."""
        answer = await self._sockets.request("POST", "/api/apps.connections.open", call, body={})
        return str(answer.document(writes=True)["url"])

    async def health(self) -> Mapping[str, Any]:
        """Ask who we are."""
        said = await self._read("auth.test", CallContext(timeout_seconds=self.given.timeout_seconds))
        return {"ok": True, "team": said.get("team")}

    async def close(self) -> None:
        """Close the sessions."""
        await self._http.close()
        await self._sockets.close()

    async def _read(self, method: str, call: CallContext, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return (await self._http.get(f"/api/{method}", call, query=query)).document()

    async def _write(self, method: str, call: CallContext, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return (await self._http.request("POST", f"/api/{method}", call, body=body, headers=headers)).document(
            writes=True
        )

    async def _pages(
        self, method: str, call: CallContext, query: Mapping[str, str], pages_max: int = PAGES_MAX
    ) -> AsyncIterator[dict[str, Any]]:
        cursor = ""
        for _ in range(pages_max):
            page = await self._read(method, call, {**query, **({"cursor": cursor} if cursor else {})})
            yield page
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return

    async def _channel(self, name: str, call: CallContext) -> str:
        """Return a channel's id by its name; names are remembered."""
        wanted = name.removeprefix("#")
        if wanted not in self._channels:
            query = {"limit": "1000", "exclude_archived": "true", "types": "public_channel,private_channel"}
            async for page in self._pages("conversations.list", call, query):
                self._channels.update({channel["name"]: channel["id"] for channel in page["channels"]})
        if wanted not in self._channels:
            raise PermanentError(
                "channel_not_found", f"{TITLE} shows no channel {wanted}; create it, or invite the app to it"
            )
        return self._channels[wanted]

    async def _user(self, email: str, call: CallContext) -> dict[str, Any] | None:
        try:
            user: dict[str, Any] = (await self._read("users.lookupByEmail", call, {"email": email}))["user"]
        except PermanentError as error:
            if error.code == "users_not_found":
                return None
            raise
        return user

    async def _is_in(self, channel: str, user: str, call: CallContext) -> bool:
        pages = self._pages("conversations.members", call, {"channel": channel, "limit": "1000"})
        return any([user in page["members"] async for page in pages])

    async def _invite_newcomer(self, place: Place, channel: str, call: CallContext) -> Done[Invited]:
        team = self.given.option("team_id") or (await self._read("auth.test", call))["team_id"]
        invited = Invited(channel_id=channel, state="invited")
        try:
            body = {"channel_ids": channel, "email": place.upn, "team_id": team}
            await self._write("admin.users.invite", call, body)
        except ChangedError as error:
            if error.code != "already_invited":
                raise
            return Done(invited, found=call.first, record=channel)
        return Done(invited, record=channel)

    def _posted(self, channel: str, ts: str) -> Done[Posted]:
        return Done(Posted(ts=ts, channel_id=channel), record=f"{channel}/{ts}")

    def _classify(self, answer: Answer, writes: bool) -> ConnectorError | None:
        """Go by the word in ``error`` where the status says that all is well."""
        if answer.status != 200:
            return self._http.classify(answer, writes)
        document = answer.peek()
        if not isinstance(document, dict):
            return unreadable(
                TITLE, "a body that is no JSON object", writes=writes, status=answer.status, body=answer.text()
            )
        if document.get("ok") is True:
            return None
        word = str(document.get("error", "unknown_error"))
        rest: dict[str, Any] = {"status": answer.status, "request_id": answer.request_id, "body": answer.text()}
        if word in REFUSED_TOKEN:
            return CredentialError(
                word, f"{TITLE} refuses the token ({word}); renew it and update its reference", **rest
            )
        if word in NOTHING_DONE:
            wait = self._http.retry_after(answer)
            return TransientError(
                word, f"{TITLE} did nothing ({word}); it is tried again", retry_after_seconds=wait, **rest
            )
        if word in UNCLEAR:
            if writes:
                return UnknownOutcomeError(
                    word, f"{TITLE} failed inside ({word}); it is looked up whether it was done", **rest
                )
            return TransientError(word, f"{TITLE} failed inside ({word}); it is asked again", **rest)
        if word.startswith("already_"):
            return ChangedError(word, f"{TITLE} says {word}; look at what is there", **rest)
        needed = f", scope {document['needed']}" if document.get("needed") else ""
        return PermanentError(word, f"{TITLE} refused ({word}{needed}); correct it there or in the step", **rest)


def _error(answer: Answer) -> str:
    if b'"ok":true' in answer.body[:200].replace(b" ", b""):
        return ""
    document = answer.peek()
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def _state(user: Mapping[str, Any]) -> Any:
    return "invited" if user.get("is_invited_user") else "member"
