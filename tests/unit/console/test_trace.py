"""Where the time went: three parts that add up exactly, at every moment of every hire of the story."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from browser.seeded import NOW, plan_of, story, workflow
from topstitch import lifecycle
from topstitch.console.timeline import FOLD_SECONDS, axis, place, timeline_svg
from topstitch.console.times import zone_of
from topstitch.console.trace import HAND, PERSON, Row, Span, shares, trace

STORY = {hire.state.title: hire for hire in story(NOW, plan_of(workflow()))}


@pytest.mark.parametrize("name", STORY)
def test_systems_seams_and_people_add_up_at_every_record(name: str) -> None:
    hire = STORY[name]
    state = lifecycle.initial(hire.plan, hire.id)
    for number, draft in enumerate(hire.records, 1):
        state = lifecycle.fold(hire.plan, state, draft)
        rows = trace(hire.plan, state, hire.records[:number], draft.at)
        found = shares(hire.plan, state, rows, draft.at)
        assert found is not None
        assert found.systems + found.seams + found.people == found.whole
        assert min(found.systems, found.seams, found.people) >= timedelta()


def test_a_wait_for_a_person_is_theirs_and_not_the_systems() -> None:
    hire = STORY["Priya Raman"]
    rows = trace(hire.plan, hire.state, hire.records, NOW)
    found = shares(hire.plan, hire.state, rows, NOW)
    assert found is not None
    assert found.people > timedelta(hours=3)
    assert found.systems < timedelta(minutes=1)
    assert "crm_assignment" in found.path


def test_an_instance_that_was_turned_waited_for_the_person_who_was_asked() -> None:
    hire = STORY["Samuel Brandt"]
    found = shares(hire.plan, hire.state, trace(hire.plan, hire.state, hire.records, NOW), NOW)
    assert found is not None
    assert found.people > timedelta(minutes=29)
    assert found.seams < timedelta(seconds=30)


def test_every_try_is_a_bar_and_every_wait_between_tries_a_hollow_one() -> None:
    hire = STORY["Lukas Vogel"]
    rows = {row.id: row for row in trace(hire.plan, hire.state, hire.records, NOW)}
    kinds = [span.kind for span in rows["equipment"].spans]
    assert kinds == ["system", "between", "system", "between", "system", "between", "system", HAND]
    assert [span.attempt for span in rows["equipment"].spans if span.kind == "system"] == [1, 2, 3, 4]
    assert rows["equipment"].spans[-1].going


def test_idle_time_is_folded_and_busy_time_is_not() -> None:
    hire = STORY["Priya Raman"]
    rows = trace(hire.plan, hire.state, hire.records, NOW)
    pieces = axis(rows)
    for piece in pieces:
        if piece.folded:
            assert (piece.end - piece.start).total_seconds() > FOLD_SECONDS
    assert sum(piece.width for piece in pieces) == pytest.approx(860 - 176 - 84)
    drawn = timeline_svg(rows, zone_of("UTC", NOW))
    assert re.search(r"\+ 43 m \d+ s", drawn)
    assert "style=" not in drawn


def test_moments_stand_in_order_on_the_axis() -> None:
    start = NOW - timedelta(hours=1)
    spans = (
        Span(kind="system", start=start, end=start + timedelta(seconds=10)),
        Span(kind=PERSON, start=start + timedelta(seconds=10), end=NOW),
    )
    pieces = axis([Row(id="a", title="A", tone="ok", spans=spans)])
    places = [place(pieces, start + timedelta(seconds=s)) for s in (0, 5, 10, 600, 3600)]
    assert places == sorted(places)
    assert [piece.folded for piece in pieces] == [False, True]


def test_nothing_to_show_draws_nothing() -> None:
    assert timeline_svg([], zone_of("UTC", NOW)) == ""
