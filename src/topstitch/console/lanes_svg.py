"""Draws one instance as systems and seams: lanes, steps, handoffs with their times, as accessible SVG.

``draw`` is called by the instance's page and by the page of a definition version, which has no
times yet. Classes say the state; colours stand in the style sheet; no attribute holds a style.
Boxes are links, so that Tab walks the flow; a sentence says what the picture shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Final

import msgspec

from topstitch.console import lanes as g
from topstitch.console import words
from topstitch.console.icons import glyph
from topstitch.console.times import Zone, span
from topstitch.console.trace import Row, handoffs
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.plan import ApprovalPlan, Plan

PEOPLE: Final = "People"
TITLE_PX, NOTE_PX, MARK_PX = g.BOX_W - 37, g.BOX_W - 54, g.BAND - 6


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """What a box says."""

    title: str
    note: str
    said: words.Said
    href: str
    undo: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What an arrow says."""

    tone: str
    label: str = ""
    sentence: str = ""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a band says in one lane."""

    text: str
    said: words.Said | None = None


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is drawn."""

    lanes: Sequence[tuple[str, str]]
    boxes: Mapping[str, Box]
    lines: Mapping[tuple[str, str], Line]
    context: Sequence[Mark]
    checks: Sequence[Mark]
    sentence: str


def draw(geometry: g.Geometry, picture: Picture) -> str:
    """Return the SVG."""
    width, height = geometry.width, geometry.height
    parts = [
        f'<svg class="lanes" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="group" aria-labelledby="lanes-t lanes-d">',
        f'<title id="lanes-t">Systems and seams</title><desc id="lanes-d">{escape(picture.sentence)}</desc>',
        '<defs>', *(_head(tone) for tone in ("ok", "warn", "breach", "human", "todo", "inner")), '</defs>',
        *_lanes(geometry, picture.lanes),
        *_ruler(geometry),
        *_band(geometry, g.CONTEXT, picture.context, "context"),
        *_band(geometry, g.RECONCILE, picture.checks, "reconcile"),
    ]  # fmt: skip
    for edge in geometry.edges:
        line = picture.lines.get((edge.source.id, edge.target.id), Line(tone="todo"))
        parts.append(f'<path class="seam {line.tone}" d="{edge.path}" marker-end="url(#head-{line.tone})"/>')
    ordered = sorted((n for n in geometry.nodes.values() if n.id in picture.boxes), key=lambda n: (n.column, n.y))
    parts += [_box(node, picture.boxes[node.id]) for node in ordered]
    for edge in geometry.edges:
        line = picture.lines.get((edge.source.id, edge.target.id))
        if line is not None and line.label:
            parts.append(_pill(edge, line))
    return "".join(parts) + "</svg>"


def pill_width(line: Line) -> float:
    """Return how wide a pill is, from its text."""
    icon = 15 if line.tone in ("breach", "human", "warn") else 0
    return round(len(line.label) * 5.9 + 16 + icon, 1)


def _head(tone: str) -> str:
    return (
        f'<marker id="head-{tone}" class="head {tone}" viewBox="0 0 7 7" refX="6" refY="3.5" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 .6 6.4 3.5 0 6.4z"/></marker>'
    )


def _lanes(geometry: g.Geometry, lanes: Sequence[tuple[str, str]]) -> list[str]:
    parts = []
    for k, (title, kind) in enumerate(lanes):
        top, height = geometry.tops[k], geometry.tops[k + 1] - geometry.tops[k]
        shade = "people" if title == PEOPLE else "odd" if k % 2 else "even"
        parts.append(f'<rect class="lane {shade}" x="0" y="{top:g}" width="{geometry.width:g}" height="{height:g}"/>')
        if k:
            parts.append(f'<path class="border" d="M0 {top:g}H{geometry.width:g}"/>')
        middle = top + height / 2
        parts.append(f'<text class="lane-name" x="14" y="{middle - 2:g}">{escape(title)}</text>')
        parts.append(f'<text class="lane-kind" x="14" y="{middle + 14:g}">{escape(kind)}</text>')
    return parts


