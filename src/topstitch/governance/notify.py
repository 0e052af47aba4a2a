"""Decides what people are told, and carries the telling into records.

A record that somebody must hear of holds ``tell`` entries; the fold keeps them until a
``told`` record says that they went out, or could not. A notice is never a gate: nothing
waits for it (A-11), and a notice that cannot be sent becomes evidence, not a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.orders import Call, Outcome, Result, TellCall
from topstitch.model.record import ENGINE, Draft, Path, Record, Stage
from topstitch.model.state import InstanceState, Tell
from topstitch.plan.plan import Plan, RetryPlan

TELL_RETRY = RetryPlan(attempts=4, first_seconds=30, max_seconds=600)
"""A notice is tried four times; then the record says that it did not go out."""


def tell(
    about: str, what: str, who: Sequence[str], notice: Mapping[str, Any], people: Sequence[Any] = ()
) -> dict[str, Any]:
    """Return one ``tell`` entry; ``about`` and ``what`` make its key, so that the same notice is sent once."""
    return {
        "key": f"tell/{about}/{what}",
        "about": about,
        "who": list(who),
        "people": list(people),
        "notice": dict(notice),
    }


def personal_in(body: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the paths of the free text in the ``tell`` entries of ``body``: free text counts as personal."""
    paths: list[Path] = []
    for index, entry in enumerate(body.get("tell", ())):
        paths += [("tell", index, "notice", name) for name in ("title", "text") if entry["notice"].get(name)]
        if entry["people"]:
            paths.append(("tell", index, "people"))
    return tuple(paths)


def gathered(state: InstanceState, entry: Draft | Record) -> InstanceState:
    """Return ``state`` with the ``tell`` entries of a record waiting to be sent."""
    entries = entry.body.get("tell")
    if not entries:
        return state
    tells = dict(state.tells)
    for one in entries:
        tells[one["key"]] = Tell(
            key=one["key"],
            about=one["about"],
            who=tuple(one["who"]),
            people=tuple(one["people"]),
            notice=one["notice"],
        )
    return replace(state, tells=tells)


def calls(plan: Plan, state: InstanceState, now: datetime) -> tuple[list[Call], datetime | None]:
    """Return the notices that are due, and when the next one is."""
    due: list[Call] = []
    wake: datetime | None = None
    for pending in state.tells.values():
        if pending.next_at is not None and pending.next_at > now:
            wake = min(wake or pending.next_at, pending.next_at)
            continue
        due.append(
            TellCall(
                key=pending.key,
                who=pending.who,
                subject=state.correlation,
                requester=state.requester,
                owner=plan.owner,
                people=pending.people,
                notice={**pending.notice, "instance": state.id, "workflow": plan.title, "about": pending.about},
            )
        )
    return due, wake


def settle(state: InstanceState, call: TellCall, outcome: Outcome, now: datetime, stage: Stage) -> Draft | None:
    """Return the record of a notice that went out, or of a try that failed."""
    pending = state.tells.get(call.key)
    if pending is None:
        return None
    ok = outcome.result is Result.OK
    people = (outcome.value or {}).get("people", []) if ok else []
    body: dict[str, Any] = {
        "key": call.key,
        "about": pending.about,
        "who": list(pending.who),
        "ok": ok,
        "people": people,
    }
    body["notice"] = {"kind": pending.notice.get("kind", "notice")}
    if outcome.problem is not None:
        body["problem"] = {"code": outcome.problem.code, "message": outcome.problem.message}
    if not ok and outcome.result is not Result.REFUSED and pending.tries + 1 < TELL_RETRY.attempts:
        wait = TELL_RETRY.wait_seconds(pending.tries + 1, call.key)
        body["again_at"] = rfc3339(now + timedelta(seconds=wait))
    personal: tuple[Path, ...] = (("people",),) if people else ()
    return Draft(kind=Kind.TOLD, at=now, actor=ENGINE, stage=stage, body=body, personal=personal)


def told(state: InstanceState, entry: Draft | Record) -> InstanceState:
    """Fold a ``told`` record: the notice is gone, or is tried again; a task learns who its people are."""
    body = entry.body
    tells = dict(state.tells)
    pending = tells.pop(body["key"], None)
    if pending is not None and body.get("again_at"):
        tells[pending.key] = replace(pending, tries=pending.tries + 1, next_at=parse_time(body["again_at"]))
    state = replace(state, tells=tells)
    task = state.tasks.get(body["about"])
    if task is not None and body["people"] and not task.people:
        state = replace(state, tasks={**state.tasks, task.id: replace(task, people=tuple(_listed(body["people"])))})
    return state


def _listed(people: Any) -> Iterable[Mapping[str, Any]]:
    return people if isinstance(people, list) else ()
