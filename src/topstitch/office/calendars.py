"""Puts a calendar in force: read, compared with the one before it, and by two people where it loosens.

A policy reads change freezes and working hours from it, so that whoever shortens a freeze, or changes hours that
the policy asks for, loosens the policy. Then it waits until another publisher agrees, as a bundle does. An agent
loads none, whatever token it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from topstitch.foundation.timetext import rfc3339
from topstitch.governance.access import Identity
from topstitch.governance.agents import Act, require_agent_may
from topstitch.governance.calendar import ALL_HOURS, Calendar, read_calendar
from topstitch.governance.four_eyes import why_two_for_calendar
from topstitch.model.record import Actor, ActorKind, parse_actor
from topstitch.office.lawmaking import opened
from topstitch.office.second_people import require_author_or, require_second
from topstitch.store import Store, calendars, policies
from topstitch.store.calendars import KeptCalendar, Proposal

READS_HOURS = "calendar.working_hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What became of loading a calendar."""

    calendar: Calendar
    digest: str
    waits: tuple[str, ...]
    """Why it waits for a second person; nothing: it does not."""


async def load(
    store: Store, text: str, path: str, *, environment: str, by: Actor, at: datetime, four_eyes: bool | None = None
) -> Loading:
    """Read a calendar file and put it in force in ``environment``, or keep it until a second person agrees.

    ``four_eyes`` says whether a calendar that loosens needs a second person; nothing: nobody asks.
    """
    if by.kind is ActorKind.AGENT:
        require_agent_may(str(by), Act.CHANGE_POLICY)
    calendar = read_calendar(text, path)
    before = await calendars.in_force(store, environment)
    old = read_calendar(before.document, f"the calendar of {environment}") if before else ALL_HOURS
    risks = why_two_for_calendar(old, calendar, at, reads_hours=await _reads_hours(store, environment))
    new = KeptCalendar(environment=environment, document=text, loaded_at=at, loaded_by=str(by))
    parent = before.digest if before else None
    if risks and four_eyes:
        proposal = Proposal(
            environment=environment,
            digest=new.digest,
            document=text,
            parent=parent,
            because=risks,
            proposed_at=at,
            proposed_by=str(by),
        )
        await calendars.propose(store, proposal, by)
        return Loading(calendar=calendar, digest=new.digest, waits=risks)
    await calendars.load(store, new, by, parent=parent, four_eyes="off" if risks else "not needed")
    return Loading(calendar=calendar, digest=new.digest, waits=())


def shown(one: KeptCalendar, now: datetime) -> dict[str, Any]:
    """Return a calendar in force as plain data, with what holds now: the same at every door."""
    calendar = read_calendar(one.document, f"the calendar of {one.environment}")
    return {
        "environment": one.environment,
        "digest": one.digest,
        "loaded_at": rfc3339(one.loaded_at),
        "loaded_by": one.loaded_by,
        "now": {**calendar.facts(now), "absent": sorted(calendar.absent(now))},
        **calendar.normal(),
    }


async def agree(store: Store, beginning: str, environment: str, by: Identity, now: datetime) -> Proposal:
    """Put a proposal in force as a second person; raise when they loaded it, or may not publish."""
    found = await calendars.find_proposal(store, beginning, environment)
    require_second(by, found.proposed_by, "policies.publish", wrote="loaded this calendar")
    await calendars.agree(store, found, parse_actor(by.actor), now)
    return found


async def withdraw(store: Store, beginning: str, environment: str, by: Identity, now: datetime) -> Proposal:
    """Take a proposal back: whoever loaded it, or whoever may publish."""
    found = await calendars.find_proposal(store, beginning, environment)
    require_author_or(by, found.proposed_by, "policies.publish")
    await calendars.withdraw(store, found, parse_actor(by.actor), now)
    return found


async def _reads_hours(store: Store, environment: str) -> bool:
    """Whether a rule of the policy in force asks for working hours."""
    move = await policies.in_force(store, environment)
    if move is None:
        return False
    return any(READS_HOURS in rule.when for rule in opened(await policies.get(store, move.digest)).rules)
