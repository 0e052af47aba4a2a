"""The simulated ServiceNow keeps the Table API's and the catalog's rules, traps included."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

INCIDENT = "/api/now/table/incident"
REQUEST = "/api/now/table/sc_request"
ITEMS = "/api/sn_sc/servicecatalog/items"


async def equipment(servicenow: Any, tier: str) -> list[dict[str, Any]]:
    query = f"category=equipment^tier={tier}^active=true"
    return list((await servicenow("GET", f"/api/now/table/sc_cat_item?sysparm_query={query}")).body["result"])


async def ordered(servicenow: Any, key: str = "ins_1:equipment") -> str:
    item = (await equipment(servicenow, "standard"))[0]
    asked = {"sysparm_quantity": "1", "variables": {"topstitch_key": key, "tier": "standard"}}
    reply = await servicenow("POST", f"{ITEMS}/{item['sys_id']}/order_now", asked)
    assert reply.status == 200, reply.text
    return str(reply.body["result"]["request_id"])


@pytest.mark.parametrize(
    ("tier", "total"), [("standard", "1850.00"), ("plus", "2499.99"), ("design", "2500.00"), ("workstation", "4200.00")]
)
async def test_tiers_cost_what_the_story_says(servicenow: Any, tier: str, total: str) -> None:
    assert sum(Decimal(item["price"]) for item in await equipment(servicenow, tier)) == Decimal(total)


async def test_a_call_without_a_token_is_refused_in_the_vendors_form(servicenow: Any) -> None:
    reply = await servicenow("GET", INCIDENT, headers={"Authorization": ""})
    assert (reply.status, reply.body["status"], reply.body["error"]["message"]) == (
        401,
        "failure",
        "User Not Authenticated",
    )


async def test_nothing_is_unique_so_two_records_may_carry_one_key(servicenow: Any) -> None:
    for _ in range(2):
        assert (await servicenow("POST", INCIDENT, {"correlation_id": "k", "short_description": "x"})).status == 201
    reply = await servicenow("GET", f"{INCIDENT}?sysparm_query=correlation_id=k&sysparm_limit=1")
    assert (len(reply.body["result"]), reply.headers["X-Total-Count"]) == (1, "2")
    assert 'rel="next"' in reply.headers["Link"]


async def test_an_invalid_field_in_a_query_is_ignored_so_that_all_rows_come_back(servicenow: Any) -> None:
    for number in range(3):
        await servicenow("POST", INCIDENT, {"correlation_id": f"k{number}"})
    where = f"{INCIDENT}?sysparm_query=corelation_id=k1"
    assert len((await servicenow("GET", where)).body["result"]) == 3
    await servicenow("PATCH", "/_sim/settings", {"invalid_query_returns_no_rows": True})
    assert (await servicenow("GET", where)).body["result"] == []


async def test_unknown_fields_are_ignored_when_writing(servicenow: Any) -> None:
    row = (await servicenow("POST", INCIDENT, {"short_description": "x", "no_such_column": "y"})).body["result"]
    assert (row["number"], row["state"], "no_such_column" in row) == ("INC0010001", "1", False)


async def test_rows_are_changed_and_deleted(servicenow: Any) -> None:
    sys_id = (await servicenow("POST", INCIDENT, {"short_description": "x"})).body["result"]["sys_id"]
    changed = (await servicenow("PATCH", f"{INCIDENT}/{sys_id}", {"state": "8", "active": False})).body["result"]
    assert (changed["state"], changed["active"], changed["sys_mod_count"]) == ("8", "false", "1")
    shown = await servicenow("GET", f"{INCIDENT}/{sys_id}?sysparm_display_value=true&sysparm_fields=state")
    assert shown.body["result"] == {"state": "Canceled"}
    assert (await servicenow("DELETE", f"{INCIDENT}/{sys_id}")).status == 204
    gone = await servicenow("GET", f"{INCIDENT}/{sys_id}")
    assert (gone.status, gone.body["error"]["message"]) == (404, "No Record found")


async def test_an_unknown_table_is_a_400(servicenow: Any) -> None:
    assert (await servicenow("GET", "/api/now/table/nonsense")).body["error"]["message"] == "Invalid table nonsense"


async def test_encoded_queries_order_dot_walk_and_combine(servicenow: Any) -> None:
    query = "group.name=it-ops^ORDERBYuser.name"
    where = f"/api/now/table/sys_user_grmember?sysparm_query={query}&sysparm_fields=user.name"
    assert [row["user.name"] for row in (await servicenow("GET", where)).body["result"]] == [
        "Femi Adeyemi",
        "Lucia Romano",
    ]
    query = "department=Sales^titleLIKEoperations^ORdepartment=Design"
    found = (await servicenow("GET", f"/api/now/table/sys_user?sysparm_query={query}")).body["result"]
    assert sorted(row["name"] for row in found) == ["Kofi Mensah", "Ruth Abend"]


async def test_references_carry_links_and_display_values(servicenow: Any) -> None:
    group = (await servicenow("GET", "/api/now/table/sys_user_group?sysparm_query=name=it-ops")).body["result"][0][
        "sys_id"
    ]
    row = (await servicenow("POST", INCIDENT, {"assignment_group": group})).body["result"]
    assert row["assignment_group"]["value"] == group
    assert row["assignment_group"]["link"].endswith(f"/sys_user_group/{group}")
    where = f"{INCIDENT}/{row['sys_id']}?sysparm_display_value=all&sysparm_fields=assignment_group"
    shown = (await servicenow("GET", where)).body["result"]["assignment_group"]
    assert shown == {"display_value": "it-ops", "value": group}


async def test_an_order_makes_a_request_a_line_and_a_reserved_asset(servicenow: Any) -> None:
    request = await ordered(servicenow)
    row = (await servicenow("GET", f"{REQUEST}/{request}")).body["result"]
    assert (row["correlation_id"], row["request_state"], row["number"]) == (
        "ins_1:equipment",
        "requested",
        "REQ0010001",
    )
    lines = (await servicenow("GET", f"/api/now/table/sc_req_item?sysparm_query=request={request}")).body["result"]
    assets = (
        await servicenow("GET", f"/api/now/table/alm_asset?sysparm_query=request_line={lines[0]['sys_id']}")
    ).body["result"]
    assert [(asset["install_status"], asset["substatus"]) for asset in assets] == [("2", "reserved")]


async def test_a_request_moves_on_as_time_passes(world: Any, servicenow: Any) -> None:
    request = await ordered(servicenow)
    seen = []
    for seconds in (0, 60, 240, 259_200):
        world.clock.advance(seconds)
        servicenow.headers["Authorization"] = f"Bearer {await world.token('servicenow')}"
        seen.append((await servicenow("GET", f"{REQUEST}/{request}")).body["result"]["request_state"])
    assert seen == ["requested", "approved", "in_process", "closed_complete"]


async def test_cancelling_a_request_cancels_its_lines_and_stops_its_life(world: Any, servicenow: Any) -> None:
    request = await ordered(servicenow)
    await servicenow("PATCH", f"{REQUEST}/{request}", {"request_state": "closed_cancelled"})
    world.clock.advance(400_000)
    servicenow.headers["Authorization"] = f"Bearer {await world.token('servicenow')}"
    assert (await servicenow("GET", f"{REQUEST}/{request}")).body["result"]["request_state"] == "closed_cancelled"
    lines = (await servicenow("GET", f"/api/now/table/sc_req_item?sysparm_query=request={request}")).body["result"]
    assert [line["stage"] for line in lines] == ["Request Cancelled"]


async def test_a_cart_makes_one_request_of_several_items(servicenow: Any) -> None:
    for item in await equipment(servicenow, "standard"):
        asked = {"sysparm_quantity": "1", "variables": {"topstitch_key": "ins_2:equipment"}}
        await servicenow("POST", f"{ITEMS}/{item['sys_id']}/add_to_cart", asked)
    request = (await servicenow("POST", "/api/sn_sc/servicecatalog/cart/submit_order", {})).body["result"]["request_id"]
    row = (await servicenow("GET", f"{REQUEST}/{request}")).body["result"]
    assert (row["price"], row["correlation_id"]) == ("1850.00", "ins_2:equipment")
    assert (await servicenow("POST", "/api/sn_sc/servicecatalog/cart/submit_order", {})).status == 400


async def test_a_bad_quantity_and_an_unknown_item_are_refused(servicenow: Any) -> None:
    item = (await equipment(servicenow, "standard"))[0]["sys_id"]
    assert (await servicenow("POST", f"{ITEMS}/{item}/order_now", {"sysparm_quantity": "0"})).status == 400
    assert (await servicenow("POST", f"{ITEMS}/{'0' * 32}/order_now", {"sysparm_quantity": "1"})).status == 404
    assert {one["name"] for one in (await servicenow("GET", f"{ITEMS}/{item}")).body["result"]["variables"]} >= {
        "topstitch_key"
    }


async def test_an_import_set_coalesces_on_the_key(servicenow: Any) -> None:
    body = {"correlation_id": "k", "short_description": "x"}
    statuses = [
        (await servicenow("POST", "/api/now/import/u_incident_import", {**body, **more})).body["result"][0]["status"]
        for more in ({}, {}, {"short_description": "y"})
    ]
    assert statuses == ["inserted", "ignored", "updated"]
    assert len((await servicenow("GET", INCIDENT)).body["result"]) == 1


async def test_edge_3_a_mandatory_field_is_refused_when_empty(servicenow: Any) -> None:
    await servicenow("PATCH", "/_sim/settings", {"mandatory": {"incident": ["short_description"]}})
    reply = await servicenow("POST", INCIDENT, {"short_description": ""})
    assert reply.status == 403
    assert "mandatory" in reply.body["error"]["detail"]


async def test_edge_8_the_rate_limit_names_its_rule(servicenow: Any) -> None:
    await servicenow("PATCH", "/_sim/settings", {"throttle": {"requests": 2, "per_seconds": 3600}})
    replies = [await servicenow("GET", INCIDENT) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    names = ("Retry-After", "X-RateLimit-Limit", "X-RateLimit-Reset", "X-RateLimit-Rule")
    assert all(name in replies[2].headers for name in names)


async def test_the_journal_knows_the_key_of_an_order(servicenow: Any) -> None:
    await ordered(servicenow)
    assert (await servicenow("GET", "/_sim/journal")).body[-1]["key"] == "ins_1:equipment"


async def test_priority_follows_from_impact_and_urgency(servicenow: Any) -> None:
    row = (await servicenow("POST", INCIDENT, {"impact": "1", "urgency": "1", "priority": "5"})).body["result"]
    assert row["priority"] == "1"
    changed = await servicenow("PATCH", f"{INCIDENT}/{row['sys_id']}", {"urgency": "3"})
    assert changed.body["result"]["priority"] == "3"


async def test_a_body_that_cannot_be_read_is_the_callers_mistake(servicenow: Any) -> None:
    item = (await equipment(servicenow, "standard"))[0]["sys_id"]
    assert (await servicenow("POST", f"{ITEMS}/{item}/order_now", ["nonsense"])).status == 400
    assert (await servicenow("GET", REQUEST)).body["result"] == []
