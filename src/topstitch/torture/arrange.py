"""Decides how a plan is set up for torture: what it is triggered with, and what its conditions say.

The plan that is walked is the user's own, with one change: a condition no longer reads the
business data but a *variant* in the trigger, and a read-back asks whether the thing is
there. So every branch can be reached without guessing the data that leads there. Payloads
stay as they were written and are rendered from sample values of the contracts; one that
cannot be rendered from those is replaced and named in ``Arena.simplified``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from topstitch.foundation.clock import SimulatedClock
from topstitch.language.expressions import (
    Expression,
    Template,
    compile_template,
    runtime_expression,
)
from topstitch.model.action import ActionContract, JsonSchema
from topstitch.model.event import TriggerEvent
from topstitch.plan.plan import ActPlan, ApprovalPlan, ExpectPlan, FieldPlan, Plan, ReconcilePlan, RecordPlan, StepPlan
from topstitch.torture.sample import sample

START: Final = SimulatedClock().now()
THERE: Final = runtime_expression("found.there")
GONE: Final = runtime_expression("!found.there")
ALWAYS: Final = runtime_expression("true")
DRIFTS: Final = "kept"
"""The field of a record that can come to differ by itself, and that a repair sets right."""
WORD: Final = "x"
ROUNDS_MAX: Final = 3
WITHIN_SECONDS_MAX: Final = 4
"""Loops are walked in few rounds: three tries of a write, three polls of a read-back, one reminder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What the conditions of a definition say in one schedule."""

    name: str
    says: Mapping[str, Mapping[str, bool]]
    cost: int
    """How many faults it counts as: what everybody expects is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """A plan set up for torture."""

    plan: Plan
    data: Mapping[str, Any]
    variants: tuple[Variant, ...]
    outputs: Mapping[str, Any]
    """What each action answers, by ``system.action``."""
    simplified: tuple[str, ...] = ()

    def event(self, variant: Variant) -> TriggerEvent:
        """Return the event that starts an instance in which the conditions say what ``variant`` says."""
        data = {**self.data, "torture": variant.says}
        return TriggerEvent(
            id="evt_1", source="torture", type=self.plan.trigger.event_type, data=data, received_at=START
        )


def arrange(
    plan: Plan, *, schema: JsonSchema | None = None, data: Mapping[str, Any] | None = None, reconcile: bool = True
) -> Arena:
    """Return ``plan`` set up. ``schema`` is the trigger event's; ``data`` a real event's, in its stead.

    Without ``reconcile`` no check is made after the last step: half the schedules' length.
    """
    given = data if data is not None else _trigger(plan, schema)
    steps = {name: _step(step) for name, step in plan.steps.items()}
    context = {name: replace(read, when=None) for name, read in plan.context.items()}
    trigger = replace(plan.trigger, when=None)
    reconciled = _reconcile(plan.reconcile, checks=reconcile)
    arranged = replace(plan, steps=steps, context=context, trigger=trigger, reconcile=reconciled)
    outputs = {ref: sample(action.output) for ref, action in _actions(arranged)}
    return Arena(plan=arranged, data=given, variants=_variants(plan), outputs=outputs)


def simplify(arena: Arena, names: Iterable[str]) -> Arena:
    """Return the arena in which these steps send a constant, because their payload needs better data."""
    steps = dict(arena.plan.steps)
    for name in names:
        step = steps[name]
        if step.act is not None:
            steps[name] = replace(step, act=replace(step.act, params=compile_template({"step": name})), items=None)
    return replace(arena, plan=replace(arena.plan, steps=steps), simplified=(*arena.simplified, *names))


def _trigger(plan: Plan, schema: JsonSchema | None) -> dict[str, Any]:
    """Return trigger data in which everything is there that the definition reads."""
    data: dict[str, Any] = sample(schema) if schema else {}
    for path in sorted(_trigger_paths(plan)):
        place = data
        *way, last = path.split(".")[1:] or [""]
        for part in way:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            if last:
                place.setdefault(last, WORD)
    return data


def _trigger_paths(plan: Plan) -> set[str]:
    templates: list[Template] = [plan.trigger.one_per, plan.trigger.about]
    templates += [plan.trigger.requester] if plan.trigger.requester else []
    templates += [read.params for read in plan.context.values()]
    templates += [act.params for step in plan.steps.values() for act in (step.act, step.undo) if act]
    expressions: list[Expression] = [step.items for step in plan.steps.values() if step.items]
    paths = {path for template in templates for path in template.paths} | {p for e in expressions for p in e.paths}
    return {path for path in paths if path.startswith("trigger.")}


