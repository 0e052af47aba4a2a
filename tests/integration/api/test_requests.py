"""What programs send and get: lists, single resources, keys, preconditions, rights; each error one document."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fastapi.routing import APIRoute

from integration.api.programs import DANA, Programs
from integration.store.kit import query
from topstitch.access.guard import rule_of
from topstitch.api.guard import NEEDED
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.access import RIGHTS, ROLES, RULES, WHOLE, Grant, Identity
from topstitch.model.record import Actor, ActorKind
from topstitch.store import instances, items

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "retryable"}
OPEN = {"GET /openapi.json"}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of an answer, once it is the one that is expected."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer.body
    document: dict[str, Any] = answer.json
    assert document.keys() >= MEMBERS
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"/docs/errors/{code}"
    return document


def routes(programs: Programs) -> list[APIRoute]:
    return [route for route in programs.app.routes if isinstance(route, APIRoute)]


# --- Every route ----------------------------------------------------------------------------------


def test_every_route_declares_a_rule_that_exists(told: Programs):
    assert len(routes(told)) > 70
    for route in routes(told):
        assert rule_of(route) in RULES, route.path


async def test_every_route_answers_every_error_with_one_shape(told: Programs):
    walked = 0
    for route in routes(told):
        path = route.path
        for part in ("name", "version", "delivery", "source", "target"):
            path = path.replace(f"{{{part}}}", "nothing-there")
        method = next(iter(route.methods))
        for answer in (
            await told.call(method, f"{path}?no_such_parameter=1"),
            await told.call(method, path, b"\xff no json", key="x"),
            await told.call("PUT", path, b"{}"),
        ):
            if answer.status < 400:
                continue
            walked += 1
            assert answer.headers["content-type"] == "application/problem+json", (method, path, answer.body)
            document = answer.json
            assert document.keys() >= MEMBERS
            assert document["status"] == answer.status < 500, document
            assert document["instance"] == f"/api/v1{path}"
    assert walked > 150


async def test_nobody_gets_anything_but_the_document_without_signing_in(told: Programs):
    stranger = Programs(told.store, told.hires, caller=None)
    for route in routes(told):
        path = route.path.replace("{name}", "x").replace("{version}", "x").replace("{delivery}", "x")
        method = next(iter(route.methods))
        if f"{method} {path}" in OPEN:
            continue
        answer = await stranger.call(method, path, b"{}", **{"idempotency-key": "k"})
        problem(answer, 401, "not-signed-in")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_whoever_lacks_the_right_is_refused_at_every_route_before_anything_is_read(told: Programs):
    nobody = Programs(told.store, told.hires, caller=Identity(id="eve", via="token"))
    for route in routes(told):
        if rule_of(route) in ("public", "signed-in"):
            continue
        path = route.path.replace("{name}", "x").replace("{version}", "x").replace("{delivery}", "x")
        problem(await nobody.call(next(iter(route.methods)), path, b"\xff no json"), 403, "not-allowed")


async def test_a_page_of_another_site_changes_nothing(told: Programs):
    local = Programs(told.store, told.hires, caller=Identity(id="dana", roles=DANA.roles, via="local"))
    name = told.id("Priya Raman")
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        problem(await local.post(f"/instances/{name}/pause", {"reason": "x"}, **headers), 403, "foreign-origin")


# --- Lists and single resources ---------------------------------------------------------------------


async def test_O08_a_list_is_paged_by_cursor_and_every_instance_comes_once(told: Programs):
    seen: list[str] = []
    path: str | None = "/instances?limit=7&count=exact"
    while path:
        answer = await told.get(path)
        seen += [one["id"] for one in answer.json["items"]]
        assert answer.json["count"] == len(await instances.listing(told.store))
        link = answer.headers.get("link")
        path = link.partition(">")[0][len("</api/v1") :] if link else None
        assert (answer.json["next"] is None) is (link is None)
    assert sorted(seen) == sorted({row["id"] for row in await instances.listing(told.store)})


async def test_counts_are_only_counted_on_request(told: Programs):
    assert "count" not in (await told.get("/instances?limit=1")).json
    assert (await told.get("/approvals?count=exact")).json["count"] == len(await items.list_approvals(told.store))


@pytest.mark.parametrize("path", ["/instances", "/approvals", "/tasks", "/stream"])
async def test_O08_one_query_language_and_an_unknown_field_is_an_error_not_ignored(told: Programs, path: str):
    document = problem(await told.get(f"{path}?q=colour:red"), 422, "query-field")
    assert "state" in document["detail"]


async def test_a_problem_names_the_callers_own_trace(told: Programs):
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await told.get("/instances/nobody", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert problem(answer, 404, "no-instance")["trace_id"] == trace


async def test_an_unknown_parameter_is_an_error_and_the_known_ones_are_named(told: Programs):
    document = problem(await told.get("/instances?workflow=x"), 422, "parameter-unknown")
    assert document["errors"][0]["pointer"] == "?workflow"
    assert "q" in document["detail"]


async def test_a_cursor_that_is_none_is_said(told: Programs):
    for path in ("/instances", "/approvals", "/audit", "/seams", "/roles"):
        problem(await told.get(f"{path}?after=nonsense"), 422, "cursor-invalid")


async def test_a_single_resource_has_a_tag_and_is_not_sent_twice(told: Programs):
    path = f"/instances/{told.id('Priya Raman')}"
    first = await told.get(path)
    again = await told.get(path, **{"if-none-match": f'"other", {first.headers["etag"]}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await told.get(path, **{"if-none-match": '"other"'})).status == 200


async def test_times_are_rfc_3339_and_ids_say_what_they_are(told: Programs):
    row = (await told.get(f"/instances/{told.id('Priya Raman')}")).json
    assert row["id"].startswith("ins_")
    assert row["started_at"] == "2026-11-23T12:09:00.000Z"


async def test_an_instance_is_told_from_every_side(told: Programs):
    name = told.id("Priya Raman")
    steps = (await told.get(f"/instances/{name}/steps")).json["items"]
    assert {"identity", "equipment"} <= {one["id"] for one in steps}
    history = (await told.get(f"/instances/{name}/history?limit=200")).json["items"]
    audit = (await told.get(f"/instances/{name}/audit?limit=200")).json["items"]
    assert [one["seq"] for one in history] == [one["seq"] for one in audit] == list(range(1, len(history) + 1))
    assert all(orjson.loads(one["text"])["seq"] == one["seq"] for one in audit)
    assert (await told.get(f"/instances/{name}/context")).json["items"][0]["system"] == "hris"
    assert (await told.get(f"/instances/{name}/handoffs")).json["items"][0]["net_ms"] >= 0


async def test_a_grant_for_one_workflow_shows_that_workflow_alone(told: Programs):
    part = Identity(id="eve", grants=(Grant("operator", "other-*"),), via="token")
    eve = Programs(told.store, told.hires, caller=part)
    assert (await eve.get("/instances?count=exact")).json == {"items": [], "next": None, "count": 0}
    assert (await eve.get("/approvals")).json["items"] == []
    problem(await eve.get(f"/instances/{told.id('Priya Raman')}"), 403, "not-allowed")
    problem(await eve.post("/audit/verify"), 403, "not-allowed")


async def test_G05_a_role_for_a_part_gives_no_right_over_the_whole_and_shows_nothing_of_the_rest(told: Programs):
    grants = tuple(Grant(role, "other-*") for role in ROLES)
    part = Identity(id="eve", grants=grants, via="token", scopes=("*", *RIGHTS))
    eve = Programs(told.store, told.hires, caller=part)
    secret = [value for hire in told.hires for value in (hire.id, hire.state.title)]
    refused = 0
    for route in routes(told):
        path = route.path.replace("{name}", told.hires[0].id if "/instances/" in route.path else "x")
        for part_of_path in ("version", "delivery", "source", "target", "digest"):
            path = path.replace(f"{{{part_of_path}}}", "x")
        for method in sorted(route.methods - {"HEAD"}):
            if "stream" in path:
                continue
            answer = await eve.call(method, path, {} if method in ("POST", "PATCH") else None, idempotency_key="k")
            assert not [value for value in secret if value in answer.body.decode().replace(path, "")], path
            if rule_of(route) in WHOLE:
                refused += 1
                assert (answer.status, answer.json["code"]) == (403, "not-allowed"), (method, path)
    assert refused > 12


# --- Keys -------------------------------------------------------------------------------------------


async def test_a_post_that_writes_outward_needs_a_key(told: Programs):
    for route in routes(told):
        if (route.openapi_extra or {}).get(NEEDED) == "required":
            path = route.path.replace("{name}", "x").replace("{version}", "x").replace("{delivery}", "x")
            document = problem(await told.post(path, {}, key=""), 400, "idempotency-key-missing")
            assert "Idempotency-Key" in document["detail"]


async def test_O08_the_same_request_again_gets_the_first_answer_and_does_nothing(programs: Programs):
    name = programs.id("Priya Raman")
    body = {"reason": "audit week"}
    first = await programs.post(f"/instances/{name}/pause", body, key="once")
    again = await programs.post(f"/instances/{name}/pause", body, key="once")
    assert first.status == again.status == 202
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert (await instances.get(programs.store, name))["head_seq"] == first.json["seq"]


async def test_a_key_with_another_body_is_refused(programs: Programs):
    name = programs.id("Priya Raman")
    await programs.post(f"/instances/{name}/pause", {"reason": "one"}, key="k")
    answer = await programs.post(f"/instances/{name}/pause", {"reason": "two"}, key="k")
    problem(answer, 422, "idempotency-key-reused")


async def test_a_key_is_its_callers_own(programs: Programs):
    name = programs.id("Priya Raman")
    await programs.post(f"/instances/{name}/pause", {"reason": "one"}, key="k")
    programs.caller = Identity(id="omar", roles=DANA.roles, via="token")
    assert (await programs.post(f"/instances/{name}/resume", {"reason": "two"}, key="k")).status == 202


async def test_while_the_first_is_carried_out_the_second_waits_and_a_lost_one_may_be_sent_anew(programs: Programs):
    from topstitch.store import idempotency

    name = programs.id("Priya Raman")
    path, body = f"/instances/{name}/pause", {"reason": "x"}
    held = asyncio.Event()
    desk_operate = programs.hands.desk.__class__.operate

    async def slow(*args: Any, **more: Any) -> Any:
        held.set()
        await asyncio.Event().wait()
        return await desk_operate(*args, **more)

    programs.hands.desk.__class__.operate = slow
    try:
        first = asyncio.create_task(programs.post(path, body, key="k"))
        await held.wait()
        answer = await programs.post(path, body, key="k")
    finally:
        programs.hands.desk.__class__.operate = desk_operate
    problem(answer, 409, "idempotency-running")
    assert int(answer.headers["retry-after"]) > 0
    await idempotency.begin(programs.store, DANA.actor, "lost", "f", programs.clock.now())
    programs.clock.advance(idempotency.RUNNING_MAX.total_seconds() + 1)
    assert await idempotency.begin(programs.store, DANA.actor, "lost", "f", programs.clock.now()) is None
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await programs.post(path, body, key="k")).status == 202, "a request that did nothing gives its key back"


async def test_an_answer_is_kept_for_a_day(programs: Programs):
    name = programs.id("Priya Raman")
    await programs.post(f"/instances/{name}/pause", {"reason": "x"}, key="k")
    programs.clock.advance(timedelta(hours=23, minutes=59).total_seconds())
    assert (await programs.post(f"/instances/{name}/pause", {"reason": "x"}, key="k")).status == 202
    programs.clock.advance(120)
    problem(await programs.post(f"/instances/{name}/pause", {"reason": "x"}, key="k"), 409, "already")


async def test_an_error_keeps_no_key(programs: Programs):
    name = programs.id("Priya Raman")
    problem(await programs.post(f"/instances/{name}/resume", {"reason": "x"}, key="k"), 409, "already")
    await programs.post(f"/instances/{name}/pause", {"reason": "x"})
    assert (await programs.post(f"/instances/{name}/resume", {"reason": "x"}, key="k")).status == 202


async def test_who_asks_too_often_is_told_when_to_come_back(told: Programs):
    busy = Programs(told.store, told.hires, more={"requests_per_minute": 2})
    first = await busy.get("/me")
    assert first.headers["ratelimit"] == '"caller";r=1;t=30'
    assert first.headers["ratelimit-policy"] == '"caller";q=2;w=60'
    await busy.get("/me")
    answer = await busy.get("/me")
    assert problem(answer, 429, "throttled")["retryable"] is True
    assert answer.headers["retry-after"] == "30"
    busy.clock.advance(30)
    assert (await busy.get("/me")).status == 200


# --- Acting -----------------------------------------------------------------------------------------


async def test_X05_an_operator_retries_a_step_by_api_with_a_preview_and_a_reason(programs: Programs):
    name = programs.id("Lukas Vogel")
    before = (await instances.get(programs.store, name))["head_seq"]
    wish = {"step": "equipment", "reason": "ServiceNow is back"}
    says = (await programs.post(f"/instances/{name}/retry?preview=true", wish)).json["says"]
    assert "Equipment request: compensating becomes waiting." in says
    assert (await instances.get(programs.store, name))["head_seq"] == before
    done = await programs.post(f"/instances/{name}/retry", wish)
    record = (await instances.records(programs.store, name))[before]
    assert (done.status, done.json["seq"], record.body["reason"]) == (202, before + 1, "ServiceNow is back")
    assert record.actor == Actor(ActorKind.HUMAN, "dana")


async def test_X06_an_instance_is_paused_and_resumed_by_api(programs: Programs):
    name = programs.id("Priya Raman")
    assert (await programs.post(f"/instances/{name}/pause", {"reason": "audit week"})).status == 202
    problem(await programs.post(f"/instances/{name}/pause", {"reason": "again"}), 409, "already")
    assert (await programs.post(f"/instances/{name}/resume", {"reason": "over"})).status == 202


async def test_H11_process_data_is_edited_and_a_command_without_a_reason_is_refused(programs: Programs):
    name = programs.id("Priya Raman")
    document = problem(
        await programs.post(f"/instances/{name}/skip", {"step": "x", "reason": " "}), 422, "request-invalid"
    )
    assert document["errors"][0]["pointer"] == "/reason"
    change = {"path": "trigger.location", "value": "LOC-BER", "reason": "moved"}
    assert (await programs.post(f"/instances/{name}/edit", change)).status == 202


async def test_A07_an_approval_is_decided_by_who_says_what_they_looked_at_and_all_of_it_is_kept(programs: Programs):
    row = next(one for one in await items.list_approvals(programs.store) if one["asked"] == ["group:sales-ops"])
    path = f"/approvals/{row['id']}"
    seen = await programs.get(path)
    assert seen.json["payload"]
    say = {"decision": "approve", "reason": "as agreed", "payload_digest": seen.json["payload_digest"]}
    problem(await programs.post(f"{path}/decision", say), 428, "precondition-required")
    problem(await programs.post(f"{path}/decision", say, **{"if-match": '"stale"'}), 412, "precondition-failed")
    done = await programs.post(f"{path}/decision", say, **{"if-match": seen.headers["etag"]})
    assert done.json["decision"] == "approve"
    record = (await instances.records(programs.store, row["instance"]))[-1]
    assert (str(record.actor), record.at, record.body["via"]) == ("human:dana", programs.clock.now(), "api")
    assert (record.body["comment"], record.body["payload_digest"]) == ("as agreed", row["payload_digest"])
    late = await programs.post(f"{path}/decision", say, **{"if-match": seen.headers["etag"]})
    problem(late, 412, "precondition-failed")


async def test_the_api_refuses_a_decision_by_somebody_who_was_not_asked(programs: Programs):
    row = next(one for one in await items.list_approvals(programs.store) if one["asked"] == ["group:sales-ops"])
    programs.caller = Identity(id="eve", roles=("approver",), via="token", scopes=("approvals.*", "approvals.decide"))
    seen = await programs.get(f"/approvals/{row['id']}")
    match = {"if-match": seen.headers["etag"]}
    answer = await programs.post(f"/approvals/{row['id']}/decision", {"decision": "approve"}, **match)
    assert answer.status == 403
    assert (await items.get_approval(programs.store, row["id"]))["answers"] == []


async def test_an_agent_decides_nothing_by_api(programs: Programs):
    programs.caller = Identity(id="helper", kind="agent", roles=DANA.roles, via="token")
    row = (await items.list_approvals(programs.store))[0]
    problem(await programs.post(f"/approvals/{row['id']}/decision", {"decision": "approve"}), 403, "not-allowed")


async def test_a_task_is_handed_in_by_api_against_its_form(programs: Programs):
    task = (await items.list_tasks(programs.store))[0]
    programs.caller = Identity(id="ivo", roles=("operator",), via="token")
    short = await programs.post(f"/tasks/{task['id']}/done", {"output": {"number": "REQ0009"}})
    assert short.status == 422
    output = {"request_id": "REQ9", "number": "REQ0009"}
    done = await programs.post(f"/tasks/{task['id']}/done", {"output": output, "comment": "ordered"})
    assert done.json["actor"] == "human:ivo"
    assert (await instances.records(programs.store, task["instance"]))[-1].kind == "task.done"


async def test_O08_one_answer_says_where_a_hire_is_what_waits_on_whom_and_since_when(told: Programs):
    shown = (await told.get(f"/instances/{told.id('Priya Raman')}/picture")).json
    assert (shown["title"], shown["status"]) == ("Priya Raman", "waiting")
    waits = shown["waiting"][0]
    assert waits["kind"] == "approval"
    assert waits["since"] == "2026-11-23T12:09:12.050Z"
    assert "Dana Ortiz" in str(waits)


async def test_an_instance_of_a_clock_that_was_set_back_is_seen_whole(told: Programs):
    earlier = replace(told, clock=SimulatedClock(datetime(2020, 1, 1, tzinfo=UTC)))
    shown = (await earlier.get(f"/instances/{told.id('Priya Raman')}/picture")).json
    assert (shown["title"], shown["status"]) == ("Priya Raman", "waiting")


async def test_H10_an_instance_is_seen_as_of_any_moment_of_its_history(told: Programs):
    path = f"/instances/{told.id('Priya Raman')}"
    history = (await told.get(f"{path}/history?limit=200")).json["items"]
    now = (await told.get(f"{path}/picture")).json
    for at in {one["at"] for one in history}:
        then = (await told.get(f"{path}/picture?at={at}")).json
        known = [one for one in history if one["at"] <= at]
        assert (then["seq"], then["as_of"], then["records"]) == (known[-1]["seq"], at, len(known))
        assert then["digest"] == now["digest"]
    assert then["seq"] <= now["seq"] == history[-1]["seq"]
    first = (await told.get(f"{path}/picture?at={history[0]['at']}")).json
    assert (first["stage"], first["context"]) == ("context", [])
    problem(await told.get(f"{path}/picture?at=2020-01-01T00:00:00Z"), 404, "not-begun")
    problem(await told.get(f"{path}/picture?at=yesterday"), 422, "request-invalid")


async def test_exceptions_and_discrepancies_take_the_search_of_instances(programs: Programs):
    everything = (await programs.get("/discrepancies?state=all")).json["items"]
    found = (await programs.get("/discrepancies?state=all&q=priya")).json["items"]
    assert {row["instance_title"] for row in found} == {"Priya Raman"}
    assert len(found) < len(everything)
    assert (await programs.get("/discrepancies?q=state:stopped")).json["items"] == []
    for number, name in enumerate(("Priya Raman", "Lukas Vogel")):
        row = (f"cas_{number}", programs.id(name), "step", "entra-id", "no account", "open", 1_780_000_000_000)
        columns = "id, instance, cause, to_system, summary, status, opened_at"
        await query(programs.store, f"INSERT INTO cases ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
    assert len((await programs.get("/exceptions")).json["items"]) == 2
    found = (await programs.get("/exceptions?q=lukas")).json["items"]
    assert [row["instance_title"] for row in found] == ["Lukas Vogel"]
    assert (await programs.get("/exceptions?q=workflow:other&count=exact")).json == {
        "count": 0,
        "items": [],
        "next": None,
    }
    for path in ("/exceptions", "/discrepancies"):
        refused = await programs.get(f"{path}?q=colour:red")
        assert (refused.status, refused.json["code"]) == (422, "query-field")
