"""A seam's numbers: percentile by nearest rank, the fault as headline, a trend without axes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from topstitch.console.sparks import BUCKETS, percentile, seams, spark
from topstitch.store.searches import Crossing

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
SINCE = NOW - timedelta(hours=24)


def crossed(*latencies: int) -> list[Crossing]:
    return [Crossing("itsm", "mail", SINCE + timedelta(minutes=n), ms, f"ins_{n}") for n, ms in enumerate(latencies)]


def test_p95_is_a_value_that_was_seen() -> None:
    values = [float(v) for v in range(1, 101)]
    assert percentile(values, 0.95) == 95
    assert percentile(values, 0.5) == 50
    assert percentile([7.0], 0.95) == 7
    assert percentile([], 0.95) == 0


def test_the_fault_is_the_headline() -> None:
    slow = seams(crossed(*[400_000] * 20), {}, SINCE, NOW)["itsm", "mail"]
    assert (slow.tone, slow.headline) == ("breach", "6 m 40 s")
    failing = seams(crossed(*[1000] * 50), {("itsm", "mail"): 2}, SINCE, NOW)["itsm", "mail"]
    assert (failing.tone, failing.headline) == ("breach", "4.0 % fail")
    well = seams(crossed(*[1000] * 200), {("itsm", "mail"): 1}, SINCE, NOW)["itsm", "mail"]
    assert (well.tone, well.headline) == ("ok", "1 s")


def test_a_seam_that_nobody_crossed_but_failed_at_is_there() -> None:
    only = seams([], {("itsm", "mail"): 3}, SINCE, NOW)["itsm", "mail"]
    assert (only.count, only.rate) == (0, 1.0)


def test_work_within_one_system_is_no_seam() -> None:
    assert seams([Crossing("itsm", "itsm", SINCE, 5, "ins_1")], {("crm", "crm"): 1}, SINCE, NOW) == {}


def test_a_trend_needs_three_points_and_fills_its_width() -> None:
    assert spark([None] * BUCKETS) == ""
    assert spark([1.0, None, 3.0]) == ""
    drawn = spark([None, 1.0, None, 3.0, 2.0, None], width=88)
    assert drawn.count("L") == 2
    assert 'd="M0.0 ' in drawn
    assert "L88.0 " in drawn
