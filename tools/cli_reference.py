"""Writes docs/reference/cli.md from the commands themselves; a house test fails when they disagree."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from topstitch.cli.examples import example_of
from topstitch.cli.options import GLOBAL, records
from topstitch.cli.root import topstitch

PAGE = Path(__file__).parents[1] / "docs/reference/cli.md"
HEAD = """# The command line

Data go to standard output, everything else to standard error. Colour and progress appear on a terminal only. This page
is written by `tools/cli_reference.py`.

Exit codes: 0 done · 1 failed · 2 wrong usage · 3 findings · 4 not allowed · 5 not found · 6 conflict · 7 unreachable ·
8 still waiting · 20 a chain is broken · 130 interrupted.
"""


ABOUT = """
`--jq` takes any [jq](https://jqlang.org/manual) filter and asks for JSON by itself: each value it makes is a line, a
text without its quotation marks; with `-o csv` it is a row, with `-o yaml` a document. A filter that is none is refused
before the command does anything, one that does not fit the data after it; both exit with 2.

`--tz` takes any IANA zone, such as `Europe/Berlin`, or `local` for the machine's own. It changes the times that tables
and sentences show, each with its offset; data for programs stay RFC 3339 in UTC, and what you type is read as before.

`--web` prints the address of the page that shows the same, as the search or the item that the command would show, and
opens it when somebody sits at a terminal. The page is of the server that runs for the data folder (`host`, `port` and
`console_url` of the settings).

`--as-curl` prints one request to the [HTTP API](http-api.md) that does what the command does, as a `curl` command for a
shell, and does nothing. The token is named as `$TOPSTITCH_TOKEN` and never written out; it is left out where nobody
signs in. A request that acts carries an `Idempotency-Key`, so that sending it twice does it once. What a command can be
asked and the API cannot is refused by the name of the option.

A command without a page or a request refuses these two with exit code 2; its help does not show them.
"""
GLOBALS = """
## Global options

Every command takes these, and the sections of the commands name only their own. One that means something else by `-o`
or `--format` keeps its own meaning and has `--json` alone.

"""


def page() -> str:
    """Return the page."""
    context = click.Context(topstitch, info_name="topstitch")
    return HEAD + _globals(context) + "".join(_sections(topstitch, ["topstitch"], context))


def _globals(context: click.Context) -> str:
    """Return the options of every command, with what is to be known of each."""
    return GLOBALS + _table(records(context)) + ABOUT


def _sections(group: click.Group, path: list[str], context: click.Context) -> list[str]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            found += _sections(command, [*path, name], inner)
        else:
            found.append(_section(command, [*path, name], inner))
    return found


def _section(command: click.Command, path: list[str], context: click.Context) -> str:
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    lines = [f"\n## {' '.join(path)}\n", f"    {usage}\n", f"{(command.help or '').strip()}\n"]
    if (example := example_of(" ".join(path[1:]))) is not None:
        lines.append(f"Example: `{example}`\n")
    own = [param for param in command.params if param.name not in GLOBAL]
    if table := _table([record for param in own if (record := param.get_help_record(context)) is not None]):
        lines.append(table)
    return "\n".join(lines)


def _table(options: Iterable[tuple[str, str]]) -> str:
    rows = [f"| `{_cell(name)}` | {_cell(text)} |\n" for name, text in options]
    return "| option | |\n| --- | --- |\n" + "".join(rows) if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", chr(92) + "|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
