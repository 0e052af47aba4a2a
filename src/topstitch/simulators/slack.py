"""A simulated Slack: Web API, message store, channels, invitations, views.

Always HTTP 200 with ``ok``; a rate limit is 429. Sources: the vendor's method reference for
arguments, errors and answers; checked with the vendor's own client. Buttons, pages and
Socket Mode are in ``slack_people``; ``README.md`` lists what is not faithful.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final

import orjson
from starlette.routing import BaseRoute

from topstitch.foundation.ids import random_bytes
from topstitch.simulators import company
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.slack_people import People
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

TEAM: Final = "T0ACME0001"
BOT: Final = "U0TOPSTITCH"
TEXT_MAX: Final = 40_000
BLOCKS_MAX: Final = 50
READS: Final = frozenset(
    {
        "api.test",
        "auth.test",
        "users.lookupByEmail",
        "users.list",
        "users.info",
        "conversations.list",
        "conversations.info",
        "conversations.members",
        "conversations.history",
        "conversations.replies",
        "apps.connections.open",
        "chat.getPermalink",
    }
)
_ERRORS: Final = {
    401: "invalid_auth",
    403: "missing_scope",
    404: "unknown_method",
    409: "already_in_channel",
    429: "ratelimited",
}


class SlackSimulator(Simulator):
    """The company's Slack workspace."""

    system: ClassVar[str] = "slack"
    defaults: ClassVar[Json] = {
        "bot_token": "xoxb-sim-topstitch",
        "app_token": "xapp-sim-topstitch",
        "signing_secret": "slack-sim-signing-secret",
        "interactivity_url": "",
        "channel_message_seconds": 0,
        "missing_scopes": [],
    }
    published: ClassVar[tuple[str, ...]] = ("bot_token", "app_token", "signing_secret")

    def endpoints(self) -> list[Endpoint]:
        """Return the Web API and the addresses that interactions answer to."""
        return [
            Endpoint("POST", "/api/{method}", self.method),
            Endpoint("GET", "/api/{method}", self.method),
            Endpoint("POST", "/response/{ticket}", self.people.respond, open=True),
        ]

    def pages(self) -> list[BaseRoute]:
        """Return the page for people, and Socket Mode."""
        return self.people.pages()

    @cached_property
    def people(self) -> People:
        """What people do: press buttons, submit views."""
        return People(self)

    def seed(self) -> None:
        """Fill people, the bot, and channels with members."""
        for person in company.PEOPLE:
            self._put_user(user_id(person.worker_id), person.email.partition("@")[0], person.name, person.email)
        self._put_user(BOT, "topstitch", "Topstitch", "", bot=True)
        for name, workers in company.CHANNELS.items():
            members = [BOT, *map(user_id, workers)]
            id_ = f"C{company.hex_id('channel', name)[:9].upper()}"
            self.records.put(
                "channels",
                id_,
                {"id": id_, "name": name, "is_archived": False, "is_private": False, "members": members},
            )

    async def start(self) -> None:
        """Start delivering interactions."""
        await self.people.sender.start()

    async def stop(self) -> None:
        """Stop delivering interactions."""
        await self.people.sender.stop()

    # The vendor's manners

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return ``ok: false`` with 200, or the status itself where the gateway answers instead of Slack."""
        if status >= 500 and not code:
            return Answer(status, "upstream connect error", media="text/plain")
        name = code or _ERRORS.get(status, "internal_error")
        body = {"ok": False, "error": name} | ({"needed": message} if name == "missing_scope" and message else {})
        return Answer(429 if status == 429 else 200, body)

    def decorate(self, call: Call, answer: Answer) -> None:  # noqa: ARG002 (the base's signature)
        """Add the request id and the scopes."""
        answer.headers.setdefault("x-slack-req-id", random_bytes(16).hex())
        answer.headers.setdefault(
            "x-oauth-scopes", "chat:write,channels:read,channels:manage,users:read,users:read.email"
        )

    def is_write(self, call: Call) -> bool:
        """Go by the method's name; reads are POSTed too."""
        return call.path.startswith("/api/") and call.path.removeprefix("/api/") not in READS

    def key_of(self, call: Call) -> str:
        """Return ``topstitch_key`` (or ``key``) of the message metadata."""
        payload = _decoded(self._arguments(call).get("metadata"))
        event = payload.get("event_payload", {}) if isinstance(payload, dict) else {}
        return str(event.get("topstitch_key") or event.get("key") or "")

    def authenticate(self, call: Call) -> None:
        """Refuse a call whose token is not the workspace's."""
        token = call.bearer() or self._arguments(call).get("token", "")
        wanted = self.settings["app_token" if call.path.endswith("/apps.connections.open") else "bot_token"]
        if not token:
            raise Refusal(self.error(200, "not_authed"))
        if token != wanted or self.records.get("_tokens", "revoked"):
            raise Refusal(self.error(200, "token_expired" if token == wanted else "invalid_auth"))

    def forget_tokens(self) -> None:
        """Let the workspace's token count as expired until the control plane sets it again."""
        self.records.put("_tokens", "revoked", {"id": "revoked"})

    def configure(self, fields: Json) -> Json:
        """Change settings; a token that is set anew is good again."""
        if "bot_token" in fields:
            self.records.delete("_tokens", "revoked")
        return super().configure(fields)

    def method(self, call: Call) -> Answer:
        """Carry out one Web API method."""
        name = call.params["method"]
        handler = self._methods.get(name)
        if handler is None:
            return self.error(200, "unknown_method")
        if name in self.settings["missing_scopes"]:
            return self.error(200, "missing_scope", name)
        return Answer(200, {"ok": True, **handler(_Arguments(self._arguments(call), self))})

    @cached_property
    def _methods(self) -> Mapping[str, Any]:
        return {
            "api.test": lambda _: {},
            "auth.test": self._auth_test,
            "users.lookupByEmail": self._lookup_by_email,
            "users.info": lambda a: {"user": self._user(a["user"])},
            "users.list": lambda a: self._paged("members", self.records.all("users"), a),
            "conversations.list": self._channels,
            "conversations.info": lambda a: {"channel": _channel_shown(self._channel(a["channel"]))},
            "conversations.members": lambda a: self._paged("members", self._channel(a["channel"])["members"], a),
            "conversations.create": self._create_channel,
            "conversations.invite": self._invite,
            "conversations.kick": self._kick,
            "conversations.history": self._history,
            "conversations.replies": self._history,
            "conversations.open": self._open_direct,
            "admin.users.invite": self._invite_user,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.postEphemeral": self._whisper,
            "views.open": self.people.open_view,
            "apps.connections.open": self.people.open_socket,
        }

    # Methods

    def _auth_test(self, _arguments: _Arguments) -> dict[str, Any]:
        return {
            "url": f"{self.base_url}/",
            "team": "Acme",
            "user": "topstitch",
            "team_id": TEAM,
            "user_id": BOT,
            "bot_id": "B0TOPSTITCH",
        }

    def _lookup_by_email(self, arguments: _Arguments) -> dict[str, Any]:
        email = arguments["email"].lower()
        for user in self.records.all("users"):
            if user["profile"]["email"].lower() == email and not user["deleted"]:
                return {"user": user}
        raise Refusal(self.error(200, "users_not_found"))

    def _channels(self, arguments: _Arguments) -> dict[str, Any]:
        hidden = arguments.flag("exclude_archived")
        found = [
            _channel_shown(c)
            for c in self.records.all("channels")
            if not (hidden and c["is_archived"]) and not c.get("is_im")
        ]
        return self._paged("channels", found, arguments)

    def _create_channel(self, arguments: _Arguments) -> dict[str, Any]:
        if self.records.first("channels", name=arguments["name"]):
            raise Refusal(self.error(200, "name_taken"))
        id_ = f"C{random_bytes(5).hex().upper()[:9]}"
        fields = {"id": id_, "name": arguments["name"], "is_archived": False, "is_private": False, "members": [BOT]}
        return {"channel": _channel_shown(self.records.put("channels", id_, fields))}

    def _invite(self, arguments: _Arguments) -> dict[str, Any]:
        channel = self._open_channel(arguments["channel"])
        asked = [one for one in arguments["users"].split(",") if one]
        errors = [
            {"user": one, "ok": False, "error": error} for one in asked if (error := self._invite_error(channel, one))
        ]
        if errors:
            body = {"ok": False, "error": errors[0]["error"], "errors": errors}
            raise Refusal(Answer(200, body))
        return {"channel": _channel_shown(self._set_members(channel, [*channel["members"], *asked]))}

    def _invite_error(self, channel: Json, user: str) -> str:
        known = self.records.get("users", user)
        if known is None or known["deleted"]:
            return "user_not_found"
        return "already_in_channel" if user in channel["members"] else ""

    def _kick(self, arguments: _Arguments) -> dict[str, Any]:
        channel, user = self._open_channel(arguments["channel"]), self._user(arguments["user"])
        if channel["name"] == "general":
            raise Refusal(self.error(200, "cant_kick_from_general"))
        if user["id"] not in channel["members"]:
            raise Refusal(self.error(200, "not_in_channel"))
        self._set_members(channel, [member for member in channel["members"] if member != user["id"]])
        return {"errors": {}}

    def _open_direct(self, arguments: _Arguments) -> dict[str, Any]:
        user = self._user(arguments["users"])
        id_ = f"D{user['id'][1:]}"
        if self.records.get("channels", id_) is None:
            fields = {
                "id": id_,
                "name": user["name"],
                "is_archived": False,
                "is_im": True,
                "members": [BOT, user["id"]],
            }
            self.records.put("channels", id_, fields)
        return {"channel": {"id": id_}}

    def _invite_user(self, arguments: _Arguments) -> dict[str, Any]:
        """Invite an address to the workspace; here it is accepted at once and joins ``channel_ids``."""
        email = arguments["email"]
        if any(user["profile"]["email"].lower() == email.lower() for user in self.records.all("users")):
            raise Refusal(self.error(200, "already_in_team"))
        channels = [self._open_channel(one) for one in arguments["channel_ids"].split(",") if one]
        id_ = f"U{random_bytes(5).hex().upper()[:9]}"
        name = arguments.get("real_name") or email.partition("@")[0].replace(".", " ").title()
        self._put_user(id_, email.partition("@")[0], name, email)
        for channel in channels:
            self._set_members(channel, [*channel["members"], id_])
        return {}

    def _history(self, arguments: _Arguments) -> dict[str, Any]:
        channel = self._channel(arguments["channel"])
        found = [
            message for message in self.records.find("messages", channel=channel["id"]) if arguments.within(message)
        ]
        if not arguments.flag("include_all_metadata"):
            found = [{name: value for name, value in message.items() if name != "metadata"} for message in found]
        return {**self._paged("messages", found[::-1], arguments, default=100), "pin_count": 0}

    def _post(self, arguments: _Arguments) -> dict[str, Any]:
        channel = self._open_channel(arguments["channel"])
        self._refuse_too_soon(channel)
        content = self._content(arguments)
        now = self.clock.now()
        ts = f"{int(now.timestamp())}.{self.records.number('ts') % 1_000_000:06d}"
        kept = {
            "type": "message",
            "ts": ts,
            "channel": channel["id"],
            "user": BOT,
            "bot_id": "B0TOPSTITCH",
            "team": TEAM,
        }
        thread = {"thread_ts": arguments["thread_ts"]} if arguments.get("thread_ts") else {}
        message = self.records.put("messages", f"{channel['id']}/{ts}", {**kept, **content, **thread})
        return {"channel": channel["id"], "ts": ts, "message": message}

    def _update(self, arguments: _Arguments) -> dict[str, Any]:
        message = self._message(arguments)
        content = {**self._content(arguments), "edited": {"user": BOT, "ts": message["ts"]}}
        changed = self.records.change("messages", f"{message['channel']}/{message['ts']}", content)
        return {"channel": message["channel"], "ts": message["ts"], "text": changed["text"], "message": changed}

    def _delete(self, arguments: _Arguments) -> dict[str, Any]:
        message = self._message(arguments)
        self.records.delete("messages", f"{message['channel']}/{message['ts']}")
        return {"channel": message["channel"], "ts": message["ts"]}

    def _whisper(self, arguments: _Arguments) -> dict[str, Any]:
        """Show something to one member alone; it is kept apart from the messages."""
        channel, user = self._open_channel(arguments["channel"]), self._user(arguments["user"])
        if user["id"] not in channel["members"]:
            raise Refusal(self.error(200, "user_not_in_channel"))
        ts = f"{int(self.clock.now().timestamp())}.{self.records.number('ts') % 1_000_000:06d}"
        kept = {"channel": channel["id"], "user": user["id"], "ts": ts, "text": arguments.get("text")}
        self.records.put("ephemeral", f"{channel['id']}/{ts}", kept)
        return {"message_ts": ts}

    # Helpers

    def _arguments(self, call: Call) -> dict[str, Any]:
        return {**call.query, **call.fields()}

    def _content(self, arguments: _Arguments) -> dict[str, Any]:
        text, blocks = arguments.get("text"), _decoded(arguments.get("blocks"))
        if not text and not blocks:
            raise Refusal(self.error(200, "no_text"))
        if len(text) > TEXT_MAX:
            raise Refusal(self.error(200, "msg_too_long"))
        if blocks and (not isinstance(blocks, list) or len(blocks) > BLOCKS_MAX):
            raise Refusal(self.error(200, "invalid_blocks"))
        metadata = _decoded(arguments.get("metadata"))
        if metadata and not {"event_type", "event_payload"} <= set(metadata):
            raise Refusal(self.error(200, "invalid_metadata_format"))
        return {"text": text, "blocks": blocks or []} | ({"metadata": metadata} if metadata else {})

    def _refuse_too_soon(self, channel: Json) -> None:
        gap = float(self.settings["channel_message_seconds"])
        last = next(iter(self.records.find("messages", channel=channel["id"])[::-1]), None)
        if gap and last and self.clock.now().timestamp() - int(last["ts"].partition(".")[0]) < gap:
            raise Refusal(self.throttled(1))

    def _message(self, arguments: _Arguments) -> Json:
        channel = self._channel(arguments["channel"])
        message = self.records.get("messages", f"{channel['id']}/{arguments['ts']}")
        if message is None:
            raise Refusal(self.error(200, "message_not_found"))
        return message

    def _user(self, id_: str) -> Json:
        user = self.records.get("users", id_)
        if user is None:
            raise Refusal(self.error(200, "user_not_found"))
        return user

    def _channel(self, id_: str) -> Json:
        """Return a channel by id; posting accepts a name too, as the vendor does."""
        channel = self.records.get("channels", id_) or self.records.first("channels", name=id_.removeprefix("#"))
        if channel is None and self.records.get("users", id_):
            self._open_direct(_Arguments({"users": id_}, self))
            channel = self.records.get("channels", f"D{id_[1:]}")
        if channel is None:
            raise Refusal(self.error(200, "channel_not_found"))
        return channel

    def _open_channel(self, id_: str) -> Json:
        channel = self._channel(id_)
        if channel["is_archived"]:
            raise Refusal(self.error(200, "is_archived"))
        return channel

    def _set_members(self, channel: Json, members: list[str]) -> Json:
        return self.records.change("channels", channel["id"], {"members": members})

    def _paged(self, name: str, rows: list[Any], arguments: _Arguments, default: int = 1000) -> dict[str, Any]:
        limit, start = arguments.number("limit", default), arguments.number("cursor", 0)
        more = str(start + limit) if start + limit < len(rows) else ""
        page = {name: rows[start : start + limit], "response_metadata": {"next_cursor": more}}
        return {**page, "has_more": bool(more)} if name == "messages" else page

    def _put_user(self, id_: str, name: str, real_name: str, email: str, *, bot: bool = False) -> None:
        profile = {"email": email, "real_name": real_name, "display_name": real_name}
        fields = {
            "id": id_,
            "team_id": TEAM,
            "name": name,
            "real_name": real_name,
            "deleted": False,
            "is_bot": bot,
            "profile": profile,
        }
        self.records.put("users", id_, fields)


