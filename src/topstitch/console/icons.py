"""Icons by name, as SVG that is written into the page: Lucide's outlines, and state discs for pictures.

The outlines stand in ``static/icons.svg``, made from the vendored package. A picture's glyph is a
filled disc with its sign, so that a state is told without its colour. Pure.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

_SYMBOL: Final = re.compile(r'<symbol id="([a-z0-9-]+)"[^>]*>(.*?)</symbol>', re.DOTALL)
_OUTLINED: Final = frozenset({"circle", "clock", "minus", "circle-dot"})


@cache
def outlines() -> dict[str, str]:
    """Return the inside of every icon by its name."""
    text = (files("topstitch.console") / "static" / "icons.svg").read_text(encoding="utf-8")
    return {name: " ".join(body.split()) for name, body in _SYMBOL.findall(text)}


def icon(name: str, size: int = 16) -> str:
    """Return an icon that says nothing by itself: a word stands beside it."""
    return (
        f'<svg class="i i-{name}" viewBox="0 0 24 24" width="{size}" height="{size}" aria-hidden="true" focusable="false">'
        f"{outlines()[name]}</svg>"
    )


def glyph(name: str, x: float, y: float, tone: str, size: float = 12) -> str:
    """Return a state's disc with its sign, around a point of a picture."""
    scale = size / 24 if tone == "plain" else 7.6 / 24
    half = 12 * scale
    inner = f'<g class="sign" transform="translate({x - half:g} {y - half:g}) scale({scale:.4g})">{outlines().get(name, "")}</g>'
    if tone == "plain":
        return inner
    if name in _OUTLINED:
        if name == "clock":
            wide = 13 / 24
            return f'<g class="sign out {tone}" transform="translate({x - 12 * wide:g} {y - 12 * wide:g}) scale({wide:.4g})">{outlines()["clock"]}</g>'
        dot = f'<circle class="dot {tone}" cx="{x:g}" cy="{y:g}" r="2"/>' if name in ("circle-dot", "minus") else ""
        return f'<circle class="ring {tone}" cx="{x:g}" cy="{y:g}" r="5.6"/>{dot}'
    return f'<g class="disc {tone}"><circle cx="{x:g}" cy="{y:g}" r="6.5"/>{inner}</g>'
