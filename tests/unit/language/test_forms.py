"""Tables, skeletons, digests, diffs, messages and the editor schema."""

from __future__ import annotations

import json

import jsonschema
import pytest

from support.contracts import CONTRACTS
from support.definitions import EXAMPLES, checked, onboarding_text, spoiled, workflow
from topstitch.foundation.errors import OperatorError, RequestError
from topstitch.language.check import check
from topstitch.language.diff import Level, diff
from topstitch.language.export import MODELINE, schema_json
from topstitch.language.load import load
from topstitch.language.messages import as_github, as_json, as_sarif, as_text, summary
from topstitch.language.normal import definition_digest, normal_form, workflow_from_normal
from topstitch.language.promises import worst_case
from topstitch.language.render import HEADERS, as_markdown, as_plain, mapping_table
from topstitch.language.scopes import declared_flags
from topstitch.language.skeleton import read_table, skeleton_from_table

PLAYBOOK = """
| Step | System | Action | Data Payload | Approval Required | Rollback Plan |
|---|---|---|---|---|---|
| 1. Hire trigger | Workday (HRIS) | Detect hire event via Business Process integration | Employee ID, name, department | None (trigger event) | N/A |
| 2. Identity provisioning | Active Directory / Entra ID | Create user account, assign security groups | UPN, department OU | Auto-approve for standard profiles; manager approval for elevated access | Disable account, remove group memberships |
| 3. Equipment request | ServiceNow | Create catalog request for laptop, monitors, badges | Employee ID, location, quota (if applicable) | Auto-approve under $2,500; manager approval above | Cancel catalog request, update asset record |
| 5. Welcome sequence | Email / Slack | Send onboarding packet | Employee name, manager name | None | N/A (informational) |
| 6. Reconciliation | All systems | Validate: AD account active | Process object ID | None | Flag discrepancies |

| Metric | What It Measures |
|---|---|
| Step duration | Time each step takes |
"""  # noqa: E501


# -- the mapping table -------------------------------------------------------------------------------


def test_V09_the_table_has_the_playbooks_columns_and_a_row_for_each_step() -> None:
    rows = mapping_table(workflow(), CONTRACTS)
    lines = as_markdown(rows).splitlines()
    assert lines[0] == "| " + " | ".join(HEADERS) + " |"
    assert [row.step for row in rows] == [
        "0. Trigger", "1. Identity provisioning", "2. Equipment request", "3. CRM team assignment", "4. Welcome e-mail",
        "5. Slack invitation", "6. Reconciliation",
    ]  # fmt: skip
    assert lines[4] == (
        "| 2. Equipment request | servicenow@1 | create catalog request"
        " | employee_id, location, department, tier, items"
        ' | automatic when `context.quote.total.under("2500 USD")`; else manager_of(subject), 1 of them, within 72h'
        " | itsm.cancel_request | 4 attempts, then task to group:it-ops (due 1d, give up 3d); flag equipment_delayed"
        " -> done: continue, not done: continue |"
    )
    assert "employee_id, first_name" in lines[2]


def test_the_plain_table_keeps_its_width() -> None:
    text = as_plain(mapping_table(workflow(), CONTRACTS), width=160)
    assert "Slack" in text
    assert max(len(line) for line in text.splitlines()) <= 200


def test_V09_a_table_becomes_a_skeleton_of_the_right_shape() -> None:
    for table in (PLAYBOOK, as_markdown(mapping_table(workflow(), CONTRACTS))):
        text = skeleton_from_table(table, CONTRACTS)
        result = check(load(text, "skeleton.yaml"), CONTRACTS)
        assert result.workflow is not None
        assert not [f for f in result.findings if f.code == "shape" or f.code.startswith("yaml")]
        assert text.startswith(MODELINE)
    steps = check(load(skeleton_from_table(PLAYBOOK, CONTRACTS), "f"), CONTRACTS).workflow
    assert steps is not None
    assert list(steps.steps) == ["identity_provisioning", "equipment_request", "welcome_sequence"]
    assert steps.steps["identity_provisioning"].do == "entra_id.create_user"