class _Arguments:
    """The arguments of one call."""

    def __init__(self, values: Mapping[str, Any], simulator: SlackSimulator) -> None:
        self._values = values
        self._simulator = simulator

    def __getitem__(self, name: str) -> str:
        if self._values.get(name) in (None, ""):
            body = {
                "ok": False,
                "error": "invalid_arguments",
                "response_metadata": {"messages": [f"[ERROR] missing required field: {name}"]},
            }
            raise Refusal(Answer(200, body))
        value = self._values[name]
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    def get(self, name: str) -> Any:
        return self._values.get(name) or ""

    def flag(self, name: str) -> bool:
        return str(self._values.get(name, "")).lower() in {"true", "1"}

    def number(self, name: str, default: int) -> int:
        text = str(self._values.get(name) or "")
        return int(text) if text.isdigit() else default

    def within(self, message: Json) -> bool:
        oldest, latest, thread = self.get("oldest"), self.get("latest"), self.get("ts")
        at = float(message["ts"])
        if thread and thread not in (message["ts"], message.get("thread_ts")):
            return False
        included = self.flag("inclusive")
        after = not oldest or at > float(oldest) or (included and at == float(oldest))
        before = not latest or at < float(latest) or (included and at == float(latest))
        return after and before


def user_id(worker: str) -> str:
    """Return the workspace's id of somebody who was there from the start."""
    return f"U{company.hex_id('slack', worker)[:9].upper()}"


def _channel_shown(channel: Json) -> dict[str, Any]:
    shown = {name: value for name, value in channel.items() if name != "members"}
    return {**shown, "is_channel": not channel.get("is_im"), "is_member": True, "num_members": len(channel["members"])}


def _decoded(value: Any) -> Any:
    """Return what a JSON argument holds; clients send it as text in forms and as itself in JSON."""
    if not isinstance(value, str):
        return value or {}
    try:
        return orjson.loads(value) if value else {}
    except orjson.JSONDecodeError:
        return {}
