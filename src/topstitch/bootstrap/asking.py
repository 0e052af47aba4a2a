"""Finds the people whom a decision is asked of: in the directory, without those who may not decide, with stand-ins.

``Calls`` makes a ``ResolveCall`` with it, and so does the dry run, so that both name the same people. It
only reads.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from topstitch.connectors import people
from topstitch.connectors.registry import Registry
from topstitch.governance.absences import away, with_stand_ins
from topstitch.governance.policy import Law
from topstitch.model.orders import Outcome, ResolveCall, Result


async def found_people(connectors: Registry, call: ResolveCall, law: Law, now: datetime) -> Outcome:
    """Find the people. Whoever is excluded is known by a worker's number: their address is excluded too."""
    call = replace(call, away=away(law, now))
    barred = tuple(one for one in call.exclude if "@" not in one)
    if not barred:
        return await people.resolve(connectors, with_stand_ins(call, law, now))
    question = replace(call, who=tuple(f"person:{one}" for one in barred), exclude=(), away=())
    known = await people.resolve(connectors, question)
    if known.result is not Result.OK:
        return known
    names = tuple(str(p[part]) for p in known.value["people"] for part in ("id", "email") if p.get(part))
    wider = with_stand_ins(replace(call, exclude=(*call.exclude, *names)), law, now)
    outcome = await people.resolve(connectors, wider)
    if outcome.result is not Result.OK:
        return outcome
    return replace(outcome, value={**outcome.value, "barred": [*call.exclude, *names]})
