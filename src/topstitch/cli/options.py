"""Decides the options that every command has, and where help names them: in one part, after the command's own.

``command`` puts them on each command. A value that cannot be is refused before the command does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any, Final

import click

FORMS: Final = ("table", "json", "jsonl", "csv", "yaml")
OWN_FORM: Final = frozenset({"-o", "--output", "--format"})
"""A command that means something else by one of these has ``--json`` alone."""
SECTION: Final = "Global options"


def _zone(ctx: click.Context, param: click.Parameter, name: str | None) -> tuple[tzinfo | None] | None:
    """Return the zone that is named, alone in a tuple: the machine's own is none."""
    del ctx, param
    if name is None:
        return None
    from topstitch.cli.when import zone_of

    try:
        return (zone_of(name),)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _zones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a zone."""
    del ctx, param
    from topstitch.cli.when import zones

    return [name for name in zones() if name.lower().startswith(incomplete.lower())]


def _filter(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
    """Return the filter, compiled, so that a bad one is refused before anything is done."""
    del ctx, param
    if text is None:
        return None
    import jq

    try:
        return jq.compile(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}\nSee https://jqlang.org/manual for what a filter is.") from None


GLOBAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    "data": click.option("--data", metavar="FOLDER", help="The data folder. [./topstitch-data, or TOPSTITCH_DATA]"),
    "data_form": click.option(
        "-o", "--output", "data_form", type=click.Choice(FORMS), help="How data are printed. [table]"
    ),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print data as JSON."),
    "sieve": click.option(
        "--jq", "sieve", metavar="FILTER", callback=_filter, help="Print what a jq filter makes of the JSON data."
    ),
    "zone": click.option(
        "--tz",
        "zone",
        metavar="ZONE",
        callback=_zone,
        shell_complete=_zones,
        help="Show times in a zone such as Europe/Berlin, or local; data stay in UTC. [UTC]",
    ),
    "web": click.option(
        "--web", is_flag=True, help="Print the address of the console's page instead; on a terminal, open it."
    ),
    "as_curl": click.option(
        "--as-curl", is_flag=True, help="Print the request to the HTTP API as a curl command instead; do nothing."
    ),
    "debug": click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error."),
}
"""Name -> the option, in the order of help."""


def common(*, data: bool, form: bool) -> list[Callable[[Any], Any]]:
    """Return the options of a command, with or without those that not every command has."""
    left_out = {name for name, there in (("data", data), ("data_form", form)) if not there}
    return [option for name, option in GLOBAL.items() if name not in left_out]


def records(ctx: click.Context) -> list[tuple[str, str]]:
    """Return the options of every command as help writes them."""
    shared = click.Command("any")
    for option in GLOBAL.values():
        option(shared)
    return [record for option in shared.params if (record := option.get_help_record(ctx)) is not None]


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write a command's own options, then those of every command under a heading of their own.

    ``--web`` and ``--as-curl`` are shown where there is a page or a request; elsewhere they are refused.
    """
    from topstitch.cli.counterparts import ASKS
    from topstitch.cli.pages import PAGES

    path = ctx.command_path.partition(" ")[2]
    unfit = {name for name, known in (("web", PAGES), ("as_curl", ASKS)) if path not in known}
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for option in command.get_params(ctx):
        record = option.get_help_record(ctx)
        if record is not None and option.name not in unfit:
            (shared if option.name in GLOBAL else own).append(record)
    for title, records in (("Options", own), (SECTION, shared)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
