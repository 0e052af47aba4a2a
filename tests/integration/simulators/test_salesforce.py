"""The simulated Salesforce keeps the REST API's rules."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

DATA = "/services/data/v61.0"
KEYED = "Topstitch_Key__c/ins_1:crm"


async def one(salesforce: Any, query: str) -> dict[str, Any]:
    reply = await salesforce("GET", f"{DATA}/query?q={quote(query)}")
    assert reply.status == 200, reply.text
    return dict(reply.body["records"][0])


async def association(salesforce: Any) -> dict[str, str]:
    user = await one(salesforce, "SELECT Id FROM User WHERE Email = 'dana.whitfield@corp.example'")
    territory = await one(salesforce, "SELECT Id FROM Territory2 WHERE Name = 'EMEA-North'")
    return {"UserId": user["Id"], "Territory2Id": territory["Id"], "RoleInTerritory2": "Account Executive"}


async def test_wrong_credentials_get_the_vendors_own_error(world: Any, salesforce: Any) -> None:
    form = {"grant_type": "client_credentials", "client_id": "3MVG9sim.topstitch", "client_secret": "guess"}
    async with world.session.post(f"{salesforce.url}/services/oauth2/token", data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_client")


async def test_an_unknown_session_is_a_401(salesforce: Any) -> None:
    reply = await salesforce("GET", f"{DATA}/limits", headers={"Authorization": "Bearer none"})
    assert (reply.status, reply.body[0]["errorCode"]) == (401, "INVALID_SESSION_ID")


async def test_upsert_creates_changes_and_refuses_what_is_ambiguous(salesforce: Any) -> None:
    where, body = f"{DATA}/sobjects/Account/{KEYED}", {"Name": "Acme Retail"}
    first, second = await salesforce("PATCH", where, body), await salesforce("PATCH", where, body)
    assert (first.status, first.body["created"], second.status, second.body["created"]) == (201, True, 200, False)
    assert first.body["id"] == second.body["id"]
    await salesforce("POST", "/_sim/records/Account", {**body, "Id": "001x", "Topstitch_Key__c": "ins_1:crm"})
    several = await salesforce("PATCH", where, body)
    assert (several.status, len(several.body)) == (300, 2)


async def test_the_key_may_not_stand_in_the_body(salesforce: Any) -> None:
    reply = await salesforce(
        "PATCH", f"{DATA}/sobjects/Account/{KEYED}", {"Name": "x", "Topstitch_Key__c": "ins_1:crm"}
    )
    assert (reply.status, reply.body[0]["errorCode"]) == (400, "INVALID_FIELD")


async def test_rows_are_created_read_changed_and_deleted(salesforce: Any) -> None:
    made = (await salesforce("POST", f"{DATA}/sobjects/UserTerritory2Association", await association(salesforce))).body
    where = f"{DATA}/sobjects/UserTerritory2Association/{made['id']}"
    assert len(made["id"]) == 18
    assert (await salesforce("GET", f"{where}?fields=RoleInTerritory2")).body["RoleInTerritory2"] == "Account Executive"
    assert (await salesforce("PATCH", where, {"RoleInTerritory2": "Overlay"})).status == 204
    assert (await salesforce("DELETE", where)).status == 204
    assert (await salesforce("GET", where)).status == 404


async def test_uniqueness_and_references_are_kept(salesforce: Any) -> None:
    fields, where = await association(salesforce), f"{DATA}/sobjects/UserTerritory2Association"
    assert (await salesforce("POST", where, fields)).status == 201
    assert (await salesforce("POST", where, fields)).body[0]["errorCode"] == "DUPLICATE_VALUE"
    dangling = await salesforce("POST", where, {**fields, "Territory2Id": "0MI000000000999AAA"})
    assert dangling.body[0]["errorCode"] == "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"


async def test_edge_3_missing_null_and_unknown_fields_are_refused(salesforce: Any) -> None:
    missing = await salesforce("POST", f"{DATA}/sobjects/User", {"LastName": None, "Username": "a@corp.example"})
    assert (missing.status, missing.body[0]["errorCode"]) == (400, "REQUIRED_FIELD_MISSING")
    assert "LastName" in missing.body[0]["fields"]
    unknown = await salesforce("POST", f"{DATA}/sobjects/Account", {"Name": "x", "Nmae": "y"})
    assert unknown.body[0]["errorCode"] == "INVALID_FIELD"


async def test_a_user_cannot_be_deleted_only_made_inactive(salesforce: Any) -> None:
    user = await one(salesforce, "SELECT Id FROM User WHERE LastName = 'Mensah'")
    where = f"{DATA}/sobjects/User/{user['Id']}"
    assert (await salesforce("DELETE", where)).status == 405
    assert (await salesforce("PATCH", where, {"IsActive": False})).status == 204
    assert (await one(salesforce, "SELECT IsActive FROM User WHERE LastName = 'Mensah'"))["IsActive"] is False


async def test_soql_filters_orders_walks_and_counts(salesforce: Any) -> None:
    await salesforce("POST", f"{DATA}/sobjects/UserTerritory2Association", await association(salesforce))
    found = await one(
        salesforce,
        "SELECT Territory2.Name, RoleInTerritory2 FROM UserTerritory2Association WHERE User.Email LIKE 'dana%'",
    )
    assert (found["Territory2"]["Name"], found["RoleInTerritory2"]) == ("EMEA-North", "Account Executive")
    query = (
        "SELECT Name FROM Account WHERE Territory__c IN ('EMEA-Central') AND NOT Name = 'x' ORDER BY Name DESC LIMIT 1"
    )
    assert (await one(salesforce, query))["Name"] == "Nordwind Logistik"
    counted = await salesforce("GET", f"{DATA}/query?q={quote('SELECT COUNT() FROM Account')}")
    assert counted.body == {"totalSize": 4, "done": True, "records": []}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name ~ 'x'", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Nope = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
    ],
)
async def test_bad_queries_are_refused(salesforce: Any, query: str, code: str) -> None:
    reply = await salesforce("GET", f"{DATA}/query?q={quote(query)}")
    assert (reply.status, reply.body[0]["errorCode"]) == (400, code)


async def test_quotes_in_a_query_are_escaped(salesforce: Any) -> None:
    await salesforce("POST", f"{DATA}/sobjects/Account", {"Name": "O'Neill & Sons"})
    assert (await one(salesforce, r"SELECT Name FROM Account WHERE Name = 'O\'Neill & Sons'"))[
        "Name"
    ] == "O'Neill & Sons"


async def test_queries_come_in_batches(world: Any, salesforce: Any) -> None:
    simulator = world.sims["salesforce"]
    for number in range(250):
        simulator.records.put("Account", f"001{number:015d}", {"Id": f"001{number:015d}", "Name": f"n{number}"})
    where = f"{DATA}/query?q={quote('SELECT Id FROM Account')}"
    first = await salesforce("GET", where, headers={"Sforce-Query-Options": "batchSize=200"})
    assert (first.body["done"], len(first.body["records"]), first.body["totalSize"]) == (False, 200, 254)
    second = await salesforce("GET", first.body["nextRecordsUrl"], headers={"Sforce-Query-Options": "batchSize=200"})
    assert (second.body["done"], len(second.body["records"])) == (True, 54)


def parts(*names: str | None) -> list[dict[str, Any]]:
    url = f"{DATA}/sobjects/Account"
    return [
        {
            "method": "POST",
            "url": url,
            "referenceId": f"part{number}",
            "body": {"Name": name} if name else {"Nmae": "x"},
        }
        for number, name in enumerate(names)
    ]


async def accounts(salesforce: Any) -> int:
    return int((await salesforce("GET", f"{DATA}/query?q={quote('SELECT COUNT() FROM Account')}")).body["totalSize"])


async def test_a_composite_all_or_none_leaves_nothing_when_a_part_fails(salesforce: Any) -> None:
    body = {"allOrNone": True, "compositeRequest": parts("a", None, "c")}
    results = (await salesforce("POST", f"{DATA}/composite", body)).body["compositeResponse"]
    assert [result["body"][0]["errorCode"] for result in results] == [
        "PROCESSING_HALTED",
        "INVALID_FIELD",
        "PROCESSING_HALTED",
    ]
    assert await accounts(salesforce) == 4


async def test_a_composite_without_it_keeps_what_succeeded(salesforce: Any) -> None:
    body = {"allOrNone": False, "compositeRequest": parts("a", None, "c")}
    results = (await salesforce("POST", f"{DATA}/composite", body)).body["compositeResponse"]
    assert [result["httpStatusCode"] for result in results] == [201, 400, 201]
    assert await accounts(salesforce) == 6


async def test_a_composite_part_may_name_an_earlier_ones_result(salesforce: Any) -> None:
    contact = {"method": "POST", "url": f"{DATA}/sobjects/Contact", "referenceId": "contact"}
    contact |= {"body": {"LastName": "x", "AccountId": "@{part0.id}"}}
    body = {"allOrNone": True, "compositeRequest": [*parts("a"), contact]}
    results = (await salesforce("POST", f"{DATA}/composite", body)).body["compositeResponse"]
    made = await one(salesforce, "SELECT AccountId FROM Contact")
    assert made["AccountId"] == results[0]["body"]["id"]


async def test_edge_8_the_daily_quota_runs_out_and_comes_back(world: Any, salesforce: Any) -> None:
    world.clock.advance(9 * 3600)
    await salesforce("GET", f"{DATA}/limits")
    await salesforce("PATCH", "/_sim/settings", {"daily_limit": 15000, "calls_today": 14999})
    salesforce.headers["Authorization"] = f"Bearer {await world.token('salesforce')}"
    last = await salesforce("GET", f"{DATA}/limits")
    assert last.headers["Sforce-Limit-Info"] == "api-usage=15000/15000"
    over = await salesforce("GET", f"{DATA}/limits")
    assert (over.status, over.body[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")
    world.clock.advance(24 * 3600)
    salesforce.headers["Authorization"] = f"Bearer {await world.token('salesforce')}"
    assert (await salesforce("GET", f"{DATA}/limits")).status == 200


async def test_too_many_calls_are_a_403_here(salesforce: Any) -> None:
    await salesforce.fault("429", times=1)
    reply = await salesforce("GET", f"{DATA}/limits")
    assert (reply.status, reply.body[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


async def test_describe_tells_types_keys_and_references(salesforce: Any) -> None:
    fields = {
        field["name"]: field
        for field in (await salesforce("GET", f"{DATA}/sobjects/AccountTeamMember/describe")).body["fields"]
    }
    assert fields["UserId"]["referenceTo"] == ["User"]
    assert fields["Topstitch_Key__c"]["externalId"] is True
    assert fields["AccountId"]["nillable"] is False


async def test_closing_an_opportunity_sets_its_flags(salesforce: Any) -> None:
    body = {"Name": "Big", "StageName": "Prospecting", "CloseDate": "2026-04-01"}
    where = f"{DATA}/sobjects/Opportunity"
    made = (await salesforce("POST", where, body)).body["id"]
    await salesforce("PATCH", f"{where}/{made}", {"StageName": "Closed Won"})
    assert (await salesforce("GET", f"{where}/{made}?fields=IsWon,IsClosed")).body["IsWon"] is True


async def test_the_journal_knows_the_external_id(salesforce: Any) -> None:
    await salesforce("PATCH", f"{DATA}/sobjects/Account/{KEYED}", {"Name": "x"})
    assert (await salesforce("GET", "/_sim/journal")).body[-1]["key"] == "ins_1:crm"
