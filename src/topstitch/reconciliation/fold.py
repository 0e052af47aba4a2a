"""Folds the records of the reconciliation stage into an instance's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from topstitch.foundation.timetext import parse_time
from topstitch.governance.notify import gathered
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Record
from topstitch.model.state import (
    CheckRead,
    CheckState,
    DiscrepancyState,
    DiscrepancyStatus,
    InstanceState,
    StepState,
)
from topstitch.reconciliation.life import Move, next_status

Entry = Draft | Record


def _began(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    check = CheckState(
        name=body["check"],
        due_at=parse_time(body["due_at"]),
        late=body["late"],
        only=tuple(body.get("records", ())),
    )
    return replace(state, checks={**state.checks, check.name: check})


def _read(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    check = state.checks[body["check"]]
    again_at = body.get("again_at")
    verdict = body["verdict"]
    read = CheckRead(
        read=body["read"] + 1,
        verdict=verdict,
        again_at=parse_time(again_at) if again_at else None,
        unread_since=parse_time(body["unread_since"]) if body.get("unread_since") else None,
        fields=tuple(body["fields"]),
        settled=again_at is None,
    )
    check = replace(check, reads={**check.reads, body["record"]: read})
    return replace(state, checks={**state.checks, check.name: check})


def _check_done(state: InstanceState, entry: Entry) -> InstanceState:
    check = replace(state.checks[entry.body["check"]], done=True)
    return replace(state, checks={**state.checks, check.name: check})


def _source(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.checks[body["check"]]
    said = {name: body[name] for name in ("value", "problem") if name in body}
    check = replace(known, sources={**known.sources, body["name"]: said})
    return replace(state, checks={**state.checks, check.name: check})


def _opened(state: InstanceState, entry: Entry) -> InstanceState:
    return _with(state, _found(entry))


def _found(entry: Entry) -> DiscrepancyState:
    body = entry.body
    return DiscrepancyState(
        id=body["discrepancy"],
        record=body["record"],
        system=body["system"],
        check=body["check"],
        severity=body.get("severity", "low"),
        fields=tuple(body["fields"]),
    )


def _superseded(state: InstanceState, entry: Entry) -> InstanceState:
    known = state.discrepancies.get(entry.body["discrepancy"])
    found = replace(_found(entry), revision=0, status=DiscrepancyStatus.SUPERSEDED)
    if known is not None:
        found = replace(known, fields=found.fields, check=found.check, status=DiscrepancyStatus.SUPERSEDED)
    return gathered(_with(state, found), entry)


def _updated(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    found = replace(
        known,
        check=body["check"],
        severity=body["severity"],
        fields=tuple(body["fields"]),
        revision=known.revision + 1,
    )
    return _with(state, found)


def _reopened(state: InstanceState, entry: Entry) -> InstanceState:
    state = _updated(state, entry)
    known = state.discrepancies[entry.body["discrepancy"]]
    back = next_status(known.status, Move.RETURN)
    return _with(state, replace(known, status=back, times=entry.body["times"], waived_until=None))


def _ticketed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    status = DiscrepancyStatus(body["state"]) if "state" in body else known.status
    found = replace(known, ticketed=body["revision"], ticket=body["ticket"] or known.ticket, status=status)
    return _with(state, found)


def _waived(state: InstanceState, entry: Entry) -> InstanceState:
    known = state.discrepancies[entry.body["discrepancy"]]
    if entry.body["until"] is None:
        back = next_status(known.status, Move.RETURN)
        return _with(state, replace(known, status=back, waived_until=None, revision=known.revision + 1))
    until = parse_time(entry.body["until"])
    return _with(state, replace(known, status=next_status(known.status, Move.WAIVE), waived_until=until))


_HOW: Final[Mapping[str, Move]] = {"agreed": Move.AGREE, "accepted": Move.ACCEPT, "superseded": Move.SUPERSEDE}


def _resolved(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    status = next_status(known.status, _HOW[body["how"]])
    accepted = {**known.accepted, **body.get("accepted", {})}
    return _with(state, replace(known, status=status, accepted=accepted, waived_until=None))


def _proposed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    step = StepState(id=body["heal"], override=body["payload"])
    state = _with(state, replace(known, status=next_status(known.status, Move.HEAL)))
    return replace(state, heals={**state.heals, step.id: step})


def _refused(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    healing = known.status is DiscrepancyStatus.HEALING
    status = next_status(known.status, Move.STAND) if healing else known.status
    unhealed = tuple(dict.fromkeys((*known.unhealed, body["field"])))
    return _with(state, replace(known, status=status, unhealed=unhealed))


def _with(state: InstanceState, found: DiscrepancyState) -> InstanceState:
    return replace(state, discrepancies={**state.discrepancies, found.id: found})


FOLDS: Final[Mapping[str, Callable[[InstanceState, Entry], InstanceState]]] = {
    Kind.CHECK_BEGAN: _began,
    Kind.SOURCE_READ: _source,
    Kind.CHECK_READ: _read,
    Kind.CHECK_DONE: _check_done,
    Kind.DISCREPANCY_OPENED: _opened,
    Kind.DISCREPANCY_UPDATED: _updated,
    Kind.DISCREPANCY_TICKETED: _ticketed,
    Kind.DISCREPANCY_REOPENED: _reopened,
    Kind.DISCREPANCY_WAIVED: _waived,
    Kind.DISCREPANCY_SUPERSEDED: _superseded,
    Kind.DISCREPANCY_RESOLVED: _resolved,
    Kind.HEAL_PROPOSED: _proposed,
    Kind.HEAL_REFUSED: _refused,
}
