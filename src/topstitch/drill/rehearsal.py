"""Carries an instance out on paper: what it would write, whom it would ask, how it would be taken back (H-04).

``cli plan`` calls it with hands that only read. The rules are the product's own ``decide`` and ``fold``; a
write is answered by a predicted outcome in this file, and there is no handle here that could send one.
What a write would return is not known before: such values stand as marks (what
``identity.user_id`` will be), so that what depends on them can be told from what is certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol, assert_never

from topstitch import lifecycle
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.policy import NO_LAW, Law
from topstitch.language.expressions import runtime_expression
from topstitch.model.action import JsonSchema
from topstitch.model.event import TriggerEvent
from topstitch.model.instance import Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.orders import (
    Call,
    DriftCall,
    InboxCall,
    LookUpCall,
    Outcome,
    ReadCall,
    ReportCall,
    ResolveCall,
    Result,
    StartCall,
    TellCall,
    WriteCall,
)
from topstitch.model.record import ENGINE, Actor, ActorKind, Draft, Stage
from topstitch.model.state import InstanceState, StepState
from topstitch.plan.plan import ActPlan, Plan, StepPlan

TURNS_MAX: Final = 2_000
OPEN, CLOSE = "\u2039", "\u203a"
"""What a mark stands between: a value that only the real work will give."""
AGREES: Final = runtime_expression("true")
OPERATOR: Final = Actor(ActorKind.HUMAN, "rehearsal")
NOBODY: Final = ("skipped", "declined", "not_run", "given_up")


class Hands(Protocol):
    """What a rehearsal may touch the world with. None of it writes."""

    async def read(self, call: ReadCall) -> Outcome:
        """Read a system."""
        ...

    async def look_up(self, call: LookUpCall) -> Outcome:
        """Ask whether something is there already."""
        ...

    async def resolve(self, call: ResolveCall) -> Outcome:
        """Find the people."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWrite:
    """One write as it would be sent."""

    step: str
    act: str
    system: str
    action: str
    payload: Any
    key: str
    run_time: tuple[str, ...]
    """Paths of the payload that only the real work will give."""
    released_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedApproval:
    """One decision that would be asked for."""

    step: str
    people: tuple[str, ...]
    quorum: int
    payload_digest: str
    excluded: tuple[tuple[str, str], ...] = ()
    """Who would not be asked although they are meant, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReading:
    """One read-back: what would be read, and what should be true of it."""

    step: str
    system: str
    action: str
    params: Any
    that: str
    within_seconds: int


@dataclass(slots=True)
class Rehearsed:
    """What came of it."""

    instance: str
    title: str = ""
    reads: list[tuple[str, str, str]] = field(default_factory=list)
    """``(name, system, action)`` of the context."""
    writes: list[PlannedWrite] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    """Steps whose thing was found: it would be taken as it is, and nothing sent."""
    approvals: list[PlannedApproval] = field(default_factory=list)
    read_backs: list[PlannedReading] = field(default_factory=list)
    told: list[tuple[str, ...]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Step -> why it would not be carried out."""
    waits: list[str] = field(default_factory=list)
    """Steps that wait for an event or another workflow: it is assumed to come, and to end well."""
    rollback: list[PlannedWrite] = field(default_factory=list)
    residue: list[tuple[str, str]] = field(default_factory=list)
    problem: str | None = None
    """Why nothing would be written, when the context cannot be read."""


async def rehearse(
    plan: Plan,
    event: TriggerEvent,
    instance: str,
    hands: Hands,
    now: datetime,
    *,
    rates: Mapping[str, str] | None = None,
    environment: str = "prod",
    law: Law = NO_LAW,
    events: Mapping[str, JsonSchema] | None = None,
) -> Rehearsed:
    """Carry ``event`` out on paper; raise ``RequestError`` when it starts nothing.

    ``events`` is what events hold that steps wait for, by their type.
    """
    policy = law.in_force.digest if law.in_force else None
    first = lifecycle.begin(plan, event, instance, now, rates=rates, environment=environment, policy=policy)
    if first is None:
        message = f"this event starts no instance of {plan.workflow}: its trigger's condition is false; give another"
        raise RequestError("not-started", message)
    paper = _Paper(plan, instance, hands, now, law, events or {})
    paper.append([first])
    await paper.forward()
    if paper.done.problem is None and paper.state.mode is not Mode.ROLLING_BACK:
        await paper.back()
    return paper.done


