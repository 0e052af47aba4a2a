"""Keeps a schedule's journal honest: every record is written as bytes, read again and folded.

``walk`` checks each commit through it. The state that goes on is compared with the one
folded from the bytes; so, by induction, the whole journal folds to the state in memory at
every point of every schedule, and a restart may go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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

    def check(self, before: InstanceState, drafts: Sequence[Draft], after: InstanceState) -> None:
        """Raise when ``drafts``, read back, do not lead from ``before`` to ``after``."""
        ...


class PaperJournal:
    """Records as canonical bytes in memory."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def check(self, before: InstanceState, drafts: Sequence[Draft], after: InstanceState) -> None:
        """Fold each draft as it reads from its bytes; raise when the state is another than the one at hand."""
        state = before
        for draft in drafts:
            state = lifecycle.fold(self._plan, state, reread(draft))
        if state != after:
            kinds = ", ".join(draft.kind for draft in drafts)
            raise BrokenError("refolded", f"{kinds}: the state folded from the bytes is another than the one in memory")


_actor = lru_cache(maxsize=256)(parse_actor)


def reread(draft: Draft) -> Record:
    """Return a draft as a record that went through its canonical bytes."""
    return Record(
        instance="",
        seq=0,
        kind=draft.kind,
        at=parse_time(rfc3339(draft.at)),
        actor=_actor(str(draft.actor)),
        stage=Stage(draft.stage),
        step=draft.step,
        body=parse(canonical_bytes(draft.body)),
    )
