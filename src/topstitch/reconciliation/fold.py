"""Folds the records of the reconciliation stage into an instance's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from topstitch.foundation.timetext import parse_time
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Record
from topstitch.model.state import CheckRead, CheckState, DiscrepancyState, InstanceState

Entry = Draft | Record


def _began(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    check = CheckState(name=body["check"], due_at=parse_time(body["due_at"]), late=body["late"])
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


def _opened(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    found = DiscrepancyState(
        id=body["discrepancy"],
        record=body["record"],
        system=body["system"],
        check=body["check"],
        severity=body["severity"],
        fields=tuple(body["fields"]),
    )
    return _with(state, found)


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


def _ticketed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    known = state.discrepancies[body["discrepancy"]]
    return _with(state, replace(known, ticketed=body["revision"], ticket=body["ticket"] or known.ticket))


def _resolved(state: InstanceState, entry: Entry) -> InstanceState:
    return _with(state, replace(state.discrepancies[entry.body["discrepancy"]], resolved=True))


def _with(state: InstanceState, found: DiscrepancyState) -> InstanceState:
    return replace(state, discrepancies={**state.discrepancies, found.id: found})


FOLDS: Final[Mapping[str, Callable[[InstanceState, Entry], InstanceState]]] = {
    Kind.CHECK_BEGAN: _began,
    Kind.CHECK_READ: _read,
    Kind.CHECK_DONE: _check_done,
    Kind.DISCREPANCY_OPENED: _opened,
    Kind.DISCREPANCY_UPDATED: _updated,
    Kind.DISCREPANCY_TICKETED: _ticketed,
    Kind.DISCREPANCY_RESOLVED: _resolved,
}
