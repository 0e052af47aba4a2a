"""Seams with no configuration, their bands, and whose fault an open gap looks like."""

from __future__ import annotations

import pytest

from support.onboarding import onboarding_plan
from topstitch.metrics import render
from topstitch.metrics.baselines import Pace, Speed
from topstitch.metrics.conditions import (
    duration_conditions,
    exception_conditions,
    failures,
    handoff_conditions,
    population_conditions,
    running_conditions,
    seam_counts,
)
from topstitch.metrics.exceptions import Count, Share
from topstitch.metrics.pending import Pending, Running
from topstitch.metrics.seams import Band, Seam, Window, band_of, between, board, edges_of, seam_of_step, spark_line
from topstitch.store.measures import Crossings, Exceptional, LongCrossing, Tried
from topstitch.store.populations import Standing
from topstitch.store.rollups import Baseline
from topstitch.store.sealing import moment

PLAN = onboarding_plan()
KEY = (PLAN.workflow, PLAN.version)
TO_ITSM = Seam(from_system="entra-id", to_system="servicenow")
NOW = 1_767_600_000_000
MINUTE = 60_000


def waiting(age_ms: int, name: str = "ins_1") -> Pending:
    return Pending(
        instance=name, workflow=PLAN.workflow, version="1.0.0", from_step="identity", to_step="equipment",
        from_system="entra-id", to_system="servicenow", ready_ms=NOW - age_ms, age_ms=age_ms,
    )  # fmt: skip


def crossed(*net: int, slot: int = 0) -> Crossings:
    return Crossings(
        PLAN.workflow, "1.0.0", "entra-id", "servicenow", "identity", "equipment", slot, list(net), list(net)
    )


def failed(name: str, step: str = "equipment", what: str = "unreachable", record: str = "") -> Exceptional:
    return Exceptional(name, PLAN.workflow, "1.0.0", "sha256:test", step, record, what, NOW - MINUTE)


def window(**parts: object) -> Window:
    return Window(since_ms=NOW - 24 * 60 * MINUTE, until_ms=NOW, slot_ms=60 * MINUTE, **parts)  # type: ignore[arg-type]


def speed(pace: Pace) -> Speed:
    baseline = Baseline(
        workflow=PLAN.workflow, step="equipment", family="f", number=1, median_ms=1000, p95_ms=2000, samples=50,
        pinned_ms=0, pinned_by="x",
    )  # fmt: skip
    return Speed(
        pace=pace,
        samples=50,
        current_ms=3100,
        baseline=baseline,
        first=baseline,
        shown_ms=1000,
        text="3 s, 3.1x the baseline of 1 s",
    )


def test_H02_every_seam_of_a_definition_is_listed_without_a_single_crossing() -> None:
    figures = board(window(), {KEY: PLAN}, [PLAN], [])
    assert {str(one.edge.seam) for one in figures} == {
        "workday > entra-id", "entra-id > servicenow", "entra-id > salesforce", "entra-id > email", "entra-id > slack"
    }  # fmt: skip
    assert {one.band for one in figures} == {Band.IDLE}
    assert render.seam_finding(figures) == "5 seams, and no handoffs yet."


def test_edges_are_the_definition_s() -> None:
    assert [str(edge) for edge in edges_of(PLAN)] == [
        "context>identity", "identity>equipment", "identity>crm_assignment", "identity>welcome_email",
        "identity>welcome_chat",
    ]  # fmt: skip
    assert seam_of_step(PLAN, "equipment") == TO_ITSM
    assert seam_of_step(PLAN, "nothing") is None


def test_I06_the_share_within_the_target_is_shown() -> None:
    (one,) = [f for f in board(window(crossings=[crossed(40, 50, 61_000)]), {KEY: PLAN}, [PLAN], []) if f.count]
    assert (one.p50_ms, one.p95_ms, one.within_target) == (50, 61_000, pytest.approx(2 / 3))
    assert one.band is Band.AMBER


@pytest.mark.parametrize(
    ("age", "band"),
    [(59_999, Band.GREEN), (60_000, Band.GREEN), (60_001, Band.AMBER), (300_000, Band.AMBER), (300_001, Band.RED)],
)
def test_ruling_5_three_bands(age: int, band: Band) -> None:
    assert band_of(age, 60_000, 300_000) is band
    figures = board(window(), {KEY: PLAN}, [PLAN], [waiting(age)])
    assert (figures[0].band, figures[0].oldest_ms) == (band, age)


