"""Every class of defect gives one message, in these words, at this place."""

from __future__ import annotations

import re

import pytest

from support.contracts import CONTRACTS
from support.definitions import checked, onboarding_text, spoiled, workflow
from topstitch.language.check import contract_digests, stale_contracts
from topstitch.language.load import load

ORDER_TASK = """      do:
        - task:
            to: group:it-ops
            title: "Order ${context.profile.equipment_tier} equipment for ${trigger.employee_id} by hand"
            due: 1d
            escalate: [{after: 1d, to: "group:it-ops-leads"}]
            give_up: 3d
        - flag: equipment_delayed
      then: {done: continue, not_done: continue}
"""
CRM_APPROVAL = """    approval:
      auto_when: "!context.profile.quota_carrying"
      otherwise:
        from: group:sales-ops
        remind: 4h
        escalate: [{after: 24h, to: "group:sales-leadership"}]
        give_up: 72h
      refused: {then: continue, tell: [requester, "manager_of(subject)"]}
      unanswered: {then: continue, tell: [owner]}
"""
CANCEL = """    rollback:
      do: itsm.cancel_request
      with: {request_id: = step.output.request_id, update_asset: true}
"""
CHAT_EXPECT = """    expect:
      - read: chat.is_member
        with: {upn: = step.input.upn, channel: = step.input.channel}
        that: found.member
        within: 1m
"""
CHAT_RECORD = """    chat:
      covers: welcome_chat
      read: chat.is_member
      with: {upn: = steps.welcome_chat.input.upn, channel: = steps.welcome_chat.input.channel}
      expect:
        - {field: member, equals: "= true", severity: low}
"""
QUOTE_IT = (
    'an expression that contains ": " or " #", or starts with a quote, "!", "{", "[", "*" or "&", must be put in quotes'
)
SALES = 'when: trigger.department == "Sales"'

