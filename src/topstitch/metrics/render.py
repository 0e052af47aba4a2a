"""Decides how figures are written for a person: the rows of ``seams``, ``alerts``, ``sla`` and ``report``.

Pure: figures in, columns and rows of text out; the doors print or draw them. What ``--json``
prints comes from ``*_data``. A state is a word, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from topstitch.foundation.timetext import duration_text, rfc3339
from topstitch.metrics.alerts import CLEARED, OPEN, RANK, Level
from topstitch.metrics.baselines import Speed
from topstitch.metrics.exceptions import Share
from topstitch.metrics.limits import DEFAULT, Limits
from topstitch.metrics.report import Line, ManualBaseline
from topstitch.metrics.routes import document, lines
from topstitch.metrics.seams import Band, SeamFigures
from topstitch.metrics.sla import PromiseState, Standing, summary
from topstitch.plan.plan import Plan
from topstitch.store.alarms import AlertRow, Message, Mute
from topstitch.store.sealing import moment

SEAM_COLUMNS: Final = (
    "workflow", "version", "seam", "step", "count", "p50", "p95", "trend", "exceptions", "open", "limit", "state",
)  # fmt: skip
ALERT_COLUMNS: Final = ("id", "level", "since", "workflow", "seam", "what", "looks like", "handled")
SLA_COLUMNS: Final = ("workflow", "promise", "within", "met", "on track", "at risk", "broken", "excused", "state")
REPORT_COLUMNS: Final = ("what", "before", "now", "change")
NOTHING_YET: Final = "-"
COMPARED: Final = "The change is from the quickest by hand, in days of 8 hours, to the slowest in twenty now."


WHOSE: Final = 2
"""How many columns of the board say whose seam it is."""


def seam_columns(whose: bool = True) -> tuple[str, ...]:
    """Return the heads of the board's columns; ``whose`` when more than one definition is on it."""
    return SEAM_COLUMNS[0 if whose else WHOSE :]


def seam_rows(figures: Iterable[SeamFigures], whose: bool = True) -> list[tuple[str, ...]]:
    """Return the rows under ``seam_columns``, in the order given."""
    rows = [
        (
            one.workflow,
            one.version,
            str(one.edge.seam),
            one.edge.to_step,
            str(one.count),
            _s(one.p50_ms),
            _s(one.p95_ms),
            one.spark,
            one.exceptions.text if one.exceptions.count.tried else NOTHING_YET,
            f"{len(one.pending)}, {_s(one.oldest_ms)}" if one.pending else NOTHING_YET,
            _s(one.limit_ms),
            seam_state(one),
        )
        for one in figures
    ]
    return [row[0 if whose else WHOSE :] for row in rows]


def seam_state(one: SeamFigures) -> str:
    """Return the state of a seam in words: its band, and its exceptions when they say more."""
    words = {Share.QUIET: "", Share.CROSSED: "exceptions crossed", Share.PAGING: "exceptions paging"}
    band = "" if one.band in (Band.GREEN, Band.IDLE) and one.exceptions.share is not Share.QUIET else one.band.value
    return ", ".join(word for word in (band, words[one.exceptions.share]) if word)


def seam_finding(figures: Sequence[SeamFigures]) -> str:
    """Return one sentence over the board."""
    crossed = sum(one.count for one in figures)
    if not crossed and not any(one.pending for one in figures):
        return f"{len(figures)} seams, and no handoffs yet."
    bad = sum(one.band is Band.RED or one.exceptions.share is not Share.QUIET for one in figures)
    over = "none is over its limit" if not bad else f"{bad} {'is' if bad == 1 else 'are'} over the limit"
    return f"{crossed} handoffs over {len(figures)} seams; {over}."


def seam_page(plan: Plan, figures: Sequence[SeamFigures], speeds: Mapping[tuple[str, str], Speed]) -> list[str]:
    """Return one seam in depth, for ``seam show A B``: each edge, the steps at its end, what is open."""
    said: list[str] = []
    target, alert = plan.monitor.exception_target, plan.monitor.exception_alert
    for one in figures:
        said += [
            f"{one.workflow} {one.version}: {one.edge.seam}, {one.edge.from_step} > {one.edge.to_step}",
            f"  automated handoff  p50 {_s(one.p50_ms)}  p95 {_s(one.p95_ms)}  of {one.count}  {one.spark}".rstrip(),
            f"  gross              p50 {_s(one.gross_p50_ms)}  p95 {_s(one.gross_p95_ms)}",
            f"  within target      {_percent(one.within_target)}  {_limits(_s(one.target_ms), _s(one.limit_ms))}",
            f"  state              {seam_state(one) or one.band.value}",
            f"  exceptions         {one.exceptions.text}  {_limits(_share(target), _share(alert))}",
        ]
        speed = speeds.get((one.workflow, one.edge.to_step))
        if speed is not None:
            said.append(f"  {one.edge.to_step}: {speed.text}{_goal(speed)}")
        said += [f"  open: {each.instance} for {_s(each.age_ms)}" for each in one.pending[:10]]
    return said


