"""Decides what an engine is, and what it is handed.

``bootstrap`` implements ``Core`` on top of ``lifecycle`` and the connectors, and passes a
``topstitch.store.Store`` as the ``Ledger``. Plans, states and summaries are opaque here:
an engine carries them from one function to the next and looks into none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from topstitch.model.orders import Call, Orders, Outcome
from topstitch.model.record import Draft, Record

Plan = Any
State = Any
Summary = Any

FENCED: Final = "instance-fenced"
"""Code of the ``ConflictError`` by which a ledger says that another engine has taken an instance over."""
BEHIND: Final = "instance-moved-on"
"""Code of the one that says somebody else appended first; the new records stand in ``detail["records"]``."""


class Engine(Protocol):
    """What carries instances on, in one process or in many."""

    async def wake(self, instance: str) -> None:
        """Activate an instance now; exactly one activation of it at a time."""

    async def wake_at(self, instance: str, when: datetime) -> None:
        """Activate it then."""

    async def run(self) -> None:
        """Carry instances on until stopped; raises ``OperatorError`` when the database fails."""

    def stop(self) -> None:
        """Start nothing new, let what is under way land, give every lease back."""


class Core(Protocol):
    """The pure rules of an instance, and the hands that make its calls."""

    async def load(self, digest: str) -> Plan:
        """Return the plan of a published definition. Asked for at every activation: keep it."""
        ...

    def initial(self, plan: Plan, instance: str) -> State:
        """Return the state before the first record."""
        ...

    def fold(self, plan: Plan, state: State, entry: Draft | Record) -> State:
        """Return the state after one record, or after a draft that is about to become one."""
        ...

    def recover(self, plan: Plan, state: State, now: datetime) -> Sequence[Draft]:
        """Return what a new activation must record of calls whose answer the last one did not live to see."""
        ...

    def decide(self, plan: Plan, state: State, now: datetime) -> Orders:
        """Return all that is to be recorded now, then the calls to make, else when to come back.

        Open calls may be ordered again and again. ``Orders.state`` is the state after its
        records, when the caller need not fold them.
        """
        ...

    def settle(self, plan: Plan, state: State, call: Call, outcome: Outcome, now: datetime) -> Sequence[Draft]:
        """Return the records of what came back for a call."""
        ...

    def summarise(self, plan: Plan, state: State) -> Summary:
        """Return what the instance list shows; equal values are not written again."""
        ...

    async def perform(self, plan: Plan, instance: str, call: Call) -> Outcome:
        """Make a call. Every call has a timeout and ends in an outcome, never in an exception."""
        ...


class Lease(Protocol):
    """The right to append to one instance."""

    @property
    def instance(self) -> str:
        """Whose chain it is."""
        ...

    @property
    def digest(self) -> str:
        """The definition it is carried out by."""
        ...

    @property
    def until(self) -> datetime:
        """When it runs out unless it is renewed."""
        ...


class Due(Protocol):
    """One claimed instance."""

    @property
    def lease(self) -> Any:
        """The right to append to it."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """Its journal so far."""
        ...


class Claims(Protocol):
    """What a claim brought."""

    @property
    def due(self) -> Sequence[Due]:
        """Instances that are now this owner's."""
        ...

    @property
    def knocked(self) -> Sequence[str]:
        """This owner's instances to which somebody else has appended."""
        ...

    @property
    def broken(self) -> Mapping[str, str]:
        """Instances whose journal does not verify, and why: not carried on."""
        ...

    @property
    def next_wake(self) -> datetime | None:
        """When the next one falls due."""
        ...


class Ledger(Protocol):
    """What an engine asks of the store; each method returns once it is durable."""

    async def attend(self, owner: str, now: datetime) -> int:
        """Say that an engine is here, and free the leases of those that have died."""
        ...

    async def claim(self, owner: str, now: datetime, lease_seconds: float, limit: int) -> Claims:
        """Take due instances."""
        ...

    async def append(
        self,
        lease: Any,
        drafts: Sequence[Draft] = (),
        *,
        summary: Summary = None,
        park: bool = False,
        wake_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Append behind the lease's head; with ``park`` or ``ended_at``, give the lease back in the same commit."""

    async def catch_up(self, lease: Any) -> Sequence[Record]:
        """Return what others have appended since."""
        ...

    async def renew(self, leases: Sequence[Any], now: datetime, lease_seconds: float) -> Sequence[str]:
        """Keep leases; return the instances that are lost."""
        ...

    async def release(self, lease: Any, wake_at: datetime | None) -> None:
        """Give a lease back without a record."""

    async def free(self, owner: str, instances: Sequence[str], at: datetime) -> None:
        """Give leases of ``owner`` back by name; the instances are due at a time."""

    async def wake(self, instances: Sequence[str], at: datetime) -> int:
        """Make instances due."""
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` in this event loop when something may have fallen due; return what ends it."""
        ...
