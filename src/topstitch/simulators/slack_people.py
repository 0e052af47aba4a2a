"""What people do in the simulated Slack: read messages, press buttons, fill in views.

The page at ``/client`` shows every channel with working buttons. A press becomes a signed
``block_actions`` payload to the interactivity URL, or an envelope to an open Socket Mode
connection; ``response_url`` and ``views.open`` answer to it. ``slack`` owns it; the control
plane's ``POST /_sim/press`` and ``POST /_sim/submit`` do the same without a page.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any, Final
from urllib.parse import quote_plus

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from topstitch.foundation.ids import random_bytes
from topstitch.foundation.timetext import parse_time
from topstitch.simulators import control, slack_page
from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.webhooks import WebhookSender
from topstitch.simulators.wire import Answer, Call, Refusal

TEAM: Final = {"id": "T0ACME0001", "domain": "acme"}
APP: Final = "A0TOPSTITCH"
RESPONSES_MAX: Final = 5
RESPONSE_SECONDS_MAX: Final = 1800
TRIGGER_SECONDS_MAX: Final = 3


class PressError(ValueError):
    """There is no such button or view."""


class People:
    """The people of one workspace."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._records = simulator.records
        self.sender = WebhookSender(simulator.records, simulator.clock, simulator.faults, self._sign)
        self._sockets: dict[WebSocket, asyncio.Queue[Json]] = {}

    def pages(self) -> list[BaseRoute]:
        """Return the page, its forms, the control plane's equivalents and the socket."""
        return [
            Route("/client", self._page, methods=["GET"]),
            Route("/client/press", self._press_form, methods=["POST"]),
            Route("/client/submit", self._submit_form, methods=["POST"]),
            Route("/_sim/press", self._press_json, methods=["POST"]),
            Route("/_sim/submit", self._submit_json, methods=["POST"]),
            Route("/_sim/notifications", self._notifications, methods=["GET"]),
            WebSocketRoute("/link/", self._socket),
        ]

    # Acts

    def press(self, *, channel: str, ts: str, action_id: str, user: str, block_id: str = "") -> Json:
        """Press a button as ``user`` (an id or an e-mail address); return the payload that was sent."""
        message = self._records.get("messages", f"{self._channel_id(channel)}/{ts}")
        action = message and _button(message, action_id, block_id)
        if not message or not action:
            raise PressError(f"no button {action_id!r} on message {ts}; GET /_sim/state lists the messages")
        ticket = self._ticket(message)
        return self._send(
            {
                "type": "block_actions",
                "user": self._user(user),
                "container": {
                    "type": "message",
                    "message_ts": ts,
                    "channel_id": message["channel"],
                    "is_ephemeral": False,
                },
                "channel": {"id": message["channel"], "name": self._channel_name(message["channel"])},
                "message": message,
                "response_url": f"{self._simulator.base_url}/response/{ticket}",
                "actions": [{**action, "action_ts": f"{self._simulator.clock.now().timestamp():.6f}"}],
            }
        )

    def submit(self, *, view: str, values: Json, user: str) -> Json:
        """Submit an open view; ``values`` is ``{block_id: {action_id: text}}``."""
        kept = self._records.get("views", view)
        if kept is None:
            raise PressError(f"no open view {view!r}; GET /_sim/state lists the views")
        state = {
            block: {action: {"type": "plain_text_input", "value": text} for action, text in inputs.items()}
            for block, inputs in values.items()
        }
        self._records.delete("views", view)
        return self._send(
            {"type": "view_submission", "user": self._user(user), "view": {**kept, "state": {"values": state}}}
        )

    def _send(self, payload: dict[str, Any]) -> Json:
        trigger = f"{random_bytes(5).hex()}.{random_bytes(8).hex()}"
        self._records.put("_triggers", trigger, {"at": self._simulator.now_text()})
        whole = {**payload, "team": TEAM, "api_app_id": APP, "token": "sim", "trigger_id": trigger}
        if self._sockets:
            envelope = {
                "envelope_id": random_bytes(16).hex(),
                "type": "interactive",
                "payload": whole,
                "accepts_response_payload": True,
            }
            next(iter(self._sockets.values())).put_nowait(envelope)
        else:
            body = b"payload=" + quote_plus(orjson.dumps(whole).decode()).encode()
            form = "application/x-www-form-urlencoded"
            url = self._simulator.settings["interactivity_url"]
            self.sender.put(url, body, kind=payload["type"], content_type=form, tries_max=1)
        return whole

    def _sign(self, _notification: Json, body: bytes) -> dict[str, str]:
        stamp = str(int(self._simulator.clock.now().timestamp()))
        secret = str(self._simulator.settings["signing_secret"]).encode()
        digest = hmac.new(secret, f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "User-Agent": "Slackbot 1.0"}

    # Answers to an interaction

    def respond(self, call: Call) -> Answer:
        """Change or answer the message that a ``response_url`` belongs to: five times in half an hour."""
        ticket = self._records.get("_tickets", call.params["ticket"])
        if ticket is None:
            return Answer(404, {"ok": False, "error": "expired_url"})
        age = (self._simulator.clock.now() - parse_time(ticket["at"])).total_seconds()
        if ticket["used"] >= RESPONSES_MAX or age > RESPONSE_SECONDS_MAX:
            return Answer(404, {"ok": False, "error": "used_url"})
        self._records.change("_tickets", call.params["ticket"], {"used": ticket["used"] + 1})
        asked = call.json()
        content = {name: asked[name] for name in ("text", "blocks") if name in asked}
        if asked.get("delete_original"):
            self._records.delete("messages", ticket["message"])
        elif asked.get("replace_original"):
            self._records.change("messages", ticket["message"], content)
        else:
            self._records.put("messages", f"{ticket['message']}+{ticket['used']}", self._aside(ticket, content))
        return Answer(200, {"ok": True})

    def _aside(self, ticket: Json, content: Json) -> Json:
        original = self._records.get("messages", ticket["message"]) or {}
        ephemeral = {"blocks": [], "text": "", **content, "is_ephemeral": True}
        return {**original, **ephemeral, "ts": f"{original.get('ts', '0.0')}{ticket['used']}"}

    def open_view(self, arguments: Any) -> dict[str, Any]:
        """views.open: within three seconds of the interaction."""
        trigger = self._records.get("_triggers", arguments["trigger_id"])
        if trigger is None:
            raise Refusal(self._simulator.error(200, "invalid_trigger"))
        if (self._simulator.clock.now() - parse_time(trigger["at"])).total_seconds() > TRIGGER_SECONDS_MAX:
            raise Refusal(self._simulator.error(200, "expired_trigger_id"))
        view = arguments.get("view")
        fields = orjson.loads(view) if isinstance(view, str) and view else view
        if not fields:
            raise Refusal(self._simulator.error(200, "invalid_arguments"))
        id_ = f"V{random_bytes(5).hex().upper()[:9]}"
        self._records.delete("_triggers", arguments["trigger_id"])
        return {"view": self._records.put("views", id_, {**fields, "id": id_, "team_id": TEAM["id"], "app_id": APP})}

    # Socket Mode

    def open_socket(self, _arguments: Any) -> dict[str, Any]:
        """apps.connections.open: an address that is good for one connection."""
        ticket = random_bytes(16).hex()
        self._records.put("_tickets", ticket, {"at": self._simulator.now_text(), "used": 0})
        return {"url": f"{self._simulator.base_url.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={APP}"}

    async def _socket(self, socket: WebSocket) -> None:
        ticket = socket.query_params.get("ticket", "")
        if self._records.get("_tickets", ticket) is None:
            await socket.close(4001)
            return
        self._records.delete("_tickets", ticket)
        await socket.accept()
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": APP}, "debug_info": {}}
        )
        self._sockets[socket] = asyncio.Queue()
        talking = asyncio.ensure_future(self._talk(socket))
        stopped = asyncio.ensure_future(self._simulator.stopping.wait())
        try:
            await asyncio.wait(
                {talking, stopped, listening := asyncio.ensure_future(self._listen(socket))},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._sockets.pop(socket, None)
            for task in (talking, stopped, listening):
                task.cancel()
            await asyncio.gather(talking, stopped, listening, return_exceptions=True)

    async def _talk(self, socket: WebSocket) -> None:
        while True:
            await socket.send_json(await self._sockets[socket].get())

    async def _listen(self, socket: WebSocket) -> None:
        while True:
            try:
                acknowledged = orjson.loads(await socket.receive_text())
            except WebSocketDisconnect:
                return
            if "envelope_id" in acknowledged:
                self._records.put("_acknowledged", acknowledged["envelope_id"], acknowledged)

    # Pages

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(slack_page.page(self._records, request.query_params.get("as", "")))

    async def _press_form(self, request: Request) -> Response:
        form = slack_page.form(await request.body())
        try:
            self.press(
                channel=form["channel"],
                ts=form["ts"],
                action_id=form["action_id"],
                block_id=form["block_id"],
                user=form["user"],
            )
        except (PressError, KeyError) as error:
            return HTMLResponse(slack_page.refusal(str(error)), 400)
        return RedirectResponse(f"/client?as={quote_plus(form['user'])}", 303)

    async def _submit_form(self, request: Request) -> Response:
        form = slack_page.form(await request.body())
        values: dict[str, dict[str, str]] = {}
        for name, value in form.items():
            block, separator, action = name.partition("/")
            if separator:
                values.setdefault(block, {})[action] = value
        try:
            self.submit(view=form["view"], values=values, user=form["user"])
        except (PressError, KeyError) as error:
            return HTMLResponse(slack_page.refusal(str(error)), 400)
        return RedirectResponse(f"/client?as={quote_plus(form['user'])}", 303)

    async def _press_json(self, request: Request) -> Response:
        asked = await control.document(request)
        try:
            return control.reply(self.press(**asked))
        except (PressError, TypeError) as error:
            return control.reply({"error": str(error)}, 400)

    async def _submit_json(self, request: Request) -> Response:
        asked = await control.document(request)
        try:
            return control.reply(self.submit(**asked))
        except (PressError, TypeError) as error:
            return control.reply({"error": str(error)}, 400)

    async def _notifications(self, _request: Request) -> Response:
        return control.reply(self.sender.all())

    # Helpers

    def _ticket(self, message: Json) -> str:
        ticket = random_bytes(12).hex()
        where = f"{message['channel']}/{message['ts']}"
        self._records.put("_tickets", ticket, {"at": self._simulator.now_text(), "used": 0, "message": where})
        return ticket

    def _channel_id(self, channel: str) -> str:
        known = self._records.first("channels", name=channel.removeprefix("#"))
        return known["id"] if known else channel

    def _channel_name(self, id_: str) -> str:
        return str((self._records.get("channels", id_) or {}).get("name", ""))

    def _user(self, user: str) -> dict[str, Any]:
        for known in self._records.all("users"):
            if user.lower() in (known["id"].lower(), known["profile"]["email"].lower()):
                return {"id": known["id"], "username": known["name"], "name": known["name"], "team_id": TEAM["id"]}
        raise PressError(f"nobody here is {user!r}; use an e-mail address or a user id of GET /_sim/records/users")


def _button(message: Json, action_id: str, block_id: str) -> dict[str, Any] | None:
    for block in message.get("blocks", []):
        elements = [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]
        for element in elements:
            if element.get("action_id") == action_id and block_id in ("", block.get("block_id", "")):
                return {"block_id": block.get("block_id", ""), **element}
    return None
