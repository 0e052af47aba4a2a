"""What is shipped to browsers: vendored files by their hashes, templates without styles or scripts in them, small."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(str(files("topstitch.console")))
STATIC, TEMPLATES = ROOT / "static", sorted((ROOT / "templates").glob("*.html"))
VENDORED = tomllib.loads((ROOT / "vendor.toml").read_text(encoding="utf-8"))["package"]
OWN = {"console.css", "console.js", "mark.svg"}
FIRST_LOAD_KB_MAX, SCRIPT_KB_MAX = 170, 12


def test_every_vendored_file_is_what_vendor_toml_says() -> None:
    for package in VENDORED:
        assert package["version"]
        assert package["licence"]
        assert (STATIC / package["licence_file"]).read_text(encoding="utf-8").strip()
        for name, wanted in package["sha256"].items():
            assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == wanted, name


def test_nothing_is_shipped_that_nobody_listed() -> None:
    listed = {name for package in VENDORED for name in (*package["sha256"], package["licence_file"])}
    shipped = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert shipped - listed == OWN


def test_templates_hold_no_style_no_script_and_nothing_that_needs_eval() -> None:
    assert TEMPLATES
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bstyle\s*=", text), path.name
        assert not re.search(r"\bon[a-z]+\s*=\s*[\"']", text), path.name
        assert "hx-on" not in text, path.name
        assert "js:" not in text, path.name
        assert "|safe" not in text.replace(" ", ""), path.name
        assert not re.search(r"hx-trigger=\"[^\"]*\[", text), path.name
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path.name


def test_every_element_that_speaks_htmx_carries_the_nonce() -> None:
    for path in TEMPLATES:
        for tag in re.findall(
            r"<[a-z]+\b(?:[^<>{}]|\{\{.*?\}\}|\{%.*?%\})*>", path.read_text(encoding="utf-8"), re.DOTALL
        ):
            if re.search(r"\shx-", tag):
                assert 'hx-nonce="{{ nonce }}"' in tag, (path.name, tag[:120])


def test_no_file_of_ours_names_another_host() -> None:
    for path in (*TEMPLATES, STATIC / "console.css", STATIC / "console.js"):
        found = [
            url
            for url in re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8"))
            if "www.w3.org" not in url
        ]
        assert not found, (path.name, found)


def test_the_first_load_and_the_script_keep_to_their_budgets() -> None:
    first = (
        "console.css",
        "console.js",
        "vendor/htmx.min.js",
        "vendor/hx-sse.min.js",
        "vendor/hx-csp.min.js",
        "fonts/geist-latin-wght-normal.woff2",
        "fonts/geist-mono-latin-wght-normal.woff2",
    )
    assert sum((STATIC / name).stat().st_size for name in first) <= FIRST_LOAD_KB_MAX * 1024 - 24 * 1024
    assert (STATIC / "console.js").stat().st_size <= SCRIPT_KB_MAX * 1024


def test_the_script_writes_no_markup() -> None:
    text = (STATIC / "console.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
