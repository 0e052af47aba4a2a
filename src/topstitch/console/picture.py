"""Decides what the picture of one instance, or of a definition version, says: boxes, arrows, marks in the bands.

The pages call ``instance_svg`` and ``definition_svg``. Times come from the trace, words from ``words``,
places from ``lanes``; ``lanes_svg`` draws. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from topstitch.console import lanes as g, words
from topstitch.console.lanes_svg import PEOPLE, Box, Line, Mark, Picture, box_width, draw, pill_width
from topstitch.console.times import Zone, span
from topstitch.console.trace import Row, handoffs
from topstitch.model.instance import SETTLED, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.plan import ApprovalPlan, Plan

NONE = Mark(text="\u2013")


def geometry_of(
    plan: Plan, gates: Sequence[str], tasks: Sequence[str], lines: Mapping[tuple[str, str], Line]
) -> g.Geometry:
    """Lay a definition out, with a box for each approval that was asked and each task that was opened."""
    index = {alias: k for k, alias in enumerate(in_order(plan))}
    people = len(index)
    nodes = [
        g.Node(id=g.TRIGGER, lane=index.get(plan.trigger.system, 0)),
        g.Node(id=g.CONTEXT, lane=None, needs=(g.TRIGGER,)),
    ]
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
    return g.lay_out(nodes, people + 1, widths, box_width(step.title for step in plan.steps.values()))


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


def instance_svg(
    plan: Plan,
    state: InstanceState,
    records: Sequence[Record],
    rows: Sequence[Row],
    zone: Zone,
    moment: datetime | None = None,
) -> str:
    """Draw one instance as it stands, or as it stood at a moment."""
    gates = [n for n in plan.steps if any(r.step == n and r.kind == Kind.APPROVAL_ASKED for r in records)]
    tasks = [n for n in plan.steps if any(t.step == n and t.purpose == "step" for t in state.tasks.values())]
    times = _Times(plan, state, records, rows, moment or zone.now)
    lines: dict[tuple[str, str], Line] = {}
    boxes = {
        g.TRIGGER: Box(
            title=plan.trigger.event.replace("_", " ").capitalize(),
            note=zone.clock(state.started_at or zone.now),
            said=words.STEP["done"],
            href="#data",
        )
    }
    lines[g.TRIGGER, g.CONTEXT] = Line(tone="inner")
    for name, plan_step in plan.steps.items():
        step = state.steps[name]
        boxes[name] = Box(
            title=plan_step.title,
            note=times.note(step),
            said=words.STEP[step.status],
            href=f"?step={name}#step",
            undo=plan_step.undo is not None,
        )
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
    picture = Picture(
        lanes=_lane_names(plan),
        boxes=boxes,
        lines=lines,
        context=_context_marks(plan, records),
        checks=_check_marks(plan, state, records),
        sentence=sentence(plan, state, lines),
    )
    return draw(geometry_of(plan, gates, tasks, lines), picture)


def definition_svg(plan: Plan, beside: Mapping[str, words.Said] | None = None) -> str:
    """Draw a definition version: what would happen, with the approvals that are always or sometimes asked.

    ``beside`` says how its steps stand to another version's: then only what differs stands out.
    """
    gates = [n for n, s in plan.steps.items() if s.approval is not None and s.approval.auto_when is None]
    not_begun = words.STEP["waiting"]
    boxes = {
        g.TRIGGER: Box(
            title=plan.trigger.event.replace("_", " ").capitalize(),
            note="starts it",
            said=words.Said("Trigger", "play", "accent"),
            href="#mapping",
        )
    }
    for name, step in plan.steps.items():
        asks = step.approval is not None
        note = (
            f"asks {_asked(step.approval)}"
            if step.approval and asks
            else (step.act.action.name.replace("_", " ") if step.act else "waits")
        )
        differs = beside[name] if beside is not None else None
        boxes[name] = Box(
            title=step.title,
            note=note if differs is None or differs == words.UNCHANGED else f"{differs.word.lower()}, {note}",
            said=differs or words.Said("Step", "clock" if asks else "circle-dot", "human" if asks else "accent"),
            href="#mapping",
            undo=step.undo is not None,
        )
        if name in gates:
            boxes[f"{name}?"] = Box(title="Approval", note=step.title, said=words.PERSON, href="#mapping")
    context = [
        Mark(
            text=", ".join(r.name for r in plan.context.values() if r.system == a) or NONE.text,
            said=not_begun if any(r.system == a for r in plan.context.values()) else None,
        )
        for a in in_order(plan)
    ]
    checks = [
        Mark(
            text=", ".join(r.name for r in plan.reconcile.records if r.system == a) or NONE.text,
            said=not_begun if any(r.system == a for r in plan.reconcile.records) else None,
        )
        for a in in_order(plan)
    ]
    empty = NONE
    said = f"{plan.title}: {len(plan.steps)} steps over {len(plan.systems)} systems."
    picture = Picture(
        lanes=_lane_names(plan),
        boxes=boxes,
        lines={},
        context=[*context, empty],
        checks=[*checks, empty],
        sentence=said,
    )
    return draw(geometry_of(plan, gates, (), {}), picture)


def _asked(approval: ApprovalPlan | None) -> str:
    """Return who is asked, in a word."""
    return _whose(approval.ask[0] if approval and approval.ask else "person")


def _whose(name: str) -> str:
    """Return a group or a manager in a word."""
    return name.removeprefix("group:").replace("manager_of(subject)", "manager")


def _lane_names(plan: Plan) -> list[tuple[str, str]]:
    return [(plan.systems[a].title, plan.systems[a].kind) for a in in_order(plan)] + [(PEOPLE, "Approvals, tasks")]


class _Times:
    """What the times of one instance say in boxes and on arrows."""

    def __init__(
        self, plan: Plan, state: InstanceState, records: Sequence[Record], rows: Sequence[Row], now: datetime
    ) -> None:
        self.plan, self.state, self.now = plan, state, now
        self.rows = {row.id: row for row in rows}
        self.crossed = {(h["from"], h["to"]): h for h in handoffs(records)}

    def note(self, step: StepState) -> str:
        tries = sum(self.state.acts[a].attempt for a in step.acts if a in self.state.acts)
        more = f" · try {tries}" if tries > 1 else ""
        match step.status:
            case StepStatus.WAITING:
                return (
                    "after " + ", ".join(self.plan.steps[n].title.lower() for n in self.plan.steps[step.id].needs[-1:])
                    if self.plan.steps[step.id].needs
                    else "not started"
                )
            case StepStatus.ASKING:
                return "after the decision"
            case StepStatus.COMPENSATING:
                return "failed" + more.replace("try", "tries")
            case StepStatus.DONE | StepStatus.DONE_BY_HAND if step.started_at and step.settled_at:
                took = (step.settled_at - step.started_at).total_seconds() - step.approval_ms / 1000
                return f"{span(max(took, 0))}{more}"
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
        return Line(
            tone=tone,
            label=span(ms / 1000),
            sentence=f"Handoff {who} to {self._system(name)}: {span(ms / 1000)}, {words.LATE[tone]}",
        )

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
        said = (
            words.PERSON
            if task.ending is None
            else words.Said(
                "Done by hand" if task.ending == "accepted" else task.ending.capitalize(),
                "check" if task.ending == "accepted" else "x",
                "ok" if task.ending == "accepted" else "warn",
            )
        )
        waited = span((self.now - task.opened_at).total_seconds())
        return Box(
            title="By hand",
            note=f"{_whose(task.to)} · {waited}" if task.ending is None else _whose(task.to),
            said=said,
            href=f"?step={step.id}#step",
        )

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
            marks.append(NONE)
        elif failed & set(own):
            marks.append(Mark(text=text, said=words.Said("failed", "x", "breach")))
        elif set(own) <= read | left:
            marks.append(Mark(text=text, said=words.VERDICT["match"]))
        else:
            marks.append(Mark(text=text, said=words.STEP["waiting"]))
    return [*marks, NONE]


def _check_marks(plan: Plan, state: InstanceState, records: Sequence[Record]) -> list[Mark]:
    latest = {r.body["record"]: r.body for r in records if r.kind == Kind.CHECK_READ}
    wrong = {d.record: d for d in state.discrepancies.values() if not d.resolved}
    marks = []
    for alias in in_order(plan):
        own = [record.name for record in plan.reconcile.records if record.system == alias]
        if not own:
            marks.append(NONE)
            continue
        differing = [wrong[name] for name in own if name in wrong]
        verdicts = [latest[name]["verdict"] for name in own if name in latest]
        if differing:
            count = sum(1 for d in differing for f in d.fields if f.get("verdict") != "match")
            marks.append(
                Mark(
                    text=f"{count} field{'s' if count != 1 else ''} differ{'s' if count == 1 else ''}",
                    said=words.VERDICT["differs"],
                )
            )
        elif not verdicts:
            marks.append(Mark(text="not due", said=words.VERDICT["pending"]))
        else:
            said = words.VERDICT[max(verdicts, key=list(words.VERDICT).index)]
            marks.append(Mark(text="not needed" if said.glyph == "minus" else said.word, said=said))
    return [*marks, NONE]


def sentence(plan: Plan, state: InstanceState, lines: Mapping[tuple[str, str], Line]) -> str:
    """Say what the picture shows."""
    settled = sum(1 for step in state.steps.values() if step.status in SETTLED)
    said = [f"{settled} of {len(plan.steps)} steps have settled."]
    waiting = [
        plan.steps[n].title for n, s in state.steps.items() if s.status in (StepStatus.ASKING, StepStatus.COMPENSATING)
    ]
    if waiting:
        said.append(f"{', '.join(waiting)} waits for a person.")
    said += [f"{line.sentence}." for line in lines.values() if line.tone == "breach" and line.sentence]
    wrong = sum(1 for d in state.discrepancies.values() if not d.resolved)
    if wrong:
        said.append(f"{wrong} system{'s' if wrong != 1 else ''} differ{'s' if wrong == 1 else ''} from what was meant.")
    return " ".join(said)
