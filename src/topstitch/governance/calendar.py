"""Decides when people are at work: working hours, holidays of a country, absences and change freezes, as data.

Approval timers may run in working hours only (``asking: {hours: business}`` in a bundle), and
policies read ``calendar.freeze`` and ``calendar.working_hours``. The caller says what time it is.
A calendar without working time would never let a wait end, so that it is refused when read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from topstitch.foundation.errors import OperatorError
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.governance.duties import folded
from topstitch.governance.facts import NO_FREEZE
from topstitch.language.load import load

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEARCH_DAYS_MAX: Final = 3 * 366
"""How far ahead working time is looked for; a wait never ends later than this."""


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which policies may hold changes back."""

    starts_at: datetime
    ends_at: datetime
    because: str


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which somebody is not asked: who stands in for them is, or else somebody above them."""

    who: str
    starts_at: datetime
    ends_at: datetime


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """When one organisation works. ``hours`` is empty for all hours of all days."""

    zone: str = "UTC"
    hours: Mapping[str, tuple[tuple[time, time], ...]] = {}
    """Weekday -> spans of local time; an end of 00:00 is midnight at its end."""
    holidays: Mapping[str, Mapping[date, str]] = {}
    """Country -> its holidays."""
    country: str = ""
    """Whose holidays count when nobody says otherwise."""
    freezes: tuple[Freeze, ...] = ()
    absences: tuple[Absence, ...] = ()

    def absent(self, now: datetime) -> frozenset[str]:
        """Return who is away at ``now``, as names are compared."""
        return frozenset(folded(one.who) for one in self.absences if one.starts_at <= now < one.ends_at)

    def is_working(self, now: datetime, country: str | None = None) -> bool:
        """Whether people are at work at ``now``."""
        return any(start <= now < end for start, end in self._spans(now, country, days=2))

    def add(self, now: datetime, seconds: float, country: str | None = None) -> datetime:
        """Return the moment at which ``seconds`` of working time have passed since ``now``."""
        if not self.hours:
            return now + timedelta(seconds=seconds)
        left = timedelta(seconds=seconds)
        latest = now + timedelta(days=SEARCH_DAYS_MAX)
        for start, end in self._spans(now, country, days=SEARCH_DAYS_MAX):
            begin = max(start, now)
            if end <= begin:
                continue
            if left <= end - begin:
                return begin + left
            left -= end - begin
        return latest

    def worked(self, start: datetime, end: datetime, country: str | None = None) -> timedelta:
        """Return how much working time lies between two moments."""
        if not self.hours:
            return max(end - start, timedelta())
        total = timedelta()
        for opens, closes in self._spans(start, country, days=min((end - start).days + 3, SEARCH_DAYS_MAX)):
            total += max(min(closes, end) - max(opens, start), timedelta())
        return total

    def facts(self, now: datetime) -> Mapping[str, Any]:
        """Return what policies read as ``calendar``: of overlapping freezes, the one that ends last."""
        running = [freeze for freeze in self.freezes if freeze.starts_at <= now < freeze.ends_at]
        working = self.is_working(now) if self.hours else True
        if not running:
            return NO_FREEZE if working else {**NO_FREEZE, "working_hours": False}
        last = max(running, key=lambda freeze: freeze.ends_at)
        return {
            "freeze": True,
            "freeze_ends": rfc3339(last.ends_at),
            "freeze_because": last.because,
            "working_hours": working,
        }

    def normal(self) -> Mapping[str, Any]:
        """Return it as plain data in the form of its file."""
        return {
            "zone": self.zone,
            "country": self.country,
            "hours": {
                day: [f"{opens:%H:%M}-{_end(closes)}" for opens, closes in spans] for day, spans in self.hours.items()
            },
            "holidays": {
                country: {day.isoformat(): name for day, name in days.items()}
                for country, days in self.holidays.items()
            },
            "freezes": [
                {"from": rfc3339(one.starts_at), "until": rfc3339(one.ends_at), "because": one.because}
                for one in self.freezes
            ],
            "absences": [
                {"who": one.who, "from": rfc3339(one.starts_at), "until": rfc3339(one.ends_at)} for one in self.absences
            ],
        }

    def _spans(self, now: datetime, country: str | None, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield the working spans in UTC, from the day before ``now`` in local time on."""
        zone = _zone(self.zone)
        closed = self.holidays.get(self.country if country is None else country, {})
        first = now.astimezone(zone).date() - timedelta(days=1)
        for day in (first + timedelta(days=number) for number in range(days + 2)):
            if day in closed:
                continue
            for opens, closes in self.hours.get(DAYS[day.weekday()], ()) if self.hours else ((time(0), time(0)),):
                end_day = day + timedelta(days=1) if closes == time(0) else day
                start = datetime.combine(day, opens, zone).astimezone(UTC)
                yield start, datetime.combine(end_day, closes, zone).astimezone(UTC)