@pytest.mark.parametrize(("seconds", "fires"), [(299, False), (301, True)])
def test_I07_4_59_no_alert_5_01_alert_while_the_gap_is_open(seconds: int, fires: bool) -> None:
    found = handoff_conditions([PLAN], [waiting(seconds * 1000)], [], {}, {}, NOW)
    assert [not one.holds for one in found] == [fires]


def test_a_gap_that_has_just_closed_is_still_told() -> None:
    closed = LongCrossing(
        "ins_2", PLAN.workflow, "1.0.0", "entra-id", "servicenow", "identity", "equipment", NOW - 5, 400_000
    )
    (found,) = handoff_conditions([PLAN], [], [closed], {}, {}, NOW)
    assert (found.holds, found.since_ms, found.worst[0]["instance"]) == (False, NOW - 400_005, "ins_2")
    assert "none open any more" in found.text


def test_I11_a_handoff_alert_fires_with_no_exception_at_any_system() -> None:
    counts = {(PLAN.workflow, TO_ITSM): Count(tried=30, failed=0)}
    (found,) = handoff_conditions([PLAN], [waiting(400_000)], [], {}, counts, NOW)
    assert "Exceptions at this seam: 0 of 30 (0.0 %)" in found.text


def test_I12_with_usual_durations_the_orchestrator_is_the_bottleneck() -> None:
    usual = {(PLAN.workflow, step): speed(Pace.USUAL) for step in PLAN.steps}
    (found,) = handoff_conditions([PLAN], [waiting(400_000)], [], usual, {}, NOW)
    assert found.diagnosis.startswith("orchestrator: durations at entra-id and servicenow are as usual")


def test_I12_with_a_slow_step_the_system_is_named() -> None:
    slow = {(PLAN.workflow, "equipment"): speed(Pace.SLOW)}
    (found,) = handoff_conditions([PLAN], [waiting(400_000)], [], slow, {}, NOW)
    assert found.diagnosis == "servicenow: Equipment request takes 3 s, 3.1x the baseline of 1 s"
    counts = {(PLAN.workflow, TO_ITSM): Count(tried=30, failed=4)}
    (other,) = handoff_conditions([PLAN], [waiting(400_000)], [], {}, counts, NOW)
    assert other.diagnosis == "servicenow: 4 of 30 (13.3 %) of its executions had an exception"


def test_an_alert_names_workflow_seam_both_systems_since_when_and_the_worst() -> None:
    gaps = [waiting(400_000, "ins_1"), waiting(500_000, "ins_2"), waiting(310_000, "ins_3"), waiting(70_000, "ins_4")]
    (found,) = handoff_conditions([PLAN], gaps, [], {}, {}, NOW)
    assert (found.workflow, found.from_system, found.to_system) == (PLAN.workflow, "entra-id", "servicenow")
    assert found.since_ms == NOW - 500_000
    assert [one["instance"] for one in found.worst] == ["ins_2", "ins_1", "ins_3"]
    assert found.owner == PLAN.owner


def test_I08_an_execution_counts_once_and_has_tried_whenever_it_crossed() -> None:
    parts = {
        "crossings": [crossed(*[40] * 10)],
        "exceptions": [failed("ins_1"), failed("ins_1", what="discrepancy", record="itsm", step=""), failed("ins_9")],
        "crossed": frozenset({("ins_1", "entra-id", "servicenow")}),
    }
    counts = seam_counts(window(**parts), {KEY: PLAN})
    assert counts[PLAN.workflow, TO_ITSM] == Count(tried=11, failed=2)
    assert [one.failure for one in failures(window(**parts), {KEY: PLAN})[PLAN.workflow, TO_ITSM]] == [
        "unreachable", "discrepancy", "unreachable"
    ]  # fmt: skip


def test_a_seam_that_several_edges_cross_counts_instances_not_crossings() -> None:
    tried = [Tried(PLAN.workflow, "1.0.0", "entra-id", "servicenow", 6)]
    counts = seam_counts(window(crossings=[crossed(*[40] * 10)], tried=tried), {KEY: PLAN})
    assert counts[PLAN.workflow, TO_ITSM].tried == 6


