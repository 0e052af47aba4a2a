"""Working time: waits that run in it, holidays, changes of the clock, freezes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.errors import OperatorError
from topstitch.governance.calendar import ALL_HOURS, Calendar, read_calendar

FILE = Path(__file__).parents[3] / "src/topstitch/examples/policies/calendar.yaml"
SHIPPED = read_calendar(FILE.read_text(encoding="utf-8"), str(FILE))
HOUR = 3600


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("start", "seconds", "end"),
    [
        ("2026-01-05T15:00Z", 1 * HOUR, "2026-01-05T16:00Z"),  # Monday 09:00 in Chicago
        ("2026-01-05T17:30Z", 1 * HOUR, "2026-01-05T19:30Z"),  # over lunch
        ("2026-01-05T02:00Z", 1 * HOUR, "2026-01-05T16:00Z"),  # asked on Sunday night
        ("2026-01-09T22:30Z", 2 * HOUR, "2026-01-12T16:30Z"),  # Friday half past four: the rest on Monday
        ("2026-01-16T22:00Z", 2 * HOUR, "2026-01-20T16:00Z"),  # Friday at five, over a holiday on Monday
        ("2026-03-06T22:00Z", 2 * HOUR, "2026-03-09T15:00Z"),  # over the night in which the clock goes forward
    ],
)
def test_a_wait_in_working_hours(start: str, seconds: int, end: str) -> None:
    assert SHIPPED.add(at(start), seconds) == at(end)


def test_holidays_are_those_of_the_country_that_is_asked_for() -> None:
    friday = at("2026-04-03T15:00Z")
    assert SHIPPED.is_working(friday)
    assert not SHIPPED.is_working(friday, "DE")
    assert SHIPPED.add(friday, HOUR, "DE") == at("2026-04-07T15:00Z")


@given(st.integers(0, 500 * 24 * HOUR), st.integers(1, 200 * HOUR))
def test_as_much_working_time_has_passed_as_was_asked_for(start: int, seconds: int) -> None:
    begin = at("2026-01-01T00:00Z") + timedelta(seconds=start)
    end = SHIPPED.add(begin, seconds)
    assert end >= begin + timedelta(seconds=seconds)
    assert SHIPPED.worked(begin, end) == timedelta(seconds=seconds)


def test_a_place_that_never_closes_counts_every_hour() -> None:
    now = at("2026-01-03T02:00Z")
    assert ALL_HOURS.add(now, HOUR) == now + timedelta(hours=1)
    assert ALL_HOURS.worked(now, now + timedelta(days=2)) == timedelta(days=2)
    assert ALL_HOURS.facts(now) == {"freeze": False, "freeze_ends": "", "freeze_because": "", "working_hours": True}


def test_a_wait_ends_even_where_nobody_ever_works() -> None:
    closed = Calendar(hours={"mon": ()})
    now = at("2026-01-05T00:00Z")
    assert closed.add(now, HOUR) - now == timedelta(days=3 * 366)


def test_a_freeze_is_a_fact_with_its_end_and_its_reason() -> None:
    facts = SHIPPED.facts(at("2026-12-24T12:00Z"))
    assert facts == {
        "freeze": True,
        "freeze_ends": "2027-01-04T06:00:00.000Z",
        "freeze_because": "Year end",
        "working_hours": False,
    }
    assert SHIPPED.facts(at("2027-01-04T06:00Z"))["freeze"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hours: {mon: 9-5}", "write it as 09:00-17:00"),
        ("hours: {mon: '17:00-09:00'}", "ends before it begins"),
        ("hours: {monday: '09:00-17:00'}", "'monday' is no day"),
        ("hours: {mon: []}", "no day has working hours"),
        ("zone: Europe/Atlantis", "time zone 'Europe/Atlantis' is not known"),
        ("holidays: {US: {someday: X}}", "someday"),
        (
            "freezes: [{from: '2026-01-02T00:00:00Z', until: '2026-01-01T00:00:00Z', because: x}]",
            "a freeze ends before",
        ),
        ("freezes: [{until: '2026-01-01T00:00:00Z'}]", "from"),
        ("hour: {}", "there is no field 'hour'"),
        ("- a", "no mapping"),
        ("zone: UTC\nzone: UTC", "given twice"),
    ],
)
def test_what_is_no_calendar_is_refused(text: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        read_calendar(text, "calendar.yaml")


def test_midnight_ends_a_day() -> None:
    always = read_calendar("hours: {mon: '00:00-24:00', tue: ['00:00-12:00', '12:00-24:00']}", "c.yaml")
    assert always.add(at("2026-01-05T12:00Z"), 24 * HOUR) == at("2026-01-06T12:00Z")
    assert not always.is_working(at("2026-01-07T00:00Z"))


def test_a_calendar_as_data_reads_as_the_same_calendar() -> None:
    shipped = Path(__file__).parents[3] / "src/topstitch/examples/policies/calendar.yaml"
    absence = 'absences: [{who: omar, from: "2026-01-01T00:00:00Z", until: "2026-01-02T00:00:00Z"}]\n'
    text = shipped.read_text(encoding="utf-8").replace("13:00-17:00", "13:00-24:00") + absence
    calendar = read_calendar(text, "shipped")
    assert read_calendar(json.dumps(calendar.normal()), "again") == calendar
    assert read_calendar(json.dumps(ALL_HOURS.normal()), "again") == ALL_HOURS
