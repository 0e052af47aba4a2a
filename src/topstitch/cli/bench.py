"""The command that measures the engine beside a bare script and prints the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import Door, command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAD = ("", "bare script", "one commit a step", "topstitch", "ratio", "budget", "")


@command("bench", data=False)
@click.option(
    "--instances", type=click.IntRange(100, 20_000), default=2000, show_default=True, help="How many of each."
)
@click.option("--proof", is_flag=True, help="Measure only how fast definitions are verified and tortured.")
@click.option("--trust", is_flag=True, help="Measure only what expressions, policy decisions and the audit cost.")
@click.option(
    "--seams", is_flag=True, help="Measure the metrics instead: over 100,000 finished instances, and at work."
)
@click.option(
    "--console", is_flag=True, help="Measure the console instead: its pages over 100,000 instances, and live."
)
def bench(door: Door, instances: int, *, proof: bool, trust: bool, seams: bool, console: bool) -> None:
    """Measure ten calls an instance against a stub that answers after a millisecond, beside a bare script.

    The ratio to the bare script of the same run is what counts; figures depend on the machine. Below it stands
    how fast definitions are proved, and what policy decisions and the audit cost.
    """
    from topstitch.bench.proof import run_proof
    from topstitch.bench.trust import run_trust

    if seams:
        _seams(door)
        return
    if console:
        _console(door)
        return
    if trust:
        cost = run_trust()
        door.screen.data(cost)
        _print_figures(door, cost["rows"])
        return
    if proof:
        proved = run_proof()
        door.screen.data(proved)
        _print_figures(door, proved["rows"])
        return
    from topstitch.bench.run import run

    door.screen.note(f"Carrying {instances} instances out, three ways; this takes about a minute.")
    result = run(many=instances) | {"proof": run_proof()["rows"], "trust": run_trust()["rows"]}
    door.screen.data(result)
    _print(door, [HEAD, *(_line(row) for row in result["rows"])])
    door.screen.print()
    _print_figures(door, [*result["proof"], *result["trust"]])


def _seams(door: Door) -> None:
    from topstitch.bench.seams import FINISHED, run_seams

    door.screen.note(f"Filling a database with {FINISHED:,} finished instances, then reading; this takes two minutes.")
    result = run_seams()
    door.screen.data(result)
    _print_figures(door, result["rows"])


def _console(door: Door) -> None:
    from topstitch.bench.console import FINISHED, run_console
    from topstitch.cli.instance_view import view
    from topstitch.cli.tale import Teller

    door.screen.note(f"Filling a database with {FINISHED:,} finished instances, then asking for pages; about a minute.")
    result = run_console(view, lambda plan: Teller(plan).sentence)
    door.screen.data(result)
    _print_figures(door, result["rows"])


def _print_figures(door: Door, figures: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            row["title"],
            f"{row['figure']:,.2f} {row['unit']}",
            "-" if row["budget"] is None else f"{row['budget']:,.1f} {row['unit']}",
            "" if row["budget"] is None else "✓ within" if row["met"] else "▲ over",
        )
        for row in figures
    ]
    _print(door, [("", "figure", "budget", ""), *rows])


def _print(door: Door, lines: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
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
