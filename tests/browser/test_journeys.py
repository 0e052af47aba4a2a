"""Journeys of the five people through the console, in a real browser: at least two for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from browser.conftest import Open
from browser.site import Served, served
from topstitch.store import items
from topstitch.store.searches import head_position


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A console of this file's own: its journeys change things."""
    with served(tmp_path_factory.mktemp("journeys")) as one:
        yield one


def named(site: Served, title: str) -> str:
    return next(hire.id for hire in site.hires if hire.state.title == title)


# --- Paul, process owner ------------------------------------------------------------------------


def test_paul_sees_the_sick_seam_and_the_case_behind_it(page_of: Open) -> None:
    page = page_of("/", person="paul")
    expect(page.get_by_role("heading", level=1)).to_have_text("Seams, last 24 hours")
    page.get_by_role("link", name=re.compile("6 m 12 s.*over its limit")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Entra ID → ServiceNow")
    page.get_by_role("link", name="Noor Aziz").click()
    expect(page.get_by_text("Slowest: Entra ID → ServiceNow, 6 m 12 s")).to_be_visible()
    assert page.locator("path.seam.breach").count() >= 1


def test_paul_finds_a_case_by_name_and_its_address_is_the_view(page_of: Open) -> None:
    page = page_of("/", person="paul")
    page.get_by_label("Search instances").first.fill("lukas")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/instances\?q=lukas"))
    page.get_by_role("link", name="Lukas Vogel").click()
    page.get_by_role("link", name="Table").click()
    expect(page).to_have_url(re.compile("view=table"))
    page.reload()
    expect(page.get_by_role("heading", name="Steps")).to_be_visible()


def test_paul_keeps_a_search_for_everybody_and_narrows_it_with_a_bar(page_of: Open) -> None:
    page = page_of("/instances?q=state%3Awaiting", person="paul")
    page.locator("summary", has_text="Views").click()
    page.get_by_label("Save this search as").fill("What waits")
    page.get_by_label("for everybody").check()
    page.get_by_role("button", name="Save view").click()
    expect(page.get_by_role("status").filter(has_text="Saved as What waits")).to_be_visible()
    other = page_of("/instances", person="ana")
    other.locator("summary", has_text="Views").click()
    other.get_by_role("link", name="What waits").click()
    expect(other).to_have_url(re.compile("q=state%3Awaiting"))
    before = other.locator("tbody tr").count()
    other.locator(".histogram a").last.click()
    expect(other).to_have_url(re.compile("since"))
    assert 0 < other.locator("tbody tr").count() < before


# --- Dana, approver -----------------------------------------------------------------------------


def test_dana_opens_the_card_from_a_mail_on_her_phone_and_nothing_is_decided_by_looking(
    page_of: Open, site: Served
) -> None:
    approval = site.do(items.list_approvals(site.hands.store))[0]
    page = page_of(f"/approvals/{approval['id']}", person="dana", width=390, expected="422")
    expect(page.get_by_text("Looking decides nothing.")).to_be_visible()
    expect(page.locator("nav")).to_have_count(0)
    page.get_by_role("button", name="Refuse").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    assert site.do(items.get_approval(site.hands.store, approval["id"]))["status"] == "open"
    assert page.get_by_role("button", name="Approve").bounding_box()["height"] >= 40


def test_dana_finds_opens_and_approves_with_the_keyboard_alone_while_ivo_looks_on(page_of: Open, site: Served) -> None:
    watching = page_of(f"/instances/{named(site, 'Priya Raman')}", person="ivo")
    expect(watching.locator("#live-word")).to_have_text("Live")
    page = page_of("/", person="dana")
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page).to_have_url(re.compile("/approvals"))
    tab_to(page, "textarea")
    page.keyboard.type("territory checked")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Approved")).to_be_visible()
    expect(watching.get_by_text("Dana approves CRM team assignment: territory checked")).to_be_visible(timeout=25_000)


# --- Ivo, IT operations -------------------------------------------------------------------------


def test_ivo_goes_from_the_badge_to_the_failed_try_and_hands_the_task_in(page_of: Open, site: Served) -> None:
    page = page_of("/", person="ivo")
    page.get_by_role("navigation", name="Console").get_by_role("link", name=re.compile("Exceptions")).click()
    page.get_by_role("link", name=re.compile("Order standard equipment")).click()
    page.get_by_label("Number").fill("REQ0099")
    page.get_by_label("Request id").fill("REQ99")
    page.get_by_role("button", name="It is done").click()
    expect(page.get_by_role("status").filter(has_text="Handed in")).to_be_visible()
    page.locator("a.box", has_text="Equipment request").click()
    expect(page.locator("#step")).to_contain_text("transient unavailable (503)")


