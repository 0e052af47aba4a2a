"""Tells the places that hear of alerts: a mailbox, a channel, the ITSM, an address that takes posts.

``bootstrap.measuring`` calls it for every message that is due. A message has a key; what can be
looked up is looked up before it is sent, so that a message that is sent again after a crash is
there once. It knows no alert and words nothing. What does not go out is a ``ConnectorError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from topstitch.connectors.contract import Given
from topstitch.connectors.credentials import Credentials
from topstitch.connectors.http import HttpClient
from topstitch.connectors.limits import Limits
from topstitch.connectors.people import resolve
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import ConnectorError, OperatorError, PermanentError, TransientError
from topstitch.model.orders import Grant, Outcome, ResolveCall, Result, WriteCall

BY: Final = "system:metrics"
NOTICE: Final = "send_notice"
POST: Final = "post_message"
FILE: Final = "create_exception"
CLOSE: Final = "close_exception"
TIMEOUT_SECONDS: Final = 15.0
POSTS_MAX: Final = 10
"""How many posts are under way at the same time."""
FIRST_REFUSAL: Final = 300


def alias_for(registry: Registry, action: str, wanted: str = "") -> str:
    """Return the connection that can do something: the one named, the one that tells people, or the only one."""
    aliases = [wanted] if wanted else list(registry.connections.connections)
    able = [alias for alias in aliases if action in registry.contract_of(alias).actions]
    notify = registry.connections.notify
    if not wanted and notify in able:
        return str(notify)
    if len(able) == 1:
        return able[0]
    said = f"connection {wanted} cannot {action}" if wanted else f"{len(able)} connections can {action}"
    raise OperatorError(
        "alert-route", f"{said}; name the connection of the route in alert_routes, as in slack.chat:#operations"
    )


async def mail(registry: Registry, alias: str, to: str, subject: str, text: str, key: str) -> None:
    """Send a notice to one address, once."""
    await _once(registry, alias, NOTICE, {"to": to, "subject": subject, "text": text}, key)


async def post(registry: Registry, alias: str, channel: str, text: str, key: str) -> None:
    """Post a message to a channel, once."""
    await _once(registry, alias, POST, {"channel": channel, "text": text}, key)


async def file_ticket(registry: Registry, alias: str, params: Mapping[str, Any], key: str) -> None:
    """Open the ticket of a key, or add to it."""
    _good(await _write(registry, alias, FILE, params, key))


async def close_ticket(registry: Registry, alias: str, params: Mapping[str, Any], key: str, note: str) -> None:
    """Close the ticket of a key with a note; where there is none, there is nothing to close."""
    found = await registry.reader(alias).look_up(FILE, params, key)
    _good(found)
    if found.value is not None:
        closing = {"exception_id": found.value["exception_id"], "note": note}
        _good(await _write(registry, alias, CLOSE, closing, f"{key}:close"))


async def owners(registry: Registry, owner: Mapping[str, str]) -> list[str]:
    """Return the addresses of the people that an owner names: the team, and whoever is paged."""
    who = ["owner"] + ([f"group:{owner['page']}"] if owner.get("page") else [])
    found: list[str] = []
    refused: Outcome | None = None
    for each in who:
        question = ResolveCall(key="owner", who=(each,), subject=None, requester=None, owner=owner)
        outcome = await resolve(registry, question)
        if outcome.result is Result.OK:
            found += _addresses(outcome.value["people"])
        else:
            refused = outcome
    if not found and refused is not None:
        _good(refused)
    return list(dict.fromkeys(found))


class Posts:
    """What posts to addresses outside of any connection."""

    def __init__(self, registry: Registry, clock: Clock, *, setting: str, title: str) -> None:
        self._registry, self._clock, self._setting, self._title = registry, clock, setting, title
        self._clients: dict[str, HttpClient] = {}

    async def post(self, url: str, headers: Mapping[str, str], raw: bytes) -> None:
        """Post bytes; any answer of the two hundreds is good."""
        client = self._clients.get(url) or self._open(url)
        answer = await client.raw("POST", url, headers=headers, data=raw)
        if answer.status >= FIRST_REFUSAL:
            message = f"{self._title} answered {answer.status}; see that it is up and takes what {self._setting} says"
            raise TransientError("post-refused", message, status=answer.status, body=answer.text())

    async def close(self) -> None:
        """Close the sessions."""
        while self._clients:
            await self._clients.popitem()[1].close()

    def _open(self, url: str) -> HttpClient:
        redactor, folder = self._registry.redactor, self._registry.connections.folder
        given = Given(
            alias=self._setting,
            base_url=url,
            options={},
            credentials=Credentials(self._setting, {}, redactor, folder),
            limits=Limits(self._clock, rate=None, concurrency=POSTS_MAX),
            clock=self._clock,
            redactor=redactor,
            timeout_seconds=TIMEOUT_SECONDS,
            folder=folder,
        )
        client = self._clients[url] = HttpClient(given, title=self._title)
        return client


async def _once(registry: Registry, alias: str, action: str, params: Mapping[str, Any], key: str) -> None:
    found = await registry.reader(alias).look_up(action, params, key)
    _good(found)
    if found.value is None:
        _good(await _write(registry, alias, action, params, key))


async def _write(registry: Registry, alias: str, action: str, params: Mapping[str, Any], key: str) -> Outcome:
    grant = Grant(decision="declared", by=BY, payload_digest=digest(params))
    call = WriteCall(
        key=key,
        system=alias,
        action=action,
        params=params,
        idempotency_key=key,
        attempt=1,
        grant=grant,
        instance="",
    )
    return await registry.writer(alias).write(call)


def _good(outcome: Outcome) -> None:
    if outcome.result is Result.OK:
        return
    problem = outcome.problem
    code = problem.code if problem else str(outcome.result)
    message = problem.message if problem else f"the system did not take it ({outcome.result}); see that it is up"
    kind: type[ConnectorError] = PermanentError if outcome.result is Result.REFUSED else TransientError
    raise kind(code, message)


def _addresses(people: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(person["email"]) for person in people if person.get("email")]
