"""A group of commands that imports a command's file when it is called, not before.

``root`` lists the commands by name with their file and first sentence; ``--help`` and
completion read the list alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from topstitch.cli import INTERRUPTED

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Listed = Mapping[str, tuple[str, str]]
"""Name -> (``module:attribute``, what it does)."""


class LazyGroup(click.Group):
    """A group whose commands are named first and loaded later."""

    def __init__(self, *args: Any, commands_at: Listed, sections: Mapping[str, Sequence[str]], **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.commands_at = commands_at
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the path of work."""
        del ctx
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command and return it."""
        del ctx
        if cmd_name not in self.commands_at:
            return None
        module, _, name = self.commands_at[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except KeyboardInterrupt:  # which click would call a failure
            raise SystemExit(INTERRUPTED) from None
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without loading any: TAB is pressed to be quick."""
        from click.shell_completion import CompletionItem

        if not incomplete.startswith("-"):
            found = ((name, what) for name, (_, what) in self.commands_at.items() if name.startswith(incomplete))
            return [CompletionItem(name, help=what) for name, what in found]
        return super().shell_complete(ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and name the nearest command on a misspelling."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message + self._nearest(args[0] if args else ""), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        del ctx
        wide = max(map(len, self.commands_at))
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(wide), self.commands_at[name][1]) for name in names])

    def _nearest(self, word: str) -> str:
        import difflib

        close = difflib.get_close_matches(word, list(self.commands_at), n=1)
        return f" Did you mean {close[0]!r}?" if close else ""
