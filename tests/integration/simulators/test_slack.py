"""The simulated Slack, driven by the vendor's own client and checked by its own signature verifier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import orjson
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

BLOCKS = [
    {"type": "section", "block_id": "what", "text": {"type": "mrkdwn", "text": "*Approve* access <b>"}},
    {
        "type": "actions",
        "block_id": "decide",
        "elements": [
            {
                "type": "button",
                "action_id": name,
                "value": "apr_1",
                "style": style,
                "text": {"type": "plain_text", "text": text},
            }
            for name, text, style in (("approve", "Approve", "primary"), ("reject", "Reject", "danger"))
        ],
    },
]


@pytest.fixture
async def client(world: Any, slack: Any) -> AsyncWebClient:
    facts = world.sims.facts()["slack"]
    return AsyncWebClient(token=facts["bot_token"], base_url=f"{facts['base_url']}/api/", session=world.session)


class Receiver:
    """Takes interactivity payloads as an application would."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.statuses: list[int] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.put_nowait((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hooks/slack", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/slack"
    yield receiver
    await runner.cleanup()


async def channel_id(client: AsyncWebClient, name: str) -> str:
    channels = (await client.conversations_list())["channels"]
    return str(next(channel["id"] for channel in channels if channel["name"] == name))


async def test_the_vendors_client_signs_in_and_finds_people(client: AsyncWebClient) -> None:
    assert (await client.auth_test())["team_id"] == "T0ACME0001"
    user = (await client.users_lookupByEmail(email="dana.whitfield@corp.example"))["user"]
    assert user["real_name"] == "Dana Whitfield"
    with pytest.raises(SlackApiError) as refused:
        await client.users_lookupByEmail(email="nobody@corp.example")
    assert (refused.value.response["error"], refused.value.response.status_code) == ("users_not_found", 200)


async def test_a_bad_token_is_a_200_with_an_error(slack: Any) -> None:
    reply = await slack("POST", "/api/auth.test", headers={"Authorization": "Bearer xoxb-wrong"})
    assert (reply.status, reply.body) == (200, {"ok": False, "error": "invalid_auth"})
    reply = await slack("POST", "/api/auth.test", headers={"Authorization": ""})
    assert reply.body["error"] == "not_authed"


async def test_members_are_invited_once_and_kicked_once(client: AsyncWebClient) -> None:
    channel = await channel_id(client, "team-platform")
    user = str((await client.users_lookupByEmail(email="mei.tanaka@corp.example"))["user"]["id"])
    await client.conversations_invite(channel=channel, users=user)
    assert user in (await client.conversations_members(channel=channel))["members"]
    with pytest.raises(SlackApiError, match="already_in_channel"):
        await client.conversations_invite(channel=channel, users=user)
    await client.conversations_kick(channel=channel, user=user)
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await client.conversations_kick(channel=channel, user=user)


async def test_a_newcomer_is_invited_to_the_workspace_once(client: AsyncWebClient) -> None:
    channel = await channel_id(client, "general")
    asked = {"team_id": "T0ACME0001", "email": "priya.raman@corp.example", "channel_ids": channel}
    await client.admin_users_invite(**asked)
    user = (await client.users_lookupByEmail(email="priya.raman@corp.example"))["user"]["id"]
    assert user in (await client.conversations_members(channel=channel))["members"]
    with pytest.raises(SlackApiError, match="already_in_team"):
        await client.admin_users_invite(**asked)


async def test_messages_are_posted_found_by_metadata_changed_and_deleted(client: AsyncWebClient) -> None:
    metadata = {"event_type": "topstitch", "event_payload": {"topstitch_key": "ins_1:chat"}}
    posted = await client.chat_postMessage(channel="#approvals", text="hello", metadata=metadata)
    channel, ts = str(posted["channel"]), str(posted["ts"])
    found = (await client.conversations_history(channel=channel, include_all_metadata=True))["messages"][0]
    assert found["metadata"]["event_payload"]["topstitch_key"] == "ins_1:chat"
    assert "metadata" not in (await client.conversations_history(channel=channel))["messages"][0]
    await client.chat_update(channel=channel, ts=ts, text="changed")
    assert (await client.conversations_history(channel=channel))["messages"][0]["text"] == "changed"
    await client.chat_delete(channel=channel, ts=ts)
    with pytest.raises(SlackApiError, match="message_not_found"):
        await client.chat_delete(channel=channel, ts=ts)


