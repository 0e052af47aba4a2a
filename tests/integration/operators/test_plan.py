"""The dry run as a command, with the context taken from a file: nothing is needed, nothing is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import Ran
from support.onboarding import HIRE, PROFILE
from topstitch.bootstrap.database import open_store
from topstitch.settings import load
from topstitch.store import rollups

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

    def run(context: dict[str, Any], *words: str, hire: dict[str, Any] = HIRE, people: dict[str, Any] = PEOPLE) -> Ran:
        event, fixtures = tmp_path / "event.json", tmp_path / "fixtures.json"
        event.write_text(json.dumps(hire))
        fixtures.write_text(json.dumps({"context": context, "people": people}))
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


def test_H04_an_event_that_no_door_would_take_is_refused_with_each_field_named(planned: Run):
    bad = {name: value for name, value in HIRE.items() if name != "department"} | {"start_date": 7}
    done = planned(CONTEXT, hire=bad)
    assert done.code != 0
    assert "start_date" in done.err or "department" in done.err
    assert "Writes" not in done.out


def test_H04_who_may_not_decide_is_shown_as_excluded_with_why(planned: Run):
    requester = str(HIRE["initiated_by"])
    people = {"manager_of(subject)": [*PEOPLE["manager_of(subject)"], {"id": requester, "name": "Who Asked"}]}
    (asked,) = planned(CONTEXT, "--json", people=people).json()["approvals"]
    assert asked["people"] == ["Omar Haddad"]
    assert [one["person"] for one in asked["excluded"]] == [requester]
    assert "may not decide" in asked["excluded"][0]["why"]
    assert f"not {requester}: may not decide" in planned(CONTEXT, people=people).out


def test_H04_how_long_steps_usually_take_comes_from_the_baselines_of_this_folder(planned: Run, tmp_path: Path):
    async def pin() -> None:
        with open_store(load({"data": str(tmp_path / "data")}), threads=False) as store:
            measured = [("identity", 1, 9_000), ("identity", 2, 4_000), ("equipment", 1, 90_000)]
            rows = [
                rollups.Baseline(
                    workflow="employee-onboarding", step=step, family="major:1", number=number, median_ms=median,
                    p95_ms=median, samples=200, pinned_ms=0, pinned_by="system:metrics",
                )
                for step, number, median in measured
            ]  # fmt: skip
            await rollups.pin(store, rows)

    asyncio.run(pin())
    told = planned(CONTEXT, "--json").json()
    usual = {write["step"]: write.get("usual_seconds") for write in told["writes"]}
    assert (usual["identity"], usual["equipment"], usual["welcome_email"]) == (4.0, 90.0, None)
    done = planned(CONTEXT)
    assert "usually 4 s" in done.out
    assert "Takes about 1 m 34 s" in done.out
