"""A system described in YAML alone behaves as declared, over real sockets, whatever it answers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from topstitch.connectors.registry import installed_contracts
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import NotAllowedError, NotFoundError, OperatorError
from topstitch.model.orders import Result

Serve: TypeAlias = Any
Connect: TypeAlias = Any
Write: TypeAlias = Any
CANARY = "canary-2b7c55-token"

SYSTEM = """\
system: tracker
title: Tracker
auth: {type: bearer, credential: token}
code_path: error.code
message_path: error.text
settings: {project: OPS}
health: list_tickets
errors:
  - {status: 422, code: busy, class: transient, wait_header: X-Wait}
  - {status: 422, code: duplicate, class: changed}
  - {status: 200, where: {ok: false}, class: permanent}
  - {contains: token_gone, class: credential}
actions:
  create_ticket:
    effect: write
    idempotency: {class: unique, header: X-Key}
    lookup: find_ticket
    undo: close_ticket
    input:
      summary: {personal: true}
      labels: {type: list, optional: true}
    request:
      method: POST
      path: "/{setting.project}/tickets"
      body: {summary: "{input.summary}", labels: "{input.labels}", from: {by: "{key}", n: 1}}
    output:
      ticket_id: {from: id}
      state: {one_of: [open, closed], map: {"1": open, "2": closed}}
    found_when: [208]
    record: id
    url: self
  find_ticket:
    effect: read
    request: {method: GET, path: /tickets, query: {key: "{key}"}}
    pick: {rows: rows, where: {key: "{key}"}}
  close_ticket:
    effect: write
    idempotency: natural
    irreversible: it is opened again by hand
    input: {ticket_id: {}}
    absent_when: [404]
    request: {method: DELETE, path: "/tickets/{input.ticket_id}"}
    output: {ticket_id: {input: ticket_id}, state: {value: closed}}
  list_tickets:
    effect: read
    request: {method: GET, path: /tickets}
    paging: {rows: rows, next: next}
    output:
      ids: {type: list, from: "rows[].id"}
      tickets: {type: list, from: rows, fields: {id: {}, state: {}}}
      any: {type: bool, from: rows, present: true}
events:
  ticket_closed:
    where: {kind: closed}
    id: delivery
    data: {ticket_id: {from: ticket.id}}
"""
CREDENTIALS = '[connections.x.credentials]\ntoken = "env:TOPSTITCH_TRACKER_TOKEN"'


def reply(document: object, status: int = 200, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that always answers this."""

    async def handler(_: web.Request) -> web.Response:
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    return handler


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPSTITCH_TRACKER_TOKEN", CANARY)


async def test_V07_a_write_is_sent_as_declared(serve: Serve, connect: Connect, write: Write) -> None:
    server = await serve(reply({"id": "7", "state": 1, "self": "https://t/7"}))
    outcome = await write(connect(SYSTEM, server.url, more=CREDENTIALS), "create_ticket", {"summary": "Priya starts"})
    assert outcome.result is Result.OK
    assert outcome.value == {"ticket_id": "7", "state": "open"}
    assert (outcome.record, outcome.url, outcome.found) == ("7", "https://t/7", False)
    request = server.requests[0]
    assert (request["method"], request["path"]) == ("POST", "/OPS/tickets")
    assert json.loads(request["body"]) == {"summary": "Priya starts", "from": {"by": "ins_1:step", "n": 1}}
    assert request["headers"]["X-Key"] == "ins_1:step"
    assert request["headers"]["Authorization"] == f"Bearer {CANARY}"
    assert request["headers"]["traceparent"].startswith("00-")