async def test_posting_twice_makes_two_messages(client: AsyncWebClient, slack: Any) -> None:
    for _ in range(2):
        await client.chat_postMessage(channel="#approvals", text="hello")
    assert len((await slack("GET", "/_sim/records/messages")).body) == 2


async def test_a_message_a_second_per_channel_then_429(world: Any, slack: Any) -> None:
    await slack("PATCH", "/_sim/settings", {"channel_message_seconds": 1})
    replies = [await slack("POST", "/api/chat.postMessage", {"channel": "#approvals", "text": "x"}) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 429]
    assert (replies[1].body["error"], replies[1].headers["Retry-After"]) == ("ratelimited", "1")
    world.clock.advance(1)
    assert (await slack("POST", "/api/chat.postMessage", {"channel": "#approvals", "text": "x"})).body["ok"]


async def test_edge_6_a_fault_is_a_200_with_ok_false(slack: Any) -> None:
    await slack.fault("refuse", status=200, code="fatal_error", match={"path": "chat.postMessage"})
    reply = await slack("POST", "/api/chat.postMessage", {"channel": "#approvals", "text": "x"})
    assert (reply.status, reply.body) == (200, {"ok": False, "error": "fatal_error"})


async def test_edge_9_an_expired_token_stays_so_until_it_is_set_anew(slack: Any) -> None:
    await slack.fault("token_expired", times=1)
    assert (await slack("POST", "/api/auth.test")).body["error"] == "token_expired"
    assert (await slack("POST", "/api/auth.test")).body["error"] == "token_expired"
    await slack("PATCH", "/_sim/settings", {"bot_token": "xoxb-sim-topstitch"})
    assert (await slack("POST", "/api/auth.test")).body["ok"]


async def test_edge_9_one_scope_may_be_missing(slack: Any) -> None:
    await slack("PATCH", "/_sim/settings", {"missing_scopes": ["conversations.invite"]})
    assert (await slack("POST", "/api/conversations.invite", {})).body["error"] == "missing_scope"
    assert (await slack("POST", "/api/auth.test")).body["ok"]


async def test_missing_arguments_and_unknown_methods_are_refused(slack: Any) -> None:
    assert (await slack("POST", "/api/chat.postMessage", {"channel": "#approvals"})).body["error"] == "no_text"
    assert (await slack("POST", "/api/chat.postMessage", {"text": "x"})).body["error"] == "invalid_arguments"
    assert (await slack("POST", "/api/chat.shout", {})).body["error"] == "unknown_method"


async def pressed(world: Any, slack: Any, receiver: Receiver, action: str) -> dict[str, Any]:
    """Press a button on the page as a person would, and return the payload that arrived."""
    await slack("PATCH", "/_sim/settings", {"interactivity_url": receiver.url})
    posted = (
        await slack("POST", "/api/chat.postMessage", {"channel": "#approvals", "text": "x", "blocks": BLOCKS})
    ).body
    async with world.session.get(f"{slack.url}/client") as answer:
        page = await answer.text()
        assert "&lt;b&gt;" in page
        assert f'name="action_id" value="{action}"' in page
    form = {"channel": posted["channel"], "ts": posted["ts"], "block_id": "decide", "action_id": action}
    async with world.session.post(
        f"{slack.url}/client/press", data={**form, "user": "jonas.weber@corp.example"}
    ) as answer:
        assert answer.status == 200
    headers, body = await asyncio.wait_for(receiver.got.get(), 5)
    verifier = SignatureVerifier(world.sims.facts()["slack"]["signing_secret"], clock=_At(world.clock))
    assert verifier.is_valid_request(body, headers)
    assert not verifier.is_valid_request(body + b" ", headers)
    payload = orjson.loads(parse_qs(body.decode())["payload"][0])
    return dict(payload)


