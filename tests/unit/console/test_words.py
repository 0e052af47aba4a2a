"""Every status has its word, glyph and tone; texts are readable on what they stand on."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from topstitch.console import words
from topstitch.console.icons import outlines
from topstitch.model.instance import InstanceEnd, StepStatus

CSS = (files("topstitch.console") / "static" / "console.css").read_text(encoding="utf-8")
TOKENS = dict(re.findall(r"--([a-z0-9-]+):light-dark\(([^)]*)\)", CSS))
TONES = {"ok", "warn", "breach", "human", "accent", "idle"}


def test_every_status_of_the_model_has_its_word() -> None:
    assert set(words.STEP) == set(StepStatus)
    assert {str(end) for end in InstanceEnd} <= set(words.INSTANCE)
    for said in (
        *words.STEP.values(),
        *words.INSTANCE.values(),
        *words.VERDICT.values(),
        *words.ENDINGS.values(),
        words.PERSON,
        words.ATTENTION,
        words.CHECKING,
    ):
        assert said.word
        assert said.glyph in outlines(), said.glyph
        assert said.tone in TONES


def test_a_wait_for_a_person_is_no_error() -> None:
    assert words.instance("waiting", asks=True, cases=True).tone == "human"
    assert words.instance("waiting", cases=True).tone == "breach"
    assert words.instance("paused", asks=True).word == "Paused"
    assert words.instance("a_new_status").word == "A new status"


@pytest.mark.parametrize(
    ("ms", "tone"), [(0, "ok"), (60_000, "ok"), (60_001, "warn"), (300_000, "warn"), (300_001, "breach")]
)
def test_a_seam_is_judged_by_its_limits(ms: int, tone: str) -> None:
    assert words.seam_tone(ms) == tone


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        (t, g)
        for t in ("ink", "ink-2", "ink-3", "accent", "ok", "warn", "breach", "human")
        for g in ("surface", "sunken", "paper")
    ]
    + [(t, f"{t}-soft") for t in ("ok", "warn", "breach", "human", "accent")]
    + [
        ("surface", "breach"),
        ("accent-ink", "accent"),
        ("ink-2", "idle-soft"),
        ("human", "people-lane"),
        ("ink-3", "people-lane"),
    ],
)
def test_text_has_contrast_in_both_themes(text: str, ground: str, theme: int) -> None:
    assert contrast(colour(text, theme), colour(ground, theme)) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_borders_of_controls_have_contrast(theme: int) -> None:
    assert contrast(colour("control", theme), colour("surface", theme)) >= 3


def test_no_colour_stands_outside_the_tokens() -> None:
    rest = CSS[CSS.index("[data-theme=light]") :]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", rest)


def colour(token: str, theme: int) -> tuple[int, int, int]:
    text = TOKENS[token].split(",")[theme].strip().lstrip("#")
    text = "".join(c * 2 for c in text) if len(text) == 3 else text
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(rgb: tuple[int, int, int]) -> float:
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
