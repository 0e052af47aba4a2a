"""Decides whether a person's answer to an approval counts, and makes the record of it.

The doors call ``answer`` with the instance's state as it stands and the name the person gave;
they append what it returns, guarded by the head they looked at. Only who was asked may
answer, never who asked for it or whom it is about; an answer is for exactly the payload that
was shown; and a late one hears who decided already. Whether an answer is enough, the
execution stage decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path
from topstitch.model.state import ApprovalState, InstanceState, StepState

APPROVE: Final = "approve"
REFUSE: Final = "refuse"


def answer(  # noqa: PLR0913 -- an answer has this many parts
    state: InstanceState,
    approval: str,
    person: str,
    said: str,
    now: datetime,
    *,
    comment: str | None = None,
    payload_digest: str | None = None,
    via: str,
) -> Draft:
    """Return the record of an answer; raise when it does not count, saying why and what to do.

    ``payload_digest`` is what the person saw; without it the payload asked about now is meant.
    """
    step = asked_step(state, approval)
    asked = step.approval
    assert asked is not None  # noqa: S101 -- the step was found by it
    _require_open(asked)
    known = _require_asked(state, asked, person)
    _require_first(asked, known)
    if payload_digest is not None and payload_digest != asked.payload_digest:
        message = f"what {approval} asks about has changed since you looked; look again, then decide"
        raise ConflictError("approval-stale", message, detail={"payload_digest": asked.payload_digest})
    body: dict[str, Any] = {
        "approval": approval,
        "answer": said,
        "payload_digest": asked.payload_digest,
        "via": via,
        "for": known.get("for"),
    }
    personal: tuple[Path, ...] = ()
    if comment:
        body["comment"], personal = comment, (("comment",),)
    actor = Actor(ActorKind.HUMAN, str(known["id"]))
    return Draft(
        kind=Kind.APPROVAL_ANSWERED, at=now, actor=actor, stage=state.stage, step=step.id, body=body, personal=personal
    )


def asked_step(state: InstanceState, approval: str) -> StepState:
    """Return the step that an approval releases."""
    for step in state.steps.values():
        if step.approval is not None and step.approval.id == approval:
            return step
    message = f"{state.id} asks for no approval {approval} any more; see what waits with: topstitch approvals list"
    raise NotFoundError("no-approval", message)


def find_person(people: tuple[Mapping[str, Any], ...], name: str) -> Mapping[str, Any] | None:
    """Return who of ``people`` goes by ``name``: an id or an address, in any case."""
    wanted = bare(name)
    for person in people:
        if isinstance(person, Mapping) and wanted in {bare(str(person[k])) for k in ("id", "email") if person.get(k)}:
            return person
    return None


def bare(name: str) -> str:
    """Return a person's name as it is compared: without ``human:`` and case."""
    return name.removeprefix("human:").strip().lower()


def decided_already(asked: ApprovalState) -> str | None:
    """Say who decided and how, or nothing while it is open."""
    if asked.ending is None and not any(said == REFUSE for _, said in asked.answers):
        approved = {actor for actor, said in asked.answers if said == APPROVE}
        if len(approved) < asked.quorum:
            return None
    by = [actor.removeprefix("human:") for actor, _ in asked.answers]
    ending = asked.ending or ("refused" if any(said == REFUSE for _, said in asked.answers) else "approved")
    match ending:
        case "approved" | "refused":
            return f"{', '.join(by) or 'somebody'} {ending} it already"
        case "unanswered":
            return f"nobody answered by {rfc3339(asked.give_up_at)}, and it ended as unanswered"
        case "void":
            return "what it asked about has changed, so it is void and people are asked anew"
        case _:
            return "it was withdrawn, because the instance stopped"


def _require_open(asked: ApprovalState) -> None:
    decided = decided_already(asked)
    if decided is not None:
        message = f"{asked.id} is decided: {decided}; see the instance for what followed"
        raise ConflictError("approval-decided", message, detail={"ending": asked.ending or "", "answers": _listed(asked)})


def _require_asked(state: InstanceState, asked: ApprovalState, person: str) -> Mapping[str, Any]:
    if bare(person) in {bare(one) for one in (state.requester, state.correlation) if one}:
        message = f"{person} asked for this or is whom it is about, so somebody else has to decide {asked.id}"
        raise NotAllowedError("own-request", message)
    known = find_person(asked.people, person)
    if known is None:
        names = ", ".join(str(p.get("id")) for p in asked.people if isinstance(p, Mapping)) or "nobody was found"
        message = f"{person} was not asked to decide {asked.id}; those who were: {names} (say who you are with --as)"
        raise NotAllowedError("not-asked", message)
    return known


def _require_first(asked: ApprovalState, known: Mapping[str, Any]) -> None:
    mine = {bare(actor) for actor, _ in asked.answers}
    if bare(str(known["id"])) in mine:
        message = f"{known['id']} has answered {asked.id} already; {asked.quorum} different people are needed"
        raise ConflictError("answered-already", message)


def _listed(asked: ApprovalState) -> list[dict[str, str]]:
    return [{"actor": actor, "answer": said} for actor, said in asked.answers]
