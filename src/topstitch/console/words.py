"""Decides how every status is said and shown: a word, a glyph and a tone, never colour alone.

Tones are the tokens of the style sheet: ``ok``, ``warn``, ``breach``, ``human``, ``accent`` and
``idle``. A test holds the tables against the model, so that no status is without its word.
"""

from __future__ import annotations

from typing import Final

import msgspec

from topstitch.model.instance import StepStatus


class Said(msgspec.Struct, frozen=True):
    """How a status reads."""

    word: str
    glyph: str
    tone: str


INSTANCE: Final[dict[str, Said]] = {
    "running": Said("Running", "play", "accent"),
    "waiting": Said("Waiting", "hourglass", "warn"),
    "paused": Said("Paused", "pause", "warn"),
    "completed": Said("Done", "check", "ok"),
    "completed_with_exceptions": Said("Done, with exceptions", "equal-not", "breach"),
    "rolled_back": Said("Rolled back", "undo-2", "warn"),
    "rolled_back_with_exceptions": Said("Rolled back, with exceptions", "undo-2", "breach"),
    "stopped": Said("Stopped", "x", "breach"),
    "cancelled": Said("Cancelled", "ban", "idle"),
}
PERSON: Final = Said("Waiting on a person", "clock", "human")
ATTENTION: Final = Said("Needs attention", "triangle", "breach")
CHECKING: Final = Said("Watching", "eye", "ok")
COMPENSATING: Final = Said("Compensating", "undo-2", "warn")
ADDED: Final = Said("Added", "circle-dot", "accent")
CHANGED: Final = Said("Changed", "circle-dot", "accent")
REMOVED: Final = Said("Removed", "x", "breach")
UNCHANGED: Final = Said("Unchanged", "circle-dot", "idle")
"""How a step of one version stands to the same step of another."""

STEP: Final[dict[str, Said]] = {
    StepStatus.WAITING: Said("Not started", "circle", "idle"),
    StepStatus.ASKING: Said("Waiting on a person", "clock", "human"),
    StepStatus.RUNNING: Said("Running", "play", "accent"),
    StepStatus.UNKNOWN: Said("Outcome not known yet", "hourglass", "warn"),
    StepStatus.COMPENSATING: Said("Being dealt with by hand", "triangle", "breach"),
    StepStatus.DONE: Said("Done", "check", "ok"),
    StepStatus.DONE_BY_HAND: Said("Done by hand", "check", "ok"),
    StepStatus.SKIPPED: Said("Not needed", "skip-forward", "idle"),
    StepStatus.DECLINED: Said("Declined", "x", "warn"),
    StepStatus.GIVEN_UP: Said("Given up", "x", "breach"),
    StepStatus.NOT_RUN: Said("Not run", "ban", "idle"),
    StepStatus.UNDOING: Said("Being undone", "undo-2", "warn"),
    StepStatus.UNDONE: Said("Undone", "undo-2", "warn"),
    StepStatus.UNDONE_BY_HAND: Said("Undone by hand", "undo-2", "warn"),
    StepStatus.UNDO_OPEN: Said("Could not be undone", "triangle", "breach"),
    StepStatus.KEPT: Said("Stays, as declared", "lock", "warn"),
}
VERDICT: Final[dict[str, Said]] = {
    "match": Said("match", "check", "ok"),
    "nothing_expected": Said("nothing expected", "minus", "idle"),
    "pending": Said("not due", "clock", "idle"),
    "suspected": Said("being looked at again", "hourglass", "warn"),
    "unverified": Said("not readable", "hourglass", "warn"),
    "differs": Said("differs", "equal-not", "breach"),
}
ENDINGS: Final[dict[str, Said]] = {
    "open": Said("Open", "clock", "human"),
    "approved": Said("Approved", "check", "ok"),
    "refused": Said("Refused", "x", "breach"),
    "unanswered": Said("Not answered", "x", "warn"),
    "void": Said("Void", "ban", "idle"),
    "withdrawn": Said("Withdrawn", "ban", "idle"),
}
LATE: Final = {"ok": "within 60 s", "warn": "60 s to 5 min", "breach": "over 5 min"}


def instance(status: str, *, asks: bool = False, cases: bool = False, settled: bool = False) -> Said:
    """Say where an instance stands: what waits for a person, then what is wrong, then its status."""
    if status in ("running", "waiting", "paused"):
        if status == "paused":
            return INSTANCE["paused"]
        if asks:
            return PERSON
        if cases:
            return ATTENTION
        if settled and status == "waiting":
            return CHECKING
    return INSTANCE.get(status, Said(status.replace("_", " ").capitalize(), "circle", "idle"))


def seam_tone(ms: float, target_seconds: int = 60, alert_seconds: int = 300) -> str:
    """Return the tone of a handoff: within its target, over it, over its limit."""
    if ms > alert_seconds * 1000:
        return "breach"
    return "warn" if ms > target_seconds * 1000 else "ok"
