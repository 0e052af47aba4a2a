"""Compiles a checked definition into a plan.

Called at publish and when a definition version is first loaded. It trusts the checker: a
definition that passed ``language.check`` compiles; a name that is missing all the same is an
``AuthorError``. It never reads the world, so the same text and contracts give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from topstitch.foundation.errors import AuthorError
from topstitch.foundation.timetext import parse_duration
from topstitch.language import schema
from topstitch.language.expressions import Template, compile_template, runtime_expression
from topstitch.model.action import ActionContract, Contracts, JsonSchema, SystemContract
from topstitch.model.instance import Disposition
from topstitch.plan import plan as p
from topstitch.plan.personal import patterns
from topstitch.plan.rollback_order import transitive_needs, undo_order

HEAL_RETRY = p.RetryPlan(attempts=1)
"""One attempt for each difference (``language.md`` 5.3); another one is a person's to ask for."""
SELF = "topstitch"
"""The system a wait or a call works on: ourselves."""


def compile_plan(workflow: schema.Workflow, contracts: Contracts, digest: str) -> p.Plan:
    """Return the plan of a checked definition."""
    return _Compiler(workflow, contracts, digest).plan()


class _Compiler:
    def __init__(self, workflow: schema.Workflow, contracts: Contracts, digest: str) -> None:
        self.w = workflow
        self.digest = digest
        self.waits = {name: (*step.needs, *step.after) for name, step in workflow.steps.items()}
        self.contracts: dict[str, SystemContract] = {}
        for alias, ref in workflow.systems.items():
            if ref not in contracts:
                raise AuthorError("unknown-connector", f"{ref} is not installed; install it or name another connector")
            self.contracts[alias] = contracts[ref]

    def plan(self) -> p.Plan:
        w = self.w
        return p.Plan(
            workflow=w.workflow,
            version=w.version,
            digest=self.digest,
            title=w.title,
            purpose=w.purpose,
            owner={"team": w.owner.team, **({"page": w.owner.page} if w.owner.page else {})},
            systems={
                alias: p.SystemPlan(alias=alias, connector=w.systems[alias], title=c.title, kind=c.kind)
                for alias, c in self.contracts.items()
            },
            trigger=self.trigger(),
            context={name: self.context_read(name, read) for name, read in w.context.items()},
            steps={name: self.step(index, name, step) for index, (name, step) in enumerate(w.steps.items())},
            reconcile=self.reconcile(),
            sla=tuple(
                p.SlaPlan(
                    name=name,
                    steps=tuple(sla.steps),
                    within_seconds=parse_duration(sla.within),
                    excluding_approval=sla.excluding is not None,
                )
                for name, sla in w.sla.items()
            ),
            monitor=_monitor(w.monitor),
            flags=_flags(w),
            undo_order=undo_order(self.waits),
        )

    def action(self, ref: str) -> tuple[str, ActionContract]:
        alias, _, name = ref.partition(".")
        contract = self.contracts.get(alias)
        if contract is None or name not in contract.actions:
            raise AuthorError(
                "unknown-action", f"{ref} is not an action of this definition's systems; correct its name"
            )
        return alias, contract.actions[name]

    def event(self, ref: str) -> tuple[str, str, JsonSchema]:
        alias, _, name = ref.partition(".")
        contract = self.contracts.get(alias)
        if contract is None or name not in contract.events:
            raise AuthorError("unknown-event", f"{ref} is not an event of this definition's systems; correct its name")
        return alias, f"{contract.name}.{name}", contract.events[name].data

    def trigger(self) -> p.TriggerPlan:
        t = self.w.trigger
        alias, event_type, data = self.event(t.on)
        return p.TriggerPlan(
            system=alias,
            event=t.on.partition(".")[2],
            event_type=event_type,
            one_per=compile_template(t.one_per),
            about=compile_template(t.about if t.about is not None else t.one_per),
            requester=compile_template(t.requester) if t.requester else None,
            when=runtime_expression(t.when) if t.when else None,
            personal=patterns(data),
        )

    def context_read(self, name: str, read: schema.Read) -> p.ReadPlan:
        alias, action = self.action(read.read)
        return p.ReadPlan(
            name=name,
            system=alias,
            action=action,
            params=compile_template(read.with_),
            when=runtime_expression(read.when) if read.when else None,
            optional=read.optional,
            retry=p.CONTEXT_RETRY,
            personal=patterns(action.output),
        )

    def expects(self, expects: list[schema.Expect] | schema.NoExpect) -> tuple[p.ExpectPlan, ...]:
        if isinstance(expects, schema.NoExpect):
            return ()
        return tuple(self.expect(e) for e in expects)

    def expect(self, e: schema.Expect) -> p.ExpectPlan:
        alias, action = self.action(e.read)
        return p.ExpectPlan(
            system=alias,
            action=action,
            params=compile_template(e.with_),
            that=runtime_expression(e.that),
            within_seconds=parse_duration(e.within),
            personal=patterns(action.output),
        )

    def act(
        self,
        ref: str,
        payload: Mapping[str, Any] | Template,
        retry: p.RetryPlan,
        *,
        timeout: float | None = None,
        expects: tuple[p.ExpectPlan, ...] = (),
    ) -> p.ActPlan:
        alias, action = self.action(ref)
        return p.ActPlan(
            system=alias,
            action=action,
            params=payload if isinstance(payload, Template) else compile_template(payload),
            retry=retry,
            timeout_seconds=timeout if timeout is not None else action.timeout_seconds,
            expects=expects,
            personal_in=patterns(action.input),
            personal_out=patterns(action.output),
        )

    def step(self, index: int, name: str, s: schema.Step) -> p.StepPlan:
        act = None
        if s.do:
            act = self.act(
                s.do, s.with_, _retry(s.retry), timeout=parse_duration(s.timeout), expects=self.expects(s.expect)
            )
        undo = None
        if isinstance(s.rollback, schema.Undo):
            undo_retry = _retry(s.rollback.retry) if s.rollback.retry else p.UNDO_RETRY
            undo = self.act(s.rollback.do, s.rollback.with_, undo_retry, expects=self.expects(s.rollback.expect))
        return p.StepPlan(
            id=name,
            index=index,
            title=s.title,
            system=act.system if act else SELF,
            act=act,
            wait=self.wait(s.wait_for) if s.wait_for else None,
            call=_call(s.call) if s.call else None,
            items=runtime_expression(s.for_each.items.removeprefix("=").strip()) if s.for_each else None,
            items_max=s.for_each.max if s.for_each else 0,
            needs=tuple(s.needs),
            after={other: parse_duration(limit) for other, limit in s.after.items()},
            dependents=tuple(k for k, other in self.w.steps.items() if name in other.needs or name in other.after),
            descendants=frozenset(k for k in self.w.steps if name in transitive_needs(self.waits, k)),
            when=runtime_expression(s.when) if s.when else None,
            risk=max(s.risk or 1, act.action.risk_floor if act else 1),
            require=tuple(
                p.CheckPlan(check=runtime_expression(c.check), because=c.because, otherwise=Disposition(c.otherwise))
                for c in s.require
            ),
            approval=_approval(s.approval) if s.approval else None,
            tell=tuple(s.tell),
            undo=undo,
            no_undo=s.rollback.none if isinstance(s.rollback, schema.NoUndo) else None,
            compensate=self.compensate(s.compensate) if s.compensate else None,
            no_expect=s.expect.none if isinstance(s.expect, schema.NoExpect) else None,
            importance=s.importance,
            pivot=s.pivot,
        )

    def wait(self, wait: schema.WaitFor) -> p.WaitPlan:
        _, event_type, data = self.event(wait.event)
        return p.WaitPlan(
            event_type=event_type,
            match=runtime_expression(wait.match),
            give_up_seconds=parse_duration(wait.give_up),
            otherwise=Disposition(wait.otherwise),
            personal=patterns(data),
        )

    def compensate(self, c: schema.Compensate) -> p.CompensatePlan:
        then = c.then
        done, not_done = (then.done, then.not_done) if isinstance(then, schema.Then) else (then, then)
        return p.CompensatePlan(
            items=tuple(self.item(i) for i in c.do), done=Disposition(done), not_done=Disposition(not_done)
        )

    def item(self, item: schema.TaskItem | schema.FlagItem | schema.ActionItem) -> p.CompensationItem:
        match item:
            case schema.TaskItem():
                return _task(item.task)
            case schema.FlagItem():
                return p.FlagPlan(flag=item.flag)
            case schema.ActionItem():
                return self.act(item.do, item.with_, _retry(item.retry) if item.retry else p.RetryPlan(attempts=3))

    def reconcile(self) -> p.ReconcilePlan:
        r = self.w.reconcile
        ticket = self.act(r.on_difference.do, r.on_difference.with_, p.TICKET_RETRY)
        close = None
        if ticket.action.undo:
            close = self.act(f"{ticket.system}.{ticket.action.undo}", {}, p.TICKET_RETRY)
        at = tuple(
            sorted(((name, parse_duration(name[2:])) for name in r.at if name != "month_end"), key=lambda a: a[1])
        )
        return p.ReconcilePlan(
            at=at,
            from_execution=r.T == "executed",
            records=tuple(self.record(name, record) for name, record in r.records.items()),
            ticket=ticket,
            close_ticket=close,
            ticket_task=_task(r.on_difference.if_that_fails.task),
            month_end="month_end" in r.at,
            population=self.population(r.population) if r.population else None,
        )

    def population(self, r: schema.Population) -> p.PopulationPlan:
        return p.PopulationPlan(
            left=self.side(r.left),
            right=self.side(r.right),
            every_seconds=parse_duration(r.every),
            grace_seconds=parse_duration(r.grace),
        )

    def side(self, r: schema.PopulationSide) -> p.SidePlan:
        alias, action = self.action(r.read)
        return p.SidePlan(
            system=alias,
            action=action,
            params=compile_template(r.with_),
            key=runtime_expression(r.key.removeprefix("=").strip()),
            since_seconds=parse_duration(r.since),
        )

    def record(self, name: str, r: schema.ReconcileRecord) -> p.RecordPlan:
        alias, action = self.action(r.read)
        rollback = self.w.steps[r.covers].rollback
        return p.RecordPlan(
            name=name,
            covers=r.covers,
            system=alias,
            action=action,
            params=compile_template(r.with_),
            settle_seconds=parse_duration(r.settle) if r.settle else self.settle(r.covers),
            fields=tuple(self.field_rule(rule, action) for rule in r.expect),
            undone=self.expects(rollback.expect) if isinstance(rollback, schema.Undo) else (),
            personal=patterns(action.output),
        )

    def settle(self, covers: str) -> int:
        """Return how long a difference must last: as the definition says, and no less than the system takes."""
        declared, ref = parse_duration(self.w.reconcile.settle), self.w.steps[covers].do
        return max(declared, ceil(self.action(ref)[1].settle_seconds)) if ref else declared

    def field_rule(self, rule: schema.FieldRule, action: ActionContract) -> p.FieldPlan:
        name, expected = next(
            (
                (name, value)
                for name in ("equals", "includes", "one_of", "matches", "absent")
                if (value := getattr(rule, name)) is not None
            ),
            ("absent", False),
        )
        heal = None
        if rule.heal:
            heal = self.act(rule.heal, rule.heal_with or {}, HEAL_RETRY)
        template = compile_template(expected)
        return p.FieldPlan(
            field=rule.field,
            rule=name,
            expected=template,
            tolerance=rule.within,
            ignore_case=rule.ignore_case,
            severity=rule.severity,
            authority=rule.authority,
            heal=heal,
            heal_auto=rule.mode == "auto",
            format=format_of(action.output, rule.field),
            sources=self.sources(rule.authority, template),
        )

    def sources(self, authority: str | None, expected: Template) -> tuple[str, ...]:
        """Return the context reads of the authority that an expected value is made of."""
        named = {path.split(".")[1] for path in expected.paths if path.startswith("context.")}
        reads = self.w.context
        return tuple(sorted(n for n in named if n in reads and reads[n].read.partition(".")[0] == authority))


