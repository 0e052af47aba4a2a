"""What the console is handed: the store, time, plans, and whoever carries commands out.

``bootstrap`` fills it in. ``view`` and ``teller`` are the doors' own way of telling an instance,
so that console and command line say the same. Every field that may be absent says what is
missing from the console without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from topstitch.access.service import Access
from topstitch.connectors.connections import Connections
from topstitch.console.people import Identify, Person
from topstitch.execution.operate import Command
from topstitch.foundation.clock import Clock
from topstitch.governance.bundle import Bundle
from topstitch.governance.policy import Law
from topstitch.model.action import Contracts
from topstitch.model.orders import Outcome
from topstitch.model.record import Record
from topstitch.model.state import InstanceState
from topstitch.office.codes import Codes
from topstitch.plan.plan import Plan
from topstitch.store import Store

View = Callable[[Plan, InstanceState, Sequence[Record], datetime], dict[str, Any]]
Teller = Callable[[Plan], Callable[[Record], str | None]]


class Commands(Protocol):
    """Carries out what a person says; raises a ``TopstitchError`` that says why not."""

    async def answer(
        self, approval: str, person: Person, said: str, *, comment: str | None, digest: str | None, via: str
    ) -> None:
        """Answer an approval."""
        ...

    async def finish_task(self, task: str, person: Person, output: Mapping[str, Any], comment: str | None) -> None:
        """Hand a task in."""
        ...

    async def fail_task(self, task: str, person: Person, because: str) -> None:
        """Say that a task cannot be done."""
        ...

    async def operate(self, instance: str, person: Person, command: Command) -> None:
        """Carry out an operator's command on an instance."""
        ...

    async def preview(self, instance: str, person: Person, command: Command) -> Sequence[str]:
        """Return what a command would do, in sentences; raise when it cannot be carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Everything a page may touch."""

    store: Store
    clock: Clock
    load: Callable[[str], Awaitable[Plan]]
    """A plan by its definition's digest."""
    contracts: Contracts
    view: View
    teller: Teller
    commands: Commands
    identify: Identify
    sign_in: str | None = None
    """Where to send who is not signed in; without it, demo mode: anybody here may act as anybody."""
    access: Access | None = None
    """Who signs people in; without it nobody can, and ``identify`` says who everybody is."""
    codes: Codes | None = None
    """Lets somebody without an account decide behind a link; without it, only who is signed in does."""
    origin: str | None = None
    """The public origin, for browsers that send no Sec-Fetch-Site; without it the request's own host counts."""
    connections: Connections | None = None
    health: Callable[[str], Awaitable[Outcome]] | None = None
    bundles: Sequence[Bundle] = ()
    law: Callable[[], Awaitable[Law]] | None = None
    """What holds here now, published bundles included; without it, the first of ``bundles``."""
    environment: str = "prod"
    """Where policies are in force."""
    settings: Sequence[tuple[str, str, str]] = ()
    """Name, value as text, meaning: what Settings lists; no secret may be among them."""
    zone: str = "UTC"
    poll_seconds: float = 0.025
    """How often one watcher of this process looks for new records while somebody looks on."""
    cast: Mapping[str, str] = field(default_factory=dict)
    """Whom one may act as where nobody signs in, with their names; without it, whoever one types."""
    notices: Mapping[str, str] = field(default_factory=dict)
    """What a page's banner says of the server itself, by a short code."""
