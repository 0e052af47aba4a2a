"""The command line: one file per group of commands, each loaded when it is called.

``main`` is what the ``topstitch`` script calls. Commands act directly on the database of the data
folder; an engine in another process notices within moments. The rooms they need are imported
inside the commands, so that ``--help`` and TAB stay quick.
"""

from __future__ import annotations

from typing import Final

INTERRUPTED: Final = 130
"""The exit code of whoever was stopped with Ctrl-C."""


def main() -> None:
    """Run the command that was typed and exit with its code."""
    import sys

    if sys.argv[1:] == ["--version"]:
        from topstitch import __version__

        sys.stdout.write(f"topstitch {__version__}\n")  # without click: scripts ask for it often
        return
    try:
        from topstitch.cli.root import topstitch

        topstitch.main(prog_name="topstitch")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
