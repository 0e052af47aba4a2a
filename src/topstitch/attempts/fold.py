"""Folds the records of acts into an instance's state.

Records name the next status, so this file applies and never judges. ``lifecycle`` merges
``FOLDS`` with those of the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from topstitch.foundation.timetext import parse_time
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Record
from topstitch.model.state import ActState, ActStatus, Failure, InstanceState

Entry = Draft | Record
Fold = Callable[[InstanceState, Entry], InstanceState]


def time_of(body: Mapping[str, Any], name: str) -> datetime | None:
    """Return the time that stands under ``name``, or nothing."""
    text = body.get(name)
    return parse_time(text) if text else None


def with_act(state: InstanceState, act: ActState) -> InstanceState:
    """Return ``state`` with ``act`` in its place."""
    return replace(state, acts={**state.acts, act.id: act})


def _proposed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    grant = body["grant"]
    act = ActState(
        id=body["act"],
        step=entry.step,
        purpose=body["purpose"],
        system=body["system"],
        action=body["action"],
        payload=body["payload"],
        payload_digest=body["payload_digest"],
        key=body["key"],
        granted=grant["decision"],
        granted_by=grant["by"],
        status=ActStatus(body["next"]),
        output=body.get("output"),
        record=body.get("record"),
        failure=Failure(body["failure"]) if "failure" in body else None,
        confirming_since=entry.at if body["next"] == ActStatus.CONFIRMING else None,
        doubt_since=entry.at if body["next"] == ActStatus.DOUBT else None,
    )
    return with_act(state, act)


def _intended(state: InstanceState, entry: Entry) -> InstanceState:
    act = state.acts[entry.body["act"]]
    act = replace(
        act,
        status=ActStatus.SENT,
        attempt=entry.body["attempt"],
        next_at=None,
        intent_at=entry.at,
        first_intent_at=act.first_intent_at or entry.at,
    )
    return with_act(state, act)


def _moved(state: InstanceState, entry: Entry) -> InstanceState:
    """Apply a result, a look-up, a doubt or a calling-off: status, when, and what was learnt."""
    body = entry.body
    act = state.acts[body["act"]]
    status = ActStatus(body["next"])
    failure = body.get("failure")
    doubtful = body.get("doubtful", act.doubtful)
    output = body.get("output", act.output) if status is not ActStatus.CALLED_OFF else act.output
    act = replace(
        act,
        status=status,
        next_at=time_of(body, "next_at"),
        attempt=act.attempt - 1 if body.get("held") else act.attempt,
        doubtful=doubtful,
        lookups=act.lookups + (entry.kind == Kind.ACT_LOOKED_UP),
        unanswered=act.unanswered + 1 if body.get("answer") == "no_answer" else 0,
        restarts=act.restarts + (entry.kind == Kind.ACT_IN_DOUBT),
        doubt_since=_doubt_since(act, entry, doubtful or status is ActStatus.DOUBT),
        confirming_since=entry.at if status is ActStatus.CONFIRMING else act.confirming_since,
        output=output,
        found=body.get("found", act.found),
        record=body.get("record", act.record),
        url=body.get("url", act.url),
        failure=Failure(failure) if failure else None,
        problem=body.get("problem") or (act.problem if status is not ActStatus.DONE else None),
        request=body.get("request", act.request),
        held=body.get("held", False) or body.get("answer") == "held",
    )
    return with_act(state, act)


def _doubt_since(act: ActState, entry: Entry, doubted: bool) -> datetime | None:
    """A doubt is as old as the attempt it is about: the settle time counts from there."""
    if not doubted:
        return None
    if entry.kind in (Kind.ACT_RESULT, Kind.ACT_IN_DOUBT):
        return entry.at
    return act.doubt_since or entry.at


def _read_back(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    act = state.acts[body["act"]]
    failure = body.get("failure")
    if body["agrees"]:
        act = replace(act, expect=act.expect + 1, polls=0, confirming_since=entry.at, observed=body.get("observed"))
    elif body.get("held"):
        act = replace(act, polls=act.polls + 1, confirming_since=entry.at)
    else:
        act = replace(act, polls=act.polls + 1, problem=body.get("problem", act.problem))
    act = replace(
        act,
        status=ActStatus(body["next"]),
        next_at=time_of(body, "next_at"),
        failure=Failure(failure) if failure else None,
        held=body.get("held", False),
    )
    return with_act(state, act)


def _asked_again(state: InstanceState, entry: Entry) -> InstanceState:
    """Nothing is held back any more: what was is due now."""
    due = {name: replace(state.acts[name], next_at=entry.at, held=False) for name in entry.body["acts"]}
    reads = {name: replace(state.context_reads[name], again_at=entry.at, held=False) for name in entry.body["reads"]}
    return replace(state, acts={**state.acts, **due}, context_reads={**state.context_reads, **reads})


FOLDS: Final[Mapping[str, Fold]] = {
    Kind.ACT_PROPOSED: _proposed,
    Kind.ACT_INTENT: _intended,
    Kind.ACT_RESULT: _moved,
    Kind.ACT_IN_DOUBT: _moved,
    Kind.ACT_LOOKED_UP: _moved,
    Kind.ACT_QUIESCED: _moved,
    Kind.ACT_READ_BACK: _read_back,
    Kind.HOLD_ENDED: _asked_again,
}