@pytest.mark.parametrize(
    ("status", "body", "headers", "result"),
    [
        (208, {"id": "7", "state": 1}, {}, Result.OK),
        (200, {"ok": False, "error": {"text": "no"}}, {}, Result.REFUSED),
        (200, {"id": "7", "state": 9}, {}, Result.UNKNOWN),
        (200, {"state": 1}, {}, Result.UNKNOWN),
        (200, '{"id": "7', {}, Result.UNKNOWN),
        (200, "[]", {}, Result.UNKNOWN),
        (202, {"id": "7"}, {}, Result.UNKNOWN),
        (302, "", {"Location": "https://elsewhere.example"}, Result.REFUSED),
        (400, {"error": {"text": "bad"}}, {}, Result.REFUSED),
        (409, {}, {}, Result.CHANGED),
        (422, {"error": {"code": "busy"}}, {"X-Wait": "9"}, Result.TRANSIENT),
        (422, {"error": {"code": "duplicate"}}, {}, Result.CHANGED),
        (422, {"error": {"code": "other"}}, {}, Result.REFUSED),
        (500, "", {}, Result.UNKNOWN),
        (503, "", {"Retry-After": "4"}, Result.TRANSIENT),
    ],
)
async def test_each_answer_to_a_write_has_its_result(
    serve: Serve, connect: Connect, write: Write, status: int, body: object, headers: dict[str, str], result: Result
) -> None:
    server = await serve(reply(body, status, **headers))
    outcome = await write(connect(SYSTEM, server.url, more=CREDENTIALS), "create_ticket", {"summary": "x"})
    assert outcome.result is result
    assert outcome.found == (status == 208)
    if result is Result.TRANSIENT:
        assert outcome.problem is not None
        assert outcome.problem.retry_after_seconds == float(next(iter(headers.values())))
    assert len(server.requests) == 1


async def test_E18_a_failure_carries_request_response_and_status_without_secrets_or_people(
    serve: Serve, connect: Connect, write: Write
) -> None:
    refusal = {"error": {"text": f"Priya Raman is not welcome, said {CANARY}"}}
    server = await serve(reply(refusal, 400, **{"X-Request-Id": "req-1"}))
    outcome = await write(connect(SYSTEM, server.url, more=CREDENTIALS), "create_ticket", {"summary": "Priya Raman"})
    assert outcome.problem is not None
    assert outcome.request is not None
    assert (outcome.problem.status, outcome.problem.request_id) == (400, "req-1")
    assert "is not welcome" in (outcome.problem.body or "")
    assert (outcome.request["method"], outcome.request["url"]) == ("POST", f"{server.url}/OPS/tickets")
    assert outcome.request["body"]["from"] == {"by": "ins_1:step", "n": 1}
    assert CANARY not in repr(outcome)
    assert "Priya Raman" not in repr(outcome)
    assert outcome.problem.message.endswith("correct what is sent, or the record at the system")


async def test_a_look_up_compares_the_key_on_the_row_and_finds_nothing_or_one(serve: Serve, connect: Connect) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "key": "another", "state": 1}]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"rows": rows})

    server = await serve(answer)
    reader = connect(SYSTEM, server.url, more=CREDENTIALS).reader("x")
    missing = await reader.look_up("create_ticket", {"summary": "x"}, "ins_1:step")
    assert (missing.result, missing.value) == (Result.OK, None)
    rows.append({"id": "2", "key": "ins_1:step", "state": 2})
    found = await reader.look_up("create_ticket", {"summary": "x"}, "ins_1:step")
    assert found.value == {"ticket_id": "2", "state": "closed"}
    rows.append({"id": "3", "key": "ins_1:step", "state": 2})
    two = await reader.look_up("create_ticket", {"summary": "x"}, "ins_1:step")
    assert (two.result, two.problem and two.problem.code) == (Result.REFUSED, "several_records")


async def test_undoing_what_is_gone_is_success(serve: Serve, connect: Connect, write: Write) -> None:
    server = await serve(reply({}, 404))
    outcome = await write(connect(SYSTEM, server.url, more=CREDENTIALS), "close_ticket", {"ticket_id": "7"})
    assert (outcome.result, outcome.found) == (Result.OK, True)
    assert outcome.value == {"ticket_id": "7", "state": "closed"}


