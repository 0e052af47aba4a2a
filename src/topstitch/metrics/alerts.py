"""Decides which alerts are open: at most one for each cause, opened once, cleared once, never flickering.

``conditions`` says what is alarming now; here a condition becomes an alert when it has lasted
the evaluations it must, rises with it, stays while it neither fires nor is over, and is cleared
when it is over. Whoever is to be told is told once for each level; a mute keeps the message
back until it ends. Pure: what stands comes in, what changes goes out. ``watch`` reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from msgspec.structs import replace

from topstitch.foundation.ids import derived_id
from topstitch.store.alarms import AlertRow, Message, Mute, Verdict
from topstitch.store.rollups import Baseline


class Kind(StrEnum):
    """What an alert is about."""

    HANDOFF = "handoff"
    """Work lies at a seam for longer than the limit."""
    DURATION = "duration"
    """A step takes a multiple of its baseline."""
    RUNNING = "running"
    """A single execution of a step is too old."""
    EXCEPTIONS = "exceptions"
    """Too large a share of executions has an exception at a seam."""
    SLA = "sla"
    """A promise is at risk, or broken."""
    CHECK = "check"
    """A reconciliation check is overdue."""


class Level(StrEnum):
    """How bad it is; see ``PAGES`` for who hears of it."""

    CROSSED = "crossed"
    """Over the limit, perhaps by chance: shown only."""
    AT_RISK = "at_risk"
    """A promise will probably be broken."""
    RED = "red"
    """Over the limit."""
    PAGING = "paging"
    """Over the limit, and not by chance."""
    BREACHED = "breached"
    """A promise is broken."""


RANK: Final = {Level.CROSSED: 0, Level.AT_RISK: 1, Level.RED: 2, Level.PAGING: 2, Level.BREACHED: 3}
PAGES: Final = frozenset({Level.AT_RISK, Level.RED, Level.PAGING, Level.BREACHED})
OPEN: Final = "open"
SUSPECTED: Final = "suspected"
CLEARED: Final = "cleared"
NEVER_TOLD: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is alarming now, or that must not be cleared yet (``holds``)."""

    cause: str
    """What tells it from others; an alert is open once for each."""
    kind: Kind
    level: Level
    workflow: str
    since_ms: int
    title: str
    text: str
    diagnosis: str
    version: str | None = None
    step: str | None = None
    from_system: str | None = None
    to_system: str | None = None
    owner: Mapping[str, str] = field(default_factory=dict)
    worst: Sequence[Mapping[str, Any]] = ()
    """The instances it is worst for: ``{instance, text}``."""
    evaluations: int = 1
    """How many evaluations in a row it takes."""
    holds: bool = False
    """It does not fire any more, and is not over either."""


def settle(
    standing: Sequence[AlertRow],
    conditions: Iterable[Condition],
    mutes: Iterable[Mute],
    now_ms: int,
    *,
    number: int,
    tell: Mapping[str, Tell],
    baselines: Sequence[Baseline] = (),
) -> Verdict:
    """Return what one evaluation changes. ``tell`` are the routes: how each words a message."""
    muted = {mute.cause for mute in mutes if mute.ends_ms > now_ms}
    known = {row.cause: row for row in standing}
    rows: list[AlertRow] = []
    gone: list[str] = []
    messages: list[Message] = []
    for condition in conditions:
        row = known.pop(condition.cause, None)
        after = _after(row, condition, now_ms)
        if after is None:
            gone += [row.id] if row is not None else []
            continue
        after, made = _told(after, now_ms, tell, muted=condition.cause in muted)
        rows.append(after)
        messages += made
    for row in known.values():
        if row.status == SUSPECTED:
            gone.append(row.id)
            continue
        cleared = replace(row, status=CLEARED, cleared_ms=now_ms, changed_ms=now_ms, seen=0)
        rows.append(cleared)
        if _told_rank(row) > NEVER_TOLD and row.cause not in muted:
            messages += _messages(cleared, "cleared", now_ms, tell)
    return Verdict(number=number, rows=rows, gone=gone, messages=messages, baselines=baselines)


def _after(row: AlertRow | None, condition: Condition, now_ms: int) -> AlertRow | None:
    """Return the alert as it is now; nothing when there is none, or a suspicion came to nothing."""
    if condition.holds:
        return None if row is None or row.status == SUSPECTED else replace(row, body=_body(row, condition))
    if row is None:
        row = _new(condition, now_ms)
    else:
        since = min(row.since_ms, condition.since_ms)
        row = replace(row, seen=row.seen + 1, since_ms=since, body=_body(row, condition))
    if row.status == SUSPECTED and row.seen >= condition.evaluations:
        row = replace(row, status=OPEN, opened_ms=now_ms, changed_ms=now_ms)
    if RANK[condition.level] > RANK[Level(row.level)]:
        row = replace(row, level=condition.level, changed_ms=now_ms)
    return row


def _new(condition: Condition, now_ms: int) -> AlertRow:
    return AlertRow(
        id=derived_id("alr", condition.cause, str(now_ms)),
        cause=condition.cause,
        kind=condition.kind,
        level=condition.level,
        status=SUSPECTED,
        workflow=condition.workflow,
        version=condition.version,
        step=condition.step,
        from_system=condition.from_system,
        to_system=condition.to_system,
        since_ms=condition.since_ms,
        changed_ms=now_ms,
        seen=1,
        body=_body(None, condition),
    )


def _body(row: AlertRow | None, condition: Condition) -> dict[str, Any]:
    told = row.body.get("told", NEVER_TOLD) if row is not None else NEVER_TOLD
    return {
        "title": condition.title,
        "text": condition.text,
        "diagnosis": condition.diagnosis,
        "owner": dict(condition.owner),
        "worst": [dict(one) for one in condition.worst],
        "told": told,
    }


# --- Telling --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """How one route words a message: what ``routes`` makes of an alert, as text to be kept."""

    word: Any
    """``(alert, event, message id, now_ms) -> str``."""

    def text(self, row: AlertRow, event: str, message: str, now_ms: int) -> str:
        """Word one message."""
        return str(self.word(row, event, message, now_ms))


def _told(row: AlertRow, now_ms: int, tell: Mapping[str, Tell], *, muted: bool) -> tuple[AlertRow, list[Message]]:
    level, told = Level(row.level), _told_rank(row)
    if row.status != OPEN or level not in PAGES or RANK[level] <= told or muted:
        return row, []
    event = "opened" if told == NEVER_TOLD else "raised"
    return replace(row, body={**row.body, "told": RANK[level]}), _messages(row, event, now_ms, tell)


def _told_rank(row: AlertRow) -> int:
    return int(row.body.get("told", NEVER_TOLD))


def _messages(row: AlertRow, event: str, now_ms: int, tell: Mapping[str, Tell]) -> list[Message]:
    made = []
    for route, how in tell.items():
        name = derived_id("msg", row.id, event, row.level, route)
        body = how.text(row, event, name, now_ms)
        made.append(Message(id=name, alert=row.id, event=event, route=route, body=body, made_ms=now_ms, next_ms=now_ms))
    return made
