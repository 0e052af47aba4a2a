"""The black-out drill of the shipped onboarding: each system, each way, every step."""

from __future__ import annotations

from pathlib import Path

from support.commands import called
from support.world import ONBOARDING

WAYS = {"down", "429", "500", "timeout after commit", "slow", "wrong schema", "token expired"}


def test_H09_E17_with_each_system_down_in_each_way_nothing_is_stuck(tmp_path: Path):
    done = called("drill", str(ONBOARDING), "--data", str(tmp_path / "none"), "--json")
    assert done.code == 0, done.out + done.err
    told = done.json()
    assert told["stuck"] == 0
    assert told["good_day"] == "completed"
    assert {row["system"] for row in told["matrix"]} == {"hris", "directory", "itsm", "crm", "email", "chat"}
    assert {row["way"] for row in told["matrix"]} == WAYS
    held = {(row["system"], row["way"]) for row in told["matrix"] if row["end"] is None}
    assert held <= {("chat", "token expired")}, "a token that cannot be renewed holds its connection, with a case"
    assert not (tmp_path / "none").exists(), "nothing is kept"

    def why(system: str, way: str, step: str) -> tuple[str, str]:
        rows = [r for r in told["matrix"] if (r["system"], r["way"], r["from_start"]) == (system, way, False)]
        return rows[0]["steps"][step]["fate"], rows[0]["steps"][step]["why"]

    assert why("crm", "down", "crm_assignment") == ("waiting on a named person", "Ruth Abend, Kofi Mensah")
    assert why("crm", "timeout after commit", "crm_assignment") == ("completed", "done"), "looked up, not sent again"
    assert why("email", "down", "welcome_email") == ("waiting on a named person", "Dana Whitfield")
    assert {way for system, way in ((r["system"], r["way"]) for r in told["matrix"]) if system == "email"} == WAYS
    assert why("email", "wrong schema", "welcome_email") == ("waiting on a named person", "Dana Whitfield")
    assert why("itsm", "token expired", "equipment")[0] == "completed"
    assert why("directory", "500", "equipment")[0] == "degraded as declared"


def test_H09_one_system_in_one_way_is_printed_as_a_row():
    done = called("drill", str(ONBOARDING), "--system", "itsm", "--way", "500")
    assert done.code == 0, done.err
    row = next(line for line in done.out.splitlines() if line.startswith("ServiceNow"))
    assert "waits for Femi Adeyemi, Lucia Romano" in row
    assert "0 stuck" in done.out


def test_a_way_or_a_system_that_there_is_not_is_refused_with_those_there_are():
    assert "timeout after commit" in called("drill", str(ONBOARDING), "--way", "flood").err
    assert "use one of: hris, directory" in called("drill", str(ONBOARDING), "--system", "erp").err
