"""Verify and torture as commands, and publish as the gate before launch."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.commands import Ran, called
from topstitch.bench import proof

Run = Callable[..., Ran]
Bent = Callable[..., Path]
ROLLING_BACK = (r"(flag: equipment_delayed\n      then: \{done: continue, not_done: )continue", r"\1rollback")

PIVOT = (r"(    do: email.send\n)", r"\1    pivot: true\n")


def test_H03_a_scenario_for_every_failure_point_in_under_two_seconds(topstitch_in: Run, shipped: Path):
    done = topstitch_in("verify", str(shipped), "--json")
    assert done.code == 0, done.err
    verdict = done.json()
    assert verdict["ok"]
    assert verdict["complete"]
    assert len(verdict["scenarios"]) >= 8
    back = next(s for s in verdict["scenarios"] if s["undone"])
    assert [(u["step"], u["action"]) for u in back["undone"]] == [("identity", "disable_user")]


def test_H03_what_is_unwound_stands_in_its_order_and_what_remains_is_named(topstitch_in: Run, bent: Bent):
    verdict = topstitch_in("verify", str(bent(ROLLING_BACK, PIVOT)), "--json").json()
    assert verdict["ok"], verdict["findings"]
    back = next(s for s in verdict["scenarios"] if s["undone"] and s["step"] == "equipment")
    actions = [u["action"] for u in back["undone"]]
    assert actions[-1] == "disable_user"
    assert {"remove", "remove_assignment"} < set(actions)
    assert back["residue"] == [{"step": "welcome_email", "why": "informational; a sent message cannot be unsent"}]


def test_the_table_is_said_in_words_and_with_what_was_proved(topstitch_in: Run, shipped: Path):
    done = topstitch_in("verify", str(shipped), "--scenarios")
    assert "ServiceNow is unreachable for 4 attempts" in done.out
    assert "task to it-ops (due 1 d, it-ops-leads after 1 d); flag equipment_delayed" in done.out
    assert "every reachable failure has a declared end" in done.out
    assert "1. identity by directory.disable_user" in done.out


def test_what_the_budget_cut_is_said(topstitch_in: Run, shipped: Path):
    done = topstitch_in("verify", str(shipped), "--budget", "0.05", "--json")
    assert done.code == 0
    assert not done.json()["complete"]
    assert "budget" in done.json()["proved"]


def test_against_an_older_file_only_what_changes_is_printed(topstitch_in: Run, shipped: Path, bent: Bent):
    newer = bent((r"to: group:it-ops\n", "to: group:service-desk\n"))
    done = topstitch_in("verify", str(newer), "--against", str(shipped))
    assert done.code == 0, done.out + done.err
    assert "~ equipment: if ServiceNow refuses" in done.out
    assert "was: task to it-ops " in done.out
    assert "now: task to service-desk " in done.out
    assert "identity: if" not in done.out
    assert "No outcome changes." in topstitch_in("verify", str(shipped), "--against", str(shipped)).out


def test_E09_publish_refuses_what_may_roll_back_over_something_irreversible(topstitch_in: Run, bent: Bent):
    path = bent(ROLLING_BACK)
    found = topstitch_in("verify", str(path), "--json")
    assert found.code == 3
    assert "irreversible-then-rollback" in {f["code"] for f in found.json()["findings"]}
    refused = topstitch_in("publish", str(path))
    assert refused.code == 3
    assert "not-covered" in refused.err
    assert "'welcome_email' cannot be undone and may already have happened when 'equipment' rolls" in refused.err


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"    rollback:\n      do: itsm.cancel_request\n      with: [^\n]*\n", "every step needs a rollback plan"),
        (r"    compensate:                # ServiceNow[^\n]*\n.*?not_done: continue\}\n", "compensat"),
        (r"        give_up: 72h\n", "'give_up' is missing"),
        (r"      refused: \{then: continue, flag: equipment_declined, tell: \[requester\]\}\n", "'refused' is missing"),
        (r"            give_up: 3d\n", "'give_up' is missing"),
    ],
)
def test_H03_without_a_compensation_a_deadline_or_a_disposition_nothing_is_published(
    topstitch_in: Run, bent: Bent, pattern: str, said: str
):
    path = bent((pattern, ""))
    refused = topstitch_in("publish", str(path))
    assert refused.code == 3, refused.out
    assert said in refused.out
    assert f"{path}:" in refused.out, "the uncovered place is named"
    assert topstitch_in("verify", str(path)).code == 3


def test_the_shipped_one_is_published(topstitch_in: Run, shipped: Path):
    assert topstitch_in("publish", str(shipped)).code == 0


def test_torture_walks_every_schedule_and_says_what_it_simplified(topstitch_in: Run, shipped: Path):
    done = topstitch_in("torture", str(shipped), "--faults", "1", "--no-reconcile", "--json")
    assert done.code == 0, done.out
    assert done.json()["schedules"] > 100
    assert done.json()["bad"] == 0
    assert done.json()["simplified"] == []


def test_torture_that_is_cut_short_does_not_claim_to_be_over(topstitch_in: Run, shipped: Path):
    done = topstitch_in("torture", str(shipped), "--faults", "3", "--budget", "0.1")
    assert done.code == 8
    assert "what was not walked is not proved" in done.err


def test_a_schedule_is_replayed_from_its_choices(topstitch_in: Run, shipped: Path):
    told = topstitch_in("torture", str(shipped), "--replay", "1/4:1", "--no-reconcile")
    assert told.code == 0, told.out
    assert " ! " in told.out
    nonsense = topstitch_in("torture", str(shipped), "--replay", "nonsense")
    assert nonsense.code == 2
    assert "write it as torture printed it" in nonsense.err


def test_a_bad_schedule_is_printed_with_the_command_that_replays_it(
    topstitch_in: Run, shipped: Path, monkeypatch: pytest.MonkeyPatch
):
    """With look-ups forgotten, a write is sent twice; the printed command shows it again."""
    from topstitch.attempts import machine

    monkeypatch.setattr(machine, "_in_doubt", lambda plan, act, now: machine._try_again(plan, act, now, None))
    found = topstitch_in("torture", str(shipped), "--faults", "1", "--no-reconcile", "--json")
    assert found.code == 1
    replay = shlex.split(found.json()["first"][0]["replay"])
    again = topstitch_in(*replay[1:])
    assert again.code == 1
    assert found.json()["first"][0]["said"] in again.out


def test_H03_the_bench_prints_how_fast_definitions_are_proved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proof, "run_proof", partial(proof.run_proof, 1))
    rows = called("bench", "--proof", "--json").json()["rows"]
    assert [row["unit"] for row in rows] == ["s", "s", "/s"]
    onboarding, chain, _ = (row["figure"] for row in rows)
    assert (onboarding < 0.5, chain < 2.0) == (True, True)
    assert "step kinds" in called("bench", "--proof").out
