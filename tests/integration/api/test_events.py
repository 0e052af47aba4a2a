"""Events over HTTP: taken once, answered after the commit, refused with every field named."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from topstitch.store import events, instances

if TYPE_CHECKING:
    Api = Any

DATA: dict[str, Any] = {
    "employee_id": "W-1",
    "first_name": "Ana",
    "last_name": "Diaz",
    "department": "Sales",
    "location": "LOC-BER",
    "start_date": "2026-02-01",
    "manager_id": "W-100041",
    "cost_center": "CC-1",
    "job_profile": "SAL-AE",
    "initiated_by": "W-100031",
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/hr",
    "type": "workday.hire_completed",
    "data": DATA,
}


async def test_a_new_event_is_202_with_the_instance_and_the_same_again_200_with_the_first_outcome(api: Api):
    first = await api.event(EVENT)
    again = await api.event(EVENT)
    assert (first.status, again.status) == (202, 200)
    name = first.json()["instances"][0]
    assert first.headers["location"] == f"/api/v1/instances/{name}"
    assert again.json()["instances"] == [name]
    assert again.json()["duplicate"] is True
    assert "duplicate" not in first.json()
    assert (await instances.get(api.house.ports.store, name))["head_seq"] == 1


async def test_the_first_counts_when_the_same_id_comes_with_another_content(api: Api):
    await api.event(EVENT)
    again = (await api.event({**EVENT, "data": {**DATA, "department": "IT"}})).json()
    assert again["duplicate"] is True
    assert "first one counts" in again["note"]


async def test_binary_mode(api: Api):
    headers = {f"ce-{k}": v for k, v in EVENT.items() if k != "data"} | {"content-type": "application/json"}
    answer = await api.call("POST", "/api/v1/events", orjson.dumps(DATA), headers)
    assert answer.status == 202
    assert len(answer.json()["instances"]) == 1


async def test_in_a_batch_one_that_is_refused_holds_no_other_up(api: Api):
    batch = [EVENT, {**EVENT, "id": "e-2", "data": {}}, {**EVENT, "id": "e-3"}, EVENT]
    kind = {"content-type": "application/cloudevents-batch+json"}
    answer = await api.call("POST", "/api/v1/events", orjson.dumps(batch)[:4000], kind)
    assert answer.status == 207
    assert [item["status"] for item in answer.json()["items"]] == [202, 422, 202, 200]
    assert len(await instances.listing(api.house.ports.store)) == 2


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"data": {k: v for k, v in DATA.items() if k != "manager_id"}}, 422, "/data/manager_id"),
        ({"data": {**DATA, "start_date": "soon"}}, 422, "/data/start_date"),
        ({"data": {**DATA, "department": 5}}, 422, "/data/department"),
        ({"data": {**DATA, "shoe_size": "43"}}, 422, "/data/shoe_size"),
        ({"type": "workday.hire_compleeted"}, 422, "/type"),
        ({"type": "nothing.at_all"}, 422, "/type"),
        ({"id": None}, 422, "/id"),
    ],
)
async def test_what_is_wrong_is_named_kept_and_starts_nothing(
    api: Api, change: dict[str, Any], status: int, pointer: str
):
    answer = await api.event({**EVENT, **change})
    problem = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["errors"][0]["pointer"] == pointer
    assert not await instances.listing(api.house.ports.store)
    kept = await events.rejected(api.house.ports.store)
    assert kept[0]["id"] == problem["rejected"]


async def test_a_known_event_that_no_definition_starts_on_is_kept(api: Api):
    event = {**EVENT, "type": "workday.hire_rescinded", "data": {"employee_id": "W-1", "transaction_id": "t"}}
    answer = await api.event(event)
    assert (answer.status, answer.json()["instances"]) == (202, [])
    assert await events.get(api.house.ports.store, "/hr", "e-1") is not None


async def test_no_json_is_400_and_another_media_type_415(api: Api):
    assert (await api.call("POST", "/api/v1/events", b"{", {"content-type": "application/json"})).status == 400
    assert (await api.call("POST", "/api/v1/events", b"<a/>", {"content-type": "text/xml"})).status == 415


async def test_what_is_too_large_is_413(api: Api):
    answer = await api.event({**EVENT, "data": {**DATA, "department": "x" * 5000}})
    assert (answer.status, answer.json()["code"]) == (413, "too-large")


async def test_a_hook_named_events_guards_the_cloudevents_door(api: Api):
    path = api.folder / "connections.toml"
    path.write_text(path.read_text().replace("[hooks.guarded]", "[hooks.events]"))
    from topstitch.connectors.connections import load_connections

    api.house.ports.connectors.connections = load_connections(path)
    assert (await api.event(EVENT)).status == 401
    answer = await api.event(EVENT, authorization="Bearer s3cret-value")
    assert answer.status == 202
    first = (await instances.records(api.house.ports.store, answer.json()["instances"][0]))[0]
    assert first.body["event"]["signature"] == "token"


NOTIFICATION: dict[str, Any] = {
    "id": "wd-1",
    "tenant": "acme",
    "eventType": "staffing.hire.completed",
    "businessProcess": {"type": "Hire Employee", "transactionId": "t", "initiatedBy": {"workerId": "W-2", "email": ""}},
    "worker": {
        "workerId": "W-9",
        "legalName": {"first": "Ana", "last": "Diaz"},
        "department": "IT",
        "location": "LOC-BER",
        "managerId": "W-3",
        "costCenter": "CC",
        "jobProfile": "IT-OPS",
        "startDate": "2026-02-01",
    },
}


def signed(api: Api, body: bytes) -> dict[str, str]:
    stamp = str(int(api.house.clock.now().timestamp()))
    mac = hmac.new(b"0123456789abcdef", f"m.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(mac).decode()}


async def test_a_signed_hook_starts_an_instance_and_an_unsigned_one_is_401(api: Api):
    body = orjson.dumps(NOTIFICATION)
    refused = await api.call("POST", "/hooks/workday", body)
    assert (refused.status, refused.json()["code"]) == (401, "signature-missing")
    taken = await api.call("POST", "/hooks/workday", body, signed(api, body))
    assert taken.status == 202
    assert taken.json()["source"] == "workday:acme"
    again = await api.call("POST", "/hooks/workday", body, signed(api, body))
    assert again.json()["duplicate"] is True


async def test_a_hook_names_the_vendors_own_field(api: Api):
    broken = {**NOTIFICATION, "worker": {**NOTIFICATION["worker"], "managerId": None}}
    body = orjson.dumps(broken)
    answer = await api.call("POST", "/hooks/workday", body, signed(api, body))
    assert (answer.status, answer.json()["errors"][0]["pointer"]) == (422, "/worker/managerId")


async def test_an_unknown_hook_is_404(api: Api):
    assert (await api.call("POST", "/hooks/nobody", b"{}")).json()["code"] == "hook-unknown"


async def test_no_credential_is_kept_with_a_refused_event(api: Api, tmp_path: Path):
    await api.event({}, authorization="Bearer very-secret", cookie="a=b")
    kept = await events.rejected(api.house.ports.store)
    assert "very-secret" not in str(kept)
    assert "cookie" not in kept[0]["headers"]