def _variants(plan: Plan) -> tuple[Variant, ...]:
    """Return the plain case, the one in which everybody is asked, and each condition turned round alone."""
    plain = {name: {"when": True, "auto": True, "require": True} for name in plan.steps}
    found = [Variant(name="plain", says=plain, cost=0)]
    asked = {name: {**says, "auto": False} for name, says in plain.items()}
    if any(step.approval and step.approval.auto_when for step in plan.steps.values()):
        found.append(Variant(name="everybody is asked", says=asked, cost=0))
    for name, step in plan.steps.items():
        if step.when is not None:
            found.append(
                Variant(name=f"{name}: condition false", says={**plain, name: {**plain[name], "when": False}}, cost=1)
            )
        if step.require:
            found.append(
                Variant(
                    name=f"{name}: precondition false", says={**plain, name: {**plain[name], "require": False}}, cost=1
                )
            )
    return tuple(found)


def _step(step: StepPlan) -> StepPlan:
    says = f"trigger.torture.{step.id}"
    checks = tuple(
        replace(check, check=runtime_expression(f"{says}.require") if index == 0 else ALWAYS)
        for index, check in enumerate(step.require)
    )
    return replace(
        step,
        when=runtime_expression(f"{says}.when") if step.when else None,
        require=checks,
        approval=_approval(step.approval, says) if step.approval else None,
        act=_act(step.act, THERE) if step.act else None,
        undo=_act(step.undo, GONE) if step.undo else None,
        wait=replace(step.wait, match=ALWAYS) if step.wait else None,
    )


def _approval(approval: ApprovalPlan, says: str) -> ApprovalPlan:
    auto = runtime_expression(f"{says}.auto") if approval.auto_when else None
    remind = max(approval.give_up_seconds * 2 // 3, 1) if approval.remind_seconds else None
    return replace(approval, auto_when=auto, remind_seconds=remind)


def _act(act: ActPlan, that: Expression) -> ActPlan:
    retry = replace(act.retry, attempts=min(act.retry.attempts, ROUNDS_MAX))
    return replace(act, retry=retry, expects=tuple(_expect(expect, that) for expect in act.expects))


def _expect(expect: ExpectPlan, that: Expression) -> ExpectPlan:
    return replace(expect, that=that, within_seconds=min(expect.within_seconds, WITHIN_SECONDS_MAX), personal=())


def _reconcile(plan: ReconcilePlan, *, checks: bool) -> ReconcilePlan:
    return replace(plan, at=plan.at if checks else (), records=tuple(_record(record) for record in plan.records))


def _record(record: RecordPlan) -> RecordPlan:
    """Return the record with one field that says whether the thing is there; and, if any is healed, one that drifts."""
    healed = next((rule for rule in record.fields if rule.heal is not None), None)
    fields = (_field("there"),) if healed is None else (_field("there"), _drifting(record, healed))
    return replace(record, fields=fields, undone=tuple(_expect(e, GONE) for e in record.undone), personal=())


def _drifting(record: RecordPlan, rule: FieldPlan) -> FieldPlan:
    assert rule.heal is not None
    heal = replace(_act(rule.heal, ALWAYS), params=compile_template({"record": record.name}))
    return replace(_field(DRIFTS), severity=rule.severity, heal=heal, heal_auto=rule.heal_auto)


def _field(name: str) -> FieldPlan:
    return FieldPlan(
        field=name,
        rule="equals",
        expected=compile_template(True),  # noqa: FBT003 -- the value of a payload
        tolerance=None,
        ignore_case=False,
        severity="high",
        authority=None,
        heal=None,
        heal_auto=False,
        format=None,
    )


def _actions(plan: Plan) -> Iterable[tuple[str, ActionContract]]:
    for read in plan.context.values():
        yield f"{read.system}.{read.action.name}", read.action
    acts = [act for step in plan.steps.values() for act in (step.act, step.undo) if act]
    acts += [i for s in plan.steps.values() if s.compensate for i in s.compensate.items if isinstance(i, ActPlan)]
    acts += [act for act in (plan.reconcile.ticket, plan.reconcile.close_ticket) if act]
    acts += [rule.heal for record in plan.reconcile.records for rule in record.fields if rule.heal]
    for act in acts:
        yield f"{act.system}.{act.action.name}", act.action


def kinds_of(plan: Plan, count: int) -> Plan:
    """Return the first ``count`` steps of ``plan`` as bare kinds: what is left is how each is written and undone.

    ``bench`` measures on it how many schedules a second are walked, whatever the payloads are.
    """
    kept = {name: _bare(step) for name, step in list(plan.steps.items())[:count]}
    records = tuple(record for record in plan.reconcile.records if record.covers in kept)
    order = tuple(name for name in plan.undo_order if name in kept)
    return replace(plan, context={}, steps=kept, undo_order=order, reconcile=replace(plan.reconcile, records=records))


def _bare(step: StepPlan) -> StepPlan:
    nothing = compile_template({"step": step.id})
    act = replace(step.act, params=nothing, expects=tuple(_plain(e) for e in step.act.expects)) if step.act else None
    undo = (
        replace(step.undo, params=nothing, expects=tuple(_plain(e) for e in step.undo.expects)) if step.undo else None
    )
    return replace(step, act=act, undo=undo, when=None, require=(), approval=None, tell=())


def _plain(expect: ExpectPlan) -> ExpectPlan:
    return replace(expect, params=compile_template({}))