def _ruler(geometry: g.Geometry) -> list[str]:
    boxes = [n for n in geometry.nodes.values() if n.lane is not None and n.id != g.TRIGGER]
    stretches = [("Trigger", [geometry.nodes[g.TRIGGER]])] if g.TRIGGER in geometry.nodes else []
    stretches += [(name, [geometry.nodes[key]]) for name, key in (("Context", g.CONTEXT),) if key in geometry.nodes]
    stretches += [("Execution", boxes)] if boxes else []
    stretches += [(name, [geometry.nodes[key]]) for name, key in (("Reconciliation", g.RECONCILE),) if key in geometry.nodes]
    parts = []
    for name, nodes in stretches:
        left, right = min(n.x for n in nodes), max(n.x + n.width for n in nodes)
        parts.append(f'<text class="ruler" x="{left:g}" y="16">{name}</text><path class="ruler" d="M{left:g} 23H{right:g}"/>')
    return parts


def _band(geometry: g.Geometry, key: str, marks: Sequence[Mark], name: str) -> list[str]:
    node = geometry.nodes.get(key)
    if node is None:
        return []
    top = geometry.tops[0]
    parts = [f'<rect class="band {name}" x="{node.x:g}" y="{top + 4:g}" width="{node.width:g}" height="{geometry.tops[-1] - top - 8:g}" rx="10"/>']
    x = node.x + node.width / 2
    for k, mark in enumerate(marks):
        y = (geometry.tops[k] + geometry.tops[k + 1]) / 2
        if mark.said is None:
            parts.append(f'<text class="mark none" x="{x:g}" y="{y + 4:g}">{escape(mark.text)}</text>')
            continue
        parts.append(glyph(mark.said.glyph, x, y - 11, mark.said.tone))
        parts.append(f'<text class="mark {mark.said.tone}" x="{x:g}" y="{y + 14:g}">{escape(fit(mark.text, MARK_PX, 12.3))}</text>')
    return parts


def _box(node: g.Node, box: Box) -> str:
    x, y = node.x, node.y
    undo = f'<g class="undo">{glyph("undo-2", x + node.width - 13, y + 38, "plain", 11)}</g>' if box.undo else ""
    shown = fit(box.title, TITLE_PX, 12.5 * 1.04)
    title = f"<title>{escape(box.title)}</title>" if shown != box.title else ""
    return (
        f'<a class="box {box.said.tone} {"todo" if box.said.glyph == "circle" else ""}" href="{escape(box.href)}">{title}'
        f'<rect x="{x:g}" y="{y:g}" width="{node.width:g}" height="{g.BOX_H}" rx="8"/>'
        f"{glyph(box.said.glyph, x + 17, y + 17.5, box.said.tone)}"
        f'<text class="name" x="{x + 30:g}" y="{y + 21.5:g}">{escape(shown)}</text>'
        f'<text class="note" x="{x + 30:g}" y="{y + 38:g}">{escape(fit(box.note, NOTE_PX if box.undo else TITLE_PX, 12))}</text>'
        f'<text class="unseen" x="{x + 30:g}" y="{y + 44:g}">, {escape(box.said.word)}</text>{undo}</a>'
    )


def _pill(edge: g.Edge, line: Line) -> str:
    x, y = edge.pill
    width = pill_width(line)
    icon = {"breach": "triangle", "warn": "triangle", "human": "clock"}.get(line.tone)
    shift = 7 if icon else 0
    drawn = f'<g class="pill-icon">{glyph(icon, x - width / 2 + 13, y, "plain", 10)}</g>' if icon else ""
    return (
        f'<g class="pill {line.tone}"><title>{escape(line.sentence or line.label)}</title>'
        f'<rect x="{x - width / 2:g}" y="{y - g.PILL_H / 2:g}" width="{width:g}" height="{g.PILL_H}" rx="10"/>{drawn}'
        f'<text x="{x + shift:g}" y="{y + 4:g}">{escape(line.label)}</text></g>'
    )