def test_ivo_cancels_after_reading_what_would_happen(page_of: Open, site: Served) -> None:
    page = page_of(f"/instances/{named(site, 'Ines Duarte')}", person="ivo")
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_text("Entra ID: disable user")).to_be_visible()
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_text("What is done stays")).to_be_visible()
    page.get_by_label("Reason").fill("entered twice")
    page.get_by_role("button", name="Cancel the instance").click()
    expect(page.get_by_role("status").filter(has_text="kept with your reason")).to_be_visible()


def test_a_page_is_live_however_late_its_scripts_come(page_of: Open, site: Served) -> None:
    """Htmx once began between two deferred scripts, before it knew of streams, and the page stayed as it was."""
    page = page_of("/settings", person="ivo")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/hx-sse*", hold)
    page.goto(site.origin + f"/instances/{named(site, 'Priya Raman')}", wait_until="commit")
    for _ in range(10_000):  # from outside, for the page's own policy lets nobody wait in it
        if page.evaluate("Boolean(window.htmx)") and held:
            break
    page.evaluate("new Promise((done) => setTimeout(done))")
    (late,) = held
    late.continue_()
    expect(page.locator("#live-word")).to_have_text("Live", timeout=25_000)


def test_a_page_whose_stream_and_renewal_fail_tries_both_again(page_of: Open, site: Served) -> None:
    refused = "Failed to load resource|stream"
    page = page_of("/settings", person="ivo", expected=refused)
    failures = {"stream": 1, "page": 1}

    def fail_once(what: str) -> Callable[[Route], None]:
        def handle(route: Route) -> None:
            failures[what] -= 1
            if failures[what] < 0:
                route.continue_()
            else:
                route.fulfill(status=503, body="busy")

        return handle

    name = named(site, "Priya Raman")
    page.route("**/stream?*", fail_once("stream"))
    page.goto(site.origin + f"/instances/{name}")
    expect(page.locator("#live-word")).to_have_text("Connecting")
    expect(page.locator("#live-word")).to_have_text("Live", timeout=25_000)
    page.route(f"**/instances/{name}", fail_once("page"))
    other = page_of(f"/instances/{name}/pause", person="ana")
    other.get_by_label("Reason").fill("payroll asks to wait")
    other.get_by_role("button", name="Pause it").click()
    expect(page.locator("h1 + .tag")).to_have_text("Paused", timeout=25_000)
    assert failures["stream"] < 0
    assert failures["page"] < 0


def test_ivo_pauses_live_updates_and_catches_up(page_of: Open, site: Served) -> None:
    name = named(site, "Tom Becker")
    page = page_of(f"/instances/{name}", person="ivo")
    switch = page.locator("#live-switch")
    switch.click()
    expect(page.locator("#live-word")).to_have_text("Paused")
    other = page_of(f"/instances/{name}/resume", person="ana")
    other.get_by_label("Reason").fill("payroll is done")
    other.get_by_role("button", name="Resume it").click()
    page.wait_for_timeout(600)
    expect(page.locator("h1 + .tag")).to_have_text("Paused")
    switch.click()
    expect(page.locator("h1 + .tag")).not_to_have_text("Paused", timeout=8000)


def test_X07_ivo_acts_on_many_with_the_keyboard_and_reads_how_each_went(page_of: Open, site: Served) -> None:
    page = page_of("/instances?q=stone", person="ivo")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("#chosen-count")).to_have_text("2 chosen")
    page.get_by_label("What to do").select_option("pause")
    page.get_by_label("Reason", exact=True).fill("payroll asks to wait")
    page.get_by_role("button", name="Preview…").click()
    expect(page.get_by_text("2 can be done, 0 cannot.")).to_be_visible()
    page.get_by_role("button", name="Pause 2 instances").click()
    expect(page.get_by_text("2 of 2 done.")).to_be_visible(timeout=25_000)
    expect(page.locator("td .tag", has_text="done")).to_have_count(2)


