"""Decides one activation: fold, decide, append, perform, until the instance has to wait.

An ``Activation`` holds one leased instance. Each turn settles what has come back, asks
``decide`` once, appends all of it in one commit, and only then makes the calls that were
ordered: an outcome and the intent that follows from it share a commit, and nothing is sent
that is not in the journal. Calls that only look need not wait for it: a turn that orders no
others keeps its records for the next append, not for longer than ``hold_seconds``; lost with
the process, they are found out anew. When somebody else has appended first it goes back to
what is written, folds what is new and decides again; outcomes not yet written are settled
anew. It makes no two calls of one key at a time, and none after its lease is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from topstitch.engine.port import BEHIND, Core, Due, Ledger, State
from topstitch.foundation.clock import Clock, stopwatch
from topstitch.foundation.deadlines import deadlines
from topstitch.foundation.errors import ConflictError
from topstitch.model.orders import (
    Call,
    InboxCall,
    LookUpCall,
    Orders,
    Outcome,
    Problem,
    ReadCall,
    ResolveCall,
    Result,
    WriteCall,
)
from topstitch.model.record import Draft, Record

LOG: Final = logging.getLogger("topstitch.engine")
REST_SECONDS_MIN: Final = 1.0
"""An activation that found nothing to do although it was due is not due again before this."""
ALARM_SECONDS_MIN: Final = 0.02
"""A time that has passed while calls are under way does not ring again before this."""
LOOKS: Final = (ReadCall, LookUpCall, ResolveCall, InboxCall)
"""Calls that leave nothing behind: they need not wait for the commit of what ordered them."""
LEASE_MARGIN: Final = timedelta(seconds=1)
"""A call that changes something does not leave with less than this left of the lease: an engine that was held up
past it may have been taken over, and its successor finds out from the intent what became of the call."""
BEHIND_MAX: Final = 1000
"""How often one append may find others ahead of it; never reached."""


class Host(Protocol):
    """The engine that an activation belongs to."""

    core: Core
    ledger: Ledger
    clock: Clock
    stopping: bool
    call_seconds_max: float
    linger_seconds: float
    hold_seconds: float

    def alarm(self, at: datetime, activation: Activation) -> None:
        """Call ``activation.knock(look=False)`` at a time."""

    def settled(self) -> None:
        """An activation has become dormant: perhaps there is nothing to do."""


class Activation:
    """One leased instance being carried on."""

    def __init__(self, host: Host, due: Due) -> None:
        self._host = host
        self._core, self._ledger, self._clock = host.core, host.ledger, host.clock
        self.lease = due.lease
        self.instance: str = due.lease.instance
        self._journal = due.records
        self._plan: Any = None
        self._state: State = None
        self._written: State = None
        """The state that the journal holds; ``_state`` is ahead of it by what is kept."""
        self._landed: list[tuple[Call, Outcome]] = []
        self._kept: list[Draft] = []
        self._kept_landed: list[tuple[Call, Outcome]] = []
        self._kept_timer: int | None = None
        self._kept_long = False
        self._flying: dict[str, asyncio.Task[None]] = {}
        self._opened: dict[str, float] = {}
        """When each call was made whose outcome is not in the journal yet."""
        self._endless: set[str] = set()
        self._wake: asyncio.Future[None] | None = None
        self._look = False
        self._roused = False
        self._recovered = False
        self._worked = False
        self.lost = False
        self.dormant = False
        """Waiting for a time or a knock, with no call under way."""
        self.parked_until: datetime | None = None
        self.alarm_at: datetime | None = None
        """What the engine's alarm is set to, for the engine."""

    # --- what the engine calls ----------------------------------------------------------------

    async def carry_on(self) -> None:
        """Carry the instance on until it waits or has ended."""
        self._plan = await self._core.load(self.lease.digest)
        self._state = self._core.initial(self._plan, self.instance)
        self._written = self._state
        self._go_back(self._journal)
        self._journal = ()
        try:
            while not await self._turn():
                await self._wait()
                if self._look and not self.lost:
                    self._look = False
                    self._go_back(await self._ledger.catch_up(self.lease))
        finally:
            self._let_go()
            for task in self._flying.values():
                task.cancel()

    def knock(self, *, look: bool) -> None:
        """Take another turn soon; ``look`` when somebody else has appended."""
        self._look |= look
        self._rouse()

    def lose(self) -> None:
        """The lease is another engine's now: make no further call, write nothing."""
        self.lost = True
        self._rouse()

    def cut_endless(self) -> None:
        """End calls that have outlived every timeout; what they did is not known."""
        for key, task in self._flying.items():
            if stopwatch() - self._opened[key] > self._host.call_seconds_max:
                self._endless.add(key)
                task.cancel()

    # --- one turn -----------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """Settle, decide, append, start the calls; return whether the activation is over."""
        for _ in range(BEHIND_MAX):
            if self.lost:
                return True
            now = self._clock.now()
            landed = self._landed[:]
            state, drafts = self._settle(landed, now)
            orders = self._orders(state, now)
            drafts += orders.records
            state = self._after(state, orders)
            calls = self._unopened(orders.calls, landed)
            vain = _in_vain(calls, landed) if calls and not drafts else set()
            if vain:
                calls = [call for call in calls if call.key not in vain]
                self._host.alarm(now + timedelta(seconds=REST_SECONDS_MIN), self)
            resting = not calls and not self._flying and not vain
            self._start([call for call in calls if isinstance(call, LOOKS)])
            if self._may_keep(calls, landed, orders, resting=resting):
                self._keep(drafts, state, landed)
                self._set_alarm(orders.wake_at, now)
                return False
            over = await self._append([*self._kept, *drafts], state, orders, now, resting=resting)
            if over is not None:
                break
        else:
            raise AssertionError(f"{self.instance} found others ahead of it {BEHIND_MAX} times in a row")
        self._state = self._written = state
        self._recovered = True
        self._let_go()
        self._close(landed)
        self._worked |= bool(drafts or calls)
        if not over:
            self._start([call for call in calls if not isinstance(call, LOOKS)])
            self._set_alarm(orders.wake_at, now)
        return over

    # --- what is kept for the next append -------------------------------------------------------

    def _may_keep(
        self, calls: Sequence[Call], landed: Sequence[tuple[Call, Outcome]], orders: Orders, *, resting: bool
    ) -> bool:
        """Whether this turn's records can wait: it only looks, and what it learnt could be learnt again."""
        host = self._host
        if host.hold_seconds <= 0 or host.stopping or self._kept_long or not self._recovered or orders.ended or resting:
            return False
        if not all(isinstance(call, LOOKS) for call in calls):
            return False
        return all(isinstance(call, LOOKS) or (isinstance(call, WriteCall) and call.provable) for call, _ in landed)

    def _keep(self, drafts: Sequence[Draft], state: State, landed: Sequence[tuple[Call, Outcome]]) -> None:
        self._kept += drafts
        self._kept_landed += landed
        self._state = state
        self._close(landed)
        self._worked |= bool(drafts)
        if self._kept and self._kept_timer is None:
            self._kept_timer = deadlines().set(self._host.hold_seconds, self._write_soon)

    def _write_soon(self) -> None:
        self._kept_long = True
        self._rouse()

    def _let_go(self) -> None:
        """Nothing is kept any longer: it was written, or must be worked out anew."""
        self._kept, self._kept_landed, self._kept_long = [], [], False
        if self._kept_timer is not None:
            deadlines().drop(self._kept_timer)
            self._kept_timer = None

    def _go_back(self, records: Sequence[Record]) -> None:
        """Others have appended: back to what is written, theirs on top; what had landed since is settled anew."""
        if not records:
            return
        self._landed[:0] = self._kept_landed
        self._let_go()
        fold, plan, state = self._core.fold, self._plan, self._written
        for record in records:
            state = fold(plan, state, record)
        self._state = self._written = state

    # --- what a turn is made of -----------------------------------------------------------------

    def _unopened(self, calls: Sequence[Call], landed: Sequence[tuple[Call, Outcome]]) -> list[Call]:
        """Return the ordered calls that are neither under way nor landed since this turn began."""
        if not calls:
            return []
        again = {call.key for call, _ in landed}
        return [
            call
            for call in calls
            if call.key not in self._flying and (call.key not in self._opened or call.key in again)
        ]

    def _start(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._opened[call.key] = stopwatch()
            self._flying[call.key] = asyncio.create_task(self._perform(call))

    def _close(self, landed: Sequence[tuple[Call, Outcome]]) -> None:
        """What had landed is in the journal now."""
        del self._landed[: len(landed)]
        for call, _ in landed:
            if call.key not in self._flying:
                self._opened.pop(call.key, None)

    def _set_alarm(self, wake_at: datetime | None, now: datetime) -> None:
        if wake_at is not None:
            self._host.alarm(max(wake_at, now + timedelta(seconds=ALARM_SECONDS_MIN)), self)

    def _settle(self, landed: Sequence[tuple[Call, Outcome]], now: datetime) -> tuple[State, list[Draft]]:
        """Fold in what has come back, and once what a former activation left open."""
        plan, core, state = self._plan, self._core, self._state
        drafts: list[Draft] = []
        if not self._recovered:
            drafts += core.recover(plan, state, now)
            for draft in drafts:
                state = core.fold(plan, state, draft)
        for call, outcome in landed:
            records = core.settle(plan, state, call, outcome, now)
            for draft in records:
                state = core.fold(plan, state, draft)
            drafts += records
        return state, drafts

    def _orders(self, state: State, now: datetime) -> Orders:
        """Ask the core, unless the engine is stopping: then what has landed is written, and no more begun."""
        if self._host.stopping:
            return Orders(wake_at=now)
        return self._core.decide(self._plan, state, now)

    def _after(self, state: State, orders: Orders) -> State:
        if orders.state is not None:
            return orders.state
        for draft in orders.records:
            state = self._core.fold(self._plan, state, draft)
        return state

    async def _append(
        self, drafts: Sequence[Draft], state: State, orders: Orders, now: datetime, *, resting: bool
    ) -> bool | None:
        """Append a turn; return whether it was the last; nothing when others were ahead: decide anew."""
        if not drafts and not resting and all(isinstance(call, LOOKS) for call in orders.calls):
            return False  # nothing to write, and nothing to send that would have to be written first
        ended = orders.ended and resting
        park = resting and not ended and not self._lingers(orders, now)
        wake_at = self._wake_at(orders, drafts, now) if park else None
        summary = self._core.summarise(self._plan, state) if drafts or ended or park else None
        try:
            await self._ledger.append(
                self.lease, drafts, summary=summary, park=park, wake_at=wake_at, ended_at=now if ended else None
            )
        except ConflictError as error:
            if error.code != BEHIND:
                raise
            self._go_back(error.detail["records"])
            return None
        self.parked_until = wake_at
        return ended or park

    def _lingers(self, orders: Orders, now: datetime) -> bool:
        """Whether the wait is so short that the lease is kept through it."""
        if orders.wake_at is None or self._host.stopping:
            return False
        return now < orders.wake_at <= now + timedelta(seconds=self._host.linger_seconds)

    def _wake_at(self, orders: Orders, drafts: Sequence[Draft], now: datetime) -> datetime | None:
        if orders.wake_at is None or orders.wake_at > now or drafts or self._worked or self._host.stopping:
            return orders.wake_at
        LOG.warning("%s was due and found nothing to do; it rests for a moment", self.instance)
        return now + timedelta(seconds=REST_SECONDS_MIN)

    # --- calls and waiting --------------------------------------------------------------------

    async def _perform(self, call: Call) -> None:
        if not isinstance(call, LOOKS) and self._clock.now() >= self.lease.until - LEASE_MARGIN:
            del self._flying[call.key]
            self.lose()
            return
        try:
            outcome = await self._core.perform(self._plan, self.instance, call)
        except asyncio.CancelledError:
            if call.key not in self._endless:
                raise
            self._endless.discard(call.key)
            outcome = _no_answer(
                call,
                "call-endless",
                f"no answer after {self._host.call_seconds_max:.0f} seconds; see why its own timeout did not end it",
            )
        except Exception as error:
            LOG.exception("a call of %s raised instead of answering: %s", self.instance, call.key)
            outcome = _no_answer(
                call,
                "call-defect",
                f"the call failed inside Topstitch ({type(error).__name__}); see the log and report it",
            )
        self._landed.append((call, outcome))
        del self._flying[call.key]
        self._rouse()

    async def _wait(self) -> None:
        """Sleep until something lands, somebody knocks, or an alarm rings."""
        if not self._roused and not self._landed:
            self._wake = asyncio.get_running_loop().create_future()
            self.dormant = not self._flying
            if self.dormant:
                self._host.settled()
            try:
                await self._wake
            finally:
                self._wake, self.dormant = None, False
        self._roused = False

    def _rouse(self) -> None:
        self._roused = True
        self.dormant = False
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _in_vain(calls: Sequence[Call], landed: Sequence[tuple[Call, Outcome]]) -> set[str]:
    """Return the calls that are ordered again although their answer left no record: made at once, they would spin."""
    again = {call.key for call, _ in landed}
    return {call.key for call in calls if call.key in again}


def _no_answer(call: Call, code: str, message: str) -> Outcome:
    """Return the outcome of a call that came to nothing here: not known, unless it only looked."""
    return Outcome(
        result=Result.TRANSIENT if isinstance(call, LOOKS) else Result.UNKNOWN,
        problem=Problem(code=code, message=message),
    )
