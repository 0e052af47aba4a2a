"""Decides how strict demands join: ``auto < notify < approve < approve by two < deny``.

A definition, every policy rule and a risk tier each give a ``Ruling``; what holds is their
least upper bound. Joining is commutative, associative and idempotent, so the order of rules
means nothing, and no demand can weaken another. Gates that ask the same people are one gate;
several gates are answered by different people. ``policy`` and ``bundle`` call this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import reduce
from typing import Any, Final

import msgspec

from topstitch.governance.approvers import asked, parse_who

QUORUM_MAX: Final = 5
"""More people than this are never found in time."""


class Level(IntEnum):
    """How strict a ruling is, in words of the lattice."""

    AUTO = 0
    NOTIFY = 1
    APPROVE = 2
    APPROVE_BY_TWO = 3
    DENY = 4


class Gate(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """``quorum`` distinct people out of ``ask`` have to approve, each with this evidence."""

    ask: tuple[str, ...]
    """Sorted."""
    quorum: int = 1
    evidence: tuple[str, ...] = ()
    """What an approver must name in the comment, such as ``ticket``. Sorted."""

    def __str__(self) -> str:
        """Write it as ``approve(group:a or owner, 2)``."""
        people = " or ".join(self.ask)
        more = f", {self.quorum}" if self.quorum > 1 else ""
        proof = "".join(f", with {one}" for one in self.evidence)
        return f"approve({people}{more}{proof})"


class Denial(msgspec.Struct, frozen=True, order=True):
    """A rule that no approval releases, and what it says."""

    rule: str
    text: str

    def __str__(self) -> str:
        """Write it as ``deny(rule)``."""
        return f"deny({self.rule})"


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What is demanded of a write. The empty ruling is ``auto``."""

    gates: tuple[Gate, ...] = ()
    """Sorted; no two ask the same people."""
    tell: tuple[str, ...] = ()
    denials: tuple[Denial, ...] = ()

    @property
    def level(self) -> Level:
        """How strict it is."""
        if self.denials:
            return Level.DENY
        if self.persons > 1:
            return Level.APPROVE_BY_TWO
        if self.gates:
            return Level.APPROVE
        return Level.NOTIFY if self.tell else Level.AUTO

    @property
    def outcome(self) -> str:
        """What a decision record calls it: ``auto``, ``approve`` or ``deny``; a notice is no gate."""
        return "deny" if self.denials else "approve" if self.gates else "auto"

    @property
    def persons(self) -> int:
        """How many distinct people have to approve in all."""
        return persons_needed((gate.quorum for gate in self.gates), len(self.gates))

    def join(self, other: Ruling) -> Ruling:
        """Return the least ruling that is as strict as both."""
        if other is AUTO or self == other:
            return self
        if self is AUTO:
            return other
        return Ruling(
            gates=_joined((*self.gates, *other.gates)),
            tell=tuple(sorted({*self.tell, *other.tell})),
            denials=tuple(sorted({*self.denials, *other.denials})),
        )

    def allows(self, other: Ruling) -> bool:
        """Whether meeting this ruling meets ``other`` too: it is as strict or stricter."""
        return self.join(other) == self

    def __str__(self) -> str:
        """Write it as authors write expectations: ``notify(owner); approve(group:a, 2)``."""
        tells = [f"notify({', '.join(self.tell)})"] if self.tell else []
        return "; ".join([*tells, *map(str, self.gates), *map(str, self.denials)]) or "auto"


AUTO: Final = Ruling()


def persons_needed(quorums: Iterable[int], gates: int) -> int:
    """Return how many distinct people it takes: as many as the largest quorum, and as many as there are gates."""
    return max((*quorums, gates), default=0)


def join_all(rulings: Iterable[Ruling]) -> Ruling:
    """Return the least ruling that is as strict as each."""
    return reduce(Ruling.join, rulings, AUTO)


def gate(who: Any, quorum: int = 1, evidence: Iterable[str] = ()) -> Ruling:
    """Return the ruling that asks ``who``: one approver, or a list of which any may answer."""
    people = asked(who)
    if not 1 <= quorum <= QUORUM_MAX:
        raise ValueError(f"a quorum of {quorum} cannot be met; write 1 to {QUORUM_MAX}")
    for one in people:
        if not parse_who(one).may_decide:
            raise ValueError(f"'{one}' never decides what was asked for or is about them; name somebody else")
    return Ruling(gates=(Gate(ask=tuple(sorted(people)), quorum=quorum, evidence=tuple(sorted(set(evidence)))),))


def declared_gate(ask: Iterable[str], quorum: int, evidence: Iterable[str] = ()) -> Ruling:
    """Return the ruling of a gate that a definition, or a record, holds already."""
    return Ruling(gates=(Gate(ask=tuple(sorted(set(ask))), quorum=quorum, evidence=tuple(sorted(set(evidence)))),))


def notice(who: Any) -> Ruling:
    """Return the ruling that tells ``who``: nobody waits for it."""
    return Ruling(tell=tuple(sorted(asked(who))))


def denial(rule: str, text: str) -> Ruling:
    """Return the ruling that nobody can release."""
    return Ruling(denials=(Denial(rule, text),))


def parse_ruling(value: Any) -> Ruling:
    """Read ``auto``, ``notify(who)``, ``approve(who or who, quorum)``, ``deny(rule)``, or a list of these."""
    if isinstance(value, list):
        return join_all(parse_ruling(one) for one in value)
    text = str(value).strip()
    if text == "auto":
        return AUTO
    if text == "deny":
        return denial("", "")
    found = re.fullmatch(r"(notify|approve|deny)\((.*)\)", text)
    if found is None:
        raise ValueError(f"'{text}' is no obligation; write auto, notify(who), approve(who, quorum) or deny")
    match found[1]:
        case "notify":
            return notice([one.strip() for one in found[2].split(",")])
        case "deny":
            return denial(found[2].strip(), "")
        case _:
            return _parse_gate(found[2])


def _parse_gate(inner: str) -> Ruling:
    people, *rest = [part.strip() for part in inner.split(",")]
    quorum, evidence = 1, []
    for part in rest:
        if part.isdecimal():
            quorum = int(part)
        elif part.startswith("with "):
            evidence.append(part.removeprefix("with ").strip())
        else:
            raise ValueError(f"'{part}' is neither a quorum nor 'with <evidence>'; join approvers with 'or'")
    return gate([one.strip() for one in people.split(" or ")], quorum, evidence)


def gates_body(ruling: Ruling) -> list[dict[str, Any]]:
    """Return the gates as records hold them."""
    bodies = []
    for one in ruling.gates:
        body: dict[str, Any] = {"from": list(one.ask), "quorum": one.quorum}
        if one.evidence:
            body["evidence"] = list(one.evidence)
        bodies.append(body)
    return bodies


def gates_from(bodies: Iterable[Mapping[str, Any]]) -> Ruling:
    """Return the ruling of gates that a record holds."""
    return join_all(declared_gate(body["from"], body["quorum"], body.get("evidence", ())) for body in bodies)


def _joined(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """Gates that ask the same people become one, as strict as each: the same people are asked once."""
    merged: dict[tuple[str, ...], Gate] = {}
    for one in gates:
        known = merged.get(one.ask)
        if known is not None:
            evidence = tuple(sorted({*known.evidence, *one.evidence}))
            one = Gate(ask=one.ask, quorum=max(known.quorum, one.quorum), evidence=evidence)  # noqa: PLW2901 -- joined
        merged[one.ask] = one
    return tuple(sorted(merged.values()))
