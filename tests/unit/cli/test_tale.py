"""Every kind of record either has a sentence or is evidence only."""

from __future__ import annotations

from topstitch.cli.tale import _SENTENCES
from topstitch.model.kinds import Kind

EVIDENCE = {
    Kind.HOLD_ENDED,
    Kind.KEY_ROTATED,
    Kind.KEY_LOST,
    Kind.HOLD_PLACED,
    Kind.HOLD_LIFTED,
    Kind.DELEGATION_GRANTED,
    Kind.DELEGATION_ENDED,
    Kind.AGENT_CHANGED,
    Kind.CALENDAR_LOADED,
    Kind.SECRET_CHANGED,
    Kind.ACCESS_CHANGED,
    Kind.PUBLISH_PROPOSED,
    Kind.PUBLISH_SETTLED,
    Kind.SOURCE_READ,
    Kind.CONTEXT_READ,
    Kind.CONTEXT_SKIPPED,
    Kind.APPROVERS_SOUGHT,
    Kind.ACT_PROPOSED,
    Kind.ACT_INTENT,
    Kind.ACT_IN_DOUBT,
    Kind.ACT_READ_BACK,
    Kind.ACT_QUIESCED,
    Kind.TASK_CLOSED,
    Kind.STEP_UNDO_OPEN,
    Kind.SIGNAL_OFFERED,
    Kind.WAIT_LOOKED,
    Kind.WAIT_EXPIRED,
    Kind.CHILD_STARTED,
    Kind.CHILD_ENDED,
    Kind.REPORTED,
    Kind.CASE_CLOSED,
    Kind.DISCREPANCY_OPENED,
    Kind.DISCREPANCY_UPDATED,
    Kind.ERASED,
    Kind.PLAN_MOVED,
}


def test_no_kind_is_forgotten():
    assert set(Kind) - set(_SENTENCES) == EVIDENCE
