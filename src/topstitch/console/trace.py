"""Decides what an instance's records say of time: who was busy when, and who was waited for.

``trace`` reads attempts, waits for people and waits between tries out of a journal, step by step;
``shares`` divides the time from the trigger to the last step among systems, seams and people, so
that the three add up exactly. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import msgspec

from topstitch.foundation.timetext import parse_time
from topstitch.model.instance import SETTLED, Mode
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan

SYSTEM, READ_BACK, BETWEEN, PERSON, HAND = "system", "read_back", "between", "person", "hand"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of time of one row."""

    kind: str
    """``system`` a try, ``read_back`` its confirmation, ``between`` tries, ``person`` a decision, ``hand`` a task."""
    start: datetime
    end: datetime
    attempt: int = 0
    result: str = ""
    going: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start).total_seconds()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the timeline: a step, the context, a check."""

    id: str
    title: str
    tone: str
    spans: tuple[Span, ...]
    ready: datetime | None = None
    """When everything it waited for had settled."""
    end: datetime | None = None

    @property
    def start(self) -> datetime | None:
        """When it began."""
        return self.spans[0].start if self.spans else None


def trace(plan: Plan, state: InstanceState, records: Sequence[Record], now: datetime) -> list[Row]:
    """Return the rows in order: trigger, context, steps as they are written, checks."""
    if not records or state.started_at is None:
        return []
    first, started = records[0].at, state.started_at
    rows = [
        Row(
            id="@trigger",
            title="Trigger",
            tone="ok",
            spans=(Span(kind=SYSTEM, start=started, end=max(first, started)),),
        )
    ]
    reads = [r for r in records if r.kind in (Kind.CONTEXT_READ, Kind.CONTEXT_FAILED, Kind.CONTEXT_SKIPPED)]
    if reads:
        failed = any(r.kind == Kind.CONTEXT_FAILED and "again_at" not in r.body for r in reads)
        spans = (Span(kind=SYSTEM, start=started, end=reads[-1].at),)
        title = f"Context · {len(plan.context)} reads"
        rows.append(Row(id="@context", title=title, tone="breach" if failed else "ok", spans=spans, end=reads[-1].at))
    rows += [_step_row(plan, state, name, records, now) for name in plan.steps]
    rows = sorted((row for row in rows if row.spans), key=lambda row: row.spans[0].start)
    return [*rows, *_check_rows(records, now)]


def _step_row(plan: Plan, state: InstanceState, name: str, records: Sequence[Record], now: datetime) -> Row:
    spans: list[Span] = []
    own = [r for r in records if r.step == name and r.kind != Kind.CHECK_READ]
    for make in (_tries, _decisions, _tasks):
        spans += make(own, now)
    spans.sort(key=lambda span: (span.start, span.end))
    status = state.steps[name].status
    tone = "human" if any(s.going and s.kind in (PERSON, HAND) for s in spans) else _TONES.get(str(status), "ok")
    end = max((s.end for s in spans), default=None)
    return Row(
        id=name, title=plan.steps[name].title, tone=tone, spans=tuple(spans), end=end, ready=_ready(plan, state, name)
    )


_TONES: Final = {
    "compensating": "breach",
    "given_up": "breach",
    "undo_open": "breach",
    "unknown": "warn",
    "running": "accent",
    "declined": "warn",
    "undone": "warn",
    "undone_by_hand": "warn",
    "undoing": "warn",
    "kept": "warn",
}


def _ready(plan: Plan, state: InstanceState, name: str) -> datetime | None:
    settled = [state.steps[n].settled_at for n in plan.steps[name].needs]
    if not settled:
        return state.context_done_at
    return max((s for s in settled if s), default=None) if all(settled) else None


def _tries(own: Sequence[Record], now: datetime) -> list[Span]:
    """Return a span for each try, a hollow one for each wait between tries, and the read-back behind."""
    spans: list[Span] = []
    open_at: dict[str, tuple[datetime, int]] = {}
    waits: dict[str, datetime] = {}
    confirming: dict[str, datetime] = {}
    for r in own:
        act = str(r.body.get("act", ""))
        match r.kind:
            case Kind.ACT_INTENT:
                if act in waits:
                    spans.append(Span(kind=BETWEEN, start=waits.pop(act), end=r.at))
                open_at[act] = (r.at, int(r.body["attempt"]))
            case Kind.ACT_RESULT | Kind.ACT_IN_DOUBT if act in open_at:
                start, attempt = open_at.pop(act)
                result = str(r.body.get("result", "unknown"))
                spans.append(Span(kind=SYSTEM, start=start, end=r.at, attempt=attempt, result=result))
                if r.body.get("next") in ("waiting", "doubt"):
                    waits[act] = r.at
                elif r.body.get("next") == "confirming":
                    confirming[act] = r.at
            case Kind.ACT_LOOKED_UP if r.body.get("next") == "confirming":
                spans.append(Span(kind=BETWEEN, start=waits.pop(act, r.at), end=r.at))
                confirming[act] = r.at
            case Kind.ACT_READ_BACK if act in confirming and r.body.get("next") != "confirming":
                spans.append(Span(kind=READ_BACK, start=confirming.pop(act), end=r.at))
            case _:
                continue
    spans += [Span(kind=SYSTEM, start=s, end=max(now, s), attempt=a, going=True) for s, a in open_at.values()]
    spans += [Span(kind=BETWEEN, start=s, end=max(now, s), going=True) for s in waits.values()]
    return spans + [Span(kind=READ_BACK, start=s, end=max(now, s), going=True) for s in confirming.values()]


def _decisions(own: Sequence[Record], now: datetime) -> list[Span]:
    return _between(own, Kind.APPROVAL_ASKED, Kind.APPROVAL_CLOSED, "approval", PERSON, now)


def _tasks(own: Sequence[Record], now: datetime) -> list[Span]:
    return _between(own, Kind.TASK_OPENED, Kind.TASK_CLOSED, "task", HAND, now)


def _between(own: Sequence[Record], opens: Kind, closes: Kind, name: str, kind: str, now: datetime) -> list[Span]:
    opened = {r.body[name]: r for r in own if r.kind == opens}
    closed = {r.body[name]: r for r in own if r.kind == closes}
    skipped = next((r.at for r in own if r.kind == Kind.OPERATOR_COMMANDED and r.body.get("command") == "skip"), None)
    spans = []
    for item, r in opened.items():
        end = closed[item].at if item in closed else skipped
        result = str(closed[item].body.get("ending", "")) if item in closed else ""
        spans.append(Span(kind=kind, start=r.at, end=end or max(now, r.at), result=result, going=end is None))
    return spans


def _check_rows(records: Sequence[Record], now: datetime) -> list[Row]:
    began: dict[str, Record] = {r.body["check"]: r for r in records if r.kind == Kind.CHECK_BEGAN}
    done: dict[str, Record] = {r.body["check"]: r for r in records if r.kind == Kind.CHECK_DONE}
    rows = []
    for name, r in began.items():
        end = done[name].at if name in done else now
        tone = "breach" if name in done and done[name].body.get("differing") else "ok"
        rows.append(
            Row(id=f"@{name}", title=f"Reconcile {name}", tone=tone, spans=tuple(_looks(records, name, r.at, end)))
        )
    return rows


def _looks(records: Sequence[Record], check: str, start: datetime, end: datetime) -> list[Span]:
    """Return a span for each reading of a check, and hollow ones while a difference is given time to settle."""
    spans: list[Span] = []
    for r in records:
        if r.kind == Kind.CHECK_READ and r.body["check"] == check and r.at > start:
            settling = (r.at - start) > timedelta(seconds=30)
            spans.append(Span(kind=BETWEEN if settling else SYSTEM, start=start, end=r.at))
            start = r.at
    return [*spans, Span(kind=SYSTEM, start=start, end=max(end, start))]


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went: three parts that add up to the whole."""

    whole: timedelta
    systems: timedelta
    seams: timedelta
    people: timedelta
    path: tuple[str, ...]
    """The steps that the whole was waiting for, in order."""


