"""Decides how one instance reads on one screen: where it is, what waits on whom, what was done.

``instance show`` prints the lines. Most important first; payloads and tries only with ``--full``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from topstitch.cli.screen import Screen, aligned, plain, status_of
from topstitch.cli.when import ago, at, retold, until
from topstitch.foundation.timetext import duration_text
from topstitch.model.kinds import Kind
from topstitch.plan.plan import Plan

STEP_MARKS: Final[Mapping[str, str]] = {
    "done": "ok",
    "done_by_hand": "ok",
    "skipped": "idle",
    "waiting": "idle",
    "asking": "wait",
    "running": "work",
    "unknown": "warn",
    "compensating": "warn",
    "declined": "warn",
    "given_up": "bad",
    "not_run": "idle",
    "undoing": "work",
    "undone": "warn",
    "undone_by_hand": "warn",
    "undo_open": "bad",
    "kept": "warn",
}
VERDICT_MARKS: Final[Mapping[str, str]] = {
    "match": "ok",
    "nothing_expected": "idle",
    "pending": "wait",
    "suspected": "warn",
    "unverified": "warn",
    "differs": "bad",
}
Picture = Mapping[str, Any]


def lines(
    screen: Screen, plan: Plan, picture: Picture, now: datetime, *, full: bool = False, more: str
) -> Iterator[str]:
    """Return the screen, line by line; ``more`` is the command that shows every record."""
    yield from _head(screen, picture, now)
    yield from _waiting(screen, picture, now)
    yield from _section(screen, "Steps", _steps(screen, picture))
    if full:
        yield from _section(screen, "Tries", _tries(picture))
    yield from _section(screen, "Effects so far", _effects(screen, plan, picture))
    yield from _undone(screen, picture)
    yield from _section(screen, "Decisions", _decisions(plan, picture))
    yield from _section(screen, "Context", _context(picture, full=full))
    yield from _section(screen, "Tasks", _tasks(screen, picture))
    yield from _section(screen, "Exceptions", _cases(screen, picture))
    yield from _section(screen, "Reconciliation", _checks(screen, plan, picture))
    yield from _section(screen, "Discrepancies", _discrepancies(screen, picture))
    yield ""
    yield f"{picture['records']} records, head {picture['head'][:12]}. Every one: {more}"


def _head(screen: Screen, p: Picture, now: datetime) -> Iterator[str]:
    yield screen.style(f"{p['title']}", bold=True) + f"   {p['workflow_title']} {p['version']}   {p['id']}"
    took = ago(p["started_at"], now) if p["ended_at"] is None else _between(p["started_at"], p["ended_at"])
    word = "for" if p["ended_at"] is None else "after"
    yield f"{status_of(screen, p['status'])}   stage: {p['stage']}   {word} {took}"
    if p["because"]:
        yield f"because {p['because']}"
    event = p["trigger"]
    signed = "" if event["signature"] == "none" else f", signature {event['signature']}"
    yield f"started {at(p['started_at'])} by {event['type']} from {event['source']} ({event['id']}{signed})"
    if p["requester"]:
        yield f"requested by {p['requester']}; key {p['key']}"
    if p["flags"]:
        yield f"noted: {', '.join(flag.replace('_', ' ') for flag in p['flags'])}"


def _verb(wait: Mapping[str, Any]) -> str:
    """Return what those who are asked have to do, in their number."""
    verb = "decide" if wait["kind"] == "approval" else "do"
    return f"{'are' if len(wait['people']) > 1 else 'is'} to {verb}"


def _waiting(screen: Screen, p: Picture, now: datetime) -> Iterator[str]:
    if p["ended_at"] is not None:
        return
    yield ""
    for wait in p["waiting"]:
        if wait["whom"] is None:
            yield f"  {screen.mark('idle')} waiting for {retold(wait['what'])}"
            continue
        yield (
            f"  {screen.mark('wait')} {screen.style(wait['whom'], bold=True)} {_verb(wait)}: {wait['what']}   "
            f"since {at(wait['since'])} ({ago(wait['since'], now)}), ends {until(wait['until'], now)}   {wait['id']}"
        )
    if not p["waiting"]:
        yield f"  {screen.mark('work')} nothing waits; it is being carried on"


def _section(screen: Screen, title: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield ""
        yield screen.style(title, bold=True)
        yield from (f"  {line}" for line in aligned(rows, width=max(0, screen.width - 2)))


def _steps(screen: Screen, p: Picture) -> list[list[str]]:
    rows = []
    for step in p["steps"]:
        tries = f"{step['attempts']} tries" if step["attempts"] > 1 else ""
        wait = f"waited {duration_text(step['approval_ms'] / 1000)} for a person" if step["approval_ms"] else ""
        problem = step["problem"]["message"].split(";")[0] if step["problem"] and step["status"] != "done" else ""
        again = f"next try {at(step['again_at'])}" if step["again_at"] else ""
        notes = "; ".join(n for n in (tries, wait, again, problem, "was there before" if step["found"] else "") if n)
        mark = screen.mark(STEP_MARKS.get(step["status"], "idle"), step["status"].replace("_", " "))
        rows.append([mark, step["title"], step["system"], at(step["settled_at"]), step["took"] or "", notes])
    return rows


def _tries(p: Picture) -> list[list[str]]:
    rows = []
    for step in p["steps"]:
        for one in step["tries"]:
            said = one.get("result") or one.get("answer") or ("agrees" if one.get("agrees") else "disagrees")
            problem = one.get("problem") or {}
            number = f"try {one['attempt']}" if "attempt" in one else str(one["kind"]).removeprefix("act.")
            request = one.get("request") or {}
            sent = f"{request.get('method', '')} {request.get('url', '')}".strip()
            told = f"{problem.get('message', '')} {problem.get('status', '')}".strip()
            rows.append(
                [at(one["at"]), step["title"], number, str(said), f"{one.get('duration_ms', 0)} ms", sent, told]
            )
    return rows


def _effects(screen: Screen, plan: Plan, p: Picture) -> list[list[str]]:
    rows = []
    for effect in p["effects"]:
        system = plan.systems.get(effect["system"])
        mark = screen.mark("ok" if effect["standing"] == "in place" else "warn", effect["standing"])
        hand = "by hand" if effect["by_hand"] else effect["action"]
        rows.append(
            [mark, system.title if system else effect["system"], hand, effect["record"] or "", effect["url"] or ""]
        )
    return rows


def _undone(screen: Screen, p: Picture) -> Iterator[str]:
    """What was undone and what was compensated, apart: the one takes back, the other makes do (E-08)."""
    if p["undone"]:
        yield ""
        yield screen.style("Undone", bold=True) + "       " + ", ".join(p["undone"])
    if p["compensated"]:
        yield ""
        parts = ", ".join(
            f"{c['title']} ({c['items']} done about it; {c['end'].replace('_', ' ')})" for c in p["compensated"]
        )
        yield screen.style("Compensated", bold=True) + "  " + parts


def _decisions(plan: Plan, p: Picture) -> list[list[str]]:
    rows = []
    for d in p["decisions"]:
        step = plan.steps.get(d["step"] or "")
        rows.append([at(d["at"]), d["actor"], step.title if step else "", _what(d), _why(d)])
    return rows


def _what(d: Mapping[str, Any]) -> str:
    match d["kind"]:
        case Kind.DECISION:
            return "released without asking" if d["outcome"] == "auto" else "a person must decide"
        case Kind.APPROVAL_ANSWERED:
            return "approved" if d["answer"] == "approve" else "refused"
        case Kind.APPROVAL_CLOSED | Kind.STEP_DECLINED:
            return str(d["ending"])
        case Kind.FLAG_SET:
            return f"noted {d['flag']}"
        case Kind.MODE_CHANGED:
            return str(d["mode"]).replace("_", " ")
        case Kind.OPERATOR_COMMANDED:
            return str(d["command"])
        case _:
            return str(d["kind"]).replace(".", " ")


def _why(d: Mapping[str, Any]) -> str:
    comment = d.get("comment") or d.get("reason")
    if isinstance(comment, str):
        return comment
    because = d.get("because")
    if isinstance(because, str):
        return because
    if isinstance(because, list) and because:
        rule = because[0]
        read = ", ".join(f"{k} = {plain(v)}" for k, v in (rule.get("read") or {}).items())
        return f"{rule.get('condition') or rule['rule']}" + (f"  ({read})" if read else "")
    if d.get("by"):
        return ", ".join(str(b).removeprefix("human:") for b in d["by"])
    return ""


def _context(p: Picture, *, full: bool) -> list[list[str]]:
    rows = []
    for read in p["context"]:
        origin = f"{read.get('system', '')}.{read.get('action', '')}" if "system" in read else ""
        row = [
            read["name"],
            read["status"],
            origin,
            read.get("record") or "",
            at(read["read_at"]),
            (read.get("digest") or "")[:19],
        ]
        rows.append([*row, str(read.get("value", ""))] if full else row)
    return rows


def _tasks(screen: Screen, p: Picture) -> list[list[str]]:
    marks = {"open": "wait", "accepted": "ok", "done": "work"}
    rows = []
    for task in p["tasks"]:
        mark = screen.mark(marks.get(task["status"], "warn"), task["status"])
        by = (
            f"by {str(task['by']).removeprefix('human:')}"
            if task["by"]
            else f"for {task['to']}, due {at(task['due_at'])}"
        )
        rows.append([mark, task["title"], by, task["id"]])
    return rows


def _cases(screen: Screen, p: Picture) -> list[list[str]]:
    rows = []
    for case in p["cases"]:
        seam = case.get("seam") or {}
        crossing = f"{seam['from_system']} → {seam['to_system']}" if seam else ""
        mark = screen.mark("bad" if case["status"] == "open" else "ok", case["status"])
        rows.append([mark, case["summary"], crossing, f"owner: {case['owner']}", case["remedy"]])
    return rows


def _checks(screen: Screen, plan: Plan, p: Picture) -> list[list[str]]:
    rows = []
    for check in p["checks"]:
        late = ", late" if check["late"] else ""
        rows.append(
            [check["check"], f"due {at(check['due_at'])}{late}", "done" if check["done_at"] else "under way", "", ""]
        )
        for row in check["rows"]:
            system = plan.systems.get(row["system"])
            mark = screen.mark(VERDICT_MARKS.get(row["verdict"], "warn"), row["verdict"].replace("_", " "))
            wrong = [f for f in row.get("fields", ()) if f.get("verdict") not in ("match", None)]
            shown = "; ".join(
                f"{f['field']}: intended {f.get('intended')}, observed {f.get('observed')}" for f in wrong
            )
            rows.append(
                [
                    "",
                    system.title if system else row["system"],
                    mark,
                    shown or ", ".join(row.get("waiting_on", [])),
                    row.get("url") or "",
                ]
            )
    return rows


def _discrepancies(screen: Screen, p: Picture) -> list[list[str]]:
    rows = []
    for d in p["discrepancies"]:
        mark = screen.mark("ok" if d["resolved"] else "bad", "resolved" if d["resolved"] else "open")
        ticket = d["ticket"] or {}
        named = (ticket.get("number") or ticket.get("exception_id")) if isinstance(ticket, Mapping) else ticket
        fields = "; ".join(
            f"{f['field']}: intended {f.get('intended')}, observed {f.get('observed')}" for f in d["fields"]
        )
        rows.append([mark, d["system"], d["severity"], fields, f"ticket {named}" if named else ""])
    return rows


def _between(start: str, end: str) -> str:
    from topstitch.foundation.timetext import parse_time

    return ago(start, parse_time(end))
