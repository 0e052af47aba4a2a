"""Sends people their notices: an approval waits, a task is due, something ended.

The engine calls ``tell`` for a ``TellCall``. The connection that sends stands under
``[notify]`` in ``connections.toml``; without one nothing is sent and the inbox of the console
is where people look. A notice is looked up before it is sent, so that a call made again
after a crash does not tell anybody twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.connectors.people import resolve
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import stopwatch
from topstitch.model.orders import Grant, Outcome, ResolveCall, Result, TellCall, WriteCall

ACTION: Final = "send_notice"
BY: Final = "system:engine"


async def tell(registry: Registry, call: TellCall, *, instance: str) -> Outcome:
    """Send the notice to everybody who is meant: ``{"sent": [...], "skipped": [...]}``, by person's id.

    One person who cannot be reached does not keep the others from being told; the outcome is
    then that person's, so that the call is made again and reaches who is missing.
    """
    began = stopwatch()
    people: list[Mapping[str, Any]] = list(call.people)
    if not people:
        resolved = await resolve(registry, _question(call))
        if resolved.result is not Result.OK:
            return resolved
        people = resolved.value["people"]
    alias = registry.connections.notify
    reachable = [person for person in people if person.get("email")] if alias else []
    sent, failed = [], None
    for person in reachable:
        outcome = await _tell_one(registry, str(alias), call, person, instance)
        if outcome.result is Result.OK:
            sent.append(person["id"])
        else:
            failed = outcome
    if failed is not None:
        return failed
    skipped = [person["id"] for person in people if person not in reachable]
    value = {"sent": sent, "skipped": skipped}
    return Outcome(result=Result.OK, value=value, duration_ms=round((stopwatch() - began) * 1000))


async def _tell_one(
    registry: Registry, alias: str, call: TellCall, person: Mapping[str, Any], instance: str
) -> Outcome:
    params = {"to": person["email"], "subject": str(call.notice.get("title", "Notice")), "text": _text(call.notice)}
    key = f"{instance}:{call.key}:{person['id']}"
    found = await registry.reader(alias).look_up(ACTION, params, key, instance=instance)
    if found.result is not Result.OK or found.value is not None:
        return found
    grant = Grant(decision="declared", by=BY, payload_digest=digest(params))
    write = WriteCall(
        key=call.key,
        system=alias,
        action=ACTION,
        params=params,
        idempotency_key=key,
        attempt=1,
        grant=grant,
        instance=instance,
    )
    return await registry.writer(alias).write(write)


def _text(notice: Mapping[str, Any]) -> str:
    parts = [str(notice[part]) for part in ("text", "link") if notice.get(part)]
    return "\n\n".join(parts or [str(notice.get("title", "Notice"))]) + "\n"


def _question(call: TellCall) -> ResolveCall:
    return ResolveCall(key=call.key, who=call.who, subject=call.subject, requester=call.requester, owner=call.owner)