@pytest.mark.parametrize(
    "text", ["", "no table", "| a | b |\n|---|---|\n| 1 | 2 |", "| Step | System | Action |\n|---|---|---|"]
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="give a Markdown table"):
        read_table(text)


# -- digest ------------------------------------------------------------------------------------------


def test_V01_comments_spacing_and_key_order_do_not_change_the_digest() -> None:
    digest = definition_digest(workflow())
    lines = [line + "   # a remark" if line.endswith(":") else line for line in onboarding_text().splitlines()]
    assert definition_digest(workflow("\n\n".join(lines))) == digest
    swapped = spoiled(
        ("    title: Slack invitation\n    do: chat.invite\n", "    do: chat.invite\n    title: 'Slack invitation'\n")
    )
    assert definition_digest(workflow(swapped)) == digest
    written_out = spoiled(
        ("    title: Slack invitation\n", "    title: Slack invitation\n    timeout: 30s\n    pivot: false\n")
    )
    assert definition_digest(workflow(written_out)) == digest
    assert definition_digest(workflow(spoiled(("version: 1.0.0", "version: 1.0.1")))) != digest


def test_the_normal_form_reads_back_as_the_same_workflow() -> None:
    form = normal_form(workflow())
    assert workflow_from_normal(json.loads(json.dumps(form))) == workflow()
    with pytest.raises(OperatorError, match="format 99"):
        workflow_from_normal({**form, "format": 99})


def test_flags_are_the_ones_somebody_sets() -> None:
    assert declared_flags(workflow()) == {"equipment_delayed", "equipment_declined"}


# -- diff --------------------------------------------------------------------------------------------

SALES = 'when: trigger.department == "Sales"'
LIMIT = 'context.quote.total.under("2500 USD")'
CHANGES: dict[str, tuple[tuple[str, str], Level]] = {
    "'Slack invitation' is now called 'Slack invite'": (
        ("title: Slack invitation", "title: Slack invite"),
        Level.PATCH,
    ),
    "'Identity provisioning' is retried 5 times (before: 4)": (
        ("attempts: 4, backoff: exponential, first: 10s", "attempts: 5, backoff: exponential, first: 10s"),
        Level.PATCH,
    ),
    "'Equipment request' reminds and escalates otherwise": (
        ("        remind: 4h\n", "        remind: 5h\n"),
        Level.PATCH,
    ),
    f"'Equipment request' is approved automatically when [{LIMIT.replace('25', '50')}] (before: [{LIMIT}])": (
        (LIMIT, LIMIT.replace("25", "50")),
        Level.MAJOR,
    ),
    f"'Equipment request' is approved automatically when nothing (before: [{LIMIT}])": (
        (f"      auto_when: {LIMIT}\n", ""),
        Level.MINOR,
    ),
    "'Slack invitation' now waits for identity, equipment (before: identity)": (
        ("    do: chat.invite\n    needs: [identity]", "    do: chat.invite\n    needs: [identity, equipment]"),
        Level.MAJOR,
    ),
    "'Identity provisioning' sends another payload: manager_upn removed": (
        ("      manager_upn: = context.manager.email\n", ""),
        Level.MINOR,
    ),
    (
        "'Identity provisioning': a refusal now means then rollback, tell requester; owner "
        "(before: then stop, tell requester; owner)"
    ): (("refused: {then: stop, tell", "refused: {then: rollback, tell"), Level.MAJOR),
    "the promises changed: welcomed": (("within: 1h, of: trigger}", "within: 90m, of: trigger}"), Level.MINOR),
    ('\'CRM team assignment\' now runs when [trigger.department == "IT"] (before: [trigger.department == "Sales"])'): (
        (SALES, SALES.replace("Sales", "IT")),
        Level.MAJOR,
    ),
}


