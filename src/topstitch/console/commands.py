"""Carries out what a person says at the console, by the rules that every other door uses.

Whether they may is asked here; the rest is the office's: an answer, a task handed in, a command,
judged by the state it is appended to. A preview is the same judgement without the append. It sends
nothing to any system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from topstitch.console.people import Person
from topstitch.execution.operate import Command
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotAllowedError
from topstitch.model.record import Actor, ActorKind
from topstitch.office.commands import preview
from topstitch.office.desk import Desk, Load
from topstitch.store import Store


class StoreCommands:
    """Commands on the journals of one store."""

    def __init__(self, store: Store, load: Load, clock: Clock) -> None:
        self._desk = Desk(store, load, clock)

    async def answer(
        self, approval: str, person: Person, said: str, *, comment: str | None, digest: str | None, via: str
    ) -> None:
        """Answer an approval."""
        await self._desk.answer(approval, person.identity, said, comment=comment, digest=digest, via=via)

    async def finish_task(self, task: str, person: Person, output: Mapping[str, Any], comment: str | None) -> None:
        """Hand a task in."""
        await self._desk.finish_task(task, _spoken(person), output, comment)

    async def fail_task(self, task: str, person: Person, because: str) -> None:
        """Say that a task cannot be done."""
        await self._desk.fail_task(task, _spoken(person), because)

    async def operate(self, instance: str, person: Person, command: Command) -> None:
        """Carry out an operator's command."""
        _require(person, "operate")
        await self._desk.operate(instance, command, _actor(person))

    async def preview(self, instance: str, person: Person, command: Command) -> Sequence[str]:
        """Return what a command would do; nothing is recorded."""
        _require(person, "operate")
        return await preview(self._desk, instance, command, _actor(person))


def _actor(person: Person) -> Actor:
    return Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))


def _spoken(person: Person) -> dict[str, str]:
    """Return a person as the rules of approvals and tasks know one."""
    return {"id": person.id, **({"email": person.email} if person.email else {})}


def _require(person: Person, what: str) -> None:
    why = person.why_not(what)
    if why is not None:
        raise NotAllowedError("not-allowed", f"{person.id} may not {what} here; {why[0].lower()}{why[1:]}")
