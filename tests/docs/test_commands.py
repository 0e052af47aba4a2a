"""Every ``topstitch`` command that a document shows can be typed: its name, its options and its arguments are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from support.tree import ROOT, files
from topstitch.cli.root import topstitch

SHOWN = re.compile(r"^(?:    |\$ )(?:\.venv/bin/)?topstitch (?P<words>\S.*)$", re.MULTILINE)
USAGE = re.compile(r"\[OPTIONS\]")
"""The reference shows the form of each command, not a use of it."""
END = frozenset({";", "|", ">", "<", "&&", "&"})


def test_every_command_in_the_documents_can_be_typed() -> None:
    documents = [path for path in files() if path.suffix == ".md"]
    wrong = [f"{path.relative_to(ROOT)}: {each}" for path in documents for each in mistaken(path.read_text("utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("    topstitch publsh w.yaml", "No such command 'publsh'"),
        ("$ topstitch plan w.yaml --evnt hire.json", "No such option '--evnt'"),
        ("    .venv/bin/topstitch plan w.yaml", "Missing option '--event'"),
        ("    topstitch instance cancel", "Missing argument 'INSTANCE'"),
    ],
)
def test_a_planted_mistake_is_seen(line: str, said: str) -> None:
    (found,) = mistaken(f"# A page\n\n{line}\n")
    assert said in found


@pytest.mark.parametrize("line", ["    topstitch serve --data x   # the engine", "$ topstitch roles | head; echo"])
def test_comments_and_what_the_shell_does_are_no_mistakes(line: str) -> None:
    assert not list(mistaken(line))


def mistaken(text: str) -> Iterator[str]:
    """Yield the commands of a document that nobody can type, and why."""
    for match in SHOWN.finditer(text):
        if USAGE.search(match["words"]):
            continue
        try:
            parsed(list(words_of(match["words"])))
        except click.UsageError as error:
            yield f"topstitch {match['words']}: {error.format_message()}"


def words_of(line: str) -> Iterator[str]:
    """Yield the words of a command up to where the shell does something else."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in lexer:
        if word in END:
            return
        yield word


def parsed(words: list[str]) -> None:
    """Find the command and let it read its arguments; files need not be there."""
    command: click.Command = topstitch
    context = click.Context(topstitch, info_name="topstitch")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if {"-h", "--help"} & set(words):
        return
    try:
        command.make_context(command.name, words, parent=context.parent)
    except click.BadParameter as error:
        if isinstance(error, click.MissingParameter) or "does not exist" not in error.message:
            raise


def test_the_documents_show_commands() -> None:
    assert sum(len(SHOWN.findall(path.read_text("utf-8"))) for path in Path(ROOT / "docs/how-to").glob("*.md")) > 20
