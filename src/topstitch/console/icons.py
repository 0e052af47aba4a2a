"""Icons by name, as SVG that is written into the page: Lucide's outlines, and state discs for pictures.

The outlines stand in ``static/icons.svg``, made from the vendored package. A picture's glyph is a
filled disc with its sign, so that a state is told without its colour. Pure.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from markupsafe import Markup

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
        f'<svg class="i i-{name}" viewBox="0 0 24 24" width="{size}" height="{size}" '
        f'aria-hidden="true" focusable="false">'
        f"{outlines()[name]}</svg>"
    )


def glyph(name: str, x: float, y: float, tone: str, size: float = 12) -> str:
    """Return a state's disc with its sign, around a point of a picture."""
    scale = size / 24 if tone == "plain" else 7.6 / 24
    half = 12 * scale
    inner = _sign("sign", x - half, y - half, scale, name)
    if tone == "plain":
        return inner
    if name in _OUTLINED:
        if name == "clock":
            wide = 13 / 24
            return _sign(f"sign out {tone}", x - 12 * wide, y - 12 * wide, wide, "clock")
        dot = f'<circle class="dot {tone}" cx="{x:g}" cy="{y:g}" r="2"/>' if name in ("circle-dot", "minus") else ""
        return f'<circle class="ring {tone}" cx="{x:g}" cy="{y:g}" r="5.6"/>{dot}'
    return f'<g class="disc {tone}"><circle cx="{x:g}" cy="{y:g}" r="6.5"/>{inner}</g>'


def _sign(classes: str, x: float, y: float, scale: float, name: str) -> str:
    inside = outlines().get(name, "")
    return f'<g class="{classes}" transform="translate({x:g} {y:g}) scale({scale:.4g})">{inside}</g>'


def drawn(svg: str) -> Markup:
    """Mark a picture as markup: it was made in this room, and every text in it was escaped where it was set."""
    return Markup(svg)  # noqa: S704 -- the one place where markup is not made by a template
