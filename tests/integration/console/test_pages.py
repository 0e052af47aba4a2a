"""What the pages say: status at one place, counts that agree, the past as it was, nobody's markup but ours."""

from __future__ import annotations

import copy
import re
from collections import Counter
from html import unescape
from typing import Any

import pytest

from browser.seeded import NOW, Hired, plan_of, publish, seed, workflow, write
from browser.site import ask, hands_for
from support.onboarding import Company
from topstitch import lifecycle
from topstitch.console import Person, console_app
from topstitch.console.pages.sight import look
from topstitch.console.people import LocalPeople
from topstitch.console.site import PAYLOAD_SHOWN_MAX, pretty
from topstitch.language.normal import definition_digest, normal_form, workflow_from_normal
from topstitch.model.query import parse_query
from topstitch.store import Store, at_once, instances, items
from topstitch.store.searches import search

TAGS = re.compile(r"<[^>]+>")


def said(html: str) -> str:
    """Return what a page says, without its markup."""
    return " ".join(unescape(TAGS.sub(" ", html)).split())


async def test_O08_one_page_says_where_it_is_what_waits_on_whom_and_since_when(told: Any) -> None:
    text = said((await told.get(f"/instances/{told.id('Priya Raman')}?tz=America/Chicago")).text)
    assert "Priya Raman Waiting on a person" in text
    assert "CRM team assignment. On Dana Ortiz, since 06:09" in text
    assert "started today 06:09:00" in text
    assert re.search(r"Equipment request 1 m \d+ s · try 3 , Done", text)
    assert "1 field differs" in text
    assert "Where the time went 3 h 21 m" in text


async def test_an_instance_that_was_rolled_back_says_so_while_its_checks_are_due(told: Any) -> None:
    text = said((await told.get(f"/instances/{told.id('Samuel Brandt')}")).text)
    assert "Samuel Brandt Rolled back, with exceptions" in text
    assert "Turned because cancelled" in text


async def test_A07_who_approved_stays_on_the_page_with_time_and_reason(house: Any) -> None:
    approval = (await items.list_approvals(house.store))[0]["id"]
    answer = await house.post(f"/approvals/{approval}/decision", said="approve", comment="territory checked")
    assert answer.status == 303
    page = said((await house.get(f"/approvals/{approval}")).text)
    assert "dana said approve" in page
    assert "territory checked" in page
    history = said((await house.get(f"/instances/{house.id('Priya Raman')}?view=history")).text)
    assert "Dana approves CRM team assignment: territory checked" in history


async def test_A06_the_form_carries_the_payload_that_was_shown_and_another_is_refused(house: Any) -> None:
    row = (await items.list_approvals(house.store))[0]
    page = (await house.get(f"/approvals/{row['id']}")).text
    assert f'name="digest" value="{row["payload_digest"]}"' in page
    answer = await house.post(f"/approvals/{row['id']}/decision", said="approve", digest="sha256:other")
    assert answer.status == 409
    assert "has changed since you looked" in said(answer.text)
    assert (await items.get_approval(house.store, row["id"]))["status"] == "open"


@pytest.mark.parametrize("person", ["W-100009", "W-105044"])
async def test_A08_neither_who_asked_nor_whom_it_is_about_may_approve(house: Any, person: str) -> None:
    row = (await items.list_approvals(house.store))[0]
    answer = await house.post(f"/approvals/{row['id']}/decision", person=person, said="approve")
    assert answer.status == 403
    assert not (await items.get_approval(house.store, row["id"]))["answers"]


async def test_A05_who_was_not_asked_sees_why_the_buttons_are_off(told: Any) -> None:
    row = (await items.list_approvals(told.store))[0]
    page = (await told.get(f"/approvals/{row['id']}", cookie="topstitch_person=eve")).text
    assert re.search(r'value="approve" disabled', page)
    assert "You were not asked; Dana Ortiz may decide." in said(page)


async def test_A09_a_late_click_says_who_decided_already(house: Any) -> None:
    row = (await items.list_approvals(house.store))[0]
    await house.post(f"/approvals/{row['id']}/decision", said="refuse", comment="not this quarter")
    late = await house.post(f"/approvals/{row['id']}/decision", said="approve")
    assert late.status == 409
    assert "dana refused it already" in said(late.text)


