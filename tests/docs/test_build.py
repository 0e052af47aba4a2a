"""The documents build without a warning, and what is built asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from support.tree import ROOT

BUILD_SECONDS_MAX = 240
FETCHING = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",), "video": ("src",),
    "audio": ("src",), "embed": ("src",), "object": ("data",), "use": ("href", "xlink:href"), "form": ("action",),
    "input": ("src",), "track": ("src",), "base": ("href",),
}  # fmt: skip
"""What a page asks for by itself. ``link`` is judged by its ``rel``."""
ONLY_SAYING = {"canonical", "alternate", "license", "help", "author", "next", "prev", "index", "search"}
ELSEWHERE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
IN_SCRIPTS = re.compile(r"""(?:fetch|import|importScripts|\.src\s*=|\.open)\s*\(?\s*["'`](https?://[^"'`]+)""")
PERSONS = ("engineer", "owner", "approver", "operations", "auditor")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build once, warnings as errors."""
    folder = tmp_path_factory.mktemp("docs")
    done = build(ROOT / "docs", folder / "html")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    arguments = [
        "-b",
        "html",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        str(target.parent / "doctrees"),
        str(source),
        str(target),
    ]
    command = [sys.executable, "-m", "sphinx", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False)


@pytest.mark.xdist_group("docs-build")
def test_the_documents_build_without_a_warning(built: Path) -> None:
    pages = {path.relative_to(built).with_suffix("").as_posix() for path in built.rglob("*.html")}
    documents = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {each for each in documents if not each.startswith("_build")} <= pages
    front = (built / "index.html").read_text(encoding="utf-8")
    for person in PERSONS:
        assert person in front


@pytest.mark.xdist_group("docs-build")
def test_no_built_page_asks_another_host_for_anything(built: Path) -> None:
    found = [f"{path.relative_to(built)}: {each}" for path in built.rglob("*") for each in asked_elsewhere(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("a.html", "<script src='https://cdn.example/x.js'></script>"),
        ("a.html", "<link rel='stylesheet' href='//fonts.example/css'>"),
        ("a.html", "<link rel='preconnect' href='https://fonts.example'>"),
        ("a.html", "<img srcset='https://badges.example/x.svg 2x'>"),
        ("a.html", "<style>@import 'https://fonts.example/a.css';</style>"),
        ("a.html", "<div style='background: url(https://x.example/y.png)'></div>"),
        ("a.css", "@font-face { src: url('https://fonts.example/a.woff2') }"),
        ("a.js", "fetch('https://telemetry.example/hit')"),
    ],
)
def test_a_planted_request_is_caught(tmp_path: Path, name: str, planted: str) -> None:
    (tmp_path / name).write_text(planted, encoding="utf-8")
    assert list(asked_elsewhere(tmp_path / name))


@pytest.mark.parametrize(
    "innocent", ["<a href='https://example.org'>there</a>", "<link rel='canonical' href='https://example.org/x'>"]
)
def test_a_link_that_a_person_follows_passes(tmp_path: Path, innocent: str) -> None:
    (tmp_path / "a.html").write_text(innocent, encoding="utf-8")
    assert not list(asked_elsewhere(tmp_path / "a.html"))


def test_a_planted_dead_reference_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text("extensions = ['myst_parser']\nnitpicky = True\n", encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text("# Here\n\n[nowhere](nowhere.md)\n", encoding="utf-8")
    done = build(tmp_path / "docs", tmp_path / "html")
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def asked_elsewhere(path: Path) -> Iterator[str]:
    """Yield the addresses on other hosts that a built file would be asked for."""
    if path.suffix == ".html":
        text = path.read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        yield from page.found
    elif path.suffix == ".css":
        yield from IN_STYLES.findall(path.read_text(encoding="utf-8"))
    elif path.suffix == ".js":
        yield from IN_SCRIPTS.findall(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Finds what a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in: str = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in = tag
        names = FETCHING.get(tag, ())
        if tag == "link" and not set(given.get("rel", "").split()) <= ONLY_SAYING:
            names = ("href",)
        self.found += [given[name] for name in names if ELSEWHERE.match(given.get(name, ""))]
        self.found += IN_STYLES.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.found += IN_STYLES.findall(data)
        elif self._in == "script":
            self.found += IN_SCRIPTS.findall(data)
