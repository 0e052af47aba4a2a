"""Writes docs/reference/cli.md from the commands themselves; a house test fails when they disagree."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from topstitch.cli.examples import example_of
from topstitch.cli.root import topstitch

PAGE = Path(__file__).parents[1] / "docs/reference/cli.md"
HEAD = """# The command line

Data go to standard output, everything else to standard error; `--json` prints data as JSON. Colour and progress
appear on a terminal only. This page is written by `tools/cli_reference.py`.

Exit codes: 0 done · 1 failed · 2 wrong usage · 3 findings · 4 not allowed · 5 not found · 6 conflict · 7 unreachable ·
8 still waiting · 20 a chain is broken · 130 interrupted.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(_sections(topstitch, ["topstitch"], click.Context(topstitch, info_name="topstitch")))


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
    options = [record for p in command.params if (record := p.get_help_record(context)) is not None]
    if options:
        lines.append("| option | |\n| --- | --- |")
        lines += [
            f"| `{name.replace('|', chr(92) + '|')}` | {text.replace('|', chr(92) + '|')} |" for name, text in options
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", chr(92) + "|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
