"""Steps that wait, repeat and call, and comparisons of whole sets: their names, types and limits."""

from __future__ import annotations

from typing import Any

import pytest

from support.definitions import checked, spoiled

WAIT = """  rescinded:
    title: Wait for a withdrawal
    needs: [identity]
    wait_for:
      event: hris.hire_rescinded
      match: event.employee_id == trigger.employee_id
      give_up: 1h
      otherwise: continue
"""
EACH = """  channels:
    title: Every channel
    needs: [identity]
    do: chat.invite
    for_each: {items: context.profile.groups, max: 5}
    with: {upn: = steps.identity.input.upn, channel: = item}
    expect: {none: the reconciliation looks at the team channel}
    rollback: {do: chat.remove, with: {upn: = steps.identity.input.upn, channel: = item}}
    compensate:
      do:
        - task: {to: owner, title: "Invite to ${item} by hand", due: 1d, give_up: 3d}
      then: {done: continue, not_done: continue}
"""
CALL = """  laptop:
    title: Another workflow
    needs: [identity]
    call: {workflow: laptop-order, with: {employee_id: = trigger.employee_id}, give_up: 2d}
    compensate: {then: stop}
"""
POPULATION = """  population:
    every: 24h
    left: {read: hris.list_hires, key: = row.employee_id, since: 30d}
    right: {read: directory.list_users, key: = row.employee_number, since: 30d}
"""
RECORD = """    channels:
      covers: channels
      read: chat.is_member
      with: {upn: = steps.identity.input.upn, channel: = context.profile.team_channel}
      expect: [{field: member, equals: true, severity: low}]
"""


def full(**parts: str) -> str:
    wanted = {"wait": WAIT, "each": EACH, "call": CALL, "population": POPULATION, **parts}
    return spoiled(
        ("\nreconcile:", wanted["wait"] + wanted["each"] + wanted["call"] + "\nreconcile:"),
        ("  on_difference:", RECORD + wanted["population"] + "  on_difference:"),
    )


def test_all_kinds_of_steps_and_the_population_are_right() -> None:
    document, result = checked(full())
    assert [(f.code, f.message, f.span.line) for f in result.findings] == []
    assert result.ok
    assert document.findings == ()


@pytest.mark.parametrize(
    ("part", "before", "after", "code", "message"),
    [
        ("wait", "event.employee_id", "event.employee", "expression", "'employee' does not exist here"),
        ("wait", "hris.hire_rescinded", "hris.hire_withdrawn", "unknown-event",
         "workday@1 has no event 'hire_withdrawn'"),
        ("wait", "      give_up: 1h\n", "", "shape", "'give_up' is missing"),
        ("each", ", max: 5", "", "shape", "'max' is missing"),
        ("each", "max: 5", "max: 5000", "shape", "'max' must be at most 1000; this is 5000"),
        ("each", "items: context.profile.groups", "items: context.profile.team_channel", "type",
         "'items' wants a list; this is text"),
        ("each", "    for_each: {items: context.profile.groups, max: 5}\n", "", "expression",
         "'item' does not exist here"),
        ("call", "workflow: laptop-order", "workflow: employee-onboarding", "cycle", "the workflow calls itself"),
        ("call", ", give_up: 2d", "", "shape", "'give_up' is missing"),
        ("call", "    compensate: {then: stop}\n", "", "shape", "'compensate' is missing"),
        ("call", "    call:", "    with: {a: 1}\n    call:", "shape", "'with' means nothing beside 'call'"),
        ("population", "row.employee_id", "row.employee", "expression", "'employee' does not exist here"),
        ("population", "hris.list_hires", "hris.get_worker", "shape", "hris.get_worker gives no rows"),
        ("population", "every: 24h", "every: daily", "shape",
         "'every' wants a duration such as 30s, 5m, 2h or 1d; this is 'daily'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_them(part: str, before: str, after: str, code: str, message: str) -> None:
    text: Any = {"wait": WAIT, "each": EACH, "call": CALL, "population": POPULATION}[part]
    assert before in text
    result = checked(full(**{part: text.replace(before, after)}))[1]
    assert result.findings[0].code == code
    assert result.findings[0].message == message
    assert len({(f.code, f.message) for f in result.findings}) == 1


def test_a_process_without_reconciliation_records_is_told_every_write() -> None:
    text = full()
    start, end = text.index("  records:\n"), text.index("  population:")
    result = checked(text[:start] + "  records: {}\n" + text[end:])[1]
    assert {finding.code for finding in result.findings} == {"unreconciled"}
    assert len(result.findings) == 6
