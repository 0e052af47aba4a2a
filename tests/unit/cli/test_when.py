"""Times as people read them: in UTC, or in the zone that was asked for; and what a zone may be called."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from topstitch.cli.when import at, here, retold, show_in, zone_name, zone_of, zones

WINTER = datetime(2026, 1, 5, 9, 14, 3, 250_000, UTC)
SUMMER = datetime(2026, 7, 5, 23, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    yield
    show_in(UTC)


def test_a_time_is_shown_in_utc_unless_a_zone_is_named():
    assert at(WINTER) == at("2026-01-05T09:14:03.250Z") == "2026-01-05 09:14:03Z"
    assert (at(None), zone_name()) == ("", "UTC")
    show_in(zone_of("Europe/Berlin"))
    assert (at(WINTER), at(SUMMER)) == ("2026-01-05 10:14:03+01:00", "2026-07-06 01:30:00+02:00")
    assert (here(SUMMER).strftime("%d %H:%M"), zone_name()) == ("06 01:30", "Europe/Berlin")
    show_in(zone_of("Europe/London"))
    assert at(WINTER) == "2026-01-05 09:14:03+00:00"


def test_local_is_the_zone_of_the_machine():
    show_in(zone_of("local"))
    assert here(SUMMER).utcoffset() == SUMMER.astimezone().utcoffset()
    assert zone_name() == "local"


def test_a_sentence_that_was_kept_is_told_in_the_zone():
    kept = "the check T+2h at 2026-01-05 09:14:03Z; muted until 2026-01-05T09:14:03.250Z, not 2026-01-05"
    assert retold(kept) == kept
    show_in(zone_of("Asia/Kolkata"))
    shown = "2026-01-05 14:44:03+05:30"
    assert retold(kept) == f"the check T+2h at {shown}; muted until {shown}, not 2026-01-05"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("Kolkatta", "Asia/Kolkata"),
        ("lokal", "local"),
    ],
)
def test_a_wrong_zone_names_the_nearest(typed: str, meant: str):
    with pytest.raises(ValueError, match=f"is no time zone; did you mean {meant}\\?"):
        zone_of(typed)


@pytest.mark.parametrize("typed", ["", "../../etc/passwd", "/etc/localtime", "xyzzy-plugh"])
def test_what_is_like_no_zone_is_told_what_one_looks_like(typed: str):
    with pytest.raises(ValueError, match="write one of the IANA zones, such as Europe/Berlin, or local"):
        zone_of(typed)


def test_what_is_offered_can_be_asked_for():
    assert {"local", "UTC", "Europe/Berlin"} <= set(zones())
    assert all(zone_of(name) is not None for name in zones()[1:40])
