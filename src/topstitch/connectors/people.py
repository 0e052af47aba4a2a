"""Decides who is meant by ``manager_of(subject)``, ``group:x``, ``owner``, ``requester``.

The engine calls ``resolve`` for a ``ResolveCall``. Which alias answers which question stands
under ``[people]`` in ``connections.toml``; groups can also be written down there. It reads
only, asks each system through its reader, and never picks between people: it names them
all, and says who was excluded and why. A manager who may not decide, or who is away without a
stand-in, is passed over for the manager above; at the top nobody is found, and the asker goes on
to the owner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import stopwatch
from topstitch.model.orders import Outcome, Problem, ResolveCall, Result

_OF: Final = re.compile(r"manager_of\(([^\s()]+)\)")
EXCLUDED_BECAUSE: Final = "may not decide on this: requested it, proposed it or carried it out"
ABOVE: Final = "; whoever is above was asked"
AWAY: Final = "is away, and nobody stands in"
MANAGERS_MAX: Final = 8
"""How far up a chain of managers somebody is looked for."""


class _UnansweredError(Exception):
    """A system did not answer; its outcome is the resolution's outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


async def resolve(registry: Registry, call: ResolveCall) -> Outcome:
    """Return the people that are meant: ``{"people": [...], "excluded": [...]}``."""
    began = stopwatch()
    found: list[dict[str, Any]] = []
    passed: list[dict[str, str]] = []
    try:
        for who in call.who:
            found += [{**person, "for": who} for person in await _people(registry, who, call, passed)]
    except _UnansweredError as error:
        return error.outcome
    people, excluded = _without(_once(found), call.exclude)
    people, away = _there(people, call.away)
    value = {"people": people, "excluded": [*passed, *excluded, *away]}
    return Outcome(result=Result.OK, value=value, duration_ms=round((stopwatch() - began) * 1000))


async def _people(
    registry: Registry, who: str, call: ResolveCall, passed: list[dict[str, str]]
) -> list[dict[str, Any]]:
    match = _OF.fullmatch(who)
    if match is not None:
        named = {"subject": call.subject, "requester": call.requester}
        return await _managers(registry, named.get(match[1], match[1]), call, passed)
    kind, colon, name = who.partition(":")
    match kind if colon else who:
        case "group" | "role":
            return await _group(registry, name)
        case "person" | "human":
            return await _person(registry, name)
        case "owner":
            team = call.owner.get("team")
            return await _group(registry, str(team)) if team else []
        case "requester":
            return await _person(registry, call.requester)
        case "subject":
            return await _person(registry, call.subject)
        case _ if "@" in who:
            return await _person(registry, who)
        case _:
            raise _UnansweredError(
                _refused(
                    "who_unknown", f"{who!r} names nobody; use manager_of(subject), group:<name>, owner or requester"
                )
            )


async def _managers(
    registry: Registry, person: str | None, call: ResolveCall, passed: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Return somebody's managers; above those who may not decide or are away, theirs."""
    for _ in range(MANAGERS_MAX):
        managers = await _manager(registry, person)
        over = [(one, why) for one in managers if (why := _passed_over(one, call))]
        if len(over) < len(managers) or not managers:
            return managers
        passed += [{"person": str(one["id"]), "why": why + ABOVE} for one, why in over]
        person = str(over[0][0]["id"])
    return []


def _passed_over(person: Mapping[str, Any], call: ResolveCall) -> str | None:
    names = _names(person)
    if names & {_bare(one) for one in call.exclude}:
        return EXCLUDED_BECAUSE
    return AWAY if names & {_bare(one) for one in call.away} else None


def _there(people: list[dict[str, Any]], away: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Leave out who is away, unless that would leave nobody: a late answer is better than none."""
    gone = {_bare(one) for one in away}
    there = [person for person in people if gone.isdisjoint(_names(person))]
    if not there:
        return people, []
    return there, [{"person": p["id"], "why": AWAY} for p in people if p not in there]


async def _manager(registry: Registry, person: str | None) -> list[dict[str, Any]]:
    if not person:
        return []
    alias = _alias(registry.connections.people.manager_of, "manager_of")
    return await _ask(registry, alias, "resolve_manager", {"person": person})


async def _group(registry: Registry, name: str) -> list[dict[str, Any]]:
    settings = registry.connections.people
    if name in settings.groups:
        return [_by_address(member) for member in settings.groups[name]]
    return await _ask(registry, _alias(settings.group, "group"), "resolve_group", {"group": name})


async def _person(registry: Registry, person: str | None) -> list[dict[str, Any]]:
    """Return a person by id or address; an address that no system knows is still somebody who can be written to."""
    if not person:
        return []
    alias = registry.connections.people.person
    if alias is not None and "resolve_person" in registry.contract_of(alias).actions:
        known = await _ask(registry, alias, "resolve_person", {"person": person})
        if known:
            return known
    return [_by_address(person)]


async def _ask(registry: Registry, alias: str, action: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    if action not in registry.contract_of(alias).actions:
        message = f"connection {alias} has no action {action}; name another under [people] in connections.toml"
        raise _UnansweredError(_refused("people_unconfigured", message))
    outcome = await registry.reader(alias).read(action, params)
    if outcome.result is not Result.OK:
        raise _UnansweredError(outcome)
    people: list[dict[str, Any]] = list(outcome.value["people"])
    return people


def _alias(alias: str | None, question: str) -> str:
    if alias is None:
        message = f'nobody is set to answer {question}; add {question} = "<alias>" under [people] in connections.toml'
        raise _UnansweredError(_refused("people_unconfigured", message))
    return alias


def _by_address(address: str) -> dict[str, Any]:
    return {"id": address, "name": address, "email": address if "@" in address else ""}


def _once(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep each person once: ``for`` is the first reason, ``also`` are the others."""
    kept: dict[str, dict[str, Any]] = {}
    for person in people:
        known = kept.setdefault(person["id"].lower(), person)
        if known is not person and person["for"] not in (known["for"], *known.get("also", ())):
            known["also"] = [*known.get("also", ()), person["for"]]
    return list(kept.values())


def _without(
    people: list[dict[str, Any]], exclude: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    barred = {_bare(one) for one in exclude}
    kept = [person for person in people if barred.isdisjoint(_names(person))]
    return kept, [{"person": person["id"], "why": EXCLUDED_BECAUSE} for person in people if person not in kept]


def _names(person: Mapping[str, Any]) -> set[str]:
    return {str(person[part]).lower() for part in ("id", "email") if person.get(part)}


def _bare(actor: str) -> str:
    """Return an actor's id without its kind: ``human:dana@x`` is ``dana@x``."""
    return actor.removeprefix("human:").lower()


def _refused(code: str, message: str) -> Outcome:
    return Outcome(result=Result.REFUSED, problem=Problem(code=code, message=message))
