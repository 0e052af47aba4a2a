"""The simulated Entra ID keeps Graph's rules."""

from __future__ import annotations

from typing import Any

import pytest

USER = {
    "accountEnabled": True,
    "displayName": "Priya Raman",
    "mailNickname": "priya.raman",
    "userPrincipalName": "priya.raman@corp.example",
    "passwordProfile": {"password": "correct horse"},
    "employeeId": "W-104233",
    "usageLocation": "DE",
}
MINE = "/v1.0/users/priya.raman@corp.example"
E3 = "05e9a617-0261-4cee-bb44-138d3ef5d965"


async def created(entra: Any, **fields: Any) -> str:
    reply = await entra("POST", "/v1.0/users", {**USER, **fields})
    assert reply.status == 201, reply.text
    return str(reply.body["id"])


async def group(entra: Any, name: str) -> str:
    reply = await entra("GET", f"/v1.0/groups?$filter=displayName eq '{name}'")
    return str(reply.body["value"][0]["id"])


async def test_a_wrong_secret_gets_the_vendors_own_error(world: Any, entra: Any) -> None:
    facts = world.sims.facts()["entra-id"]
    form = {"grant_type": "client_credentials", "client_id": facts["client_id"], "client_secret": "guess"}
    async with world.session.post(f"{entra.url}/{facts['tenant']}/oauth2/v2.0/token", data=form) as answer:
        document = await answer.json()
        assert (answer.status, document["error"], document["error_codes"]) == (401, "invalid_client", [7000215])


async def test_edge_9_a_rotated_secret_refuses_the_old_one(world: Any, entra: Any) -> None:
    await entra("PATCH", "/_sim/settings", {"client_secret": "rotated"})
    assert world.sims.facts()["entra-id"]["client_secret"] == "rotated"
    assert await world.token("entra-id")


async def test_edge_9_a_token_expires_in_the_middle_of_a_batch(world: Any, entra: Any) -> None:
    assert (await entra("GET", "/v1.0/users")).status == 200
    world.clock.advance(3599)
    reply = await entra("GET", "/v1.0/users")
    assert (reply.status, reply.body["error"]["code"]) == (401, "InvalidAuthenticationToken")
    assert "expired" in reply.body["error"]["message"]


async def test_edge_9_permission_for_one_object_type_may_be_missing(entra: Any) -> None:
    await entra.fault("refuse", status=403, match={"path": "^/v1.0/groups"})
    assert (await entra("GET", "/v1.0/groups")).body["error"]["code"] == "Authorization_RequestDenied"
    assert (await entra("GET", "/v1.0/users")).status == 200


async def test_answers_carry_request_ids(entra: Any) -> None:
    reply = await entra("GET", "/v1.0/users/nobody@corp.example", headers={"client-request-id": "ours"})
    assert (reply.status, reply.body["error"]["code"]) == (404, "Request_ResourceNotFound")
    assert reply.headers["client-request-id"] == "ours"
    assert reply.headers["request-id"]
    assert {"request-id", "date"} <= set(reply.body["error"]["innerError"])


async def test_edge_2_a_taken_principal_name_is_a_400_that_says_so(entra: Any) -> None:
    await created(entra)
    reply = await entra("POST", "/v1.0/users", {**USER, "userPrincipalName": "Priya.Raman@corp.example"})
    text = "Another object with the same value for property userPrincipalName already exists."
    assert (reply.status, reply.body["error"]["code"], reply.body["error"]["message"]) == (
        400,
        "Request_BadRequest",
        text,
    )


async def test_edge_2_a_disabled_account_with_the_same_number_does_not_prevent_another(entra: Any) -> None:
    await created(entra, accountEnabled=False)
    await created(entra, userPrincipalName="priya.raman2@corp.example")
    found = (await entra("GET", "/v1.0/users?$filter=employeeId eq 'W-104233'&$select=id,accountEnabled")).body["value"]
    assert sorted(user["accountEnabled"] for user in found) == [False, True]


@pytest.mark.parametrize("name", ["displayName", "mailNickname", "userPrincipalName"])
@pytest.mark.parametrize("value", [None, ""])
async def test_edge_3_null_and_empty_required_attributes_are_refused(entra: Any, name: str, value: str | None) -> None:
    reply = await entra("POST", "/v1.0/users", {**USER, name: value})
    assert (reply.status, reply.body["error"]["code"]) == (400, "Request_BadRequest")
    assert f"'{name}'" in reply.body["error"]["message"]


