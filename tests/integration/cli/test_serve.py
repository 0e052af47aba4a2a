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
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    shown = ran("instance", "show", taken["instances"][0], "--data", str(copied), "--json")
    assert shown.json()["trigger"]["id"] == "e"


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
