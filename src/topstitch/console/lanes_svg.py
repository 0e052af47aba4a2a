"""Draws one instance as systems and seams: lanes, steps, handoffs with their times, as accessible SVG.

``draw`` is called by the instance's page and by the page of a definition version, which has no
times yet. Classes say the state; colours stand in the style sheet; no attribute holds a style.
Boxes are links, so that Tab walks the flow; a sentence says what the picture shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil
from typing import Final

import msgspec

from topstitch.console import lanes as g, words
from topstitch.console.icons import glyph

PEOPLE: Final = "People"
TITLE_LESS, NOTE_LESS, MARK_PX = 37, 54, g.BAND - 6
"""What of a box's width a title cannot have, and a note beside the undo sign; and a mark's whole width."""
TITLE_SIZE: Final = 12.5 * 1.04


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """What a box says."""

    title: str
    note: str
    said: words.Said
    href: str
    undo: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What an arrow says."""

    tone: str
    label: str = ""
    sentence: str = ""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a band says in one lane."""

    text: str
    said: words.Said | None = None


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is drawn."""

    lanes: Sequence[tuple[str, str]]
    boxes: Mapping[str, Box]
    lines: Mapping[tuple[str, str], Line]
    context: Sequence[Mark]
    checks: Sequence[Mark]
    sentence: str


def draw(geometry: g.Geometry, picture: Picture) -> str:
    """Return the SVG."""
    width, height = geometry.width, geometry.height
    parts = [
        (
            f'<svg class="lanes" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="group" '
            'aria-labelledby="lanes-t lanes-d">'
        ),
        f'<title id="lanes-t">Systems and seams</title><desc id="lanes-d">{escape(picture.sentence)}</desc>',
        "<defs>",
        *(_head(tone) for tone in ("ok", "warn", "breach", "human", "todo", "inner")),
        "</defs>",
        *_lanes(geometry, picture.lanes),
        *_ruler(geometry),
        *_band(geometry, g.CONTEXT, picture.context, "context"),
        *_band(geometry, g.RECONCILE, picture.checks, "reconcile"),
    ]
    for edge in geometry.edges:
        line = picture.lines.get((edge.source.id, edge.target.id), Line(tone="todo"))
        parts.append(f'<path class="seam {line.tone}" d="{edge.path}" marker-end="url(#head-{line.tone})"/>')
    ordered = sorted((n for n in geometry.nodes.values() if n.id in picture.boxes), key=lambda n: (n.column, n.y))
    parts += [_box(node, picture.boxes[node.id]) for node in ordered]
    for edge in geometry.edges:
        said = picture.lines.get((edge.source.id, edge.target.id))
        if said is not None and said.label:
            parts.append(_pill(edge, said))
    return "".join(parts) + "</svg>"


def pill_width(line: Line) -> float:
    """Return how wide a pill is, from its text."""
    icon = 15 if line.tone in ("breach", "human", "warn") else 0
    return round(len(line.label) * 5.9 + 16 + icon, 1)


def box_width(titles: Iterable[str]) -> float:
    """Return how wide boxes are so that the longest of their titles is read whole, within bounds."""
    longest = max((text_width(title, TITLE_SIZE) for title in titles), default=0)
    return min(max(g.BOX_W, ceil(longest) + TITLE_LESS), g.BOX_W_MAX)


def _head(tone: str) -> str:
    return (
        f'<marker id="head-{tone}" class="head {tone}" viewBox="0 0 7 7" refX="6" refY="3.5" '
        'markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 .6 6.4 3.5 0 6.4z"/></marker>'
    )


def _lanes(geometry: g.Geometry, lanes: Sequence[tuple[str, str]]) -> list[str]:
    parts = []
    for k, (title, kind) in enumerate(lanes):
        top, height = geometry.tops[k], geometry.tops[k + 1] - geometry.tops[k]
        shade = "people" if title == PEOPLE else "odd" if k % 2 else "even"
        parts.append(f'<rect class="lane {shade}" x="0" y="{top:g}" width="{geometry.width:g}" height="{height:g}"/>')
        if k:
            parts.append(f'<path class="border" d="M0 {top:g}H{geometry.width:g}"/>')
        middle = top + height / 2
        parts.append(f'<text class="lane-name" x="14" y="{middle - 2:g}">{escape(title)}</text>')
        parts.append(f'<text class="lane-kind" x="14" y="{middle + 14:g}">{escape(kind)}</text>')
    return parts