async def test_edge_3_an_empty_optional_attribute_is_refused_and_null_is_not(entra: Any) -> None:
    assert (await entra("POST", "/v1.0/users", {**USER, "department": ""})).status == 400
    assert (await entra("POST", "/v1.0/users", {**USER, "department": None})).status == 201


async def test_a_foreign_domain_is_refused(entra: Any) -> None:
    assert (await entra("POST", "/v1.0/users", {**USER, "userPrincipalName": "p@elsewhere.example"})).status == 400


async def test_edge_10_a_new_user_is_invisible_for_a_while_but_its_name_is_taken(world: Any, entra: Any) -> None:
    await entra("PATCH", "/_sim/settings", {"consistency_seconds": 90})
    id_ = await created(entra)
    for path in (MINE, f"/v1.0/users/{id_}"):
        assert (await entra("GET", path)).status == 404
    assert (await entra("GET", "/v1.0/users?$filter=employeeId eq 'W-104233'")).body["value"] == []
    assert (await entra("POST", "/v1.0/users", USER)).status == 400
    world.clock.advance(90)
    assert (await entra("GET", MINE)).status == 200


async def test_edge_10_a_new_user_may_not_be_referred_to_yet(world: Any, entra: Any) -> None:
    await entra("PATCH", "/_sim/settings", {"reference_lag_seconds": 30})
    id_ = await created(entra)
    where, body = (
        f"/v1.0/groups/{await group(entra, 'sales')}/members/$ref",
        {"@odata.id": f"https://x/v1.0/users/{id_}"},
    )
    assert (await entra("POST", where, body)).status == 404
    world.clock.advance(30)
    assert (await entra("POST", where, body)).status == 204


async def test_members_are_added_once_and_removed_once(entra: Any) -> None:
    id_, where = await created(entra), f"/v1.0/groups/{await group(entra, 'sales')}/members"
    body = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{id_}"}
    assert (await entra("POST", f"{where}/$ref", body)).status == 204
    again = await entra("POST", f"{where}/$ref", body)
    assert again.status == 400
    assert "already exist" in again.body["error"]["message"]
    members = (await entra("GET", where.replace("/members", "/transitiveMembers"))).body["value"]
    assert id_ in [member["id"] for member in members]
    mine = (await entra("GET", f"/v1.0/users/{id_}/memberOf")).body["value"]
    assert [one["displayName"] for one in mine] == ["sales"]
    assert (await entra("DELETE", f"{where}/{id_}/$ref")).status == 204
    assert (await entra("DELETE", f"{where}/{id_}/$ref")).status == 404


async def test_a_manager_is_set_by_reference(entra: Any) -> None:
    await created(entra)
    assert (await entra("GET", f"{MINE}/manager")).status == 404
    boss = (await entra("GET", "/v1.0/users/tomas.herrera@corp.example")).body["id"]
    body = {"@odata.id": f"https://graph.microsoft.com/v1.0/users/{boss}"}
    assert (await entra("PUT", f"{MINE}/manager/$ref", body)).status == 204
    assert (await entra("GET", f"{MINE}/manager")).body["displayName"] == "Tomas Herrera"
    assert (await entra("DELETE", f"{MINE}/manager/$ref")).status == 204
    assert (await entra("GET", f"{MINE}/manager")).status == 404


async def test_a_licence_needs_a_usage_location_a_known_sku_and_a_seat(entra: Any) -> None:
    where, asked = f"{MINE}/assignLicense", {"addLicenses": [{"skuId": E3}], "removeLicenses": []}
    await created(entra, usageLocation=None)
    assert "usage location" in (await entra("POST", where, asked)).body["error"]["message"]
    await entra("PATCH", MINE, {"usageLocation": "DE"})
    assert (await entra("POST", where, {"addLicenses": [{"skuId": "none"}]})).status == 400
    assert (await entra("POST", where, asked)).status == 200
    assert [one["skuPartNumber"] for one in (await entra("GET", f"{MINE}/licenseDetails")).body["value"]] == ["SPE_E3"]
    await entra("PATCH", "/_sim/settings", {"seats": {E3: 17}})
    await created(entra, userPrincipalName="late@corp.example")
    late = await entra("POST", "/v1.0/users/late@corp.example/assignLicense", asked)
    assert "available licenses" in late.body["error"]["message"]
    assert (await entra("POST", where, {"addLicenses": [], "removeLicenses": [E3]})).body["assignedLicenses"] == []
    skus = (await entra("GET", "/v1.0/subscribedSkus")).body["value"]
    assert next(sku["consumedUnits"] for sku in skus if sku["skuId"] == E3) == 16


