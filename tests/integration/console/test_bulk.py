"""One command on many: what was seen is what is acted on, each with an outcome, whatever joins meanwhile."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from browser.seeded import NOW, Hired, plan_of, trouble, workflow, write
from browser.site import Answer, ask
from support.onboarding import Company
from topstitch.console import bulk
from topstitch.model.query import parse_query
from topstitch.model.record import Actor, ActorKind
from topstitch.office import batches
from topstitch.store import instances
from topstitch.store.searches import search

TAGS = re.compile(r"<[^>]+>")


def said(html: str) -> str:
    return " ".join(unescape(TAGS.sub(" ", html)).split())


async def send(house: Any, path: str, body: str, person: str = "ivo") -> Answer:
    """Post a form in which a name comes more than once."""
    headers = {"sec-fetch-site": "same-origin", "cookie": f"topstitch_person={person}"}
    return await ask(house.app, path, method="POST", raw=body.encode(), **headers)


async def frozen(house: Any, body: str) -> str:
    answer = await send(house, "/batches", body)
    assert answer.status == 303, said(answer.text)
    return answer.headers["location"]


async def commands(house: Any, name: str) -> list[str]:
    records = await instances.records(house.store, name)
    return [r.body["command"] for r in records if r.kind == "operator.commanded"]


async def test_X07_the_preview_equals_the_result_and_a_failure_is_listed_by_item(house: Any) -> None:
    house.app.state.bulk = bulk.Bulk(house.hands, per_second=1000)
    path = await frozen(house, "all=yes&q=state:open&verb=pause&reason=payroll+asks")
    preview = (await house.get(path + ".json")).json
    able = {item["instance"] for item in preview["items"] if item["ok"]}
    assert preview["state"] == "previewed"
    assert len(preview["items"]) == 18
    assert house.id("Tom Becker") not in able  # it is paused already
    page = said((await house.get(path)).text)
    assert "17 can be done, 1 cannot" in page
    assert "Pause 18 instances" in page

    assert (await send(house, path + "/start", "")).status == 303
    await house.app.state.bulk.wait(path.rpartition("/")[2])
    result = (await house.get(path + ".json")).json
    assert result["state"] == "done"
    assert {item["instance"] for item in result["items"] if item["ok"]} == able
    failed = [item for item in result["items"] if not item["ok"]]
    assert [item["instance"] for item in failed] == [house.id("Tom Becker")]
    assert failed[0]["message"]
    assert "17 of 18 done, 1 failed" in said((await house.get(path)).text)
    csv = (await house.get(path + ".csv")).text.splitlines()
    assert csv[0] == "instance,title,ok,outcome,code,message"
    assert len(csv) == 19


async def test_X07_a_batch_acts_on_exactly_what_was_frozen_though_the_list_moves_on(house: Any) -> None:
    house.app.state.bulk = bulk.Bulk(house.hands, per_second=1000)
    path = await frozen(house, "all=yes&q=stone+state:open&verb=pause&reason=look+again")
    meant = [item["instance"] for item in (await house.get(path + ".json")).json["items"]]
    assert len(meant) == 8
    late = Hired(plan_of(workflow()), Company(), NOW, "Zoe Stone").hire()
    await write(house.store, late)
    page = await search(house.store, parse_query("stone state:open"), NOW)
    assert page.total == 9
    await send(house, path + "/start", "")
    await house.app.state.bulk.wait(path.rpartition("/")[2])
    assert "pause" not in await commands(house, late.id)
    for name in meant:
        assert "pause" in await commands(house, name)


async def test_H11_forty_are_mended_by_an_edit_that_is_previewed_and_recorded_item_by_item(house: Any) -> None:
    house.app.state.bulk = bulk.Bulk(house.hands, per_second=1000)
    await trouble(house.store)
    body = "all=yes&q=lukas&verb=retry&step=equipment&edit=context.quote.total%3D%222000+USD%22&reason=wrong+quote"
    path = await frozen(house, body)
    page = said((await house.get(path)).text)
    assert "Equipment request: compensating becomes waiting." in page
    assert "2000 USD" in page
    await send(house, path + "/start", "")
    await house.app.state.bulk.wait(path.rpartition("/")[2])
    kept = await commands(house, house.id("Lukas Vogel"))
    assert kept[-2:] == ["edit", "retry"]
    result = (await house.get(path + ".json")).json
    assert [item["outcome"] for item in result["items"]] == ["done"]


async def test_more_than_a_screenful_is_confirmed_by_typing_the_number(house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("topstitch.console.pages.bulk.TYPED_OVER", 5)
    path = await frozen(house, "all=yes&q=stone&verb=pause&reason=look")
    assert "Type 8 to confirm" in said((await house.get(path)).text)
    refused = await send(house, path + "/start", "typed=7")
    assert refused.status == 422
    assert "Type 8 to confirm; nothing was done" in said(refused.text)
    assert (await house.get(path + ".json")).json["state"] == "previewed"


async def test_what_failed_is_previewed_again_by_itself(house: Any) -> None:
    house.app.state.bulk = bulk.Bulk(house.hands, per_second=1000)
    tom, eva = house.id("Tom Becker"), house.id("Eva Lind")
    path = await frozen(house, f"id={tom}&id={eva}&verb=pause&reason=look")
    await send(house, path + "/start", "")
    await house.app.state.bulk.wait(path.rpartition("/")[2])
    answer = await send(house, path + "/again", "")
    again = (await house.get(answer.headers["location"] + ".json")).json
    assert [item["instance"] for item in again["items"]] == [tom]


async def test_a_batch_that_was_cut_off_says_so_and_is_carried_on_without_acting_twice(house: Any) -> None:
    house.app.state.bulk = bulk.Bulk(house.hands, per_second=1000)
    names = [house.id("Eva Lind"), house.id("Mo Salah")]
    path = await frozen(house, f"id={names[0]}&id={names[1]}&verb=pause&reason=look")
    name = path.rpartition("/")[2]
    asked = await batches.begin(house.app.state.bulk.desk, name, Actor(ActorKind.HUMAN, "ivo"))
    assert asked["items"] == names  # it began, and nobody lived to carry it out
    page = said((await house.get(path)).text)
    assert "Cut off" in page
    assert "2 are left" in page
    await send(house, path + "/start", "")
    await house.app.state.bulk.wait(name)
    assert (await house.get(path + ".json")).json["state"] == "done"
    assert [await commands(house, one) for one in names] == [["cancel", "pause"], ["pause"]]


async def test_nothing_chosen_and_no_reason_are_told_with_the_remedy(house: Any) -> None:
    assert "tick rows of the list" in said((await send(house, "/batches", "verb=pause&reason=x")).text)
    name = house.id("Eva Lind")
    assert "kept with its reason" in said((await send(house, "/batches", f"id={name}&verb=pause&reason=")).text)
    assert "choose it beside the command" in said((await send(house, "/batches", f"id={name}&verb=skip&reason=x")).text)


async def test_cases_of_one_cause_are_taken_retried_and_waived_together(house: Any) -> None:
    hires = await trouble(house.store)
    page = (await house.get("/exceptions")).text
    assert "3 cases" in said(page)
    group = re.search(r"verb=take&amp;group=([^\"]+)", page)
    assert group is not None
    shown = (await house.get(f"/exceptions/act?verb=take&group={group[1]}")).text
    names = re.findall(r'name="case" value="([^"]+)"', shown)
    assert len(names) == 3
    body = "&".join([f"case={name}" for name in names])
    taken = await send(house, "/exceptions/act", f"{body}&verb=take&reason=mine+now")
    assert "3 of 3 done." in said(taken.text)
    mine = await ask(house.app, "/exceptions.json?show=mine", cookie="topstitch_person=ivo")
    assert len(mine.json["cases"]) == 3
    waived = await send(house, "/exceptions/act", f"case={names[0]}&verb=waive&reason=entered+twice")
    assert waived.status == 303
    tried = await send(house, "/exceptions/act", f"case={names[1]}&case={names[0]}&verb=retry&reason=worker+is+there")
    assert "1 of 2 done." in said(tried.text)
    assert "closed already" in said(tried.text)
    left = (await house.get("/exceptions.json")).json["cases"]
    assert [c["instance"] for c in left if c["instance"]] == [
        next(h.id for h in hires if next(iter(h.state.cases)) == names[2])
    ]


async def test_X06_a_paused_connection_stands_among_the_cases_and_is_resumed_with_a_reason(house: Any) -> None:
    assert (await send(house, "/connectors/itsm/pause", "reason=the+network+is+changed")).status == 303
    page = said((await house.get("/connectors/itsm")).text)
    assert "Paused" in page
    assert "the network is changed" in page.lower()
    assert "connection itsm" in said((await house.get("/exceptions")).text)
    assert (await send(house, "/connectors/itsm/resume", "reason=done")).status == 303
    assert "Calls are made again" in said((await house.get("/connectors/itsm?said=Calls+are+made+again")).text)
    assert "connection itsm" not in said((await house.get("/exceptions")).text)
