"""Statuses of steps and instances, and what each means for those who depend on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class StepStatus(StrEnum):
    """Where a step stands (``language.md`` 1.4)."""

    WAITING = "waiting"
    """Its needs have not settled."""
    ASKING = "asking"
    """A person is asked whether it may go."""
    RUNNING = "running"
    """Being carried out, retried or read back."""
    UNKNOWN = "unknown"
    """Sent; whether it happened is being found out."""
    COMPENSATING = "compensating"
    """It could not be completed; what was declared for that is under way."""
    DONE = "done"
    """Confirmed by a read-back."""
    DONE_BY_HAND = "done_by_hand"
    """A person did it in the system's stead."""
    SKIPPED = "skipped"
    """Its condition was false."""
    DECLINED = "declined"
    """A person or a precondition said no."""
    GIVEN_UP = "given_up"
    """Could not be completed, and nobody did it by hand."""
    NOT_RUN = "not_run"
    """Something it needs did not happen, or the instance stopped first."""
    UNDOING = "undoing"
    """Its effect is being taken back."""
    UNDONE = "undone"
    """Its effect was taken back."""
    UNDONE_BY_HAND = "undone_by_hand"
    """A person took its effect back."""
    UNDO_OPEN = "undo_open"
    """Its effect is still there; an exception case with an owner says so."""
    KEPT = "kept"
    """Rolled back around it: its effect cannot be undone, as declared."""


SETTLED: Final = frozenset(
    {
        StepStatus.DONE,
        StepStatus.DONE_BY_HAND,
        StepStatus.SKIPPED,
        StepStatus.DECLINED,
        StepStatus.GIVEN_UP,
        StepStatus.NOT_RUN,
        StepStatus.UNDONE,
        StepStatus.UNDONE_BY_HAND,
        StepStatus.UNDO_OPEN,
        StepStatus.KEPT,
    }
)
SUCCEEDED: Final = frozenset({StepStatus.DONE, StepStatus.DONE_BY_HAND})
IN_ORDER: Final = frozenset({StepStatus.DONE, StepStatus.SKIPPED})
"""Statuses that leave an instance without exceptions."""


class Mode(StrEnum):
    """Which way an instance is going."""

    FORWARD = "forward"
    STOPPING = "stopping"
    ROLLING_BACK = "rolling_back"
    FINISHED = "finished"


class InstanceEnd(StrEnum):
    """How an instance ended."""

    COMPLETED = "completed"
    COMPLETED_WITH_EXCEPTIONS = "completed_with_exceptions"
    ROLLED_BACK = "rolled_back"
    ROLLED_BACK_WITH_EXCEPTIONS = "rolled_back_with_exceptions"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


class Disposition(StrEnum):
    """What becomes of the instance when a step cannot be completed."""

    CONTINUE = "continue"
    ROLLBACK = "rollback"
    STOP = "stop"
