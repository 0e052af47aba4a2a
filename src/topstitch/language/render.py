"""Decides how a definition reads as the playbook's mapping table, and how a table becomes a draft.

``topstitch table`` prints ``mapping_table`` as text or Markdown; ``skeleton`` reads
such a table back. Everything shown is generated from the
definition, nothing is written by hand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Final

from topstitch.language.schema import (
    ActionItem,
    Approval,
    Compensate,
    FlagItem,
    NoUndo,
    Reconcile,
    Step,
    TaskItem,
    Then,
    Undo,
    Workflow,
)
from topstitch.model.action import Contracts

HEADERS: Final = (
    "Step",
    "System",
    "Action",
    "Data payload",
    "Approval required",
    "Rollback plan",
    "If it cannot be done",
)
"""The playbook's six columns, and what the playbook asks for in its second rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of the mapping table, in the order of ``HEADERS``."""

    step: str
    system: str
    action: str
    payload: str
    approval: str
    rollback: str
    otherwise: str


def mapping_table(workflow: Workflow, contracts: Contracts) -> tuple[TableRow, ...]:
    """Return the rows: the trigger, each step in the order it is written, reconciliation."""
    rows = [_trigger_row(workflow, contracts)]
    rows += [_step_row(number, step, workflow) for number, step in enumerate(workflow.steps.values(), 1)]
    return (*rows, _reconcile_row(len(rows), workflow.reconcile))


def as_markdown(rows: Iterable[TableRow]) -> str:
    """Return the table for a pull request."""
    lines = ["| " + " | ".join(HEADERS) + " |", "|" + "---|" * len(HEADERS)]
    lines += [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in astuple(row)) + " |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def as_plain(rows: Sequence[TableRow], width: int = 160) -> str:
    """Return the table for a terminal of ``width`` characters, cells wrapped."""
    cells = [HEADERS, *(astuple(row) for row in rows)]
    widths = _widths(cells, width - 3 * (len(HEADERS) - 1))
    lines: list[str] = []
    for number, row in enumerate(cells):
        wrapped = [textwrap.wrap(cell, columns) or [""] for cell, columns in zip(row, widths, strict=True)]
        for height in range(max(len(cell) for cell in wrapped)):
            parts = (cell[height] if height < len(cell) else "" for cell in wrapped)
            lines.append(" | ".join(part.ljust(columns) for part, columns in zip(parts, widths, strict=True)).rstrip())
        if number < len(cells) - 1:
            lines.append("-+-".join("-" * columns for columns in widths))
    return "\n".join(lines) + "\n"


def _widths(cells: Sequence[Sequence[str]], available: int) -> list[int]:
    """Share the width: every column its longest word, the rest by need."""
    least = [
        max(max((len(word) for word in cell.split()), default=1) for cell in column)
        for column in zip(*cells, strict=True)
    ]
    most = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    least = [min(columns, 30) for columns in least]
    spare = max(0, available - sum(least))
    wanted = [max(0, high - low) for low, high in zip(least, most, strict=True)]
    total = sum(wanted) or 1
    return [low + min(want, spare * want // total) for low, want in zip(least, wanted, strict=True)]


def _trigger_row(workflow: Workflow, contracts: Contracts) -> TableRow:
    system, name = _system(workflow, workflow.trigger.on)
    contract = contracts.get(system)
    event = contract.events.get(name) if contract else None
    fields = ", ".join(event.data.get("properties", {})) if event else ""
    return TableRow(
        step="0. Trigger",
        system=system,
        action=_words(name),
        payload=f"(event) {fields}".strip(),
        approval="None",
        rollback="N/A",
        otherwise="",
    )


def _step_row(number: int, step: Step, workflow: Workflow) -> TableRow:
    system, action, payload = _what(step, workflow)
    return TableRow(
        step=f"{number}. {step.title}",
        system=system,
        action=action,
        payload=payload,
        approval=approval_words(step.approval),
        rollback=rollback_words(step.rollback),
        otherwise=otherwise_words(step),
    )


def _what(step: Step, workflow: Workflow) -> tuple[str, str, str]:
    if step.wait_for is not None:
        system, name = _system(workflow, step.wait_for.event)
        return system, f"wait for {_words(name)}, {step.wait_for.give_up} at most", f"`{step.wait_for.match}`"
    if step.call is not None:
        return "topstitch", f"start {step.call.workflow}, {step.call.give_up} at most", ", ".join(step.call.with_)
    system, name = _system(workflow, step.do or "")
    each = f", for each of `{step.for_each.items}` ({step.for_each.max} at most)" if step.for_each else ""
    return system, _words(name) + each, ", ".join(step.with_)


def _system(workflow: Workflow, ref: str) -> tuple[str, str]:
    alias, _, name = ref.partition(".")
    return workflow.systems.get(alias, alias), name


def _words(name: str) -> str:
    return name.replace("_", " ")


def approval_words(approval: Approval | None) -> str:
    """Say who approves, and when nobody is asked."""
    if approval is None:
        return "None"
    gate = approval.otherwise
    who = gate.from_ if isinstance(gate.from_, str) else " or ".join(gate.from_)
    asked = f"{who}, {gate.quorum} of them, within {gate.give_up}"
    return f"automatic when `{approval.auto_when}`; else {asked}" if approval.auto_when is not None else asked


def rollback_words(rollback: Undo | NoUndo | None) -> str:
    """Say how the step is undone, or why it is not."""
    if rollback is None:
        return "N/A"
    return rollback.do if isinstance(rollback, Undo) else f"none: {rollback.none}"


def otherwise_words(step: Step) -> str:
    """Say what is done when the step cannot be completed."""
    if step.wait_for is not None:
        return f"after {step.wait_for.give_up}: {step.wait_for.otherwise}"
    attempts = f"{step.retry.attempts} attempt{'s' if step.retry.attempts > 1 else ''}"
    return f"{attempts}, then {_compensation(step.compensate)}" if step.compensate else attempts


def _compensation(compensate: Compensate) -> str:
    items = []
    for item in compensate.do:
        match item:
            case TaskItem():
                items.append(f"task to {item.task.to} (due {item.task.due}, give up {item.task.give_up})")
            case FlagItem():
                items.append(f"flag {item.flag}")
            case ActionItem():
                items.append(item.do)
    then = compensate.then
    ending = f"done: {then.done}, not done: {then.not_done}" if isinstance(then, Then) else then
    return f"{'; '.join(items)} -> {ending}" if items else ending


def _reconcile_row(number: int, reconcile: Reconcile) -> TableRow:
    compared = "; ".join(
        f"{name}: {', '.join(rule.field for rule in record.expect)}" for name, record in reconcile.records.items()
    )
    return TableRow(
        step=f"{number}. Reconciliation",
        system="all",
        action="compare at " + ", ".join(reconcile.at),
        payload=compared,
        approval="None",
        rollback=reconcile.on_difference.do,
        otherwise=f"task to {reconcile.on_difference.if_that_fails.task.to}",
    )
