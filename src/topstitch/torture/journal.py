"""Keeps a schedule's journal honest: every record is written as bytes, read again and folded.

``walk`` appends through it. The state that goes on is checked against the one folded from
the bytes, record by record, so that by induction the whole journal folds to the state in
memory at every point of every schedule, and a restart may go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from topstitch import lifecycle
from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.model.record import Draft, Record, Stage, parse_actor
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.torture.node import BrokenError


class Journal(Protocol):
    """What a walk appends to."""

    def append(self, state: InstanceState, drafts: Sequence[Draft]) -> InstanceState:
        """Return the state after ``drafts`` as a restart would fold it."""
        ...


class PaperJournal:
    """Records as canonical bytes in memory."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def append(self, state: InstanceState, drafts: Sequence[Draft]) -> InstanceState:
        """Fold each draft twice, as it is and as it reads from its bytes; raise when the two differ."""
        for draft in drafts:
            record = reread(draft)
            after = lifecycle.fold(self._plan, state, draft)
            again = lifecycle.fold(self._plan, state, record)
            if after != again:
                raise BrokenError("refolded", f"{draft.kind} folds to another state once it is read from its bytes")
            state = after
        return state


def reread(draft: Draft) -> Record:
    """Return a draft as a record that went through its canonical bytes."""
    head = {"at": rfc3339(draft.at), "actor": str(draft.actor), "stage": draft.stage, "body": draft.body}
    read = parse(canonical_bytes(head))
    return Record(
        instance="",
        seq=0,
        kind=draft.kind,
        at=parse_time(read["at"]),
        actor=parse_actor(read["actor"]),
        stage=Stage(read["stage"]),
        step=draft.step,
        body=read["body"],
    )
