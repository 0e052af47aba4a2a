"""The command that walks every fault schedule of a definition through the real rules, and tells a bad one.

A schedule in which something is not as it must be is printed with the one command that replays it.
What was cut by the budget, and what had to be simplified, is said.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.foundation.errors import OperatorError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topstitch.cli.checking import Compiled
    from topstitch.torture.explore import BadSchedule, Torture


@command("torture")
@click.argument("file", metavar="FILE")
@click.option(
    "--faults",
    type=click.IntRange(0, 6),
    default=2,
    show_default=True,
    metavar="N",
    help="At most so many faults in one schedule.",
)
@click.option("--replay", "choices", metavar="CHOICES", help="Walk one schedule again and tell it.")
@click.option(
    "--event", "event_file", metavar="FILE", help="A real event's data as JSON. [made from the declared shape]"
)
@click.option("--no-reconcile", "plain", is_flag=True, help="Leave the checks after the last step out.")
@click.option("--budget", type=click.FloatRange(0.1), metavar="SECONDS", help="Stop after so long, and say so.")
def torture(
    door: Door,
    file: str,
    faults: int,
    choices: str | None,
    event_file: str | None,
    budget: float | None,
    *,
    plain: bool,
) -> None:
    """Walk all schedules of at most N faults. Exit 1 when one ends badly, 8 when the budget cut it short."""
    from topstitch.cli.checking import compiled

    one = compiled(door, file)
    data = event_data(event_file)
    if choices is not None:
        _replay(door, one, choices, data, plain=plain)
        return
    _walk(door, one, faults, data, budget, Walked(file=file, event=event_file, plain=plain))


class Walked:
    """How a walk was asked for, so that its replay can be typed."""

    def __init__(self, *, file: str, event: str | None, plain: bool) -> None:
        self.file, self.event, self.plain = file, event, plain

    def replayed_by(self, bad: BadSchedule) -> str:
        """Return the command that replays a schedule."""
        words = ["topstitch", "torture", self.file, "--replay", bad.choices]
        words += ["--event", self.event] if self.event else []
        words += ["--no-reconcile"] if self.plain else []
        return shlex.join(words)


def _walk(
    door: Door, one: Compiled, faults: int, data: Mapping[str, Any] | None, budget: float | None, asked: Walked
) -> None:
    from topstitch.cli.command import WAITING
    from topstitch.torture.explore import explore

    found = explore(
        one.plan, faults, schema=one.event_schema, data=data, reconcile=not asked.plain, budget_seconds=budget
    )
    door.screen.data(_document(one, found, asked))
    if not door.screen.as_json:
        _print(door, one, found, asked)
    if found.bad:
        fail(FAILED)
    if found.cut:
        fail(WAITING)


def _print(door: Door, one: Compiled, found: Torture, asked: Walked) -> None:
    say, screen = door.screen.print, door.screen
    for bad in found.first:
        say(f"{screen.mark('bad')} {bad.oracle}: {bad.said}")
        for fault in bad.faults:
            say(f"    {fault}")
        say(f"    replay: {asked.replayed_by(bad)}")
    kind = "bad" if found.bad else "warn" if found.cut else "ok"
    count = f"{found.schedules:,} schedules with at most {found.faults} fault{'' if found.faults == 1 else 's'}"
    verdict = f"{found.bad:,} end badly" if found.bad else "each ends as declared"
    name = f"{one.plan.workflow} {one.plan.version}"
    say(f"{screen.mark(kind)} {name}: {count}, {verdict}; {found.per_second:,.0f} a second")
    for end in sorted({end for end, _ in found.finals}):
        say(f"    can end {end.replace('_', ' ')}")
    if found.simplified:
        say(f"    with a constant payload, because the sample data lacks what they read: {', '.join(found.simplified)}")
        screen.note("Give a real event with --event to walk them as they are.")
    if found.cut and not found.bad:
        screen.note("The budget ended before the schedules did; what was not walked is not proved. Raise --budget.")


def _document(one: Compiled, found: Torture, asked: Walked) -> dict[str, Any]:
    return {
        "workflow": one.plan.workflow,
        "version": one.plan.version,
        "faults": found.faults,
        "schedules": found.schedules,
        "bad": found.bad,
        "cut": found.cut,
        "seconds": round(found.seconds, 3),
        "per_second": round(found.per_second),
        "ends": sorted({end for end, _ in found.finals}),
        "simplified": list(found.simplified),
        "first": [
            {
                "oracle": b.oracle,
                "said": b.said,
                "choices": b.choices,
                "faults": list(b.faults),
                "replay": asked.replayed_by(b),
            }
            for b in found.first
        ],
    }


def _replay(door: Door, one: Compiled, choices: str, data: Mapping[str, Any] | None, *, plain: bool) -> None:
    from topstitch.torture.replay import replay

    told = replay(one.plan, choices, schema=one.event_schema, data=data, reconcile=not plain)
    broken = {"oracle": told.broken.oracle, "said": told.broken.said} if told.broken else None
    door.screen.data({"end": told.end, "broken": broken, "lines": list(told.lines)})
    for line in told.lines:
        door.screen.print(line)
    if told.broken is not None:
        door.screen.print(f"{door.screen.mark('bad')} {told.broken.oracle}: {told.broken.said}")
        fail(FAILED)
    door.screen.print(f"{door.screen.mark('ok')} ended {str(told.end).replace('_', ' ')}")


def event_data(name: str | None) -> Mapping[str, Any] | None:
    """Return an event's data from a file; nothing when there is none."""
    if name is None:
        return None
    from topstitch.foundation.canonical import parse

    try:
        data = parse(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError("file-unreadable", f"{name} cannot be read ({error.strerror}); name another") from None
    except ValueError as error:
        raise RequestError("json-invalid", f"{name} is no JSON ({error}); correct it") from None
    if not isinstance(data, dict):
        raise RequestError("json-invalid", f"{name} holds no JSON object; write one with the event's fields")
    return data
