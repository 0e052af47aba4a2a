"""Looks at an instance as it stands, and appends what a person says, judged by the state it is appended to.

Every door makes one ``Desk``. What is said is appended behind the head that was looked at; when
somebody was quicker, it is looked at again. What judges and reads is loaded by whoever judges or reads:
a command that only lists does without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.governance.access import Identity, require
from topstitch.model.record import Actor, Draft, Record
from topstitch.store import HeadIs, Store

if TYPE_CHECKING:
    from datetime import datetime

    from topstitch.execution.operate import Command
    from topstitch.foundation.clock import Clock
    from topstitch.model.state import InstanceState
    from topstitch.plan.plan import Plan

LOOKS_MAX: Final = 20
"""How often somebody may be quicker than one answer."""
Load = Callable[[str], Awaitable["Plan"]]
"""A plan by its definition's digest."""
Make = Callable[["InstanceState", "datetime"], Draft | Sequence[Draft]]
Spoken = str | Mapping[str, Any]
"""Who speaks: an id, or a person with id and address."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it stands."""

    plan: Plan
    state: InstanceState
    records: Sequence[Record]


class Desk:
    """The instances of one store, as people speak to them."""

    def __init__(self, store: Store, load: Load, clock: Clock) -> None:
        self.store, self._load, self._clock = store, load, clock

    def now(self) -> datetime:
        """Return the time here."""
        return self._clock.now()

    async def named(self, beginning: str) -> str:
        """Return the one instance whose id begins so."""
        from topstitch.store import instances  # noqa: PLC0415

        found = await instances.find(self.store, beginning, limit=2) if beginning else []
        if not found:
            message = f"there is no instance {beginning!r}; topstitch instances lists them"
            raise NotFoundError("no-instance", message)
        if len(found) > 1 and beginning not in found:
            message = f"more than one instance begins with {beginning!r}; type more of it"
            raise NotFoundError("id-unclear", message, detail={"found": found})
        return beginning if beginning in found else found[0]

    async def picture(self, instance: str) -> Picture:
        """Return an instance with its journal folded."""
        from topstitch import lifecycle  # noqa: PLC0415
        from topstitch.store import instances  # noqa: PLC0415

        records = await instances.records(self.store, instance)
        plan = await self._load((await instances.get(self.store, instance))["digest"])
        state = lifecycle.initial(plan, instance)
        for record in records:
            state = lifecycle.fold(plan, state, record)
        return Picture(plan=plan, state=state, records=records)

    async def say(
        self, instance: str, make: Make, *, said: Callable[[Record], bool] = lambda _record: False
    ) -> Sequence[Record]:
        """Append what a person says to an instance, judged by the state it is appended to.

        What was ``said`` already is returned as it stands, and not said twice.
        """
        for _ in range(LOOKS_MAX):
            seen = await self.picture(instance)
            if before := [record for record in seen.records if said(record)]:
                return before
            made = make(seen.state, max(self.now(), seen.records[-1].at))
            drafts = [made] if isinstance(made, Draft) else list(made)
            try:
                return await self.store.append_outside(
                    instance, drafts, drafts[0].at, guards=[HeadIs(seen.records[-1].seq)]
                )
            except ConflictError as error:
                if error.code != "stale":
                    raise
        raise ConflictError("busy", f"{instance} keeps moving; try again in a moment")

    async def operate(self, instance: str, command: Command, actor: Actor) -> Record:
        """Record an operator's command; return its record."""
        from topstitch import lifecycle  # noqa: PLC0415

        plan = (await self.picture(instance)).plan
        records = await self.say(instance, lambda state, now: lifecycle.operate(plan, state, command, actor, now))
        return records[0]

    async def answer(
        self, approval: str, who: Identity, said: str, *, comment: str | None, digest: str | None, via: str
    ) -> Record:
        """Record a person's answer to an approval.

        Every door comes here, and here it is judged, at the moment of the answer: whether they may decide for
        this workflow at all, and (``approvals``) whether this decision is theirs.
        """
        from topstitch.governance import approvals  # noqa: PLC0415
        from topstitch.office.standing import delegations_of  # noqa: PLC0415
        from topstitch.store import instances, items  # noqa: PLC0415

        row = await items.get_approval(self.store, approval)
        require(who, "approvals.decide", (await instances.get(self.store, row["instance"]))["workflow"])
        speaker = {"id": who.id, **({"email": who.email} if who.email else {})}
        grants = await delegations_of(self.store)
        records = await self.say(
            row["instance"],
            lambda state, now: approvals.answer(
                state, approval, speaker, said, now, comment=comment, payload_digest=digest, via=via, delegations=grants
            ),
        )
        return records[-1]

    async def finish_task(self, task: str, who: Spoken, output: Mapping[str, Any], comment: str | None) -> Record:
        """Record that a task is handed in."""
        from topstitch.governance import by_hand  # noqa: PLC0415
        from topstitch.store import items  # noqa: PLC0415

        row = await items.get_task(self.store, task)
        form = row["form"] or {}
        records = await self.say(
            row["instance"], lambda state, now: by_hand.finished(state, task, who, output, form, now, comment=comment)
        )
        return records[-1]

    async def fail_task(self, task: str, who: Spoken, because: str) -> Record:
        """Record that a task cannot be done."""
        from topstitch.governance import by_hand  # noqa: PLC0415
        from topstitch.store import items  # noqa: PLC0415

        row = await items.get_task(self.store, task)
        records = await self.say(row["instance"], lambda state, now: by_hand.could_not(state, task, who, because, now))
        return records[-1]