def fit(text: str, width: float, size: float) -> str:
    """Return a text, cut where it is wider than its place."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def text_width(text: str, size: float) -> float:
    """Estimate how wide a text is, from how wide its letters are in Geist."""
    return size * sum(_WIDTHS.get(letter, 0.62 if letter.isupper() else 0.545) for letter in text)


_WIDTHS: Final = {
    **dict.fromkeys("ijl|!.,:;'", 0.25), **dict.fromkeys("frt()[] -·", 0.35), **dict.fromkeys("mwMW%", 0.86), **dict.fromkeys("…@", 0.85),
}  # fmt: skip


# --- what the picture of an instance says -----------------------------------------------------


def geometry_of(plan: Plan, gates: Sequence[str], tasks: Sequence[str], lines: Mapping[tuple[str, str], Line]) -> g.Geometry:
    """Lay a definition out, with a box for each approval that was asked and each task that was opened."""
    index = {alias: k for k, alias in enumerate(in_order(plan))}
    people = len(index)
    nodes = [g.Node(id=g.TRIGGER, lane=index.get(plan.trigger.system, 0)), g.Node(id=g.CONTEXT, lane=None, needs=(g.TRIGGER,))]
    for name, step in plan.steps.items():
        needs, after = tuple(step.needs) or (g.CONTEXT,), tuple(step.after)
        if name in gates:
            nodes.append(g.Node(id=f"{name}?", lane=people, needs=needs, after=after))
            needs, after = (f"{name}?",), ()
        nodes.append(g.Node(id=name, lane=index.get(step.system, people), needs=needs, after=after))
        if name in tasks:
            nodes.append(g.Node(id=f"{name}!", lane=people, needs=(name,)))
    nodes.append(g.Node(id=g.RECONCILE, lane=None, needs=()))
    widths = {key: pill_width(line) for key, line in lines.items() if line.label}
    return g.lay_out(nodes, people + 1, widths)


def in_order(plan: Plan) -> list[str]:
    """Return the aliases of the systems as the work meets them: the trigger's, then by their first step."""
    waits = {name: (*step.needs, *step.after) for name, step in plan.steps.items()}
    ranks: dict[str, int] = {}

    def rank(name: str) -> int:
        if name not in ranks:
            ranks[name] = 1 + max((rank(other) for other in waits[name]), default=0)
        return ranks[name]

    first: dict[str, tuple[int, str]] = {}
    for name, step in plan.steps.items():
        known = first.get(step.system, (999, ""))
        first[step.system] = min(known, (rank(name), name))
    return sorted(plan.systems, key=lambda alias: (alias != plan.trigger.system, first.get(alias, (999, alias))))


def instance_svg(plan: Plan, state: InstanceState, records: Sequence[Record], rows: Sequence[Row], zone: Zone) -> str:
    """Draw one instance as it stands."""
    gates = [n for n in plan.steps if any(r.step == n and r.kind == Kind.APPROVAL_ASKED for r in records)]
    tasks = [n for n in plan.steps if any(t.step == n and t.purpose == "step" for t in state.tasks.values())]
    times = _Times(plan, state, records, rows, zone.now)
    lines: dict[tuple[str, str], Line] = {}
    boxes = {g.TRIGGER: Box(title=plan.trigger.event.replace("_", " ").capitalize(), note=zone.clock(state.started_at or zone.now), said=words.STEP["done"], href="#data")}
    lines[g.TRIGGER, g.CONTEXT] = Line(tone="inner")
    for name, plan_step in plan.steps.items():
        step = state.steps[name]
        boxes[name] = Box(title=plan_step.title, note=times.note(step), said=words.STEP[step.status], href=f"?step={name}#step", undo=plan_step.undo is not None)
        entry = f"{name}?" if name in gates else name
        for source in plan_step.after:
            lines[source, entry] = Line(tone="inner" if name in times.rows else "todo")
        for source in plan_step.needs or (g.CONTEXT,):
            lines[source, entry] = times.crossing(source, name, gate=name in gates)
        if name in gates:
            boxes[entry] = times.gate_box(step)
            lines[entry, name] = times.gate_line(step)
        if name in tasks:
            boxes[f"{name}!"] = times.task_box(step)
            lines[name, f"{name}!"] = times.task_line(step)
    picture = Picture(lanes=_lane_names(plan), boxes=boxes, lines=lines, context=_context_marks(plan, records), checks=_check_marks(plan, state, records), sentence=sentence(plan, state, lines))
    return draw(geometry_of(plan, gates, tasks, lines), picture)


