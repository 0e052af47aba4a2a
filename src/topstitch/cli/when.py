"""Decides how times are shown to a person: the minute, and how long ago."""

from __future__ import annotations

from datetime import datetime

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
