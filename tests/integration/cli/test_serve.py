"""Serving: ends cleanly when told, and says plainly what it cannot work with."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import pytest

from support.commands import command, environment, ran

DATA = {
    "employee_id": "W-9",
    "first_name": "A",
    "last_name": "B",
    "department": "IT",
    "location": "L",
    "start_date": "2026-02-01",
    "manager_id": "W-1",
    "cost_center": "C",
    "job_profile": "IT-OPS",
    "initiated_by": "W-2",
}
EVENT = {"specversion": "1.0", "id": "e", "source": "/hr", "type": "workday.hire_completed", "data": DATA}
KIND = {"Content-Type": "application/cloudevents+json"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_events_and_ends_cleanly(copied: Path, how: signal.Signals):
    process = subprocess.Popen(
        command("serve", "--port", "0", "--data", str(copied), "--json", "--log-level", "warning"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["address"]
    request = urllib.request.Request(f"{address}/api/v1/events", json.dumps(EVENT).encode(), KIND)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        taken = json.loads(answer.read())
        assert answer.status == 202
    sent = ran(
        "trigger", "workday.hire_completed", "--url", address, "--id", "e", "--source", "/hr", "--json", *_fields()
    )
    assert (sent.code, sent.json()["duplicate"]) == (0, True)
    with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:  # noqa: S310
        assert json.loads(answer.read())["ok"] is True
    _asked(address, taken["instances"][0], copied)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    shown = ran("instance", "show", taken["instances"][0], "--data", str(copied), "--json")
    assert shown.json()["trigger"]["id"] == "e"


def _asked(address: str, instance: str, folder: Path) -> None:
    """Ask the server's API by command: what is there, what is refused, and what a refusal ends with."""
    got = ran("api", "get", f"/instances/{instance}", "--url", address)
    assert (got.code, got.json()["id"]) == (0, instance)
    assert got.err.startswith('ETag: "')
    found = ran("api", "get", f"/api/v1/instances?q=key:{got.json()['correlation']}&limit=1", "--url", address)
    assert [row["id"] for row in found.json()["items"]] == [instance]
    sent = ("api", "post", f"/instances/{instance}/pause", "--url", address, "--key", "once")
    assert ran(*sent, "--body", '{"reason": "x"').code == 2
    reason = folder / "reason.json"
    reason.write_text('{"reason": "wait for Ana"}')
    once = ran(*sent, "--body", f"@{reason}")
    assert once.code == 0, once.err
    assert ran(*sent, "--body", f"@{reason}").json() == once.json()
    refused = ran("api", "post", f"/instances/{instance}/pause", "--url", address, "--body", f"@{reason}", "--json")
    problem = json.loads(refused.err)
    assert (refused.code, problem["status"], problem["code"], refused.out) == (6, 409, "already", "")
    assert ran("api", "get", "/instances/ins_none", "--url", address).code == 5
    wrong = ran("api", "get", "/instances?limit=0", "--url", address)
    assert wrong.code == 2
    assert "?limit" in wrong.err
    assert ran("api", "get", "/me", "--url", address, TOPSTITCH_TOKEN="nobody's").code == 4
    assert ran("api", "get", "/stream", "--url", address).code == 2


def test_a_server_that_is_not_there_is_exit_7_with_the_remedy(tmp_path: Path):
    done = ran("api", "get", "/me", "--url", "http://127.0.0.1:1", "--data", str(tmp_path))
    assert (done.code, "start topstitch serve there, or correct --url" in done.err) == (7, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://elsewhere.example/x",), "give the path here, and the server with --url"),
        (("/me", "--url", "ftp://x"), "names no server"),
    ],
)
def test_an_address_that_cannot_be_meant_is_wrong_usage(words: tuple[str, ...], said: str):
    done = ran("api", "get", *words)
    assert (done.code, said in done.err) == (2, True)


def _fields() -> list[str]:
    return [word for name, value in DATA.items() for word in ("--field", f"{name}={value}")]


def test_a_port_in_use(copied: Path, port_in_use: int):
    done = ran("serve", "--port", str(port_in_use), "--data", str(copied))
    assert done.code == 1
    assert f"port {port_in_use} on 127.0.0.1 is in use" in done.err
    assert "--port" in done.err


def test_a_missing_credential_is_named_with_file_and_line(copied: Path):
    path = copied / "connections.toml"
    path.write_text(
        path.read_text().replace('client_secret = "file:secrets/hris.client_secret"', 'client_secret = "env:NOT_THERE"')
    )
    done = ran("serve", "--port", "0", "--data", str(copied))
    assert done.code == 1
    assert "connections.toml:" in done.err
    assert "NOT_THERE" in done.err


def test_a_database_of_a_newer_topstitch(copied: Path):
    with sqlite3.connect(copied / "topstitch.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    done = ran("serve", "--port", "0", "--data", str(copied))
    assert done.code == 1
    assert "newer" in done.err
    assert "Traceback" not in done.err


def test_a_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = ran("demo", "--exit", "--port", "0", "--data", str(tmp_path / "file"))
    assert done.code == 1
    assert "--data" in done.err


def test_a_foreign_database(copied: Path):
    (copied / "topstitch.db").write_bytes(b"this is no database at all, not even nearly" * 100)
    done = ran("instances", "--data", str(copied))
    assert done.code == 1
    assert "not a Topstitch database" in done.err


def test_no_connections_file(tmp_path: Path):
    done = ran("serve", "--port", "0", "--data", str(tmp_path))
    assert (done.code, "topstitch init" in done.err) == (1, True)


def test_an_unreachable_server_ends_with_7():
    done = ran("trigger", "workday.hire_completed", "--url", "http://127.0.0.1:9", *_fields())
    assert done.code == 7