class _At:
    """The clock that the vendor's verifier asks."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> float:
        return float(self._clock.now().timestamp())


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_button_on_the_page_sends_a_signed_payload(
    world: Any, slack: Any, receiver: Receiver, action: str
) -> None:
    payload = await pressed(world, slack, receiver, action)
    assert payload["type"] == "block_actions"
    assert (payload["actions"][0]["action_id"], payload["actions"][0]["value"]) == (action, "apr_1")
    assert payload["user"]["username"] == "jonas.weber"


async def test_a_response_url_changes_the_message_and_serves_five_times(
    world: Any, slack: Any, receiver: Receiver
) -> None:
    payload = await pressed(world, slack, receiver, "approve")
    where = payload["response_url"].removeprefix(slack.url)
    body = {"replace_original": True, "text": "Approved by Jonas Weber", "blocks": []}
    assert [(await slack("POST", where, body)).status for _ in range(6)] == [200] * 5 + [404]
    messages = (await slack("GET", "/_sim/records/messages")).body
    assert [message["text"] for message in messages] == ["Approved by Jonas Weber"]


async def test_a_view_opens_within_three_seconds_and_is_submitted(world: Any, slack: Any, receiver: Receiver) -> None:
    payload = await pressed(world, slack, receiver, "reject")
    block = {"type": "input", "block_id": "why", "label": {"type": "plain_text", "text": "Why?"}}
    block |= {"element": {"type": "plain_text_input", "action_id": "text"}}
    title = {"type": "plain_text", "text": "Reject"}
    asked = {
        "trigger_id": payload["trigger_id"],
        "view": {"type": "modal", "title": title, "blocks": [block], "callback_id": "c"},
    }
    view = (await slack("POST", "/api/views.open", asked)).body["view"]
    form = {"view": view["id"], "user": "jonas.weber@corp.example", "why/text": "too early"}
    async with world.session.post(f"{slack.url}/client/submit", data=form) as answer:
        assert answer.status == 200
    _, body = await asyncio.wait_for(receiver.got.get(), 5)
    submitted = orjson.loads(parse_qs(body.decode())["payload"][0])
    assert submitted["view"]["state"]["values"]["why"]["text"]["value"] == "too early"
    late = await pressed(world, slack, receiver, "reject")
    world.clock.advance(4)
    expired = await slack("POST", "/api/views.open", {**asked, "trigger_id": late["trigger_id"]})
    assert expired.body["error"] == "expired_trigger_id"


async def test_a_press_that_is_not_acknowledged_is_not_repeated(world: Any, slack: Any, receiver: Receiver) -> None:
    receiver.statuses.append(500)
    await pressed(world, slack, receiver, "approve")
    await world.sims["slack"].people.sender.settled()
    notifications = (await slack("GET", "/_sim/notifications")).body
    assert [(one["state"], len(one["tries"])) for one in notifications] == [("given_up", 1)]


async def test_a_button_that_is_not_there_is_refused(slack: Any) -> None:
    asked = {"channel": "#approvals", "ts": "1.0", "action_id": "approve", "user": "jonas.weber@corp.example"}
    reply = await slack("POST", "/_sim/press", asked)
    assert reply.status == 400
    assert "approve" in reply.body["error"]


async def test_socket_mode_hands_the_press_over_and_takes_the_acknowledgement(world: Any, slack: Any) -> None:
    opened = await slack("POST", "/api/apps.connections.open", headers={"Authorization": "Bearer xapp-sim-topstitch"})
    posted = (
        await slack("POST", "/api/chat.postMessage", {"channel": "#approvals", "text": "x", "blocks": BLOCKS})
    ).body
    async with world.session.ws_connect(opened.body["url"]) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "hello"
        asked = {
            "channel": posted["channel"],
            "ts": posted["ts"],
            "action_id": "approve",
            "user": "jonas.weber@corp.example",
        }
        await slack("POST", "/_sim/press", asked)
        envelope = await socket.receive_json(timeout=5)
        assert (envelope["type"], envelope["payload"]["type"]) == ("interactive", "block_actions")
        await socket.send_json({"envelope_id": envelope["envelope_id"]})
    assert (await slack("GET", "/_sim/records/_acknowledged")).body == [{"envelope_id": envelope["envelope_id"]}]
    with pytest.raises(aiohttp.ClientError):
        await world.session.ws_connect(opened.body["url"])
