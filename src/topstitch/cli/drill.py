"""The command that takes each system down in turn, in each way, and prints what becomes of every step.

Against the simulated systems only: connections of the data folder are not looked at, and nothing is kept.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from topstitch.cli.checking import Compiled
    from topstitch.connectors.connections import Connections
    from topstitch.connectors.registry import Registry
    from topstitch.drill.judge import Cell
    from topstitch.drill.run import Matrix
    from topstitch.drill.stage import Drilled, Event
    from topstitch.simulators.host import Simulators

HIRE_EVENT: Final = ("workday@1", "hire_completed")
HIRE: Final = {"jobProfile": "SAL-AE", "workerId": "W-900001"}
"""A sales hire with a quota: every step of the shipped onboarding runs, and people are asked."""
MARKS: Final = {
    "completed": "ok",
    "compensated": "warn",
    "degraded as declared": "idle",
    "waiting on a named person": "wait",
    "stuck": "bad",
}


@command("drill")
@click.argument("file", metavar="FILE")
@click.option(
    "--event", "event_file", metavar="FILE", help="The event's data as JSON. [a hire in the simulated Workday]"
)
@click.option("--system", "systems", multiple=True, metavar="ALIAS", help="Only this system; may be repeated.")
@click.option("--way", "ways", multiple=True, metavar="WAY", help="Only this way, such as down; may be repeated.")
def drill(door: Door, file: str, event_file: str | None, systems: Sequence[str], ways: Sequence[str]) -> None:
    """Take each system down in turn against the simulators. Exit 1 when anything is stuck."""
    from topstitch.cli.checking import compiled
    from topstitch.cli.logs import start_log

    start_log("error")
    one = compiled(door, file)
    names = _systems(one, systems)
    with tempfile.TemporaryDirectory(prefix="topstitch-drill-") as folder, _quiet():
        matrix = door.run(_drill(_drilled(door, one, Path(folder), event_file), names, ways))
    door.screen.data(_document(one, matrix, names))
    _print(door, one, matrix, names)
    if matrix.stuck:
        fail(FAILED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep outages out of the log: they are what it is about, and the matrix tells them."""
    log = logging.getLogger("topstitch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


async def _drill(drilled: Drilled, names: Mapping[str, str], ways: Sequence[str]) -> Matrix:
    from topstitch.drill.run import drill as play_all
    from topstitch.drill.ways import Way

    try:
        wanted = tuple(Way(way) for way in ways) or tuple(Way)
    except ValueError as error:
        raise RequestError("unknown-way", f"{error}; use one of: {', '.join(Way)}") from None

    return await play_all(drilled, tuple(names), wanted)


def _systems(one: Compiled, wanted: Sequence[str]) -> dict[str, str]:
    """Return which simulated system stands behind which aliases: ``entra-id`` -> ``directory``."""
    from topstitch.simulators.host import KINDS

    found: dict[str, str] = {}
    for alias in wanted or one.plan.systems:
        if alias not in one.plan.systems:
            known = ", ".join(one.plan.systems)
            raise RequestError("unknown-system", f"{one.plan.workflow} has no system {alias!r}; use one of: {known}")
        connector = one.plan.connector_of(alias)
        if connector not in KINDS:
            message = f"{connector} ({alias}) has no simulator, so it cannot be drilled; drill the others with --system"
            raise OperatorError("no-simulator", message)
        found[connector] = alias
    return found


def _drilled(door: Door, one: Compiled, folder: Path, event_file: str | None) -> Drilled:
    from topstitch.cli.torture import event_data
    from topstitch.drill.stage import Drilled

    given = event_data(event_file)
    return Drilled(
        definition=_definition(one),
        plan=one.plan,
        settings=door.settings(environment="drill"),
        connect=lambda facts: _connections(one, folder, facts),
        event=_given(given) if given is not None else _hired(one),
    )


def _definition(one: Compiled) -> Any:
    import msgspec

    from topstitch.foundation.clock import SystemClock
    from topstitch.language.normal import normal_form
    from topstitch.store.definitions import Definition

    return Definition(
        digest=one.plan.digest,
        workflow=one.plan.workflow,
        version=one.plan.version,
        text="",
        normal=msgspec.json.encode(normal_form(one.workflow)).decode(),
        published_at=SystemClock().now(),
        published_by="system:drill",
    )


def _connections(one: Compiled, folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> Connections:
    """Return connections to the simulated systems under the definition's own aliases."""
    from msgspec.structs import replace

    from topstitch.cli.simulated import write_connections
    from topstitch.connectors.connections import load_connections

    usual = load_connections(write_connections(folder, facts))
    by_connector = {c.connector: c for c in usual.connections.values()}
    named = {a: by_connector[s.connector] for a, s in one.plan.systems.items() if s.connector in by_connector}
    every = {alias: replace(c, alias=alias) for alias, c in {**usual.connections, **named}.items()}
    return replace(usual, connections=every)


def _given(data: Mapping[str, Any]) -> Event:
    def event(_sims: Simulators, _registry: Registry) -> Mapping[str, Any]:
        return data

    return event


def _hired(one: Compiled) -> Event:
    """Return a maker of a hire's event; raise when the definition begins with something else."""
    trigger = one.plan.trigger
    system = one.plan.systems.get(trigger.system)
    if system is None or (system.connector, trigger.event) != HIRE_EVENT:
        message = f"there is no example of {trigger.event_type}, with which this begins; give one with --event FILE"
        raise RequestError("no-event", message)

    def event(sims: Simulators, registry: Registry) -> Mapping[str, Any]:
        document = sims["workday"].hires.hire(HIRE, notify=False)
        return registry.normalise_event(trigger.system, trigger.event, document).data

    return event


def _print(door: Door, one: Compiled, matrix: Matrix, names: Mapping[str, str]) -> None:
    screen = door.screen
    rows = []
    for play in matrix.plays:
        title = one.plan.systems[names[str(play.system)]].title
        when = f"{play.way}, from the start" if play.from_start else str(play.way)
        rows.append(
            (title, when, *(_cell(door, cell) for cell in play.cells), (play.end or "not ended").replace("_", " "))
        )
    screen.table(("system", "is", *one.plan.steps, "instance"), rows, "Nothing was drilled.")
    screen.print()
    counts = ", ".join(f"{count} {fate}" for fate, count in matrix.counts.items() if count or fate == "stuck")
    screen.print(f"{screen.mark('bad' if matrix.stuck else 'ok')} {len(matrix.plays)} outages, {counts}")
    for play, cell in matrix.stuck:
        screen.print(f"    {play.system} {play.way}: {cell.step} is stuck: {cell.why}")
    screen.note(f"{matrix.seconds:.1f} s; on a good day it ends {(matrix.good_day.end or 'never').replace('_', ' ')}")


def _cell(door: Door, cell: Cell) -> str:
    said = cell.why if cell.fate in ("waiting on a named person", "degraded as declared", "stuck") else str(cell.fate)
    said = f"waits for {cell.why}" if cell.fate == "waiting on a named person" else said
    return door.screen.mark(MARKS[cell.fate], said)


def _document(one: Compiled, matrix: Matrix, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "workflow": one.plan.workflow,
        "version": one.plan.version,
        "seconds": round(matrix.seconds, 2),
        "good_day": matrix.good_day.end,
        "counts": {str(fate): count for fate, count in matrix.counts.items()},
        "stuck": len(matrix.stuck),
        "matrix": [
            {
                "system": names[str(play.system)],
                "way": str(play.way),
                "from_start": play.from_start,
                "end": play.end,
                "lasted_seconds": play.lasted_seconds,
                "steps": {c.step: {"fate": str(c.fate), "why": c.why} for c in play.cells},
            }
            for play in matrix.plays
        ],
    }
