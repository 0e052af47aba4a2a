"""Decides which calls are held back: those over a paused connection, and those that would cross a paused seam.

``Calls`` asks before it makes a call and tells when a system refuses the connection itself: that makes one
case, pauses the connection, and the call counts as held, not as failed. What holds is looked up at most
once a second, so a pause from another process takes effect within one; that a pause is over is seen at once.

Only an instance's work is held: reads, look-ups, writes. Who is asked is looked up and notices go out all the
same, for a pause must not keep people from hearing of what waits for them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from topstitch.attempts.machine import HELD_SECONDS, problem_body
from topstitch.foundation.clock import Clock
from topstitch.model.orders import Call, LookUpCall, Outcome, Problem, ReadCall, Result, TellCall, WriteCall
from topstitch.model.record import ENGINE
from topstitch.plan.plan import Plan
from topstitch.store import Store, pauses

LOG: Final = logging.getLogger("topstitch.connections")
LOOK_SECONDS: Final = 1.0
Told = Callable[[str, TellCall], Awaitable[Outcome]]
"""Sends a notice on an instance's behalf."""


class Holding:
    """What is paused in one installation, as it was when last looked at."""

    def __init__(self, store: Store, clock: Clock, told: Told) -> None:
        self._store, self._clock, self._told = store, clock, told
        self._paused: dict[str, pauses.Pause] = {}
        self._look_at: datetime | None = None

    async def held(self, plan: Plan, call: Call) -> Outcome | None:
        """Return the outcome of a call that must not be made now; nothing when it may be made."""
        if not isinstance(call, ReadCall | LookUpCall | WriteCall):
            return None
        await self._look()
        if not self._paused:
            return None
        paused = self._over(plan, call)
        if paused is not None:
            self._look_at = None
            await self._look()
            paused = self._over(plan, call)
        if paused is None:
            return None
        message = f"{paused.name} is paused ({paused.reason}); it goes on when somebody resumes it"
        problem = Problem(code="paused", message=message, retry_after_seconds=HELD_SECONDS)
        return Outcome(result=Result.HELD, problem=problem)

    async def judged(self, plan: Plan, instance: str, call: Call, outcome: Outcome) -> Outcome:
        """Return an outcome as it counts: a refused connection is paused, its owner told, and the call was held."""
        if outcome.result is not Result.CREDENTIAL or not isinstance(call, ReadCall | LookUpCall | WriteCall):
            return outcome
        said = outcome.problem or Problem(code="credential", message="the connection was refused")
        opened = await pauses.pause(
            self._store,
            pauses.connection(call.system),
            ENGINE,
            self._clock.now(),
            reason=said.message,
            cause=pauses.CREDENTIAL,
            problem=problem_body(said),
            instance=instance,
            owner=f"group:{plan.owner['team']}" if plan.owner.get("team") else None,
        )
        if opened is not None:
            await self._tell(opened, plan)
        self._look_at = None
        LOG.error("connection %s is paused: %s", call.system, said.message)
        return replace(outcome, result=Result.HELD, problem=replace(said, retry_after_seconds=float(HELD_SECONDS)))

    def _over(self, plan: Plan, call: ReadCall | LookUpCall | WriteCall) -> pauses.Pause | None:
        """Return the pause that a call would go over, as far as is known."""
        return next((self._paused[s] for s in _subjects(plan, call) if s in self._paused), None)

    async def _tell(self, opened: pauses.Pause, plan: Plan) -> None:
        """Tell the owner of the workflow that met it, once: a notice that does not go out holds up nothing."""
        title = f"Connection {opened.name} is paused: {opened.reason}"
        text = (
            f"{title}. What goes over it waits; nothing fails because of it.\n"
            f"Mend it, then: topstitch connections resume {opened.name} -m <why>"
        )
        call = TellCall(
            key=f"tell/{opened.id}/opened",
            who=("owner",),
            subject=None,
            requester=None,
            owner=plan.owner,
            notice={"kind": "case", "title": title, "text": text, "about": opened.id},
        )
        outcome = await self._told(str(opened.instance), call)
        if outcome.result is not Result.OK:
            said = outcome.problem.message if outcome.problem else str(outcome.result)
            LOG.warning("the owner of %s could not be told that %s is paused: %s", plan.workflow, opened.name, said)

    async def _look(self) -> None:
        now = self._clock.now()
        if self._look_at is not None and now < self._look_at:
            return
        self._look_at = now + timedelta(seconds=LOOK_SECONDS)
        self._paused = {paused.subject: paused for paused in await pauses.open_pauses(self._store)}


def _subjects(plan: Plan, call: ReadCall | LookUpCall | WriteCall) -> Iterator[str]:
    """Name what a call goes over: its connection; and its seam, when it is the crossing itself."""
    yield pauses.connection(call.system)
    if "/send/" not in call.key or "/undo" in call.key:
        return
    step = plan.steps.get(_step_of(call.key))
    if step is None:
        return
    before = [plan.steps[name].system for name in step.needs] or [plan.trigger.system]
    for alias in dict.fromkeys(before):
        yield pauses.seam(plan.connector_of(alias), plan.connector_of(call.system))


def _step_of(key: str) -> str:
    act: Any = key.partition("/")[0]
    return str(act.partition("[")[0])
