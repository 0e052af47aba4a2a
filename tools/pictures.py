"""Takes pictures of the console: the README's, of the demo itself; and every page, for somebody to look at.

A person calls it. ``python tools/pictures.py`` starts ``topstitch demo`` in a folder of its own, waits until its
people are asked, and writes what a visitor then sees into ``docs/images``, in both themes. With ``--all FOLDER`` it
writes every page of the story that the browser tests tell, wide and narrow. Nothing leaves the machine; it never
runs in the product.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402 -- after the path is set

FLAGS = import_module("browser.conftest").FLAGS
addresses: Callable[[Any], dict[str, str]] = import_module("browser.pages").addresses
standard: Callable[[], Any] = import_module("browser.pages").standard
served: Callable[..., AbstractContextManager[Any]] = import_module("browser.site").served

THEMES = ("light", "dark")
WIDE, NARROW = 1440, 390
TALLEST = 2400
STANDS_SECONDS_MAX = 240
"""How long the demo may take until its clock stands and its people are asked."""
ZONE = "Europe/Berlin"
ASKED = "ruth.abend@corp.example"
"""Who decides on the instance that is shown."""


def open_page(browser: Browser, origin: str, theme: str, width: int, person: str | None, zone: str) -> Page:
    """Open a page in a browser of somebody."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        timezone_id=zone,
        color_scheme="dark" if theme == "dark" else "light",
    )
    cookies = {"topstitch_theme": theme, "topstitch_tz": zone} | ({"topstitch_person": person} if person else {})
    context.add_cookies([{"name": n, "value": v, "url": origin} for n, v in cookies.items()])
    return context.new_page()


def shot(page: Page, address: str, to: Path, last: str | None = None) -> None:
    """Write one picture: the whole page, or the page down to the end of one part of it."""
    page.goto(address)
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(150)
    tall = page.evaluate("document.documentElement.scrollHeight")
    if last is not None:
        box = page.locator(last).bounding_box()
        assert box is not None, f"{address} has no {last}"
        tall = round(box["y"] + box["height"] + 14)
    size = page.viewport_size or {"width": WIDE, "height": 900}
    page.set_viewport_size({"width": size["width"], "height": min(TALLEST, tall)})
    page.wait_for_timeout(150)
    page.screenshot(path=str(to))
    page.context.close()


@contextmanager
def demo() -> Iterator[str]:
    """Run the demo until its clock stands; give the console's address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "topstitch", "demo", "--data", f"{folder}/demo", "--port", "0"]
        environment = {k: v for k, v in os.environ.items() if k != "TOPSTITCH_PERSON"}
        environment["PYTHONPATH"] = str(ROOT / "src")
        said = Path(folder) / "said.txt"
        with said.open("w") as out:
            running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
            try:
                yield _until_it_stands(running, said)
            finally:
                running.terminate()
                running.wait(30)


def _until_it_stands(running: subprocess.Popen[bytes], said: Path) -> str:
    """Wait until everybody of the story is asked and its time stands still; return the console's address."""
    end, before = time.monotonic() + STANDS_SECONDS_MAX, -1
    while time.monotonic() < end and running.poll() is None:
        time.sleep(3)
        told = said.read_text()
        found = re.search(r"Console (http://\S+?)/ ", told)
        if found and len(told) == before and len(listed(found[1], "approvals.json?show=all")) > 1:
            return found[1]
        before = len(told)
    raise SystemExit(f"the demo did not come to where its people are asked; it said:\n{said.read_text()[-2000:]}")


def listed(origin: str, address: str) -> list[dict[str, Any]]:
    """Return the items of a JSON twin."""
    with urlopen(f"{origin}/{address}", timeout=30) as answer:  # noqa: S310 -- the demo on this machine
        return list(json.load(answer)["items"])


def for_the_readme(browser: Browser) -> None:
    """Write what a visitor of the demo sees: the overview, an instance that waits for a decision, the inbox."""
    with demo() as origin:
        ruth = next(a for a in listed(origin, "approvals.json?show=all") if ASKED in [p["id"] for p in a["people"]])
        shown: dict[str, tuple[str, str | None, str | None]] = {
            "overview": ("/", None, None),
            "instance": (f"/instances/{ruth['instance']}", ASKED, "section:has(.picture)"),
            "approvals": ("/approvals?show=all", None, None),
        }
        for name, (path, person, last) in shown.items():
            for theme in THEMES:
                to = ROOT / "docs" / "images" / f"{name}-{theme}.png"
                to.parent.mkdir(parents=True, exist_ok=True)
                last_part = f"{last} >> nth=0" if last else None
                shot(open_page(browser, origin, theme, WIDE, person, ZONE), origin + path, to, last_part)
                print(f"{to.relative_to(ROOT)}  {to.stat().st_size // 1024} KB")


def of_every_page(browser: Browser, given: argparse.Namespace) -> None:
    """Write every page of the browser tests' story."""
    given.all.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), bundles=[standard()]) as site:
        wanted = given.only.split(",") if given.only else list(addresses(site))
        for name in wanted:
            for theme in given.themes.split(","):
                for width in map(int, given.widths.split(",")):
                    to = given.all / f"{name.replace(' ', '-').replace(',', '')}-{theme}-{width}.png"
                    page = open_page(browser, site.origin, theme, width, "dana", "America/Chicago")
                    shot(page, site.origin + addresses(site)[name], to)


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
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        if given.all is None:
            for_the_readme(browser)
        else:
            of_every_page(browser, given)
        browser.close()


if __name__ == "__main__":
    main()
