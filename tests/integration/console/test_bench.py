"""What ``topstitch bench --console`` prints: every budget of the console, measured on a small house here."""

from __future__ import annotations

import asyncio
from typing import Any

from topstitch.bench import console as bench
from topstitch.cli.instance_view import view
from topstitch.cli.tale import Teller


async def test_every_figure_of_the_console_is_measured(monkeypatch: Any) -> None:
    monkeypatch.setattr(bench, "_first_paint", lambda _port: 1.0)  # a browser is the browser tests' matter
    found = await asyncio.to_thread(
        bench.run_console, view, lambda plan: Teller(plan).sentence, finished=300, streams=10
    )
    rows = {row["title"]: row for row in found["rows"]}
    assert {row["budget"] for row in rows.values()} >= {170, 20, 250, 1000}
    assert rows["first load, uncompressed"]["met"]
    assert rows["open streams on one process"]["figure"] == 10
    assert all(row["figure"] > 0 for row in rows.values())
