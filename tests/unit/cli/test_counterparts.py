"""The request that ``--as-curl`` prints is one that the API takes: held against its document, for each command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from topstitch.cli.command import Door
from topstitch.cli.counterparts import ASKS, ITEMS_MAX, Ask
from topstitch.cli.curl import written
from topstitch.cli.examples import EXAMPLES
from topstitch.cli.pages import PAGES, page_address
from topstitch.cli.reach import Finder
from topstitch.cli.root import topstitch
from topstitch.cli.screen import Screen
from topstitch.console.app import GET
from topstitch.foundation.errors import RequestError

DOCUMENT: Any = json.loads((Path(__file__).parents[2] / "snapshots" / "openapi.json").read_text())
ANOTHER = {
    "publish": "w.yaml --dry-run",
    "policy publish": "--agree 0123456789ab",
    "calendars load": "--withdraw 0123456789ab",
    "tasks list": "-q priya --all",
    "exceptions list": "-q priya",
    "audit checkpoint": "",
    "seams": "--hours 48",
    "seam show": "entra-id servicenow --hours 48",
    "trigger": "workday.hire_completed --field a=b --id hire-1",
    "audit export": "--format csv --since 2026-01-05",
}
"""Where the example needs what is not there: files, or options that the API has not."""
IN_A_FOLDER = {"approvals reassign"}
"""What looks into the database; a test with one asks for it."""
NO_ONE_REQUEST = {"batch start", "validate", "doctor"}
"""Commands that the API's document names and that are no one request: counts that were looked at, a draft, many."""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        elif found is not None:
            yield " ".join((*path, name)), found


ALL = dict(commands(topstitch))


def typed(path: str, words: str) -> tuple[click.Context, dict[str, Any]]:
    context = ALL[path].make_context(path, shlex.split(words))
    return context, dict(context.params)


def finder(folder: Path) -> Finder:
    return Finder(Door(Screen(), str(folder)))


def asked(path: str, words: str, folder: Path) -> Ask:
    context, given = typed(path, words)
    with context:
        return ASKS[path](given, finder(folder))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text("workflow: employee-onboarding\nversion: 1.0.0\n")
    return tmp_path


def operation_of(ask: Ask) -> Any:
    path = ask.address.partition("?")[0]
    fitting = [
        methods[ask.method.lower()]
        for pattern, methods in sorted(DOCUMENT["paths"].items(), key=lambda each: each[0].count("{"))
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path) and ask.method.lower() in methods
    ]
    assert fitting, f"{ask.method} {path} is no operation of the API"
    return fitting[0]


@pytest.mark.parametrize("path", sorted(ASKS.keys() - IN_A_FOLDER))
def test_a_request_is_one_that_the_api_takes(path: str, alone: Path):
    ask = asked(path, ANOTHER.get(path, EXAMPLES[path]), alone)
    operation = operation_of(ask)
    parameters = {(one["in"], one["name"]): one for one in operation.get("parameters", ())}
    for name, value in ask.query.items():
        schema = parameters["query", name]["schema"]
        assert name != "limit" or int(value) <= schema["maximum"] == ITEMS_MAX
    headers = {"Idempotency-Key"} if ask.keyed else set()
    needed = {name for (where, name), one in parameters.items() if where == "header" and one.get("required")}
    assert needed <= headers | set(ask.headers)
    content = operation.get("requestBody", {}).get("content", {})
    assert (ask.body is None) is (not content)
    if content:
        schema = content[ask.media]["schema"]
        problems = Draft202012Validator({**schema, "components": DOCUMENT["components"]}).iter_errors(ask.body)
        assert [problem.message for problem in problems] == []


