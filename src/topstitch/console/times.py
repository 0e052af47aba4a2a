"""Decides how times and durations read: one zone on a whole page, its offset always in sight.

Stored times are UTC. The zone is the address's ``tz``, else the viewer's cookie, else the
installation's. Text only; the ``<time>`` element around it carries the UTC form and the title.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from topstitch.foundation.timetext import duration_text

COOKIE: Final = "topstitch_tz"


class Zone(msgspec.Struct, frozen=True):
    """A named zone at a moment."""

    name: str
    place: str
    info: tzinfo
    now: datetime

    @property
    def label(self) -> str:
        """``Chicago (UTC-6)``."""
        return f"{self.place} ({offset(self.now.astimezone(self.info))})" if self.name != "UTC" else "UTC"

    def local(self, moment: datetime) -> datetime:
        """Return a moment here."""
        return moment.astimezone(self.info)

    def clock(self, moment: datetime) -> str:
        """``09:14:03``."""
        return self.local(moment).strftime("%H:%M:%S")

    def short(self, moment: datetime) -> str:
        """``09:14`` today, ``22 Nov 09:14`` on other days."""
        local, today = self.local(moment), self.local(self.now).date()
        if local.date() == today:
            return local.strftime("%H:%M")
        form = "%-d %b %H:%M" if local.year == today.year else "%-d %b %Y %H:%M"
        return local.strftime(form)

    def long(self, moment: datetime) -> str:
        """``today 09:14:03`` or ``22 Nov 2026 09:14:03``."""
        local, today = self.local(moment), self.local(self.now).date()
        day = "today" if local.date() == today else local.strftime("%-d %b %Y")
        return f"{day} {local.strftime('%H:%M:%S')}"

    def title(self, moment: datetime) -> str:
        """Say both zones and how long ago."""
        both = f"{self.local(moment).strftime('%Y-%m-%d %H:%M:%S')} {self.label}"
        utc = "" if self.name == "UTC" else f" · {moment.astimezone(UTC).strftime('%H:%M:%S')} UTC"
        return f"{both}{utc} · {self.relative(moment)}"

    def relative(self, moment: datetime) -> str:
        """``3 h 12 m ago`` or ``in 40 m``."""
        seconds = (self.now - moment).total_seconds()
        if abs(seconds) < 1:
            return "now"
        return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def zone_of(name: str | None, now: datetime, otherwise: str = "UTC") -> Zone:
    """Return the zone with a name; an unknown one is the installation's."""
    info = _info(name or "") or _info(otherwise)
    known = name if name and _info(name) else otherwise
    if info is None:
        info, known = UTC, "UTC"
    return Zone(known, known.rpartition("/")[2].replace("_", " "), info, now)


def offset(local: datetime) -> str:
    """``UTC-6`` or ``UTC+5:30``."""
    minutes = round((local.utcoffset() or UTC.utcoffset(None)).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    sign = "+" if minutes >= 0 else "\u2212"
    return f"UTC{sign}{hours}" + (f":{rest:02}" if rest else "")


def span(seconds: float) -> str:
    """Write a duration, at most two units; tenths below ten seconds: ``3.1 s``."""
    if 0 < seconds < 0.995:
        return duration_text(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    return duration_text(seconds)


@lru_cache(maxsize=256)
def _info(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name) if name and len(name) < 64 else None
    except (OSError, ValueError, KeyError):
        return None
