"""A browser and a seeded console for the tests of this folder: Debian's chromium, kept from reaching out.

Every page fails its test when it says anything on the console, throws, or asks another host.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browser.pages import standard
from browser.site import Served, served

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = Path(__file__).parent / "vendor" / "axe.min.js.gz"
Open = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all browser tests on one worker, one after the other: two browsers are too many for two cores."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module. Playwright keeps an event loop running in this thread, so it must
    be gone before the next module's tests start loops of their own.
    """
    program = shutil.which("chromium")
    assert program, "the browser tests need chromium; give: make parts"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("console"), bundles=[standard()]) as one:
        yield one


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A console on a store in which nothing has happened yet."""
    with served(tmp_path_factory.mktemp("fresh"), empty=True) as one:
        yield one


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A console that asks who comes: Ada has a password, and may look."""
    with served(tmp_path_factory.mktemp("door"), signs_in=True) as one:
        yield one


@pytest.fixture
def page_of(chromium: Browser, site: Served) -> Iterator[Open]:
    """Open pages that may say nothing on the console; ``expected`` names what they may."""
    contexts: list[Any] = []
    said: list[str] = []

    def make(
        path: str = "/",
        *,
        theme: str = "light",
        width: int = 1280,
        person: str = "dana",
        scripts: bool = True,
        expected: str | None = None,
        at: Served | None = None,
    ) -> Page:
        origin = (at or site).origin
        context = chromium.new_context(
            viewport={"width": width, "height": 860}, timezone_id="America/Chicago", java_script_enabled=scripts
        )
        contexts.append(context)
        cookies = {"topstitch_theme": theme, "topstitch_person": person, "topstitch_tz": "America/Chicago"}
        context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in cookies.items()])
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                said.append(message.text) if expected is None or not re.search(expected, message.text) else None
            ),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: said.append(f"asked {request.url}") if not request.url.startswith(origin) else None,
        )
        page.goto(origin + path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not said, said


@pytest.fixture(scope="session")
def axe() -> str:
    return gzip.decompress(AXE.read_bytes()).decode()
