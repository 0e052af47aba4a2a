"""The engine of one process: claims due instances and carries them on, many at a time.

It sleeps until a row falls due, the store says that something changed, or an activation
ends; it never polls a clock, so it runs the same on a simulated one. ``idle`` tells whoever
drives such a clock that there is nothing to do, and until when. A failing database stops it
cleanly: what was not committed was not sent. It decides nothing about an instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from topstitch.engine.activation import Activation
from topstitch.engine.port import FENCED, Claims, Core, Ledger
from topstitch.foundation.clock import Clock, stopwatch
from topstitch.foundation.errors import ConflictError, OperatorError, TamperError
from topstitch.foundation.ids import random_bytes

LOG: Final = logging.getLogger("topstitch.engine")
LEASE_SECONDS: Final = 30.0
ACTIVATIONS_MAX: Final = 100
DRAIN_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 15.0
"""How often it looks for due rows although nobody told it to: what a dead engine left, a notice that got lost."""
CALL_SECONDS_MAX: Final = 900.0
"""Above every timeout a definition may declare: the last bound of a call."""
LINGER_SECONDS: Final = 0.5
PASS_SECONDS_MAX: Final = 0.004
"""A pass through the event loop that takes longer says that there is more to do than can be done at once. A handoff
takes some ten passes, so what is under way is carried on before more is begun."""
CROWD_MIN: Final = 16
"""So many instances are carried on at a time however long a pass takes."""
BEGIN_MAX: Final = 8
"""How many are begun before it is seen what that does to the others."""
BEGIN_AGAIN_SECONDS: Final = 0.005
HELD_OFF_SECONDS_MAX: Final = 1.0
"""After this some are begun whatever a pass takes: those under way may be waiting for a system, and long."""
HOLD_SECONDS: Final = 0.2
"""How long what was only looked at may wait to be written together with what follows from it."""
BACKOFF_SECONDS_FIRST: Final = 5.0
BACKOFF_SECONDS_MAX: Final = 3600.0

Trouble = Callable[[str, BaseException], None]


class Embedded:
    """Carries instances on in this process."""

    def __init__(
        self,
        ledger: Ledger,
        core: Core,
        clock: Clock,
        *,
        owner: str | None = None,
        activations_max: int = ACTIVATIONS_MAX,
        lease_seconds: float = LEASE_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        hold_seconds: float = HOLD_SECONDS,
        call_seconds_max: float = CALL_SECONDS_MAX,
        pass_seconds_max: float = PASS_SECONDS_MAX,
        on_trouble: Trouble | None = None,
    ) -> None:
        self.ledger, self.core, self.clock = ledger, core, clock
        self.owner = owner or f"engine-{random_bytes(6).hex()}"
        self.activations_max = activations_max
        self.lease_seconds, self.drain_seconds = lease_seconds, drain_seconds
        self.linger_seconds, self.call_seconds_max = linger_seconds, call_seconds_max
        self.hold_seconds, self.pass_seconds_max = hold_seconds, pass_seconds_max
        self.stopping = False
        self._on_trouble = on_trouble
        self._active: dict[str, tuple[Activation, asyncio.Task[None]]] = {}
        self._alarms: list[tuple[datetime, int, Activation]] = []
        self._order = itertools.count()
        self._troubles: dict[str, int] = {}
        self._next_wake: datetime | None = None
        self._renew_at: datetime | None = None
        self._more_due = False
        self._held_off_at: float | None = None
        self._failure: OperatorError | None = None
        self._nudged = True
        self._sleeping: asyncio.Future[None] | None = None
        self._timer: tuple[datetime, asyncio.Task[None]] | None = None
        self._idle: list[asyncio.Future[datetime | None]] = []

    @property
    def active(self) -> int:
        """How many instances are being carried on now."""
        return len(self._active)

    async def wake(self, instance: str) -> None:
        """Activate an instance now."""
        await self.ledger.wake([instance], self.clock.now())

    async def wake_at(self, instance: str, when: datetime) -> None:
        """Activate an instance then."""
        await self.ledger.wake([instance], when)

    async def run(self) -> None:
        """Carry instances on until ``stop``; raise ``OperatorError`` when the database fails."""
        deaf = self.ledger.listen(self.nudge)
        try:
            await self.ledger.attend(self.owner, self.clock.now())
            while not self.stopping and self._failure is None:
                self._nudged = False
                await self._look()
                await self._sleep()
        except OperatorError as error:
            self._fail(error)
        finally:
            deaf()
            await self._drain()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Start nothing new; ``run`` returns once what is under way has landed, or its bound is over."""
        self.stopping = True
        self.nudge()

    async def idle(self) -> datetime | None:
        """Return once there is nothing to do before a time: that time, or nothing when only others can change that.

        Calls under way count as something to do.
        """
        if self._is_idle():
            return self._soonest()
        waiter: asyncio.Future[datetime | None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        return await waiter

    def nudge(self) -> None:
        """Look for due rows soon."""
        self._nudged = True
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)

    # --- what activations call ----------------------------------------------------------------

    def alarm(self, at: datetime, activation: Activation) -> None:
        """Knock at an activation at a time, should it still be there."""
        if activation.alarm_at == at:
            return
        activation.alarm_at = at
        soonest = self._soonest()
        heapq.heappush(self._alarms, (at, next(self._order), activation))
        if soonest is None or at < soonest:
            self._rearm()

    def settled(self) -> None:
        """An activation has become dormant."""
        self._tell_idle()

    # --- looking ------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Claim what is due, hand on knocks, ring alarms, keep leases."""
        now = self.clock.now()
        room = await self._room()
        claims = await self.ledger.claim(self.owner, now, self.lease_seconds, room)
        self._next_wake = claims.next_wake
        self._more_due = len(claims.due) >= room
        self._begin(claims)
        await self._give_up([name for name in claims.knocked if name not in self._active], now)
        if self._held_off_at is not None:
            asyncio.get_running_loop().call_later(BEGIN_AGAIN_SECONDS, self.nudge)
        elif self._more_due and len(self._active) < self.activations_max:
            self.nudge()
        self._ring(now)
        if self._renew_at is not None and now >= self._renew_at:
            await self._renew(now)

    async def _room(self) -> int:
        """Return how many may be begun now: none while the loop has enough to do with those under way."""
        room = min(self.activations_max - len(self._active), BEGIN_MAX)
        if room > 0 and len(self._active) >= CROWD_MIN:
            began = stopwatch()
            await asyncio.sleep(0)
            ended = stopwatch()
            if ended - began > self.pass_seconds_max:
                self._held_off_at = self._held_off_at or began
                if ended - self._held_off_at < HELD_OFF_SECONDS_MAX:
                    return 0
        self._held_off_at = None
        return room

    def _begin(self, claims: Claims) -> None:
        for due in claims.due:
            activation = Activation(self, due)
            leaving = self._active.get(activation.instance)
            task = asyncio.create_task(self._carry_on(activation, leaving[1] if leaving else None))
            self._active[activation.instance] = (activation, task)
        for instance in claims.knocked:
            if instance in self._active:
                self._active[instance][0].knock(look=True)
        for instance, why in claims.broken.items():
            self._trouble(instance, TamperError("chain-broken", why))
        if self._active and self._renew_at is None:
            self._renew_at = self.clock.now() + timedelta(seconds=self.lease_seconds / 3)

    async def _give_up(self, left: Sequence[str], now: datetime) -> None:
        """Give back what is still ours by lease and carried on by nobody, so that it is begun again.

        So it is after we were held up past our leases: activations ended in case somebody had taken over, and
        nobody has. A lease of our own never runs out for ourselves.
        """
        if left:
            LOG.warning("held up past the leases of %s; they are begun again", ", ".join(left))
            await self.ledger.free(self.owner, left, now)

    def _ring(self, now: datetime) -> None:
        while self._alarms and self._alarms[0][0] <= now:
            _, _, activation = heapq.heappop(self._alarms)
            if self._is_active(activation):
                activation.alarm_at = None
                activation.knock(look=False)

    async def _renew(self, now: datetime) -> None:
        self._renew_at = now + timedelta(seconds=self.lease_seconds / 3) if self._active else None
        held = [activation for activation, _ in self._active.values()]
        for activation in held:
            activation.cut_endless()
        lost = await self.ledger.renew([activation.lease for activation in held], now, self.lease_seconds)
        for activation in held:
            if activation.instance in lost:
                activation.lose()

    # --- activations --------------------------------------------------------------------------

    async def _carry_on(self, activation: Activation, leaving: asyncio.Task[None] | None) -> None:
        """Carry an instance on; first let whoever has just given it back here hear that this is written."""
        try:
            if leaving is not None:
                await leaving
            await activation.carry_on()
            self._troubles.pop(activation.instance, None)
        except OperatorError as error:
            self._fail(error)
        except asyncio.CancelledError:
            await self._give_back(activation, 0.0)
            raise
        except ConflictError as error:
            if error.code != FENCED:
                await self._set_aside(activation, error)
        except Exception as error:  # noqa: BLE001 -- one instance's defect must not stop the others
            await self._set_aside(activation, error)
        finally:
            self._over(activation)

    def _over(self, activation: Activation) -> None:
        if self._is_active(activation):  # and not somebody after it
            del self._active[activation.instance]
        until = activation.parked_until
        if until is not None and (self._next_wake is None or until < self._next_wake):
            self._next_wake = until
            self._rearm()
        if not self._active:
            self._renew_at = None
        if self._more_due or activation.lost:  # a lease that ran out may still be ours
            self.nudge()
        self._tell_idle()

    async def _set_aside(self, activation: Activation, error: BaseException) -> None:
        """Give an instance that cannot be carried on back for a while, longer each time."""
        count = self._troubles.get(activation.instance, 0)
        self._troubles[activation.instance] = count + 1
        self._trouble(activation.instance, error)
        await self._give_back(activation, min(BACKOFF_SECONDS_FIRST * 2.0 ** min(count, 20), BACKOFF_SECONDS_MAX))

    async def _give_back(self, activation: Activation, seconds: float) -> None:
        if self._failure is not None:
            return  # the lease runs out by itself
        try:
            until = self.clock.now() + timedelta(seconds=seconds)
            await self.ledger.release(activation.lease, until)
            activation.parked_until = until
        except OperatorError as error:
            self._fail(error)

    def _trouble(self, instance: str, error: BaseException) -> None:
        LOG.error("%s cannot be carried on: %s", instance, error, exc_info=error)
        if self._on_trouble is not None:
            self._on_trouble(instance, error)

    def _fail(self, error: OperatorError) -> None:
        """The database has failed: nothing that is not committed may be sent, so everything stops."""
        if self._failure is None:
            self._failure = error
        self.nudge()

    # --- sleeping -----------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Sleep until a nudge, an alarm or the next due row; tell whoever waits for idleness."""
        if self._nudged or self.stopping or self._failure is not None:
            return
        loop = asyncio.get_running_loop()
        self._sleeping = loop.create_future()
        self._rearm()
        look = loop.call_later(LOOK_SECONDS, self.nudge)
        self._tell_idle()
        try:
            await self._sleeping
        finally:
            look.cancel()
            self._sleeping = None

    def _rearm(self) -> None:
        """Have the clock wake us at the soonest time that matters."""
        soonest = self._soonest()
        if self._timer is not None:
            at, task = self._timer
            if at == soonest and not task.done():
                return
            task.cancel()
            self._timer = None
        if soonest is not None:
            self._timer = (soonest, asyncio.create_task(self._ring_at(soonest)))

    async def _ring_at(self, when: datetime) -> None:
        await self.clock.sleep_until(when)
        self.nudge()

    def _soonest(self) -> datetime | None:
        while self._alarms and not self._is_active(self._alarms[0][2]):
            heapq.heappop(self._alarms)
        times = [self._next_wake, self._renew_at, self._alarms[0][0] if self._alarms else None]
        return min((each for each in times if each is not None), default=None)

    def _is_active(self, activation: Activation) -> bool:
        held = self._active.get(activation.instance)
        return held is not None and held[0] is activation

    def _is_idle(self) -> bool:
        if self._nudged or self._held_off_at is not None or self._sleeping is None or self._sleeping.done():
            return False
        return all(activation.dormant for activation, _ in self._active.values())

    def _tell_idle(self) -> None:
        if self._idle and self._is_idle():
            soonest = self._soonest()
            waiting, self._idle = self._idle, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(soonest)

    # --- stopping -----------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Let what is under way land within the bound, then cut the rest off; the next start looks it up."""
        self.stopping = True
        tasks = [task for _, task in self._active.values()]
        if self._failure is None:
            for activation, _ in list(self._active.values()):
                activation.knock(look=False)
            await self._land(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer[1].cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer[1]
        for waiter in self._idle:
            waiter.cancel()

    async def _land(self, tasks: list[asyncio.Task[None]]) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=self.drain_seconds)
