"""Decides where the time of one instance went: into systems, into seams, or to people.

Parallel branches overlap, so the split follows the critical path: from the end back to the
step that ended last, to the need of it that was met last, and so on to the trigger. The pieces
lie end to end, so they add up to the elapsed time exactly, whatever the journal holds. Pure;
reports and the instance page ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from topstitch.foundation.timetext import parse_time
from topstitch.metrics.sla import Progress, Span
from topstitch.model.kinds import Kind
from topstitch.model.record import Record, Stage
from topstitch.plan.plan import Plan
from topstitch.store.measures import AskedRow
from topstitch.store.sealing import milliseconds


class Where(StrEnum):
    """Where a piece of time went."""

    SYSTEMS = "systems"
    """A system was at work, retries and read-backs included."""
    SEAMS = "seams"
    """Nobody was: the work lay between."""
    PEOPLE = "people"
    """A person was asked, or did it by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of the critical path."""

    where: Where
    begins_ms: int
    ends_ms: int
    step: str
    """The step it leads to or belongs to; ``context`` before the first one, empty after the last."""

    @property
    def took_ms(self) -> int:
        """How long it is."""
        return self.ends_ms - self.begins_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The elapsed time of an instance, in pieces that lie end to end, oldest first."""

    pieces: tuple[Piece, ...]

    def total_ms(self, where: Where | None = None) -> int:
        """Return how long all pieces are, or those of one sort."""
        return sum(piece.took_ms for piece in self.pieces if where is None or piece.where is where)

    def shares(self) -> Mapping[Where, int]:
        """Return milliseconds by sort."""
        return {where: self.total_ms(where) for where in Where}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """What the split needs to know of one step."""

    before: tuple[str, ...] = ()
    """What it needs, and what it comes after."""
    started_ms: int | None = None
    settled_ms: int | None = None
    people: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What the split needs to know of one instance."""

    begins_ms: int
    ends_ms: int
    """When it was executed; now, while it is not."""
    context_ms: int
    """When the context was complete."""
    reads: tuple[Span, ...] = ()
    steps: Mapping[str, StepTimes] = field(default_factory=dict)


def split(times: Times) -> Split:
    """Return where the time went."""
    pieces: list[Piece] = []
    cursor = max(times.ends_ms, times.begins_ms)
    step = _last(times, times.steps, cursor)
    left = set(times.steps)
    while step is not None and cursor > times.begins_ms:  # ends: a step is taken once
        left.discard(step)
        one = times.steps[step]
        settled = _clamp(one.settled_ms if one.settled_ms is not None else cursor, times.begins_ms, cursor)
        if settled < cursor:
            pieces.append(Piece(where=Where.SEAMS, begins_ms=settled, ends_ms=cursor, step=""))
        before = _last(times, [name for name in one.before if name in left], settled, settled_only=True)
        known = times.steps[before].settled_ms if before else None
        ready = _clamp(known if known is not None else times.context_ms, times.begins_ms, settled)
        pieces += _of_step(step, one, ready, settled)
        cursor, step = ready, before
    pieces += _of_context(times, cursor)
    return Split(pieces=tuple(sorted((p for p in pieces if p.took_ms), key=lambda p: p.begins_ms)))


def _last(times: Times, names: Iterable[str], before_ms: int, *, settled_only: bool = False) -> str | None:
    """Return which of these steps ended last; one that is under way has not ended yet, and is the last of all."""
    found = []
    for name in names:
        one = times.steps[name]
        if one.settled_ms is not None:
            found.append((min(one.settled_ms, before_ms), one.started_ms or 0, name))
        elif not settled_only and (one.started_ms is not None or one.people):
            found.append((before_ms, one.started_ms or 0, name))
    return max(found)[2] if found else None


def _of_step(step: str, one: StepTimes, ready: int, settled: int) -> list[Piece]:
    """Cut the time from ready to settled: people where they were at it, the system from its start, the seam before."""
    started = _clamp(one.started_ms if one.started_ms is not None else settled, ready, settled)
    cut = _merged(one.people, ready, settled)
    pieces = [Piece(where=Where.PEOPLE, begins_ms=a, ends_ms=b, step=step) for a, b in cut]
    for begins, ends in _gaps(cut, ready, settled):
        middle = _clamp(started, begins, ends)
        pieces.append(Piece(where=Where.SEAMS, begins_ms=begins, ends_ms=middle, step=step))
        pieces.append(Piece(where=Where.SYSTEMS, begins_ms=middle, ends_ms=ends, step=step))
    return pieces


def _of_context(times: Times, until: int) -> list[Piece]:
    cut = _merged(times.reads, times.begins_ms, until)
    pieces = [Piece(where=Where.SYSTEMS, begins_ms=a, ends_ms=b, step="context") for a, b in cut]
    return pieces + [
        Piece(where=Where.SEAMS, begins_ms=a, ends_ms=b, step="context") for a, b in _gaps(cut, times.begins_ms, until)
    ]


def _merged(spans: Iterable[Span], least: int, most: int) -> list[Span]:
    """Return spans within bounds, in order, overlapping ones as one."""
    found: list[Span] = []
    for start, end in sorted((_clamp(a, least, most), _clamp(b, least, most)) for a, b in spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _gaps(cut: Sequence[Span], least: int, most: int) -> list[Span]:
    found, at = [], least
    for start, end in cut:
        if start > at:
            found.append((at, start))
        at = end
    if at < most:
        found.append((at, most))
    return found


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


# --- From a journal, and from rows ----------------------------------------------------------------

_SETTLING: Final = frozenset(
    {
        Kind.STEP_DONE, Kind.STEP_DONE_BY_HAND, Kind.STEP_SKIPPED, Kind.STEP_DECLINED, Kind.STEP_GIVEN_UP,
        Kind.STEP_NOT_RUN,
    }
)  # fmt: skip
_STARTING: Final = frozenset({Kind.ACT_INTENT, Kind.WAIT_BEGAN, Kind.CHILD_STARTED})


def of_records(plan: Plan, records: Sequence[Record], now: datetime) -> Split:
    """Return where the time of one instance went, from its journal."""
    begins = milliseconds(records[0].at)
    ends = next((_ms(r) for r in records if r.kind == Kind.EXECUTED), None)
    ends = ends if ends is not None else next((_ms(r) for r in records if r.kind == Kind.ENDED), milliseconds(now))
    entered = [_ms(r) for r in records if r.kind == Kind.STAGE_ENTERED and r.body.get("stage") == Stage.EXECUTION]
    reads = [(_ms(r) - int(r.body.get("duration_ms") or 0), _ms(r)) for r in records if r.kind == Kind.CONTEXT_READ]
    spans = _people(records, ends)
    started = _firsts(records, _STARTING)
    settled = _firsts(records, _SETTLING)
    steps = {
        step.id: StepTimes(
            before=(*step.needs, *step.after),
            started_ms=started.get(step.id),
            settled_ms=settled.get(step.id),
            people=tuple(spans.get(step.id, ())),
        )
        for step in plan.steps.values()
    }
    context = entered[0] if entered else ends
    return split(Times(begins_ms=begins, ends_ms=ends, context_ms=context, reads=tuple(reads), steps=steps))


def of_progress(plan: Plan, progress: Progress, tasks: Iterable[AskedRow], now_ms: int) -> Split:
    """Return where the time of one instance went, from its rows: for sums over thousands of them.

    Rows know neither when the context was complete nor when a step was skipped; the time until
    the first step began counts as context then, and no step that was skipped is on the path.
    """
    spans: dict[str, list[Span]] = {}
    for one in (*progress.asked, *tasks):
        spans.setdefault(one.step, []).append((one.asked_ms, one.closed_ms if one.closed_ms is not None else now_ms))
    begun = [row.started_ms for row in progress.steps.values() if row.started_ms is not None]
    done = [row.done_ms for row in progress.steps.values() if row.done_ms is not None]
    is_open = progress.ended_ms is None and progress.row.stage in (Stage.TRIGGER, Stage.CONTEXT, Stage.EXECUTION)
    ends = now_ms if is_open else max(done, default=progress.ended_ms or now_ms)
    steps = {
        name: StepTimes(
            before=(*step.needs, *step.after),
            started_ms=progress.steps[name].started_ms,
            settled_ms=progress.steps[name].done_ms,
            people=tuple(spans.get(name, ())),
        )
        for name, step in plan.steps.items()
        if name in progress.steps
    }
    started = progress.row.started_ms
    return split(Times(begins_ms=started, ends_ms=ends, context_ms=min(begun, default=ends), steps=steps))


def _people(records: Iterable[Record], ends: int) -> dict[str, list[Span]]:
    opened: dict[str, tuple[str, int]] = {}
    spans: dict[str, list[Span]] = {}
    for record in records:
        item = str(record.body.get("approval") or record.body.get("task") or "")
        if record.kind in (Kind.APPROVAL_ASKED, Kind.TASK_OPENED) and record.step:
            opened[item] = (record.step, _ms(record))
        elif record.kind in (Kind.APPROVAL_CLOSED, Kind.TASK_DONE, Kind.TASK_CLOSED) and item in opened:
            step, since = opened.pop(item)
            spans.setdefault(step, []).append((since, _ms(record)))
    for step, since in opened.values():
        spans.setdefault(step, []).append((since, ends))
    return spans


def _firsts(records: Iterable[Record], kinds: frozenset[Kind]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        if record.kind not in kinds or record.step is None or record.step in found:
            continue
        act = str(record.body.get("act") or record.step)
        if act == record.step or act.startswith(record.step + "["):
            text = record.body.get("started_at") if record.kind in _STARTING else None
            found[record.step] = milliseconds(parse_time(text)) if isinstance(text, str) else _ms(record)
    return found


def _ms(record: Record) -> int:
    return milliseconds(record.at)
