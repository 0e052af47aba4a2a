"""Decides how decisions are read back: who decided, by which rules, from which facts, on which payload.

``topstitch policy explain`` and the console read instances through it; whether a rule gives the
same answer again is governance's to re-evaluate. It reads records and adds nothing to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Record


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that had a say: its id, the digest of where it stands, the facts it read."""

    rule: str
    digest: str | None = None
    bundle: str | None = None
    read: Mapping[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One person's answer to an approval."""

    actor: Actor
    answer: str
    at: datetime
    on_behalf_of: str | None = None
    comment: Any = None
    via: str | None = None
    payload_digest: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One decision on one step, with what followed from it."""

    seq: int
    at: datetime
    step: str | None
    actor: Actor
    outcome: str
    reasons: tuple[Reason, ...]
    gates: tuple[Mapping[str, Any], ...]
    excluded: tuple[Any, ...]
    payload_digest: str | None
    answers: tuple[Answer, ...]
    ending: str | None
    """How the approval was closed, if one was asked for."""
    hash: str


def explain(records: Iterable[Record], step: str | None = None) -> list[Explanation]:
    """Return the decisions of an instance, of one step if named, oldest first."""
    found: list[Explanation] = []
    for record in records:
        if step is not None and record.step != step:
            continue
        if record.kind == Kind.DECISION:
            found.append(_decision(record))
        elif record.kind in (Kind.APPROVAL_ASKED, Kind.APPROVAL_ANSWERED, Kind.APPROVAL_CLOSED):
            _add(found, record)
    return found


def _decision(record: Record) -> Explanation:
    body = record.body
    return Explanation(
        seq=record.seq,
        at=record.at,
        step=record.step,
        actor=record.actor,
        outcome=str(body.get("outcome")),
        reasons=tuple(_reason(one) for one in body.get("because") or ()),
        gates=tuple(body.get("gates") or ()),
        excluded=tuple(body.get("excluded") or ()),
        payload_digest=body.get("payload_digest"),
        answers=(),
        ending=None,
        hash=record.hash.hex(),
    )


def _reason(one: Mapping[str, Any]) -> Reason:
    read = one.get("read")
    return Reason(
        rule=str(one.get("rule")),
        digest=one.get("digest"),
        bundle=one.get("bundle"),
        read=read if isinstance(read, Mapping) else {},
    )


def _add(found: list[Explanation], record: Record) -> None:
    """Add what followed to the newest decision on the same step."""
    index = next((n for n in range(len(found) - 1, -1, -1) if found[n].step == record.step), None)
    if index is None:
        return
    body, decision = record.body, found[index]
    if record.kind == Kind.APPROVAL_ASKED:
        found[index] = msgspec.structs.replace(decision, excluded=tuple(body.get("excluded") or ()))
    elif record.kind == Kind.APPROVAL_CLOSED:
        found[index] = msgspec.structs.replace(decision, ending=str(body.get("ending")))
    else:
        answer = Answer(
            actor=record.actor,
            answer=str(body.get("answer")),
            at=record.at,
            on_behalf_of=body.get("for"),
            comment=body.get("comment"),
            via=body.get("via"),
            payload_digest=body.get("payload_digest"),
        )
        found[index] = msgspec.structs.replace(decision, answers=(*decision.answers, answer))
