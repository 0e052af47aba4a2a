"""Batches by API: previewed, frozen, confirmed by what was looked at, each item as the single command."""

from __future__ import annotations

import asyncio
from typing import Any

from integration.api.programs import Programs
from topstitch.api.resources.batches import batches_of
from topstitch.model.query import parse_query
from topstitch.store import instances, searches

PAUSE = {"action": "pause", "reason": "audit week"}


async def waiting(programs: Programs) -> list[str]:
    query = parse_query("state:waiting")
    return await searches.names(programs.store, query, programs.clock.now(), limit=100)


async def preview(programs: Programs, **more: Any) -> dict[str, Any]:
    answer = await programs.post("/batches/preview", {**PAUSE, "q": "state:waiting", **more})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def confirmed(seen: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"selection": seen["selection"], "expect_count": seen["count"], "rate": 100, **PAUSE, **more}


async def carried_out(programs: Programs) -> None:
    going = asyncio.create_task(batches_of(programs.app).idle())
    while not going.done():
        programs.clock.advance(1)
        await asyncio.sleep(0)
    await going


async def test_X07_a_selection_is_frozen_previewed_and_carried_out_exactly(programs: Programs):
    names = await waiting(programs)
    seen = await preview(programs)
    assert (seen["count"], seen["possible"], seen["impossible"]) == (len(names), len(names), [])
    assert "No new call is made" in seen["sample"][0]["says"][-1]
    await programs.post(
        f"/instances/{names[0]}/pause", {"reason": "quicker"}
    )  # it leaves the search, not the selection
    started = await programs.post("/batches", confirmed(seen))
    assert (started.status, started.headers["location"]) == (202, f"/api/v1/batches/{seen['selection']}")
    await carried_out(programs)
    batch = (await programs.get(f"/batches/{seen['selection']}")).json
    assert (batch["status"], batch["counts"]) == ("ended", {"done": len(names) - 1, "failed": 1})
    items = (await programs.get(f"/batches/{seen['selection']}/items?limit=200")).json["items"]
    assert sorted(one["instance"] for one in items) == sorted(names)
    failed = next(one for one in items if one["status"] == "failed")
    assert (failed["instance"], failed["code"]) == (names[0], "already")
    record = (await instances.records(programs.store, names[1]))[-1]
    assert (str(record.actor), seen["selection"] in record.body["reason"]) == ("human:dana", True)


async def test_what_was_not_looked_at_is_not_started(programs: Programs):
    seen = await preview(programs)
    for more in ({"expect_count": seen["count"] + 1}, {"action": "cancel"}, {"reason": "another"}):
        answer = await programs.post("/batches", confirmed(seen, **more))
        assert (answer.status, answer.json["code"]) == (409, "batch-other")
    assert (await programs.get(f"/batches/{seen['selection']}")).json["status"] == "previewed"


async def test_a_batch_starts_once(programs: Programs):
    seen = await preview(programs)
    assert (await programs.post("/batches", confirmed(seen))).status == 202
    again = await programs.post("/batches", confirmed(seen))
    assert (again.status, again.json["code"]) == (409, "batch-started")
    await carried_out(programs)


async def test_the_preview_names_what_cannot_be_done(programs: Programs):
    seen = await preview(programs, action="retry", step="equipment")
    assert len(seen["impossible"]) + seen["possible"] == seen["count"]
    assert {one["code"] for one in seen["impossible"]} <= {"not-retryable", "rolling-back"}


async def test_a_batch_that_a_stopping_server_cut_off_goes_on_when_it_is_started_again(programs: Programs):
    seen = await preview(programs)
    await programs.post("/batches", confirmed(seen, rate=1))
    for _ in range(1000):
        await asyncio.sleep(0)
        if (await programs.get(f"/batches/{seen['selection']}")).json["counts"].get("done"):
            break
    await batches_of(programs.app).close()
    cut_off = (await programs.get(f"/batches/{seen['selection']}")).json
    assert (cut_off["status"], cut_off["counts"]["done"] >= 1) == ("started", True)
    assert (await programs.post("/batches", confirmed(seen))).status == 202
    await carried_out(programs)
    whole = (await programs.get(f"/batches/{seen['selection']}")).json
    assert (whole["status"], whole["counts"]) == ("ended", {"done": seen["count"]})


async def test_a_choice_says_what_it_means(programs: Programs):
    for chosen in ({}, {"q": "state:open", "instances": ["x"]}):
        answer = await programs.post("/batches/preview", {**PAUSE, **chosen})
        assert (answer.status, answer.json["code"]) == (422, "nothing-chosen")
    answer = await programs.post("/batches/preview", {**PAUSE, "q": "colour:red"})
    assert (answer.status, answer.json["code"]) == (422, "query-field")
