"""Every list has its twins, its views and its columns; discrepancies, policies, settings and alerts are acted on."""

from __future__ import annotations

import asyncio
import csv
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest

from browser.seeded import FIRST, NOW, Hired, plan_of, seed, trouble, workflow, write
from browser.site import ask
from support.onboarding import Company
from topstitch.access.service import Access
from topstitch.console.histogram import histogram_svg
from topstitch.console.pages.calendars import EN_DASH
from topstitch.console.pages.discrepancies import compared
from topstitch.console.site import sheet
from topstitch.foundation.canonical import canonical_bytes
from topstitch.governance.access import ROLES, Grant, Identity
from topstitch.governance.bundle_files import read_bundle
from topstitch.model.query import parse_query
from topstitch.model.record import Actor, ActorKind
from topstitch.office import calendars
from topstitch.office.lawmaking import check_bundle, publish
from topstitch.store import Store, alarms, discrepancies, instances, people, policies
from topstitch.store.calendars import every as in_force_calendars
from topstitch.store.people import PersonRow
from topstitch.store.searches import neighbours, search, spread

TAGS = re.compile(r"<[^>]+>")
LISTS = (
    "/instances",
    "/approvals",
    "/exceptions",
    "/discrepancies",
    "/workflows",
    "/connectors",
    "/policies",
    "/audit",
)


