"""Who is hired in the demo, when, and what goes wrong: the script, as data.

Every act may be repeated without harm, so that a demo that was killed goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Hire:
    """One person of the story."""

    worker_id: str
    first: str
    last: str
    profile: str
    after_minutes: int
    why: str
    answers: tuple[str, int] | None = None
    """Who decides when nobody is at the terminal, and after how many minutes."""
    channel: str
    groups: tuple[str, ...]
    department: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def notification(self) -> str:
        """The id of the notification; the same for ever."""
        return f"demo-{self.worker_id}"

    @property
    def upn(self) -> str:
        """The account that the definition gives."""
        return f"{self.first}.{self.last}@corp.example".lower()

    @property
    def after(self) -> timedelta:
        """When the hire is completed, from the beginning."""
        return timedelta(minutes=self.after_minutes)


_ENG: Final = ("all-staff", "engineering", "source-control")
HIRES: Final = (
    Hire(
        worker_id="W-200001",
        first="Priya",
        last="Raman",
        profile="ENG-SWE",
        after_minutes=0,
        why="a standard hire: nobody has to be asked",
        channel="team-platform",
        groups=_ENG,
        department="Engineering",
    ),
    Hire(
        worker_id="W-200002",
        first="Samuel",
        last="Brandt",
        profile="SEC-ADMIN",
        after_minutes=3,
        why="elevated access: the manager decides first",
        answers=("jonas.weber@corp.example", 20),
        channel="team-it",
        groups=("all-staff", "vpn-users", "privileged-access"),
        department="IT",
    ),
    Hire(
        worker_id="W-200003",
        first="Yuki",
        last="Mori",
        profile="DES-PROD",
        after_minutes=6,
        why="equipment of exactly 2,500.00 USD is not under 2,500: the manager decides",
        answers=("mei.tanaka@corp.example", 35),
        channel="team-design",
        groups=("all-staff", "design"),
        department="Design",
    ),
    Hire(
        worker_id="W-200004",
        first="Ana",
        last="Costa",
        profile="SAL-AE",
        after_minutes=9,
        why="a sales hire with a quota: sales operations decides on the territory",
        answers=("ruth.abend@corp.example", 25),
        channel="team-sales",
        groups=("all-staff", "sales"),
        department="Sales",
    ),
    Hire(
        worker_id="W-200005",
        first="Lukas",
        last="Vogel",
        profile="ENG-SWE",
        after_minutes=12,
        why="ServiceNow will not take this one's order",
        answers=("femi.adeyemi@corp.example", 90),
        channel="team-platform",
        groups=_ENG,
        department="Engineering",
    ),
)
BY_ID: Final = {hire.worker_id: hire for hire in HIRES}
VISITOR: Final = "jonas.weber@corp.example"
"""Who somebody is that opens the demo's console: a manager, for whom a decision waits."""
SUFFERER: Final = HIRES[4]
"""Whose order ServiceNow refuses."""
VICTIM: Final = HIRES[0]
"""Whose account somebody changes behind the engine's back."""
OUTAGE: Final = {
    "kind": "503",
    "match": {"method": "POST", "path": "add_to_cart|order_now", "body": f"{SUFFERER.worker_id}.*topstitch_key"},
}
"""ServiceNow's API takes no order for this hire; its portal, where people order, does."""
BY_HAND_AFTER: Final = timedelta(minutes=15)
"""How long after the task IT operations has ordered in the portal."""
PLANTED_AFTER: Final = timedelta(minutes=95)
"""When somebody disables the account in Entra ID by mistake: before T+2h."""
MENDED_AFTER: Final = timedelta(hours=5)
"""When an identity administrator enables it again: before T+24h."""