async def test_pages_are_read_to_their_end_and_never_from_another_host(serve: Serve, connect: Connect) -> None:
    async def answer(request: web.Request) -> web.Response:
        number = int(request.query.get("p", "1"))
        row = {"rows": [{"id": str(number), "state": "s", "more": 1}]}
        return web.json_response(row | ({"next": f"/tickets?p={number + 1}"} if number < 3 else {}))

    server = await serve(answer)
    reader = connect(SYSTEM, server.url, more=CREDENTIALS).reader("x")
    outcome = await reader.read("list_tickets", {})
    assert outcome.value["ids"] == ["1", "2", "3"]
    assert outcome.value["tickets"][0] == {"id": "1", "state": "s"}
    assert outcome.value["any"] is True
    server.handler = reply({"rows": [], "next": "https://evil.example/tickets"})
    refused = await reader.read("list_tickets", {})
    assert (refused.result, refused.problem and refused.problem.code) == (Result.REFUSED, "address_foreign")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "summary is missing"),
        ({"summary": 7}, "summary has another type"),
        ({"summary": "x", "labels": [1]}, "labels"),
        ({"summary": "x", "colour": "red"}, "colour is not taken"),
    ],
)
async def test_params_that_do_not_fit_are_refused_before_anything_is_sent(
    serve: Serve, connect: Connect, write: Write, params: dict[str, Any], said: str
) -> None:
    server = await serve(reply({}))
    outcome = await write(connect(SYSTEM, server.url, more=CREDENTIALS), "create_ticket", params)
    assert outcome.result is Result.REFUSED
    assert outcome.problem is not None
    assert said in outcome.problem.message
    assert server.requests == []


