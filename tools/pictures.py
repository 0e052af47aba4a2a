"""Takes pictures of the console: every page, both themes, wide and narrow; and the ones the README shows.

A person calls it: ``python tools/pictures.py`` writes the README's pictures into ``docs/images``; with
``--all FOLDER`` it writes every page for somebody to look at. Pages come from the story that the browser
tests tell, served from a thread; nothing leaves the machine. It never runs in the product.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from playwright.sync_api import Browser, sync_playwright  # noqa: E402 -- after the path is set

FLAGS = import_module("browser.conftest").FLAGS
addresses: Callable[[Any], dict[str, str]] = import_module("browser.pages").addresses
served: Callable[[Path], AbstractContextManager[Any]] = import_module("browser.site").served

THEMES = ("light", "dark")
README = {"instance": "instance", "overview": "overview", "approvals": "approvals"}
"""Which pages the README shows, and the names of their pictures."""
WIDE, NARROW = 1440, 390
TALLEST = 2400


def shot(browser: Browser, site: Any, path: str, to: Path, theme: str, width: int, height: int | None) -> None:
    """Write one picture; without a height the whole page."""
    context = browser.new_context(
        viewport={"width": width, "height": height or 900},
        timezone_id="America/Chicago",
        color_scheme="dark" if theme == "dark" else "light",
    )
    cookies = {"topstitch_theme": theme, "topstitch_person": "dana", "topstitch_tz": "America/Chicago"}
    context.add_cookies([{"name": n, "value": v, "url": site.origin} for n, v in cookies.items()])
    page = context.new_page()
    page.goto(site.origin + path)
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(150)
    if height is None:
        tall = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": width, "height": tall})
    page.screenshot(path=str(to))
    context.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, for somebody to look at")
    parser.add_argument("--only", help="names of pages, with commas")
    parser.add_argument("--themes", default=",".join(THEMES))
    parser.add_argument("--widths", default=f"{WIDE},{NARROW}")
    given = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("the pictures need chromium; give: make parts")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        if given.all is None:
            for page, name in README.items():
                for theme in THEMES:
                    path = ROOT / "docs" / "images" / f"{name}-{theme}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shot(browser, site, addresses(site)[page], path, theme, 1280, 900)
                    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KB")
        else:
            given.all.mkdir(parents=True, exist_ok=True)
            wanted = given.only.split(",") if given.only else list(addresses(site))
            for page in wanted:
                for theme in given.themes.split(","):
                    for width in map(int, given.widths.split(",")):
                        name = f"{page.replace(' ', '-')}-{theme}-{width}.png"
                        shot(browser, site, addresses(site)[page], given.all / name, theme, width, None)
        browser.close()


if __name__ == "__main__":
    main()
