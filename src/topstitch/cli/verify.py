"""The command that proves a definition before launch: what if, what then, how it ends, and by when.

It prints the outcome table in a process owner's words, what each failure would unwind, and what
was proved and what was cut. With ``--against`` it prints only what a change changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli.command import FINDINGS, Door, command, fail

if TYPE_CHECKING:
    from topstitch.cli.checking import Compiled
    from topstitch.cli.screen import Screen
    from topstitch.verifier.scenarios import Scenario
    from topstitch.verifier.table import Change, Row
    from topstitch.verifier.verify import Verdict


@command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--against", metavar="OLD", help="Print what changes in the outcomes of this older file.")
@click.option(
    "--faults", type=click.IntRange(0), metavar="N", help="Explore at most so many faults at once. [any number]"
)
@click.option(
    "--budget",
    type=click.FloatRange(0.05),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="For the exploration.",
)
@click.option("--scenarios", "unwinds", is_flag=True, help="With every failure point and what it would unwind.")
def verify(
    door: Door, files: Sequence[str], against: str | None, faults: int | None, budget: float, *, unwinds: bool
) -> None:
    """Prove that every failure has a declared end; print what happens then. Exit 3 when there are findings."""
    from topstitch.cli.checking import compiled
    from topstitch.verifier.verify import verify as prove

    old = compiled(door, against) if against else None
    documents: list[dict[str, Any]] = []
    bad = False
    for name in files:
        one = compiled(door, name)
        verdict = prove(one.plan, one.workflow, budget, faults, document=one.document)
        bad = bad or not verdict.ok
        changes = _changes(old, verdict) if old else None
        documents.append(_document(name, one, verdict, changes))
        if not door.screen.as_json:
            _print(door.screen, one, verdict, changes, unwinds=unwinds)
    door.screen.data(documents[0] if len(documents) == 1 else documents)
    if bad:
        fail(FINDINGS)


def _changes(old: Compiled, verdict: Verdict) -> tuple[Change, ...]:
    from topstitch.verifier.classes import classes
    from topstitch.verifier.table import difference, table

    return difference(table(old.plan, classes(old.plan)), verdict.table)


def _print(screen: Screen, one: Compiled, verdict: Verdict, changes: Sequence[Change] | None, *, unwinds: bool) -> None:
    from topstitch.language import messages

    screen.print(screen.style(f"{one.plan.title}  {one.plan.workflow} {one.plan.version}", bold=True))
    if changes is None:
        _print_table(screen, verdict.table)
    else:
        _print_changes(screen, changes)
    if unwinds:
        _print_scenarios(screen, one, verdict.scenarios)
    _print_summary(screen, verdict)
    if verdict.findings:
        screen.print()
        screen.print(messages.as_text(one.document, verdict.findings, every=True))
    screen.note(f"{one.document.path}: {messages.summary(verdict.findings)}; {verdict.seconds:.2f} s")


def _print_table(screen: Screen, rows: Sequence[Row]) -> None:
    step = ""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        cells.append(("" if row.step == step else row.step, row.when, row.then, row.ends, row.latest))
        step = row.step
    screen.table(("step", "if", "then", "ends as", "at the latest after"), cells, "No step can end in any way.")


def _print_changes(screen: Screen, changes: Sequence[Change]) -> None:
    if not changes:
        screen.print("No outcome changes.")
    for change in changes:
        mark = {"added": "+", "removed": "-", "changed": "~"}[change.what]
        screen.print(f"  {mark} {change.step}: if {change.when}")
        if change.old is not None:
            screen.print(f"      was: {_consequence(change.old)}")
        if change.new is not None:
            screen.print(f"      now: {_consequence(change.new)}")


def _consequence(row: Row) -> str:
    return f"{row.then}; ends as {row.ends}, after {row.latest} at the latest"


def _print_scenarios(screen: Screen, one: Compiled, scenarios: Sequence[Scenario]) -> None:
    from topstitch.verifier.words import happened

    screen.print()
    for number, scenario in enumerate(scenarios, 1):
        screen.print(f"{number:>3} {scenario.by.step}: {happened(scenario.by, one.plan)}")
        for line in _unwound(scenario):
            screen.print(f"      {line}")


def _unwound(scenario: Scenario) -> list[str]:
    by_whom = [f"a task goes to {task.to.removeprefix('group:')}" for task in scenario.by.tasks]
    if scenario.unwinding is None:
        kept = f"stays: {', '.join(scenario.stays)}" if scenario.stays else "nothing was written before"
        return [*by_whom, f"nothing is unwound; {kept}"]
    back = [f"{number}. {u.step} by {u.system}.{u.action}" for number, u in enumerate(scenario.unwinding.undone, 1)]
    left = [f"remains: {step} ({why})" for step, why in scenario.unwinding.residue]
    return [*by_whom, *(back or ["nothing to unwind"]), *left]


def _print_summary(screen: Screen, verdict: Verdict) -> None:
    from topstitch.foundation.timetext import duration_text

    screen.print()
    kind = "ok" if verdict.ok else "bad"
    screen.print(f"{screen.mark(kind)} {verdict.proved}")
    screen.print(
        f"  settled {duration_text(verdict.executed_seconds)} after the trigger at the latest, "
        f"over {duration_text(verdict.ended_seconds)} after it"
    )
    for end, way in verdict.ends.items():
        screen.print(f"  can end {str(end).replace('_', ' ')}: {'; '.join(way) or 'at once'}")
    for step, why in verdict.residue:
        screen.print(f"  no rollback takes back {step}: {why}")
    asked = ", ".join(f"{who} ({role}, {times}x at most)" for who, role, times in verdict.people)
    screen.print(f"  may ask: {asked or 'nobody'}")


def _document(name: str, one: Compiled, verdict: Verdict, changes: Sequence[Change] | None) -> dict[str, Any]:
    from topstitch.language import messages

    document: dict[str, Any] = {
        "file": name,
        "workflow": one.plan.workflow,
        "version": one.plan.version,
        "ok": verdict.ok,
        "proved": verdict.proved,
        "complete": verdict.complete,
        "faults": verdict.faults,
        "states": verdict.states,
        "findings": messages.as_json(one.document, verdict.findings),
        "ends": {str(end): list(way) for end, way in verdict.ends.items()},
        "executed_seconds": verdict.executed_seconds,
        "ended_seconds": verdict.ended_seconds,
        "people": [{"who": who, "as": role, "times": times} for who, role, times in verdict.people],
        "residue": [{"step": step, "why": why} for step, why in verdict.residue],
        "table": [_row(row) for row in verdict.table],
        "scenarios": [_scenario(scenario, one) for scenario in verdict.scenarios],
    }
    if changes is not None:
        document["changes"] = [_change(change) for change in changes]
    return document


def _row(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"step": row.step, "if": row.when, "then": row.then, "ends": row.ends, "seconds": row.seconds}


def _change(change: Change) -> dict[str, Any]:
    return {
        "step": change.step,
        "what": change.what,
        "if": change.when,
        "old": _row(change.old),
        "new": _row(change.new),
    }


def _scenario(scenario: Scenario, one: Compiled) -> dict[str, Any]:
    from topstitch.verifier.words import happened

    back = scenario.unwinding
    return {
        "step": scenario.by.step,
        "if": happened(scenario.by, one.plan),
        "tasks": [task.to for task in scenario.by.tasks],
        "undone": [{"step": u.step, "system": u.system, "action": u.action} for u in back.undone] if back else None,
        "residue": [{"step": step, "why": why} for step, why in back.residue] if back else [],
        "stays": list(scenario.stays),
    }
