"""Draws the time of one instance: a bar for every try, hollow for waits between tries, idle time folded.

Where nothing but waiting happens for longer than ``FOLD_SECONDS`` the axis is folded: a column of
fixed width with what was left out as its heading. The rest is linear. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise
from typing import Final

import msgspec

from topstitch.console.times import Zone, span
from topstitch.console.trace import BETWEEN, HAND, PERSON, Row

FOLD_SECONDS: Final = 45
FOLD_WIDTH: Final = 66
BESIDE, WHOLE = 860, 1216
"""How wide it is beside the cards, and over the whole page."""
LABEL, TAIL, ROW, TOP = 176, 84, 26, 30
LEAST: Final = 3.5
LETTER: Final = 7.2
"""A fold narrower than so many pixels for each letter of its time is given the larger unit alone."""
WAITS: Final = frozenset({PERSON, HAND, BETWEEN})


class Piece(msgspec.Struct, frozen=True):
    """One stretch of the axis."""

    start: datetime
    end: datetime
    x: float
    width: float
    folded: bool


def axis(rows: Sequence[Row], width: float = BESIDE - LABEL - TAIL) -> list[Piece]:
    """Return the pieces of the axis, from left to right."""
    edges = sorted({t for row in rows for s in row.spans for t in (s.start, s.end)})
    busy = [s for row in rows for s in row.spans if s.kind not in WAITS]
    stretches: list[tuple[datetime, datetime, bool]] = []
    for left, right in pairwise(edges):
        idle = not any(s.start <= left and s.end >= right for s in busy)
        if idle and stretches and stretches[-1][2]:
            stretches[-1] = (stretches[-1][0], right, True)
        else:
            stretches.append((left, right, idle))
    stretches = [(a, b, idle and (b - a) > timedelta(seconds=FOLD_SECONDS)) for a, b, idle in stretches]
    folds = sum(1 for *_, folded in stretches if folded)
    linear = sum((b - a).total_seconds() for a, b, folded in stretches if not folded) or 1
    fold = min(FOLD_WIDTH, width * 0.6 / folds) if folds else 0
    scale = (width - fold * folds) / linear
    pieces, x = [], float(LABEL)
    for a, b, folded in stretches:
        wide = fold if folded else (b - a).total_seconds() * scale
        pieces.append(Piece(a, b, x, wide, folded))
        x += wide
    return pieces


def place(pieces: Sequence[Piece], moment: datetime) -> float:
    """Return where a moment stands on the axis."""
    for piece in pieces:
        if moment <= piece.end:
            whole = (piece.end - piece.start).total_seconds() or 1
            share = max(0.0, (moment - piece.start).total_seconds() / whole)
            return piece.x + piece.width * share
    return pieces[-1].x + pieces[-1].width if pieces else LABEL


def timeline_svg(rows: Sequence[Row], zone: Zone, across: int = BESIDE) -> str:
    """Return the SVG; nothing when there is no time to show."""
    if not rows:
        return ""
    pieces = axis(rows, across - LABEL - TAIL)
    height = TOP + ROW * len(rows) + 6
    parts = [
        (
            f'<svg class="timeline" viewBox="0 0 {across} {height}" width="{across}" height="{height}" role="group" '
            'aria-labelledby="time-t time-d">'
        ),
        f'<title id="time-t">Timeline</title><desc id="time-d">{escape(_sentence(rows, pieces))}</desc>',
        *(_fold(piece, height) for piece in pieces if piece.folded),
    ]
    for k, row in enumerate(rows):
        parts += _row(row, TOP + k * ROW, pieces, zone, across)
    return "".join(parts) + "</svg>"


def _fold(piece: Piece, height: float) -> str:
    left, right = piece.x, piece.x + piece.width
    said = span((piece.end - piece.start).total_seconds())
    text = f"+ {said if len(said) * LETTER < piece.width else ' '.join(said.split()[:2])}"
    middle = (left + right) / 2
    return (
        f'<rect class="fold" x="{left:.1f}" y="0" width="{piece.width:.1f}" height="{height}"/>'
        f'<path class="fold" d="M{left:.1f} 0V{height}M{right:.1f} 0V{height}"/>'
        f'<text class="fold" x="{middle:.1f}" y="17">{escape(text)}</text>'
    )


def _row(row: Row, y: float, pieces: Sequence[Piece], zone: Zone, across: int) -> list[str]:
    parts = [
        f'<path class="rule" d="M0 {y:g}H{across}"/>',
        f'<text class="row" x="2" y="{y + 17:g}">{escape(_cut(row.title))}</text>',
    ]
    for s in row.spans:
        left, right = place(pieces, s.start), place(pieces, s.end)
        wide = max(right - left, LEAST)
        number = f" {s.attempt}" if s.attempt > 1 else ""
        title = f"{row.title}: {_KINDS[s.kind]}{number}, {zone.clock(s.start)}, {span(s.seconds)}"
        tone = _tone(row, s.kind, s.result)
        parts.append(
            f'<rect class="bar {s.kind} {tone}" x="{left:.1f}" y="{y + 8:g}" width="{wide:.1f}" height="10" rx="2">'
            f"<title>{escape(title)}</title></rect>"
        )
    first, last = row.spans[0].start, max(s.end for s in row.spans)
    parts.append(f'<text class="took" x="{across - 2}" y="{y + 17:g}">{span((last - first).total_seconds())}</text>')
    return parts


def _tone(row: Row, kind: str, result: str) -> str:
    if kind in (PERSON, HAND):
        return "human"
    if kind == BETWEEN:
        return "idle"
    if result in ("transient", "refused", "unknown", "credential"):
        return "breach" if result in ("refused", "credential") else "warn"
    return row.tone if row.tone in ("breach", "accent") and not result else "ok"


_KINDS: Final = {
    "system": "try",
    "read_back": "read back",
    "between": "wait between tries",
    "person": "waiting on a person",
    "hand": "work by hand",
}


def _sentence(rows: Sequence[Row], pieces: Sequence[Piece]) -> str:
    folded = [p for p in pieces if p.folded]
    idle = sum((p.end - p.start).total_seconds() for p in folded)
    rest = f" {len(folded)} idle stretches, {span(idle)} together, are folded." if folded else ""
    return (
        f"{len(rows)} rows over {span((pieces[-1].end - pieces[0].start).total_seconds()) if pieces else '0 s'}.{rest}"
    )


def _cut(text: str) -> str:
    return text if len(text) <= 26 else text[:25] + "…"
