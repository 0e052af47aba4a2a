"""Small definitions for tests of the core: a header and a tail around the steps a test is about."""

from __future__ import annotations

from support.contracts import CONTRACTS
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan

HEAD = """
workflow: small
version: 1.0.0
title: Small
purpose: A definition for a test.
owner: {team: testers}
systems: {hris: workday@1, directory: entra-id@1, itsm: servicenow@1, crm: salesforce@1, chat: slack@1}
trigger: {on: hris.hire_completed, one_per: = trigger.employee_id, requester: = trigger.initiated_by}
"""
TAIL = """
reconcile:
  at: [T+2h]
  records: {}
  on_difference:
    do: itsm.create_exception
    with: {process: = process.id, summary: "differs", severity: = difference.severity}
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {all: {steps: [FIRST], within: 30d}}
"""


def _first(steps: str) -> str:
    return next(line.strip().rstrip(":") for line in steps.splitlines() if line.startswith("  ") and line[2] != " ")


def small_plan(steps: str, *, tail: str = TAIL, name: str = "small") -> Plan:
    text = (
        HEAD.replace("workflow: small", f"workflow: {name}") + "steps:\n" + steps + tail.replace("FIRST", _first(steps))
    )
    document = load(text, "small.yaml")
    assert not document.findings, document.findings
    return compile_plan(Workflow.model_validate(document.data), CONTRACTS, f"sha256:{name}")
