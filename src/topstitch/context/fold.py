"""Folds the records of the context stage into an instance's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from topstitch.foundation.timetext import parse_time
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Record
from topstitch.model.state import ContextState, InstanceState

Entry = Draft | Record


def _known(state: InstanceState, entry: Entry) -> InstanceState:
    name = entry.body["name"]
    progress = ContextState(attempt=entry.body["attempt"], settled=True)
    return replace(
        state,
        context={**state.context, name: entry.body["value"]},
        context_reads={**state.context_reads, name: progress},
    )


def _skipped(state: InstanceState, entry: Entry) -> InstanceState:
    return replace(state, context_reads={**state.context_reads, entry.body["name"]: ContextState(settled=True)})


def _failed(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    again_at = body.get("again_at")
    progress = ContextState(
        attempt=body["attempt"],
        again_at=parse_time(again_at) if again_at else None,
        settled=again_at is None,
        failed=again_at is None,
        problem=body["problem"],
        held=body.get("held", False),
    )
    return replace(state, context_reads={**state.context_reads, body["name"]: progress})


FOLDS: Final[Mapping[str, Callable[[InstanceState, Entry], InstanceState]]] = {
    Kind.CONTEXT_READ: _known,
    Kind.CONTEXT_SKIPPED: _skipped,
    Kind.CONTEXT_FAILED: _failed,
}