async def test_a_refusal_without_a_reason_is_asked_for_one(house: Any) -> None:
    row = (await items.list_approvals(house.store))[0]
    answer = await house.post(f"/approvals/{row['id']}/decision", said="refuse")
    assert answer.status == 422
    assert "Say why" in said(answer.text)
    assert (await items.get_approval(house.store, row["id"]))["status"] == "open"


async def test_a_hundred_gets_on_an_approval_decide_nothing(house: Any) -> None:
    row = (await items.list_approvals(house.store))[0]
    before = (await instances.get(house.store, row["instance"]))["head_seq"]
    for _ in range(100):
        for path in ("", "/decision", "?said=approve", "/decision?said=approve"):
            answer = await house.get(f"/approvals/{row['id']}{path}")
            assert answer.status in (200, 404, 405)
    assert (await instances.get(house.store, row["instance"]))["head_seq"] == before


async def test_counts_agree_with_the_list_for_every_filter(told: Any) -> None:
    for query in (
        "",
        "state:open",
        "state:waiting",
        "has:approval",
        "has:task",
        "has:discrepancy",
        "stone",
        "seam:entra-id>servicenow",
        "older:4h",
        "newer:4h",
        "system:crm",
    ):
        found = (await told.get(f"/instances.json?q={query.replace('>', '%3E').replace(' ', '+')}")).json
        counted = Counter(row["status"] for row in found["items"])
        assert found["counts"] == dict(counted), query
        assert found["total"] == len(found["items"]), query


async def test_the_badges_agree_with_their_pages(told: Any) -> None:
    overview = (await told.get("/")).text
    badges = {
        name: int(n) for name, n in re.findall(r'href="/(\w+)".*?</svg>\w+<span class="count \w+">(\d+)<', overview)
    }
    assert badges["approvals"] == len((await told.get("/approvals.json?show=all")).json["items"])
    assert badges["discrepancies"] == len((await told.get("/discrepancies.json")).json["items"])
    queue = (await told.get("/exceptions.json")).json
    assert badges["exceptions"] == len(queue["cases"]) + len(queue["tasks"])


async def test_pages_of_a_list_hold_each_instance_once(told: Any) -> None:
    seen: list[str] = []
    after, pages = None, 0
    while True:
        page = await search(told.store, parse_query(""), told.hands.clock.now(), after=after, limit=4)
        seen += [row["id"] for row in page.rows]
        after, pages = page.next, pages + 1
        if after is None:
            break
    assert pages == 5
    assert sorted(seen) == sorted(set(seen)) == sorted(hire.id for hire in told.hires.values())


async def test_a_search_that_cannot_be_read_says_what_can_be_written(told: Any) -> None:
    answer = await told.get("/instances?q=stat:waiting")
    assert answer.status == 422
    assert "did you mean state?" in said(answer.text)
    twin = await told.get("/instances.json?q=stat:waiting")
    assert (twin.status, twin.json["code"], twin.headers["content-type"]) == (
        422,
        "query-field",
        "application/problem+json",
    )
    assert (await told.get("/instances/ins_none.json")).status == 404


async def test_H10_the_view_at_each_record_is_the_fold_of_the_records_up_to_it(told: Any) -> None:
    for name in ("Priya Raman", "Lukas Vogel", "Samuel Brandt"):
        hire: Hired = told.hires[name]
        state = lifecycle.initial(hire.plan, hire.id)
        for seq, draft in enumerate(hire.records, 1):
            state = lifecycle.fold(hire.plan, state, draft)
            sight = await look(told.hands, hire.id, str(seq))
            assert sight.state == state
            assert len(sight.records) == seq


async def test_H10_the_past_says_so_shows_nothing_later_and_lets_nothing_be_done(told: Any) -> None:
    page = (await told.get(f"/instances/{told.id('Priya Raman')}?at=8")).text
    text = said(page)
    assert "after record 8 of 50" in text
    assert "Sales Operations" not in text
    assert "REQ1" not in text
    assert not re.search(r'href="/instances/[^"]+/cancel"', page)
    assert "hx-sse:connect" not in page
    running = said((await told.get(f"/instances/{told.id('Priya Raman')}?at=20")).text)
    assert re.search(r"Slack invitation 2\.8 s , Running", running), "a step that ran then had run for seconds"
    by_time = said((await told.get(f"/instances/{told.id('Priya Raman')}?at=2026-11-23T12:09:05Z")).text)
    assert "As it was" in by_time
    assert (await told.get(f"/instances/{told.id('Priya Raman')}?at=yesterday")).status == 422