ALL_HOURS: Final = Calendar()
"""The calendar of a place that never closes."""


def read_calendar(text: str, path: str) -> Calendar:
    """Read a calendar file; raise ``OperatorError`` with the place when it is none."""
    document = load(text, path)
    data = document.data
    if document.findings or not isinstance(data, dict):
        place = document.findings[0] if document.findings else None
        said = f"{place.span.line}: {place.message}" if place else "it holds no mapping of fields"
        raise OperatorError("calendar", f"{path}: {said}; correct the file")
    try:
        return _calendar(data)
    except (ValueError, TypeError, KeyError, AttributeError) as failure:
        raise OperatorError("calendar", f"{path}: {failure}; see the calendar that ships as an example") from None


def _calendar(data: Mapping[str, Any]) -> Calendar:
    unknown = set(data) - {"zone", "hours", "holidays", "country", "freezes", "absences"}
    if unknown:
        raise ValueError(f"there is no field '{min(unknown)}' in a calendar")
    hours = {day: _spans_of(day, spans) for day, spans in (data.get("hours") or {}).items()}
    if hours and not any(hours.values()):
        raise ValueError("no day has working hours, so that no wait would end")
    zone = str(data.get("zone", "UTC"))
    _zone(zone)
    return Calendar(
        zone=zone,
        hours=hours,
        holidays={
            country: {date.fromisoformat(day): str(name) for day, name in days.items()}
            for country, days in (data.get("holidays") or {}).items()
        },
        country=str(data.get("country", "")),
        freezes=tuple(_freeze(one) for one in data.get("freezes") or ()),
        absences=tuple(_absence(one) for one in data.get("absences") or ()),
    )


def _spans_of(day: str, spans: Any) -> tuple[tuple[time, time], ...]:
    if day not in DAYS:
        raise ValueError(f"'{day}' is no day; write one of {', '.join(DAYS)}")
    found = []
    for span in spans if isinstance(spans, list) else [spans]:
        match = re.fullmatch(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})", str(span))
        if match is None:
            raise ValueError(f"'{span}' is no span of hours; write it as 09:00-17:00")
        opens = time.fromisoformat(match[1])
        closes = time(0) if match[2] == "24:00" else time.fromisoformat(match[2])
        if closes != time(0) and closes <= opens:
            raise ValueError(f"'{span}' ends before it begins")
        found.append((opens, closes))
    return tuple(sorted(found))


def _end(closes: time) -> str:
    return "24:00" if closes == time(0) else f"{closes:%H:%M}"


def _freeze(data: Mapping[str, Any]) -> Freeze:
    starts_at, ends_at = parse_time(str(data["from"])), parse_time(str(data["until"]))
    if ends_at <= starts_at:
        raise ValueError("a freeze ends before it begins")
    return Freeze(starts_at=starts_at, ends_at=ends_at, because=str(data["because"]))


def _absence(data: Mapping[str, Any]) -> Absence:
    starts_at, ends_at = parse_time(str(data["from"])), parse_time(str(data["until"]))
    if ends_at <= starts_at:
        raise ValueError("an absence ends before it begins")
    return Absence(who=str(data["who"]), starts_at=starts_at, ends_at=ends_at)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise OperatorError(
            "calendar-zone",
            f"the time zone '{name}' is not known on this machine; install its zone data, or correct the name",
        ) from None
