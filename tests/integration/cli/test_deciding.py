"""Who decides beside the rules, from the command line: stand-ins, agents, calendars, stored credentials."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from support.canary import sightings
from support.commands import Ran, called
from topstitch.cli.root import topstitch
from topstitch.store import Store

Run = Callable[..., Ran]
CANARY = "canary-7f3a9b2e41d0-value"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    Store.open(str(data / "topstitch.db"), threads=False).close()
    return data


@pytest.fixture
def run(folder: Path) -> Run:
    def on_folder(*words: str, typed: str | None = None) -> Ran:
        if typed is None:
            return called(*words, "--data", str(folder), "--json")
        done = CliRunner().invoke(topstitch, [*words, "--data", str(folder)], input=typed)
        return Ran(done.exit_code, done.stdout, done.stderr)

    return on_folder


def test_A09_a_delegation_is_granted_listed_and_ended(run: Run) -> None:
    words = ("--for", "max@corp.example", "--to", "sara@corp.example", "--until", "2099-01-05", "--from", "2099-01-01")
    made = run("delegations", "add", *words, "-m", "on leave", "--as", "admin").json()
    (listed,) = run("delegations", "list").json()["items"]
    assert (listed["grantor"], listed["delegate"], listed["because"]) == (
        "max@corp.example", "sara@corp.example", "on leave",
    )  # fmt: skip
    assert listed["ends_at"].startswith("2099-01-06T00:00")
    assert run("delegations", "end", made["delegation"], "--as", "admin").code == 0
    assert run("delegations", "list").json()["items"] == []
    assert run("delegations", "end", made["delegation"]).code == 6
    assert run("delegations", "end", "dlg_none").code == 5


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--for", "max", "--to", "max", "--until", "2099-01-05", "--from", "2099-01-01"), "delegation-self"),
        (("--for", "max", "--to", "agent:fixer", "--until", "2099-01-05"), "delegation-person"),
        (("--for", "max", "--to", "sara", "--until", "2020-01-05"), "delegation-end"),
        (("--for", "max", "--to", "sara", "--until", "2099-01-05"), "delegation-long"),
        (("--for", "max", "--to", "sara", "--until", "tomorrow"), "time-unclear"),
    ],
)
def test_a_delegation_that_may_not_be_says_why(run: Run, words: tuple[str, ...], code: str) -> None:
    refused = run("delegations", "add", *words, "-m", "on leave")
    assert refused.code == 2
    assert code in refused.err


def test_an_agent_is_added_limited_and_switched_off(run: Run) -> None:
    limits = (
        "--owner",
        "dana@corp.example",
        "--tier",
        "2",
        "--action",
        "servicenow.*",
        "--money",
        "500 USD",
        "--asks",
        "3",
    )
    assert run("agents", "add", "fixer", *limits).code == 0
    (listed,) = run("agents", "list").json()["items"]
    assert (listed["owner"], listed["max_tier"], listed["actions"], listed["asks_per_day"]) == (
        "dana@corp.example", 2, ["servicenow.*"], 3,
    )  # fmt: skip
    assert listed["today"] == {"asks": 0, "money": []}
    run("agents", "disable", "fixer")
    assert run("agents", "list").json()["items"][0]["off"] is True
    assert run("agents", "enable", "fixer").code == 0
    assert run("agents", "disable", "nobody").code == 5
    assert "agent-money" in run("agents", "add", "fixer", "--owner", "dana", "--money", "much").err
    assert "agent-tier" in run("agents", "add", "fixer", "--owner", "dana", "--tier", "9").err


def test_the_calendar_that_ships_is_loaded_and_a_broken_one_is_not(run: Run, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "src/topstitch/examples/policies/calendar.yaml"
    assert run("calendars", "load", str(shipped)).json()["environment"] == "prod"
    (listed,) = run("calendars", "list").json()["items"]
    assert listed["zone"] == "America/Chicago"
    broken = tmp_path / "broken.yaml"
    broken.write_text("zone: UTC\nhours: {mon: []}\n")
    assert "no wait would end" in run("calendars", "load", str(broken)).err
    assert run("calendars", "list").json()["items"][0]["zone"] == "America/Chicago"


def test_no_agent_grants_publishes_or_manages(run: Run) -> None:
    words = ("--for", "max", "--to", "sara", "--until", "2099-01-05", "--from", "2099-01-01", "-m", "x")
    for refused in (
        run("delegations", "add", *words, "--as", "agent:fixer"),
        run("agents", "add", "fixer", "--owner", "dana", "--as", "agent:fixer"),
    ):
        assert refused.code == 4
        assert "agent-never" in refused.err


def test_G04_a_stored_credential_is_kept_encrypted_and_shown_nowhere(run: Run, folder: Path) -> None:
    stored = run("secrets", "set", "crm-token", typed=f"{CANARY}\n")
    assert stored.code == 0
    (listed,) = run("secrets", "list").json()["items"]
    assert listed["name"] == "crm-token"
    assert sightings(CANARY, folder, stored.out, stored.err, run("secrets", "list").out) == []
    assert run("secrets", "remove", "crm-token").code == 0
    assert run("secrets", "remove", "crm-token").code == 5
    assert "credential-empty" in run("secrets", "set", "crm-token", "--json", typed="\n").err


async def test_a_connection_uses_what_is_stored_and_a_newer_value_without_a_restart(folder: Path) -> None:
    from topstitch.bootstrap.installation import open_installation
    from topstitch.foundation.clock import SystemClock
    from topstitch.foundation.errors import OperatorError
    from topstitch.model.record import parse_actor
    from topstitch.settings import load
    from topstitch.store.vault import Vault

    (folder / "connections.toml").write_text(
        '[connections.chat]\nconnector = "slack@1"\nbase_url = "http://127.0.0.1:9"\n'
        '[connections.chat.credentials]\ntoken = "stored:chat-token"\n'
    )
    settings, now, dana = load({"data": str(folder)}, {}), SystemClock().now(), parse_actor("dana")

    def credentials(house: Any) -> Any:
        return house.ports.connectors.connector_of("chat").given.credentials

    async with open_installation(settings) as house:
        with pytest.raises(OperatorError, match="topstitch secrets set chat-token"):
            credentials(house).get("token")
        await Vault(house.ports.store).put("chat-token", "the first value", dana, now)
        await house.laws.refresh()
        assert credentials(house).get("token") == "the first value"
        await Vault(house.ports.store).put("chat-token", "the second value", dana, now)
        await house.laws.refresh()
        assert credentials(house).read_again()
        assert credentials(house).get("token") == "the second value"
        assert house.ports.connectors.redactor.text("it said the second value") == "it said [hidden]"
    async with open_installation(settings) as house:
        assert credentials(house).get("token") == "the second value"


def test_the_installation_key_may_come_from_a_command(tmp_path: Path) -> None:
    from topstitch.bootstrap.database import open_store
    from topstitch.foundation.errors import OperatorError
    from topstitch.settings import load

    data = tmp_path / "data"
    data.mkdir()
    key, other = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))

    def opened(command: str) -> None:
        open_store(load({"data": str(data)}, {"TOPSTITCH_KEY_COMMAND": command}), threads=False).close()

    opened(f"printf {key}")
    opened(f"printf {key}")
    assert not (data / "installation.key").exists()
    for command, code in (
        (f"printf {other}", "key-mismatch"),
        ("printf short", "key-damaged"),
        ("false", "key-command"),
        ("no-such-program-here", "key-command"),
    ):
        with pytest.raises(OperatorError) as refused:
            opened(command)
        assert refused.value.code == code
        assert other not in refused.value.message
