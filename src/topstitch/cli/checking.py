"""Reads a definition file for commands that need it compiled: what is wrong with it is printed, and ends the command.

``verify``, ``torture``, ``drill`` and ``plan`` call it, so that a file with errors is refused with the
same words everywhere. It never opens a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topstitch.cli.command import FINDINGS, Door, fail
from topstitch.cli.typed import text_of

if TYPE_CHECKING:
    from topstitch.language.load import Document
    from topstitch.language.schema import Workflow
    from topstitch.model.action import JsonSchema, SystemContract
    from topstitch.plan.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A definition without errors, compiled."""

    document: Document
    workflow: Workflow
    plan: Plan
    contracts: Mapping[str, SystemContract]

    @property
    def event_schema(self) -> JsonSchema | None:
        """What the trigger's event holds, as its system declares it."""
        trigger = self.plan.trigger
        system = self.plan.systems.get(trigger.system)
        contract = self.contracts.get(system.connector) if system else None
        event = contract.events.get(trigger.event) if contract else None
        return event.data if event else None


def compiled(door: Door, name: str) -> Compiled:
    """Return a definition file compiled; print its errors and end with 3 when it has any."""
    from topstitch.cli.desk import contracts
    from topstitch.language import messages
    from topstitch.language.check import check
    from topstitch.language.load import load
    from topstitch.language.normal import definition_digest
    from topstitch.plan.compile import compile_plan

    document = load(text_of(Path(name)), name)
    known = contracts(door.settings())
    result = check(document, known)
    if result.workflow is None or result.errors:
        door.screen.data(messages.as_json(document, result.errors))
        door.screen.print(messages.as_text(document, result.errors))
        door.screen.note(f"{name}: {messages.summary(result.errors)}; correct them first, topstitch validate shows all")
        fail(FINDINGS)
    plan = compile_plan(result.workflow, known, definition_digest(result.workflow))
    return Compiled(document=document, workflow=result.workflow, plan=plan, contracts=known)
