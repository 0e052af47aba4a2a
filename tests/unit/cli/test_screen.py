"""How commands speak and end: aligned rows, data apart from words, documented exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner

from topstitch.cli.command import Door, command
from topstitch.cli.lazy import LazyGroup
from topstitch.cli.root import COMMANDS
from topstitch.cli.screen import Screen, aligned, without
from topstitch.foundation.errors import (
    AuthorError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    OperatorError,
    RequestError,
    TamperError,
)


def test_rows_are_aligned_and_the_widest_column_gives_way():
    assert aligned([["A", "B"], ["long", "x"]]) == ["A     B", "long  x"]
    assert aligned([["a", "b" * 60]], width=30) == ["a  " + "b" * 26 + "…"]
    assert aligned([["a", "one two " * 4]], width=20, wrap=True) == ["a  one two one two", "   one two one two"]
    assert aligned([["x" * 30, "y" * 20]], width=40, wrap=True) == [
        "x" * 19 + "  " + "y" * 19,
        "x" * 11 + " " * 10 + "y",
    ]
    assert aligned([["only"], ["two", "columns"]]) == ["only", "two   columns"]


def test_data_is_one_document_and_nothing_else_is_on_standard_output():
    out = io.StringIO()
    screen = Screen(as_json=True, out=out)
    screen.print("words")
    screen.table(("a",), [("1",)], "none")
    screen.data({"b": 1, "a": [2]})
    assert json.loads(out.getvalue()) == {"a": [2], "b": 1}


def test_without_a_terminal_there_is_no_colour_but_glyph_and_word():
    screen = Screen(out=io.StringIO())
    assert screen.mark("ok", "done") == "✓ done"
    assert screen.style("x", fg="red") == "x"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("c", "m"), 5),
        (NotAllowedError("c", "m"), 4),
        (ConflictError("c", "m"), 6),
        (RequestError("c", "m"), 2),
        (AuthorError("c", "m"), 3),
        (TamperError("c", "m"), 20),
        (OperatorError("c", "m"), 1),
        (OperatorError("server-unreachable", "m"), 7),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(error: BaseException, code: int):
    done = CliRunner().invoke(_command(_raiser(error)))
    assert done.exit_code == code
    assert "Traceback" not in done.output


def test_an_unexpected_error_prints_an_id_and_the_traceback_only_when_asked():
    quiet = CliRunner().invoke(_command(_raiser(ZeroDivisionError("inside"))))
    assert quiet.exit_code == 1
    assert "err_" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    loud = CliRunner().invoke(_command(_raiser(ZeroDivisionError("inside"))), ["--debug"])
    assert "Traceback" in loud.stderr


def _raiser(error: BaseException) -> Callable[..., Any]:
    def raises(_door: Door) -> None:
        raise error

    return raises


def _command(function: Callable[..., Any]) -> click.Command:
    return command("x", data=False)(function)


def test_a_group_loads_only_what_is_called_and_names_the_nearest():
    listed = {"known": ("no_such_module:x", "Do it."), "other": ("y:z", "Else.")}
    group = LazyGroup("g", commands_at=listed, sections={"Do": ("known",), "Look": ("other",)})
    helped = " ".join(CliRunner().invoke(group, ["--help"]).output.split())
    assert helped.endswith("Do: known Do it. Look: other Else.")
    wrong = CliRunner().invoke(group, ["knwon"])
    assert wrong.exit_code == 2
    assert "Did you mean 'known'?" in wrong.output


def _leaves(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return [command]
    return [leaf for inner in command.commands.values() for leaf in _leaves(inner)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_says_what_it_does_and_takes_json(name: str):
    from topstitch.cli.root import topstitch

    found = topstitch.get_command(click.Context(topstitch), name)
    assert found is not None
    assert found.help
    for leaf in _leaves(found):
        assert (leaf.help or "").strip()
        assert "--json" in {opt for p in leaf.params for opt in p.opts}


def test_on_a_narrow_terminal_spare_columns_go_first_and_only_as_many_as_it_takes() -> None:
    rows = [["A", "B", "C"], ["a" * 10, "b" * 10, "c" * 10]]
    assert without(rows, [1, 2], 0) == rows
    assert without(rows, [1, 2], 34) == rows
    assert without(rows, [1, 2], 33) == [["A", "C"], ["a" * 10, "c" * 10]]
    assert without(rows, [1, 2], 5) == [["A"], ["a" * 10]]
