"""Decides what an event starts: each definition in force whose trigger is of its type.

``accept`` asks with the definitions in force and ``lifecycle.begin``, which it was handed;
this file makes of each that says yes an instance to be. One event starts at most one
instance of one definition: the instance's id follows from the event and the definition, so
that the same delivery, read twice, names the same instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime

from topstitch.foundation.ids import new_id
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Draft
from topstitch.plan.plan import Plan
from topstitch.store import NewInstance

Begin = Callable[[Plan, TriggerEvent, str, datetime], Draft | None]
"""``lifecycle.begin``, as ``bootstrap`` hands it on: the first record, or nothing."""


def starts(event: TriggerEvent, plans: Iterable[Plan], begin: Begin, now: datetime) -> list[NewInstance]:
    """Return the instances that ``event`` starts, one per definition at most."""
    found = []
    for plan in plans:
        if plan.trigger.event_type != event.type:
            continue
        identity = instance_id(event, plan.workflow)
        first = begin(plan, event, identity, now)
        if first is not None:
            found.append(new_instance(plan, identity, first))
    return found


def instance_id(event: TriggerEvent, workflow: str) -> str:
    """Return the id of the instance that ``event`` starts of ``workflow``; it sorts by the time of receipt."""
    identity = f"{event.source}\x1f{event.id}\x1f{workflow}".encode()
    return new_id("ins", event.received_at, hashlib.sha256(identity).digest()[:10])


def new_instance(plan: Plan, identity: str, first: Draft) -> NewInstance:
    """Return the instance to be, with its row and its first record."""
    body = first.body
    return NewInstance(
        id=identity,
        workflow=plan.workflow,
        version=plan.version,
        digest=plan.digest,
        first=first,
        correlation=body["correlation"],
        title=body["title"],
        subject=f"{plan.trigger.system}:{body['correlation']}",
        parent=body.get("parent"),
        parent_step=body.get("parent_step"),
    )
