"""Measures how fast a definition is proved: ``verify`` on the onboarding and on a long chain, and ``torture``.

``run`` adds these rows to what ``topstitch bench`` prints. Nothing is sent and nothing is stored. Budgets
are absolute: they say what a person waits for in an editor, and how many schedules CI can afford.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import topstitch
from topstitch.bench.measure import cpu_seconds
from topstitch.connectors.registry import installed_contracts
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.action import SystemContract
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.torture.arrange import kinds_of
from topstitch.torture.explore import explore
from topstitch.verifier.verify import verify

ONBOARDING: Final = Path(topstitch.__file__).parent / "examples" / "onboarding" / "employee-onboarding.yaml"
CHAIN_STEPS: Final = 20
KINDS: Final = 4
"""How many of the onboarding's steps are tortured, as bare kinds: every way of writing that there is."""
FAULTS: Final = 3
TIMES: Final = 3
SECONDS_MAX: Final = 60.0
"""What one torture may take at most; a machine that needs longer is told its speed all the same."""
HEAD: Final = """
workflow: chain
version: 1.0.0
title: Chain
purpose: Twenty steps one after the other, each taken back when a later one fails.
owner: {team: bench}
systems: {hris: workday@1, crm: salesforce@1, itsm: servicenow@1}
trigger: {on: hris.hire_completed, one_per: = trigger.employee_id, requester: = trigger.initiated_by}
steps:
"""
STEP: Final = """
  s{number}:
    title: Step {number}
    do: crm.assign_team
    needs: [{before}]
    with: {{user_id: = trigger.employee_id, territory: t{number}, role: r, reports_to: m}}
    expect: {{none: a benchmark}}
    rollback: {{do: crm.remove_assignment, with: {{user_id: = trigger.employee_id, territory: t{number}}}}}
    compensate: {{then: rollback}}
"""
TAIL: Final = """
reconcile:
  at: [T+2h]
  records: {}
  on_difference:
    do: itsm.create_exception
    with: {process: = process.id, summary: differs, severity: = difference.severity}
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {all: {steps: [s1], within: 30d}}
"""


def run_proof(faults: int = FAULTS) -> dict[str, Any]:
    """Measure everything, in seconds of CPU; return rows of ``{title, figure, unit, budget, met}``."""
    contracts = installed_contracts()
    onboarding, chain = _read(ONBOARDING.read_text(encoding="utf-8"), contracts), _read(_chain(), contracts)
    began = cpu_seconds()
    told = explore(kinds_of(onboarding[1], KINDS), faults, reconcile=False, budget_seconds=SECONDS_MAX)
    per_second = told.schedules / max(cpu_seconds() - began, 0.001)
    schedules = f"torture of the onboarding's step kinds, {faults} faults, {told.schedules:,} schedules"
    return {
        "rows": [
            _row("verify the onboarding", _seconds(*onboarding), "s", 0.5),
            _row(f"verify a chain of {CHAIN_STEPS} steps", _seconds(*chain), "s", 2.0),
            _row(schedules, per_second, "/s", 5000.0, higher_is_better=True),
        ]
    }


def _chain() -> str:
    steps = (STEP.format(number=n, before=f"s{n - 1}" if n > 1 else "") for n in range(1, CHAIN_STEPS + 1))
    return HEAD + "".join(steps) + TAIL


def _read(text: str, contracts: Mapping[str, SystemContract]) -> tuple[Workflow, Plan]:
    workflow = Workflow.model_validate(load(text, "bench.yaml").data)
    return workflow, compile_plan(workflow, contracts, "sha256:bench")


def _seconds(workflow: Workflow, plan: Plan) -> float:
    """Return how long one verification takes, of a few the one in the middle."""
    times = []
    for _ in range(TIMES):
        began = cpu_seconds()
        verify(plan, workflow)
        times.append(cpu_seconds() - began)
    return statistics.median(times)


def _row(title: str, figure: float, unit: str, budget: float, *, higher_is_better: bool = False) -> dict[str, Any]:
    met = figure >= budget if higher_is_better else figure <= budget
    return {"title": title, "figure": figure, "unit": unit, "budget": budget, "met": met}
