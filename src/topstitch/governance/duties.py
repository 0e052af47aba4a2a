"""Decides who may not decide: separation of duties, and who stands in for whom.

Requester, subject, proposer and the owner of a proposing agent never release the write they
want, and neither does anybody who acts for one of them. Always on: a definition or a policy
can exclude more people, never fewer. ``approvals`` asks before every answer, the directory
before anybody is asked. Nothing here looks anybody up: a person is what the caller knows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from topstitch.model.record import ActorKind, parse_actor
from topstitch.model.state import InstanceState

Person = Mapping[str, Any]
"""``{id, name?, email?, aliases?: [text], kind?: human | agent, groups?, roles?}``: one natural person, as
a door or the directory knows them. ``aliases`` are the names of the same person in other systems."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """A dated grant: from ``starts_at`` until before ``ends_at``, ``delegate`` may answer for ``grantor``.

    It is not transitive: who acts for a delegate does not act for the delegate's grantor.
    ``group`` limits it to what is asked of that group.
    """

    grantor: str
    delegate: str
    starts_at: datetime
    ends_at: datetime
    granted_by: str = ""
    group: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether the grant is in force."""
        return self.starts_at <= now < self.ends_at


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """Who has an interest in a write, by what: ``{"requester": {"W-1", "kim@acme.example"}, ...}``."""

    names: Mapping[str, frozenset[str]]

    def role_of(self, names: frozenset[str]) -> str | None:
        """Return what these names are to the write, or nothing."""
        return next((role for role, mine in self.names.items() if mine & names), None)

    def with_names(self, role: str, *names: str | None) -> Parties:
        """Return the parties with more names under ``role``."""
        more = frozenset(folded(name) for name in names if name)
        return Parties(names={**self.names, role: self.names.get(role, frozenset()) | more}) if more else self


def folded(name: str) -> str:
    """Return the form in which names are compared: no actor kind before it, no capitals, no blanks around it."""
    return parse_actor(name.strip()).id.strip().casefold()


def names_of(person: Person) -> frozenset[str]:
    """Return every name of a person, as they are compared: id, e-mail and aliases."""
    given = (person.get("id"), person.get("email"), *(person.get("aliases") or ()))
    return frozenset(folded(name) for name in given if isinstance(name, str) and name.strip())


def is_human(person: Person) -> bool:
    """Whether a natural person is meant: agents, policies and systems decide nothing."""
    if person.get("kind", ActorKind.HUMAN) != ActorKind.HUMAN:
        return False
    return parse_actor(str(person.get("id", ""))).kind is ActorKind.HUMAN


def parties_of(state: InstanceState, *, proposer: str | None = None, proposer_owner: str | None = None) -> Parties:
    """Return who may not release a write of this instance."""
    parties = Parties(names={}).with_names("requester", state.requester).with_names("subject", state.correlation)
    return parties.with_names("proposer", proposer).with_names("owner of the proposing agent", proposer_owner)


def why_excluded(person: Person, parties: Parties, delegations: Iterable[Delegation], now: datetime) -> str | None:
    """Return why ``person`` may not decide: ``requester``, ``delegate of the subject`` ...; nothing if they may."""
    names = names_of(person)
    role = parties.role_of(names)
    if role is not None:
        return role
    for grant in grants_to(names, delegations, now):
        role = parties.role_of(frozenset({folded(grant.grantor)}))
        if role is not None:
            return f"delegate of the {role}"
    return None


def exclude(
    people: Iterable[Person], parties: Parties, delegations: Iterable[Delegation], now: datetime
) -> tuple[list[Person], list[dict[str, str]]]:
    """Return who of ``people`` may be asked, and ``{person, why}`` of those who may not."""
    grants = tuple(delegations)
    allowed: list[Person] = []
    excluded: list[dict[str, str]] = []
    for person in people:
        why = why_excluded(person, parties, grants, now)
        if why is None:
            allowed.append(person)
        else:
            excluded.append({"person": str(person.get("id", "")), "why": why})
    return allowed, excluded


def grants_to(names: frozenset[str], delegations: Iterable[Delegation], now: datetime) -> Iterator[Delegation]:
    """Yield the grants in force by which somebody of these names acts for somebody else."""
    for grant in delegations:
        if grant.holds(now) and folded(grant.delegate) in names and folded(grant.grantor) not in names:
            yield grant


def person_of(name: str | Person) -> Person:
    """Return a person of whom only one name is known, or the person as given."""
    return {"id": name} if isinstance(name, str) else name


def presentable(text: str) -> str:
    """Return ``text`` as an approver may be shown it: no control characters, none that turn the writing direction.

    Payloads hold what strangers wrote. A hidden character could make an approver read something else.
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)


_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
