"""Decides how a repair is carried out: as a step that the definition does not list.

A heal is named ``heal:<record>.<field>``; ``~2`` and so on tell the ones that people asked
for from the one attempt of our own. ``heal_step`` makes the step, ``with_heals`` a plan that has them
among its steps, so that policy, approval, tries and read-back are those of every write.
Nothing here reads the world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Final

from topstitch.language.expressions import Expression, runtime_expression
from topstitch.model.instance import Disposition
from topstitch.plan.plan import (
    ApprovalPlan,
    CompensatePlan,
    EndingPlan,
    EscalationPlan,
    FieldPlan,
    Plan,
    RecordPlan,
    StepPlan,
)

MARK: Final = "heal:"
ASKED: Final = "~"
PROPOSED: Final = 3
"""The risk tier from which a repair is never made by ourselves: money and privilege (``language.md`` 5.3)."""
REMIND_SECONDS: Final = 4 * 3600
ESCALATE_SECONDS: Final = 8 * 3600
GIVE_UP_SECONDS: Final = 3 * 86_400
"""How long a proposal waits for the owner's answer; unanswered, the ticket stays."""
_GOES_ON: Final = EndingPlan(then=Disposition.CONTINUE, flag=None, tell=("owner",))


def heal_name(record: str, field: str, number: int = 1) -> str:
    """Return the name of a repair; from the second on it is one that a person asked for."""
    return f"{MARK}{record}.{field}" + (f"{ASKED}{number}" if number > 1 else "")


def is_heal(name: str | None) -> bool:
    """Whether a step of this name is a repair."""
    return name is not None and name.startswith(MARK)


def healed(plan: Plan, name: str) -> tuple[RecordPlan, FieldPlan] | None:
    """Return the record and the field that a repair is about; nothing when the plan knows no such repair."""
    record_name, _, rest = name.removeprefix(MARK).partition(".")
    field_name = rest.partition(ASKED)[0]
    for record in plan.reconcile.records:
        for rule in record.fields:
            if record.name == record_name and rule.field == field_name and rule.heal is not None:
                return record, rule
    return None


def heal_step(plan: Plan, name: str) -> StepPlan:
    """Return the step that carries a repair out; raise ``KeyError`` for a name that is none of this plan's."""
    found = healed(plan, name)
    if found is None or found[1].heal is None:
        raise KeyError(name)
    rule, act = found[1], found[1].heal
    system = plan.systems[act.system].title if act.system in plan.systems else act.system
    return StepPlan(
        id=name,
        index=len(plan.steps),
        title=f"Repair {rule.field} in {system}",
        system=act.system,
        act=act,
        wait=None,
        call=None,
        items=None,
        items_max=0,
        needs=(),
        after={},
        dependents=(),
        descendants=frozenset(),
        when=None,
        risk=act.action.risk_floor,
        require=(),
        approval=_approval(auto=goes_by_itself(rule)),
        tell=(),
        undo=None,
        no_undo="a repair sets what was declared",
        compensate=CompensatePlan(items=(), done=Disposition.CONTINUE, not_done=Disposition.CONTINUE),
        no_expect="the record is compared again",
        importance="normal",
        pivot=False,
    )


def goes_by_itself(rule: FieldPlan) -> bool:
    """Whether a repair was declared ``auto`` and is of a kind that may be."""
    return rule.heal_auto and rule.heal is not None and rule.heal.action.risk_floor < PROPOSED


def step_of(plan: Plan, name: str) -> StepPlan:
    """Return a step of the definition, or the repair of that name."""
    return heal_step(plan, name) if is_heal(name) else plan.steps[name]


def with_heals(plan: Plan, names: Iterable[str]) -> Plan:
    """Return the plan with these repairs among its steps."""
    return replace(plan, steps={**plan.steps, **{name: heal_step(plan, name) for name in names}})


def _approval(*, auto: bool) -> ApprovalPlan:
    return ApprovalPlan(
        auto_when=_always() if auto else None,
        ask=("owner",),
        quorum=1,
        remind_seconds=REMIND_SECONDS,
        escalate=(EscalationPlan(after_seconds=ESCALATE_SECONDS, to="owner"),),
        give_up_seconds=GIVE_UP_SECONDS,
        refused=_GOES_ON,
        unanswered=_GOES_ON,
    )


@cache
def _always() -> Expression:
    return runtime_expression("true")
