"""The demo: the whole story, proved against the systems, whatever kills it on the way."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Ran, command, environment, ran


def test_H15_one_command_shows_approvals_a_failure_made_good_and_a_difference_with_its_ticket(
    finished: tuple[Path, Ran],
):
    _, done = finished
    assert done.code == 0, done.out[-2000:] + done.err[-2000:]
    for sentence in (
        "Priya Raman    ended: completed",
        "to decide on Identity provisioning: Jonas Weber",
        "jonas.weber@corp.example approves Identity provisioning",
        "mei.tanaka@corp.example approves Equipment request",
        "ruth.abend@corp.example approves CRM team assignment",
        "ServiceNow does not take Equipment request",
        "a task for it-ops: Order standard equipment",
        "noted: equipment delayed",
        "Equipment request was done by hand by femi.adeyemi@corp.example",
        "Microsoft Entra ID differs: enabled is false, intended true",
        "an exception ticket says so: INC",
        "the difference is gone: the system holds again what it should",
        "Lukas Vogel    ended: completed with exceptions",
        "Every system holds what the story says, each thing exactly once.",
        "Chains intact",
    ):
        assert sentence in done.out, sentence


def test_a_demo_that_has_ended_says_so_again_and_writes_nothing_more(copied: Path):
    again = ran("demo", "--exit", "--port", "0", "--data", str(copied))
    assert again.code == 0
    assert "Going on where it was left" in again.err
    assert not re.search(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ", again.out, re.MULTILINE)


def _until(folder: Path, sentence: str, *more: str) -> subprocess.Popen[str]:
    """Start a demo and return once it has said something."""
    process = subprocess.Popen(
        command("demo", "--port", "0", "--data", str(folder), *more),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if sentence in line:
            return process
    raise AssertionError(f"never said {sentence!r}")


@pytest.mark.xdist_group("demo")
def test_X04_killed_at_any_moment_and_started_again_the_systems_are_as_without_the_kill(tmp_path: Path):
    folder = tmp_path / "killed"
    for sentence in (
        "Identity provisioning is done",
        "does not take Equipment request",
        "approves",
        "the check at T+2h begins",
        "says so: INC",
    ):
        process = _until(folder, sentence, "--exit")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    done = ran("demo", "--exit", "--port", "0", "--data", str(folder))
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    assert "each thing exactly once" in done.out


def test_a_person_at_another_terminal_answers_and_the_demo_goes_on(tmp_path: Path):
    folder = tmp_path / "open"
    process = _until(folder, "to answer as Jonas Weber")
    listed = ran("approvals", "list", "--json", "--data", str(folder)).json()["items"]
    approval = next(a for a in listed if a["step"] == "identity")
    answered = ran(
        "approvals", "approve", approval["id"], "--as", "jonas.weber@corp.example", "-m", "go", "--data", str(folder)
    )
    assert answered.code == 0, answered.err
    assert process.stdout is not None
    said = next(line for line in process.stdout if "approves" in line)
    assert "jonas.weber@corp.example approves Identity provisioning: go" in said
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(30) == 0, rest


def test_the_clock_stands_for_a_person_who_is_told_every_command_that_helps_and_each_works(tmp_path: Path):
    folder = tmp_path / "standing"
    process = _until(folder, "Your turn: the clock stands still while these 4 wait")
    assert process.stdout is not None
    typed: list[str] = []
    while len(typed) < 4:
        line = process.stdout.readline().strip()
        if line.startswith("topstitch "):
            typed.append(line)
    assert "--as jonas.weber@corp.example" in typed[0], "the one that ends first is named first"
    for line in typed:
        done = ran(*shlex.split(line)[1:])
        assert done.code == 0, line + done.err
    ended = next(line for line in process.stdout if "Lukas Vogel" in line and "ended: " in line)
    assert "completed with exceptions" in ended
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    process.stdout.close()
    assert process.wait(30) == 0


def test_a_port_in_use_is_said_with_the_remedy(tmp_path: Path, port_in_use: int, topstitch: Callable[..., Ran]):
    done = ran("demo", "--exit", "--port", str(port_in_use), "--data", str(tmp_path / "x"))
    assert done.code == 1
    assert "port-in-use" in done.err
    assert "--port" in done.err
    assert "Traceback" not in done.err
