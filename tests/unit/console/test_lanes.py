"""The picture of systems and seams: golden layouts, right angles, pills that touch nothing."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

from topstitch.console import lanes as g, words
from topstitch.console.lanes_svg import (
    TITLE_LESS,
    TITLE_SIZE,
    Box,
    Line,
    Mark,
    Picture,
    box_width,
    draw,
    fit,
    pill_width,
    text_width,
)

GOLDEN = Path(__file__).parent / "golden"
DONE, WAITS = words.STEP["done"], words.STEP["waiting"]
LAYOUTS: dict[str, tuple[int, dict[str, tuple[int, str]]]] = {
    "one step": (1, {"a": (0, "@context")}),
    "a chain down": (4, {"a": (1, "@context"), "b": (2, "a"), "c": (3, "b")}),
    "a chain up": (4, {"a": (3, "@context"), "b": (2, "a"), "c": (0, "b")}),
    "a fan out": (5, {"a": (0, "@context"), "b": (1, "a"), "c": (2, "a"), "d": (3, "a"), "e": (4, "a")}),
    "a fan in": (5, {"a": (0, "@context"), "b": (1, "@context"), "c": (2, "@context"), "d": (4, "a b c")}),
    "a diamond": (4, {"a": (0, "@context"), "b": (1, "a"), "c": (3, "a"), "d": (2, "b c")}),
    "two in one place": (3, {"a": (0, "@context"), "b": (1, "a"), "c": (1, "a"), "d": (2, "b c")}),
    "a long way round": (5, {"a": (0, "@context"), "b": (1, "a"), "c": (1, "b"), "d": (4, "a"), "e": (2, "c d")}),
    "there and back": (3, {"a": (0, "@context"), "b": (2, "a"), "c": (0, "b"), "d": (2, "c"), "e": (1, "d a")}),
    "the onboarding": (
        7,
        {
            "identity": (1, "@context"),
            "ask": (6, "identity"),
            "crm": (2, "ask"),
            "equipment": (3, "identity"),
            "chat": (4, "identity"),
            "mail": (5, "identity"),
        },
    ),
}


def laid_out(name: str) -> tuple[g.Geometry, dict[tuple[str, str], Line]]:
    lanes, steps = LAYOUTS[name]
    nodes = [
        g.Node(id=g.TRIGGER, lane=0),
        g.Node(id=g.CONTEXT, lane=None, needs=(g.TRIGGER,)),
        g.Node(id=g.RECONCILE, lane=None),
    ]
    lines = {(g.TRIGGER, g.CONTEXT): Line(tone="inner")}
    for number, (step, (lane, needs)) in enumerate(steps.items()):
        nodes.append(g.Node(id=step, lane=lane, needs=tuple(needs.split())))
        for need in needs.split():
            tone, label = (("ok", "3.1 s"), ("warn", "2 m 4 s"), ("breach", "6 m 12 s"), ("human", "3 h 12 m"))[
                number % 4
            ]
            lines[need, step] = Line(tone=tone, label=label)
    return g.lay_out(nodes, lanes, {key: pill_width(line) for key, line in lines.items() if line.label}), lines


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_drawing_is_the_golden_one(name: str) -> None:
    geometry, lines = laid_out(name)
    lanes = [(f"System {k}", "kind") for k in range(LAYOUTS[name][0])]
    boxes = {
        node.id: Box(
            title=node.id.strip("@").capitalize(), note="41 s", said=DONE if n % 3 else WAITS, href=f"#{node.id}"
        )
        for n, node in enumerate(geometry.nodes.values())
        if node.lane is not None
    }
    marks = [Mark(text="match", said=words.VERDICT["match"]) if k % 2 else Mark(text="-") for k in range(len(lanes))]
    drawn = draw(
        geometry, Picture(lanes=lanes, boxes=boxes, lines=lines, context=marks, checks=marks, sentence="All is well.")
    )
    golden = GOLDEN / f"{name.replace(' ', '-')}.svg"
    if os.environ.get("TOPSTITCH_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(drawn.replace("><", ">\n<") + "\n", encoding="utf-8")
    assert drawn.replace("><", ">\n<") + "\n" == golden.read_text(encoding="utf-8")
    assert "style=" not in drawn


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_pill_touches_another_or_a_box(name: str) -> None:
    geometry, lines = laid_out(name)
    pills = [
        (*e.pill, pill_width(lines[e.source.id, e.target.id]))
        for e in geometry.edges
        if lines[e.source.id, e.target.id].label
    ]
    for (x1, y1, w1), (x2, y2, w2) in combinations(pills, 2):
        assert abs(x1 - x2) >= (w1 + w2) / 2 or abs(y1 - y2) >= g.PILL_H
    for x, y, _ in pills:
        for node in geometry.nodes.values():
            inside = node.lane is not None and node.x < x < node.x + node.width and node.y < y < node.y + g.BOX_H
            assert not inside, node.id


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_run_crosses_a_box_on_its_way(name: str) -> None:
    geometry, _ = laid_out(name)
    for edge in geometry.edges:
        low, high = sorted((edge.y1, edge.y2))
        for node in geometry.nodes.values():
            if node.lane is not None and node.x < edge.xm < node.x + node.width:
                assert not (low < node.y + g.BOX_H and high > node.y), (edge.source.id, edge.target.id, node.id)


def test_columns_are_longest_paths_and_the_reconciliation_is_last() -> None:
    geometry, _ = laid_out("a long way round")
    columns = {name: node.column for name, node in geometry.nodes.items()}
    assert (columns["a"], columns["b"], columns["c"], columns["e"]) == (2, 3, 4, 5)
    assert columns[g.RECONCILE] == 6


def test_two_in_one_place_stand_under_one_another() -> None:
    geometry, _ = laid_out("two in one place")
    first, second = geometry.nodes["b"], geometry.nodes["c"]
    assert first.x == second.x
    assert second.y - first.y == g.LANE


def test_what_is_needed_through_another_is_not_drawn_twice() -> None:
    nodes = [g.Node(id="a", lane=0), g.Node(id="b", lane=0, needs=("a",)), g.Node(id="c", lane=0, needs=("a", "b"))]
    assert [(e.source.id, e.target.id) for e in g.lay_out(nodes, 1).edges] == [("a", "b"), ("b", "c")]


def test_an_elbow_is_straight_when_nothing_turns() -> None:
    assert g.elbow(0, 10, 30, 10, 60) == "M0 10H60"
    assert g.elbow(0, 0, 30, 100, 60).startswith("M0 0H21Q30 0 30 9V91")


def test_a_text_is_cut_only_where_it_is_too_wide() -> None:
    assert fit("Welcome e-mail", 115, 13) == "Welcome e-mail"
    cut = fit("Identity provisioning and more", 100, 13)
    assert cut.endswith("…")
    assert text_width(cut, 13) <= 100


def test_boxes_are_wide_enough_for_the_longest_title_within_bounds() -> None:
    assert box_width(["Short"]) == g.BOX_W
    wide = box_width(["Short", "CRM team assignment"])
    assert g.BOX_W < wide <= g.BOX_W_MAX
    assert fit("CRM team assignment", wide - TITLE_LESS, TITLE_SIZE) == "CRM team assignment"
    assert box_width(["A title that nobody will ever read whole in a box"]) == g.BOX_W_MAX
