"""Exception cases: what a person must know of, grouped by cause, and what taking, retrying or waiving one records.

A case of an instance and the case of a paused connection stand in one list. Every act is recorded with
actor and reason: in the instance's journal, or the installation's. The doors call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft
from topstitch.office.desk import Desk
from topstitch.store import items, pauses, searches
from topstitch.store.pauses import Pause

if TYPE_CHECKING:
    from datetime import datetime

    from topstitch.model.query import Query
    from topstitch.model.state import InstanceState
    from topstitch.plan.plan import Plan


async def cases_of(here: Desk, *, every: bool = False, query: Query | None = None) -> list[dict[str, Any]]:
    """Return the cases of instances and of connections, oldest first; with a search, of the instances that match."""
    rows = [dict(row) for row in await items.list_cases(here.store, status=None if every else "open", limit=10_000)]
    if query is not None and query.text:
        return [dict(row) for row in await of_matching(here, query, rows)]
    held = await (pauses.all_pauses(here.store) if every else pauses.open_pauses(here.store))
    return sorted([*rows, *map(_connection_case, held)], key=lambda row: (row["opened_at"], row["id"]))


async def of_matching(here: Desk, query: Query, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows whose instance matches a search, in their order."""
    kept = await searches.among(here.store, query, here.now(), [str(row["instance"]) for row in rows])
    return [row for row in rows if row["instance"] in kept]


def _connection_case(pause: Pause) -> dict[str, Any]:
    return {
        "id": pause.id,
        "subject": pause.subject,
        "instance": None,
        "instance_title": f"{pause.kind} {pause.name}",
        "step": None,
        "cause": f"{pause.kind} paused" if pause.cause == "operator" else pause.cause,
        "from_system": pause.name.partition(">")[0],
        "to_system": pause.name.rpartition(">")[2],
        "owner": pause.owner or "nobody yet",
        "summary": f"{pause.kind} {pause.name} is paused: {pause.reason}",
        "remedy": f"Mend it, then: topstitch connections resume {pause.name} -m <why>",
        "problem": pause.problem,
        "attempt": None,
        "opened_at": pause.opened_at,
        "closed_at": pause.closed_at,
        "closed_by": pause.closed_by,
        "because": pause.because,
        "status": "open" if pause.closed_at is None else "closed",
    }


def grouped(cases: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return cases by cause: what went wrong, in which system, at which step."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        groups.setdefault(group_of(case), []).append(case)
    return groups


def group_of(case: Mapping[str, Any]) -> str:
    """Return what a case has in common with others of its cause."""
    code = (problem_of(case) or {}).get("code")
    parts = (case["to_system"] or "topstitch", case["step"], code or case["cause"])
    return "/".join(str(part) for part in parts if part)


def problem_of(case: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the system said, as data."""
    said = case.get("problem")
    if isinstance(said, str):
        try:
            said = parse(said)
        except ValueError:
            return {"message": said}
    return said if isinstance(said, Mapping) else None


async def case_of(here: Desk, name: str) -> dict[str, Any]:
    """Return the one case whose id begins so."""
    found = [case for case in await cases_of(here, every=True) if str(case["id"]).startswith(name)]
    if not found:
        raise NotFoundError("no-case", f"there is no case {name}; topstitch exceptions list --each names them")
    if len(found) > 1 and all(case["id"] != name for case in found):
        raise NotFoundError("id-unclear", f"more than one case begins with {name}; type more of it")
    return next((case for case in found if case["id"] == name), found[0])


async def on_case(here: Desk, case: Mapping[str, Any], actor: Actor, reason: str, verb: str) -> int | None:
    """Do one act on one case; return where it was recorded."""
    if case["status"] != "open":
        raise ConflictError(
            "case-closed", f"{case['id']} is closed already, by {case['closed_by']}; nothing is left to {verb}"
        )
    if case["instance"] is None:
        if verb == "take":
            await pauses.take(here.store, case["id"], actor, here.now(), reason=reason)
        else:
            await pauses.resume(here.store, case["subject"], actor, here.now(), because=reason)
        return None
    name = str(case["instance"])
    plan = (await here.picture(name)).plan
    records = await here.say(name, lambda state, now: acted(plan, state, case, actor, reason, verb, now))
    return records[-1].seq


def acted(
    plan: Plan, state: InstanceState, case: Mapping[str, Any], actor: Actor, reason: str, verb: str, now: datetime
) -> list[Draft]:
    """Return the records of an act on a case; raise when it cannot be done."""

    def said(kind: Kind, body: Mapping[str, Any]) -> Draft:
        return Draft(kind=kind, at=now, actor=actor, stage=state.stage, step=case["step"], body=body, personal=personal)

    personal: tuple[tuple[str | int, ...], ...] = ()
    match verb:
        case "take":
            personal = (("reason",),)
            body = {"command": "take", "reason": reason, "case": case["id"], "owner": str(actor)}
            return [said(Kind.OPERATOR_COMMANDED, body)]
        case "waive":
            personal = (("because",),)
            return [said(Kind.CASE_CLOSED, {"case": case["id"], "how": "waived", "because": reason})]
        case _:
            personal = (("because",),)
            closed = said(Kind.CASE_CLOSED, {"case": case["id"], "how": "retried", "because": reason})
            if case["cause"] == "orphan":
                return [closed]
            from topstitch import lifecycle  # noqa: PLC0415 -- listing does without the rules
            from topstitch.execution.operate import Command  # noqa: PLC0415 -- as above

            wish = Command(name="retry", reason=reason, step=case["step"])
            drafts = lifecycle.operate(plan, state, wish, actor, now)
            is_closed = any(d.kind == Kind.CASE_CLOSED and d.body["case"] == case["id"] for d in drafts)
            return drafts if is_closed else [closed, *drafts]
