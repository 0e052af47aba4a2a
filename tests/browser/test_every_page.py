"""Every page: accessible in both themes, narrow without sideways scroll, whole without scripts, silent."""

from __future__ import annotations

from typing import Any

from browser.conftest import Open
from browser.pages import addresses
from browser.site import Served

RULES = "{runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}}"


def test_axe_finds_nothing_on_any_page_in_either_theme(page_of: Open, site: Served, axe: str) -> None:
    page = page_of("/help", expected="422")  # a search that cannot be read is answered so
    page.emulate_media(reduced_motion="reduce")  # colours must not be on their way while they are judged
    found: dict[str, Any] = {}
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        page.evaluate(axe)
        for theme in ("light", "dark"):
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            answer = page.evaluate(f"axe.run(document, {RULES})")
            wrong = [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in answer["violations"]]
            if wrong:
                found[f"{name}, {theme}"] = wrong
    assert not found, "\n".join(f"{k}: {v}" for k, v in found.items())


def test_no_page_scrolls_sideways(page_of: Open, site: Served) -> None:
    page = page_of("/help", expected="422")
    wide = {}
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 860})
            reach = page.evaluate("document.documentElement.scrollWidth")
            if reach > width:
                wide[f"{name} at {width}"] = reach
    assert not wide


def test_every_page_is_whole_without_scripts(page_of: Open, site: Served) -> None:
    page = page_of("/help", scripts=False, expected="422")
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        assert page.locator("h1").inner_text(), name
        assert page.locator("main").inner_text().strip(), name


def test_a_page_that_is_not_there_says_so_in_the_same_frame(page_of: Open) -> None:
    page = page_of("/nowhere", expected="404")
    assert page.locator("h1").inner_text() == "Nothing here"
    assert page.locator("nav[aria-label=Console] a").count() >= 10