def format_of(schema_: JsonSchema, path: str) -> str | None:
    """Return the format of the field under a dotted path: money, a date or a moment is compared as such."""
    found: JsonSchema = schema_
    for part in path.split("."):
        found = (found.get("properties") or {}).get(part) or {}
    branches = (found, *found.get("anyOf", ()), *found.get("oneOf", ()))
    return next((str(branch["format"]) for branch in branches if "format" in branch), None)


def _retry(retry: schema.Retry) -> p.RetryPlan:
    return p.RetryPlan(
        attempts=retry.attempts,
        exponential=retry.backoff == "exponential",
        first_seconds=parse_duration(retry.first),
        max_seconds=parse_duration(retry.max),
    )


def _escalations(escalate: list[schema.Escalation]) -> tuple[p.EscalationPlan, ...]:
    return tuple(p.EscalationPlan(after_seconds=parse_duration(e.after), to=e.to) for e in escalate)


def _task(task: schema.Task) -> p.TaskPlan:
    return p.TaskPlan(
        to=task.to,
        title=compile_template(task.title),
        due_seconds=parse_duration(task.due),
        escalate=_escalations(task.escalate),
        give_up_seconds=parse_duration(task.give_up),
    )


def _call(call: schema.CallWorkflow) -> p.CallPlan:
    return p.CallPlan(
        workflow=call.workflow, params=compile_template(call.with_), give_up_seconds=parse_duration(call.give_up)
    )


