"""Times: one zone on a page with its offset, both zones on hover, at most two units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from topstitch.console.times import span, zone_of

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


def test_a_zone_shows_its_offset_at_that_time_of_year() -> None:
    assert zone_of("America/Chicago", NOW).label == "Chicago (UTC\u22126)"
    assert zone_of("America/Chicago", datetime(2026, 7, 1, tzinfo=UTC)).label == "Chicago (UTC\u22125)"
    assert zone_of("Asia/Kolkata", NOW).label == "Kolkata (UTC+5:30)"
    assert zone_of("UTC", NOW).label == "UTC"


@pytest.mark.parametrize("name", [None, "", "Nowhere/Else", "../../etc/passwd", "x" * 100])
def test_an_unknown_zone_is_the_installations(name: str | None) -> None:
    assert zone_of(name, NOW, "Europe/Berlin").name == "Europe/Berlin"


def test_times_read_by_how_far_they_are() -> None:
    zone = zone_of("America/Chicago", NOW)
    assert zone.short(NOW) == "09:30"
    assert zone.short(NOW - timedelta(days=1)) == "22 Nov 09:30"
    assert zone.short(NOW - timedelta(days=400)) == "19 Oct 2025 10:30"
    assert zone.long(NOW) == "today 09:30:00"
    assert zone.title(NOW - timedelta(hours=1)).endswith("14:30:00 UTC · 1 h ago")
    assert zone.relative(NOW + timedelta(minutes=40)) == "in 40 m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (3.14, "3.1 s"), (3, "3 s"), (41, "41 s"), (372, "6 m 12 s"), (11_520, "3 h 12 m")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text
