"""Every page: accessible in both themes, narrow without sideways scroll, whole without scripts, silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Open
from browser.pages import INSIDE, OUTSIDE, addresses, lists, unvisited
from browser.site import PASSWORD, Served

RULES = "{runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}}"
PARTS = 6
"""So that no test takes minutes on a busy machine, where a page with a long list takes axe many seconds."""
ANSWERS = "40[34]|422"
"""A search that cannot be read, a page that is not there and one that is not theirs are answered so."""


def test_no_page_of_the_application_is_forgotten_here(site: Served) -> None:
    visited = [*addresses(site).values(), *OUTSIDE.values(), *INSIDE.values()]
    assert unvisited(visited) == []
    without = [path for path in visited if "/diff/" not in path]
    assert unvisited(without) == ["/workflows/{name}/diff/{old}..{new}"], "and one that is left out is named"


def wrong_on(page: Page, axe: str, origin: str, pages: Mapping[str, str]) -> dict[str, Any]:
    """Return what axe finds on each of some pages, in both themes."""
    page.emulate_media(reduced_motion="reduce")  # colours must not be on their way while they are judged
    found: dict[str, Any] = {}
    for name, path in pages.items():
        page.goto(origin + path)
        page.evaluate(axe)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            answer = page.evaluate(f"axe.run(document, {RULES})")
            wrong = [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in answer["violations"]]
            if wrong:
                found[f"{name}, {theme}"] = wrong
    return found


def told(found: Mapping[str, Any]) -> str:
    return "\n".join(f"{k}: {v}" for k, v in found.items())


def wide_of(page: Page, origin: str, paths: Iterable[str], widths: Iterable[int] = (320, 390, 1440)) -> dict[str, int]:
    """Return the pages that reach beyond the window, by address and width."""
    wide = {}
    for path in paths:
        page.goto(origin + path)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 860})
            reach = page.evaluate("document.documentElement.scrollWidth")
            if reach > width:
                wide[f"{path} at {width}"] = reach
    return wide


def come_in(page: Page) -> None:
    """Sign Ada in."""
    page.get_by_label("Name or address").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("part", range(PARTS))
def test_axe_finds_nothing_on_any_page_in_either_theme(page_of: Open, site: Served, axe: str, part: int) -> None:
    pages = dict(list(addresses(site).items())[part::PARTS])
    found = wrong_on(page_of("/help", expected=ANSWERS), axe, site.origin, pages)
    assert not found, told(found)


def test_axe_finds_nothing_in_a_fresh_installation(page_of: Open, fresh: Served, axe: str) -> None:
    page = page_of("/help", at=fresh)
    found = wrong_on(page, axe, fresh.origin, lists())
    assert not found, told(found)
    assert not wide_of(page, fresh.origin, lists().values(), (320,))


def test_ada_signs_in_looks_at_her_account_and_leaves(page_of: Open, door: Served, axe: str) -> None:
    page = page_of("/account", at=door, expected=f"{ANSWERS}|Clear-Site-Data")  # the browser notes that it obeys
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    found = wrong_on(page, axe, door.origin, OUTSIDE)
    page.goto(door.origin + "/account")
    page.get_by_label("Name or address").fill("ada")
    page.get_by_label("Password", exact=True).fill("a wrong one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
    come_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    expect(page.get_by_text("this browser")).to_be_visible()
    found |= wrong_on(page, axe, door.origin, INSIDE)
    assert not wide_of(page, door.origin, INSIDE.values(), (320,))
    page.goto(door.origin + "/instances/x/cancel")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not yours to do")
    page.set_viewport_size({"width": 1280, "height": 860})
    page.locator("details.menu summary", has_text="Ada Byron").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    assert not wide_of(page, door.origin, OUTSIDE.values(), (320,))
    assert not found, told(found)


def test_signing_in_needs_no_script(page_of: Open, door: Served) -> None:
    page = page_of("/help", at=door, scripts=False)
    come_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Help")


def test_no_page_scrolls_sideways(page_of: Open, site: Served) -> None:
    assert not wide_of(page_of("/help", expected=ANSWERS), site.origin, addresses(site).values())


def test_every_page_is_whole_without_scripts(page_of: Open, site: Served) -> None:
    page = page_of("/help", scripts=False, expected=ANSWERS)
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        assert page.locator("h1").inner_text(), name
        assert page.locator("main").inner_text().strip(), name


def test_a_page_that_is_not_there_says_so_in_the_same_frame(page_of: Open) -> None:
    page = page_of("/nowhere", expected="404")
    assert page.locator("h1").inner_text() == "Nothing here"
    assert page.locator("nav[aria-label=Console] a").count() >= 10


def test_on_a_phone_the_seams_are_a_list_and_the_rail_shows_where_one_is(page_of: Open) -> None:
    page = page_of("/", width=390)
    first = page.locator(".matrix .cell").first
    expect(first.get_by_text("Workday → Entra ID")).to_be_visible()
    box = first.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    expect(page.get_by_role("columnheader", name="ServiceNow")).to_be_hidden()
    page = page_of("/audit", width=390)
    expect(page.get_by_role("link", name="Audit", exact=True).first).to_be_in_viewport()