def _ending(ending: schema.Ending) -> p.EndingPlan:
    return p.EndingPlan(then=Disposition(ending.then), flag=ending.flag, tell=tuple(ending.tell))


def _approval(a: schema.Approval) -> p.ApprovalPlan:
    gate = a.otherwise
    return p.ApprovalPlan(
        auto_when=runtime_expression(a.auto_when) if a.auto_when else None,
        ask=(gate.from_,) if isinstance(gate.from_, str) else tuple(gate.from_),
        quorum=gate.quorum,
        remind_seconds=parse_duration(gate.remind) if gate.remind else None,
        escalate=_escalations(gate.escalate),
        give_up_seconds=parse_duration(gate.give_up),
        refused=_ending(a.refused),
        unanswered=_ending(a.unanswered),
    )


def _monitor(m: schema.Monitor) -> p.MonitorPlan:
    return p.MonitorPlan(
        duration_factor=float(m.step_duration.alert_over.partition("x")[0]),
        handoff_target_seconds=parse_duration(m.handoff.target),
        handoff_alert_seconds=parse_duration(m.handoff.alert_over),
        exception_target=float(m.exceptions.target.rstrip("%")) / 100,
        exception_alert=float(m.exceptions.alert_over.rstrip("%")) / 100,
        exception_window_seconds=parse_duration(m.exceptions.window),
    )


def _flags(w: schema.Workflow) -> tuple[str, ...]:
    """Return every flag the definition can set: each stands in ``flags`` from the start, as false."""
    flags: dict[str, None] = {}
    for step in w.steps.values():
        if step.approval:
            for ending in (step.approval.refused, step.approval.unanswered):
                if ending.flag:
                    flags[ending.flag] = None
        for item in step.compensate.do if step.compensate else ():
            if isinstance(item, schema.FlagItem):
                flags[item.flag] = None
    return tuple(flags)