def definition_svg(plan: Plan) -> str:
    """Draw a definition version: what would happen, with the approvals that are always or sometimes asked."""
    gates = [n for n, s in plan.steps.items() if s.approval is not None and s.approval.auto_when is None]
    not_begun = words.STEP["waiting"]
    boxes = {g.TRIGGER: Box(title=plan.trigger.event.replace("_", " ").capitalize(), note="starts it", said=words.Said("Trigger", "play", "accent"), href="#mapping")}
    for name, step in plan.steps.items():
        asks = step.approval is not None
        note = f"asks {_asked(step.approval)}" if step.approval and asks else (step.act.action.name.replace("_", " ") if step.act else "waits")
        boxes[name] = Box(title=step.title, note=note, said=words.Said("Step", "clock" if asks else "circle-dot", "human" if asks else "accent"), href="#mapping", undo=step.undo is not None)
        if name in gates:
            boxes[f"{name}?"] = Box(title="Approval", note=step.title, said=words.PERSON, href="#mapping")
    context = [Mark(text=", ".join(r.name for r in plan.context.values() if r.system == a) or "–", said=not_begun if any(r.system == a for r in plan.context.values()) else None) for a in in_order(plan)]
    checks = [Mark(text=", ".join(r.name for r in plan.reconcile.records if r.system == a) or "–", said=not_begun if any(r.system == a for r in plan.reconcile.records) else None) for a in in_order(plan)]
    empty = Mark(text="–")
    said = f"{plan.title}: {len(plan.steps)} steps over {len(plan.systems)} systems."
    picture = Picture(lanes=_lane_names(plan), boxes=boxes, lines={}, context=[*context, empty], checks=[*checks, empty], sentence=said)
    return draw(geometry_of(plan, gates, (), {}), picture)


def _asked(approval: ApprovalPlan | None) -> str:
    """Return who is asked, in a word."""
    first = approval.ask[0] if approval and approval.ask else "person"
    return first.removeprefix("group:").replace("manager_of(subject)", "manager")


def _lane_names(plan: Plan) -> list[tuple[str, str]]:
    return [(plan.systems[a].title, plan.systems[a].kind) for a in in_order(plan)] + [(PEOPLE, "Approvals, tasks")]


class _Times:
    """What the times of one instance say in boxes and on arrows."""

    def __init__(self, plan: Plan, state: InstanceState, records: Sequence[Record], rows: Sequence[Row], now: datetime) -> None:
        self.plan, self.state, self.now = plan, state, now
        self.rows = {row.id: row for row in rows}
        self.crossed = {(h["from"], h["to"]): h for h in handoffs(records)}

    def note(self, step: StepState) -> str:
        tries = sum(self.state.acts[a].attempt for a in step.acts if a in self.state.acts)
        more = f" · try {tries}" if tries > 1 else ""
        match step.status:
            case StepStatus.WAITING:
                return "after " + ", ".join(self.plan.steps[n].title.lower() for n in self.plan.steps[step.id].needs[-1:]) if self.plan.steps[step.id].needs else "not started"
            case StepStatus.ASKING:
                return "after the decision"
            case StepStatus.COMPENSATING:
                return "failed" + more.replace("try", "tries")
            case status if status in SETTLED and step.started_at and step.settled_at:
                took = (step.settled_at - step.started_at).total_seconds() - step.approval_ms / 1000
                word = "" if status in (StepStatus.DONE, StepStatus.DONE_BY_HAND) else f"{words.STEP[status].word.lower()} · "
                return f"{word}{span(max(took, 0))}{more}"
            case status if status in SETTLED:
                return words.STEP[status].word.lower()
            case _:
                began = step.started_at or self.now
                return f"{span((self.now - began).total_seconds())}{more}"

    def crossing(self, source: str, name: str, *, gate: bool) -> Line:
        """Say how long the handoff to a step took, its wait for people left out."""
        row = self.rows.get(name)
        if row is None or row.start is None:
            return Line(tone="todo")
        left = self.state.context_done_at if source == g.CONTEXT else self.state.steps[source].settled_at
        begun = row.start if gate else next((s.start for s in row.spans if s.kind == "system"), row.start)
        if left is None or begun < left:
            return Line(tone="inner")
        known = self.crossed.get((source, name))
        ms = known["net_ms"] if known and not gate else (begun - left).total_seconds() * 1000
        monitor = self.plan.monitor
        tone = words.seam_tone(ms, monitor.handoff_target_seconds, monitor.handoff_alert_seconds)
        who = self._system(source)
        return Line(tone=tone, label=span(ms / 1000), sentence=f"Handoff {who} to {self._system(name)}: {span(ms / 1000)}, {words.LATE[tone]}")

    def gate_box(self, step: StepState) -> Box:
        waits = [s for s in self.rows[step.id].spans if s.kind == "person"] if step.id in self.rows else []
        waited = span(sum(s.seconds for s in waits))
        going = any(s.going for s in waits)
        ending = waits[-1].result if waits else ""
        said = words.PERSON if going else words.ENDINGS.get(ending, words.ENDINGS["void"])
        word = f"{waited} waiting" if going else f"{said.word.lower()} · {waited}"
        approval = self.plan.steps[step.id].approval
        who = _asked(approval)
        return Box(title=f"{who[0].upper()}{who[1:]} decides", note=word, said=said, href=f"?step={step.id}#step")

    def gate_line(self, step: StepState) -> Line:
        waits = [s for s in self.rows[step.id].spans if s.kind == "person"] if step.id in self.rows else []
        return Line(tone="human", label=span(sum(s.seconds for s in waits)), sentence="Waiting on a person")

    def task_box(self, step: StepState) -> Box:
        tasks = [t for t in self.state.tasks.values() if t.step == step.id and t.purpose == "step"]
        task = tasks[-1]
        said = words.PERSON if task.ending is None else words.Said("Done by hand" if task.ending == "accepted" else task.ending.capitalize(), "check" if task.ending == "accepted" else "x", "ok" if task.ending == "accepted" else "warn")
        waited = span((self.now - task.opened_at).total_seconds())
        return Box(title="By hand", note=f"{task.to.removeprefix('group:')} · {waited}" if task.ending is None else task.to.removeprefix("group:"), said=said, href=f"?step={step.id}#step")

    def task_line(self, step: StepState) -> Line:
        waits = [s for s in self.rows[step.id].spans if s.kind == "hand"] if step.id in self.rows else []
        return Line(tone="human", label=span(sum(s.seconds for s in waits)), sentence="Work by hand")

    def _system(self, step: str) -> str:
        if step == g.CONTEXT:
            return "the context"
        system = self.plan.systems.get(self.plan.steps[step].system)
        return system.title if system else "Topstitch"


