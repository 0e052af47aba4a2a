"""What the API is handed: the store, time, plans, who is asking, and what only the doors above can do.

``bootstrap`` fills it in once. Every field that may be absent says what is missing without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from topstitch.connectors.connections import Connections
from topstitch.connectors.outgoing import Network
from topstitch.foundation.clock import Clock
from topstitch.governance.access import Identity
from topstitch.metrics.seams import SeamFigures
from topstitch.model.action import Contracts
from topstitch.model.orders import Outcome
from topstitch.model.record import Record
from topstitch.model.state import InstanceState
from topstitch.office.desk import Desk, Load
from topstitch.plan.plan import Plan
from topstitch.store import Store
from topstitch.trigger.accept import Intake

Identify = Callable[[HTTPConnection], Awaitable[Identity | None]]
View = Callable[[Plan, InstanceState, Sequence[Record], datetime], dict[str, Any]]
Teller = Callable[[Plan], Callable[[Record], str | None]]
Board = Callable[[int, int], Awaitable[Sequence[SeamFigures]]]
"""Every seam over so many hours in so many slots."""


class Auditing(Protocol):
    """What takes the installation's keys and anchors."""

    async def verify(self) -> dict[str, Any]:
        """Verify everything; return the verdict as data."""
        ...

    async def seal(self) -> None:
        """Sign the tree as it is, and take it to the anchors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiHands:
    """Everything a resource may touch."""

    store: Store
    clock: Clock
    load: Load
    """A plan by its definition's digest."""
    contracts: Contracts
    intake: Intake
    identify: Identify
    view: View
    teller: Teller
    board: Board
    auditing: Auditing
    environment: str
    connections: Connections
    health: Callable[[str], Awaitable[Outcome]]
    four_eyes: str = "auto"
    """Whether what is of high risk, or a policy that loosens, needs a second person to publish it: the setting."""
    origin: str | None = None
    """The configured public origin; without it the request's own host counts."""
    networks: Sequence[Network] = ()
    """Private networks that webhooks may be sent to."""
    requests_per_minute: int = 1_200
    """What one caller may ask; 0 means as much as they like."""
    body_bytes_max: int = 1_048_576
    comment_seconds: float = 15.0
    """How long a stream is silent before it shows that it lives."""
    recheck_seconds: float = 60.0
    """How often an open stream asks again whether its reader may still read."""
    poll_seconds: float = 0.1
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def desk(self) -> Desk:
        """The office's desk on this store."""
        return Desk(self.store, self.load, self.clock)
