"""The definitions that the whole-engine simulation carries out: one small one for each thing that can go wrong, and the onboarding.

Set up as torture sets them up (``torture.arrange``): conditions read a variant in the
trigger, read-backs ask whether the thing is there. Compiled once for a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from support.contracts import CONTRACTS, read, system, write
from support.onboarding import onboarding_plan
from topstitch.language.load import load
from topstitch.language.schema import Workflow
from topstitch.model.action import Idempotency
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.torture.arrange import Arena
from topstitch.torture.explore import ready

HEAD: Final = """
workflow: NAME
version: 1.0.0
title: Simulated NAME
purpose: A definition for the simulation.
owner: {team: testers}
systems: {hris: workday@1, directory: entra-id@1, itsm: servicenow@1, crm: salesforce@1, chat: slack@1, email: email@1, old: legacy@1}
trigger: {on: hris.hire_completed, one_per: = trigger.employee_id, requester: = trigger.initiated_by}
"""
TAIL: Final = """
reconcile:
  at: [T+2h]
  records: {}
  on_difference:
    do: itsm.create_exception
    with: {process: = process.id, summary: "differs", severity: = difference.severity}
    if_that_fails: {task: {to: owner, title: File it, due: 1d, give_up: 3d}}
sla: {all: {steps: [FIRST], within: 30d}}
"""
LEGACY: Final = system(
    "legacy@1",
    "Legacy",
    "ERP",
    write("post", "text", "number", Idempotency.NONE, irreversible="posted for good"),
    write("book", "text", "number", Idempotency.NONE, lookup="find_booking", undo="unbook"),
    write("unbook", "number", "number", Idempotency.NATURAL, irreversible="booked again"),
    read("find_booking", "text", "number"),
    read("get_booking", "number", "number"),
)
KNOWN: Final = {**CONTRACTS, LEGACY.ref: LEGACY}

ORDER: Final = """
  order:
    title: Order
    do: itsm.create_catalog_request
    with: {employee_id: = trigger.employee_id, location: x, department: y, tier: z, items: '= ["a"]'}
    retry: {attempts: 3, first: 5s}
    approval:
      auto_when: trigger.employee_id == "nobody"
      otherwise: {from: manager_of(subject), remind: 4h, escalate: [{after: 24h, to: "group:ops"}], give_up: 72h}
      refused: {then: continue}
      unanswered: {then: stop}
    expect: [{read: itsm.get_request, with: {request_id: = step.output.request_id}, that: found.state == "requested", within: 10m}]
    rollback: {do: itsm.cancel_request, with: {request_id: = step.output.request_id}}
    compensate:
      do: [{task: {to: "group:ops", title: Order it by hand, due: 1d, give_up: 2d}}]
      then: {done: continue, not_done: rollback}
  team:
    title: Team
    do: crm.assign_team
    needs: [order]
    with: {user_id: = trigger.employee_id, territory: t, role: r, reports_to: m}
    expect: {none: a test}
    rollback: {do: crm.remove_assignment, with: {user_id: = trigger.employee_id, territory: t}}
    compensate: {then: rollback}
"""
LADDER: Final = """
  account:
    title: Account
    do: directory.create_user
    with: {upn: = trigger.employee_id, display_name: x, department: y, groups: '= ["a"]', licenses: '= ["b"]'}
    retry: {attempts: 3, first: 5s}
    expect: [{read: directory.get_user, with: {upn: = step.input.upn}, that: found.enabled, within: 5m}]
    rollback: {do: directory.disable_user, with: {user_id: = step.output.user_id}}
    compensate:
      do: [{task: {to: "group:admins", title: Create it by hand, due: 4h, give_up: 24h}}]
      then: {done: continue, not_done: rollback}
  mail:
    title: Mail
    do: email.send
    needs: [account]
    with: {to: a@b.example, template: welcome, data: {}}
    expect: {none: a test}
    rollback: {none: a sent message cannot be unsent}
    compensate: {do: [{flag: unwelcome}], then: continue}
  order:
    title: Order
    do: itsm.create_catalog_request
    needs: [account]
    after: {mail: 45m}
    with: {employee_id: = trigger.employee_id, location: x, department: y, tier: z, items: '= ["a"]'}
    retry: {attempts: 2, first: 5s}
    expect: {none: a test}
    rollback: {do: itsm.cancel_request, with: {request_id: = step.output.request_id}}
    compensate: {then: rollback}
