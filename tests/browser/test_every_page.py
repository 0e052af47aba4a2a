"""Every page: accessible in both themes, narrow without sideways scroll, whole without scripts, silent."""

from __future__ import annotations

from typing import Any

import pytest

from browser.conftest import Open
from browser.pages import addresses
from browser.site import Served

RULES = "{runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(page_of: Open, site: Served, axe: str, theme: str) -> None:
    page = page_of("/help", theme=theme)
    found: dict[str, Any] = {}
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        page.evaluate(axe)
        answer = page.evaluate(f"axe.run(document, {RULES})")
        wrong = [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in answer["violations"]]
        if wrong:
            found[name] = wrong
    assert not found, "\n".join(f"{k}: {v}" for k, v in found.items())


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_no_page_scrolls_sideways(page_of: Open, site: Served, width: int) -> None:
    page = page_of("/help", width=width)
    wide = {}
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        reach = page.evaluate("document.documentElement.scrollWidth")
        if reach > width:
            wide[name] = reach
    assert not wide


def test_every_page_is_whole_without_scripts(page_of: Open, site: Served) -> None:
    page = page_of("/help", scripts=False)
    for name, path in addresses(site).items():
        page.goto(site.origin + path)
        assert page.locator("h1").inner_text(), name
        assert page.locator("main").inner_text().strip(), name


def test_a_page_that_is_not_there_says_so_in_the_same_frame(page_of: Open) -> None:
    page = page_of("/nowhere", expected="404")
    assert page.locator("h1").inner_text() == "Nothing here"
    assert page.locator("nav[aria-label=Console] a").count() >= 10
