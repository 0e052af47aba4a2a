"""Decides where everything stands in the picture of systems and seams: lanes, columns, edges, pills.

Lanes are rows, one per system and one for people; columns are longest paths from the trigger; the
context and the reconciliation are bands across all lanes. Arrows are right-angled, turn in the gaps
between columns, and their pills sit on the border between two lanes. Pure; geometry follows from the
definition and from which people were asked, and ``lanes_svg`` draws it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

LANE, LABEL, BOX_W, BOX_H, GAP, PAD, BAND, RULER = 76, 116, 152, 50, 60, 10, 90, 36
BOX_W_MAX: Final = 188
IN_GAP, OUT_GAP, PORT, CORNER = 30, 58, 16, 9
PILL_H: Final = 20
CONTEXT, RECONCILE, TRIGGER = "@context", "@reconcile", "@trigger"


@dataclass(slots=True, kw_only=True)
class Node:
    """A box or a band. ``lane`` is nothing for a band."""

    id: str
    lane: int | None
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """What it comes after, if that happens: drawn, and no handoff."""
    column: int = 0
    slot: int = 0
    x: float = 0
    y: float = 0
    width: float = BOX_W


@dataclass(slots=True, kw_only=True)
class Edge:
    """One arrow; ``border`` is where its pill sits."""

    source: Node
    target: Node
    y1: float = 0
    y2: float = 0
    xm: float = 0
    pill: tuple[float, float] = (0, 0)

    @property
    def path(self) -> str:
        """The arrow as an SVG path."""
        return elbow(self.source.x + self.source.width, self.y1, self.xm, self.y2, self.target.x)


@dataclass(slots=True, kw_only=True)
class Geometry:
    """A laid out picture."""

    nodes: dict[str, Node]
    edges: list[Edge]
    tops: list[float] = field(default_factory=list)
    """Where each lane begins, and where the last one ends."""
    width: float = 0

    @property
    def height(self) -> float:
        """How high it is."""
        return self.tops[-1]


def lay_out(
    nodes: Iterable[Node],
    lanes: int,
    pill_width: Mapping[tuple[str, str], float] | None = None,
    box_width: float = BOX_W,
) -> Geometry:
    """Place nodes in lanes and columns, route the arrows, set the pills."""
    by_id = {node.id: node for node in nodes}
    _columns(by_id)
    heights = _slots(by_id, lanes)
    tops = [float(RULER)]
    for rows in heights:
        tops.append(tops[-1] + rows * LANE)
    gaps = _across(by_id, box_width)
    for node in by_id.values():
        if node.lane is not None:
            node.y = tops[node.lane] + node.slot * LANE + (LANE - BOX_H) / 2
    edges = [
        Edge(source=by_id[other], target=node)
        for node in by_id.values()
        for other in (*_shortest(by_id, node), *_behind(by_id, node))
    ]
    _ports(edges)
    _turns(edges, by_id, gaps)
    _pills(edges, tops, pill_width or {})
    last = max(by_id.values(), key=lambda n: n.x + n.width)
    return Geometry(nodes=by_id, edges=edges, tops=tops, width=last.x + last.width + PAD)


def elbow(x1: float, y1: float, xm: float, y2: float, x2: float, r: float = CORNER) -> str:
    """Return right angles with soft corners."""
    if abs(y1 - y2) < 0.5:
        return f"M{x1:g} {y1:g}H{x2:g}"
    s = 1 if y2 > y1 else -1
    r = min(r, abs(y2 - y1) / 2, max(1, abs(xm - x1)), max(1, abs(x2 - xm)))
    return (
        f"M{x1:g} {y1:g}H{xm - r:g}Q{xm:g} {y1:g} {xm:g} {y1 + s * r:g}"
        f"V{y2 - s * r:g}Q{xm:g} {y2:g} {xm + r:g} {y2:g}H{x2:g}"
    )


def _columns(nodes: Mapping[str, Node]) -> None:
    """Give each node its longest path from a root; the reconciliation stands behind all."""
    known: dict[str, int] = {}

    def rank(node: Node) -> int:
        if node.id not in known:
            known[node.id] = 1 + max((rank(nodes[other]) for other in (*node.needs, *node.after)), default=-1)
        return known[node.id]

    for node in nodes.values():
        node.column = rank(node)
    if RECONCILE in nodes:
        nodes[RECONCILE].column = 1 + max(node.column for node in nodes.values() if node.id != RECONCILE)


def _slots(nodes: Mapping[str, Node], lanes: int) -> list[int]:
    """Put nodes that share lane and column under one another; return how many rows each lane has."""
    taken: dict[tuple[int, int], int] = defaultdict(int)
    rows = [1] * lanes
    for node in nodes.values():
        if node.lane is not None:
            node.slot = taken[node.lane, node.column]
            taken[node.lane, node.column] += 1
            rows[node.lane] = max(rows[node.lane], node.slot + 1)
    return rows


def _across(nodes: Mapping[str, Node], box_width: float) -> dict[int, tuple[float, float]]:
    """Give every column its place; return the gap before each: its left edge and its width."""
    bands = {node.column for node in nodes.values() if node.lane is None}
    x, gaps = float(LABEL), {}
    for column in range(1 + max(node.column for node in nodes.values())):
        if column:
            width = IN_GAP if column in bands else OUT_GAP if column - 1 in bands else GAP
            gaps[column] = (x, float(width))
            x += width
        for node in nodes.values():
            if node.column == column:
                node.x, node.width = x, BAND if node.lane is None else box_width
        x += BAND if column in bands else box_width
    return gaps


def _shortest(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """Return what a node needs without what it needs through another."""

    def reaches(source: str, target: str) -> bool:
        return source == target or any(reaches(source, need) for need in nodes[target].needs)

    return [n for n in dict.fromkeys(node.needs) if not any(o != n and reaches(n, o) for o in node.needs)]


def _behind(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """Return what a node comes after, unless that is a need of it anyway."""
    return [other for other in dict.fromkeys(node.after) if other not in node.needs and other in nodes]


def _ports(edges: Sequence[Edge]) -> None:
    """Spread the arrows at one side of a box, ordered by where they go; a band takes the other end's row."""
    for edge in edges:
        if edge.source.lane is not None:
            edge.y1 = edge.source.y + BOX_H / 2
        if edge.target.lane is not None:
            edge.y2 = edge.target.y + BOX_H / 2
    for edge in edges:
        edge.y1 = edge.y1 or edge.y2
        edge.y2 = edge.y2 or edge.y1
    leaving, arriving = defaultdict(list), defaultdict(list)
    for edge in edges:
        leaving[edge.source.id].append(edge)
        arriving[edge.target.id].append(edge)
    for group in leaving.values():
        if group[0].source.lane is not None:
            for k, edge in enumerate(sorted(group, key=lambda e: (e.target.y, -e.target.column))):
                edge.y1 += (k - (len(group) - 1) / 2) * min(PORT, (BOX_H - 10) / len(group))
    for group in arriving.values():
        if group[0].target.lane is not None:
            for k, edge in enumerate(sorted(group, key=lambda e: (e.source.y, -e.source.column))):
                edge.y2 += (k - (len(group) - 1) / 2) * min(PORT, (BOX_H - 10) / len(group))
        if group[0].source.lane is None:
            group[0].y1 = group[0].y2


