"""The command that prints what a shell needs to complete commands, options and their values at TAB."""

from __future__ import annotations

import click

from topstitch.cli.command import Door, command

SHELLS = ("bash", "zsh", "fish")


@command("completion", data=False)
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
def completion(door: Door, shell: str) -> None:
    """Print what makes TAB complete commands: eval "$(topstitch completion bash)" in the shell's own start file."""
    from click.shell_completion import get_completion_class

    from topstitch.cli.root import topstitch

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(topstitch, {}, "topstitch", "_TOPSTITCH_COMPLETE")
    text = made.source_template % made.source_vars()
    door.screen.data({"shell": shell, "script": text})
    door.screen.print(text)
