"""Decides in which ways a simulated system is taken down, and takes it down.

``stage`` calls ``take_down`` before an instance begins; the fault lasts until the stage is cleared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from topstitch.simulators.host import Simulators

MAIL: Final = "email"
SLOW_SECONDS: Final = 20
RETRY_AFTER_SECONDS: Final = 60
TIMEOUT_SECONDS: Final = 1.0
"""How long a caller waits for an answer that never comes, in that way alone: real time, so it is short."""

BUSINESS: Final = r"^(?!.*(oauth|token)).*$"
"""Everything but where tokens are given out: the system itself is meant, not its sign-in."""


class Way(StrEnum):
    """One way in which a system is taken down."""

    DOWN = "down"
    """Connections are refused."""
    TOO_MANY = "429"
    """Every call is told to slow down."""
    INTERNAL = "500"
    """Every call meets an internal error."""
    TIMEOUT = "timeout after commit"
    """Every write is done, and never answered."""
    SLOW = "slow"
    """Every answer takes its time."""
    WRONG_SCHEMA = "wrong schema"
    """Every call is carried out, and answered with something else than was agreed."""
    TOKEN = "token expired"  # noqa: S105 -- a way, no secret
    """The credential that was given out is worthless once, in the middle of the work."""


FAULTS: Final[Mapping[Way, Mapping[str, Any]]] = {
    Way.TOO_MANY: {"kind": "429", "retry_after": RETRY_AFTER_SECONDS, "match": {"path": BUSINESS}},
    Way.INTERNAL: {"kind": "500"},
    Way.TIMEOUT: {"kind": "timeout_after_commit"},
    Way.SLOW: {"kind": "slow", "seconds": SLOW_SECONDS},
    Way.WRONG_SCHEMA: {"kind": "wrong_schema", "match": {"path": BUSINESS}},
    Way.TOKEN: {"kind": "token_expired", "after": 1, "times": 1},
}
MAIL_FAULTS: Final[Mapping[Way, Sequence[Mapping[str, Any]]]] = {
    Way.TOO_MANY: ({"kind": "429", "match": {"method": "MAIL"}},),
    Way.INTERNAL: ({"kind": "500", "match": {"method": "MAIL"}},),
    Way.SLOW: ({"kind": "slow", "seconds": SLOW_SECONDS, "match": {"method": "DATA"}},),
    Way.WRONG_SCHEMA: tuple({"kind": "wrong_schema", "match": {"method": door}} for door in ("DATA", "IMAP")),
    Way.TOKEN: ({"kind": "token_expired", "times": 1, "match": {"method": "AUTH"}},),
}
"""A mail server is two: one that takes messages, and one that shows the mailbox."""


async def take_down(sims: Simulators, system: str, way: Way) -> None:
    """Take a system down."""
    if way is Way.DOWN:
        await sims.refuse_connections(system)
        return
    for form in MAIL_FAULTS.get(way, (FAULTS[way],)) if system == MAIL else (FAULTS[way],):
        sims[system].faults.add(form)


async def clear(sims: Simulators, system: str, way: Way) -> None:
    """Bring a system up again."""
    sims[system].faults.clear()
    if way is Way.DOWN:
        await sims.accept_connections(system)