def test_I10_other_seams_are_silent() -> None:
    parts = {"crossings": [crossed(*[40] * 100)], "exceptions": [failed(f"ins_{n}") for n in range(4)]}
    inside = frozenset((f"ins_{n}", "entra-id", "servicenow") for n in range(4))
    plans = {KEY: PLAN}
    view = window(**parts, crossed=inside)
    counts, worst = seam_counts(view, plans), failures(view, plans)
    (found,) = exception_conditions([PLAN], counts, {}, {}, worst, NOW)
    assert (found.from_system, found.to_system, found.holds) == ("entra-id", "servicenow", False)
    assert found.text == "4 of 100 (4.0 %), not yet significant; the limit is 3 % of executions in 1 d"
    assert found.diagnosis == "servicenow: unreachable"
    three = window(crossings=parts["crossings"], exceptions=parts["exceptions"][:3], crossed=inside)
    held = exception_conditions([PLAN], seam_counts(three, plans), {}, {}, failures(three, plans), NOW)
    assert all(one.holds for one in held)
    assert board(three, plans, [PLAN], [])[0].exceptions.share is Share.QUIET


def test_I04_a_slow_step_alarms_and_a_single_old_execution_too() -> None:
    pace = {(PLAN.workflow, "equipment"): speed(Pace.SLOW)}
    (slow,) = duration_conditions([PLAN], pace, {}, NOW)
    assert (slow.step, slow.evaluations, slow.holds, slow.from_system) == ("equipment", 2, False, "entra-id")
    old = Running(
        instance="ins_1", workflow=PLAN.workflow, version="1.0.0", step="equipment", started_ms=0, age_ms=7_200_001
    )
    (found,) = running_conditions([PLAN], [old], pace)
    assert found.diagnosis.startswith("servicenow")
    young = Running(
        instance="ins_1", workflow=PLAN.workflow, version="1.0.0", step="equipment", started_ms=0, age_ms=7_199_999
    )
    assert running_conditions([PLAN], [young], pace) == []


def test_versions_are_kept_apart_and_old_ones_shown_only_with_work() -> None:
    from dataclasses import replace

    older = replace(PLAN, version="0.9.0", digest="sha256:older")
    plans = {KEY: PLAN, (PLAN.workflow, "0.9.0"): older}
    assert {one.version for one in board(window(), plans, [PLAN], [])} == {"1.0.0"}
    work = crossed(40)._replace(version="0.9.0")
    figures = board(window(crossings=[work, crossed(70)]), plans, [PLAN], [])
    assert {(one.version, one.p50_ms) for one in figures if one.count} == {("0.9.0", 40), ("1.0.0", 70)}
    assert not figures[-1].in_force


def test_the_board_as_rows_page_and_data() -> None:
    figures = board(
        window(crossings=[crossed(40, slot=0), crossed(90_000, slot=23)]), {KEY: PLAN}, [PLAN], [waiting(400_000)]
    )
    first = render.seam_rows(figures)[0]
    assert len(first) == len(render.SEAM_COLUMNS)
    assert first[2:7] == ("entra-id > servicenow", "equipment", "2", "45 s", "1 m 30 s")
    assert first[-1] == "red"
    assert len(first[7]) == 24
    assert "  open: ins_1 for 6 m 40 s" in render.seam_page(PLAN, figures[:1], {})
    assert render.seam_data(figures)[0]["open"] == [{"instance": "ins_1", "age_ms": 400_000}]
    assert [one.edge.to_step for one in between(figures, "entra-id", "slack")] == ["welcome_chat"]
    assert "1 is over the limit" in render.seam_finding(figures)


def test_a_spark_line_has_a_block_for_each_value() -> None:
    assert spark_line([None, 1, 4, 8]) == " ▂▅█"
    assert spark_line([None, None]) == "  "
    assert spark_line([0, 0]) == "▁▁"


@pytest.mark.parametrize(("count", "alerts"), [(1, 1), (19, 19), (20, 1), (5000, 1)])
def test_few_differences_of_populations_have_an_alert_each_and_many_one(count: int, alerts: int) -> None:
    rows = [
        {"id": f"pop_{n}", "what": "extra", "system": "directory", "instance": None, "opened_at": moment(NOW)}
        for n in range(min(count, 20))
    ]
    found = population_conditions([PLAN], {PLAN.workflow: Standing(count, moment(NOW), rows)})
    assert len({one.cause for one in found}) == len(found) == alerts
    said = f"{PLAN.systems['directory'].title} lists one" if alerts == count else "the systems do not list the same"
    assert all(said in one.title and one.since_ms == NOW for one in found)
