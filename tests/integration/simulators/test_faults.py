"""Every kind of fault, seen from outside: what the caller gets and what the system holds."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

USER = {
    "accountEnabled": True,
    "displayName": "Priya Raman",
    "mailNickname": "priya.raman",
    "userPrincipalName": "priya.raman@corp.example",
    "passwordProfile": {"password": "correct horse"},
}
USERS = "/v1.0/users"
MINE = "/v1.0/users/priya.raman@corp.example"


async def exists(entra: Any) -> bool:
    return any(user["userPrincipalName"] == USER["userPrincipalName"] for user in await records(entra, "users"))


async def records(client: Any, kind: str) -> list[dict[str, Any]]:
    return list((await client("GET", f"/_sim/records/{kind}")).body)


async def journal(client: Any) -> list[dict[str, Any]]:
    return list((await client("GET", "/_sim/journal")).body)


async def test_refuse_answers_in_the_vendors_form_and_does_nothing(entra: Any) -> None:
    await entra.fault("refuse", status=403, match={"method": "POST", "path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body["error"]["code"]) == (403, "Authorization_RequestDenied")
    assert not await exists(entra)


async def test_refuse_may_carry_its_own_body_such_as_a_200_with_an_error(entra: Any) -> None:
    await entra.fault("refuse", status=200, body={"error": "not really"}, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body) == (200, {"error": "not really"})
    assert not await exists(entra)


@pytest.mark.parametrize(("kind", "code"), [("500", "InternalServerError"), ("503", "ServiceUnavailable")])
async def test_server_errors_carry_the_vendors_code(entra: Any, kind: str, code: str) -> None:
    await entra.fault(kind, times=1, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body["error"]["code"]) == (int(kind), code)
    assert (await entra("POST", USERS, USER)).status == 201


async def test_429_carries_retry_after(entra: Any) -> None:
    await entra.fault("429", retry_after=17, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "17")


async def test_drop_after_commit_closes_the_connection_and_the_effect_stays(entra: Any) -> None:
    await entra.fault("drop_after_commit", times=1, match={"path": "/users$"})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await entra("POST", USERS, USER)
    assert await exists(entra)
    entry = (await journal(entra))[-1]
    assert (entry["fault"], entry["committed"]) == ("drop_after_commit", True)


async def test_down_closes_the_connection_and_nothing_happened(entra: Any) -> None:
    await entra.fault("down")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await entra("POST", USERS, USER)
    assert not await exists(entra)
    assert (await entra("DELETE", "/_sim/faults")).status == 200
    assert (await entra("POST", USERS, USER)).status == 201


async def test_a_system_may_refuse_connections_and_accept_them_again(world: Any, entra: Any) -> None:
    await world.sims.refuse_connections("entra-id")
    with pytest.raises(aiohttp.ClientConnectorError):
        await entra("POST", USERS, USER)
    await world.sims.accept_connections("entra-id")
    assert (await entra("POST", USERS, USER)).status == 201


async def test_timeout_before_holds_until_the_caller_gives_up_and_nothing_happened(entra: Any) -> None:
    await entra.fault("timeout_before", times=1, match={"path": "/users$"})
    with pytest.raises(asyncio.TimeoutError):
        await entra("POST", USERS, USER, timeout=aiohttp.ClientTimeout(total=0.15))
    assert not await exists(entra)


async def test_timeout_after_commit_holds_and_the_effect_stays(entra: Any) -> None:
    await entra.fault("timeout_after_commit", times=1, match={"path": "/users$"})
    with pytest.raises(asyncio.TimeoutError):
        await entra("POST", USERS, USER, timeout=aiohttp.ClientTimeout(total=0.15))
    assert await exists(entra)


async def test_edge_6_accept_store_nothing_answers_201_and_stores_nothing(entra: Any) -> None:
    await entra.fault("accept_store_nothing", times=1, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body["userPrincipalName"]) == (201, USER["userPrincipalName"])
    assert (await entra("GET", MINE)).status == 404
    assert (await journal(entra))[-2]["committed"] is False


async def test_edge_6_accepted_later_answers_202_with_a_job_to_poll(world: Any, entra: Any) -> None:
    await entra.fault("accepted_later", seconds=60, times=1, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    where = reply.headers["Location"].removeprefix(entra.url)
    assert reply.status == 202
    assert (await entra("GET", where)).body["status"] == "running"
    assert not await exists(entra)
    world.clock.advance(60)
    done = (await entra("GET", where)).body
    assert (done["status"], done["code"]) == ("succeeded", 201)
    assert await exists(entra)


async def test_edge_6_already_done_is_a_409_though_it_happened(entra: Any) -> None:
    await entra.fault("already_done", times=1, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body["error"]["code"]) == (409, "Request_Conflict")
    assert await exists(entra)


async def test_slow_waits_in_clock_time(world: Any, entra: Any) -> None:
    await entra.fault("slow", seconds=90, times=1, match={"path": "/users$"})
    call = asyncio.create_task(entra("POST", USERS, USER))
    await world.somebody_sleeps()
    assert not await exists(entra)
    assert not call.done()
    world.clock.advance(90)
    assert (await call).status == 201


async def test_edge_9_token_expired_forgets_every_token_once(world: Any, entra: Any) -> None:
    await entra.fault("token_expired", times=1, match={"path": "/users"})
    assert (await entra("GET", USERS)).body["error"]["code"] == "InvalidAuthenticationToken"
    assert (await entra("GET", USERS)).status == 401
    assert (await (await world.client("entra-id"))("GET", USERS)).status == 200


async def test_bad_json_is_cut_off_after_the_effect(entra: Any) -> None:
    await entra.fault("bad_json", times=1, match={"path": "/users$"})
    reply = await entra("POST", USERS, USER)
    assert (reply.status, reply.body) == (201, None)
    assert reply.text.startswith("{")
    assert await exists(entra)


async def test_edge_5_wrong_schema_renames_retypes_drops_and_sets(entra: Any) -> None:
    how = {"rename": {"userPrincipalName": "principalName"}, "retype": {"accountEnabled": "text"}}
    await entra.fault("wrong_schema", **how, drop=["mailNickname"], set={"department": "Ministry"}, times=1)
    body = (
        await entra("GET", "/v1.0/users/helena.novak@corp.example?$select=userPrincipalName,accountEnabled,department")
    ).body
    assert body["principalName"] == "helena.novak@corp.example"
    assert (body["accountEnabled"], body["department"]) == ("True", "Ministry")
    assert not {"userPrincipalName", "mailNickname"} & set(body)


async def test_edge_5_without_instructions_the_whole_document_is_another(entra: Any) -> None:
    await entra.fault("wrong_schema", times=1)
    assert (await entra("GET", USERS)).body == {"unexpected": True}


async def test_edge_5_an_operation_may_be_gone(entra: Any) -> None:
    await entra.fault("refuse", status=404, match={"path": "/assignLicense$"})
    assert (await entra("POST", "/v1.0/users/helena.novak@corp.example/assignLicense", {})).status == 404


async def test_stale_read_shows_the_record_before_its_last_change(entra: Any) -> None:
    await entra("POST", USERS, USER)
    await entra("PATCH", MINE, {"department": "Design"})
    await entra("PATCH", MINE, {"department": "Sales"})
    await entra.fault("stale_read", times=1)
    assert (await entra("GET", f"{MINE}?$select=department")).body["department"] == "Design"
    assert (await entra("GET", f"{MINE}?$select=department")).body["department"] == "Sales"


async def test_edge_13_three_of_fifty_fail_by_their_body(entra: Any) -> None:
    await entra.fault("503", match={"method": "POST", "path": "/users$", "body": r"number(7|20|41)@"})
    failed = []
    for index in range(1, 51):
        name = f"number{index}"
        made = {**USER, "mailNickname": name, "userPrincipalName": f"{name}@corp.example"}
        if (await entra("POST", USERS, made)).status == 503:
            failed.append(index)
    assert failed == [7, 20, 41]


async def test_the_list_is_ordered_counts_down_and_may_start_later(entra: Any) -> None:
    await entra.fault("500", times=1, after=1, match={"path": "/users$"})
    await entra.fault("503", times=1, match={"path": "/users$"})
    seen = [(await entra("GET", USERS)).status for _ in range(3)]
    assert seen == [503, 500, 200]


async def test_a_fault_may_last_for_a_time(world: Any, entra: Any) -> None:
    await entra.fault("503", for_seconds=600)
    assert (await entra("GET", USERS)).status == 503
    world.clock.advance(600)
    assert (await entra("GET", USERS)).status == 200


async def test_a_fault_that_is_none_is_refused_with_the_kinds(entra: Any) -> None:
    reply = await entra("POST", "/_sim/faults", {"kind": "earthquake"})
    assert reply.status == 400
    assert "drop_after_commit" in reply.body["error"]
    assert (await entra("POST", "/_sim/faults", {"kind": "500", "match": {"path": "("}})).status == 400


async def test_reads_and_token_calls_do_not_use_up_a_fault_on_writes(world: Any, entra: Any) -> None:
    await entra.fault("drop_after_commit", times=1)
    assert (await entra("GET", USERS)).status == 200
    await world.token("entra-id")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await entra("POST", USERS, USER)


async def test_the_journal_keeps_keys_and_hides_secrets(world: Any, entra: Any) -> None:
    await entra("POST", USERS, USER, headers={"client-request-id": "ins_1:identity"})
    entry = (await journal(entra))[-1]
    assert (entry["key"], entry["status"], entry["committed"]) == ("ins_1:identity", 201, True)
    everything = str(await journal(entra))
    assert "correct horse" not in everything
    assert world.sims.facts()["entra-id"]["client_secret"] not in everything
