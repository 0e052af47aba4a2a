"""What each command prints, as text and as data, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Ran, called, ran

Run = Callable[..., Ran]
ONBOARDING = Path(__file__).parents[3] / "src/topstitch/examples/onboarding/employee-onboarding.yaml"


def named(topstitch: Run, title: str) -> str:
    rows = topstitch("instances", "--json").json()["items"]
    return str(next(r["id"] for r in rows if r["title"] == title))


def test_O08_instances_are_found_by_the_language_of_api_and_console(topstitch: Run):
    found = topstitch("instances", "-q", "state:ended key:W-200003 yuki", "--json").json()["items"]
    assert [one["title"] for one in found] == ["Yuki Mori"]
    unknown = topstitch("instances", "-q", "colour:red")
    assert (unknown.code, "knows no field 'colour'" in unknown.err) == (2, True)
    both = topstitch("instances", "-q", "state:open", "--key", "x")
    assert (both.code, "say it all in the search" in both.err) == (2, True)


def test_instances_as_text_and_as_data(topstitch: Run):
    text, data = topstitch("instances"), topstitch("instances", "--json")
    assert text.code == data.code == 0
    assert "Samuel Brandt" in text.out
    assert "\x1b[" not in text.out
    rows = data.json()["items"]
    assert [r["title"] for r in rows] == ["Lukas Vogel", "Ana Costa", "Yuki Mori", "Samuel Brandt", "Priya Raman"]
    assert topstitch("instances", "--key", "W-200003", "--json").json()["items"][0]["title"] == "Yuki Mori"
    assert len(topstitch("instances", "--status", "completed", "--json").json()["items"]) == 4


def test_O08_instance_show_tells_effects_decisions_context_and_checks(topstitch: Run):
    name = named(topstitch, "Priya Raman")
    page = topstitch("instance", "show", name).out
    for part in ("Steps", "Effects so far", "Decisions", "Context", "Reconciliation", "Discrepancies"):
        assert f"\n{part}\n" in page
    data = topstitch("instance", "show", name[:24], "--json").json()
    assert data["status"] == "completed"
    assert {e["step"] for e in data["effects"]} >= {"identity", "equipment", "welcome_email", "welcome_chat"}
    assert [c["check"] for c in data["checks"]] == ["T+2h", "T+24h"]
    assert [d["resolved"] for d in data["discrepancies"]] == [True]


def test_E08_instance_show_lists_compensated_apart_from_undone(topstitch: Run):
    name = named(topstitch, "Lukas Vogel")
    assert "\nCompensated  Equipment request" in topstitch("instance", "show", name).out
    data = topstitch("instance", "show", name, "--json").json()
    assert (data["undone"], [c["step"] for c in data["compensated"]]) == ([], ["equipment"])


def test_instance_watch_ends_with_the_instance(topstitch: Run):
    done = topstitch("instance", "watch", named(topstitch, "Ana Costa"))
    assert done.code == 0
    assert done.out.strip().endswith("ended: completed")
    assert topstitch("instance", "watch", named(topstitch, "Lukas Vogel")).code == 1


def test_audit_show_has_every_record_and_its_actor(topstitch: Run):
    data = topstitch("audit", "show", named(topstitch, "Yuki Mori"), "--json").json()
    assert [r["seq"] for r in data["records"]] == list(range(1, len(data["records"]) + 1))
    assert "human:mei.tanaka@corp.example" in {r["actor"] for r in data["records"]}


def test_U08_audit_verify_ends_with_20_and_names_the_record(copied: Path):
    assert called("audit", "verify", "--data", str(copied)).code == 0
    with sqlite3.connect(copied / "topstitch.db") as database:
        database.execute(
            "UPDATE journal SET body = replace(body, 'W-200004', 'W-299999')"
            " WHERE kind = 'started' AND instr(body, 'W-200004')"
        )
    broken = called("audit", "verify", "--data", str(copied), "--json")
    assert broken.code == 20
    assert "edit: record 1 of " in broken.json()["broken"][0]


def test_nothing_waits_any_more(topstitch: Run):
    assert topstitch("approvals", "list", "--json").json() == {"items": []}
    assert "Nothing waits for a decision." in topstitch("approvals", "list").err
    assert len(topstitch("approvals", "list", "--all", "--json").json()["items"]) == 3
    assert len(topstitch("tasks", "list", "--all", "--group", "it-ops", "--json").json()["items"]) == 1


def test_a_late_answer_hears_who_decided_and_ends_with_6(topstitch: Run):
    approval = next(
        a for a in topstitch("approvals", "list", "--all", "--json").json()["items"] if a["step"] == "identity"
    )
    late = topstitch("approvals", "refuse", approval["id"], "--as", "jonas.weber@corp.example")
    assert late.code == 6
    assert "jonas.weber@corp.example approved it already" in late.err
    task = topstitch("tasks", "list", "--all", "--json").json()["items"][0]["id"]
    assert topstitch("tasks", "fail", task, "-m", "no", "--as", "femi.adeyemi@corp.example").code == 6


def test_approvals_and_tasks_show_what_it_was_about(topstitch: Run):
    approval = next(
        a for a in topstitch("approvals", "list", "--all", "--json").json()["items"] if a["step"] == "equipment"
    )
    page = topstitch("approvals", "show", approval["id"]).out
    assert "context.quote.total = 2500.00 USD" in page
    assert "if refused:" in page
    task = topstitch("tasks", "list", "--all", "--json").json()["items"][0]["id"]
    assert "--output request_id=<text>" in topstitch("tasks", "show", task).out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("instance", "show", "ins_nobody"), 5),
        (("approvals", "show", "apr_nobody"), 5),
        (("tasks", "done", "tsk_nobody"), 5),
        (("instance", "show"), 2),
        (("instances", "--limit", "0"), 2),
        (("no-such-command",), 2),
        (("audit", "show", "x"), 5),
    ],
)
def test_exit_codes(topstitch: Run, words: tuple[str, ...], code: int):
    done = topstitch(*words) if words != ("no-such-command",) else called(*words)
    assert done.code == code
    assert "Traceback" not in done.err


def test_errors_are_data_on_standard_error_when_json_is_asked_for(topstitch: Run):
    done = topstitch("instance", "show", "ins_nobody", "--json")
    assert done.out == ""
    assert json.loads(done.err)["error"]["code"] == "no-instance"


def test_a_folder_without_a_database_says_how_to_begin(tmp_path: Path):
    done = called("instances", "--data", str(tmp_path / "nothing"))
    assert (done.code, "topstitch init" in done.err) == (1, True)


def test_validate_ends_with_3_on_findings_and_0_without(tmp_path: Path):
    assert called("validate", str(ONBOARDING)).code == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ONBOARDING.read_text().replace("itsm.create_catalog_request", "itsm.create_catalogue_request"))
    done = called("validate", str(wrong))
    assert done.code == 3
    assert "did you mean" in done.out.lower()
    found = called("validate", str(wrong), "--format", "json").json()
    assert len(found) == 1
    assert found[0]["line"] > 1
    assert called("validate", str(tmp_path / "absent.yaml")).code == 1


def test_table_schema_and_init(tmp_path: Path):
    assert "0. Trigger" in called("table", str(ONBOARDING)).out
    assert called("table", str(ONBOARDING), "--format", "markdown").out.startswith("| Step")
    assert json.loads(called("schema").out)["$schema"]
    folder = tmp_path / "new"
    assert called("init", "--data", str(folder)).code == 0
    assert {p.name for p in folder.iterdir()} == {
        "topstitch.toml",
        "connections.toml",
        "employee-onboarding.yaml",
        "workflow.v1.schema.json",
    }
    assert called("init", "--data", str(folder)).code == 6
    assert called("publish", str(folder / "employee-onboarding.yaml"), "--data", str(folder)).code == 0
    assert called("validate", str(folder / "employee-onboarding.yaml"), "--data", str(folder)).code == 0


def test_V01_publish_says_what_changed_and_refuses_to_change_what_is_published(copied: Path, tmp_path: Path):
    text = ONBOARDING.read_text()
    again = called("publish", str(ONBOARDING), "--data", str(copied), "--json").json()
    assert again["changed"] is False
    path = tmp_path / "w.yaml"
    path.write_text(text.replace("remind: 2h", "remind: 1h"))
    assert called("publish", str(path), "--data", str(copied)).code == 6
    path.write_text(text.replace("remind: 2h", "remind: 1h").replace("version: 1.0.0", "version: 1.1.0"))
    dry = called("publish", str(path), "--data", str(copied), "--dry-run", "--json").json()
    assert (dry["changed"], len(dry["changes"]) >= 1) == (False, True)
    done = called("publish", str(path), "--data", str(copied), "--json").json()
    assert (done["changed"], done["version"]) == (True, "1.1.0")
    stale = called("publish", str(ONBOARDING), "--data", str(copied), "--parent", "sha256:stale")
    assert stale.code == 6


def test_trigger_starts_one_instance_and_the_same_id_again_none(copied: Path):
    fields = dict.fromkeys(("employee_id", "first_name", "last_name", "department", "location", "manager_id"), "x")
    fields |= {"start_date": "2026-02-01", "cost_center": "C", "job_profile": "IT-OPS", "initiated_by": "W-2"}
    given = [word for name, value in fields.items() for word in ("--field", f"{name}={value}")]
    words = ("trigger", "workday.hire_completed", "--id", "mine", "--data", str(copied), "--json")
    first, again = called(*words, *given), called(*words, *given)
    assert first.code == again.code == 0, first.err
    assert first.json()["instances"] == again.json()["instances"]
    assert again.json()["duplicate"] is True
    refused = called(*words, *given[2:])
    assert refused.code == 2
    assert "employee_id is missing" in refused.err or "data.employee_id" in refused.err


def test_doctor_names_what_does_not_answer(copied: Path):
    done = called("doctor", "--data", str(copied), "--json")
    assert done.code == 1
    states = {f["what"]: f["state"] for f in done.json()["findings"]}
    assert (states["database"], states["chains"], states["hris"]) == ("ok", "ok", "bad")


def test_version_and_help_are_quick(tmp_path: Path):
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran("--version").out.startswith("topstitch ")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert "demo" in called("--help").out