async def test_A05_a_reader_cannot_write_and_a_writer_needs_the_grant_for_this_payload(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(reply({}))
    registry = connect(SYSTEM, server.url, more=CREDENTIALS)
    with pytest.raises(NotAllowedError):
        await registry.reader("x").read("create_ticket", {"summary": "x"})
    assert not hasattr(registry.reader("x"), "write")
    from topstitch.model.orders import Grant, WriteCall

    grant = Grant(decision="auto", by="p", payload_digest="sha256:0")
    call = WriteCall(
        key="k",
        system="x",
        action="create_ticket",
        params={"summary": "x"},
        idempotency_key="k",
        attempt=1,
        grant=grant,
        instance="i",
    )
    with pytest.raises(NotAllowedError, match="another payload"):
        await registry.writer("x").write(call)
    with pytest.raises(NotFoundError, match="has no action"):
        await registry.reader("x").read("nothing", {})
    assert server.requests == []


async def test_C06_a_rotated_token_is_read_again_without_a_restart(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer second-token"
        return web.json_response({"rows": []}, status=200 if good else 401)

    server = await serve(answer)
    reader = connect(SYSTEM, server.url, more=CREDENTIALS).reader("x")
    refused = await reader.read("list_tickets", {})
    assert (refused.result, len(server.requests)) == (Result.CREDENTIAL, 1)
    monkeypatch.setenv("TOPSTITCH_TRACKER_TOKEN", "second-token")
    assert (await reader.read("list_tickets", {})).result is Result.OK


async def test_C06_expiry_that_only_the_body_tells_is_noticed(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer second-token"
        return web.json_response({"rows": []} if good else {"error": {"text": "token_gone"}})

    server = await serve(answer)
    reader = connect(SYSTEM, server.url, more=CREDENTIALS).reader("x")
    assert (await reader.read("list_tickets", {})).result is Result.CREDENTIAL
    monkeypatch.setenv("TOPSTITCH_TRACKER_TOKEN", "second-token")
    assert (await reader.read("list_tickets", {})).result is Result.OK


OAUTH = SYSTEM.replace(
    "auth: {type: bearer, credential: token}", "auth: {type: oauth2, token_url: /token, client_in: header, scope: all}"
).replace("  - {contains: token_gone, class: credential}\n", "")
CLIENT = """
[connections.x.credentials]
client_id = "env:TOPSTITCH_TRACKER_TOKEN"
client_secret = "env:TOPSTITCH_TRACKER_TOKEN"
"""


async def test_C06_an_expired_token_is_fetched_once_for_all_callers(serve: Serve, connect: Connect) -> None:
    tokens: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/token":
            assert (
                request.headers["Authorization"] == "Basic " + base64.b64encode(f"{CANARY}:{CANARY}".encode()).decode()
            )
            await asyncio.sleep(0)
            tokens.append(f"token-number-{len(tokens)}")
            return web.json_response({"access_token": tokens[-1], "expires_in": 3600})
        good = len(tokens) > 1 and request.headers["Authorization"] == f"Bearer {tokens[-1]}"
        return web.json_response({"rows": []}, status=200 if good else 401)

    server = await serve(answer)
    reader = connect(OAUTH, server.url, more=CLIENT).reader("x")
    outcomes = await asyncio.gather(*(reader.read("list_tickets", {}) for _ in range(20)))
    assert {outcome.result for outcome in outcomes} == {Result.OK}
    assert len(tokens) == 2


async def test_C06_a_refused_client_is_a_credential_problem_and_is_not_asked_again_by_each_caller(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(reply({"error": "invalid_client", "secret": CANARY}, 401))
    reader = connect(OAUTH, server.url, more=CLIENT).reader("x")
    outcomes = await asyncio.gather(*(reader.read("list_tickets", {}) for _ in range(20)))
    assert {outcome.result for outcome in outcomes} == {Result.CREDENTIAL}
    assert len(server.requests) == 1
    assert CANARY not in repr(outcomes)


async def test_C06_a_token_endpoint_that_is_down_means_nothing_was_sent(
    serve: Serve, connect: Connect, write: Write
) -> None:
    server = await serve(reply("", 503))
    outcome = await write(connect(OAUTH, server.url, more=CLIENT), "create_ticket", {"summary": "x"})
    assert outcome.result is Result.TRANSIENT


async def test_a_system_that_is_not_there_means_nothing_was_sent(connect: Connect, write: Write) -> None:
    registry = connect(SYSTEM, "http://127.0.0.1:1", more=CREDENTIALS)
    outcome = await write(registry, "create_ticket", {"summary": "x"})
    assert (outcome.result, outcome.problem and outcome.problem.code) == (Result.TRANSIENT, "unreachable")
    assert (await registry.health("x")).result is Result.TRANSIENT


async def test_silence_is_unknown_for_a_write_and_transient_for_a_read(
    serve: Serve, connect: Connect, write: Write
) -> None:
    never = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    server = await serve(silent)
    registry = connect(SYSTEM, server.url, more=CREDENTIALS)
    wrote = await write(registry, "create_ticket", {"summary": "x"}, timeout_seconds=0.2)
    read = await registry.reader("x").read("list_tickets", {}, timeout_seconds=0.2)
    assert (wrote.result, read.result) == (Result.UNKNOWN, Result.TRANSIENT)


@pytest.mark.parametrize("method", ["create_ticket", "close_ticket"])
async def test_a_connection_that_breaks_is_never_resent_in_silence(
    serve: Serve, connect: Connect, write: Write, method: str
) -> None:
    async def breaks(request: web.Request) -> web.Response:
        if len(server.requests) > 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": "1", "state": 1})

    server = await serve(breaks)
    registry = connect(SYSTEM, server.url, more=CREDENTIALS)
    await write(registry, "create_ticket", {"summary": "x"})
    params = {"summary": "x"} if method == "create_ticket" else {"ticket_id": "1"}
    assert (await write(registry, method, params)).result is Result.UNKNOWN
    assert len(server.requests) == 2


async def test_events_are_read_as_declared(connect: Connect) -> None:
    registry = connect(SYSTEM, "http://127.0.0.1:1", more=CREDENTIALS)
    event = registry.normalise_event("x", "", {"kind": "closed", "delivery": "d-1", "ticket": {"id": "7"}})
    assert (event.name, event.id, event.data) == ("ticket_closed", "d-1", {"ticket_id": "7"})


async def test_an_unknown_setting_is_refused(connect: Connect) -> None:
    registry = connect(SYSTEM, "http://127.0.0.1:1", settings='colour = "red"', more=CREDENTIALS)
    with pytest.raises(OperatorError, match="knows no setting 'colour'"):
        registry.reader("x")


async def test_C04_a_429_holds_the_whole_connection_back(serve: Serve, connect: Connect) -> None:
    clock = SimulatedClock()
    server = await serve(reply({}, 429, **{"Retry-After": "30"}))
    reader = connect(SYSTEM, server.url, more=CREDENTIALS, clock=clock).reader("x")
    assert (await reader.read("list_tickets", {})).result is Result.TRANSIENT
    server.handler = reply({"rows": []})
    held = await reader.read("list_tickets", {})
    assert (held.result, len(server.requests)) == (Result.TRANSIENT, 1)
    assert held.problem is not None
    assert held.problem.retry_after_seconds == 30
    clock.advance(30)
    assert (await reader.read("list_tickets", {})).result is Result.OK


JIRA = """\
system: jira
title: Jira
errors: [{status: 404, class: permanent}]
actions:
  get_request:
    effect: read
    input: {request_id: {}}
    request: {method: GET, path: "/rest/api/3/issue/{input.request_id}"}
    output:
      request_id: {from: id}
      number: {from: key}
      state:
        from: fields.status.name
        one_of: [requested, approved, in_progress, fulfilled, cancelled]
        map: {"To Do": requested, "In Progress": in_progress, Done: fulfilled, Cancelled: cancelled}
      items: {type: list, from: fields.labels}
      correlation_id: {from: properties.topstitch}
  create_catalog_request:
    effect: write
    idempotency: find_first
    lookup: find_request
    undo: cancel_request
    risk: 2
    input:
      employee_id: {}
      location: {}
      department: {}
      tier: {}
      items: {type: list}
    request:
      method: POST
      path: /rest/api/3/issue
      body:
        fields: {summary: "{input.tier} for {input.employee_id}", labels: "{input.items}"}
        properties: [{key: topstitch, value: "{key}"}]
    output: {request_id: {from: id}, number: {from: key}}
  find_request:
    effect: read
    request: {method: GET, path: /rest/api/3/search, query: {jql: 'issue.property[topstitch] = "{key}"'}}
    pick: {rows: issues, where: {properties.topstitch: "{key}"}}
  cancel_request:
    effect: write
    idempotency: natural
    irreversible: a cancelled request is ordered again
    input: {request_id: {}, update_asset: {type: bool, optional: true}}
    absent_when: [404]
    request: {method: POST, path: "/rest/api/3/issue/{input.request_id}/transitions", body: {transition: {id: "91"}}}
    output: {request_id: {input: request_id}, state: {value: cancelled}}
"""


async def test_V07_a_declared_system_stands_in_for_a_shipped_one_by_binding_alone(
    serve: Serve, connect: Connect, write: Write
) -> None:
    issue = {"id": "10001", "key": "IT-1", "fields": {"status": {"name": "To Do"}, "labels": ["Laptop"]}}
    server = await serve(reply({**issue, "properties": {"topstitch": "ins_1:step"}}))
    registry = connect(JIRA, server.url)
    used = frozenset({"get_request", "create_catalog_request", "find_request", "cancel_request"})
    assert registry.binding_problems("x", "servicenow@1", used) == []
    assert "jira@1 has no action price_equipment" in registry.binding_problems("x", "servicenow@1")
    assert set(installed_contracts()) < set(registry.contracts())
    params = {"employee_id": "W-1", "location": "BER", "department": "IT", "tier": "plus", "items": ["Laptop"]}
    made = await write(registry, "create_catalog_request", params)
    assert made.value == {"request_id": "10001", "number": "IT-1"}
    shown = await registry.reader("x").read("get_request", {"request_id": "10001"})
    assert shown.value["state"] == "requested"
    undone = await write(registry, "cancel_request", {"request_id": "10001", "update_asset": True})
    assert undone.value == {"request_id": "10001", "state": "cancelled"}
