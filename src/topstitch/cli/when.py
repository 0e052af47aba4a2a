"""Decides how times are shown to a person, the minute and how long ago, and how a person may type one.

Times are in UTC unless ``--tz`` names a zone for the command; what a program reads is in UTC whatever it names.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import duration_text, parse_time

LOCAL: Final = "local"
"""The machine's own zone, by the name that ``--tz`` takes."""
_ZONE: Final[ContextVar[tzinfo | None]] = ContextVar("zone", default=UTC)
"""The zone of the command that is being carried out; nothing: the machine's own."""
_NO_PLACES: Final = frozenset({"localtime", "posixrules", "Factory"})
"""Files that machines keep among the zones."""
_WRITTEN: Final = re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z")


def at(moment: datetime | str | None) -> str:
    """Write a time as ``2026-01-05 09:14:03Z``; in another zone than UTC, as ``2026-01-05 10:14:03+01:00``."""
    if moment is None:
        return ""
    text = here(parse_time(moment) if isinstance(moment, str) else moment).isoformat(" ", "seconds")
    return f"{text.removesuffix('+00:00')}Z" if _ZONE.get() is UTC else text


def here(moment: datetime) -> datetime:
    """Return a time in the zone of the command, for whoever writes only a part of it."""
    return moment.astimezone(_ZONE.get())


def retold(text: str) -> str:
    """Return a sentence that was put together elsewhere with its times in the zone of the command."""
    return text if _ZONE.get() is UTC else _WRITTEN.sub(lambda found: at(found[0]), text)


def ago(moment: datetime | str | None, now: datetime) -> str:
    """Write how long something has lasted."""
    if moment is None:
        return ""
    real = parse_time(moment) if isinstance(moment, str) else moment
    return duration_text(max(0.0, (now - real).total_seconds()))


def until(moment: datetime | str | None, now: datetime) -> str:
    """Write how long is left, or that nothing is."""
    if moment is None:
        return ""
    real = parse_time(moment) if isinstance(moment, str) else moment
    left = (real - now).total_seconds()
    return f"in {duration_text(left)}" if left > 0 else f"{duration_text(-left)} ago"


def moment(text: str, flag: str, *, to_its_end: bool = False) -> datetime:
    """Read a time, or a day in UTC: its beginning, or its end."""
    try:
        if len(text) == len("2026-12-24"):
            day = date.fromisoformat(text) + timedelta(days=1 if to_its_end else 0)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        return parse_time(text)
    except ValueError as error:
        raise RequestError("time-unclear", f"{flag} {text!r} is no time ({error}); write 2026-12-24") from None


# --- the zone --------------------------------------------------------------------------------------


def show_in(zone: tzinfo | None) -> None:
    """Show times in a zone from now on; nothing: in the machine's own."""
    _ZONE.set(zone)


def zone_of(name: str) -> tzinfo | None:
    """Return the zone of a name, nothing for ``local``; raise ``ValueError`` that names the nearest."""
    if name == LOCAL:
        return None
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder of zones, a path, an unknown name
        raise ValueError(f"{name!r} is no time zone; {_nearest(name)}") from None


def zone_name() -> str:
    """Return what the zone of the command is called."""
    zone = _ZONE.get()
    return LOCAL if zone is None else str(zone)


def zones() -> list[str]:
    """Return the names that can be asked for."""
    from zoneinfo import available_timezones

    return [LOCAL, *sorted(available_timezones() - _NO_PLACES)]


def _nearest(name: str) -> str:
    """Say what was probably meant: the whole name, or the city alone."""
    from difflib import get_close_matches

    known = zones()
    by_city = {each.rpartition("/")[2].lower(): each for each in known}
    whole = {each.lower(): each for each in known}
    asked = name.strip().replace(" ", "_").lower()
    for names in (whole, by_city):
        if asked in names:
            return f"did you mean {names[asked]}?"
    for names in (whole, by_city):
        if near := get_close_matches(asked, names, n=1):
            return f"did you mean {names[near[0]]}?"
    return f"write one of the IANA zones, such as Europe/Berlin, or {LOCAL}"
