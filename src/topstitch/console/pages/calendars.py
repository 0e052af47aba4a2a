"""Calendars as they are in force: when people work, who is away, what is frozen, and what waits for a second person.

``settings`` shows this as one of its parts. A calendar is loaded with the command, which reads the file first; what
waits is agreed to, or taken back, here too, by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.site import back
from topstitch.console.texts import Hunk, text_difference
from topstitch.governance.access import Identity
from topstitch.governance.calendar import DAYS, Absence, Calendar, Freeze, read_calendar
from topstitch.office import calendars as office
from topstitch.store import Store, calendars as kept
from topstitch.store.calendars import KeptCalendar, Proposal

HERE: Final = "/settings?part=calendars"
SHOWN_MAX: Final = 40
"""How many absences, freezes or holidays a page lists; the JSON twin has them all."""
EN_DASH: Final = "\u2013"
DAY_NAMES: Final = dict(zip(DAYS, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True))


async def calendar_facts(hands: Hands) -> dict[str, Any]:
    """Return the calendar of each environment and what waits, as plain data."""
    now = hands.clock.now()
    in_force, waiting = await kept.every(hands.store), await kept.waiting(hands.store)
    return {
        "environment": hands.environment,
        "calendars": [office.shown(one, now) for one in in_force],
        "waiting": [_waiting(one) for one in waiting],
    }


async def calendar_pages(hands: Hands) -> dict[str, Any]:
    """Return the same as a page shows it: only what is still to come, and what a waiting calendar changes."""
    now = hands.clock.now()
    in_force = {one.environment: one for one in await kept.every(hands.store)}
    return {
        "here": hands.environment,
        "calendars": [_page(one, now) for one in in_force.values()],
        "waiting": [
            {**_waiting(one), "hunks": _changed(in_force.get(one.environment), one)}
            for one in await kept.waiting(hands.store)
        ],
    }


async def agree(request: Request) -> Response:
    """``POST /settings/calendars/{name}/agree``: put in force what somebody else loaded."""
    done = await office.agree(*_proposed(request))
    return back(request, HERE, f"The calendar that {done.proposed_by.partition(':')[2]} loaded is in force.")


async def withdraw(request: Request) -> Response:
    """``POST /settings/calendars/{name}/withdraw``: take it back."""
    await office.withdraw(*_proposed(request))
    return back(request, HERE, "That calendar no longer waits.")


def _proposed(request: Request) -> tuple[Store, str, str, Identity, datetime]:
    hands: Hands = request.app.state.hands
    name, person = request.path_params["name"], request.state.person.identity
    return hands.store, name, hands.environment, person, hands.clock.now()


def _read(document: str, environment: str) -> Calendar:
    return read_calendar(document, f"the calendar of {environment}")


def _waiting(one: Proposal) -> dict[str, Any]:
    names = ("environment", "digest", "parent", "because", "proposed_at", "proposed_by")
    return {name: getattr(one, name) for name in names}


def _changed(old: KeptCalendar | None, new: Proposal) -> Sequence[Hunk]:
    return text_difference(old.document if old else "", new.document)


def _page(one: KeptCalendar, now: datetime) -> dict[str, Any]:
    calendar = _read(one.document, one.environment)
    today = now.astimezone(ZoneInfo(calendar.zone)).date()
    return {
        "environment": one.environment,
        "digest": one.digest,
        "loaded_at": one.loaded_at,
        "loaded_by": one.loaded_by,
        "zone": calendar.zone,
        "country": calendar.country,
        "now": calendar.facts(now),
        "away": len(calendar.absent(now)),
        "week": week(calendar.normal()["hours"]) if calendar.hours else [],
        "freezes": _to_come(calendar.freezes, now),
        "absences": _to_come(calendar.absences, now),
        "holidays": _holidays(calendar.holidays, calendar.country, today),
    }


def week(hours: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the week as it is said: days that follow each other and have the same hours together."""
    said: list[tuple[list[str], str]] = []
    for day, name in DAY_NAMES.items():
        spans = ", ".join(span.replace("-", EN_DASH) for span in hours.get(day, ())) or "closed"
        if said and said[-1][1] == spans:
            said[-1][0].append(name)
        else:
            said.append(([name], spans))
    return [(f"{days[0]} to {days[-1]}" if len(days) > 1 else days[0], spans) for days, spans in said]


def _to_come(spans: Sequence[Freeze] | Sequence[Absence], now: datetime) -> dict[str, Any]:
    """Return what is not over, the next first, and how many were left out."""
    left = sorted((one for one in spans if now < one.ends_at), key=lambda one: one.starts_at)
    return {
        "shown": [(one, one.starts_at <= now) for one in left[:SHOWN_MAX]],
        "more": max(len(left) - SHOWN_MAX, 0),
        "over": len(spans) - len(left),
    }


def _holidays(holidays: Mapping[str, Mapping[date, str]], country: str, today: date) -> list[dict[str, Any]]:
    """Return the holidays to come of each country, that of the calendar first."""
    found = []
    for name in sorted(holidays, key=lambda each: (each != country, each)):
        left = sorted((day, said) for day, said in holidays[name].items() if day >= today)
        shown = [(f"{day:%a} {day.day} {day:%b %Y}", said) for day, said in left[:SHOWN_MAX]]
        found.append(
            {"country": name, "counts": name == country, "shown": shown, "more": max(len(left) - SHOWN_MAX, 0)}
        )
    return found