class _Paper:
    """One instance on paper."""

    def __init__(
        self, plan: Plan, instance: str, hands: Hands, now: datetime, law: Law, events: Mapping[str, JsonSchema]
    ) -> None:
        self.original, self.plan = plan, _agreeable(plan)
        self.events = events
        self._excluded: dict[str, tuple[tuple[str, str], ...]] = {}
        self.hands, self.now, self.law = hands, now, law
        self.state: InstanceState = lifecycle.initial(self.plan, instance)
        self.done = Rehearsed(instance=instance)
        self._back = False

    def append(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            self.state = lifecycle.fold(self.plan, self.state, draft)

    async def forward(self) -> None:
        """Go on until every step has settled."""
        await self._until_executed()
        self.done.title = self.state.title
        for name, step in self.state.steps.items():
            if step.status in NOBODY:
                self.done.left_out[name] = self._why(name, step)
        failed = [name for name, read in self.state.context_reads.items() if read.failed]
        if failed:
            self.done.problem = self.state.because or f"the context cannot be read: {', '.join(failed)}"

    async def back(self) -> None:
        """Take everything back, on paper too."""
        self._back = True
        wish = lifecycle.Command(name="cancel", reason="what a rollback would do", choice="rollback")
        self.append(lifecycle.operate(self.plan, self.state, wish, OPERATOR, self.now))
        await self._until_executed()
        for name, step in self.state.steps.items():
            if step.status is StepStatus.KEPT:
                self.done.residue.append((name, self.original.steps[name].no_undo or "it was there before"))

    async def _until_executed(self) -> None:
        for _ in range(TURNS_MAX):
            orders = lifecycle.decide(self.plan, self.state, self.now, self.law)
            for record in orders.records:
                self._gather([record])
                self.append([record])
                if record.kind == Kind.EXECUTED:
                    return  # what may stand behind it, the checks and the end, is not rehearsed
            calls = [call for call in orders.calls if not call.key.startswith("@reconcile/")]
            for call in calls:
                outcome = await self._answer(call)
                drafts = lifecycle.settle(self.plan, self.state, call, outcome, self.now, self.law)
                self._gather(drafts)
                self.append(drafts)
            if not calls and not self._approve() and not self._wait(orders.wake_at):
                return
        raise RequestError(
            "endless", f"{self.plan.workflow} is not over after {TURNS_MAX} turns; report this definition"
        )

    def _wait(self, wake_at: datetime | None) -> bool:
        """Let a called workflow end well, else jump to what is due next."""
        called = [s for s in self.state.steps.values() if s.child is not None and s.child_end is None]
        running = [step for step in called if step.status is StepStatus.RUNNING]
        for step in running:
            self.done.waits.append(step.id)
            body = {"instance": step.child, "end": "completed"}
            ended = Draft(
                kind=Kind.CHILD_ENDED, at=self.now, actor=ENGINE, stage=Stage.EXECUTION, step=step.id, body=body
            )
            self.append([ended])
        if not running and wake_at is not None:
            self.now = max(self.now, wake_at)
        return bool(running) or wake_at is not None

    def _approve(self) -> bool:
        """Let everybody who is asked say yes, and note who was asked."""
        answers: list[Draft] = []
        for step in self.state.steps.values():
            asked = step.approval
            if step.status is not StepStatus.ASKING or asked is None or asked.ending is not None or not asked.people:
                continue
            names = tuple(_name(person) for person in asked.people)
            self.done.approvals.append(
                PlannedApproval(
                    step=step.id,
                    people=names,
                    quorum=asked.quorum,
                    payload_digest=asked.payload_digest,
                    excluded=self._excluded.get(asked.id, ()),
                )
            )
            answers += [self._yes(step.id, asked.id, asked.payload_digest, p) for p in asked.people[: asked.quorum]]
        self.append(answers)
        return bool(answers)

    def _yes(self, step: str, approval: str, shown: str, person: Mapping[str, Any]) -> Draft:
        body = {"approval": approval, "answer": "approve", "payload_digest": shown, "via": "rehearsal"}
        actor = Actor(ActorKind.HUMAN, str(person["id"]))
        return Draft(kind=Kind.APPROVAL_ANSWERED, at=self.now, actor=actor, stage=Stage.EXECUTION, step=step, body=body)

    def _gather(self, records: Any) -> None:
        for record in records:
            if record.kind == Kind.CONTEXT_READ:
                self.done.reads.append((record.body["name"], record.body["system"], record.body["action"]))
            elif record.kind == Kind.APPROVAL_ASKED:
                left_out = tuple((str(one["person"]), str(one["why"])) for one in record.body["excluded"])
                self._excluded[record.body["approval"]] = left_out

    def _why(self, name: str, step: StepState) -> str:
        if step.problem is not None:
            return str(step.problem.get("message"))
        plan = self.original.steps[name]
        if step.status is StepStatus.SKIPPED and plan.when is not None:
            return f"its condition is false: {plan.when.source}"
        return str(step.status).replace("_", " ")

    # --- what is answered -----------------------------------------------------------------------

    async def _answer(self, call: Call) -> Outcome:
        match call:
            case ReadCall():
                return await self._reading(call)
            case LookUpCall():
                return await self._looking(call)
            case WriteCall():
                return self._writing(call)
            case ResolveCall():
                return await self.hands.resolve(call)
            case TellCall():
                self.done.told.append(call.who)
                return Outcome(result=Result.OK, value={"people": [dict(p) for p in call.people]})
            case StartCall():
                return Outcome(result=Result.OK, value={"instance": _mark(call.parent_step, "instance")})
            case InboxCall():
                return self._happening(call)
            case ReportCall():
                return Outcome(result=Result.OK)
            case DriftCall():
                return Outcome(result=Result.OK, value={"same": 1, "of": 1})
            case _:
                assert_never(call)

    def _happening(self, call: InboxCall) -> Outcome:
        """Assume that the event comes that is waited for: what it holds is not known before."""
        step = call.key.partition("/")[0]
        self.done.waits.append(step)
        head = {"id": _mark(step, "event"), "source": "rehearsal", "type": call.event_type}
        head["received_at"] = rfc3339(self.now)
        data = predicted(step, self.events.get(call.event_type, {"type": "object"}))
        return Outcome(result=Result.OK, value={"events": [{"event": head, "data": data}]})

    async def _reading(self, call: ReadCall) -> Outcome:
        if "/back/" in call.key:
            self._read_back(call)
            return Outcome(result=Result.OK, value={})
        if run_time_paths(call.params):
            act, _, _ = call.key.partition("/send/")
            return Outcome(result=Result.OK, value=predicted(act, self._output(act)))
        return await self.hands.read(call)

    def _read_back(self, call: ReadCall) -> None:
        act, _, rest = call.key.rpartition("/back/")
        if self._back:
            return
        expect = self._act_plan(act).expects[int(rest.partition("/")[0])]
        reading = PlannedReading(
            step=self.state.acts[act].step or act,
            system=call.system,
            action=call.action,
            params=call.params,
            that=expect.that.source,
            within_seconds=expect.within_seconds,
        )
        self.done.read_backs.append(reading)

    async def _looking(self, call: LookUpCall) -> Outcome:
        """Look for real whether it is there already; what depends on a mark cannot be there yet."""
        if self._back or run_time_paths(call.params):
            return Outcome(result=Result.OK, value=None)
        outcome = await self.hands.look_up(call)
        if outcome.result is Result.OK and outcome.value is not None:
            self.done.already_there.append(call.key.partition("/look/")[0])
        return outcome

    def _writing(self, call: WriteCall) -> Outcome:
        act = self.state.acts[call.key.rpartition("/send/")[0]]
        planned = PlannedWrite(
            step=act.step or act.id,
            act=act.id,
            system=call.system,
            action=call.action,
            payload=call.params,
            key=call.idempotency_key,
            run_time=run_time_paths(call.params),
            released_by=call.grant.by,
        )
        (self.done.rollback if act.purpose == "undo" else self.done.writes).append(planned)
        return Outcome(result=Result.OK, value=predicted(act.id, self._output(act.id)))

    def _output(self, act: str) -> JsonSchema:
        return self._act_plan(act).action.output

    def _act_plan(self, act: str) -> ActPlan:
        """Return the definition's own plan of an act."""
        known = self.state.acts[act]
        step = self.original.steps[known.step or act]
        if known.purpose == "undo" and step.undo is not None:
            return step.undo
        assert step.act is not None
        return step.act


def predicted(act: str, schema: JsonSchema) -> Any:
    """Return what a write would give back: a mark in every text, so that what depends on it can be told."""
    return _predicted(act, (), schema)


def _predicted(act: str, path: tuple[str, ...], schema: JsonSchema) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if schema.get("enum"):
        return schema["enum"][0]
    match kind:
        case "object":
            return {n: _predicted(act, (*path, n), part) for n, part in (schema.get("properties") or {}).items()}
        case "array":
            return [_predicted(act, (*path, "0"), schema.get("items") or {})]
        case "boolean":
            return True
        case "integer" | "number":
            return int(schema.get("minimum", 1))
        case "null":
            return None
        case _:
            return _mark(act, *path)


def run_time_paths(payload: Any, at: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the paths of a payload whose value only the real work will give."""
    if isinstance(payload, Mapping):
        return tuple(path for name, part in payload.items() for path in run_time_paths(part, (*at, str(name))))
    if isinstance(payload, list | tuple):
        return tuple(path for i, part in enumerate(payload) for path in run_time_paths(part, (*at, str(i))))
    return (".".join(at),) if isinstance(payload, str) and OPEN in payload else ()


def _mark(*path: str) -> str:
    return f"{OPEN}{'.'.join(path)}{CLOSE}"


def _name(person: Mapping[str, Any]) -> str:
    return str(person.get("name") or person.get("id"))


def _agreeable(plan: Plan) -> Plan:
    """Return the plan with read-backs that agree and events that fit: on paper nothing is there to disagree."""
    return replace(plan, steps={name: _step(step) for name, step in plan.steps.items()})


def _step(step: StepPlan) -> StepPlan:
    wait = replace(step.wait, match=AGREES) if step.wait else None
    undo = _act(step.undo) if step.undo else None
    return replace(step, act=_act(step.act) if step.act else None, undo=undo, wait=wait)


def _act(act: ActPlan) -> ActPlan:
    return replace(act, expects=tuple(replace(expect, that=AGREES) for expect in act.expects))
