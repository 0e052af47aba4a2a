"""Help: every command stands in one section and has an example that can be typed; a group lists when it can."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from topstitch.cli.examples import EXAMPLES, example_of
from topstitch.cli.root import COMMANDS, SECTIONS, topstitch


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


FLAGS = ("--json", "--jq", "--tz", "--debug")
ALL = dict(commands(topstitch))


def test_every_command_stands_in_one_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)


def test_every_command_has_an_example_and_every_example_a_command():
    assert set(EXAMPLES) == set(ALL)


@pytest.mark.parametrize("path", sorted(ALL))
def test_an_example_can_be_typed_as_it_stands(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for word in shlex.split(EXAMPLES[path]):
        if "." in word and "/" not in word and "@" not in word:
            Path(word).write_text("", encoding="utf-8")
    context = ALL[path].make_context(path.rsplit(maxsplit=1)[-1], shlex.split(EXAMPLES[path]))
    assert context.args == []


@pytest.mark.parametrize("path", sorted(ALL))
def test_help_names_the_common_options_last_and_ends_with_the_example(path: str):
    shown = CliRunner().invoke(topstitch, [*path.split(), "--help"], prog_name="topstitch").output
    assert " ".join(shown.split()).endswith(" ".join(f"Example: {example_of(path)}".split()))
    own, _, shared = shown.partition("Global options:")
    assert [name for name in FLAGS if f" {name} " in own.partition("Options:")[2]] == []
    assert [name for name in FLAGS if f" {name} " in shared] == list(FLAGS)


def test_the_options_of_every_command_are_named_by_the_program_itself():
    shown = CliRunner().invoke(topstitch, ["--help"], prog_name="topstitch").output
    listed = shown.partition("Global options, after any command:")[2]
    assert [name for name in (*FLAGS, "--web", "--as-curl") if f" {name} " not in listed] == []


def test_an_example_that_names_an_option_that_is_none_is_seen():
    with pytest.raises(click.UsageError, match="No such option"):
        ALL["plan"].make_context("plan", ["w.yaml", "--evnt", "hire.json"])


@pytest.mark.parametrize("group", ["approvals", "tasks", "exceptions", "discrepancies", "connections", "alerts"])
def test_a_group_without_a_command_lists(group: str, tmp_path: Path):
    asked = CliRunner().invoke(topstitch, [group, "--data", str(tmp_path)])
    listed = CliRunner().invoke(topstitch, [group, "list", "--data", str(tmp_path)])
    assert (asked.exit_code, asked.output) == (listed.exit_code, listed.output)
    assert "No such option" not in asked.output
    assert f"Without a command: topstitch {group} list." in (
        CliRunner().invoke(topstitch, [group, "-h"], prog_name="topstitch").output
    )


def test_a_group_that_cannot_list_shows_its_help_and_cuts_no_sentence():
    shown = CliRunner().invoke(topstitch, ["instance"], prog_name="topstitch").output
    assert "Usage: topstitch instance" in shown
    assert "an approval of the old payload is void." in " ".join(shown.split())