def test_what_the_api_says_is_a_command_has_its_request():
    named = {
        tuple(one["x-command"].split()[1:])
        for methods in DOCUMENT["paths"].values()
        for one in methods.values()
        if isinstance(one, dict) and "x-command" in one
    }
    paths = {next(p for p in ALL if tuple(p.split()) == words[: len(p.split())]) for words in named}
    assert len(paths) > 35
    assert paths - set(ASKS) == NO_ONE_REQUEST
    assert set(ASKS) <= set(ALL)


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        ("tasks list", "--group it-ops", "--group has no counterpart"),
        ("exceptions list", "--owner it-ops", "--owner has no counterpart"),
        ("exceptions take", "exc_1 exc_2 -m x", "one request is for one case"),
        ("exceptions take", "--group no-answer -m x", "one request is for one case"),
        ("seams", "--workflow w", "--workflow has no counterpart"),
        ("tokens create", "ci --scope x --for bot", "--for has no counterpart"),
        ("audit verify", "ins_1", "NAME has no counterpart"),
        ("instances", "--status completed", "no search finds --status completed"),
        ("instances", "--status waiting --status paused", "no search finds --status waiting, paused"),
        ("instances", "-q priya --workflow w", "say it all in the search"),
        ("instance cancel", "ins_1 -m x", "--rollback takes it back"),
        ("connections pause", "entra-id>slack -m x", "name a connection"),
        ("publish", "w.yaml", "publishing takes three requests"),
        ("calendars load", "c.yaml", "the HTTP API loads no calendar"),
        ("publish", "w.yaml --dry-run --plan 0123456789", "--plan has no counterpart"),
    ],
)
def test_what_the_api_cannot_be_asked_for_is_refused_by_its_name(path: str, words: str, said: str, alone: Path):
    with pytest.raises(RequestError, match=re.escape(said)):
        asked(path, words, alone)


def test_options_of_instances_become_one_search(alone: Path):
    ask = asked("instances", "--workflow employee-onboarding --status waiting --key 'W 1' --limit 500", alone)
    assert ask.query == {"q": "workflow:employee-onboarding state:waiting key:'W 1'", "limit": "200"}


def test_a_request_is_one_line_that_a_shell_reads_as_it_is_meant():
    body = {"reason": 'it\'s $HOME and `date`\n"x"'}
    ask = Ask(method="POST", address="/instances/i/pause", body=body, keyed=True, headers={"If-Match": "*"})
    line = written(ask, "http://127.0.0.1:8700/")
    assert "\n" not in line
    words = shlex.split(line)
    assert words[:5] == ["curl", "-sS", "-X", "POST", "http://127.0.0.1:8700/api/v1/instances/i/pause"]
    assert json.loads(words[words.index("-d") + 1]) == body
    assert [word for word in words if word.startswith("Idempotency-Key: cli_")]
    assert ' -H "Authorization: Bearer $TOPSTITCH_TOKEN" ' in line
    assert "Authorization" not in written(ask, "http://x", sends_token=False)
    assert "curl -sS -g " in written(Ask(address="/instances?q=[x]"), "http://x")
    assert written(Ask(address="/stream", streams=True), "http://x").startswith("curl -sSN ")


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PAGES))
def test_a_page_is_one_of_the_console(path: str, alone: Path):
    _, given = typed(path, EXAMPLES[path])
    address = page_address(finder(alone), PAGES[path], given)
    place = re.split(r"[?#]", address)[0]
    assert "{" not in address
    assert any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern).replace("..", r"\.\."), place) for pattern, _ in GET)


@pytest.mark.parametrize(
    ("path", "words", "address"),
    [
        ("instances", "--status waiting --workflow w", "/instances?q=workflow%3Aw+state%3Awaiting"),
        ("instances", "", "/instances"),
        ("instance show", "ins/1", "/instances/ins%2F1"),
        ("tasks list", "-q priya", "/exceptions?q=priya#tasks"),
        ("discrepancies list", "--state healing --system itsm", "/discrepancies?show=all&system=itsm"),
        ("policy show", "standard@1.0.0", "/policies/standard"),
        ("policy show", "sha256:01", "/policies"),
        ("workflows diff", "w 1.0.0 1.1.0", "/workflows/w/diff/1.0.0..1.1.0"),
        ("audit show", "ins_1", "/audit?instance=ins_1"),
    ],
)
def test_a_page_shows_what_the_command_would(path: str, words: str, address: str, alone: Path):
    assert page_address(finder(alone), PAGES[path], typed(path, words)[1]) == address


@pytest.mark.parametrize(("flag", "known"), [("--web", PAGES), ("--as-curl", ASKS)])
def test_help_names_an_option_where_it_can_be_used(flag: str, known: dict[str, Any]):
    for path in ("instances", "doctor", "instance pause", "alerts list", "publish"):
        shown = CliRunner().invoke(topstitch, [*path.split(), "--help"], prog_name="topstitch").output
        assert (f" {flag} " in shown) is (path in known), path
