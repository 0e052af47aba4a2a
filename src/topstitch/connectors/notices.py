"""Sends people their notices: an approval waits, a task is due, something ended.

The engine calls ``tell`` for a ``TellCall``. The connection that sends stands under
``[notify]`` in ``connections.toml``; without one nothing is sent and the inbox of the console
is where people look. What is asked goes to the chat named there too, with buttons: to a channel, or to
each person. A notice is looked up before it is sent, so that a call made again after a crash does
not tell anybody twice. It words nothing: letters and cards are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from topstitch.connectors.people import resolve
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import stopwatch
from topstitch.model.orders import Grant, Outcome, ResolveCall, Result, TellCall, WriteCall

ACTION: Final = "send_notice"
ASK: Final = "send_decision"
BY: Final = "system:engine"
ASKS: Final = "approval"
"""The kind of notice that goes to the chat as well; a reminder does not."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What one person is sent: by mail, and as a card in chat."""

    subject: str
    text: str
    card: Mapping[str, Any]


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """What several people are sent about one thing, and the card for a channel that they share."""

    letters: Mapping[str, Letter]
    """By person's id."""
    card: Mapping[str, Any]


async def tell(registry: Registry, call: TellCall, *, instance: str, mail: Mail | None = None) -> Outcome:
    """Send the notice to everybody who is meant: ``{"sent": [...], "skipped": [...]}``, by person's id.

    One person who cannot be reached does not keep the others from being told; the outcome is
    then that person's, so that the call is made again and reaches who is missing. With ``mail`` each
    gets their own letter, and the value holds as ``posts`` what was posted in chat.
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
        outcome = await _tell_one(registry, str(alias), call, person, instance, mail)
        if outcome.result is Result.OK:
            sent.append(person["id"])
        else:
            failed = outcome
    posted = await _posted(registry, call, people, instance, mail)
    failed = failed or next((one for one in posted if one.result not in (Result.OK, Result.REFUSED)), None)
    if failed is not None:
        return failed
    value: dict[str, Any] = {"sent": sent, "skipped": [p["id"] for p in people if p not in reachable]}
    posts = [one.value for one in posted if one.result is Result.OK]
    if posts:
        place = {"connection": str(registry.connections.chat)}
        value["posts"] = [{**place, "channel": one["channel_id"], "ts": one["ts"]} for one in posts]
    return Outcome(result=Result.OK, value=value, duration_ms=round((stopwatch() - began) * 1000))


async def send_plain(registry: Registry, to: str, subject: str, text: str, key: str) -> Outcome:
    """Send one message to one address, by the connection that tells people; the key is what it is found by."""
    alias = registry.connections.notify
    if alias is None:
        return Outcome(result=Result.REFUSED)
    return await _send(registry, alias, ACTION, {"to": to, "subject": subject, "text": text}, key, key, "")


async def _tell_one(
    registry: Registry, alias: str, call: TellCall, person: Mapping[str, Any], instance: str, mail: Mail | None
) -> Outcome:
    letter = mail.letters.get(str(person["id"])) if mail else None
    subject = letter.subject if letter else str(call.notice.get("title", "Notice"))
    text = letter.text if letter else _text(call.notice)
    params = {"to": person["email"], "subject": subject, "text": text}
    return await _send(registry, alias, ACTION, params, f"{instance}:{call.key}:{person['id']}", call.key, instance)


async def _posted(
    registry: Registry, call: TellCall, people: list[Mapping[str, Any]], instance: str, mail: Mail | None
) -> list[Outcome]:
    """Post the card in chat: once to the channel, or to each person; who is not there is no failure."""
    chat, channel = registry.connections.chat, registry.connections.channel
    if chat is None or mail is None or call.notice.get("kind") != ASKS:
        return []
    if channel:
        to = [({**mail.card, "channel": channel}, "channel")]
    else:
        cards = [(mail.letters[p["id"]].card, p) for p in people if p.get("email") and p["id"] in mail.letters]
        to = [({**card, "to": person["email"]}, str(person["id"])) for card, person in cards]
    return [
        await _send(registry, chat, ASK, params, f"{instance}:{call.key}:{name}", call.key, instance)
        for params, name in to
    ]


async def _send(
    registry: Registry, alias: str, action: str, params: Mapping[str, Any], key: str, call: str, instance: str
) -> Outcome:
    found = await registry.reader(alias).look_up(action, params, key, instance=instance)
    if found.result is not Result.OK or found.value is not None:
        return found
    grant = Grant(decision="declared", by=BY, payload_digest=digest(params))
    write = WriteCall(
        key=call,
        system=alias,
        action=action,
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
