"""A fresh process: how long until its first instance has executed, and how much memory it holds then.

Run as ``python -m topstitch.bench.cold STUB_URL FOLDER``; prints one JSON line. The time is
counted from the start of the process, imports included.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from topstitch.bench.contender import EngineContender
from topstitch.foundation.clock import SystemClock


def process_age_seconds() -> float:
    """Return how long this process has existed, by the kernel's account."""
    started_ticks = float(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - started_ticks / 100


def resident_megabytes() -> float:
    """Return the resident memory of this process."""
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def _first(url: str, folder: Path) -> dict[str, float]:
    async with EngineContender(url, str(folder / "cold.db"), folder) as engine:
        await engine.carry(f"cold-{SystemClock().now().timestamp()}")
        return {"first_seconds": process_age_seconds(), "resident_mb": resident_megabytes()}


if __name__ == "__main__":
    import uvloop

    sys.stdout.write(json.dumps(uvloop.run(_first(sys.argv[1], Path(sys.argv[2])))) + "\n")
