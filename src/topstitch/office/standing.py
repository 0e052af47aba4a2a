"""Reads who decides beside the rules: delegations, agents with their limits, and the calendar, as the rules know them.

The law of an installation is made with it, and every door asks it before it takes an answer.
It decides nothing: what a grant or a limit means, ``governance`` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from topstitch.foundation.canonical import parse
from topstitch.governance.agents import Agent
from topstitch.governance.duties import Delegation
from topstitch.store import Store, calendars, deciding
from topstitch.store.deciding import Granted

if TYPE_CHECKING:
    from topstitch.governance.calendar import Calendar


async def delegations_of(store: Store) -> tuple[Delegation, ...]:
    """Return the delegations that were not ended; each knows its own time."""
    return tuple(delegation(one) for one in await deciding.all_delegations(store) if one.ended_at is None)


def delegation(kept: Granted) -> Delegation:
    """Return a delegation as the rules know it."""
    return Delegation(
        grantor=kept.grantor,
        delegate=kept.delegate,
        starts_at=kept.starts_at,
        ends_at=kept.ends_at,
        granted_by=kept.granted_by,
        group=kept.group,
    )


async def agents_of(store: Store) -> dict[str, Agent]:
    """Return the agents by id."""
    return {one.id: agent(one.id, one.document) for one in await deciding.all_agents(store)}


def agent(name: str, document: str) -> Agent:
    """Read an agent's entry."""
    return msgspec.convert({"id": name, **parse(document)}, Agent)


async def calendar_of(store: Store, environment: str) -> Calendar:
    """Return the calendar of an environment; without one, people are there at all hours."""
    from topstitch.governance.calendar import ALL_HOURS, read_calendar  # noqa: PLC0415 -- it reads expressions

    found = await calendars.in_force(store, environment)
    return read_calendar(found.document, f"the calendar of {environment}") if found else ALL_HOURS
