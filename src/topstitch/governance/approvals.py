"""Decides whether a person's answer to an approval counts, and makes the record of it.

The doors call ``answer`` with the instance's state as it stands and the person who spoke; they
append what it returns, guarded by the head they looked at. Only who was asked may answer, or
who stands in for them by a dated delegation; never who asked for it, whom it is about, or who
acts for one of these (``duties``). An answer is for exactly the payload that was shown; a late
one hears who decided already. Whether an answer is enough, the execution stage decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import derived_id
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.agents import with_proposer
from topstitch.governance.duties import (
    Delegation,
    Parties,
    Person,
    folded,
    grants_to,
    is_human,
    names_of,
    parties_of,
    person_of,
    presentable,
    why_excluded,
)
from topstitch.governance.obligations import persons_needed
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path
from topstitch.model.state import ApprovalState, InstanceState, StepState

APPROVE: Final = "approve"
REFUSE: Final = "refuse"
COMMENT_LENGTH_MAX: Final = 4_000
"""Characters of a comment."""


def answer(
    state: InstanceState,
    approval: str,
    person: str | Person,
    said: str,
    now: datetime,
    *,
    comment: str | None = None,
    payload_digest: str | None = None,
    via: str,
    delegations: Sequence[Delegation] = (),
    parties: Parties | None = None,
) -> Draft:
    """Return the record of an answer; raise when it does not count, saying why and what to do.

    ``payload_digest`` is what the person saw; without it the payload asked about now is meant.
    ``parties`` are who may not decide, when the caller knows more of them than the instance does.
    """
    step = asked_step(state, approval)
    asked, speaker = step.approval, person_of(person)
    assert asked is not None
    remark = _remark(said, comment)
    _require_evidence(asked, said, remark)
    _require_open(asked, now)
    _require_same_payload(step, asked, payload_digest)
    seat = _seat(asked, speaker, parties or _parties(state, step), delegations, now)
    _require_first(asked, speaker, seat)
    body: dict[str, Any] = {
        "approval": approval,
        "answer": said,
        "payload_digest": asked.payload_digest,
        "via": via,
    }
    own = bool(names_of(seat) & names_of(speaker))
    if not own:
        body["for"] = str(seat["id"])
    if remark:
        body["comment"] = remark
    personal: tuple[Path, ...] = (("comment",),) if remark else ()
    actor = Actor(ActorKind.HUMAN, str(seat["id"] if own else speaker["id"]).removeprefix("human:"))
    return Draft(
        kind=Kind.APPROVAL_ANSWERED, at=now, actor=actor, stage=state.stage, step=step.id, body=body, personal=personal
    )


def approval_id(instance: str, step: str, asks: int) -> str:
    """Return the id of the step's approval number ``asks``."""
    return derived_id("apr", instance, step, str(asks))


def asked_step(state: InstanceState, approval: str) -> StepState:
    """Return the step that an approval releases."""
    for step in (*state.steps.values(), *state.heals.values()):
        if step.approval is not None and step.approval.id == approval:
            return step
    for step in state.steps.values():
        if approval in (approval_id(state.id, step.id, asks) for asks in range(step.asks + 1)):
            message = f"what {approval} asked about has changed, so people are asked anew; see topstitch approvals list"
            raise ConflictError("approval-stale", message)
    message = f"{state.id} asks for no approval {approval} any more; see what waits with: topstitch approvals list"
    raise NotFoundError("no-approval", message)


def find_person(people: Sequence[Mapping[str, Any]], name: str | Person) -> Mapping[str, Any] | None:
    """Return who of ``people`` goes by ``name``: an id, an address or an alias, in any case."""
    wanted = names_of(person_of(name))
    return next((one for one in people if names_of(one) & wanted), None)


def bare(name: str) -> str:
    """Return a person's name as it is compared: without ``human:`` and case."""
    return folded(name)


def decided_already(asked: ApprovalState) -> str | None:
    """Say who decided and how, or nothing while it is open."""
    ending = asked.ending or standing(asked)
    if ending is None:
        return None
    by = [actor.removeprefix("human:") for actor, _ in asked.answers]
    match ending:
        case "approved" | "refused":
            return f"{', '.join(by) or 'somebody'} {ending} it already"
        case "unanswered":
            return f"nobody answered by {rfc3339(asked.give_up_at)}, and it ended as unanswered"
        case "void":
            return "what it asked about has changed, so it is void and people are asked anew"
        case _:
            return "it was withdrawn, because the instance stopped"


def standing(asked: ApprovalState) -> str | None:
    """Return what the answers so far amount to: one refusal refuses, distinct people at every gate approve.

    Who was asked later, because nobody answered or it was reassigned, counts at any gate.
    """
    if any(said == REFUSE for _, said in asked.answers):
        return "refused"
    voices = {folded(asked.stood_for.get(actor, actor)) for actor, _ in asked.answers}
    seats = [_whos(find_person(asked.people, voice)) for voice in voices]
    met = all(sum(_counts(whos, gate, asked.gates) for whos in seats) >= gate["quorum"] for gate in asked.gates)
    return "approved" if met and len(voices) >= asked.quorum else None