# id, before, after, where the mark stands (text of the line from the column on), code, message, help
DEFECTS = [
    ("misspelt action", "do: itsm.create_catalog_request", "do: itsm.create_catalogue_request",
     "create_catalogue", "unknown-action", "servicenow@1 has no action 'create_catalogue_request'",
     "did you mean 'create_catalog_request'?"),
    ("payload of another type", "groups: = context.profile.groups", "groups: = context.profile.equipment_tier",
     "= context.profile.equipment_tier", "type", "'groups' wants a list of text; this is text", None),
    ("CX02 write in context", "read: hris.get_worker", "read: itsm.create_exception",
     "itsm.create_exception", "write-in-context", "itsm.create_exception writes; the context stage is read-only",
     "move it to a step"),
    ("E06 no rollback", CANCEL, "", "title: Equipment request", "shape", "'rollback' is missing",
     "every step needs a rollback plan: 'rollback: {do: ...}' or 'rollback: {none: why nothing is to be undone}'"),
    ("V05 a field the record lacks", 'found.state in ["requested"', 'found.status in ["requested"',
     ".status", "expression", "'status' does not exist here", "did you mean 'state'?"),
    ("E04 reads a step it does not need", "office: = trigger.location", "office: = steps.welcome_chat.input.upn",
     "steps.welcome_chat.input.upn", "dependency",
     "'welcome_email' reads 'steps.welcome_chat.input.upn' but does not need 'welcome_chat'",
     "add 'welcome_chat' to needs"),
    ("a wait without an end", "        give_up: 72h\n", "", "from: manager_of", "shape", "'give_up' is missing",
     "a wait without an end is a silent stall: say when to give up"),
    ("an approval nobody is asked for", 'auto_when: context.quote.total.under("2500 USD")', "auto_when: true",
     "true", "unreachable-approval", "auto_when is always true: nobody is ever asked",
     "remove the approval, or correct the condition"),
    ("an optional field read plainly", "context.profile.?quota", "context.profile.quota", "context.profile.quota",
     "optional", "'context.profile.quota' may be absent",
     "write '.?quota' or guard it with has(context.profile.quota)"),
    ("money against a number", 'context.quote.total.under("2500 USD")', "context.quote.total < 2500", "< 2500",
     "expression", "money cannot be compared with <",
     'compare money with under("2500 USD"), over(...) or at_most(...)'),
    ("a limit that is no money", 'under("2500 USD")', 'under("2500")', '2500")',
     "expression", "'2500' is not an amount of money", 'write it as "2500 USD"'),
    ("unknown system", "do: itsm.create_cat", "do: itms.create_cat", "itms.", "unknown-system",
     "there is no system 'itms'", "did you mean 'itsm'?"),
    ("unknown connector", "servicenow@1", "service-now@1", "service-now@1", "unknown-connector",
     "there is no connector 'service-now@1'", "did you mean 'servicenow@1'?"),
    ("another major version", "servicenow@1", "servicenow@2", "servicenow@2", "unknown-connector",
     "there is no connector 'servicenow@2'", "installed is servicenow@1"),
    ("unknown event", "hris.hire_completed", "hris.hire_complete", "hire_complete ", "unknown-event",
     "workday@1 has no event 'hire_complete'", "did you mean 'hire_completed'?"),
    ("unknown step", "needs: [identity]", "needs: [identiy]", "identiy]", "unknown-step",
     "there is no step 'identiy'", "did you mean 'identity'?"),
    ("misspelt payload field", "      tier: = context.profile.equipment_tier\n      items",
     "      teir: = context.profile.equipment_tier\n      items", "teir:", "unknown-field",
     "there is no field 'teir'", "did you mean 'tier'?"),
    ("required payload field", "      items: = context.quote.items\n", "", "with:", "payload", "'items' is missing",
     "the action wants employee_id, location, department, tier, items"),
    ("misspelt key", "    title: Equipment request", "    titel: Equipment request", "titel:", "shape",
     "there is no field 'titel' here", "did you mean 'title'?"),
    ("circle", "    do: directory.create_user\n", "    do: directory.create_user\n    needs: [welcome_chat]\n",
     "needs: [welcome_chat]", "cycle", "these steps wait for each other: identity -> welcome_chat -> identity",
     "remove one of these waits"),
    ("written above what it waits for", "after: {equipment: 45m, crm_assignment: 45m}",
     "after: {equipment: 45m, welcome_chat: 45m}", "welcome_email:", "order",
     "'welcome_email' is written above 'welcome_chat', which it waits for",
     "move it below 'welcome_chat': the file is read from the top"),
    ("write in a check", "      - read: itsm.get_request", "      - read: itsm.create_exception",
     "itsm.create_exception", "write-in-check", "itsm.create_exception writes; a read-back is read-only",
     "use an action that reads"),
    ("nobody told", ORDER_TASK, "      do: [flag: equipment_delayed]\n      then: continue\n", "continue",
     "nobody-told", "the step may fail, the instance goes on, and nobody is asked to repair it",
     "add a task, or write 'stop' or 'rollback'"),
    ("risk below the floor", "    do: directory.create_user\n    risk: 2", "    do: directory.create_user\n    risk: 1",
     "1", "risk", "risk 1 is below the connector's floor of 2", "raise it"),
    ("tier 3 without approval", CRM_APPROVAL, "", "title: CRM team assignment", "approval", "'approval' is missing",
     "a step of risk 3 needs one; 'auto_when' may answer it"),
    ("a write nothing compares", CHAT_RECORD, "", "welcome_chat:", "unreconciled",
     "nothing compares what 'welcome_chat' wrote in slack@1",
     "add a record to reconcile with 'covers: welcome_chat'"),
    ("E05 a write nobody reads back", CHAT_EXPECT, "", "title: Slack invitation", "unverified", "'expect' is missing",
     "read back what was written: 'expect: [{read: ..., that: ...}]', or say 'expect: {none: why}'"),
    ("a credential", "office: = trigger.location", "note: 'Bearer abcdefghijklmnopqrstuvwx'", "'Bearer", "secret",
     "this looks like a credential; it would be written to the journal",
     "let the connection hold it: connections.toml takes env:NAME or file:PATH"),
    ("a password", "office: = trigger.location", "password: hunter2", "password:", "secret",
     "'password' holds a credential; it would be written to the journal",
     "send a one-time link, or let the connection hold it"),
    ("a promise the retries break", "account: {steps: [identity], within: 10m",
     "account: {steps: [identity], within: 8m", "8m", "sla",
     "'identity' may take 8 m 10 s by its own retries and deadlines; the promise is 8m",
     "promise more time, or allow fewer attempts, shorter pauses and deadlines"),
    ("a step that never runs", SALES, "when: 1 > 2", "1 > 2", "dead-step",
     "'crm_assignment' never runs: its condition is always false", "remove the step, or its condition"),
    ("a condition that contradicts itself", SALES, SALES + ' && trigger.department == "IT"', "trigger.department ==",
     "dead-step", "'crm_assignment' never runs: its condition contradicts itself", "change the condition"),
    ("a YAML tag", 'auto_when: "!context.profile.elevated"', "auto_when: !context.profile.elevated", "!context",
     "yaml-tag", "'!context.profile.elevated' was read as a YAML tag", "put the expression in quotes"),
    ("a key given twice", "    risk: 2\n", "    risk: 2\n    risk: 3\n", "risk: 3", "yaml-duplicate",
     "'risk' is given twice, first in line 40", "remove one of the two"),
    ("the ternary trap", "template: \"= flags.equipment_delayed ? 'welcome-equipment-delayed' : 'welcome'\"",
     "template: = flags.equipment_delayed ? 'welcome-equipment-delayed' : 'welcome'", ": 'welcome'", "yaml",
     "the expression is cut at ': '",
     QUOTE_IT),
    ("the comma trap", "with: {tier: = context.profile.equipment_tier, location: = trigger.location}",
     "with: {tier: = slug(context.profile.equipment_tier, 2), location: = trigger.location}", "= slug(",
     "yaml-flow", "inside { } a comma ends the value, so the expression is cut here",
     "put the expression in quotes, or write the mapping on lines of its own"),
    ("unknown flag", "flags.equipment_delayed ?", "flags.equipment_delay ?", ".equipment_delay ", "unknown-flag",
     "nothing sets the flag 'equipment_delay'", "did you mean 'equipment_delayed'?"),
    ("unknown disposition", "not_done: rollback", "not_done: rollbck", "rollbck", "shape",
     "'not_done' wants continue, rollback or stop; this is 'rollbck'", "did you mean 'rollback'?"),
    ("V11 no owner", "owner: {team: people-operations, page: people-ops-oncall}\n", "", "workflow:", "shape",
     "'owner' is missing", "somebody answers for the whole process: 'owner: {team: ...}'"),
    ("misspelt trigger field", SALES, 'when: trigger.departmnt == "Sales"', ".departmnt", "expression",
     "'departmnt' does not exist here", "did you mean 'department'?"),
    ("no condition", SALES, "when: trigger.department", "trigger.department", "type",
     "'when' wants true or false; this is text", "compare it with something"),
    ("one equals sign", SALES, 'when: trigger.department = "Sales"', '= "Sales"', "expression",
     "'=' does not compare", "write =="),
    ("a wrong field inside a text", '${trigger.last_name}"\n      department', '${trigger.last_nam}"\n      department',
     ".last_nam}", "expression", "'last_nam' does not exist here", "did you mean 'last_name'?"),
    ("context read before it is there", "with: {worker_id: = trigger.manager_id}",
     "with: {worker_id: = context.quote.currency}", "context.quote.currency", "order",
     "'context.quote.currency' is read further down", "move 'quote' above it"),
    ("a value outside of the choices", 'one_of: ["sent", "delivered"]', 'one_of: ["send", "delivered"]', '"send"',
     "type", "'one_of' wants one of queued, sent, delivered, bounced, unknown; this is 'send'", "did you mean 'sent'?"),
    ("a field the record to compare lacks", "{field: territory, equals", "{field: teritory, equals", "teritory",
     "unknown-field", "get_assignment gives no field 'teritory'", "did you mean 'territory'?"),
    ("no duration", "within: 10m\n    tell", "within: 10 min\n    tell", "10 min", "shape",
     "'within' wants a duration such as 30s, 5m, 2h or 1d; this is '10 min'", "did you mean '10m'?"),
    ("a number that is no duration", "remind: 2h", "remind: 2", "2", "shape",
     "'remind' wants a duration such as 30s, 5m, 2h or 1d; this is 2", "say the unit: 2m, 2h or 2d"),
    ("a number that is no duration, under a name", "{equipment: 45m,", "{equipment: 45,", "45,", "shape",
     "'equipment' wants a duration such as 30s, 5m, 2h or 1d; this is 45", "say the unit: 45m, 45h or 45d"),
    ("a word that is no number", "    risk: 3\n", "    risk: high\n", "high", "shape",
     "'risk' wants a whole number; this is text", "write digits only, without quotes or a unit"),
    ("a copied quotation mark", 'under("2500 USD")', "under(\u201c2500 USD\u201d)", "\u201c2500", "expression",
     "'\u201c' is no quotation mark of an expression", "type \" or '; copied text brings others"),
    ("one where a list is wanted", "needs: [identity]", "needs: identity", "identity", "shape",
     "'needs' wants a list; this is text", "write [identity]"),
    ("a rollback that is a word", "rollback: {none: informational; a sent message cannot be unsent}", "rollback: none",
     "none", "shape", "'rollback' wants a mapping of fields; this is text",
     "every step needs a rollback plan: 'rollback: {do: ...}' or 'rollback: {none: why nothing is to be undone}'"),
    ("a factor with a space", "2x baseline", "2 x baseline", "2 x", "shape",
     "'alert_over' wants a factor such as 2x baseline; this is '2 x baseline'", "did you mean '2x baseline'?"),
    ("a connector without a version", "servicenow@1", "servicenow", "servicenow", "shape",
     "'itsm' wants a connector and its major version, such as servicenow@1; this is 'servicenow'",
     "did you mean 'servicenow@1'?"),
    ("a connector in place of its alias", "do: crm.assign_team", "do: salesforce.assign_team", "salesforce.",
     "unknown-system", "there is no system 'salesforce'", "steps name the alias: did you mean 'crm'?"),
    ("a bracket left open", "    needs: [identity]\n    risk: 2", "    needs: [identity\n    risk: 2", "[identity",
     "yaml", "this bracket is never closed", "close it, or put the text in quotes"),
    ("a copied no-break space", "title: Equipment request", "title:\u00a0Equipment request", "\u00a0Equipment",
     "yaml-character", "a no-break space stands where YAML wants a space",
     "type an ordinary space; this one often comes along when text is copied"),
    ("text compared with a number", SALES, "when: trigger.department > 3", "> 3", "expression",
     "'>' does not go with text and a whole number", "put the value in quotes to compare it as text"),
    ("nobody of that name", "from: group:sales-ops", "from: sales ops", "sales ops", "who", "'sales ops' names nobody",
     "write group:..., role:..., manager_of(subject), owner, requester or a person's id"),
    ("a step that does two things", "    do: chat.invite\n",
     "    do: chat.invite\n    call: {workflow: other, give_up: 1h}\n", "call:", "shape",
     "a step has either 'do' or 'call'", "make it two steps"),
    ("an output that is not there", 'title: "Invite ${trigger.first_name}', 'title: "Invite ${step.output.state}',
     "step.output.state", "dependency", "'step.output.state' is not there: the step was not completed",
     "read step.input"),
]  # fmt: skip


