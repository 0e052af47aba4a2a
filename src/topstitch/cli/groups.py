"""Decides how a group of commands reads: what it does without a command, and its help.

A group that can list lists when nothing else is asked of it, so ``topstitch tasks`` is
``topstitch tasks list``. Help names the first sentence of each command whole; a terminal that
is narrow wraps it and cuts nothing.
"""

from __future__ import annotations

from typing import Final

import click

LIST: Final = "list"
HELP: Final = ("-h", "--help")


class Group(click.Group):
    """A group of commands on one kind of thing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take no command at all for ``list``, where there is one; at TAB the command is still to come."""
        if (
            LIST in self.commands
            and not ctx.resilient_parsing
            and (not args or (args[0].startswith("-") and args[0] not in HELP))
        ):
            args = [LIST, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its first sentence."""
        rows = [(name, first_sentence(self.commands[name])) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what it does without a command."""
        if LIST in self.commands:
            formatter.write_paragraph()
            formatter.write_text(f"Without a command: {ctx.command_path} {LIST}.")


def first_sentence(command: click.Command) -> str:
    """Return what a command does, in one sentence."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    first, stop, _ = text.partition(". ")
    return first + stop.strip()