async def test_every_tab_and_the_json_twin_tell_the_same_instance(told: Any) -> None:
    name = told.id("Lukas Vogel")
    document = (await told.get(f"/instances/{name}.json")).json
    assert document["id"] == name
    assert document["time"]["whole_ms"] == sum(
        document["time"][f"{part}_ms"] for part in ("systems", "seams", "people")
    )
    for tab in ("steps", "time", "table", "history", "data", "versions"):
        answer = await told.get(f"/instances/{name}?view={tab}")
        assert answer.status == 200
        assert document["title"] in answer.text
    step = said((await told.get(f"/instances/{name}?step=equipment")).text)
    assert f"{name}:equipment" in step
    assert "answer 4 transient unavailable (503)" in step
    assert "cancel request, then read back" in step


async def test_times_of_a_page_are_of_one_zone(told: Any) -> None:
    page = (await told.get(f"/instances/{told.id('Priya Raman')}?tz=Asia/Tokyo")).text
    text = said(page)
    assert "Tokyo (UTC+9)" in text
    assert re.search(r"try 2 at 21:09:\d\d", text)
    assert "12:09:" not in text
    assert 'datetime="2026-11-23T12:09' in page


async def test_what_systems_say_is_text_and_never_markup() -> None:
    evil = '<img src=x onerror=alert(1)>"><script>alert(2)</script>'
    with Store.open("sqlite::memory:") as store:
        definition = workflow()
        await publish(store, definition, NOW)
        hire = Hired(plan_of(definition), Company(team_channel=evil), NOW, "Evil Name")
        hire.hire(last_name=evil, location=evil).run_for(hours=3)
        await write(store, hire)
        app = console_app(hands_for(store))
        for path in (
            "/",
            "/instances",
            *(f"/instances/{hire.id}?view={v}" for v in ("steps", "time", "table", "history", "data", "versions")),
            f"/instances/{hire.id}?step=welcome_chat",
        ):
            page = (await ask(app, path)).text
            assert "<img" not in page
            assert "<script>" not in page


