"""``--as-curl`` and ``--web`` beside a server that runs: what is printed works, and the command itself is not done."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.commands import Ran, called, command, environment
from topstitch.cli.clocks import CLOCK_FILE

TOKEN = "TOPSTITCH_TOKEN"
SECONDS_MAX = 30
STAND_IN = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).parents[2] / 'support' / 'curl.py'))}"
CURL = "" if shutil.which("curl") else f'curl() {{ {STAND_IN} "$@"; }}; '
"""What is printed is for curl; where there is none, something takes its place."""
FIELDS = dict.fromkeys(("employee_id", "first_name", "last_name", "department", "location", "manager_id"), "x y") | {
    "start_date": "2026-02-01", "cost_center": "it's", "job_profile": "IT-OPS", "initiated_by": "$HOME",
}  # fmt: skip
GIVEN = [word for name, value in FIELDS.items() for word in ("--field", f"{name}={value}")]


class Installation:
    """A copy of the finished demo with a server of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address, self.port = folder, address, str(urlsplit(address).port)

    def run(self, *words: str, **more: str) -> Ran:
        return called(*words, "--data", str(self.folder), TOPSTITCH_PORT=self.port, **more)

    def data(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.code == 0, done.err
        return done.json()

    def curl(self, *words: str, token: str = "") -> Any:
        """Print a command's request, paste it into a shell, and return what the server answers."""
        printed = self.run(*words, "--as-curl", **({TOKEN: token} if token else {}))
        assert (printed.code, printed.out.count("\n")) == (0, 1), printed.err
        return self.pasted(printed.out, token)

    def pasted(self, line: str, token: str = "") -> Any:
        kept = {name: value for name, value in os.environ.items() if name != TOKEN}
        done = subprocess.run(
            ["/bin/sh", "-c", CURL + line], env={**kept, TOKEN: token}, capture_output=True, text=True, check=True,
            timeout=SECONDS_MAX,
        )  # fmt: skip
        return json.loads(done.stdout)


def served(folder: Path) -> Iterator[Installation]:
    process = subprocess.Popen(
        command("serve", "--port", "0", "--data", str(folder), "--json", "--log-level", "error"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Installation(folder, json.loads(process.stdout.readline())["address"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS_MAX)


@pytest.fixture(scope="module")
def here(finished: tuple[Path, Ran], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("served") / "data"
    shutil.copytree(finished[0], folder)
    (folder / CLOCK_FILE).unlink()  # commands take it to be the time that the server does
    yield from served(folder)


def ids(document: Any) -> list[str]:
    return [one["id"] for one in document["items"]]


@pytest.mark.parametrize(
    "words",
    [
        ["instances"],
        ["instances", "--workflow", "employee-onboarding", "--limit", "2"],
        ["instances", "-q", "state:ended newer:9999d"],
        ["approvals", "list", "--all"],
        ["tasks", "list", "--all"],
        ["discrepancies", "list", "--state", "all"],
    ],
    ids=" ".join,
)
def test_the_request_of_a_list_gives_what_the_command_gives(here: Installation, words: list[str]) -> None:
    listed = here.data(*words)
    assert listed["items"]
    assert ids(here.curl(*words)) == ids(listed)


def test_the_request_of_one_gives_what_the_command_gives(here: Installation) -> None:
    (begun,) = here.data("trigger", "workday.hire_completed", "--id", "shown", *GIVEN)["instances"]
    shown, asked = here.data("instance", "show", begun), here.curl("instance", "show", begun[:-2])
    assert [one["id"] for one in asked["steps"]] == [one["id"] for one in shown["steps"]]
    assert {part: asked[part] for part in ("id", "title", "trigger")} == {
        part: shown[part] for part in ("id", "title", "trigger")
    }
    name = here.data("instances", "--status", "completed")["items"][0]["id"]
    trail = here.data("audit", "show", name)["records"]
    assert [one["hash"] for one in here.curl("audit", "show", name)["items"]] == [one["hash"] for one in trail]
    approval = here.data("approvals", "list", "--all")["items"][0]
    assert here.curl("approvals", "show", approval["id"])["payload_digest"] == approval["payload_digest"]
    assert here.curl("tasks", "show", here.data("tasks", "list", "--all")["items"][0]["id"])["status"] == "closed"


def test_workflows_seams_and_what_the_api_says_itself(here: Installation) -> None:
    (one,) = here.data("workflows", "list")["items"]
    (asked,) = here.curl("workflows", "list")["items"]
    assert {part: asked[part] for part in ("workflow", "version", "digest")} == {
        part: one[part] for part in ("workflow", "version", "digest")
    }
    crossed = [[(one["from_step"], one["to_step"], one["count"]) for one in rows["items"]]
               for rows in (here.curl("seams"), here.data("seams"))]  # fmt: skip
    assert sorted(crossed[0]) == sorted(crossed[1])
    assert here.curl("api", "get", "/instances?q=state:ended&limit=1") == here.data(
        "api", "get", "/instances?q=state:ended&limit=1"
    )


def test_the_request_of_an_act_does_it_once_and_printing_it_does_nothing(here: Installation) -> None:
    before = ids(here.data("instances"))
    printed = here.run("trigger", "workday.hire_completed", "--id", "by-curl", *GIVEN, "--as-curl")
    assert ids(here.data("instances")) == before
    (name,) = here.pasted(printed.out)["instances"]
    assert name not in before
    reason = 'payroll\'s "new" rules: $HOME `id` \\ {x}'
    pause = here.run("instance", "pause", name, "-m", reason, "--as", "sara@corp.example", "--as-curl")
    assert "--as is left out: whoever the token is of acts at the server." in pause.err
    assert "--full is left out" in here.run("instance", "show", name, "--full", "--as-curl").err
    assert "left out" not in here.run("approvals", "list", "--all", "--as", "sara@corp.example", "--as-curl").err
    once = here.pasted(pause.out)
    assert (once["instance"], once["command"]) == (name, "pause")
    assert here.pasted(pause.out) == once, "the key in it makes the second the same as the first"
    commanded = [
        one["body"] for one in here.data("audit", "show", name)["records"] if one["kind"] == "operator.commanded"
    ]
    assert [one["reason"] for one in commanded] == [reason]
    assert here.curl("instance", "pause", name, "-m", "again")["code"] == "already"


def test_what_has_no_request_is_refused_and_says_so(here: Installation) -> None:
    for words, said in (
        (["doctor"], "topstitch doctor has no counterpart"),
        (["workflows", "retire", "employee-onboarding", "-m", "x"], "topstitch workflows retire has no counterpart"),
        (["instances", "--json"], "--as-curl prints a command"),
        (["instances", "--web"], "give one of them"),
    ):
        done = here.run(*words, "--as-curl")
        assert (done.code, done.out, said in done.err) == (2, "", True), done.err
    assert here.data("workflows", "list")["items"][0]["retired"] is False


def test_no_server_has_to_run_for_a_request_to_be_printed(copied: Path) -> None:
    done = called("workflows", "list", "--as-curl", "--data", str(copied), TOPSTITCH_PORT="1")
    assert (done.code, "http://127.0.0.1:1/api/v1/workflows" in done.out) == (0, True)


def test_where_people_sign_in_the_token_is_named_and_never_written(copied: Path, tmp_path: Path) -> None:
    password = tmp_path / "pw"
    password.write_text("a long enough sentence\n")
    given = ("--role", "admin", "--password-file", str(password))
    assert called("users", "add", "mei", *given, "--data", str(copied)).code == 0
    made = called("tokens", "create", "ci", "--scope", "*.read", "--data", str(copied), TOPSTITCH_PERSON="mei")
    token = made.out.strip()
    for there in served(copied):
        printed = there.run("instances", "--as-curl", **{TOKEN: token})
        assert '-H "Authorization: Bearer $TOPSTITCH_TOKEN"' in printed.out
        assert token not in printed.out + printed.err
        assert printed.out == there.run("instances", "--as-curl").out
        assert ids(there.pasted(printed.out, token)) == ids(there.data("instances"))
        assert there.pasted(printed.out)["code"] == "not-signed-in"


# --- pages -------------------------------------------------------------------------------------------


def test_the_address_that_is_printed_is_a_page_of_the_console(here: Installation) -> None:
    name = here.data("instances")["items"][0]["id"]
    approval = here.data("approvals", "list", "--all")["items"][0]["id"]
    task = here.data("tasks", "list", "--all")["items"][0]["id"]
    for words in (["instances"], ["instances", "--status", "waiting"], ["instance", "show", name[:-2]], ["seams"],
                  ["approvals", "list"], ["approvals", "show", approval], ["tasks", "list"], ["tasks", "show", task],
                  ["exceptions"], ["discrepancies"], ["workflows"], ["workflows", "versions", "employee-onboarding"],
                  ["policy", "list"], ["connections"], ["audit", "show", name], ["alerts"], ["users"], ["webhooks"],
                  ["seam", "show", "entra-id", "servicenow"]):  # fmt: skip
        done = here.run(*words, "--web")
        assert (done.code, done.err) == (0, ""), done.err
        assert done.out.startswith(here.address + "/")
        with urllib.request.urlopen(done.out.strip(), timeout=SECONDS_MAX) as page:  # noqa: S310
            assert page.headers["Content-Type"].startswith("text/html")
            assert (name.encode() in page.read()) or name not in done.out
    narrowed = here.run("approvals", "list", "--as", "sara@corp.example", "-q", "priya", "--web")
    assert narrowed.err == "The page shows it without --as, --query.\n"
    assert here.run("instances", "--web", "--jq", ".address").out == f"{here.address}/instances\n"


def test_on_a_terminal_the_browser_is_opened(here: Installation, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {shlex.quote(str(opened))}\n')
    browser.chmod(0o755)
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command("instances", "--web", "--data", str(here.folder)),
            env=environment(TOPSTITCH_PORT=here.port, BROWSER=f"{browser} %s"), stdout=theirs, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, err = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 0, err
        assert os.read(ours, 1000).decode().strip() == f"{here.address}/instances"
    finally:
        os.close(theirs)
        os.close(ours)
    assert opened.read_text() == f"{here.address}/instances"


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_away_from_a_terminal_no_browser_is_opened(here: Installation, monkeypatch: Any, flag: list[str]) -> None:
    import webbrowser

    def refuse(address: str) -> bool:
        raise AssertionError(address)

    monkeypatch.setattr(webbrowser, "open", refuse)
    assert here.run("instances", "--web", *flag).code == 0


def test_without_a_server_or_a_page_it_is_wrong_usage(copied: Path, port_in_use: int, here: Installation) -> None:
    def run(*words: str, port: int) -> Ran:
        return called(*words, "--web", "--data", str(copied), TOPSTITCH_PORT=str(port))

    nobody = run("instances", port=1)
    assert (nobody.code, nobody.out) == (2, "")
    assert f"answers at http://127.0.0.1:1; start it with topstitch serve --data {copied}" in nobody.err
    none = here.run("doctor", "--web")
    assert (none.code, "the console has no page for topstitch doctor" in none.err) == (2, True)
    act = here.run("instance", "pause", here.data("instances")["items"][0]["id"], "-m", "x", "--web")
    assert (act.code, "has no page for topstitch instance pause" in act.err) == (2, True)
    hidden = here.run("instances", "--web", TOPSTITCH_HOST="0.0.0.0")  # noqa: S104 -- as a setting has it
    assert (hidden.code, "set console_url" in hidden.err) == (2, True)
    proxied = here.run("instances", "--web", TOPSTITCH_CONSOLE_URL="https://topstitch.corp.example/")
    assert proxied.out == "https://topstitch.corp.example/instances\n"
