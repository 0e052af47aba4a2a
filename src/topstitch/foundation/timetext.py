"""Decides how times and durations are written as text and read back.

Times are RFC 3339 in UTC with milliseconds; durations are whole numbers with one unit
(``30s``, ``5m``, ``2h``, ``1d``), as authors write them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+)(s|m|h|d)")


@lru_cache(maxsize=1024)
def rfc3339(moment: datetime) -> str:
    """Write an aware UTC time as ``2026-11-23T09:14:03.250Z``. The same few times are written again and again."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; raise ``ValueError`` if it has no zone or is no time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as 2026-11-23T09:14:03Z")
    return moment.astimezone(UTC)


def parse_duration(text: str) -> int:
    """Read ``90s``, ``5m``, ``2h`` or ``1d`` as seconds; raise ``ValueError`` otherwise."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a whole number and s, m, h or d, such as 5m")
    return int(match[1]) * SECONDS[match[2]]


def duration_text(seconds: float) -> str:
    """Write seconds for a person, at most two units: ``3 h 12 m``, ``41 s``, ``250 ms``."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)} ms"
    left, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        amount, left = divmod(left, SECONDS[unit])
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"