def too_few(gates: Sequence[Mapping[str, Any]], people: Sequence[Person]) -> bool:
    """Whether the people found could not approve even if all of them did."""
    seats = [_whos(person) for person in people]
    needed = persons_needed((gate["quorum"] for gate in gates), len(gates))
    short = any(sum(_counts(whos, gate, gates) for whos in seats) < gate["quorum"] for gate in gates)
    return short or len(people) < max(needed, 1)


def _whos(person: Person | None) -> frozenset[str]:
    """Return as what a person was asked; nothing for somebody who was not on the list."""
    if person is None:
        return frozenset()
    return frozenset(one for one in (person.get("for"), *(person.get("also") or ())) if isinstance(one, str))


def _counts(whos: frozenset[str], gate: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> bool:
    return bool(whos & set(gate["from"])) or not any(whos & set(other["from"]) for other in gates)


def _remark(said: str, comment: str | None) -> str:
    if said not in (APPROVE, REFUSE):
        raise RequestError("bad-answer", f"an answer is {APPROVE} or {REFUSE}, not {said!r}; send one of the two")
    remark = presentable(comment or "").strip()
    if len(remark) > COMMENT_LENGTH_MAX:
        raise RequestError("comment-too-long", f"the comment has over {COMMENT_LENGTH_MAX} characters; write less")
    return remark


def _require_evidence(asked: ApprovalState, said: str, remark: str) -> None:
    wanted = sorted({one for gate in asked.gates for one in gate.get("evidence", ())})
    if said == APPROVE and wanted and not remark:
        raise RequestError(
            "evidence-missing", f"this approval rests on evidence; name the {' and the '.join(wanted)} in the comment"
        )


def _require_open(asked: ApprovalState, now: datetime) -> None:
    decided = decided_already(asked)
    if decided is None and now >= asked.give_up_at:
        decided = f"the time for it ended at {rfc3339(asked.give_up_at)}, and silence never approves"
    if decided is not None:
        message = f"{asked.id} is decided: {decided}; see the instance for what followed"
        raise ConflictError(
            "approval-decided", message, detail={"ending": asked.ending or "", "answers": _listed(asked)}
        )


def _require_same_payload(step: StepState, asked: ApprovalState, seen: str | None) -> None:
    if step.payload_digest == asked.payload_digest and seen in (None, asked.payload_digest):
        return
    message = f"what {asked.id} asks about has changed since you looked; look again, then decide"
    raise ConflictError("approval-stale", message, detail={"payload_digest": asked.payload_digest})


def _parties(state: InstanceState, step: StepState) -> Parties:
    """Return who may not decide, by every name that was found for them when people were asked."""
    barred = step.approval.barred if step.approval else ()
    return with_proposer(parties_of(state), step.proposal or {}).with_names("requester, subject or proposer", *barred)


def _seat(
    asked: ApprovalState, speaker: Person, parties: Parties, delegations: Sequence[Delegation], now: datetime
) -> Person:
    """Return whose answer it is: the speaker's own, or that of somebody who was asked and whom they stand in for."""
    name = speaker["id"]
    if not is_human(speaker):
        raise NotAllowedError(
            "not-a-person", f"{name} is no person and may only propose; ask one of those who were asked"
        )
    why = why_excluded(speaker, parties, delegations, now)
    if why is not None:
        message = f"{name} is the {why} here, so somebody else has to decide {asked.id}; ask another approver"
        raise NotAllowedError("own-request", message, detail={"why": why})
    known = find_person(asked.people, speaker)
    if known is not None:
        return known
    for grant in grants_to(names_of(speaker), delegations, now):
        grantor = find_person(asked.people, grant.grantor)
        if grantor is not None and grant.group in (None, str(grantor.get("for")).removeprefix("group:")):
            return grantor
    names = ", ".join(str(p.get("id")) for p in asked.people) or "nobody was found"
    message = f"{name} was not asked to decide {asked.id}; those who were: {names} (say who you are with --as)"
    raise NotAllowedError("not-asked", message)


def _require_first(asked: ApprovalState, speaker: Person, seat: Person) -> None:
    """One natural person has one voice, and so has one seat: delegate and delegator count as one."""
    for actor, said in asked.answers:
        if folded(actor) in names_of(speaker) | names_of(seat):
            message = (
                f"{speaker['id']} has answered {asked.id} already: {said}; {asked.quorum} different people are needed"
            )
            raise ConflictError("answered-already", message, detail={"answer": said})
        if folded(asked.stood_for.get(actor, "")) in names_of(seat):
            message = (
                f"{actor} has answered {asked.id} for {seat['id']} already: {said}; somebody else must answer next"
            )
            raise ConflictError("answered-already", message, detail={"answer": said})


def _listed(asked: ApprovalState) -> list[dict[str, str]]:
    return [{"actor": actor, "answer": said} for actor, said in asked.answers]
