"""Carries out what a person says at the console, by the rules that every other door uses.

An answer, a task handed in, a command: judged by the state it is appended to, under a guard on
the journal's head; when somebody was quicker, looked at again. A preview is the same judgement
without the append. It sends nothing to any system.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from topstitch import lifecycle
from topstitch.console.people import Person
from topstitch.execution.operate import Command
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import ConflictError, NotAllowedError
from topstitch.governance import approvals, by_hand
from topstitch.model.instance import StepStatus
from topstitch.model.record import Actor, ActorKind, Draft
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.store import HeadIs, Store, instances, items

LOOKS_MAX: Final = 20
Make = Callable[[Plan, InstanceState, datetime], Sequence[Draft]]


class StoreCommands:
    """Commands on the journals of one store."""

    def __init__(self, store: Store, load: Callable[[str], Awaitable[Plan]], clock: Clock) -> None:
        self._store, self._load, self._clock = store, load, clock

    async def answer(
        self, approval: str, person: Person, said: str, *, comment: str | None, digest: str | None, via: str
    ) -> None:
        """Answer an approval."""
        _require(person, "approve")
        row = await items.get_approval(self._store, approval)
        who = _spoken(person)
        await self._say(
            row["instance"],
            lambda _plan, state, now: [
                approvals.answer(state, approval, who, said, now, comment=comment, payload_digest=digest, via=via)
            ],
        )

    async def finish_task(self, task: str, person: Person, output: Mapping[str, Any], comment: str | None) -> None:
        """Hand a task in."""
        row = await items.get_task(self._store, task)
        form, who = row["form"] or {}, _spoken(person)
        await self._say(
            row["instance"],
            lambda _plan, state, now: [by_hand.finished(state, task, who, output, form, now, comment=comment)],
        )

    async def fail_task(self, task: str, person: Person, because: str) -> None:
        """Say that a task cannot be done."""
        row, who = await items.get_task(self._store, task), _spoken(person)
        await self._say(row["instance"], lambda _plan, state, now: [by_hand.could_not(state, task, who, because, now)])

    async def operate(self, instance: str, person: Person, command: Command) -> None:
        """Carry out an operator's command."""
        _require(person, "operate")
        actor = Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))
        await self._say(instance, lambda plan, state, now: lifecycle.operate(plan, state, command, actor, now))

    async def preview(self, instance: str, person: Person, command: Command) -> Sequence[str]:
        """Return what a command would do; nothing is recorded."""
        _require(person, "operate")
        plan, before, last, _ = await self._picture(instance)
        actor = Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))
        now = max(self._clock.now(), last)
        after = before
        for draft in lifecycle.operate(plan, before, command, actor, now):
            after = lifecycle.fold(plan, after, draft)
        return sentences(plan, before, after, command)

    async def _say(self, instance: str, make: Make) -> None:
        for _ in range(LOOKS_MAX):
            plan, state, last, seq = await self._picture(instance)
            now = max(self._clock.now(), last)
            drafts = make(plan, state, now)
            try:
                await self._store.append_outside(instance, drafts, now, guards=[HeadIs(seq)])
            except ConflictError as error:
                if error.code != "stale":
                    raise
                continue
            return
        raise ConflictError("busy", f"{instance} keeps moving; try again in a moment")

    async def _picture(self, instance: str) -> tuple[Plan, InstanceState, datetime, int]:
        records = await instances.records(self._store, instance)
        plan = await self._load((await instances.get(self._store, instance))["digest"])
        state = lifecycle.initial(plan, instance)
        for record in records:
            state = lifecycle.fold(plan, state, record)
        return plan, state, records[-1].at, records[-1].seq


def sentences(plan: Plan, before: InstanceState, after: InstanceState, command: Command) -> list[str]:
    """Say what a command changes, each consequence named with its system."""
    said = []
    for name, step in plan.steps.items():
        old, new = before.steps[name].status, after.steps[name].status
        if old is not new:
            said.append(f"{step.title}: {_word(old)} becomes {_word(new)}.")
    if command.name == "cancel" and command.choice == "rollback":
        said += _undos(plan, after)
    elif command.name == "cancel":
        done = [
            plan.steps[n].title
            for n, s in after.steps.items()
            if s.status in (StepStatus.DONE, StepStatus.DONE_BY_HAND)
        ]
        said.append(f"Nothing new is started. What is done stays: {', '.join(done) or 'nothing yet'}.")
    if before.paused is not after.paused:
        said.append("No new call is made until it is resumed." if after.paused else "Calls are made again from now on.")
    return said or ["Nothing else changes."]


def _undos(plan: Plan, state: InstanceState) -> list[str]:
    said = []
    for name in plan.undo_order:
        step, plan_step = state.steps[name], plan.steps[name]
        if step.status not in (StepStatus.DONE, StepStatus.DONE_BY_HAND) or step.found:
            continue
        system = plan.systems[plan_step.system].title if plan_step.system in plan.systems else "Topstitch"
        said.append(
            f"{system}: {plan_step.undo.action.name.replace('_', ' ')} ({plan_step.title})."
            if plan_step.undo
            else f"{system}: {plan_step.title} stays, because {plan_step.no_undo or 'nothing undoes it'}."
        )
    return said or ["Nothing was done yet, so nothing has to be taken back."]


def _word(status: StepStatus) -> str:
    return str(status).replace("_", " ")


def _spoken(person: Person) -> dict[str, str]:
    """Return a person as the rules of approvals and tasks know one."""
    return {"id": person.id, **({"email": person.email} if person.email else {})}


def _require(person: Person, what: str) -> None:
    why = person.why_not(what)
    if why is not None:
        raise NotAllowedError("not-allowed", f"{person.id} may not {what} here; {why[0].lower()}{why[1:]}")