def _turns(edges: Sequence[Edge], nodes: Mapping[str, Node], gaps: Mapping[int, tuple[float, float]]) -> None:
    """Give every arrow the gap it turns in: before its target, unless its own row is blocked on the way."""
    turning: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        free = not _blocked(nodes, edge.y1, edge.source.column + 1, edge.target.column)
        turning[edge.target.column if free else edge.source.column + 1].append(edge)
    for column, group in turning.items():
        x, width = gaps[column]
        group.sort(key=lambda e: (e.y2 < e.y1, -e.y2 if e.y2 >= e.y1 else e.y2))
        for k, edge in enumerate(group):
            edge.xm = x + width * (0.5 if len(group) == 1 else 0.2 + 0.58 * k / (len(group) - 1))


def _blocked(nodes: Mapping[str, Node], y: float, first: int, end: int) -> bool:
    return any(
        node.lane is not None and first <= node.column < end and node.y - 4 <= y <= node.y + BOX_H + 4
        for node in nodes.values()
    )


def _pills(edges: Sequence[Edge], tops: Sequence[float], widths: Mapping[tuple[str, str], float]) -> None:
    """Set each pill on a lane border that its run crosses: near the middle, clear of runs and other pills."""
    placed: list[tuple[float, float, float]] = []
    for edge in sorted(edges, key=lambda e: abs(e.y1 - e.y2)):
        width = widths.get((edge.source.id, edge.target.id), 46)
        middle = (edge.y1 + edge.y2) / 2
        low, high = sorted((edge.y1, edge.y2))
        if high - low < PILL_H:
            x = (edge.source.x + edge.source.width + edge.target.x) / 2
            choices = [(x, middle)]
        else:
            borders = [y for y in tops[1:-1] if low + 8 < y < high - 8]
            choices = [(edge.xm, y) for y in borders] or [(edge.xm, middle)]
            choices += [(edge.xm, y) for y in (middle, low + 24, high - 24) if high - low > 60]
        edge.pill = min(choices, key=lambda p: _cost(p, width, edge, edges, placed, middle, tops))
        placed.append((*edge.pill, width))


def _cost(
    place: tuple[float, float],
    width: float,
    edge: Edge,
    edges: Sequence[Edge],
    placed: Sequence[tuple[float, float, float]],
    middle: float,
    tops: Sequence[float],
) -> float:
    x, y = place
    runs = sum(
        1
        for o in edges
        if o is not edge and abs(o.xm - x) < width / 2 + 2 and min(o.y1, o.y2) - 2 < y < max(o.y1, o.y2) + 2
    )
    touching = sum(1 for px, py, w in placed if abs(px - x) < (w + width) / 2 + 4 and abs(py - y) < PILL_H + 3)
    off = 0 if any(abs(y - top) < 1 for top in tops) else 3
    return abs(y - middle) / LANE + 5 * runs + 90 * touching + off