def seam_data(figures: Iterable[SeamFigures]) -> list[dict[str, Any]]:
    """Return the board as data."""
    return [
        {
            "workflow": one.workflow,
            "version": one.version,
            "in_force": one.in_force,
            "from_step": one.edge.from_step,
            "to_step": one.edge.to_step,
            "from_system": one.edge.seam.from_system,
            "to_system": one.edge.seam.to_system,
            "count": one.count,
            "p50_ms": one.p50_ms,
            "p95_ms": one.p95_ms,
            "gross_p50_ms": one.gross_p50_ms,
            "gross_p95_ms": one.gross_p95_ms,
            "within_target": one.within_target,
            "trend_ms": list(one.sparks),
            "open": [{"instance": each.instance, "age_ms": each.age_ms} for each in one.pending],
            "band": one.band,
            "target_ms": one.target_ms,
            "limit_ms": one.limit_ms,
            "tried": one.exceptions.count.tried,
            "exceptions": one.exceptions.count.failed,
            "exception_share": one.exceptions.count.share,
            "exception_state": one.exceptions.share,
            "exception_text": one.exceptions.text,
        }
        for one in figures
    ]


def alert_rows(rows: Iterable[AlertRow], mutes: Iterable[Mute], now_ms: int) -> list[tuple[str, ...]]:
    """Return the rows under ``ALERT_COLUMNS``."""
    muted = {one.cause: one for one in mutes if one.ends_ms > now_ms}
    return [
        (
            row.id,
            row.level,
            _s(max(now_ms - row.since_ms, 0)),
            row.workflow,
            f"{row.from_system} > {row.to_system}" if row.from_system else NOTHING_YET,
            str(row.body.get("title", "")),
            str(row.body.get("diagnosis", "")),
            _handled(row, muted.get(row.cause)),
        )
        for row in rows
    ]


def worst_first(rows: Iterable[AlertRow]) -> list[AlertRow]:
    """Return alerts in the order in which they want attention: open ones, the worst, the longest."""
    return sorted(rows, key=lambda row: (row.status != OPEN, -RANK[Level(row.level)], row.since_ms, row.id))


