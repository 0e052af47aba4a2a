"""Calendars: working hours, holidays, absences and change freezes of each environment, and those that wait.

A calendar that would hold less back than the one in force waits until a second publisher agrees.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from topstitch.api.answers import cut, send
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import PageOf
from topstitch.governance.calendar import read_calendar
from topstitch.office import calendars as office
from topstitch.store import calendars
from topstitch.store.calendars import Proposal

api = router("policies")


@operation(api, "GET", "/calendars", "policies.read", shape=PageOf, command="topstitch calendars list")
async def list_calendars(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the calendar of each environment with what holds now; its id is the environment."""
    hands: ApiHands = request.app.state.hands
    now = hands.clock.now()
    found = [{"id": one.environment, **office.shown(one, now)} for one in await calendars.every(hands.store)]
    return cut(request, found, after, limit)


@operation(
    api, "GET", "/calendars/proposals", "policies.read", shape=PageOf, command="topstitch calendars load --pending"
)
async def list_calendar_proposals(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List which calendars wait for a second person here, and why."""
    hands: ApiHands = request.app.state.hands
    found = [one for one in await calendars.waiting(hands.store) if one.environment == hands.environment]
    return cut(request, [_proposal(one) for one in found], after, limit)


@operation(api, "POST", "/calendars/proposals/{name}/agree", "policies.publish", key="required",
           command="topstitch calendars load --agree {name}")  # fmt: skip
async def agree_to_calendar(request: Request, name: Id) -> Response:
    """Put in force the calendar that somebody else loaded."""
    hands: ApiHands = request.app.state.hands
    caller, now = caller_of(request), hands.clock.now()
    return send(_proposal(await office.agree(hands.store, name, hands.environment, caller, now)))


@operation(api, "POST", "/calendars/proposals/{name}/withdraw", "policies.publish", key="required",
           command="topstitch calendars load --withdraw {name}")  # fmt: skip
async def withdraw_calendar(request: Request, name: Id) -> Response:
    """Take back the calendar that waits."""
    hands: ApiHands = request.app.state.hands
    caller, now = caller_of(request), hands.clock.now()
    return send(_proposal(await office.withdraw(hands.store, name, hands.environment, caller, now)))


def _proposal(one: Proposal) -> dict[str, Any]:
    calendar = read_calendar(one.document, f"the calendar that waits for {one.environment}")
    return {
        "id": one.digest,
        "environment": one.environment,
        "parent": one.parent,
        "proposed_at": one.proposed_at,
        "proposed_by": one.proposed_by,
        "because": list(one.because),
        **calendar.normal(),
    }
