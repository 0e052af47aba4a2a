"""Decides how times are shown to a person, the minute and how long ago, and how a person may type one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import duration_text, parse_time


def at(moment: datetime | str | None) -> str:
    """Write a time as ``2026-01-05 09:14:03Z``."""
    if moment is None:
        return ""
    real = parse_time(moment) if isinstance(moment, str) else moment
    return real.strftime("%Y-%m-%d %H:%M:%SZ")


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