@pytest.mark.parametrize("sentence", CHANGES, ids=[sentence[:50] for sentence in CHANGES])
def test_a_change_is_said_in_business_terms_and_weighed(sentence: str) -> None:
    change, level = CHANGES[sentence]
    found = diff(workflow(), workflow(spoiled(change)))
    assert [(each.level, each.sentence) for each in found.changes] == [(level, sentence)]
    assert found.refused


def test_a_version_that_promises_less_than_changed_is_refused() -> None:
    when = ('when: trigger.department == "Sales"', 'when: trigger.department == "Marketing"')
    for version, refused in (("1.0.1", True), ("1.1.0", True), ("2.0.0", False), ("0.9.0", True)):
        found = diff(workflow(), workflow(spoiled(when, ("version: 1.0.0", f"version: {version}"))))
        assert found.refused is refused
        assert ("raise the major part" in found.verdict()) is refused
    assert diff(workflow(), workflow()).verdict() == "nothing changed"


# -- the promise -------------------------------------------------------------------------------------


def test_the_worst_case_is_the_sum_of_what_the_file_allows() -> None:
    ends = worst_case(workflow())
    assert ends["identity"] == 8 * 60 + 10
    assert ends["welcome_email"] == ends["identity"] + 45 * 60 + 5 * 60 + 60


# -- messages ----------------------------------------------------------------------------------------


def test_a_finding_is_shown_with_its_line_and_a_mark() -> None:
    document, result = checked(spoiled(("do: itsm.create_catalog_request", "do: itsm.create_catalogue_request")))
    assert as_text(document, result.findings) == (
        "onboarding.yaml:91:14: error[unknown-action] servicenow@1 has no action 'create_catalogue_request'\n"
        "    91 |     do: itsm.create_catalogue_request\n"
        "       |              ^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "       = did you mean 'create_catalog_request'?"
    )


def test_three_findings_are_shown_in_full_and_the_rest_counted() -> None:
    names = ("directory.create_user", "itsm.create_catalog_request", "crm.assign_team", "email.send", "chat.invite")
    text = spoiled(*[(f"    do: {name}\n", f"    do: {name}x\n") for name in names])
    document, result = checked(text)
    shown = as_text(document, result.findings)
    assert shown.count("error[unknown-action]") == 3
    assert shown.endswith(f"and {len(result.findings) - 3} errors more; use --all to see every one")
    assert as_text(document, result.findings, every=True).count("error[") == len(result.findings)
    assert summary(result.findings) == f"{len(result.findings)} errors"


def test_findings_as_data() -> None:
    document, result = checked(spoiled(("needs: [identity]", "needs: [identiy]")))
    (data,) = as_json(document, result.findings)
    assert data["file"] == "onboarding.yaml"
    assert (data["line"], data["column"], data["code"]) == (92, 13, "unknown-step")
    assert as_github(document, result.findings) == (
        "::error file=onboarding.yaml,line=92,col=13,endLine=92,title=unknown-step::"
        "there is no step 'identiy'; did you mean 'identity'?"
    )
    sarif = json.loads(as_sarif([(document, result.findings)]))
    assert sarif["runs"][0]["results"][0]["ruleId"] == "unknown-step"


# -- the editor schema -------------------------------------------------------------------------------


def test_the_committed_schema_is_the_one_the_program_exports() -> None:
    assert (EXAMPLES / "workflow.v1.schema.json").read_text(encoding="utf-8") == schema_json()


def test_shipped_definitions_start_with_the_modeline_and_fit_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_json()))
    files = [file for file in EXAMPLES.parent.rglob("*.yaml") if "\nworkflow:" in file.read_text(encoding="utf-8")]
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.splitlines()[0] == MODELINE
        assert list(validator.iter_errors(load(text, str(file)).data)) == []
        assert (file.parent / "workflow.v1.schema.json").exists()


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_json()))
    data = load(spoiled(("    title: Equipment request", "    titel: Equipment request")), "f").data
    assert list(validator.iter_errors(data))