def _ruler(geometry: g.Geometry) -> list[str]:
    boxes = [n for n in geometry.nodes.values() if n.lane is not None and n.id != g.TRIGGER]
    stretches = [("Trigger", [geometry.nodes[g.TRIGGER]])] if g.TRIGGER in geometry.nodes else []
    stretches += [(name, [geometry.nodes[key]]) for name, key in (("Context", g.CONTEXT),) if key in geometry.nodes]
    stretches += [("Execution", boxes)] if boxes else []
    stretches += [
        (name, [geometry.nodes[key]]) for name, key in (("Reconciliation", g.RECONCILE),) if key in geometry.nodes
    ]
    parts = []
    for name, nodes in stretches:
        left, right = min(n.x for n in nodes), max(n.x + n.width for n in nodes)
        parts.append(
            f'<text class="ruler" x="{left:g}" y="16">{name}</text><path class="ruler" d="M{left:g} 23H{right:g}"/>'
        )
    return parts


def _band(geometry: g.Geometry, key: str, marks: Sequence[Mark], name: str) -> list[str]:
    node = geometry.nodes.get(key)
    if node is None:
        return []
    top = geometry.tops[0]
    parts = [
        (
            f'<rect class="band {name}" x="{node.x:g}" y="{top + 4:g}" width="{node.width:g}" '
            f'height="{geometry.tops[-1] - top - 8:g}" rx="10"/>'
        ),
    ]
    x = node.x + node.width / 2
    for k, mark in enumerate(marks):
        y = (geometry.tops[k] + geometry.tops[k + 1]) / 2
        if mark.said is None:
            parts.append(f'<text class="mark none" x="{x:g}" y="{y + 4:g}">{escape(mark.text)}</text>')
            continue
        parts.append(glyph(mark.said.glyph, x, y - 11, mark.said.tone))
        shown = escape(fit(mark.text, MARK_PX, 12.3))
        parts.append(f'<text class="mark {mark.said.tone}" x="{x:g}" y="{y + 14:g}">{shown}</text>')
    return parts


def _box(node: g.Node, box: Box) -> str:
    x, y = node.x, node.y
    undo = f'<g class="undo">{glyph("undo-2", x + node.width - 13, y + 38, "plain", 11)}</g>' if box.undo else ""
    shown = fit(box.title, node.width - TITLE_LESS, TITLE_SIZE)
    note = fit(box.note, node.width - (NOTE_LESS if box.undo else TITLE_LESS), 12)
    title = f"<title>{escape(box.title)}</title>" if shown != box.title else ""
    return (
        f'<a class="box {box.said.tone}{" todo" if box.said.glyph == "circle" else ""}" href="{escape(box.href)}">'
        f"{title}"
        f'<rect x="{x:g}" y="{y:g}" width="{node.width:g}" height="{g.BOX_H}" rx="8"/>'
        f"{glyph(box.said.glyph, x + 17, y + 17.5, box.said.tone)}"
        f'<text class="name" x="{x + 30:g}" y="{y + 21.5:g}">{escape(shown)}</text>'
        f'<text class="note" x="{x + 30:g}" y="{y + 38:g}">{escape(note)}</text>'
        f'<text class="unseen" x="{x + 30:g}" y="{y + 44:g}">, {escape(box.said.word)}</text>{undo}</a>'
    )


def _pill(edge: g.Edge, line: Line) -> str:
    x, y = edge.pill
    width = pill_width(line)
    icon = {"breach": "triangle", "warn": "triangle", "human": "clock"}.get(line.tone)
    shift = 7 if icon else 0
    drawn = f'<g class="pill-icon">{glyph(icon, x - width / 2 + 13, y, "plain", 10)}</g>' if icon else ""
    return (
        f'<g class="pill {line.tone}"><title>{escape(line.sentence or line.label)}</title>'
        f'<rect x="{x - width / 2:g}" y="{y - g.PILL_H / 2:g}" width="{width:g}" height="{g.PILL_H}" rx="10"/>{drawn}'
        f'<text x="{x + shift:g}" y="{y + 4:g}">{escape(line.label)}</text></g>'
    )


def fit(text: str, width: float, size: float) -> str:
    """Return a text, cut where it is wider than its place."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def text_width(text: str, size: float) -> float:
    """Estimate how wide a text is, from how wide its letters are in Geist."""
    return size * sum(_WIDTHS.get(letter, 0.62 if letter.isupper() else 0.545) for letter in text)


_WIDTHS: Final = {
    **dict.fromkeys("ijl|!.,:;'", 0.25),
    **dict.fromkeys("frt()[] -·", 0.35),
    **dict.fromkeys("mwMW%", 0.86),
    **dict.fromkeys("…@", 0.85),
}