async def test_no_page_holds_styles_foreign_hosts_or_the_nonce_of_another(told: Any) -> None:
    for path in (
        "/",
        "/instances",
        f"/instances/{told.id('Priya Raman')}",
        "/approvals",
        "/exceptions",
        "/workflows/employee-onboarding",
        "/audit",
    ):
        answer = await told.get(path)
        assert " style=" not in answer.text
        assert not re.findall(r'(?:src|href|action)="(https?:[^"]+)"', answer.text)
        nonce = re.search(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
        assert nonce
        assert set(re.findall(r'nonce="([^"]+)"', answer.text)) == {nonce[1]}


async def test_nobody_who_is_not_signed_in_sees_a_page(told: Any) -> None:
    closed = told.again(identify=lambda _r: None, sign_in="/sign-in")
    for path in ("/", "/instances.json", "/stream", f"/instances/{told.id('Priya Raman')}", "/audit"):
        answer = await closed.get(path)
        if path.endswith(".json"):
            assert (answer.status, answer.json["code"]) == (401, "not-signed-in")
            continue
        assert answer.status == 303
        assert answer.headers["location"].startswith("/sign-in?next=%2F")
    assert (await closed.get("/static/console.css")).status == 200


async def test_a_viewer_sees_what_they_may_not_do_and_why(told: Any) -> None:
    viewer = told.again(identify=lambda _r: Person(id="mei", roles=("viewer",)))
    page = (await viewer.get(f"/instances/{told.id('Priya Raman')}")).text
    assert "Needs the role operator or admin; you are viewer." in unescape(page)
    assert not re.search(r'href="/instances/[^"]+/cancel"', page)
    answer = await viewer.post(f"/instances/{told.id('Priya Raman')}/pause", reason="no")
    assert answer.status == 403


async def test_an_empty_house_teaches() -> None:
    with Store.open("sqlite::memory:") as store:
        app = console_app(hands_for(store))
        for path, wanted in (
            ("/", "No handoffs yet"),
            ("/instances", "topstitch demo"),
            ("/approvals", "Nothing waits"),
            ("/exceptions", "No case is open"),
            ("/discrepancies", "Every system agrees"),
            ("/workflows", "topstitch publish"),
            ("/connectors", "connections.toml"),
            ("/audit", "Self-attested"),
        ):
            answer = await ask(app, path)
            assert answer.status == 200
            assert wanted in said(answer.text)


async def test_the_badge_says_self_attested_until_a_checkpoint_lies_outside(told: Any) -> None:
    assert "Self-attested" in said((await told.get("/audit")).text)
    verified = said((await told.post("/audit/verify")).text)
    assert "Intact" in verified
    assert "records of 19 instances recomputed just now" in verified


async def test_a_changed_record_is_seen_on_the_page_and_by_verifying(house: Any) -> None:
    name = house.id("Ana Costa")
    await house.store.work(
        lambda b: b.execute(
            "UPDATE journal SET body = replace(body, 'workday', 'workdax') WHERE instance = ? AND seq = 1", (name,)
        )
    )
    verified = said((await house.post("/audit/verify")).text)
    assert f"{name}, record 1, is not what was written" in verified


async def test_two_versions_are_compared_in_business_terms(house: Any) -> None:
    old = workflow()
    form = copy.deepcopy(normal_form(old))
    form["version"] = "1.0.1"
    form["steps"]["welcome_chat"]["retry"]["attempts"] = 3
    new = workflow_from_normal(form)
    await publish(house.store, new, NOW, parent=definition_digest(old))
    page = said((await house.get("/workflows/employee-onboarding/diff/1.0.0..1.0.1")).text)
    assert "1.0.0 → 1.0.1" in page
    assert "18 instances stay on v1.0.0" in page
    assert page.count("Slack invitation changed, invite , Changed") == 2
    assert page.count(", Unchanged") == 8
    listed = said((await house.get("/workflows")).text)
    assert "v1.0.1" in listed
    assert "18 on v1.0.0" in listed


async def test_two_versions_are_compared_line_by_line(house: Any) -> None:
    old = workflow()
    form = copy.deepcopy(normal_form(old))
    form["version"], form["title"] = "1.0.1", "<b>Hire</b>"
    new = workflow_from_normal(form)
    edits = {"title: Employee onboarding": "title: <b>Hire</b>"}
    await publish(house.store, new, NOW, parent=definition_digest(old), edits=edits)
    path = "/workflows/employee-onboarding/diff/1.0.0..1.0.1"
    page = (await house.get(path)).text
    assert "2 lines removed, 2 added" in said(page)
    assert "removed version: 1.0.0" in said(page)
    assert "added version: 1.0.1" in said(page)
    assert "<code>title: &lt;b&gt;Hire&lt;/b&gt;</code>" in page
    assert "<b>Hire" not in page
    same = said((await house.get("/workflows/employee-onboarding/diff/1.0.1..1.0.1")).text)
    assert "Line by line the two files are the same." in same


async def test_large_values_are_cut_on_the_page() -> None:
    shown = pretty({"text": "x" * (PAYLOAD_SHOWN_MAX * 2)})
    assert len(shown) < PAYLOAD_SHOWN_MAX + 200
    assert "more characters" in shown


def test_the_story_is_the_same_every_time() -> None:
    with Store.open("sqlite::memory:") as one, Store.open("sqlite::memory:") as other:
        assert [hire.id for hire in at_once(seed(one))] == [hire.id for hire in at_once(seed(other))]


async def test_where_nobody_signs_in_one_press_makes_one_the_person_who_was_asked(told: Any) -> None:
    cast = {"dana": "Dana Ortiz", "ivo": "Ivo Marsh"}
    demo = told.again(cast=cast, identify=LocalPeople("ivo", cast))
    page = (await demo.get("/approvals")).text
    assert "You were not asked; Dana Ortiz may decide." in page
    assert '<button class="button small" name="person" value="dana">' in page
    assert '<option value="ivo" selected>Ivo Marsh</option>' in page
    answer = await demo.post("/act-as", person="ivo", next="/approvals?show=all")
    assert (answer.status, answer.headers["location"]) == (303, "/approvals?show=all")
    assert "Act as Dana Ortiz" not in (await demo.get("/approvals", cookie="topstitch_person=dana")).text