def _context_marks(plan: Plan, records: Sequence[Record]) -> list[Mark]:
    read = {r.body["name"] for r in records if r.kind == Kind.CONTEXT_READ}
    left = {r.body["name"] for r in records if r.kind == Kind.CONTEXT_SKIPPED}
    failed = {r.body["name"] for r in records if r.kind == Kind.CONTEXT_FAILED} - read - left
    marks = []
    for alias in in_order(plan):
        own = [name for name, each in plan.context.items() if each.system == alias]
        text = own[0] if len(own) == 1 else f"{len(own)} reads"
        if not own:
            marks.append(Mark(text="–"))
        elif failed & set(own):
            marks.append(Mark(text=text, said=words.Said("failed", "x", "breach")))
        elif set(own) <= read | left:
            marks.append(Mark(text=text, said=words.VERDICT["match"]))
        else:
            marks.append(Mark(text=text, said=words.STEP["waiting"]))
    return [*marks, Mark(text="–")]


def _check_marks(plan: Plan, state: InstanceState, records: Sequence[Record]) -> list[Mark]:
    latest = {r.body["record"]: r.body for r in records if r.kind == Kind.CHECK_READ}
    wrong = {d.record: d for d in state.discrepancies.values() if not d.resolved}
    marks = []
    for alias in in_order(plan):
        own = [record.name for record in plan.reconcile.records if record.system == alias]
        if not own:
            marks.append(Mark(text="–"))
            continue
        differing = [wrong[name] for name in own if name in wrong]
        verdicts = [latest[name]["verdict"] for name in own if name in latest]
        if differing:
            count = sum(1 for d in differing for f in d.fields if f.get("verdict") != "match")
            marks.append(Mark(text=f"{count} field{'s' if count != 1 else ''} differ{'s' if count == 1 else ''}", said=words.VERDICT["differs"]))
        elif not verdicts:
            marks.append(Mark(text="not due", said=words.VERDICT["pending"]))
        else:
            said = words.VERDICT[max(verdicts, key=list(words.VERDICT).index)]
            marks.append(Mark(text="not needed" if said.glyph == "minus" else said.word, said=said))
    return [*marks, Mark(text="–")]


def sentence(plan: Plan, state: InstanceState, lines: Mapping[tuple[str, str], Line]) -> str:
    """Say what the picture shows."""
    settled = sum(1 for step in state.steps.values() if step.status in SETTLED)
    said = [f"{settled} of {len(plan.steps)} steps have settled."]
    waiting = [plan.steps[n].title for n, s in state.steps.items() if s.status in (StepStatus.ASKING, StepStatus.COMPENSATING)]
    if waiting:
        said.append(f"{', '.join(waiting)} waits for a person.")
    said += [f"{line.sentence}." for line in lines.values() if line.tone == "breach" and line.sentence]
    wrong = sum(1 for d in state.discrepancies.values() if not d.resolved)
    if wrong:
        said.append(f"{wrong} system{'s' if wrong != 1 else ''} differ{'s' if wrong == 1 else ''} from what was meant.")
    return " ".join(said)