async def test_a_deleted_user_waits_in_the_deleted_items_and_comes_back(entra: Any) -> None:
    id_ = await created(entra)
    assert (await entra("DELETE", MINE)).status == 204
    assert (await entra("GET", MINE)).status == 404
    assert (await entra("GET", f"/v1.0/directory/deletedItems/{id_}")).body["userPrincipalName"] == USER[
        "userPrincipalName"
    ]
    assert (await entra("POST", f"/v1.0/directory/deletedItems/{id_}/restore")).status == 200
    assert (await entra("GET", MINE)).body["id"] == id_


async def test_disabling_and_revoking(entra: Any) -> None:
    await created(entra)
    assert (await entra("PATCH", MINE, {"accountEnabled": False})).status == 204
    assert (await entra("POST", f"{MINE}/revokeSignInSessions")).body["value"] is True
    assert (await entra("GET", f"{MINE}?$select=accountEnabled")).body["accountEnabled"] is False


async def test_a_group_is_created_once_by_its_unique_name(entra: Any) -> None:
    where = "/v1.0/groups(uniqueName='ins_1:team')"
    body = {"displayName": "Team", "mailEnabled": False, "securityEnabled": True, "mailNickname": "team"}
    assert (await entra("PATCH", where, body)).status == 404
    prefer = {"Prefer": "create-if-missing"}
    assert (await entra("PATCH", where, body, headers=prefer)).status == 201
    assert (await entra("PATCH", where, body, headers=prefer)).status == 204


async def test_lists_page_filter_count_and_refuse_what_graph_refuses(entra: Any) -> None:
    first = (await entra("GET", "/v1.0/users?$top=10&$select=id&$count=true")).body
    rest = (await entra("GET", first["@odata.nextLink"].removeprefix(entra.url))).body
    assert (first["@odata.count"], len(first["value"]), len(rest["value"])) == (16, 10, 6)
    assert "@odata.nextLink" not in rest
    text = "startswith(displayName,'In') and (department eq 'Engineering' or department in ('Sales','Design'))"
    found = (await entra("GET", f"/v1.0/users?$filter={text}")).body["value"]
    assert [user["displayName"] for user in found] == ["Ingrid Solberg"]
    assert (await entra("GET", "/v1.0/users?$filter=displayName gt 'a'")).body["error"][
        "code"
    ] == "Request_UnsupportedQuery"
    assert (await entra("GET", "/v1.0/users?$top=1000")).status == 400


async def test_edge_8_the_throttle_may_be_shared_between_applications(world: Any, entra: Any) -> None:
    await entra("PATCH", "/_sim/settings", {"throttle": {"requests": 10, "per_seconds": 10, "shared": True}})
    await entra("POST", "/_sim/throttle", {"calls": 8})
    replies = [await entra("GET", "/v1.0/users") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[1].headers["x-ms-throttle-limit-percentage"] == "1.0"
    assert (replies[2].headers["Retry-After"], replies[2].body["error"]["code"]) == ("10", "TooManyRequests")
    world.clock.advance(10)
    assert (await entra("GET", "/v1.0/users")).status == 200


async def test_edge_12_a_human_edit_behind_everybodys_back(entra: Any) -> None:
    id_ = await created(entra)
    before = len((await entra("GET", "/_sim/journal")).body)
    assert (await entra("POST", f"/_sim/records/users/{id_}", {"accountEnabled": False})).status == 200
    assert (await entra("GET", f"{MINE}?$select=accountEnabled")).body["accountEnabled"] is False
    assert len((await entra("GET", "/_sim/journal")).body) == before + 1
