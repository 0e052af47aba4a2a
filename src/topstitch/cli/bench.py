"""The command that measures the engine beside a bare script and prints the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = ("", "bare script", "one commit a step", "topstitch", "ratio", "budget", "")


@command("bench", data=False)
@click.option(
    "--instances", type=click.IntRange(100, 20_000), default=2000, show_default=True, help="How many of each."
)
def bench(door: Door, instances: int) -> None:
    """Measure ten calls an instance against a stub that answers after a millisecond, beside a bare script.

    The ratio to the bare script of the same run is what counts; figures depend on the machine.
    """
    from topstitch.bench.run import run

    door.screen.note(f"Carrying {instances} instances out, three ways; this takes about a minute.")
    result = run(many=instances)
    door.screen.data(result)
    lines = [HEAD, *(_line(row) for row in result["rows"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        door.screen.print("  ".join(cells).rstrip())


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    def figure(name: str) -> str:
        return "-" if row[name] is None else f"{row[name]:.2f} {row['unit']}"

    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f} x"
    budget = (
        "-" if row["budget"] is None else f"{row['budget']:.2f} " + ("x" if row["ratio"] is not None else row["unit"])
    )
    mark = "✓ within" if row["met"] else "▲ over"
    return (row["title"], figure("bare"), figure("commit"), figure("engine"), ratio, budget, mark)