def shares(plan: Plan, state: InstanceState, rows: Sequence[Row], now: datetime) -> Shares | None:
    """Divide the time until every step settled (or until now) along the path that was waited for."""
    if state.started_at is None:
        return None
    end = min(state.executed_at or now, now)
    end = max(end, state.started_at)
    by_id = {row.id: row for row in rows}
    # an instance that was turned waited for whatever was going on until then, not for what it undid last
    turned = state.mode is not Mode.FORWARD or state.cancelled
    everybody = [span for row in rows if not row.id.startswith("@") for span in row.spans]
    path = _path(plan, state, by_id, end)
    cursor, parts = state.started_at, {"systems": timedelta(), "seams": timedelta(), "people": timedelta()}
    context_end = min(state.context_done_at or end, end)
    parts["systems"] += context_end - cursor
    cursor = context_end
    for name in path:
        until = min(state.steps[name].settled_at or end, end)
        own = by_id[name].spans if name in by_id else ()
        cursor = _divide(parts, own, everybody if turned else (), cursor, max(until, cursor))
    parts["seams"] += end - cursor
    return Shares(whole=end - state.started_at, path=tuple(path), **parts)


def _divide(
    parts: dict[str, timedelta], own: Sequence[Span], others: Sequence[Span], start: datetime, end: datetime
) -> datetime:
    """Give every stretch between two times to who was busy in it: a person, else the system, else the seam."""
    edges = sorted({start, end, *(t for s in (*own, *others) for t in (s.start, s.end) if start < t < end)})
    for left, right in pairwise(edges):
        busy = {s.kind for s in own if s.start <= left and s.end >= right}
        busy = busy or {s.kind for s in others if s.start <= left and s.end >= right}
        whose = "people" if busy & {PERSON, HAND} else "systems" if busy else "seams"
        parts[whose] += right - left
    return end


def _path(plan: Plan, state: InstanceState, rows: Mapping[str, Row], end: datetime) -> list[str]:
    """Walk back from what ended last (or still goes on) to what it waited for."""
    far = end + timedelta(days=36_500)

    def when(name: str) -> datetime:
        step = state.steps[name]
        if step.status in SETTLED and step.settled_at is not None:
            return step.settled_at
        return far if name in rows else state.started_at or end

    begun = [name for name in plan.steps if name in rows]
    path: list[str] = []
    at = max(begun, key=when, default=None)
    while at is not None and at not in path:
        path.append(at)
        waited = [n for n in (*plan.steps[at].needs, *plan.steps[at].after) if n in rows and state.steps[n].settled_at]
        own = rows[at].start
        waited = [n for n in waited if own is None or (state.steps[n].settled_at or far) <= own]
        at = max(waited, key=when, default=None)
    return path[::-1]


def handoffs(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the crossings that the records speak of: from and to step and system, net and gross."""
    found = []
    for r in records:
        crossed = (r.body.get("handoffs") or ()) if r.kind == Kind.ACT_INTENT else ()
        to = r.step or r.body.get("act")
        found += [{**one, "to": to, "at": r.at, "ready": parse_time(one["ready_at"])} for one in crossed]
    return found
