"""The README's first screen is what a newcomer needs, in its order, and what it shows is what is shipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from support.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = ROOT / "src/topstitch/examples/onboarding/employee-onboarding.yaml"
FIRST_SCREEN_LINES = 60
BADGE = re.compile(r"shields\.io|badge", re.IGNORECASE)
SOURCES = re.compile(r"(?:src|srcset)=\"([^\"]+)\"")


def test_the_first_screen_says_what_it_is_one_command_the_seam_and_a_definition_in_this_order() -> None:
    first = "\n".join(README.splitlines()[:FIRST_SCREEN_LINES])
    places = [
        first.index(each) for each in ("# Topstitch", "One workflow", "make demo", "*seam*", "```yaml", "Five minutes")
    ]
    assert places == sorted(places)
    assert len(BADGE.findall(README)) <= 4
    for title in ("## What it promises", "## Is it for you?", "## Status", "Licence"):
        assert title in README


def test_the_definition_shown_is_part_of_the_one_that_is_shipped() -> None:
    shown = yaml.safe_load(README.split("```yaml\n")[1].split("```")[0])
    assert not differences(shown, yaml.safe_load(SHIPPED.read_text(encoding="utf-8")))


def test_the_pictures_shown_are_there_in_both_themes() -> None:
    for each in SOURCES.findall(README):
        assert (ROOT / each).is_file(), each
        assert (ROOT / each.replace("light", "dark")).is_file()


def test_every_guarantee_names_the_tests_that_prove_it() -> None:
    promises = README.split("## What it promises")[1].split("## ")[0]
    for promise in promises.split("\n* ")[1:]:
        assert re.search(r"\]\(tests/[\w/]+\.py\)", promise), promise


@pytest.mark.parametrize(
    "planted", [{"steps": {"identity": {"do": "crm.assign_team"}}}, {"at": 1}, {"systems": {"x": 1}}]
)
def test_a_planted_difference_is_seen(planted: dict[str, Any]) -> None:
    assert differences(planted, yaml.safe_load(SHIPPED.read_text(encoding="utf-8")))


def differences(shown: Any, shipped: Any, at: str = "") -> list[str]:
    """Return where what is shown is no part of what is shipped."""
    match shown:
        case Mapping():
            if not isinstance(shipped, Mapping):
                return [at]
            return [d for k, v in shown.items() for d in differences(v, shipped.get(k), f"{at}.{k}")]
        case list():
            if not isinstance(shipped, list) or len(shown) != len(shipped):
                return [at]
            pairs = zip(shown, shipped, strict=True)
            return [d for n, (a, b) in enumerate(pairs) for d in differences(a, b, f"{at}[{n}]")]
        case _:
            return [] if shown == shipped else [at]