def test_V10_the_shipped_onboarding_has_no_finding() -> None:
    document, result = checked(onboarding_text())
    assert document.findings == ()
    assert result.findings == ()
    assert result.ok
    assert result.expressions > 80


@pytest.mark.parametrize(
    ("before", "after", "mark", "code", "message", "remedy"),
    [pytest.param(*defect[1:], id=defect[0]) for defect in DEFECTS],
)
def test_a_defect_gives_exactly_one_finding_at_the_right_place(
    before: str, after: str, mark: str, code: str, message: str, remedy: str | None
) -> None:
    document, result = checked(spoiled((before, after)))
    assert [(finding.code, finding.message, finding.help) for finding in result.findings] == [(code, message, remedy)]
    finding = result.findings[0]
    line = document.lines[finding.span.line - 1]
    assert line[finding.span.column - 1 :].startswith(mark)
    assert not result.ok


def test_the_places_of_section_1_6_are_exact() -> None:
    result = checked(spoiled(('found.state in ["requested"', 'found.status in ["requested"')))[1]
    span = result.findings[0].span
    assert (span.line, span.column, span.end_line, span.end_column) == (113, 20, 113, 27)


def test_every_class_of_defect_is_named() -> None:
    codes = {defect[4] for defect in DEFECTS}
    assert codes >= {
        "shape", "unknown-system", "unknown-connector", "unknown-action", "unknown-step", "unknown-field", "payload",
        "type", "expression", "optional", "dependency", "cycle", "order", "write-in-context", "write-in-check",
        "nobody-told", "unreachable-approval", "dead-step", "approval", "risk", "unreconciled", "secret", "sla",
    }  # fmt: skip


