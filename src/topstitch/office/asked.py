"""Gathers everything a person must know to decide an approval, whichever way the question reaches them.

Letters, chat messages and the page behind a link are made from one ``Asked``. The facts come from the
decision's own record, so that what is shown is what the answer's digest is of. Free text of strangers
and models is shown without hidden characters, as their words, and is never followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from topstitch.governance.approvals import decided_already
from topstitch.governance.duties import presentable
from topstitch.model.kinds import Kind
from topstitch.model.state import ApprovalState
from topstitch.office.desk import Desk, Picture
from topstitch.store import items

VALUE_LENGTH_MAX: Final = 500
"""Characters of one value; the page has them all."""
NOTHING: Final = "(empty)"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One approval, as people are shown it."""

    id: str
    instance: str
    step: str
    workflow: str
    about: str
    """What the instance is about: its title."""
    what: str
    """The step's title."""
    system: str
    risk: int
    status: str
    payload_digest: str
    facts: tuple[tuple[str, str], ...]
    """The rendered payload, field by field."""
    why: tuple[str, ...]
    """Which rules ask, and what each has read."""
    proposal: str | None
    """Who proposed it, when that was an agent, with its own words."""
    quorum: int
    evidence: tuple[str, ...]
    if_approved: str
    if_refused: str
    if_unanswered: str
    asked_at: datetime
    give_up_at: datetime
    people: tuple[Mapping[str, str], ...]
    """Everybody who was asked: ``{id, name?, email?}``."""
    decided: str | None
    """How it ended, and by whom; nothing while it is open."""
    decided_at: datetime | None = None


async def asked_of(desk: Desk, approval: str) -> Asked:
    """Return an approval with everything that a person must know."""
    row = await items.get_approval(desk.store, approval)
    seen = await desk.picture(row["instance"])
    step = seen.plan.steps.get(row["step"] or "")
    decision = _decision(seen, row["step"])
    system = seen.plan.systems.get(step.system) if step else None
    state = seen.state.steps[row["step"]].approval if row["step"] in seen.state.steps else None
    mine = state if state is not None and state.id == approval else None
    return Asked(
        id=approval,
        instance=row["instance"],
        step=str(row["step"]),
        workflow=seen.plan.title,
        about=presentable(seen.state.title),
        what=step.title if step else str(row["title"]),
        system=system.title if system else "Topstitch",
        risk=int(decision.get("risk") or 1),
        status=str(row["status"]),
        payload_digest=str(row["payload_digest"]),
        facts=tuple(facts(decision.get("payload"))),
        why=tuple(_why(decision)),
        proposal=_proposal(decision),
        quorum=int(row["quorum"] or 1),
        evidence=tuple(sorted({e for gate in (mine.gates if mine else ()) for e in gate.get("evidence", ())})),
        if_approved=str(row["if_approved"]),
        if_refused=str(row["if_refused"]),
        if_unanswered=str(row["if_unanswered"]),
        asked_at=row["asked_at"],
        give_up_at=row["give_up_at"],
        people=_people(row, mine),
        decided=_decided(row, mine),
        decided_at=row["closed_at"] or (row["answers"][-1]["at"] if row["answers"] else None),
    )


def facts(payload: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield a payload field by field, as a person reads it."""
    match payload:
        case Mapping() if payload.keys() == {"erased"}:
            yield before or "payload", "erased"
        case Mapping():
            for name, value in payload.items():
                yield from facts(value, f"{before}{': ' if before else ''}{str(name).replace('_', ' ')}")
        case list() if any(isinstance(one, Mapping | list) for one in payload):
            for number, one in enumerate(payload, 1):
                yield from facts(one, f"{before} {number}".strip())
        case _:
            yield before or "payload", _text(payload)


def _text(value: Any) -> str:
    match value:
        case None | "" | []:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_text, value))
        case _:
            shown = presentable(str(value)).replace("\n", " / ")
            return shown if len(shown) <= VALUE_LENGTH_MAX else shown[:VALUE_LENGTH_MAX] + " ..."


def _decision(seen: Picture, step: str | None) -> Mapping[str, Any]:
    return next((r.body for r in reversed(seen.records) if r.kind == Kind.DECISION and r.step == step), {})


def _why(decision: Mapping[str, Any]) -> Iterator[str]:
    for one in decision.get("because", ()):
        if not (one.get("gates") or one.get("demands") or one.get("condition")):
            continue
        rule = str(one["rule"]) + (f" of {one['bundle']}" if one.get("bundle") else "")
        read = "; ".join(f"{path} is {_text(value)}" for path, value in one.get("read", {}).items() if _is_plain(value))
        yield f"{rule}: {read}" if read else rule


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping)


def _proposal(decision: Mapping[str, Any]) -> str | None:
    decided = decision.get("decided_by") or {}
    if decided.get("kind") != "agent":
        return None
    said = decided.get("reason")
    words = f'; it says: "{_text(said)}"' if isinstance(said, str) and said else ""
    owner, model = decided.get("owner"), decided.get("model")
    return f"proposed by the agent {decided.get('id')} ({model}), for which {owner} answers{words}"


def _people(row: Mapping[str, Any], state: ApprovalState | None) -> tuple[Mapping[str, str], ...]:
    found: dict[str, Mapping[str, str]] = {}
    listed = [p for p in (state.people if state else row["people"] or ()) if isinstance(p, Mapping)]
    for person in listed:
        if isinstance(person.get("id"), str):
            found[person["id"]] = {k: str(person[k]) for k in ("id", "name", "email") if person.get(k)}
    return tuple(found.values())


def _decided(row: Mapping[str, Any], state: ApprovalState | None) -> str | None:
    said = decided_already(state) if state is not None else None
    if said is not None or row["status"] == "open":
        return said
    by = ", ".join(str(one["actor"]).removeprefix("human:") for one in row["answers"])
    return f"it is {row['status']}{f', answered by {by}' if by else ''}"