def alert_block(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a row of ``alert_rows`` for where its columns do not fit: a first line, and what stands under it."""
    name, _, since, _, seam, what, looks_like, handled = cells
    under = [what, f"looks like {looks_like}", *([] if handled == NOTHING_YET else [handled])]
    return [name, f"for {since}", *([] if seam == NOTHING_YET else [seam])], under


def alert_page(row: AlertRow, mutes: Iterable[Mute] = ()) -> list[str]:
    """Return one alert in full, with who has taken it on."""
    found = lines(row, "cleared" if row.status == CLEARED else "opened")
    mute = next((one for one in mutes if one.cause == row.cause), None)
    handled = _handled(replace(row, status=OPEN), mute)
    return found if handled == NOTHING_YET else [*found, f"Handled: {handled}"]


def alert_data(rows: Iterable[AlertRow], mutes: Iterable[Mute] = (), now_ms: int = 0) -> list[dict[str, Any]]:
    """Return alerts as data, with who has taken each on and until when nobody is told."""
    muted = {one.cause: one for one in mutes if one.ends_ms > now_ms}
    return [
        document(row)
        | {
            "cause": row.cause,
            "note": row.note,
            "muted_until": rfc3339(moment(muted[row.cause].ends_ms)) if row.cause in muted else None,
            "muted_because": muted[row.cause].because if row.cause in muted else None,
        }
        for row in rows
    ]


def message_data(found: Iterable[Message]) -> list[dict[str, Any]]:
    """Return who was told as data."""
    return [
        {
            "route": one.route,
            "event": one.event,
            "sent_at": rfc3339(moment(one.sent_ms)) if one.sent_ms is not None else None,
            "tries": one.tries,
            "problem": one.problem,
        }
        for one in found
    ]


def message_lines(found: Iterable[Message]) -> list[str]:
    """Return who was told, a line each."""
    return [f"Told: {one.route}, {one.event}: {_sending(one)}" for one in found]


def _sending(one: Message) -> str:
    if one.sent_ms is not None:
        return f"sent {rfc3339(moment(one.sent_ms))}"
    if one.next_ms is None:
        return f"given up after {one.tries} tries: {one.problem}"
    return f"not yet, tried {one.tries} times" + (f": {one.problem}" if one.problem else "")


def sla_rows(found: Iterable[Standing], plans: Mapping[str, Plan]) -> list[tuple[str, ...]]:
    """Return the rows under ``SLA_COLUMNS``: one for each promise, the broken ones first."""
    rows = []
    for (workflow, promise), states in summary(found).items():
        plan = plans.get(workflow)
        within = next((sla.within_seconds for sla in plan.sla if sla.name == promise), 0) if plan else 0
        worst = next((s for s in (PromiseState.BREACHED, PromiseState.AT_RISK) if states[s]), PromiseState.MET)
        counted = [str(states[s]) for s in _SLA_ORDER]
        rows.append((_SLA_RANK[worst], (workflow, promise, duration_text(within), *counted, _SLA_WORDS[worst])))
    return [row for _, row in sorted(rows)]


def owner_lines(plans: Iterable[Plan]) -> list[str]:
    """Return who owns the promises, a line for each workflow."""
    return [
        f"{plan.workflow} is promised by {plan.owner.get('team', 'nobody')}"
        + (f"; paged is {plan.owner['page']}" if plan.owner.get("page") else "")
        for plan in plans
    ]


def sla_data(found: Iterable[Standing]) -> list[dict[str, Any]]:
    """Return every standing as data."""
    return [
        {
            "workflow": one.workflow,
            "version": one.version,
            "instance": one.instance,
            "promise": one.promise,
            "state": one.state,
            "within_ms": one.within_ms,
            "used_ms": one.used_ms,
            "expected_ms": one.expected_ms,
            "waiting": list(one.waiting),
            "holds_up": one.holds_up,
        }
        for one in found
    ]


def promise_data(found: Iterable[Standing], plans: Mapping[str, Plan]) -> list[dict[str, Any]]:
    """Return every promise with its owner and how many instances stand how."""
    return [
        {
            "workflow": workflow,
            "promise": promise,
            "owner": dict(plans[workflow].owner) if workflow in plans else {},
            **{str(state): count for state, count in states.items()},
        }
        for (workflow, promise), states in summary(found).items()
    ]


def speed_data(figures: Iterable[SeamFigures], speeds: Mapping[tuple[str, str], Speed]) -> list[dict[str, Any]]:
    """Return the speed of the steps behind some edges as data."""
    keys = dict.fromkeys((one.workflow, one.edge.to_step) for one in figures)
    return [
        {
            "workflow": workflow,
            "step": step,
            "pace": speed.pace,
            "current_ms": speed.current_ms,
            "baseline_ms": speed.baseline.median_ms if speed.baseline else None,
            "usual_ms": speed.shown_ms,
            "factor": speed.factor,
            "first_baseline_ms": speed.first.median_ms if speed.first else None,
            "goal_ms": speed.goal_ms(),
            "progress": speed.progress(),
            "text": speed.text,
        }
        for workflow, step in keys
        if (speed := speeds.get((workflow, step))) is not None
    ]


def report_data(found: Iterable[Line]) -> list[dict[str, Any]]:
    """Return a report as data."""
    return [{"what": line.what, "before": line.before, "now": line.now, "change": line.change} for line in found]


def manual_data(manual: ManualBaseline | None) -> dict[str, Any] | None:
    """Return what was recorded of the work by hand as data."""
    return msgspec.to_builtins(manual) if manual is not None else None


def report_rows(found: Iterable[Line]) -> list[tuple[str, ...]]:
    """Return the rows under ``REPORT_COLUMNS``."""
    return [(line.what, line.before, line.now, line.change) for line in found]


_SLA_ORDER: Final = (
    PromiseState.MET, PromiseState.ON_TRACK, PromiseState.AT_RISK, PromiseState.BREACHED, PromiseState.EXCUSED,
)  # fmt: skip
_SLA_RANK: Final = {PromiseState.BREACHED: 0, PromiseState.AT_RISK: 1, PromiseState.MET: 2}
_SLA_WORDS: Final = {
    PromiseState.BREACHED: "red: broken",
    PromiseState.AT_RISK: "amber: at risk",
    PromiseState.MET: "green",
}


def _handled(row: AlertRow, mute: Mute | None) -> str:
    said = []
    if row.status != "open":
        said.append(row.status)
    if row.acknowledged_by:
        said.append(f"taken by {row.acknowledged_by}" + (f": {row.note}" if row.note else ""))
    if mute:
        said.append(f"muted until {rfc3339(moment(mute.ends_ms))}: {mute.because}")
    return "; ".join(said) or NOTHING_YET


def _goal(speed: Speed, limits: Limits = DEFAULT) -> str:
    goal, progress = speed.goal_ms(limits), speed.progress(limits)
    if goal is None or progress is None or speed.first is None:
        return ""
    return f"; first baseline {_s(speed.first.median_ms)}, goal {_s(goal)} ({progress * 100:.0f} % of the way)"


def _s(ms: float | None) -> str:
    if ms is None:
        return NOTHING_YET
    return "< 1 ms" if ms < 1 else duration_text(ms / 1000)


def _limits(target: str, alert: str) -> str:
    return f"target {target}, alert over {alert}"


def _share(share: float) -> str:
    return f"{share * 100:g} %"


def _percent(share: float | None) -> str:
    return NOTHING_YET if share is None else f"{share * 100:.1f} %"
