"""The dry run as a command, with the context taken from a file: nothing is needed, nothing is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran
from support.onboarding import HIRE, PROFILE

Run = Callable[..., Ran]
MANAGER = {"worker_id": "W-1", "name": "Omar Haddad", "email": "omar@corp.example", "active": True}
CONTEXT: dict[str, Any] = {
    "profile": {**PROFILE, "elevated": True},
    "manager": MANAGER,
    "existing": {"found": False},
    "quote": {"total": "1850.00 USD", "items": ["laptop"], "currency": "USD"},
}
PEOPLE = {"manager_of(subject)": [{"id": "omar@corp.example", "name": "Omar Haddad"}]}


@pytest.fixture
def planned(topstitch_in: Run, shipped: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Plan the shipped onboarding on fixtures."""

    def run(context: dict[str, Any], *words: str) -> Ran:
        event, fixtures = tmp_path / "event.json", tmp_path / "fixtures.json"
        event.write_text(json.dumps(HIRE))
        fixtures.write_text(json.dumps({"context": context, "people": PEOPLE}))
        return topstitch_in("plan", str(shipped), "--event", str(event), "--fixtures", str(fixtures), *words)

    return run


def test_H04_the_plan_says_writes_payloads_approvals_read_backs_and_rollback(planned: Run, tmp_path: Path):
    done = planned(CONTEXT, "--json")
    assert done.code == 0, done.err
    told = done.json()
    assert told["writes"][0]["step"] == "identity"
    assert told["writes"][0]["payload"]["upn"] == "priya.raman@corp.example"
    assert [(a["step"], a["people"]) for a in told["approvals"]] == [("identity", ["Omar Haddad"])]
    assert "found.enabled" in told["read_backs"][0]["that"]
    assert told["rollback"][-1]["action"] == "disable_user"
    assert told["left_out"] == {"crm_assignment": 'its condition is false: trigger.department == "Sales"'}
    assert not (tmp_path / "data").exists(), "nothing is kept"


def test_the_plan_is_printed_for_a_person(planned: Run):
    done = planned(CONTEXT)
    assert "asks Omar Haddad" in done.out
    assert "Rollback, in this order" in done.out
    assert "Nothing was sent." in done.err


def test_what_the_fixtures_lack_is_named_and_nothing_is_planned(planned: Run):
    done = planned({name: value for name, value in CONTEXT.items() if name != "quote"})
    assert done.code == 1
    assert "Nothing would be written" in done.out
    assert "quote" in done.out