"""
FAN: Final = """
  invites:
    title: Invite to every channel
    do: chat.invite
    for_each: {items: '= ["a", "b", "c"]', max: 10}
    with: {upn: = trigger.employee_id, channel: = item}
    retry: {attempts: 2, first: 1s}
    expect: {none: a test}
    rollback: {do: chat.remove, with: {upn: = step.input.upn, channel: = step.input.channel}}
    compensate: {then: continue}
  team:
    title: Team
    do: crm.assign_team
    with: {user_id: = trigger.employee_id, territory: t, role: r, reports_to: m}
    expect: [{read: crm.get_assignment, with: {user_id: = step.input.user_id}, that: found.found, within: 1m}]
    rollback: {do: crm.remove_assignment, with: {user_id: = trigger.employee_id, territory: t}}
    compensate: {then: stop}
"""
LEGACY_STEPS: Final = """
  book:
    title: Book
    do: old.book
    with: {text: = trigger.employee_id}
    retry: {attempts: 3, first: 5s}
    expect: [{read: old.get_booking, with: {number: = step.output.number}, that: found.number == "1", within: 5m}]
    rollback: {do: old.unbook, with: {number: = step.output.number}}
    compensate:
      do: [{task: {to: owner, title: Book by hand, due: 4h, give_up: 24h}}]
      then: {done: continue, not_done: continue}
  post:
    title: Post
    do: old.post
    needs: [book]
    with: {text: = trigger.employee_id}
    expect: {none: nothing to read}
    rollback: {none: posted for good}
    compensate:
      do: [{task: {to: owner, title: Post by hand, due: 4h, give_up: 24h}}]
      then: {done: continue, not_done: stop}
"""
WAIT: Final = """
  start:
    title: Invite
    do: chat.invite
    with: {upn: = trigger.employee_id, channel: general}
    expect: {none: a test}
    rollback: {do: chat.remove, with: {upn: = step.input.upn, channel: = step.input.channel}}
    compensate: {then: continue}
  moved:
    title: The start date moves
    needs: [start]
    wait_for: {event: hris.start_date_changed, match: event.employee_id == trigger.employee_id, give_up: 2d, otherwise: stop}
  after:
    title: Assign
    do: crm.assign_team
    needs: [moved]
    with: {user_id: = trigger.employee_id, territory: t, role: r, reports_to: m}
    expect: {none: a test}
    rollback: {none: a test}
    compensate: {then: continue}
"""
CALL: Final = """
  provision:
    title: Order elsewhere
    call: {workflow: order, with: {employee_id: = trigger.employee_id, initiated_by: me}, give_up: 20d}
    compensate: {then: rollback}
  team:
    title: Team
    do: crm.assign_team
    with: {user_id: = trigger.employee_id, territory: t, role: r, reports_to: m}
    expect: {none: a test}
    rollback: {do: crm.remove_assignment, with: {user_id: = trigger.employee_id, territory: t}}
    compensate: {then: continue}
"""
SMALL: Final[Mapping[str, str]] = {
    "order": ORDER,
    "ladder": LADDER,
    "fan": FAN,
    "legacy": LEGACY_STEPS,
    "wait": WAIT,
    "call": CALL,
}
NAMES: Final = (*SMALL, "employee-onboarding")


@cache
def arena(name: str) -> Arena:
    """Return a definition, ready to be carried out against virtual systems."""
    plan = small_plan(name) if name in SMALL else onboarding_plan()
    schema = CONTRACTS["workday@1"].events["hire_completed"].data
    return ready(plan, schema=schema)


@cache
def small_plan(name: str) -> Plan:
    """Return a small definition as its author wrote it."""
    steps = SMALL[name]
    first = next(line.strip().rstrip(":") for line in steps.splitlines() if line.startswith("  ") and line[2] != " ")
    document = load(HEAD.replace("NAME", name) + "steps:\n" + steps + TAIL.replace("FIRST", first), f"{name}.yaml")
    assert not document.findings, document.findings
    return compile_plan(Workflow.model_validate(document.data), KNOWN, f"sha256:{name}")