def said(html: str) -> str:
    return " ".join(unescape(TAGS.sub(" ", html)).split())


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_has_a_json_and_a_csv_twin_with_the_same_query(told: Any, path: str) -> None:
    page = await told.get(path)
    assert page.status == 200
    assert f'href="{path}.json' in page.text
    assert f'href="{path}.csv' in page.text
    assert (await told.get(f"{path}.json")).headers["content-type"] == "application/json"
    answer = await told.get(f"{path}.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "," in answer.text.splitlines()[0]
    assert table(answer.text) or path == "/exceptions"  # the story has no open case


async def test_the_rows_of_the_page_are_the_rows_of_its_twins(told: Any) -> None:
    query = "?q=has%3Adiscrepancy"
    rows = re.findall(r'name="id" value="([^"]+)"', (await told.get("/instances" + query)).text)
    assert rows == [one["id"] for one in (await told.get("/instances.json" + query)).json["items"]]
    assert rows == [one["id"] for one in table((await told.get("/instances.csv" + query)).text)]


def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe() -> None:
    body = bytes(sheet(("a", "b"), [{"a": "=HYPERLINK(1)", "b": {"n": 1}}]).body).decode()
    assert body == 'a,b\r\n\'=HYPERLINK(1),"{""n"":1}"\r\n'


async def test_a_search_is_kept_under_a_name_for_me_or_for_everybody(house: Any) -> None:
    saved = await house.post("/views", name="Waiting long", address="q=state%3Awaiting+older%3A2h", shared="yes")
    assert saved.status == 303
    await house.post("/views", name="Mine alone", address="q=stone")
    other = await ask(house.app, "/instances", cookie="topstitch_person=ivo")
    assert 'href="/instances?q=state%3Awaiting+older%3A2h"' in other.text
    assert "Mine alone" not in other.text
    view = re.search(r'action="/views/([^/]+)/remove"', (await house.get("/instances")).text)
    assert view is not None
    refused = await house.post(f"/views/{view[1]}/remove", person="ivo")
    assert refused.status == 403
    assert (await house.post(f"/views/{view[1]}/remove")).status == 303


async def test_columns_are_chosen_and_kept(told: Any) -> None:
    answer = await ask(
        told.app, "/preferences", method="POST", raw=b"next=/instances&columns=&columns=state&columns=ended"
    )
    assert "topstitch_columns=state.ended" in answer.headers["set-cookie"]
    page = (await ask(told.app, "/instances", cookie="topstitch_columns=state.ended")).text
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", page)
    assert heads == ["About", "State", "Ended"]


async def test_the_histogram_counts_what_the_list_lists_and_each_bar_narrows_it(told: Any) -> None:
    query = parse_query("newer:24h")
    page = await search(told.store, query, NOW)
    counts = await spread(told.store, query, NOW, since=NOW - timedelta(hours=24), until=NOW, slots=24)
    assert sum(counts) == page.total
    text = (await told.get("/instances?q=newer%3A24h")).text
    bars = re.findall(r'<a href="(/instances\?q=[^"]+)"><title>(\d+) started', text)
    assert sum(int(count) for _, count in bars) == page.total
    for href, count in bars[:3]:
        narrowed = (await told.get(unescape(href).replace("/instances?", "/instances.json?"))).json
        assert narrowed["total"] == int(count)


def test_nothing_is_drawn_where_nothing_began() -> None:
    assert not histogram_svg([0, 0], NOW, NOW + timedelta(hours=1), link=lambda _a, _b: "", said=str)


async def test_one_goes_on_to_the_next_within_the_list_one_came_from(told: Any) -> None:
    rows = (await search(told.store, parse_query("stone"), NOW)).rows
    names = [row["id"] for row in rows]
    assert await neighbours(told.store, parse_query("stone"), NOW, names[0]) == (None, names[1])
    assert await neighbours(told.store, parse_query("stone"), NOW, names[3]) == (names[2], names[4])
    page = (await told.get(f"/instances/{names[3]}?list=stone")).text
    assert f'rel="prev" href="/instances/{names[2]}?list=stone"' in page
    assert f'rel="next" href="/instances/{names[4]}?list=stone"' in page


async def test_a_list_says_which_time_it_goes_by(told: Any) -> None:
    assert "By the time they started, newest first" in said((await told.get("/instances")).text)
    assert "By the time they changed, newest first" in said((await told.get("/instances?by=changed")).text)
    rows = (await told.get("/instances.json?by=changed")).json["items"]
    assert [r["changed_at"] for r in rows] == sorted((r["changed_at"] for r in rows), reverse=True)


# --- discrepancies --------------------------------------------------------------------------------------


def test_only_what_differs_between_two_values_is_marked() -> None:
    shown = compared({"intended": "CC-4410", "observed": "CC-4401", "verdict": "differs"})
    assert str(shown["intended"]) == 'CC-44<span class="digit">10</span>'
    assert str(shown["observed"]) == 'CC-44<span class="digit">01</span>'
    longer = compared({"intended": "CC-441", "observed": "CC-4410", "verdict": "differs"})
    assert str(longer["observed"]) == 'CC-441<span class="digit">0</span>'
    plain = compared({"intended": "Sales", "observed": "<b>", "verdict": "differs"})
    assert str(plain["observed"]) == "&lt;b&gt;"


async def test_a_discrepancy_is_accepted_waived_and_rechecked_with_a_reason(house: Any) -> None:
    rows = await discrepancies.list_discrepancies(house.store, state="open")
    first, second = rows[0]["id"], rows[1]["id"]
    page = said((await house.get(f"/discrepancies/{first}")).text)
    assert "The record is read again now; nothing is written." in page
    assert (await house.post(f"/discrepancies/{first}/act", verb="accept", reason="agreed")).status == 303
    kept = await discrepancies.discrepancy(house.store, first)
    assert kept["state"] not in ("open", "confirmed", "ticketed")
    late = await house.post(f"/discrepancies/{first}/act", verb="accept", reason="again")
    assert late.status == 409
    without = await house.post(f"/discrepancies/{second}/act", verb="waive", reason="known", until="")
    assert "name the day" in said(without.text)
    day = (NOW + timedelta(days=5)).date().isoformat()
    assert (await house.post(f"/discrepancies/{second}/act", verb="waive", reason="known", until=day)).status == 303
    assert (await discrepancies.discrepancy(house.store, second))["state"] == "waived"
    records = await instances.records(house.store, rows[1]["instance"])
    assert records[-1].body["because"] == "known"


# --- policies -------------------------------------------------------------------------------------------


async def test_try_it_says_which_rules_fire_and_what_they_have_read(told: Any) -> None:
    from importlib.resources import files

    folder = files("topstitch") / "examples" / "policies" / "standard"
    texts = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")}
    bundle, findings = read_bundle(texts)
    assert bundle is not None
    assert not any(found for _, found in findings)
    house = told.again(bundles=[bundle])
    assert bundle.name in said((await house.get("/policies")).text)
    given = dict(bundle.tests[0]["given"] or {})
    given.pop("rates", None)
    answer = await house.post("/policies/try", facts=canonical_bytes(given).decode())
    assert answer.status == 200
    text = said(answer.text)
    assert bundle.tests[0]["then"].split(":")[0].split("(")[0].strip() in text or "No rule of the bundle" in text
    broken = await house.post("/policies/try", facts="{")
    assert "no JSON" in said(broken.text)
    rules = said((await house.get(f"/policies/{bundle.name}")).text)
    assert all(rule.id in rules for rule in bundle.rules)


# --- settings -------------------------------------------------------------------------------------------


async def test_who_is_away_hands_decisions_over_until_a_day_and_takes_them_back(house: Any) -> None:
    day = (NOW + timedelta(days=3)).date().isoformat()
    made = await house.post("/settings/delegations", delegate="omar", ends=day, because="holiday")
    assert made.status == 303, said(made.text)
    page = (await house.get("/settings?part=delegation")).text
    assert "holiday" in said(page)
    omar = await ask(house.app, "/approvals.json?show=delegated", cookie="topstitch_person=omar")
    assert len(omar.json["items"]) == 1
    name = re.search(r"/settings/delegations/([^/]+)/end", page)
    assert name is not None
    assert (await house.post(f"/settings/delegations/{name[1]}/end")).status == 303
    omar = await ask(house.app, "/approvals.json?show=delegated", cookie="topstitch_person=omar")
    assert not omar.json["items"]
    without = await house.post("/settings/delegations", delegate="omar", ends="", because="holiday")
    assert "say until when" in said(without.text)


@pytest.mark.parametrize(
    "part", ["mine", "people", "tokens", "delegation", "calendars", "webhooks", "retention", "installation"]
)
async def test_each_part_of_the_settings_is_there_and_has_its_twin(told: Any, part: str) -> None:
    page = await told.get(f"/settings?part={part}")
    assert page.status == 200
    assert (await told.get(f"/settings.json?part={part}")).json["part"] == part


async def test_who_hands_decisions_to_somebody_who_may_not_decide_is_told(house: Any) -> None:
    for name, role in (("vera", "viewer"), ("otto", "approver")):
        row = PersonRow(id=name, made_at=NOW, made_by="human:ada")
        await people.add(house.store, row, Actor(ActorKind.HUMAN, "ada"), [(role, "")])
    access = Access(store=house.store, clock=house.hands.clock)
    dana = Identity(id="dana", roles=("approver",), via="session", signed_in_at=NOW)
    one = house.again(access=access, identify=lambda _: dana)
    day = (NOW + timedelta(days=3)).date().isoformat()
    for name, doubt in (("otto", ""), ("vera", "vera is no approver"), ("otot", "did you mean 'otto'?")):
        made = await one.post("/settings/delegations", delegate=name, ends=day, because="holiday")
        shown = said((await one.get(made.headers["location"])).text)
        assert f"{name} may answer for dana until then." in shown
        assert (" But " in shown) == bool(doubt)
        assert doubt in shown


CALENDARS = "/settings?part=calendars"
YEAR_END = 'freezes:\n  - {{from: "2026-12-19T00:00:00Z", until: "{until}", because: Year end}}\n'
HOURS = """zone: Europe/Berlin
country: DE
hours: {mon: ["08:00-12:00", "13:00-24:00"], tue: ["09:00-17:00"], wed: ["09:00-17:00"]}
holidays: {DE: {2026-12-25: Weihnachten, 2026-01-01: Neujahr}}
absences:
  - {who: omar@acme.example, from: "2026-11-20T00:00:00Z", until: "2026-11-28T00:00:00Z"}
  - {who: gone@acme.example, from: "2026-08-01T00:00:00Z", until: "2026-08-09T00:00:00Z"}
"""


async def _loaded(house: Any, text: str, by: str, environment: str = "prod") -> calendars.Loading:
    ada = Actor(ActorKind.HUMAN, by)
    return await calendars.load(house.store, text, "c.yaml", environment=environment, by=ada, at=NOW, four_eyes=True)


async def test_the_calendar_in_force_is_shown_with_what_holds_now_and_what_is_to_come(house: Any) -> None:
    assert "No calendar is loaded" in said((await house.get(CALENDARS)).text)
    done = await _loaded(house, HOURS + YEAR_END.format(until="2027-01-04T00:00:00Z"), "ada")
    await _loaded(house, "zone: UTC\n", "ada", "test")
    page = said((await house.get(CALENDARS)).text)
    assert "prod open now" in page or "prod closed now" in page
    for each in (
        "Mon 08:00-12:00, 13:00-24:00 Tue to Wed 09:00-17:00 Thu to Sun closed".replace("-", EN_DASH),
        "Year end",
        "omar@acme.example away",
        "1 is over",
        "Fri 25 Dec 2026 Weihnachten",
        "by ada",
        done.digest,
        "test open now",
        "All hours of all days.",
    ):
        assert each in page, each
    assert "gone@acme.example" not in page
    assert "Neujahr" not in page
    document = (await house.get("/settings.json?part=calendars")).json
    assert [one["environment"] for one in document["calendars"]] == ["prod", "test"]
    one = document["calendars"][0]
    assert (one["digest"], one["loaded_by"], len(one["absences"])) == (done.digest, "human:ada", 2)
    assert one["hours"]["mon"] == ["08:00-12:00", "13:00-24:00"]
    assert one["holidays"]["DE"]["2026-01-01"] == "Neujahr"
    assert one["now"]["absent"] == ["omar@acme.example"]


async def test_G05_a_calendar_that_waits_is_agreed_to_by_another_publisher_only(house: Any) -> None:
    for until in ("2027-01-04T00:00:00Z", "2026-12-24T00:00:00Z"):
        done = await _loaded(house, YEAR_END.format(until=until), "ada")
    assert done.waits
    page = (await house.get(CALENDARS, cookie="topstitch_person=ada")).text
    assert "A calendar for prod waits for a second person" in said(page)
    assert "would not hold at 2026-12-24 00:00 UTC" in said(page)
    assert "You loaded it, so somebody else has to agree." in page
    assert re.search(r'<span aria-hidden="true">\+</span>.*2026-12-24T00:00:00Z', page)
    path = f"/settings/calendars/{done.digest}"
    assert (await house.post(f"{path}/agree", person="ada")).status == 403
    eve = house.again(identify=lambda _: Identity(id="eve", roles=("viewer", "admin"), via="local"))
    looking = await eve.get(CALENDARS)
    assert 'class="button primary" disabled' in looking.text
    for act in ("agree", "withdraw"):
        assert (await eve.post(f"{path}/{act}")).status == 403
    (kept,) = await in_force_calendars(house.store)
    assert "2027-01-04" in kept.document
    assert (await house.post(f"{path}/agree", person="bob")).status == 303
    (kept,) = await in_force_calendars(house.store)
    assert "2026-12-24" in kept.document
    assert "waits for a second person" not in said((await house.get(CALENDARS)).text)
    assert (await house.post(f"{path}/agree", person="bob")).status == 404


async def test_a_calendar_that_waits_is_taken_back_and_one_of_another_environment_is_not_this_servers(
    house: Any,
) -> None:
    for environment in ("prod", "test"):
        for until in ("2027-01-04T00:00:00Z", "2026-12-24T00:00:00Z"):
            done = await _loaded(house, YEAR_END.format(until=until), "ada", environment)
    page = said((await house.get(CALENDARS)).text)
    assert "This server answers for prod; agree where test runs." in page
    assert (await house.post(f"/settings/calendars/{done.digest}/withdraw", person="bob")).status == 303
    waiting = (await house.get("/settings.json?part=calendars")).json["waiting"]
    assert [one["environment"] for one in waiting] == ["test"]
    assert (await house.post(f"/settings/calendars/{done.digest}/agree", person="bob")).status == 404


async def test_calendars_are_for_who_may_read_policies(house: Any) -> None:
    eve = house.again(identify=lambda _: Identity(id="eve", via="session"))
    assert "Not yours to see" in said((await eve.get(CALENDARS)).text)
    assert (await eve.get("/settings.json?part=calendars")).status == 403


# --- alerts and audit -----------------------------------------------------------------------------------


async def test_an_alert_is_acknowledged_and_muted_on_the_overview(house: Any) -> None:
    await trouble(house.store)
    assert "work lay here for 6 m 12 s" in said((await house.get("/")).text)
    assert (await house.post("/alerts/alt_1/acknowledge", person="ivo")).status == 303
    assert "ivo is on it" in said((await house.get("/")).text)
    unsaid = await house.post("/alerts/alt_1/mute", person="ivo", because=" ", **{"for": "4h"})
    assert unsaid.status == 422
    assert (await house.post("/alerts/alt_1/mute", person="ivo", because="known", **{"for": "4h"})).status == 303
    (mute,) = await alarms.mutes(house.store)
    assert datetime.fromtimestamp(mute.ends_ms / 1000, UTC) == NOW + timedelta(hours=4)
    assert "Muted until" in said((await house.get("/")).text)


async def test_records_are_found_by_actor_kind_workflow_and_time(told: Any) -> None:
    dana = (await told.get("/audit.json?actor=human%3Adana")).json["items"]
    assert dana
    assert {one["kind"] for one in dana} == {"approval.answered", "approval.closed"}
    recent = (await told.get("/audit.json?since=1h")).json["items"]
    assert all(datetime.fromisoformat(one["at"]) >= NOW - timedelta(hours=1) for one in recent)
    assert not (await told.get("/audit.json?workflow=nothing")).json["items"]


async def test_where_the_time_goes_adds_up_exactly(told: Any) -> None:
    (one,) = (await told.get("/index.json")).json["workflows"]
    assert one["finished"] > 10
    assert sum(one["shares_ms"].values()) > 0
    text = said((await told.get("/")).text)
    assert "End to end, by workflow" in text
    shares = [int(n) for n in re.findall(r"(\d+) % (?:systems|seams|people)", text)]
    assert 98 <= sum(shares) <= 102


async def test_counts_agree_with_the_list_while_instances_change_under_it(tmp_path: Any) -> None:
    with Store.open(str(tmp_path / "moving.db")) as store:
        await seed(store)
        plan, seen = plan_of(workflow()), set()
        new = [
            Hired(plan, Company(), NOW - timedelta(minutes=n), f"{name} Moving").hire() for n, name in enumerate(FIRST)
        ]

        looked = asyncio.Event()

        async def moving() -> None:
            for hire in new:
                await write(store, hire)
                await looked.wait()  # the next is written while the next look goes on
                looked.clear()

        mover = asyncio.create_task(moving())
        while not mover.done():
            page = await search(store, parse_query("moving"), NOW)
            assert page.total == len(page.rows)
            seen.add(page.total)
            looked.set()
        await mover
        assert (await search(store, parse_query("moving"), NOW)).total == len(new)
        assert len(seen) > 1


def _bundle(version: str, tier_3: str) -> Any:
    return check_bundle(
        {
            "policy.yaml": f"policy: people\nversion: {version}\nowner: {{team: controls}}\n"
            f"defaults: {{tier_1: auto, tier_2: auto, tier_3: {tier_3}, tier_4: approve(owner)}}\n"
            "tests: [{given: {step: {risk: 4}}, then: approve(owner)}]\n"
        }
    )


async def test_G05_a_policy_that_waits_is_agreed_to_by_another_publisher_only(house: Any) -> None:
    ada = Actor(ActorKind.HUMAN, "ada")
    for version, tier_3 in (("1.0.0", "approve(owner)"), ("1.1.0", "auto")):
        checked = _bundle(version, tier_3)
        where = house.hands.environment
        await publish(house.store, checked, environment=where, by=ada, at=NOW, four_eyes=True)
    shown = said((await house.get("/policies")).text)
    assert "Waits for a second person" in shown
    assert "Tier 3 asked for approve(owner) and would ask for auto" in shown
    path = f"/policies/proposals/{checked.bundle.digest}"
    assert (await house.post(f"{path}/agree", person="ada")).status == 403
    moves = await policies.history(house.store, where)
    assert [one.moved_by for one in moves] == ["human:ada"]
    viewer = house.again(identify=lambda _: Identity(id="eve", roles=("viewer", "admin"), via="local"))
    assert (await viewer.post(f"{path}/agree")).status == 403
    assert (await house.post(f"{path}/agree", person="bob")).status == 303
    moves = await policies.history(house.store, where)
    assert (moves[0].digest, moves[0].moved_by) == (checked.bundle.digest, "human:bob")
    assert "Waits for a second person" not in said((await house.get("/policies")).text)


ACTS = ("agree", "withdraw")
EVERY_ROLE_ELSEWHERE = tuple(Grant(role, "other-*") for role in ROLES)


@pytest.mark.parametrize("path", ["/approvals", "/exceptions", "/discrepancies", "/workflows", "/instances"])
async def test_G05_lists_show_whose_role_is_for_a_part_what_is_theirs(house: Any, path: str) -> None:
    async def rows(*grants: Grant) -> Any:
        one = house.again(identify=lambda _: Identity(id="eve", grants=grants, via="session", signed_in_at=NOW))
        answers = [await one.get(f"{path}{twin}") for twin in ("", ".json", ".csv")]
        assert [answer.status for answer in answers] == [200, 200, 200], path
        return answers

    shows = "?show=all" if path != "/instances" else ""
    whole = house.again(identify=lambda _: Identity(id="eve", roles=("viewer",), via="session", signed_in_at=NOW))
    everything = (await whole.get(f"{path}.json{shows}")).text
    one = house.again(identify=lambda _: Identity(id="eve", grants=(Grant("viewer", "employee-*"),), via="session"))
    assert (await one.get(f"{path}.json{shows}")).text == everything
    for answer in await rows(*EVERY_ROLE_ELSEWHERE):
        assert not [name for name in (*house.hires, "/workflows/employee", "people-operations") if name in answer.text]


async def test_G05_a_role_for_a_part_gives_no_right_over_the_whole(house: Any) -> None:
    eve = house.again(
        identify=lambda _: Identity(id="eve", grants=EVERY_ROLE_ELSEWHERE, via="session", signed_in_at=NOW)
    )
    assert (await eve.get("/audit")).status == 403
    for path in ("/connectors/itsm/pause", "/connectors/itsm/resume", "/connectors/itsm/test"):
        assert (await eve.post(path, reason="because")).status == 403, path
    settling = [f"{path}/sha256:0/{act}" for path in ("/policies/proposals", "/settings/calendars") for act in ACTS]
    for path in settling:
        assert (await eve.post(path)).status == 403, path


def in_part(house: Any, where: str, role: str = "viewer") -> Any:
    """Return the console as somebody sees it who has a role for a part of the workflows."""
    return house.again(
        identify=lambda _: Identity(id="eve", grants=(Grant(role, where),), via="session", signed_in_at=NOW)
    )


async def test_G05_the_first_page_shows_whose_role_is_for_a_part_what_is_theirs(house: Any) -> None:
    await trouble(house.store)
    whole = house.again(identify=lambda _: Identity(id="eve", roles=("viewer",), via="session", signed_in_at=NOW))
    mine, other = in_part(house, "employee-*"), in_part(house, "other-*")
    for path in ("/index.json", "/index.csv", "/connectors.csv", "/policies.csv"):
        assert (await mine.get(path)).text == (await whole.get(path)).text, path
    shown = said((await mine.get("/")).text)
    missing = [w for w in ("ServiceNow", "waiting", "open exception", "work lay here") if w not in shown]
    assert not missing, shown
    page = await other.get("/")
    assert page.status == 200
    for word in (
        *house.hires,
        "Entra",
        "waiting",
        "open exception",
        "is not as it was left",
        "employee-onboarding",
        "/alerts/",
    ):
        assert word not in page.text, word
    assert "No handoffs yet" in said(page.text)
    assert 'data-live="/stream' not in page.text
    assert (await other.get("/index.json")).json == {"range": "last 24 hours", "seams": [], "workflows": []}
    assert table((await other.get("/index.csv")).text) == []


async def test_G05_a_seam_shows_whose_role_is_for_a_part_the_crossings_of_theirs(house: Any) -> None:
    path = "/seams/entra-id/servicenow"
    mine, other = in_part(house, "employee-*"), in_part(house, "other-*")
    assert (await mine.get(f"{path}.json")).text == (await house.get(f"{path}.json")).text
    assert (await mine.get(f"{path}.json")).json["crossings"]
    empty = (await other.get(f"{path}.json")).json
    assert (empty["seam"], empty["crossings"]) == (None, [])
    page = await other.get(path)
    assert page.status == 200
    assert not [name for name in house.hires if name in page.text]


async def test_G05_an_alert_is_muted_by_who_operates_its_workflow(house: Any) -> None:
    await trouble(house.store)
    name = "alt_1"
    form = {"for": "1h", "because": "known"}
    for where, status in (("other-*", 403), ("employee-*", 303)):
        one = in_part(house, where, "operator")
        assert (await one.post(f"/alerts/{name}/acknowledge")).status == status
        assert (await one.post(f"/alerts/{name}/mute", **form)).status == status
    assert (await in_part(house, "*", "operator").post("/alerts/alr_nothing/mute", **form)).status in (403, 404)


async def test_G05_connectors_and_policies_show_whose_role_is_for_a_part_what_is_theirs(house: Any) -> None:
    mine, other = in_part(house, "employee-*", "operator"), in_part(house, "other-*", "operator")
    assert {row["alias"] for row in (await mine.get("/connectors.json")).json["items"]} >= {"itsm", "directory"}
    assert (await other.get("/connectors.json")).json["items"] == []
    assert (await mine.get("/connectors/itsm")).status == 200
    assert (await other.get("/connectors/itsm")).status == 404
    assert (await other.get("/policies.json")).json["writes"] == []
    assert (await mine.get("/policies.json")).json["writes"]
    assert (await other.post("/policies/try", facts="{}")).status == 200
    assert "employee-onboarding" not in (await other.get("/policies.csv")).text


async def test_exceptions_and_discrepancies_are_narrowed_with_the_language_of_instances(house: Any) -> None:
    await trouble(house.store)
    page = (await house.get("/exceptions?q=otto")).text
    assert "1 case open, 0 tasks" in said(page)
    assert re.search(r"verb=retry&amp;case=cas_\w+\"", page), "what is acted on is what is seen"
    assert "group=" not in page
    assert [c["instance_title"] for c in (await house.get("/exceptions.json?q=otto")).json["cases"]] == ["Otto Klein"]
    assert len(table((await house.get("/exceptions.csv?q=state:stopped")).text)) == 3
    assert "No case matches" in said((await house.get("/exceptions?q=nobody")).text)
    assert "Lukas Vogel" in said((await house.get("/exceptions?q=has:task")).text)
    found = (await house.get("/discrepancies.json?q=yuki")).json["items"]
    assert [d["instance_title"] for d in found] == ["Yuki Mori"]
    assert "No record matches" in said((await house.get("/discrepancies?q=older:30d")).text)


@pytest.mark.parametrize("path", ["/exceptions", "/discrepancies"])
async def test_a_search_of_a_list_that_cannot_be_read_says_so(told: Any, path: str) -> None:
    page = await told.get(f"{path}?q=colour:red")
    assert page.status == 200
    assert "A search knows no field 'colour'" in said(page.text)
    assert (await told.get(f"{path}.json?q=colour:red")).status == 422
