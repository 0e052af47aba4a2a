"""Seams, alerts, promises and the report as people ask for them: words for a person, data for a program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from integration.metrics.kit import Case
from support.commands import Ran, called
from support.world import ONBOARDING
from topstitch.cli.screen import Screen
from topstitch.cli.watching import watching
from topstitch.foundation.clock import SystemClock
from topstitch.metrics import watch
from topstitch.settings import load
from topstitch.store import instances, ledger

Run = Callable[..., Ran]
WORKFLOW = "employee-onboarding"


def test_H02_every_seam_is_listed_with_its_figures_and_nothing_was_configured(topstitch: Run):
    said = topstitch("seams")
    assert said.code == 0
    heads = said.out.splitlines()[0].split()
    assert heads == ["SEAM", "STEP", "COUNT", "P50", "P95", "TREND", "EXCEPTIONS", "OPEN", "LIMIT", "STATE"]
    rows = {line.split("  ")[0]: line for line in said.out.splitlines()[1:6]}
    assert set(rows) == {
        f"{a} > {b}"
        for a, b in (
            ("workday", "entra-id"), ("entra-id", "servicenow"), ("entra-id", "salesforce"), ("entra-id", "slack"),
            ("entra-id", "email"),
        )
    }  # fmt: skip
    assert all("✓ green" in row for row in rows.values())
    assert "none is over its limit" in said.out


def test_the_board_is_data_too(topstitch: Run):
    items = topstitch("seams", "--json", "--workflow", WORKFLOW).json()["items"]
    (equipment,) = [item for item in items if item["to_step"] == "equipment"]
    assert (equipment["from_system"], equipment["to_system"]) == ("entra-id", "servicenow")
    assert equipment["count"] > 0
    assert equipment["p95_ms"] is not None
    assert equipment["target_ms"] == 60_000
    assert len(equipment["trend_ms"]) == 24
    assert topstitch("seams", "--workflow", "none").code == 5


def test_one_seam_in_depth_names_the_goal_and_a_wrong_one_names_those_there_are(topstitch: Run):
    said = topstitch("seam", "show", "entra-id", "servicenow")
    assert "automated handoff" in said.out
    assert "gross" in said.out
    assert "target 1 m, alert over 5 m" in said.out
    assert "target 1 %, alert over 3 %" in said.out
    assert "learning (" in said.out
    wrong = topstitch("seam", "show", "servicenow", "entra-id")
    assert wrong.code == 5
    assert "entra-id servicenow" in wrong.err
    early = topstitch("seam", "baseline", WORKFLOW, "equipment", "--reason", "slower since the upgrade")
    assert early.code == 2
    assert "a baseline takes 50" in early.err


def test_O06_promises_are_green_and_belong_to_an_owner(topstitch: Run):
    said = topstitch("sla")
    assert said.out.count("✓ green") == 3
    data = topstitch("sla", "--json").json()
    assert {one["owner"]["team"] for one in data["promises"]} == {"people-operations"}
    assert all((one["met"], one["breached"]) == (5, 0) for one in data["promises"])


def test_O09_the_report_compares_with_what_was_recorded(copied: Path):
    def report(*words: str) -> Ran:
        return called("report", WORKFLOW, *words, "--data", str(copied))

    assert "Record how it was" in report().err
    wanted = ("--before", "5-9", "--handoffs", "4", "--source", "service desk survey")
    first = report(*wanted, "--step", "equipment=two days")
    assert "5 to 9 business days" in first.out
    assert "% less" in first.out
    again = report("--json").json()
    lines = {line["what"]: line for line in again["items"]}
    assert lines["manual handoffs"]["before"] == "4 each"
    assert lines["Equipment request"]["before"] == "two days"
    assert (again["before"]["days_low"], again["before"]["source"]) == (5.0, "service desk survey")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--before", "a week", "--handoffs", "4", "--source", "x"), "5-9"),
        (("--before", "5-9"), "--handoffs"),
        (("--handoffs", "4"), "--before"),
        (("--before", "9-5", "--handoffs", "4", "--source", "x"), "fewer to more"),
        (("--before", "5", "--handoffs", "4", "--source", "x", "--step", "none=y"), "no step"),
    ],
)
def test_a_record_that_says_too_little_is_refused(topstitch: Run, words: tuple[str, ...], named: str):
    refused = topstitch("report", WORKFLOW, *words)
    assert refused.code == 2
    assert named in refused.err


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_an_alert_is_a_block_of_whole_words_and_ids(
    alarmed: Path, width: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Screen, "width", width)
    (item,) = called("alerts", "list", "--json", "--data", str(alarmed)).json()["items"]
    said = called("alerts", "list", "--data", str(alarmed)).out.splitlines()
    assert said[0].startswith(f"✗ red       {item['id']}  for 6 m")
    assert said[0].endswith("workday > entra-id")
    assert said[1] == f"            {item['title']}"
    assert " ".join(line.strip() for line in said[2:]) == f"looks like {item['diagnosis']}"
    shown = called("alerts", "show", item["id"], "--data", str(alarmed)).out
    assert max(len(line) for line in [*said, *shown.splitlines()]) <= width
    assert f"Looks like: {item['diagnosis']}" in " ".join(line.strip() for line in shown.splitlines())


@pytest.fixture
def alarmed(tmp_path: Path) -> Path:
    """A folder in which a hire has waited for six minutes, and somebody has looked."""
    published = called("publish", str(ONBOARDING), "--data", str(tmp_path))
    assert published.code == 0, published.err

    async def wait_and_look() -> None:
        now = SystemClock().now()
        async with watching(load({"data": str(tmp_path)}, {})) as (here, watcher):
            (plan,) = await watcher.plans.in_force()
            await Case(here.store, "ins_late", now - timedelta(minutes=6), plan).begin()
            await watch.evaluate(watcher, now)

    asyncio.run(wait_and_look())
    return tmp_path


def test_an_alert_is_listed_shown_taken_on_and_muted_and_the_journal_has_both(alarmed: Path):
    def alerts(*words: str) -> Ran:
        return called("alerts", *words, "--data", str(alarmed))

    listed = alerts("list")
    assert "✗ red" in listed.out
    assert "workday > entra-id" in listed.out
    assert "orchestrator" in listed.out
    (item,) = alerts("list", "--json").json()["items"]
    name = item["id"]
    shown = alerts("show", name[:8])
    assert "Worst: ins_late (6 m" in shown.out
    assert "Owner: people-operations, page people-ops-oncall" in shown.out
    assert f"Next: topstitch alerts ack {name}" in shown.out
    taken = alerts("ack", name, "--note", "restarting the engine", "--as", "dana@acme.example")
    assert "human:dana@acme.example" in taken.out
    muted = alerts("mute", name, "--for", "2h", "--reason", "upgrade", "--as", "dana@acme.example")
    assert muted.code == 0
    (after,) = alerts("list", "--json").json()["items"]
    assert (after["acknowledged_by"], after["muted_because"]) == ("human:dana@acme.example", "upgrade")
    assert "taken by" in alerts("list").out
    again = alerts("show", name).out
    assert "Handled: taken by human:dana@acme.example: restarting the engine; muted until " in again
    assert "alerts ack" not in again

    async def noted() -> list[str]:
        async with watching(load({"data": str(alarmed)}, {})) as (here, _):
            return [r.kind for r in await instances.stored_records(here.store, instance=ledger.INSTALLATION)]

    assert asyncio.run(noted())[-2:] == ["alert.acknowledged", "alert.muted"]


def test_alerts_refuse_what_makes_no_sense(alarmed: Path):
    (item,) = called("alerts", "list", "--json", "--data", str(alarmed)).json()["items"]
    for words, code in (
        (("show", "alr_none"), 5),
        (("mute", item["id"], "--for", "soon", "--reason", "x"), 2),
        (("mute", item["id"], "--for", "0s", "--reason", "x"), 2),
        (("mute", item["id"], "--for", "2h", "--reason", " "), 2),
    ):
        assert called("alerts", *words, "--data", str(alarmed)).code == code, words
    assert called("alerts", "list", "--workflow", "other", "--data", str(alarmed)).err.startswith("Nothing is alarming")


def test_doctor_says_over_which_connection_each_route_is_told(copied: Path):
    (copied / "topstitch.toml").write_text('alert_routes = ["email:owner", "ticket", "slack.crm:general"]\n')
    found = called("doctor", "--data", str(copied), "--json").json()["findings"]
    said = {one["what"]: (one["state"], one["found"]) for one in found if one["what"].startswith("alerts to")}
    assert said["alerts to email:owner"] == ("ok", "over connection email")
    assert said["alerts to ticket"] == ("ok", "over connection itsm")
    assert said["alerts to slack:crm:general"][0] == "warn"
    assert "alert_routes" in said["alerts to slack:crm:general"][1]