def test_personal_data_that_flows_into_an_unmarked_field_is_a_warning() -> None:
    result = checked(
        spoiled(("department: = trigger.department\n      groups", "department: = trigger.first_name\n      groups"))
    )[1]
    assert [(finding.code, finding.severity) for finding in result.findings] == [("personal", "warning")]
    assert result.ok
    masked = spoiled(
        ("department: = trigger.department\n      groups", "department: = mask(trigger.first_name)\n      groups")
    )
    assert checked(masked)[1].findings == ()


def test_what_looks_like_a_value_but_is_sent_as_letters_is_a_warning() -> None:
    text = spoiled(
        ("      location: = trigger.location\n      department", "      location: trigger.location\n      department")
    )
    (found,) = checked(text)[1].findings
    assert (found.code, found.severity, found.span.line, found.span.column) == ("literal", "warning", 96, 17)
    assert found.help == "write '= trigger.location' for its value"


def test_a_first_pause_beyond_the_longest_is_a_warning() -> None:
    text = spoiled(
        (
            "first: 10s, max: 5m}\n    expect:\n      - read: chat",
            "first: 10m, max: 5m}\n    expect:\n      - read: chat",
        )
    )
    found = [each for each in checked(text)[1].findings if each.code == "retry"]
    assert [(each.severity, each.message, each.help) for each in found] == [
        ("warning", "the first pause is longer than the longest", "write a 'first' of at most 5m, or raise 'max'")
    ]