def test_ivo_goes_through_a_list_one_by_one(page_of: Open) -> None:
    page = page_of("/instances?q=stone", person="ivo")
    names = page.locator("tbody .row-link").all_inner_texts()
    page.get_by_role("link", name=names[0]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(names[0])
    page.wait_for_load_state()  # keys are heard once the page's script is there
    page.keyboard.press("]")
    expect(page.get_by_role("heading", level=1)).to_have_text(names[1])
    page.wait_for_load_state()
    page.keyboard.press("[")
    expect(page.get_by_role("heading", level=1)).to_have_text(names[0])


# --- Mei, auditor -------------------------------------------------------------------------------


def test_mei_verifies_the_trail_and_reads_how_far_it_can_be_trusted(page_of: Open) -> None:
    page = page_of("/audit", person="mei")
    expect(page.get_by_text("Self-attested")).to_be_visible()
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text(re.compile("records of 19 instances recomputed"))).to_be_visible()


def test_mei_sees_an_instance_as_it_was_when_it_was_decided(page_of: Open, site: Served) -> None:
    page = page_of(f"/instances/{named(site, 'Mo Salah')}?view=history", person="mei")
    page.locator("tr", has_text="Dana refuses CRM team assignment").locator("td a").first.click()
    expect(page.get_by_text(re.compile("Nothing later is shown"))).to_be_visible()
    page.get_by_role("link", name="One record back").click()
    expect(page.get_by_text("Dana refuses CRM team assignment")).to_have_count(0)


# --- Ana, automation engineer -------------------------------------------------------------------


def test_ana_reads_the_mapping_and_every_outcome_of_the_version_in_force(page_of: Open) -> None:
    page = page_of("/workflows", person="ana")
    page.get_by_role("link", name="Employee onboarding").click()
    page.get_by_role("link", name="Mapping").click()
    expect(page.get_by_role("columnheader", name="Rollback plan")).to_be_visible()
    page.get_by_role("link", name="Outcomes").click()
    expect(page.get_by_text("ServiceNow is unreachable for 4 attempts")).to_be_visible()


def test_ana_looks_up_what_a_system_can_do(page_of: Open) -> None:
    page = page_of("/connectors", person="ana")
    page.get_by_role("link", name="ServiceNow").click()
    row = page.locator("tr", has_text="create_catalog_request").first
    expect(row).to_contain_text("find first")
    expect(row).to_contain_text("cancel_request")


def test_ana_tries_the_policy_and_nothing_is_recorded(page_of: Open, site: Served) -> None:
    before = site.do(head_position(site.hands.store))
    page = page_of("/policies", person="ana")
    page.get_by_role("button", name="Ask the policy").click()
    expect(page.get_by_text("No rule of the bundle fires")).to_be_visible()
    page.get_by_label("Facts of a write").fill("{")
    page.get_by_role("button", name="Ask the policy").click()
    expect(page.get_by_role("alert")).to_contain_text("no JSON")
    assert site.do(head_position(site.hands.store)) == before


# --- everybody ----------------------------------------------------------------------------------


def test_the_palette_goes_anywhere(page_of: Open) -> None:
    page = page_of("/")
    page.keyboard.press("Control+k")
    page.keyboard.type("discre")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/discrepancies"))


def test_single_keys_can_be_switched_off(page_of: Open) -> None:
    page = page_of("/settings")
    page.get_by_label("Single-key shortcuts").select_option("off")
    page.get_by_role("button", name="Keep").last.click()
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page).to_have_url(re.compile("/settings"))


def test_a_list_holds_what_is_new_until_it_is_asked_for(page_of: Open, site: Served) -> None:
    page = page_of("/instances", person="ivo")
    expect(page.locator(".held")).to_be_hidden()
    other = page_of(f"/instances/{named(site, 'Eva Lind')}/pause", person="ana")
    other.get_by_label("Reason").fill("look again")
    other.get_by_role("button", name="Pause it").click()
    expect(page.get_by_text("1 changed, show")).to_be_visible(timeout=8000)
    page.get_by_text("1 changed, show").click()
    expect(page.locator(".held")).to_be_hidden()
    expect(page.get_by_role("link", name="Eva Lind")).to_be_visible()


def test_without_scripts_an_approval_is_decided_all_the_same(tmp_path: Path, page_of: Open, site: Served) -> None:
    page = page_of(f"/instances/{named(site, 'Yuki Mori')}/pause", person="ivo", scripts=False)
    page.get_by_label("Reason").fill("no scripts here")
    page.get_by_role("button", name="Pause it").click()
    expect(page.locator("h1 + .tag")).to_have_text("Paused")


def tab_to(page: Page, tag: str) -> None:
    """Press Tab until the focus is on an element of a kind."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName.toLowerCase()") == tag:
            return
    raise AssertionError(f"no {tag} is reached by Tab")
