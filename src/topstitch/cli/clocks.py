"""Decides what time a command takes it to be: the machine's, or the demo's.

The demo runs on a clock of its own and notes its time in the data folder; commands on that
folder must not answer before they were asked. Everywhere else it is the machine's clock.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from topstitch.foundation.clock import Clock, SimulatedClock, SystemClock
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.settings import Settings

CLOCK_FILE: Final = "demo.clock"
"""The demo's time, as it was last noted."""


def clock_of(settings: Settings) -> Clock:
    """Return the clock of an installation."""
    noted = noted_time(settings.data)
    return SimulatedClock(noted) if noted is not None else SystemClock()


def noted_time(folder: Path) -> datetime | None:
    """Return the time that the demo of this folder noted last; nothing where there is no demo."""
    try:
        return parse_time((folder / CLOCK_FILE).read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None


def note_time(folder: Path, now: datetime) -> None:
    """Note the demo's time, whole or not at all."""
    new = folder / f"{CLOCK_FILE}.new"
    new.write_text(rfc3339(now) + "\n", encoding="utf-8")
    os.replace(new, folder / CLOCK_FILE)  # noqa: PTH105 -- atomic