def test_T02_a_schedule_starts_nothing_unless_it_says_why() -> None:
    import msgspec

    workday = CONTRACTS["workday@1"]
    event = msgspec.structs.replace(workday.events["hire_completed"], scheduled=True)
    contracts = {
        **CONTRACTS,
        "workday@1": msgspec.structs.replace(workday, events={**workday.events, "hire_completed": event}),
    }
    from topstitch.language.check import check

    refused = check(load(onboarding_text(), "f"), contracts)
    assert [(finding.code, finding.span.line) for finding in refused.findings] == [("scheduled", 17)]
    allowed = spoiled(
        ("  requester: = trigger.initiated_by", "  requester: = trigger.initiated_by\n  non_business: nightly clean-up")
    )
    assert check(load(allowed, "f"), contracts).findings == ()


def test_E05_a_waiver_with_its_reason_is_accepted() -> None:
    waived = spoiled((CHAT_EXPECT, "    expect: {none: the system cannot be asked}\n"))
    assert checked(waived)[1].ok
    empty = spoiled((CHAT_EXPECT, '    expect: {none: ""}\n'))
    assert [finding.message for finding in checked(empty)[1].findings] == ["'none' is empty"]


def test_E07_a_rollback_of_none_needs_its_reason() -> None:
    text = spoiled(("rollback: {none: informational; a sent message cannot be unsent}", 'rollback: {none: " "}'))
    assert [finding.code for finding in checked(text)[1].findings] == ["shape"]


def test_V11_no_promise_fails() -> None:
    text = re.sub(r"\nsla:\n(  .*\n)+", "\n", onboarding_text())
    assert [finding.message for finding in checked(text)[1].findings] == ["'sla' is missing"]


def test_several_defects_are_all_found_even_when_the_shape_is_wrong() -> None:
    text = spoiled(
        ("    title: Equipment request", "    titel: Equipment request"),
        ("do: chat.invite", "do: chat.invit"),
        ("{field: role, equals", "{field: rol, equals"),
    )
    result = checked(text)[1]
    assert [finding.code for finding in result.findings] == ["shape", "unknown-action", "unknown-field"]
    assert result.workflow is None


def test_ambiguous_actions_are_tried_once_and_asked_about() -> None:
    import msgspec

    from topstitch.language.check import check
    from topstitch.model.action import Idempotency

    slack = CONTRACTS["slack@1"]
    invite = msgspec.structs.replace(slack.actions["invite"], idempotency=Idempotency.NONE, lookup=None)
    contracts = {**CONTRACTS, "slack@1": msgspec.structs.replace(slack, actions={**slack.actions, "invite": invite})}
    found = check(load(onboarding_text(), "f"), contracts).findings
    assert [finding.code for finding in found] == ["ambiguous"]


def test_a_contract_that_changed_since_publication_is_reported() -> None:
    document = load(onboarding_text(), "f")
    recorded = contract_digests(workflow(), CONTRACTS)
    assert stale_contracts(workflow(), CONTRACTS, recorded, document) == ()
    changed = {**recorded, "chat.invite": "sha256:other", "crm.gone": "sha256:x"}
    found = stale_contracts(workflow(), CONTRACTS, changed, document)
    assert {(finding.code, finding.severity) for finding in found} == {
        ("stale-contract", "warning"),
        ("stale-contract", "error"),
    }
